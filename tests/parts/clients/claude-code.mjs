// Claude Code as it is installed: its own login against the gate, and its own connection with the tokens that it keeps. It logs in at
// a terminal only, which `script` of Debian's essential packages is to it.
import { fileURLToPath } from 'node:url';
import { check, options, script } from '../part.mjs';
import { home, start, visit } from './installed.mjs';

const given = options({ mcp: '', user: 'alice' });
// The program itself: what stands for it in the package is put there by a script of its, and none of those is run here.
const program = fileURLToPath(new URL(`../node_modules/@anthropic-ai/claude-code-linux-${process.arch}/claude`, import.meta.url));

await script(async () => {
  const folder = await home();
  // Its login is with the gate, and with nobody else.
  const quiet = { CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1', DISABLE_AUTOUPDATER: '1' };
  const env = { PATH: '/usr/bin:/bin', HOME: folder, CLAUDE_CONFIG_DIR: folder, ...quiet };
  const claude = (...args) => start(program, ['mcp', ...args], env);

  const added = claude('add', '--scope', 'user', '--transport', 'http', 'gate', given.mcp);
  check(await added.ended === 0, 'the gate is added', added.said.join(''));

  const login = start('script', ['--quiet', '--return', '--command', `'${program}' mcp login gate --no-browser`, '/dev/null'], env, 'pipe');
  await visit(login, given.mcp, given.user, /^http:\/\/(localhost|127\.0\.0\.1):\d+\/callback$/);
  check(await login.ended === 0, 'claude is logged in', login.said.join(''));

  const listed = claude('get', 'gate');
  await listed.ended;
  check(/Connected/.test(listed.said.join('')), 'claude connects with the token that it kept', listed.said.join(''));
});
