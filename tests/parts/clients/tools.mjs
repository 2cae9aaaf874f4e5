// Both generations of the TypeScript SDK against an MCP server that asks for no login and offers echo and whoami.
import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { Client as OldClient } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport as OldTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { check, failure, options, script } from '../part.mjs';

const given = options({ mcp: '' });
const url = new URL(given.mcp);

await script(async () => {
  for (const mode of ['auto', 'legacy']) {
    const client = new Client({ name: 'parts-tools', version: '1.0.0' }, { versionNegotiation: { mode } });
    await client.connect(new StreamableHTTPClientTransport(url));
    await use(client, mode);
    if (mode === 'legacy') check(await client.ping(), `${mode}: ping is answered`);
    await client.close();
  }
  const older = new OldClient({ name: 'parts-tools', version: '1.0.0' });
  await older.connect(new OldTransport(url));
  await use(older, 'older SDK');
  check(await older.ping(), 'older SDK: ping is answered');
  await older.close();
});

async function use(client, name) {
  check(client.getServerVersion()?.name === 'portcullis-demo', `${name}: the server says its name`, client.getServerVersion());
  const { tools } = await client.listTools();
  check(tools.map((tool) => tool.name).sort().join() === 'echo,whoami', `${name}: the tools are listed`, tools);
  const echoed = await client.callTool({ name: 'echo', arguments: { message: 'héllo "world"' } });
  check(echoed.content[0].text === 'Echo: héllo "world"', `${name}: echo answers`, echoed);
  const wrong = await client.callTool({ name: 'echo', arguments: {} });
  check(wrong.isError === true, `${name}: echo says what it needs`, wrong);
  const told = await client.callTool({ name: 'whoami', arguments: {} });
  check(told.structuredContent?.authorizationArrived === false && told.content[0].text, `${name}: whoami answers`, told);
  const refused = await failure(client.callTool({ name: 'nope', arguments: {} }), `${name}: another tool is refused`);
  check(refused.code === -32602, `${name}: another tool is refused`, String(refused));
}
