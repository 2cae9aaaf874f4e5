// Clients as they are installed: programs of others, each a process with a home of its own. They have no browser to open, print the
// address that the person is to visit, and wait for the code at a port of theirs.
import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Browser } from '../browser.mjs';
import { check, sleep } from '../part.mjs';

/** A home that is gone when this script ends. */
export async function home() {
  const folder = await mkdtemp(join(tmpdir(), 'portcullis-home-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true, maxRetries: 20 }));
  return folder;
}

/** A program as a process of its own, all that it says, and its exit status once it has ended. */
export function start(command, args, env, stdin = 'ignore') {
  const child = spawn(command, args, { stdio: [stdin, 'pipe', 'pipe'], env });
  // Before the home goes.
  process.prependListener('exit', () => child.kill('SIGKILL'));
  const said = [];
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (piece) => said.push(piece));
  return { child, said, ended: new Promise((resolve) => child.once('exit', resolve)) };
}

/** Does what the program asks of the person: visits the gate, and is led back to where the program waits, at a place that fits. */
export async function visit({ said }, mcp, user, place) {
  const url = new URL(await address(said));
  check(url.origin === new URL(mcp).origin, 'the person is sent to the gate', url.href);
  const callback = url.searchParams.get('redirect_uri');
  check(place.test(callback), 'the login is to come back to a port of its own', callback);
  const landed = await new Browser({ user }).walk(url, callback);
  check(landed.searchParams.has('code'), 'the login comes back with a code', landed.search);
}

async function address(said) {
  for (let attempt = 0; attempt < 300; attempt += 1) {
    // At a terminal the address may be a link, which control characters begin and end.
    const found = /(http[!-~]+\/oauth\/authorize\?[!-~]+)[^!-~]/.exec(said.join(''))?.[1];
    if (found) return found;
    await sleep(100);
  }
  return check(false, 'the person is asked to log in', said.join(''));
}
