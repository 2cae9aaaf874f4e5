// A person with any number of sessions at the gate, before a provider that can be told what to do.
import * as oauth from 'oauth4webapi';
import { redirectListener } from '../browser.mjs';
import { check } from '../part.mjs';
import { authorize, discover, insecure, redeem, register } from './login.mjs';

export async function people(mcp, provider) {
  const { server, resource } = await discover(mcp);
  const listener = await redirectListener();
  const base = { server, redirect: listener.uri, resource: resource.resource };
  const control = async (wish) => (await fetch(new URL('/__control', provider), { method: 'POST', body: JSON.stringify(wish) })).json();
  const client = async (name) => ({ ...base, client: await register(server, { redirect_uris: [listener.uri], client_name: name }) });
  return {
    control,
    seen: async () => (await control({})).seen,
    /** A client without a session. */
    client,
    /** Where a login leads to: the redirect that comes back, or the page it ends at. */
    attempt: async (user) => authorize({ ...(await client('A client')), user }).catch((error) => ({ landed: null, error })),
    /** A session of this person, with a client of its own. */
    async session(user) {
      const own = await client(`A client of ${user}`);
      return { ...own, ...(await redeem({ ...own, ...(await authorize({ ...own, user })) })) };
    },
    /** Refreshes, and gives the answer whatever it is. */
    async refresh(session) {
      const answer = await oauth.refreshTokenGrantRequest(server, session.client, oauth.None(), session.refresh_token, insecure);
      const body = await answer.json();
      return { status: answer.status, retry: answer.headers.get('retry-after'), error: body.error, next: { ...session, ...body } };
    },
    /** What the protected server is told, or null if the gate does not let the session in. */
    async call(session) {
      const answer = await fetch(mcp, { method: 'POST', headers: { authorization: `Bearer ${session.access_token}`, 'content-type': 'application/json' }, body: '{"jsonrpc":"2.0","id":1,"method":"ping"}' });
      const body = await answer.text();
      return answer.status === 200 ? JSON.parse(body) : null;
    },
  };
}

/** Refreshes, which must work; the tokens that come of it must, too. */
export async function lives(all, session, what) {
  const { status, error, next } = await all.refresh(session);
  check(status === 200, `${what}: refreshed`, { status, error });
  check(await all.call(next), `${what}: let in`);
  return next;
}
