// One login at the gate by the rules of oauth4webapi, in steps that a test can take apart.
import * as oauth from 'oauth4webapi';
import { Browser, redirectListener } from '../browser.mjs';

export const insecure = { [oauth.allowInsecureRequests]: true };

/** Follows the challenge of the protected endpoint to the resource's metadata and to the authorization server's. */
export async function discover(mcp) {
  const refused = await fetch(mcp, { method: 'POST', headers: { 'content-type': 'application/json', accept: 'application/json, text/event-stream' }, body: '{"jsonrpc":"2.0","id":1,"method":"ping"}' });
  const challenge = refused.headers.get('www-authenticate') ?? '';
  const where = /resource_metadata="([^"]+)"/.exec(challenge)?.[1];
  if (refused.status !== 401 || !/^Bearer /i.test(challenge) || !where) {
    throw new Error(`expected a 401 with a Bearer challenge naming resource_metadata, not ${refused.status} ${challenge}`);
  }
  const answer = await fetch(where);
  const resource = await oauth.processResourceDiscoveryResponse(new URL(mcp), answer);
  const issuer = new URL(resource.authorization_servers[0]);
  const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: 'oauth2', ...insecure }));
  return { challenge, where, resource, server };
}

/** Registers a client by RFC 7591. */
export async function register(server, metadata) {
  const answer = await oauth.dynamicClientRegistrationRequest(server, {
    client_name: 'Strict referee',
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    token_endpoint_auth_method: 'none',
    ...metadata,
  }, insecure);
  return oauth.processDynamicClientRegistrationResponse(answer);
}

/** Sends a person through the authorization; gives where the browser landed and what it takes to go on. */
export async function authorize({ server, client, redirect, resource, scope, user, decision, browser, more = {} }) {
  const verifier = oauth.generateRandomCodeVerifier();
  const state = oauth.generateRandomState();
  const url = new URL(server.authorization_endpoint);
  url.search = new URLSearchParams({
    client_id: client.client_id,
    redirect_uri: redirect,
    response_type: 'code',
    state,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    ...(resource ? { resource } : {}),
    ...(scope ? { scope } : {}),
    ...more,
  });
  const person = browser ?? new Browser({ user, decision });
  const landed = await person.walk(url, redirect);
  return { landed, verifier, state, browser: person };
}

/** Redeems a code; `oauth4webapi` judges the redirect (state, iss) and the answer. */
export async function redeem({ server, client, redirect, resource, landed, verifier, state, auth = oauth.None() }) {
  const params = oauth.validateAuthResponse(server, client, landed, state);
  const answer = await oauth.authorizationCodeGrantRequest(server, client, auth, params, redirect, verifier, {
    ...insecure,
    ...(resource ? { additionalParameters: { resource } } : {}),
  });
  return oauth.processAuthorizationCodeResponse(server, client, answer);
}

/** Everything at once: an access token for the protected endpoint. */
export async function login(mcp, { user = 'alice' } = {}) {
  const { resource: about, server } = await discover(mcp);
  const listener = await redirectListener();
  try {
    const client = await register(server, { redirect_uris: [listener.uri] });
    const trip = await authorize({ server, client, redirect: listener.uri, resource: about.resource, user });
    return await redeem({ server, client, redirect: listener.uri, resource: about.resource, ...trip });
  } finally {
    listener.close();
  }
}
