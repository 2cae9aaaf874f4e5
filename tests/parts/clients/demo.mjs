// The MCP clients of both generations at the demonstration: a login each, then its two tools through the gate.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { Client as OldClient } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as OldTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { Browser, redirectListener } from '../browser.mjs';
import { check, failure, options, script } from '../part.mjs';
import { memory } from './dance.mjs';

const given = options({ mcp: '' });
const url = new URL(given.mcp);
const people = {
  alice: { email: 'alice@example.com', groups: 'staff,admins' },
  bob: { email: 'bob@example.com', groups: 'staff' },
};

await script(async () => {
  await visit('client', 'alice', (provider) => {
    const client = new Client({ name: 'parts-demo', version: '1.0.0' }, { versionNegotiation: { mode: 'auto' } });
    const transport = new StreamableHTTPClientTransport(url, { authProvider: provider });
    return { client, transport, finish: (landed) => transport.finishAuth(landed.searchParams) };
  });
  await visit('sdk', 'bob', (provider) => {
    const client = new OldClient({ name: 'parts-demo', version: '1.0.0' });
    const transport = new OldTransport(url, { authProvider: provider });
    return { client, transport, finish: (landed) => transport.finishAuth(landed.searchParams.get('code')) };
  });
});

async function visit(name, user, make) {
  const listener = await redirectListener();
  const provider = memory(listener.uri);
  const first = make(provider);
  await failure(first.client.connect(first.transport), `${name}: the first connection is refused`);
  check(provider.wanted, `${name}: the person is sent to the browser`);
  await first.finish(await new Browser({ user }).walk(provider.wanted, listener.uri));

  const { client, transport } = make(provider);
  await client.connect(transport);
  const { tools } = await client.listTools();
  check(tools.map((tool) => tool.name).sort().join() === 'echo,whoami', `${name}: both tools are listed`, tools);
  const message = 'héllo "gate"';
  const echoed = await client.callTool({ name: 'echo', arguments: { message } });
  check(echoed.content[0].text === `Echo: ${message}`, `${name}: echo answers`, echoed);
  const told = (await client.callTool({ name: 'whoami', arguments: {} })).structuredContent;
  check(told.authorizationArrived === false, `${name}: the token stays at the gate`, told);
  const seen = { email: told.email, groups: told.groups };
  check(JSON.stringify(seen) === JSON.stringify(people[user]) && told.preferredUsername === user, `${name}: whoami tells of ${user}`, told);
  check(told.user && told.session, `${name}: whoami tells the subject and the session`, told);
  await client.close();
  listener.close();
}
