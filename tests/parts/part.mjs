// What every part shares: reading its arguments, saying that it is ready, and naming what passed.
import { parseArgs } from 'node:util';

/** Reads `--name value` arguments; every name of `defaults` is known, anything else is an error. */
export function options(defaults) {
  const known = Object.fromEntries(Object.keys(defaults).map((name) => [name, { type: 'string' }]));
  const { values } = parseArgs({ options: known, strict: true });
  return { ...defaults, ...values };
}

/** Listens on loopback and gives the port, which is a free one when `port` is 0. */
export function listen(server, port = 0, host = '127.0.0.1') {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(Number(port), host, () => resolve(server.address().port));
  });
}

/** One line of JSON on the standard output: whoever started this part waits for it. */
export function ready(facts) {
  process.stdout.write(`${JSON.stringify({ ready: true, ...facts })}\n`);
  // A part does not outlive whoever started it: its standard input is the leash.
  process.stdin.resume();
  process.stdin.on('end', () => process.exit(0));
  for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => process.exit(0));
}

/** The whole body of a request as text, at most one megabyte of it. */
export async function text(request) {
  const pieces = [];
  let size = 0;
  for await (const piece of request) {
    size += piece.length;
    if (size > 1_048_576) throw new Error('the body is too long');
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString('utf8');
}

/** Says that something held. */
export function ok(what) {
  console.log(`ok ${what}`);
}

/** Says that something held, or ends the script: the first failure is the last line. */
export function check(holds, what, seen) {
  if (holds) return ok(what);
  console.log(`not ok ${what}${seen === undefined ? '' : `: ${typeof seen === 'string' ? seen : JSON.stringify(seen)}`}`);
  process.exit(1);
}

/** Waits for something that must fail, and gives its error. */
export async function failure(promise, what) {
  let value;
  try {
    value = await promise;
  } catch (error) {
    return error;
  }
  return check(false, what, `it succeeded: ${JSON.stringify(value)}`);
}

/** Runs a script's body; an exception is its last line too. */
export async function script(body) {
  const limit = setTimeout(() => check(false, 'ends within its time', 'three minutes have passed'), 180_000);
  limit.unref();
  try {
    await body();
    process.exit(0);
  } catch (error) {
    const cause = error?.cause ? ` (cause: ${error.cause?.message ?? JSON.stringify(error.cause)})` : '';
    check(false, 'runs to its end', `${error?.stack ?? error}${cause}`);
  }
}

export const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
