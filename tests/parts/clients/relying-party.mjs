// oauth4webapi and openid-client as relying parties of an OpenID provider: every answer of the provider must be one that
// both of them accept, signature and hashes included.
import * as oauth from 'oauth4webapi';
import * as openid from 'openid-client';
import { Browser, redirectListener } from '../browser.mjs';
import { check, failure, options, script } from '../part.mjs';

const given = options({ issuer: '', 'client-id': '', 'client-secret': '', redirect: '', scope: 'openid profile email groups' });

/** Every page here is the provider's; there is no gate. */
class Person extends Browser {
  atGate() { return false; }
}

const insecure = { [oauth.allowInsecureRequests]: true };

await script(async () => {
  const issuer = new URL(given.issuer);
  const at = new URL(given.redirect);
  const listener = await redirectListener(at.pathname, Number(at.port));
  const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, insecure));
  const client = { client_id: given['client-id'] };

  for (const [name, auth, user] of [['basic', oauth.ClientSecretBasic, 'alice'], ['post', oauth.ClientSecretPost, 'bob']]) {
    const [verifier, state, nonce] = [oauth.generateRandomCodeVerifier(), oauth.generateRandomState(), oauth.generateRandomNonce()];
    const landed = await walk({ state, nonce, code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256' }, server.authorization_endpoint, user);
    const params = oauth.validateAuthResponse(server, client, landed, state);
    const redeem = () => oauth.authorizationCodeGrantRequest(server, client, auth(given['client-secret']), params, given.redirect, verifier, insecure);
    const answer = await redeem();
    const tokens = await oauth.processAuthorizationCodeResponse(server, client, answer, { expectedNonce: nonce, requireIdToken: true });
    await oauth.validateApplicationLevelSignature(server, answer, insecure);
    const claims = oauth.getValidatedIdTokenClaims(tokens);
    check(claims.preferred_username === user && claims.email_verified === true && claims.groups.includes('staff') && claims.sid, `${name}: the ID token tells who ${user} is`, claims);
    check(claims.at_hash, `${name}: the ID token is bound to the access token`);
    const info = await oauth.processUserInfoResponse(server, client, claims.sub, await oauth.userInfoRequest(server, client, tokens.access_token, insecure));
    check(info.email === claims.email, `${name}: the user information tells the same`, info);
    const again = await failure(redeem().then((replayed) => oauth.processAuthorizationCodeResponse(server, client, replayed)), `${name}: a code is good once`);
    check(again.error === 'invalid_grant', `${name}: a code is good once`, String(again));
    const renewed = await oauth.processRefreshTokenResponse(server, client, await oauth.refreshTokenGrantRequest(server, client, auth(given['client-secret']), tokens.refresh_token, insecure));
    check(renewed.access_token !== tokens.access_token && renewed.refresh_token, `${name}: a refresh token gives fresh ones`);
    check(oauth.getValidatedIdTokenClaims(renewed)?.sub === claims.sub, `${name}: the refreshed ID token is of the same person`);
  }

  const config = await openid.discovery(issuer, client.client_id, given['client-secret'], undefined, { execute: [openid.allowInsecureRequests, openid.enableNonRepudiationChecks] });
  const [pkceCodeVerifier, expectedState, expectedNonce] = [openid.randomPKCECodeVerifier(), openid.randomState(), openid.randomNonce()];
  const parameters = { redirect_uri: given.redirect, scope: given.scope, state: expectedState, nonce: expectedNonce, code_challenge: await openid.calculatePKCECodeChallenge(pkceCodeVerifier), code_challenge_method: 'S256' };
  const landed = await new Person({ user: 'bob' }).walk(openid.buildAuthorizationUrl(config, parameters), given.redirect);
  const tokens = await openid.authorizationCodeGrant(config, landed, { pkceCodeVerifier, expectedState, expectedNonce, idTokenExpected: true });
  check(tokens.claims().sub, 'openid-client logs in', tokens.claims());
  check((await openid.refreshTokenGrant(config, tokens.refresh_token)).access_token, 'openid-client refreshes');

  const denied = await walk({ state: 's', code_challenge: parameters.code_challenge, code_challenge_method: 'S256' }, server.authorization_endpoint, 'alice', 'deny');
  const refusal = await failure(Promise.resolve().then(() => oauth.validateAuthResponse(server, client, denied, 's')), 'whoever goes away is an error');
  check(refusal.error === 'access_denied' || refusal.cause?.get?.('error') === 'access_denied', 'whoever goes away comes back as access_denied', denied.search);
  listener.close();
});

/** Sends a person through the login; gives where the browser landed. */
function walk(more, endpoint, user, providerDecision) {
  const url = new URL(endpoint);
  url.search = new URLSearchParams({ client_id: given['client-id'], redirect_uri: given.redirect, response_type: 'code', scope: given.scope, ...more });
  return new Person({ user, providerDecision }).walk(url, given.redirect);
}
