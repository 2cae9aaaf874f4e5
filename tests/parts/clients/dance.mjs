// The dance of an MCP client with the gate, the same for both generations of the TypeScript SDK: the client finds the
// authorization server, registers, sends the person to a browser, redeems the code, calls tools, refreshes, and is sent
// to the browser again once its login is revoked.
import { randomBytes } from 'node:crypto';
import { Browser, redirectListener } from '../browser.mjs';
import { check, failure, ok, options, script } from '../part.mjs';

export function dance({ connect, unauthorized, modes, publish }) {
  const given = options({ mcp: '', user: 'alice', auth: 'oauth', mode: modes[0] });
  const url = new URL(given.mcp);
  return script(async () => {
    if (given.auth === 'none') {
      for (const mode of modes) await tools(await opened(connect, { url, mode }), `${mode} `);
      return;
    }
    const listener = await redirectListener();
    const provider = memory(listener.uri);
    const document = await publish?.(provider.clientMetadata);
    provider.clientMetadataUrl = document?.url;
    const make = () => connect({ url, provider, mode: given.mode });

    const first = await make();
    const error = await failure(first.open(), 'the first connection is refused');
    check(error instanceof unauthorized, 'the first connection is refused as unauthorized', String(error));
    check(provider.client?.client_id, 'the client is registered', provider.client);
    if (document) check(provider.client.client_id === document.url, 'its id is the address of its document', provider.client);
    check(provider.wanted, 'the client sends the person to the browser');

    const landed = await new Browser({ user: given.user }).walk(provider.wanted, listener.uri);
    check(!landed.searchParams.has('error'), 'the login comes back without an error', landed.search);
    check(landed.searchParams.get('state') === provider.stateSent, 'state comes back as it was sent');
    await first.finish(landed);
    check(provider.saved?.access_token && provider.saved.refresh_token, 'the code is redeemed for access and refresh tokens', Object.keys(provider.saved ?? {}));

    const second = await make();
    await second.open();
    ok('the client connects with its token');
    await tools(second, '');

    const before = provider.saved;
    provider.saved = { ...before, access_token: 'not-a-token-of-this-gate' };
    provider.wanted = undefined;
    const third = await make();
    await third.open();
    check(provider.saved.access_token !== before.access_token, 'a refused access token is refreshed by itself');
    check(provider.saved.refresh_token && provider.saved.refresh_token !== before.refresh_token, 'the refresh token rotates');
    check(!provider.wanted, 'nobody is sent to the browser for a refresh');
    await tools(third, 'after the refresh ');

    const metadata = await (await fetch(new URL('/.well-known/oauth-authorization-server', url))).json();
    const revoked = await fetch(metadata.revocation_endpoint, {
      method: 'POST',
      body: new URLSearchParams({ token: provider.saved.refresh_token, client_id: provider.client.client_id }),
    });
    check(revoked.status === 200, 'the login is revoked', revoked.status);
    provider.wanted = undefined;
    const fourth = await make();
    await failure(fourth.open(), 'nothing works after the revocation');
    check(provider.wanted, 'after the revocation the person is sent to the browser again');
    for (const each of [second, third]) await each.client.close().catch(() => {});
    listener.close();
    document?.close();
  });
}

async function opened(connect, wish) {
  const made = await connect(wish);
  await made.open();
  ok(`${wish.mode} connects`);
  return made;
}

/** Lists the tools and calls what each upstream has of an echo, a look at the caller, and a slow answer with progress. */
async function tools({ client }, prefix) {
  const { tools: list } = await client.listTools();
  const names = list.map(({ name }) => name);
  check(names.includes('echo'), `${prefix}the tools are listed`, names);
  const message = `héllo ${randomBytes(4).toString('hex')}`;
  const echoed = await client.callTool({ name: 'echo', arguments: { message } });
  check(echoed.content[0].text === `Echo: ${message}`, `${prefix}echo answers`, echoed);
  const slow = names.includes('slow')
    ? { name: 'slow', arguments: { steps: 3, delay: 100 } }
    : { name: 'trigger-long-running-operation', arguments: { duration: 1, steps: 4 } };
  const progress = [];
  const more = { onprogress: (step) => progress.push(step.progress) };
  const done = await slowly(client, slow, more);
  check(done.content?.[0]?.text, `${prefix}a slow tool answers`, done);
  check(progress.length >= 3, `${prefix}progress streams while it works`, progress);
}

/** The older generation takes a schema before the options. */
function slowly(client, call, more) {
  return client.callTool.toString().includes('resultSchema') ? client.callTool(call, undefined, more) : client.callTool(call, more);
}

/** What a client remembers between its steps; the SDKs ask for it in these words. */
export function memory(redirect) {
  return {
    redirectUrl: redirect,
    clientMetadata: {
      client_name: 'Parts of the test',
      redirect_uris: [redirect],
      grant_types: ['authorization_code', 'refresh_token'],
      response_types: ['code'],
      token_endpoint_auth_method: 'none',
      application_type: 'native',
    },
    state() {
      this.stateSent = randomBytes(16).toString('base64url');
      return this.stateSent;
    },
    clientInformation() { return this.client; },
    saveClientInformation(client) { this.client = client; },
    tokens() { return this.saved; },
    saveTokens(tokens) { this.saved = tokens; },
    redirectToAuthorization(where) { this.wanted = where; },
    saveCodeVerifier(verifier) { this.verifier = verifier; },
    codeVerifier() { return this.verifier; },
    saveDiscoveryState(state) { this.discovered = state; },
    discoveryState() { return this.discovered; },
    invalidateCredentials(which) {
      if (which === 'all' || which === 'tokens') this.saved = undefined;
      if (which === 'all' || which === 'client') this.client = undefined;
      if (which === 'all' || which === 'discovery') this.discovered = undefined;
    },
  };
}
