// Gemini CLI as it is installed: the login of its package against the gate, and its own connection with the tokens that it keeps.
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { check, options, script } from '../part.mjs';
import { home, start, visit } from './installed.mjs';

const given = options({ mcp: '', user: 'alice' });
const path = (name) => fileURLToPath(new URL(name, import.meta.url));
const gemini = path('../node_modules/@google/gemini-cli');

await script(async () => {
  const folder = await home();
  const env = { PATH: '', HOME: folder, GEMINI_API_KEY: 'none', NO_BROWSER: 'true' };
  await mkdir(join(folder, '.gemini'));
  const server = { httpUrl: given.mcp, oauth: { enabled: true } };
  await writeFile(join(folder, '.gemini', 'settings.json'), JSON.stringify({ security: { folderTrust: { enabled: false } }, mcpServers: { gate: server } }));

  const login = start(process.execPath, [path('./gemini-login.mjs'), gemini, given.mcp], env, 'pipe');
  login.child.stdin.write('y\n');
  await visit(login, given.mcp, given.user, /^http:\/\/localhost:\d+\/oauth\/callback$/);
  check(await login.ended === 0, 'gemini is logged in', login.said.join(''));
  check(/scope: mcp/.test(login.said.join('')), 'it is told its scope', login.said.join(''));
  check(/renewed: true/.test(login.said.join('')), 'it renews its tokens', login.said.join(''));

  const listed = start(process.execPath, [join(gemini, 'bundle', 'gemini.js'), 'mcp', 'list'], env);
  await listed.ended;
  check(/gate: .*Connected/.test(listed.said.join('')), 'gemini connects with the token that it kept', listed.said.join(''));
});
