// A provider like Dex: one refresh token per person and client, used once, replaced by every login. Nobody who does nothing wrong is
// logged out, however their clients come together.
import { check, ok, options, script, sleep } from '../part.mjs';
import { lives, people } from './person.mjs';

const given = options({ mcp: '', provider: '', admin: '', token: '' });

await script(async () => {
  const all = await people(given.mcp, given.provider);
  const { control, seen, session, refresh, call } = all;

  let [one, other] = [await session('alice'), await session('alice')];
  const { last } = await seen();
  check(last.connector_id === 'ldap', 'the connector is named', last);
  const scopes = 'openid profile email groups offline_access audience:server:client_id:kubernetes audience:server:client_id:grafana';
  check(last.scope === scopes, 'groups, offline access and the other clients are asked for', last.scope);
  check(!('access_type' in last) && !('prompt' in last), 'nothing of another kind of provider is asked for', last);
  check(last.code_challenge_method === 'S256' && last.nonce && last.state, 'with PKCE, nonce and state');
  const told = await call(one);
  check(/^Cg/.test(told['x-forwarded-user']), 'the subject is the one that says nothing', told);
  check(told['x-forwarded-groups'] === 'staff,admins' && told['x-forwarded-email'] === 'alice@example.com', 'groups and e-mail address arrive', told);

  for (let round = 1; round <= 3; round += 1) {
    [one, other] = [await lives(all, one, `first client, round ${round}`), await lives(all, other, `second client, round ${round}`)];
  }
  const quiet = await seen();
  check(quiet.refreshes === 6 && quiet.refused === 0, 'the provider was asked once each time and had nothing to refuse', quiet);

  const crowd = [one, other, ...(await Promise.all([1, 2, 3, 4].map(() => session('alice'))))];
  for (let round = 1; round <= 3; round += 1) {
    const answers = await Promise.all(crowd.map((each) => refresh(each)));
    check(answers.every(({ status }) => status === 200), `six clients at once, round ${round}`, answers.map(({ status, error }) => [status, error]));
    answers.forEach(({ next }, place) => { crowd[place] = next; });
  }
  for (const each of crowd) check(await call(each), 'each of them is let in');

  // The answers of logins that come together overtake each other.
  await control({ token: { jitter: 400 } });
  const together = await Promise.all([1, 2, 3, 4].map(() => session('bob')));
  await control({ token: null });
  for (let place = 0; place < together.length; place += 1) together[place] = await lives(all, together[place], `login ${place + 1} of four at once`);
  ok('logins at once leave a refresh token that works');

  await control({ lose: 1 });
  one = await lives(all, crowd[0], 'an answer that was lost');
  one = await lives(all, one, 'after the answer that was lost');
  await control({ rotate: true });
  one = await lives(all, one, 'after the provider has changed its key');
  one = await lives(all, one, 'after that');

  await control({ revoke: true });
  const begun = Date.now();
  const refused = await refresh(one);
  check(refused.status === 400 && refused.error === 'invalid_grant', 'who is put out there is out', refused);
  check(Date.now() - begun >= 2_000, 'after it has been said twice', Date.now() - begun);
  check((await call(one)) === null && (await call(crowd[1])) === null, 'with every session');
  const gone = await refresh(crowd[1]);
  check(gone.status === 400 && gone.error === 'invalid_grant', 'and every client is told to log in', gone);
  const again = await session('alice');
  const back = await lives(all, again, 'who logs in again');

  // With the person the provider's token goes: nobody is left who could use it.
  check((await control({})).good === 1, 'the provider holds one refresh token');
  const headers = { authorization: `Bearer ${given.token}`, 'content-type': 'application/json' };
  const erased = await fetch(`${given.admin}/people/erase`, { method: 'POST', headers, body: JSON.stringify({ subject: told['x-forwarded-user'] }) });
  check(erased.status === 200 && (await call(back)) === null, 'a person is erased', erased.status);
  for (let attempt = 0; attempt < 50 && (await control({})).good > 0; attempt += 1) await sleep(100);
  check((await control({})).good === 0, 'and the refresh token is revoked at the provider');
});
