// The upstream identity provider: oidc-provider with one confidential client and two people, on loopback; with a certificate and
// its key it speaks TLS, under a name of its own. With a profile it does otherwise than by the book (`profiles.mjs`).
//
// The control endpoint (POST /__control, JSON) makes it misbehave on purpose:
//   {"rotate": true}                  a new signing key; the old one leaves the key set
//   {"token": {"status": 500}}        the token endpoint fails; also {"delay": 3000}, {"body": "not json"}, {"type": "text/html"},
//                                     {"size": 9000000}; {"jitter": 300} is a delay up to that of what has been done already
//   {"lose": 1}                       so many answers of the token endpoint are lost after what was asked has been done
//   {"skew": 75}                      its clock is off by so many seconds
//   {"away": true}                    it takes no connection that asks for anything
//   {"revoke": true}                  it knows none of its refresh tokens any more
//   {"once": true}                    a refresh token is given at a person's first login only
//   {"claims": {"nonce": "wrong"}}    id tokens are signed again with these claims put in (null takes a claim out)
//   {"header": {"kid": "other"}}      id tokens are signed again with these header members
//   {"reset": true}                   well-behaved again
// GET /__control tells how often each endpoint was asked, what the last authorization request carried, and how many refresh tokens are
// good.
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { SignJWT, decodeJwt, decodeProtectedHeader, exportJWK, generateKeyPair, importJWK } from 'jose';
import { listen, options, ready, sleep, text } from './part.mjs';
import { profiles } from './profiles.mjs';

const given = options({
  port: '0',
  host: '127.0.0.1',
  'client-id': 'portcullis',
  'client-secret': 'a secret of the upstream provider, long enough',
  'redirect-uri': 'http://127.0.0.1:8080/oauth/callback',
  alg: 'RS256',
  consent: 'auto',
  pkce: 'required',
  profile: 'plain',
  life: '600',
  reuse: '0',
  name: '',
  cert: '',
  key: '',
});
// The library says on the standard output what it thinks of plain http and of development keys; nobody here needs that.
console.info = console.warn = (...words) => process.stderr.write(`${words.join(' ')}\n`);
const { Provider } = await import('oidc-provider');
const { createMemoryAdapter } = await import('oidc-provider/lib/adapters/memory_adapter.js');
// Every provider of its own would have a memory of its own.
const adapter = createMemoryAdapter();

const people = {
  alice: { email: 'alice@example.com', email_verified: true, name: 'Alice Example', preferred_username: 'alice', groups: ['staff', 'admins'] },
  bob: { email: 'bob@example.com', email_verified: false, name: 'Bob Ünïcode, Jr.', preferred_username: 'bob', groups: ['staff'] },
  carol: { email: 'carol@example.com', email_verified: true, name: 'Carol', hd: 'example.com' },
  mallory: { email: 'mallory@example.com', email_verified: true, name: 'Mallory', hd: 'example.com.evil.example' },
};
const profile = profiles[given.profile]();
const accounts = Object.fromEntries(Object.entries(people).map(([name, about]) => [profile.subject(name), about]));

const life = Number(given.life);
let faults = {};
let generation = 0;
let signing;
let current;
const seen = { authorize: 0, token: 0, refreshes: 0, refused: 0, jwks: 0, discovery: 0, last: null };
const handedOut = new Set();
const answers = new Map();

const secure = given.cert ? { cert: readFileSync(given.cert), key: readFileSync(given.key) } : null;
const server = secure ? https.createServer(secure, serve) : http.createServer(serve);
const port = await listen(server, given.port, given.host);
const issuer = `${secure ? 'https' : 'http'}://${given.name || given.host}:${port}`;
await rotate();
ready({ issuer, port });

function serve(request, response) {
  answer(request, response).catch((error) => {
    process.stderr.write(`${error.stack}\n`);
    if (!response.headersSent) response.writeHead(500);
    response.end();
  });
}

/** A provider with a key of its own; what it has issued outlasts it. */
async function rotate() {
  generation += 1;
  const pair = await generateKeyPair(given.alg, { extractable: true, ...(given.alg === 'EdDSA' ? { crv: 'Ed25519' } : {}) });
  signing = { ...(await exportJWK(pair.privateKey)), alg: given.alg, kid: `key-${generation}`, use: 'sig' };
  const provider = new Provider(issuer, {
    clients: [
      {
        client_id: given['client-id'],
        client_secret: given['client-secret'],
        redirect_uris: [given['redirect-uri']],
        grant_types: ['authorization_code', 'refresh_token'],
        response_types: ['code'],
        id_token_signed_response_alg: given.alg,
      },
    ],
    adapter,
    jwks: { keys: [signing] },
    cookies: { keys: ['one key for the cookies of a test'] },
    claims: {
      openid: ['sub', 'hd'],
      email: ['email', 'email_verified'],
      profile: ['name', 'preferred_username'],
      groups: ['groups'],
    },
    scopes: profile.scopes,
    conformIdTokenClaims: false,
    features: { devInteractions: { enabled: false }, revocation: { enabled: true }, rpInitiatedLogout: { enabled: true } },
    findAccount: (_context, id) => (accounts[id] ? { accountId: id, claims: () => ({ sub: id, ...accounts[id] }) } : undefined),
    interactions: { url: (_context, interaction) => `/interaction/${interaction.uid}` },
    pkce: { required: () => given.pkce === 'required' },
    rotateRefreshToken: profile.rotates,
    ttl: { AccessToken: life, IdToken: life, RefreshToken: 86_400, Session: 3_600, Interaction: 600, Grant: 86_400 },
    renderError: (context, out, error) => {
      process.stderr.write(`${error.stack}\n`);
      context.type = 'html';
      context.body = page(`<h1>The provider refuses</h1><p>${escape(out.error)}: ${escape(out.error_description ?? '')}</p>`);
    },
  });
  provider.use(async (context, next) => {
    await next();
    if (context.path === '/token') await answered(context, provider);
  });
  current = provider.callback();
  current.provider = provider;
}

/** What was done is done; here is what is told of it. */
async function answered(context, provider) {
  const { grant_type: grant, refresh_token: sent } = Object.fromEntries(new URLSearchParams(context.req.body));
  const account = context.oidc?.entities?.Account?.accountId;
  const { scope = '' } = context.oidc?.entities?.RefreshToken ?? context.oidc?.entities?.AuthorizationCode ?? {};
  if (grant === 'refresh_token' && context.body?.error) seen.refused += 1;
  await profile.answered(context, { provider, grant, account, once: faults.once });
  if (context.body.refresh_token) handedOut.add(context.body.refresh_token);
  const idToken = context.body.id_token;
  if (idToken) {
    const claims = profile.claims(decodeJwt(idToken), scope.split(' '));
    if (Object.keys(claims).length > 0 || faults.claims || faults.header || faults.skew) context.body.id_token = await forge(idToken, claims);
  }
  if (grant === 'refresh_token' && Number(given.reuse) > 0 && !context.body.error) answers.set(sent, { at: Date.now(), body: context.body });
  if (faults.token?.jitter) await sleep(Math.random() * faults.token.jitter);
  if (faults.lose > 0) {
    faults.lose -= 1;
    context.respond = false;
    context.req.socket.destroy();
  }
}

async function answer(request, response) {
  const url = new URL(request.url, issuer);
  if (url.pathname === '/__control') return control(request, response);
  if (faults.away) return request.socket.destroy();
  if (url.pathname.startsWith('/interaction/')) return interact(request, response, url);
  if (url.pathname === '/auth') {
    seen.authorize += 1;
    seen.last = Object.fromEntries(url.searchParams);
    const refusal = profile.asks(url.searchParams);
    if (refusal) {
      const back = new URL(given['redirect-uri']);
      back.search = new URLSearchParams({ error: refusal, state: url.searchParams.get('state') ?? '' });
      response.writeHead(303, { location: back.href });
      return response.end();
    }
    request.url = `/auth${url.search}`;
  }
  if (url.pathname === '/jwks') seen.jwks += 1;
  if (url.pathname === '/.well-known/openid-configuration') seen.discovery += 1;
  if (url.pathname === '/token') {
    seen.token += 1;
    const { delay, status, body, type, size } = faults.token ?? {};
    if (delay) await sleep(delay);
    if (status || body !== undefined || type || size) {
      response.writeHead(status ?? 200, { 'content-type': type ?? 'application/json' });
      return response.end(size ? `{"a":"${'a'.repeat(size)}"}` : body ?? '{"error":"server_error"}');
    }
    // Read here, because what was sent decides what is told of it.
    request.body = await text(request);
    const form = new URLSearchParams(request.body);
    if (form.get('grant_type') === 'refresh_token') {
      seen.refreshes += 1;
      const before = answers.get(form.get('refresh_token'));
      if (before && Date.now() - before.at < Number(given.reuse) * 1000) {
        response.writeHead(200, { 'content-type': 'application/json' });
        return response.end(JSON.stringify(before.body));
      }
    }
  }
  return current(request, response);
}

/** The pages of the login: a name is enough, there are no passwords here. */
async function interact(request, response, url) {
  const provider = current.provider;
  const step = url.pathname.split('/')[3];
  const { uid, prompt, params, session } = await provider.interactionDetails(request, response);
  if (request.method === 'GET') {
    if (prompt.name === 'consent' && given.consent === 'auto') {
      return provider.interactionFinished(request, response, await agree(provider, prompt, params, session), { mergeWithLastSubmission: true });
    }
    response.writeHead(200, { 'content-type': 'text/html; charset=utf-8', 'cache-control': 'no-store' });
    return response.end(prompt.name === 'login' ? loginPage(uid, params) : consentPage(uid));
  }
  const form = new URLSearchParams(await text(request));
  if (step === 'login') {
    const name = form.get('username');
    if (!people[name]) {
      response.writeHead(200, { 'content-type': 'text/html; charset=utf-8' });
      return response.end(loginPage(uid, params, 'There is nobody of that name.'));
    }
    return provider.interactionFinished(request, response, { login: { accountId: profile.subject(name) } }, { mergeWithLastSubmission: false });
  }
  if (step === 'consent') {
    return provider.interactionFinished(request, response, await agree(provider, prompt, params, session), { mergeWithLastSubmission: true });
  }
  return provider.interactionFinished(
    request,
    response,
    { error: 'access_denied', error_description: 'The person went away' },
    { mergeWithLastSubmission: false },
  );
}

async function agree(provider, prompt, params, session) {
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  if (prompt.details.missingOIDCScope) grant.addOIDCScope(prompt.details.missingOIDCScope.join(' '));
  if (prompt.details.missingOIDCClaims) grant.addOIDCClaims(prompt.details.missingOIDCClaims);
  return { consent: { grantId: await grant.save() } };
}

/** Signs an id token again, wrong in the way that was asked for. */
async function forge(idToken, more) {
  const claims = { ...decodeJwt(idToken), ...more };
  for (const name of ['iat', 'exp', 'auth_time']) if (claims[name]) claims[name] += faults.skew ?? 0;
  Object.assign(claims, faults.claims);
  for (const [name, value] of Object.entries(claims)) if (value === null) delete claims[name];
  const header = { ...decodeProtectedHeader(idToken), ...faults.header };
  return new SignJWT(claims).setProtectedHeader(header).sign(await importJWK(signing, given.alg));
}

async function control(request, response) {
  if (request.method === 'POST') {
    const { rotate: wanted, reset, revoke, ...more } = JSON.parse(await text(request));
    if (reset) faults = {};
    if (wanted) await rotate();
    if (revoke) for (const token of handedOut) await (await current.provider.RefreshToken.find(token))?.destroy();
    faults = { ...faults, ...more };
  }
  let good = 0;
  for (const token of handedOut) if ((await current.provider.RefreshToken.find(token))?.isValid) good += 1;
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify({ faults, kid: signing.kid, seen, good }));
}

function escape(value) {
  return String(value).replace(/[&<>"']/g, (letter) => `&#${letter.charCodeAt(0)};`);
}

function page(body) {
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Example provider</title><body>${body}</body></html>`;
}

function loginPage(uid, params, complaint = '') {
  return page(`<h1>Log in at the example provider</h1>${complaint && `<p role="alert">${escape(complaint)}</p>`}
<form id="login" method="post" action="/interaction/${escape(uid)}/login">
<label>Name <input name="username" autofocus value="${escape(params.login_hint ?? '')}"></label>
<button type="submit">Log in</button></form>
<form id="abort" method="post" action="/interaction/${escape(uid)}/abort"><button type="submit" name="abort" value="1">Go away</button></form>`);
}

function consentPage(uid) {
  return page(`<h1>Let the gate know who you are?</h1>
<form id="consent" method="post" action="/interaction/${escape(uid)}/consent"><button type="submit" name="decision" value="approve">Approve</button></form>
<form id="abort" method="post" action="/interaction/${escape(uid)}/abort"><button type="submit" name="abort" value="1">Go away</button></form>`);
}
