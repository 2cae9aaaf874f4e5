// The page of the MCP Inspector as it is installed, in a real Chromium: a person connects it to the gate, approves, logs in, and sees the
// tools of the server behind.
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { check, ok, options, script, sleep } from '../part.mjs';
import { freePort } from '../start.mjs';
import { home, start } from './installed.mjs';

const given = options({ mcp: '', user: 'alice', browser: '/usr/bin/chromium' });
const program = fileURLToPath(new URL('../node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js', import.meta.url));

await script(async () => {
  const [port, sandbox] = [await freePort(), await freePort()];
  const env = {
    PATH: '', HOME: await home(), CLIENT_PORT: String(port), MCP_SANDBOX_PORT: String(sandbox),
    MCP_AUTO_OPEN_ENABLED: 'false', MCP_INSPECTOR_SECRET_STORE: 'memory',
  };
  const inspector = start(process.execPath, [program, '--web', '--server-url', given.mcp, '--transport', 'http'], env);
  const browser = await chromium.launch({ executablePath: given.browser, args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking'] });
  process.prependListener('exit', () => browser.close());
  const page = await (await browser.newContext({ locale: 'en-GB' })).newPage();
  page.setDefaultTimeout(30_000);

  await page.goto(await address(inspector));
  await page.getByRole('switch', { name: /^Connect or disconnect/ }).dispatchEvent('click');
  await page.waitForURL((url) => url.origin === new URL(given.mcp).origin);
  const asked = new URL(page.url());
  check(asked.searchParams.get('redirect_uri') === `http://127.0.0.1:${port}/oauth/callback`, 'the person is sent to the gate, and is to come back to the page', asked.href);
  check((await page.locator('body').innerText()).includes('MCP Inspector'), 'the gate says who asks');
  await page.getByRole('button', { name: 'Approve' }).click();
  await page.locator('input[name=username]').fill(given.user);
  await page.getByRole('button', { name: /log in/i }).click();
  await page.waitForURL((url) => url.port === String(port) && !url.searchParams.has('code'));
  ok('the person is back at the page');
  await page.getByText('Connected', { exact: true }).waitFor();
  await page.getByText('Tools', { exact: true }).first().click();
  await page.getByText('echo', { exact: true }).first().waitFor();
  ok('the page lists the tools through the gate');
});

/** The address of the page, once it is served. */
async function address({ said }) {
  for (let attempt = 0; attempt < 300; attempt += 1) {
    const found = /(http[!-~]+API_TOKEN=[!-~]+)/.exec(said.join(''))?.[1];
    if (found) return found;
    await sleep(100);
  }
  return check(false, 'the inspector serves its page', said.join(''));
}
