// The parts judged without the gate: a test that blames the gate must not be wrong itself.
//
// openid-client and oauth4webapi log in at the provider, in every signing algorithm and with its faults switched on; the
// MCP clients of both generations call the tools of both upstreams directly; the conformance suite meets the upstreams.
import * as oauth from 'oauth4webapi';
import * as openid from 'openid-client';
import { Browser, forms, redirectListener } from './browser.mjs';
import { part, script } from './start.mjs';

let passed = 0;
let failed = 0;
const insecure = { [oauth.allowInsecureRequests]: true };

await test('forms are read as a browser reads them', async () => {
  const [form] = forms('<form action="/a?x=1&amp;y=2" method="POST"><input type=hidden name=one value="a&quot;b"><input name=\'two\'><button name="go" value="deny">No &#x2014; stop</button></form>');
  equal(form, {
    action: '/a?x=1&y=2',
    method: 'post',
    fields: [['one', 'a"b'], ['two', '']],
    buttons: [{ name: 'go', value: 'deny', text: 'No — stop', action: undefined }],
  });
});
await test('cookies are kept as a browser keeps them', async () => {
  const browser = new Browser();
  const at = new URL('http://127.0.0.1:1/oauth/authorize');
  browser.keep('__Host-a=1; Path=/; Secure', at);
  browser.keep('b=2; Path=/oauth', at);
  browser.keep('c=3', new URL('http://127.0.0.1:2/else/where'));
  equal(browser.cookies(at), 'b=2');
  browser.keep('b=; Path=/oauth; Max-Age=0', at);
  equal(browser.cookies(at), '');
});

for (const alg of ['RS256', 'ES256', 'EdDSA']) {
  await test(`openid-client logs in and refreshes at the provider with ${alg}`, () => login(alg));
}
await test('the provider refuses a person who goes away', async () => {
  await withProvider({ pkce: 'optional' }, async ({ config, listener }) => {
    const url = openid.buildAuthorizationUrl(config, { redirect_uri: listener.uri, scope: 'openid', state: 'the state' });
    const landed = await new Browser({ providerDecision: 'deny' }).walk(url, listener.uri);
    equal(landed.searchParams.get('error'), 'access_denied');
    equal(landed.searchParams.get('state'), 'the state');
  });
});
await test('the provider misbehaves on request', async () => {
  await withProvider({}, async ({ issuer, config, listener, control }) => {
    await control({ claims: { nonce: 'another' } });
    const error = await refused(code(config, listener));
    if (!/nonce/.test(error.cause?.message ?? error.message)) throw new Error(`expected the nonce to be refused: ${error.stack}`);
    await control({ reset: true, token: { status: 500 } });
    await refused(code(config, listener));
    const before = await control({ reset: true });
    const after = await control({ rotate: true });
    if (before.kid === after.kid) throw new Error('the key is the same');
    const keys = await (await fetch(`${issuer}/jwks`)).json();
    equal(keys.keys.map(({ kid }) => kid), [after.kid]);
    await code(await openid.discovery(new URL(issuer), 'portcullis', 'a secret of the upstream provider, long enough', undefined, { execute: [openid.allowInsecureRequests] }), listener);
  });
});
await test('oauth4webapi accepts the provider by its strict rules', async () => {
  await withProvider({}, async ({ issuer, listener }) => {
    const server = await oauth.processDiscoveryResponse(new URL(issuer), await oauth.discoveryRequest(new URL(issuer), insecure));
    const client = { client_id: 'portcullis' };
    const verifier = oauth.generateRandomCodeVerifier();
    const url = new URL(server.authorization_endpoint);
    url.search = new URLSearchParams({
      client_id: 'portcullis', redirect_uri: listener.uri, response_type: 'code', scope: 'openid email', state: 's', nonce: 'n',
      code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
    });
    const landed = await new Browser({ user: 'bob' }).walk(url, listener.uri);
    const params = oauth.validateAuthResponse(server, client, landed, 's');
    const answer = await oauth.authorizationCodeGrantRequest(server, client, oauth.ClientSecretBasic('a secret of the upstream provider, long enough'), params, listener.uri, verifier, insecure);
    const tokens = await oauth.processAuthorizationCodeResponse(server, client, answer, { expectedNonce: 'n', requireIdToken: true });
    equal(oauth.getValidatedIdTokenClaims(tokens).email, 'bob@example.com');
    equal(tokens.refresh_token, undefined);
  });
});

for (const upstream of ['everything', 'modern']) {
  for (const client of ['mcp-client', 'mcp-sdk']) {
    await test(`${client} calls the tools of ${upstream}.mjs directly`, async () => {
      const server = await part(`./${upstream}.mjs`);
      const { code: status, lines } = await script(`./clients/${client}.mjs`, { mcp: server.url, auth: 'none' });
      server.stop();
      if (status !== 0) throw new Error(lines.join('\n'));
    });
  }
}
await test('the conformance suite meets both upstreams, directly and through the injector', async () => {
  const { code: status, lines } = await script('./conformance.mjs', { only: 'self' }, { limit: 400_000 });
  if (status !== 0) throw new Error(lines.join('\n'));
  console.log(lines.map((line) => `  ${line}`).join('\n'));
});
await test('chromium passes the pages of the provider', async () => {
  const { code: status, lines } = await script('./chromium.mjs', { self: 'yes' });
  if (status !== 0) throw new Error(lines.join('\n'));
});

console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);

async function login(alg) {
  await withProvider({ alg }, async ({ config, listener }) => {
    const tokens = await code(config, listener);
    const { email, groups, nonce, email_verified: verified, preferred_username: name } = tokens.claims();
    equal({ email, groups, nonce, verified, name }, { email: 'alice@example.com', groups: ['staff', 'admins'], nonce: 'the nonce', verified: true, name: 'alice' });
    const next = await openid.refreshTokenGrant(config, tokens.refresh_token);
    if (!next.refresh_token || next.refresh_token === tokens.refresh_token) throw new Error('the refresh token did not rotate');
    await refused(openid.refreshTokenGrant(config, tokens.refresh_token));
  });
}

async function withProvider(args, body) {
  const listener = await redirectListener('/oauth/callback');
  const provider = await part('./provider.mjs', { ...args, 'redirect-uri': listener.uri });
  const { issuer } = provider;
  const control = async (wish) => (await fetch(`${issuer}/__control`, { method: 'POST', body: JSON.stringify(wish) })).json();
  try {
    const metadata = args.alg ? { id_token_signed_response_alg: args.alg } : undefined;
    const config = await openid.discovery(new URL(issuer), 'portcullis', { client_secret: 'a secret of the upstream provider, long enough', ...metadata }, undefined, { execute: [openid.allowInsecureRequests] });
    await body({ issuer, config, listener, control });
  } finally {
    provider.stop();
    listener.close();
  }
}

async function code(config, listener) {
  const verifier = openid.randomPKCECodeVerifier();
  const url = openid.buildAuthorizationUrl(config, {
    redirect_uri: listener.uri,
    scope: 'openid email profile groups offline_access',
    prompt: 'consent',
    state: 'the state',
    nonce: 'the nonce',
    code_challenge: await openid.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  });
  const landed = await new Browser().walk(url, listener.uri);
  return openid.authorizationCodeGrant(config, landed, { pkceCodeVerifier: verifier, expectedState: 'the state', expectedNonce: 'the nonce', idTokenExpected: true });
}

async function refused(promise) {
  let value;
  try {
    value = await promise;
  } catch (error) {
    return error;
  }
  throw new Error(`expected a refusal, not ${JSON.stringify(value)}`);
}

function equal(seen, wanted) {
  if (JSON.stringify(seen) !== JSON.stringify(wanted)) throw new Error(`${JSON.stringify(seen)} is not ${JSON.stringify(wanted)}`);
}

async function test(name, body) {
  const start = Date.now();
  try {
    await body();
    passed += 1;
    console.log(`ok ${name} (${Date.now() - start} ms)`);
  } catch (error) {
    failed += 1;
    console.log(`not ok ${name}\n${error.stack}${error.cause ? `\n  cause: ${error.cause.stack ?? JSON.stringify(error.cause)}` : ''}`);
  }
}
