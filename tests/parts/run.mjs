// The gate between real parts: starts a provider, an upstream and the gate for each arrangement, and lets every client in.
//
//   node run.mjs --gate PATH [--only NAME] [--shots FOLDER] [--trace yes]
//
// The last line is `N passed, N failed`.
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { options, sleep } from './part.mjs';
import { freePort, keep, part, script, stop } from './start.mjs';

const given = options({ gate: '', only: '', shots: '', trace: '' });
const folder = await mkdtemp(join(tmpdir(), 'portcullis-'));
const grace = 2;
let passed = 0;
let failed = 0;

// The 2025 generation behind RS256 and the 2026 one behind ES256; EdDSA has a login of its own. Then the kinds of provider, whose tokens
// live so briefly that every refresh of a client asks for newer ones.
const arrangements = [
  {
    name: 'everything',
    alg: 'RS256',
    runs: (gate) => [
      ['mcp-client', './clients/mcp-client.mjs', { mcp: gate.mcp }],
      ['mcp-client, legacy', './clients/mcp-client.mjs', { mcp: gate.mcp, mode: 'legacy', user: 'bob' }],
      ['mcp-client with a document', './clients/mcp-client-document.mjs', { mcp: gate.mcp }],
      ['mcp-sdk', './clients/mcp-sdk.mjs', { mcp: gate.mcp }],
      ['mcp-remote', './clients/mcp-remote.mjs', { mcp: gate.mcp }],
      ['referee', './clients/referee.mjs', { mcp: gate.mcp, grace }],
      ['conformance, authorization server', './conformance.mjs', { only: 'authorization', mcp: gate.mcp }],
      ['conformance, 2025-11-25', './conformance.mjs', { only: 'server', mcp: gate.mcp, upstream: gate.upstream, revision: '2025-11-25' }],
      ['chromium', './chromium.mjs', { mcp: gate.mcp, shots: given.shots }],
    ],
  },
  {
    name: 'modern',
    alg: 'ES256',
    runs: (gate) => [
      ['mcp-client', './clients/mcp-client.mjs', { mcp: gate.mcp }],
      ['mcp-client, legacy', './clients/mcp-client.mjs', { mcp: gate.mcp, mode: 'legacy' }],
      ['mcp-sdk', './clients/mcp-sdk.mjs', { mcp: gate.mcp }],
      ['mcp-remote', './clients/mcp-remote.mjs', { mcp: gate.mcp }],
      ['hygiene', './clients/hygiene.mjs', { mcp: gate.mcp, upstream: gate.upstream }],
      ['conformance, 2026-07-28', './conformance.mjs', { only: 'server', mcp: gate.mcp, upstream: gate.upstream, revision: '2026-07-28' }],
      ['conformance, 2025-11-25', './conformance.mjs', { only: 'server', mcp: gate.mcp, upstream: gate.upstream, revision: '2025-11-25' }],
    ],
  },
  {
    name: 'modern',
    alg: 'EdDSA',
    // Where a gate takes no documents, clients that have one register.
    config: { enableCIMD: false },
    runs: (gate) => [
      ['claude-code', './clients/claude-code.mjs', { mcp: gate.mcp }],
      ['codex', './clients/codex.mjs', { mcp: gate.mcp }],
      ['gemini', './clients/gemini.mjs', { mcp: gate.mcp }],
      ['inspector', './clients/inspector.mjs', { mcp: gate.mcp }],
      ['the page of inspector', './clients/inspector-page.mjs', { mcp: gate.mcp }],
      ['mcp-client', './clients/mcp-client.mjs', { mcp: gate.mcp, user: 'bob' }],
      ['faults of the provider', './clients/faults.mjs', { mcp: gate.mcp, provider: gate.provider }],
    ],
  },
  {
    name: 'mirror',
    alg: 'RS256',
    provider: { profile: 'dex', life: 240, reuse: 3 },
    kind: 'dex',
    block: { connectorId: 'ldap', crossClientAudiences: ['kubernetes', 'grafana'] },
    runs: (gate) => [['Dex', './clients/dex.mjs', { mcp: gate.mcp, provider: gate.provider, admin: gate.admin, token: gate.token }]],
  },
  {
    name: 'mirror',
    alg: 'RS256',
    provider: { profile: 'google', life: 240 },
    kind: 'google',
    block: { hostedDomain: 'example.com', bindToProvider: true },
    runs: (gate) => [['Google', './clients/google.mjs', { mcp: gate.mcp, provider: gate.provider }]],
  },
  {
    name: 'mirror',
    alg: 'ES256',
    provider: { profile: 'dex', life: 12 },
    kind: 'dex',
    block: {},
    runs: (gate) => [['provider in trouble', './clients/trouble.mjs', { mcp: gate.mcp, provider: gate.provider, life: 12 }]],
  },
];

try {
  for (const arrangement of arrangements) {
    if (given.only && !arrangement.runs({}).some(([name]) => `${arrangement.name} ${arrangement.alg} ${name}`.includes(given.only))) continue;
    await arrange(arrangement);
  }
} catch (error) {
  failed += 1;
  console.log(`not ok the parts start: ${error.stack}`);
} finally {
  await rm(folder, { recursive: true, force: true });
}
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 && passed > 0 ? 0 : 1);

async function arrange({ name, alg, runs, provider: manner = {}, kind = 'oidc', block = { scopes: ['openid', 'email', 'profile', 'groups', 'offline_access'] }, config: more = { dangerLoopbackClientDocuments: true } }) {
  const [port, adminPort] = [await freePort(), await freePort()];
  const token = randomBytes(32).toString('hex');
  const base = `http://127.0.0.1:${port}`;
  const provider = await part('./provider.mjs', { alg, 'redirect-uri': `${base}/oauth/callback`, ...manner });
  const upstream = await part(`./${name}.mjs`);
  const config = join(folder, `${name}-${kind}-${alg}.json`);
  await writeFile(config, JSON.stringify({
    baseUrl: base,
    listen: `127.0.0.1:${port}`,
    adminListen: `127.0.0.1:${adminPort}`,
    adminToken: token,
    masterKeys: [randomBytes(32).toString('base64')],
    provider: kind,
    [kind]: {
      issuerUrl: provider.issuer,
      clientId: 'portcullis',
      clientSecret: 'a secret of the upstream provider, long enough',
      ...block,
    },
    resources: [{ path: '/mcp', upstream: upstream.url, scopes: ['mcp'] }],
    allowPublicClientRegistration: true,
    caFiles: [fileURLToPath(new URL('../black_box/certificates/authority.pem', import.meta.url))],
    ...more,
    refreshGrace: `${grace}s`,
    rateLimits: { perAddress: { registrationsPerHour: 100_000, tokenPerSecond: 10_000, tokenBurst: 10_000 } },
    storage: { type: 'memory' },
  }), { mode: 0o600 });
  const log = [];
  const gate = keep(spawn(given.gate, ['serve', '--config', config], { stdio: ['ignore', 'pipe', 'pipe'] }));
  gate.once('error', (error) => log.push(String(error)));
  for (const stream of [gate.stdout, gate.stderr]) stream.on('data', (piece) => { log.push(piece); if (given.trace) process.stderr.write(piece); });
  try {
    await healthy(base, gate, log);
    for (const [what, file, args] of runs({ mcp: `${base}/mcp`, upstream: upstream.url, provider: provider.issuer, admin: `http://127.0.0.1:${adminPort}`, token })) {
      const title = `${name} ${alg} ${what}`;
      if (given.only && !title.includes(given.only)) continue;
      const start = Date.now();
      const marks = log.length;
      const { code, lines } = await script(file, Object.fromEntries(Object.entries(args).filter(([, value]) => value !== '')), { limit: 300_000 });
      const checks = lines.filter((line) => line.startsWith('ok ')).length;
      if (code === 0 && checks > 0) {
        passed += 1;
        console.log(`ok ${title}: ${checks} checks, ${Date.now() - start} ms`);
        if (given.trace) console.log(lines.map((line) => `  ${line}`).join('\n'));
      } else {
        failed += 1;
        console.log(`not ok ${title} (${code})\n${lines.map((line) => `  ${line}`).join('\n')}`);
        console.log(`  the gate said:\n${log.slice(marks).join('').split('\n').slice(-15).map((line) => `    ${line}`).join('\n')}`);
      }
    }
  } finally {
    for (const each of [gate, provider.child, upstream.child]) stop(each);
  }
}

async function healthy(base, gate, log) {
  for (let attempt = 0; attempt < 200; attempt += 1) {
    if (gate.exitCode !== null) throw new Error(`the gate ended with ${gate.exitCode}:\n${log.join('')}`);
    const answer = await fetch(`${base}/health`).catch(() => null);
    const body = answer?.ok ? await answer.json().catch(() => ({})) : {};
    if (body.status === 'ok') return;
    await sleep(100);
  }
  throw new Error(`the gate was not healthy in time:\n${log.join('')}`);
}
