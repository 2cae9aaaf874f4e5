// mcp-remote, the bridge for clients that speak over standard input and output alone: its own proxy against the gate.
// Its PATH is empty, so it finds no browser to open and prints the address that the person is to visit.
import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StdioClientTransport } from '@modelcontextprotocol/sdk/client/stdio.js';
import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Browser } from '../browser.mjs';
import { check, options, script, sleep } from '../part.mjs';
import { freePort } from '../start.mjs';

const given = options({ mcp: '', user: 'alice' });
const proxy = fileURLToPath(new URL('../node_modules/mcp-remote/dist/proxy.js', import.meta.url));

await script(async () => {
  const folder = await mkdtemp(join(tmpdir(), 'portcullis-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  const port = await freePort();

  const first = bridge(folder, port);
  const connected = first.open();
  connected.catch(() => {});
  const url = new URL(await address(first.said));
  check(url.origin === new URL(given.mcp).origin, 'the person is sent to the gate', url.href);
  const callback = url.searchParams.get('redirect_uri');
  check(callback === `http://localhost:${port}/oauth/callback`, 'the login is to come back to the bridge', callback);
  const landed = await new Browser({ user: given.user }).walk(url, callback);
  check(landed.searchParams.has('code'), 'the login comes back with a code', landed.search);
  await held(connected, first.said, 'the bridge connects after the login');
  await use(first.client, '');
  await first.client.close();

  const second = bridge(folder, port);
  await held(second.open(), second.said, 'the bridge comes back with the token that it kept');
  await use(second.client, 'when it has come back ');
  await second.client.close();
  check(!asked(second.said), 'nobody is sent to the browser a second time', second.said.join(''));
});

/** The bridge as a process of its own, and a client that speaks with it. */
function bridge(folder, port) {
  const client = new Client({ name: 'parts-bridge', version: '1.0.0' });
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [proxy, given.mcp, String(port), '--allow-http', '--transport', 'http-only'],
    env: { PATH: '', HOME: folder, MCP_REMOTE_CONFIG_DIR: folder },
    stderr: 'pipe',
  });
  const said = [];
  transport.stderr.on('data', (piece) => said.push(piece));
  process.on('exit', () => { if (transport.pid) process.kill(transport.pid); });
  return { client, said, open: () => client.connect(transport) };
}

/** The address that the bridge asks the person to visit, once it does. */
async function address(said) {
  for (let attempt = 0; attempt < 300; attempt += 1) {
    const url = asked(said);
    if (url) return url;
    await sleep(100);
  }
  return check(false, 'the bridge asks the person to log in', said.join(''));
}

function asked(said) {
  return /Please authorize this client by visiting:\s+(\S+)\s/.exec(said.join(''))?.[1];
}

async function held(promise, said, what) {
  const error = await promise.then(() => undefined, (reason) => reason);
  check(!error, what, `${error}\n${said.join('')}`);
}

async function use(client, prefix) {
  const { tools } = await client.listTools();
  check(tools.some(({ name }) => name === 'echo'), `${prefix}the tools are listed`, tools);
  const echoed = await client.callTool({ name: 'echo', arguments: { message: 'héllo "bridge"' } });
  check(echoed.content[0].text === 'Echo: héllo "bridge"', `${prefix}echo answers`, echoed);
}
