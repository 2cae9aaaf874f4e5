// @modelcontextprotocol/client (the second generation, strict about `iss` and the issuer) against the gate.
import { Client, StreamableHTTPClientTransport, UnauthorizedError } from '@modelcontextprotocol/client';
import { dance } from './dance.mjs';

await dance({
  connect: async ({ url, provider, mode }) => {
    const client = new Client({ name: 'parts-client', version: '2.4.0' }, { versionNegotiation: { mode } });
    const transport = new StreamableHTTPClientTransport(url, { authProvider: provider });
    return { client, transport, open: () => client.connect(transport), finish: (landed) => transport.finishAuth(landed.searchParams) };
  },
  unauthorized: UnauthorizedError,
  modes: ['auto', 'legacy'],
});
