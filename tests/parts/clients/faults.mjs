// A provider that goes wrong must never lead to a code, and one that is right again must lead to one.
import { redirectListener } from '../browser.mjs';
import { check, ok, options, script } from '../part.mjs';
import { authorize, discover, redeem, register } from './login.mjs';

const given = options({ mcp: '', provider: '' });
const faults = {
  'a wrong nonce': { claims: { nonce: 'another' } },
  'no nonce': { claims: { nonce: null } },
  'a wrong issuer': { claims: { iss: 'https://elsewhere.example.com' } },
  'a wrong audience': { claims: { aud: 'another-client' } },
  'a foreign authorized party': { claims: { aud: ['portcullis', 'another'], azp: 'another' } },
  'an expired id token': { claims: { exp: 1_700_000_000 } },
  'an id token from the future': { claims: { iat: 4_000_000_000, exp: 4_000_000_600 } },
  'no subject': { claims: { sub: null } },
  'an unknown key': { header: { kid: 'nobody' } },
  'a token endpoint that fails': { token: { status: 500 } },
  'an answer that is not JSON': { token: { body: '<html>' } },
};

await script(async () => {
  const { server, resource } = await discover(given.mcp);
  const listener = await redirectListener();
  const redirect = listener.uri;
  const client = await register(server, { redirect_uris: [redirect] });
  const common = { server, client, redirect, resource: resource.resource };
  const control = (wish) => fetch(new URL('/__control', given.provider), { method: 'POST', body: JSON.stringify(wish) });
  for (const [what, fault] of Object.entries(faults)) {
    await control({ reset: true, ...fault });
    const { landed, state, error } = await authorize(common).catch((refusal) => ({ landed: null, error: refusal }));
    if (landed === null) {
      check(/^no form to send at|answered [45]\d\d/.test(error.message), `${what} ends at a page that says so`, error.message);
      ok(`${what} ends at a page and not at a code`);
      continue;
    }
    check(landed.searchParams.get('error') && !landed.searchParams.has('code'), `${what} comes back as ${landed.searchParams.get('error')}`, landed.search);
    check(landed.searchParams.get('state') === state && landed.searchParams.get('iss') === server.issuer, `${what}: with state and iss`, landed.search);
  }
  await control({ reset: true });
  check((await redeem({ ...common, ...(await authorize(common)) })).access_token, 'a login works once the provider is right again');
  // Tokens make the gate read the key set anew at most every ten seconds, and the unknown key above has just done so.
  await new Promise((done) => setTimeout(done, 10_500));
  await control({ rotate: true });
  check((await redeem({ ...common, ...(await authorize(common)) })).access_token, 'a login works after the provider has changed its key');
  listener.close();
});
