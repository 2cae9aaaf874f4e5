// What reaches the protected server: who is asking by the gate's word, and nothing of what the client said of itself.
import { check, ok, options, script } from '../part.mjs';
import { login } from './login.mjs';

const given = options({ mcp: '', upstream: '' });

await script(async () => {
  const { access_token: token } = await login(given.mcp, { user: 'bob' });
  const answer = await fetch(given.mcp, {
    method: 'POST',
    headers: {
      authorization: `Bearer ${token}`,
      'content-type': 'application/json',
      accept: 'application/json, text/event-stream',
      cookie: 'one=1; pc-csrf=2; pc-login-x=3; __Host-pc-csrf=4',
      forwarded: 'for=203.0.113.9',
      'x-forwarded-user': 'mallory',
      'x-forwarded-groups': 'admins',
      x_forwarded_email: 'mallory@example.com',
      'x-session-id': 'mallory',
      'x-unrelated': 'kept',
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: 7, method: 'tools/call', params: { name: 'whoami', arguments: {} } }),
  });
  const body = await answer.text();
  check(answer.status === 200, 'whoami is called through the gate', `${answer.status} ${body}`);
  const { last } = await (await fetch(new URL('/__seen', given.upstream))).json();
  const { headers } = last;
  check(!JSON.stringify(last).includes(token), 'the token does not reach the server', Object.keys(headers));
  check(headers.authorization === undefined, 'Authorization does not reach the server', headers);
  check(headers.cookie === 'one=1', 'of the cookies those of others reach the server, and none of the gate', headers.cookie);
  check(!JSON.stringify(headers).includes('mallory'), 'the caller cannot say who it is', headers);
  check(!/203\.0\.113\.9/.test(JSON.stringify(headers)), 'the caller cannot say where it is', headers);
  check(headers['x-forwarded-user'], 'the gate says who is asking', headers);
  check(headers['x-forwarded-email'] === 'bob@example.com' || headers['x-forwarded-email'] === undefined, 'an address is the person\'s or is not given', headers);
  check(headers['x-unrelated'] === 'kept', 'other headers pass', headers);
  check(headers.host === new URL(given.upstream).host, 'Host is the server\'s own', headers.host);
  ok('the protected server sees what it should');
});
