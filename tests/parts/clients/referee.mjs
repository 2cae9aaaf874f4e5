// oauth4webapi as the strict referee: every answer of the gate must be one that a careful client accepts, and every
// credential that is spent, replayed or revoked must stop working where the rules say so.
//
// With --grace N the gate's refreshGrace is N seconds and short, and the replay of an old refresh token is judged too.
import * as oauth from 'oauth4webapi';
import { redirectListener } from '../browser.mjs';
import { check, failure, ok, options, script, sleep } from '../part.mjs';
import { authorize, discover, insecure, redeem, register } from './login.mjs';

const given = options({ mcp: '', user: 'alice', grace: '' });

await script(async () => {
  const { challenge, resource: about, server } = await discover(given.mcp);
  check(/^Bearer /.test(challenge), 'the challenge names the metadata of the resource', challenge);
  check(about.resource === given.mcp, 'the resource is the URL that the person typed', about.resource);
  ok('the authorization server is found by RFC 8414');
  const same = await fetch(new URL('/.well-known/openid-configuration', server.issuer));
  check(same.status === 200 && (await same.json()).issuer === server.issuer, 'it is found by OpenID Connect Discovery too');
  check(server.code_challenge_methods_supported?.includes('S256'), 'S256 is announced');
  check(server.authorization_response_iss_parameter_supported === true, 'iss is announced');
  check(server.registration_endpoint && server.revocation_endpoint, 'registration and revocation are announced');

  const listener = await redirectListener();
  const redirect = listener.uri;
  const client = await register(server, { redirect_uris: [redirect] });
  check(client.client_id && !client.client_secret, 'a public client is registered without a secret', Object.keys(client));
  const resource = about.resource;
  const common = { server, client, redirect, resource };
  const go = (more) => authorize({ ...common, user: given.user, ...more });

  const denied = await go({ decision: 'deny' });
  const refusal = await failure(redeem({ ...common, ...denied }), 'a denied consent is an error');
  check(refusal.cause?.get?.('error') === 'access_denied' || /access_denied/.test(denied.landed.search), 'a denied consent comes back as access_denied', denied.landed.search);
  check(denied.landed.searchParams.get('state') === denied.state && denied.landed.searchParams.get('iss') === server.issuer, 'the refusal carries state and iss', denied.landed.search);
  check(!denied.landed.searchParams.has('code'), 'the refusal carries no code');

  const trip = await go();
  check(trip.landed.searchParams.get('iss') === server.issuer, 'the redirect carries iss', trip.landed.search);
  await refused(redeem({ ...common, ...trip, verifier: oauth.generateRandomCodeVerifier() }), 'invalid_grant', 'a wrong code verifier');
  const tokens = await redeem({ ...common, ...trip });
  ok('the code is still good for its owner after that');
  check(tokens.token_type === 'bearer' && tokens.expires_in >= 300 && tokens.refresh_token, 'the answer is a bearer with an end and a refresh token', Object.keys(tokens));
  await works(tokens.access_token, 'the access token');
  await works(tokens.access_token, 'the access token with a lower-case scheme', 'bearer');

  const second = await refresh(common, tokens.refresh_token);
  check(second.refresh_token && second.refresh_token !== tokens.refresh_token, 'the refresh token rotates');
  check(second.access_token !== tokens.access_token, 'the access token is a new one');
  await works(second.access_token, 'the refreshed access token');
  const twin = await refresh(common, tokens.refresh_token);
  check(twin.refresh_token === second.refresh_token, 'the old refresh token, once more at once, gives the same successor');
  await works(twin.access_token, 'the access token that came with it');
  await refused(refresh(common, `${second.refresh_token.slice(0, -2)}AA`), 'invalid_grant', 'a refresh token with another ending');
  const other = await register(server, { redirect_uris: [redirect], client_name: 'Another client' });
  await refused(refresh({ ...common, client: other }, second.refresh_token), 'invalid_grant', 'a refresh token in the hands of another client');
  await works(second.access_token, 'the access token, after the theft did not work,');

  if (given.grace !== '') {
    await sleep((Number(given.grace) + 2) * 1000);
    const third = await refresh(common, second.refresh_token);
    await works(third.access_token, 'the access token of the third generation');
    await sleep((Number(given.grace) + 2) * 1000);
    await refused(refresh(common, second.refresh_token), 'invalid_grant', 'an old refresh token after its grace');
    await fails(third.access_token, 'the access token after that replay');
    await refused(refresh(common, third.refresh_token), 'invalid_grant', 'the newest refresh token after that replay');
  }

  const again = await go();
  const replayed = await redeem({ ...common, ...again });
  await works(replayed.access_token, 'the access token of another login');
  await refused(redeem({ ...common, ...again }), 'invalid_grant', 'a code for the second time');
  await fails(replayed.access_token, 'the access token after its code was replayed');
  await refused(refresh(common, replayed.refresh_token), 'invalid_grant', 'the refresh token after its code was replayed');

  const last = await redeem({ ...common, ...(await go()) });
  await works(last.access_token, 'the access token of a third login');
  const answer = await oauth.revocationRequest(server, client, oauth.None(), last.refresh_token, insecure);
  await oauth.processRevocationResponse(answer);
  ok('revocation is answered');
  await fails(last.access_token, 'the access token after the revocation');
  await refused(refresh(common, last.refresh_token), 'invalid_grant', 'the refresh token after the revocation');
  const garbage = await oauth.revocationRequest(server, client, oauth.None(), 'not-a-token', insecure);
  check(garbage.status === 200, 'revoking what never existed is answered with 200', garbage.status);

  await fails('not-a-token', 'garbage');
  const query = await fetch(`${given.mcp}?access_token=${encodeURIComponent(second.access_token)}`, { method: 'POST', body: '{}' });
  check(query.status === 401, 'a token in the query is no token', query.status);
  for (const method of ['GET', 'DELETE']) {
    const bare = await fetch(given.mcp, { method });
    check(bare.status === 401, `${method} without a token is refused`, bare.status);
  }
  const preflight = await fetch(given.mcp, { method: 'OPTIONS', headers: { origin: 'http://localhost:6274', 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization,mcp-protocol-version' } });
  check(preflight.status < 300, 'a preflight needs no token', preflight.status);

  await lenient(common, redirect);
  listener.close();
});

/** What real clients leave out: the resource (Codex), and the port that they registered. */
async function lenient(common, redirect) {
  const { server, resource } = common;
  const tokens = await redeem({ ...common, resource: undefined, ...(await authorize({ ...common, resource: undefined, user: 'bob' })) });
  await works(tokens.access_token, 'the access token of a client that names no resource');
  const portless = await register(server, { redirect_uris: [redirect.replace(/:\d+\//, '/')] });
  const trip = await authorize({ server, client: portless, redirect, resource, user: 'bob' });
  await works((await redeem({ server, client: portless, redirect, resource, ...trip })).access_token, 'the access token of a client that registered no port');
  const secret = await register(server, { redirect_uris: [redirect], token_endpoint_auth_method: 'client_secret_basic' }).catch((error) => error);
  if (!secret.client_secret) return ok(`(confidential clients are not registered by strangers here: ${secret.cause?.error ?? secret.error ?? secret.message})`);
  for (const [name, auth] of [['client_secret_basic', oauth.ClientSecretBasic], ['client_secret_post', oauth.ClientSecretPost]]) {
    const journey = await authorize({ server, client: secret, redirect, resource, user: 'bob' });
    await works((await redeem({ server, client: secret, redirect, resource, ...journey, auth: auth(secret.client_secret) })).access_token, `the access token of a confidential client by ${name}`);
  }
}

async function refresh({ server, client, resource }, token) {
  const answer = await oauth.refreshTokenGrantRequest(server, client, oauth.None(), token, { ...insecure, additionalParameters: { resource } });
  return oauth.processRefreshTokenResponse(server, client, answer);
}

/** A refusal must be one that the referee can read, with the error that the rules name. */
async function refused(promise, error, what) {
  const seen = await failure(promise, `${what} is refused`);
  check(seen instanceof oauth.ResponseBodyError && seen.error === error, `${what} is refused with ${error}`, `${seen} ${seen.error ?? ''} ${JSON.stringify(seen.cause)?.slice(0, 300) ?? ''}`);
}

async function call(token, scheme = 'Bearer') {
  return fetch(given.mcp, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream', authorization: `${scheme} ${token}` },
    body: JSON.stringify({
      jsonrpc: '2.0',
      id: 1,
      method: 'initialize',
      params: { protocolVersion: '2025-06-18', capabilities: {}, clientInfo: { name: 'referee', version: '1' } },
    }),
  });
}

async function works(token, what, scheme) {
  const answer = await call(token, scheme);
  const body = await answer.text();
  check(answer.status === 200 && body.includes('"protocolVersion"'), `${what} works`, `${answer.status} ${body.slice(0, 300)}`);
}

async function fails(token, what) {
  const answer = await call(token);
  await answer.body?.cancel();
  const challenge = answer.headers.get('www-authenticate') ?? '';
  check(answer.status === 401 && /error="invalid_token"/.test(challenge), `${what} is refused with 401 invalid_token`, `${answer.status} ${challenge}`);
}
