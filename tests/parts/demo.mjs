// The demonstration as a stranger meets it: one command, then a real browser and real clients.
//
//   node demo.mjs --gate PATH [--shots FOLDER]
//
// The last line is `N passed, N failed`.
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { options, sleep } from './part.mjs';
import { freePort, keep, script, stop } from './start.mjs';

const given = options({ gate: '', shots: '' });
const state = await mkdtemp(join(tmpdir(), 'portcullis-demo-'));
let passed = 0;
let failed = 0;

try {
  const begun = Date.now();
  const address = `127.0.0.1:${await freePort()}`;
  const demo = keep(spawn(given.gate, ['demo', '--listen', address], { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, XDG_STATE_HOME: state } }));
  const said = [];
  demo.once('error', (error) => said.push(String(error)));
  for (const stream of [demo.stdout, demo.stderr]) stream.on('data', (piece) => said.push(piece));
  const mcp = await endpoint(demo, said);
  console.log(`ok the demonstration greets after ${Date.now() - begun} ms: ${mcp}`);
  passed += 1;
  await runs('chromium', './chromium.mjs', { mcp, ...(given.shots && { shots: given.shots }) }, said);
  await runs('echo and whoami', './clients/demo.mjs', { mcp }, said);
  stop(demo);
} catch (error) {
  failed += 1;
  console.log(`not ok the demonstration starts: ${error.stack}`);
} finally {
  await rm(state, { recursive: true, force: true });
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);

/** The endpoint, as the greeting tells it. */
async function endpoint(demo, said) {
  for (let attempt = 0; attempt < 300; attempt += 1) {
    const words = said.join('');
    const [, url] = /protected MCP endpoint +(\S+)/.exec(words) ?? [];
    if (url && words.includes('Ctrl-C ends it.')) return url;
    if (demo.exitCode !== null) break;
    await sleep(50);
  }
  throw new Error(`no greeting:\n${said.join('')}`);
}

async function runs(what, file, args, said) {
  const start = Date.now();
  const { code, lines } = await script(file, args);
  const checks = lines.filter((line) => line.startsWith('ok ')).length;
  if (code === 0 && checks > 0) {
    passed += 1;
    console.log(`ok demo ${what}: ${checks} checks, ${Date.now() - start} ms`);
  } else {
    failed += 1;
    console.log(`not ok demo ${what} (${code})\n${lines.map((line) => `  ${line}`).join('\n')}\n  the demonstration said:\n${said.join('')}`);
  }
}
