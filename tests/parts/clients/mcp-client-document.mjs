// The same client, which does not register: its id is the address of a document that it publishes over TLS.
import { createServer } from 'node:https';
import { readFile } from 'node:fs/promises';
import { Client, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client';
import { check } from '../part.mjs';
import { dance } from './dance.mjs';

const certificate = (name) => readFile(new URL(`../../black_box/certificates/${name}`, import.meta.url));

/** Publishes what the client would have registered with; its redirect URI stands there without a port. */
async function publish(metadata) {
  const path = '/client.json';
  let asked = 0;
  const server = createServer({ cert: await certificate('server.pem'), key: await certificate('server-key.pem') }, (request, response) => {
    asked += 1;
    const redirects = metadata.redirect_uris.map((uri) => uri.replace(/:\d+\//, '/'));
    const document = { ...metadata, client_id: url, redirect_uris: redirects };
    response.writeHead(request.url === path ? 200 : 404, { 'content-type': 'application/json', 'cache-control': 'max-age=300' });
    response.end(JSON.stringify(document));
  });
  await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
  const url = `https://127.0.0.1:${server.address().port}${path}`;
  return {
    url,
    close() {
      check(asked === 1, 'the document is fetched once for all of it', asked);
      server.close();
    },
  };
}

await dance({
  connect: async ({ url, provider, mode }) => {
    const client = new Client({ name: 'parts-client', version: '2.4.0' }, { versionNegotiation: { mode } });
    const transport = new StreamableHTTPClientTransport(url, { authProvider: provider });
    return { client, transport, open: () => client.connect(transport), finish: (landed) => transport.finishAuth(landed.searchParams) };
  },
  unauthorized: UnauthorizedError,
  modes: ['auto', 'legacy'],
  publish,
});
