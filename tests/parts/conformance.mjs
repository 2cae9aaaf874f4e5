// The official conformance suite. It ends with 0 also where it skipped what it was asked for, so its own record of the
// checks is read, and not its exit status.
//
//   --only self                                             the upstreams, directly and through the injector
//   --only authorization --mcp URL                          the gate as an authorization server
//   --only server --mcp URL --upstream URL --revision R     the gate's endpoint against its upstream, check by check
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Browser } from './browser.mjs';
import { discover, login, register } from './clients/login.mjs';
import { injector } from './inject.mjs';
import { check, ok, options } from './part.mjs';
import { freePort, part, run } from './start.mjs';

const given = options({ only: 'self', mcp: '', upstream: '', revision: '2025-11-25', user: 'alice' });
const suite = fileURLToPath(new URL('./node_modules/@modelcontextprotocol/conformance/dist/index.js', import.meta.url));

try {
  if (given.only === 'authorization') await authorization();
  else if (given.only === 'server') await compare(given.revision, given.upstream, given.mcp, (await login(given.mcp, given)).access_token);
  else await self();
  process.exit(0);
} catch (error) {
  check(false, 'the conformance suite runs', `${error.stack}${error.cause ? ` (cause: ${error.cause.message ?? JSON.stringify(error.cause)})` : ''}`);
}

async function self() {
  for (const [name, revision] of [['everything', '2025-11-25'], ['modern', '2026-07-28'], ['modern', '2025-11-25']]) {
    const upstream = await part(`./${name}.mjs`);
    await compare(revision, upstream.url, upstream.url, undefined);
    upstream.stop();
  }
}

/** Three checks, one of which is skipped in silence without a client; the person's part is played here. */
async function authorization() {
  const { server, resource } = await discover(given.mcp);
  const port = await freePort();
  const redirect = `http://127.0.0.1:${port}/callback`;
  const client = await register(server, { redirect_uris: [redirect], client_name: 'Conformance suite' });
  let walk;
  const line = (text) => {
    if (!walk && text.startsWith(server.authorization_endpoint)) walk = new Browser(given).walk(text.trim(), redirect).catch((error) => error);
  };
  const checks = await record(['authorization', '--url', server.issuer, '--client-id', client.client_id, '--resource', resource.resource, '--port', String(port)], line);
  const walked = await walk;
  if (!(walked instanceof URL)) throw new Error(`the login of the suite did not end: ${walked?.stack ?? 'it printed no URL'}`);
  const all = [...checks.values()].flat();
  for (const id of ['authorization-server-metadata', 'authorization-code-grant', 'authorization-server-metadata-cimd']) {
    const seen = all.find((each) => each.id === id);
    check(seen?.status === 'SUCCESS', `${id}: ${seen?.status ?? 'did not run'}`, seen);
  }
  ok(`authorization: ${all.filter(({ status }) => status === 'SUCCESS').length} of ${all.length} checks succeed`);
}

/** Whatever succeeds directly must succeed through `proxied`; a check that does better there is named. */
async function compare(revision, upstream, proxied, token) {
  const words = (url) => ['server', '--url', url, '--requirements', revision, '--timeout', '15000'];
  const forwarder = await injector(proxied, token);
  const direct = await record(words(upstream));
  const through = await record(words(forwarder.url));
  forwarder.close();
  const worse = [];
  let better = 0;
  let succeeded = 0;
  for (const [scenario, checks] of direct) {
    const others = through.get(scenario) ?? [];
    const tally = (list) => list.reduce((sum, { id, status }) => sum.set(`${id} ${status}`, (sum.get(`${id} ${status}`) ?? 0) + 1), new Map());
    const [here, there] = [tally(checks), tally(others)];
    for (const [key, count] of here) {
      if (!key.endsWith(' SUCCESS')) continue;
      succeeded += count;
      const met = there.get(key) ?? 0;
      if (met < count) worse.push(`${scenario}: ${key} ${count} times directly, ${met} times proxied; ${others.filter(({ status }) => status === 'FAILURE').map(({ id, errorMessage }) => `${id}: ${errorMessage}`).join('; ').slice(0, 500)}`);
    }
    for (const [key, count] of there) if (key.endsWith(' SUCCESS') && count > (here.get(key) ?? 0)) better += count - (here.get(key) ?? 0);
    for (const [key, count] of there) {
      if (key.endsWith(' FAILURE') && count > (here.get(key) ?? 0)) worse.push(`${scenario}: ${key} ${here.get(key) ?? 0} times directly, ${count} times proxied`);
    }
  }
  check(direct.size >= 25, `${revision}: ${direct.size} scenarios ran directly`, [...direct.keys()]);
  check(through.size === direct.size, `${revision}: as many ran proxied`, through.size);
  const rebinding = [direct, through].map((found) => (found.get('dns-rebinding-protection') ?? []).filter(({ status }) => status !== 'SKIPPED').length);
  check(rebinding[0] > 0 && rebinding[1] === rebinding[0], `${revision}: ${rebinding[0]} checks of DNS rebinding are among them`, rebinding);
  check(worse.length === 0, `${revision}: ${succeeded} checks that succeed directly succeed proxied too, ${better} do better`, `\n${worse.join('\n')}`);
}

/** Runs the suite and reads its record: a list of checks for each scenario. */
async function record(words, line) {
  const folder = await mkdtemp(join(tmpdir(), 'conformance-'));
  try {
    const { lines } = await run(process.execPath, [suite, ...words, '--output-dir', folder], { line, limit: 300_000 });
    const found = new Map();
    for (const name of (await readdir(folder)).sort()) {
      const scenario = name.replace(/^(server|authorization)-/, '').replace(/-\d{4}-\d\d-\d\dT[\d-]+Z$/, '');
      found.set(scenario, JSON.parse(await readFile(join(folder, name, 'checks.json'), 'utf8')));
    }
    if (found.size === 0) throw new Error(`the suite recorded nothing:\n${lines.slice(-20).join('\n')}`);
    return found;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
