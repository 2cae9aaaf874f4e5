// The MCP Inspector as it is installed: its own login against the gate, and its own connection with the tokens that it keeps.
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { check, options, script } from '../part.mjs';
import { freePort } from '../start.mjs';
import { home, start, visit } from './installed.mjs';

const given = options({ mcp: '', user: 'alice' });
const program = fileURLToPath(new URL('../node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js', import.meta.url));

await script(async () => {
  const folder = await home();
  const callback = `http://127.0.0.1:${await freePort()}/oauth/callback`;
  const env = { PATH: '', HOME: folder, MCP_INSPECTOR_SECRET_STORE: 'file' };
  const words = (...args) => [program, '--cli', given.mcp, '--transport', 'http', '--callback-url', callback, '--format', 'json', ...args];

  // It asks the person at a terminal only, which `script` of Debian's essential packages is to it.
  const command = [process.execPath, ...words('--method', 'tools/list')].map((word) => `'${word}'`).join(' ');
  const first = start('script', ['--quiet', '--return', '--command', command, '/dev/null'], { ...env, PATH: '/usr/bin:/bin' }, 'pipe');
  await visit(first, given.mcp, given.user, new RegExp(`^${callback}$`));
  check(await first.ended === 0, 'the inspector is logged in', first.said.join(''));
  check(/"echo"/.test(first.said.join('')), 'it lists the tools through the gate', first.said.join(''));

  const second = start(process.execPath, words('--stored-auth-only', '--method', 'tools/call', '--tool-name', 'echo', '--tool-arg', 'message=again'), env);
  check(await second.ended === 0, 'it comes back with the token that it kept', second.said.join(''));
  check(/Echo: again/.test(second.said.join('')), 'echo answers', second.said.join(''));
});
