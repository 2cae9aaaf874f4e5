// For the bench: the provider, and some sessions at it whose refresh tokens rotate. No openid scope, so that no ID token is signed
// with a refresh: what is left is a confidential client's refresh grant with opaque tokens, as the gate's own.
import * as openid from 'openid-client';
import { Browser, redirectListener } from './browser.mjs';
import { options, ready } from './part.mjs';
import { part } from './start.mjs';

const given = options({ sessions: '8' });
const [id, secret] = ['portcullis', 'a secret of the upstream provider, long enough'];
const listener = await redirectListener('/oauth/callback');
const { issuer, child } = await part('./provider.mjs', { 'redirect-uri': listener.uri });
const config = await openid.discovery(new URL(issuer), id, secret, openid.ClientSecretBasic(secret), { execute: [openid.allowInsecureRequests] });
const tokens = [];
for (let session = 0; session < Number(given.sessions); session += 1) {
  const verifier = openid.randomPKCECodeVerifier();
  const url = openid.buildAuthorizationUrl(config, {
    redirect_uri: listener.uri,
    scope: 'offline_access',
    prompt: 'consent',
    code_challenge: await openid.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  });
  const landed = await new Browser().walk(url, listener.uri);
  const { refresh_token: token } = await openid.authorizationCodeGrant(config, landed, { pkceCodeVerifier: verifier });
  if (!token) throw new Error('the provider issued no refresh token');
  tokens.push(token);
}
ready({ issuer, id, secret, provider: child.pid, tokens });
