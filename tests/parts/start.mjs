// Starts the parts as processes of their own, waits for each to be ready, and ends what it started.
import { spawn } from 'node:child_process';
import net from 'node:net';
import readline from 'node:readline';
import { fileURLToPath } from 'node:url';

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const running = new Set();
process.on('exit', stopAll);
for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => process.exit(1));

/** Starts `provider.mjs`, `everything.mjs` or `modern.mjs` and gives what it said of itself. */
export async function part(name, args = {}) {
  const words = Object.entries(args).flatMap(([key, value]) => [`--${key}`, String(value)]);
  const child = spawn(process.execPath, [here(name), ...words], { stdio: ['pipe', 'pipe', 'pipe'] });
  running.add(child);
  const complaints = [];
  child.stderr.on('data', (piece) => complaints.push(piece));
  const facts = await new Promise((resolve, reject) => {
    const limit = setTimeout(() => reject(new Error(`${name} is not ready after 30 s`)), 30_000);
    child.once('exit', (code) => { clearTimeout(limit); reject(new Error(`${name} ended with ${code}: ${Buffer.concat(complaints)}`)); });
    readline.createInterface({ input: child.stdout }).on('line', (line) => {
      if (!line.startsWith('{"ready"')) return;
      clearTimeout(limit);
      resolve(JSON.parse(line));
    });
  });
  return { ...facts, child, stop: () => stop(child) };
}

/** Runs a program to its end and gives its exit status and everything it printed, line by line as it comes. */
export function run(command, args, { limit = 240_000, env = {}, line = () => {} } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, ...env } });
    running.add(child);
    const lines = [];
    const timer = setTimeout(() => { lines.push(`stopped after ${limit} ms`); child.kill('SIGKILL'); }, limit);
    for (const stream of [child.stdout, child.stderr]) {
      readline.createInterface({ input: stream }).on('line', (text) => { lines.push(text); line(text); });
    }
    child.once('error', reject);
    child.once('close', (code, signal) => { clearTimeout(timer); running.delete(child); resolve({ code: code ?? signal, lines }); });
  });
}

/** Runs one of the scripts of this folder with the node that runs this one. */
export function script(name, args = {}, more = {}) {
  const words = Object.entries(args).flatMap(([key, value]) => [`--${key}`, String(value)]);
  return run(process.execPath, [here(name), ...words], more);
}

/** A port that was free a moment ago. */
export function freePort() {
  return new Promise((resolve, reject) => {
    const server = net.createServer().once('error', reject);
    server.listen(0, '127.0.0.1', () => { const { port } = server.address(); server.close(() => resolve(port)); });
  });
}

/** Keeps a process that was started elsewhere, so that it ends with this one. */
export function keep(child) {
  running.add(child);
  return child;
}

export function stop(child) {
  running.delete(child);
  if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM');
}

function stopAll() {
  for (const child of running) if (child.exitCode === null) child.kill('SIGKILL');
}
