// @modelcontextprotocol/sdk (the first generation, which most clients in use are built on) against the gate.
import { UnauthorizedError } from '@modelcontextprotocol/sdk/client/auth.js';
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { dance } from './dance.mjs';

await dance({
  connect: async ({ url, provider }) => {
    const client = new Client({ name: 'parts-sdk', version: '1.32.2' });
    const transport = new StreamableHTTPClientTransport(url, { authProvider: provider });
    return { client, transport, open: () => client.connect(transport), finish: (landed) => transport.finishAuth(landed.searchParams.get('code')) };
  },
  unauthorized: UnauthorizedError,
  modes: ['legacy'],
});
