// Codex as it is installed: its own login against the gate, and its own connection with the tokens that it keeps.
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { check, options, script, sleep } from '../part.mjs';
import { home, start, visit } from './installed.mjs';

const given = options({ mcp: '', user: 'alice' });
const program = fileURLToPath(new URL('../node_modules/@openai/codex/bin/codex.js', import.meta.url));

await script(async () => {
  const folder = await home();
  const env = { PATH: '', HOME: folder, CODEX_HOME: folder };
  const config = ['mcp_oauth_credentials_store = "file"', '[mcp_servers.gate]', `url = ${JSON.stringify(given.mcp)}`, ''];
  await writeFile(join(folder, 'config.toml'), config.join('\n'));

  const login = start(process.execPath, [program, 'mcp', 'login', 'gate'], env);
  await visit(login, given.mcp, given.user, /^http:\/\/127\.0\.0\.1:\d+\/callback/);
  check(await login.ended === 0, 'codex is logged in', login.said.join(''));

  const session = start(process.execPath, [program, 'app-server'], env, 'pipe');
  const ask = asker(session);
  await ask('initialize', { clientInfo: { name: 'portcullis-parts', title: 'parts', version: '1.0.0' } });
  const listed = await ask('mcpServerStatus/list', {});
  const server = listed.data?.find(({ name }) => name === 'gate');
  check(server?.authStatus === 'oAuth', 'codex knows that it is logged in', listed);
  check(Object.keys(server.tools).includes('echo'), 'codex lists the tools through the gate', listed);
  session.child.kill();
});

/** Asks the running program by JSON-RPC, a line each. */
function asker({ child, said }) {
  const waiting = new Map();
  createInterface({ input: child.stdout }).on('line', (line) => {
    const { id, result, error } = JSON.parse(line);
    waiting.get(id)?.(error ? { error } : result);
  });
  let count = 0;
  return (method, params) => {
    const id = count += 1;
    const answer = new Promise((resolve) => waiting.set(id, resolve));
    child.stdin.write(`${JSON.stringify({ id, method, params })}\n`);
    const late = sleep(30_000).then(() => ({ error: `no answer to ${method}: ${said.join('')}` }));
    return Promise.race([answer, late]);
  };
}
