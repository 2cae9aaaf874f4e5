// What kinds of identity provider do otherwise than by the book, where the gate can tell: `provider.mjs` asks here.
//
// `asks` looks at an authorization request, may change it, and may refuse it; `answered` looks at what the token endpoint has answered
// and may change that; `claims` are laid over those of an ID token.
import { Buffer } from 'node:buffer';

const plain = {
  scopes: ['openid', 'offline_access', 'email', 'profile', 'groups'],
  rotates: true,
  subject: (name) => name,
  asks: () => undefined,
  claims: () => ({}),
  answered: async () => {},
};

/** Dex: subjects that say nothing, scopes for other clients, and one refresh token per person and client, the last login's. */
function dex() {
  const held = new Map();
  const scopes = [...plain.scopes, 'federated:id', ...['grafana', 'kubernetes'].map((peer) => `audience:server:client_id:${peer}`)];
  return {
    ...plain,
    scopes,
    subject: (name) => Buffer.concat([field(1, `${name}-of-ldap`), field(2, 'ldap')]).toString('base64url'),
    asks: (params) => {
      const words = params.get('scope')?.split(' ') ?? [];
      if (!words.every((word) => scopes.includes(word))) return 'invalid_scope';
      // Asking for offline access is enough there, and nobody is asked for consent.
      if (words.includes('offline_access')) params.set('prompt', 'consent');
      return undefined;
    },
    claims: ({ aud }, scope) => {
      const peers = scope.filter((word) => word.startsWith('audience:')).map((word) => word.split(':')[3]);
      return peers.length > 0 ? { aud: [...peers, aud], azp: aud } : {};
    },
    answered: async (context, { provider, grant, account }) => {
      const { body } = context;
      if (grant === 'refresh_token' && body.error === 'invalid_grant') {
        // It has its own word for a token that was used, replaced or has expired.
        context.body = { error: 'invalid_request', error_description: 'Refresh token is invalid or has already been claimed by another client.' };
      }
      if (!body.refresh_token) return;
      const before = held.get(account);
      held.set(account, body.refresh_token);
      if (grant === 'authorization_code' && before) await (await provider.RefreshToken.find(before))?.destroy();
    },
  };
}

/** Google: no scope for offline access, a parameter in its place; a refresh token with the consent only, and it stays as it is. */
function google() {
  const consented = new Set();
  return {
    ...plain,
    rotates: false,
    asks: (params) => {
      const words = params.get('scope')?.split(' ') ?? [];
      if (words.includes('offline_access') || words.includes('groups')) return 'invalid_scope';
      if (params.get('access_type') === 'offline') {
        params.set('scope', [...words, 'offline_access'].join(' '));
        params.set('prompt', 'consent');
      }
      return undefined;
    },
    answered: async (context, { grant, account, once }) => {
      if (!context.body.refresh_token) return;
      const known = consented.has(account);
      if (!context.body.error) consented.add(account);
      // The one that was given stays good; `once` is of an account whose consent is not asked for again, whatever the request says.
      if (grant === 'refresh_token' || (known && once)) delete context.body.refresh_token;
    },
  };
}

/** A length-delimited field of protobuf, which Dex makes its subjects of. */
function field(number, value) {
  return Buffer.concat([Buffer.from([(number << 3) | 2, value.length]), Buffer.from(value)]);
}

export const profiles = { plain: () => plain, dex, google };
