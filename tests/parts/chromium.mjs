// A real Chromium goes through the pages: approval, denial, and an approval by the keyboard alone, in light, in dark and at
// the width of a phone. It keeps screenshots and complains of whatever the browser itself complains of.
//
//   --mcp URL       through the gate's pages, with the login of the provider behind it
//   --self yes      through the pages of provider.mjs alone, to judge this script without a gate
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { chromium } from 'playwright-core';
import * as oauth from 'oauth4webapi';
import { redirectListener } from './browser.mjs';
import { discover, redeem, register } from './clients/login.mjs';
import { check, ok, options, script } from './part.mjs';
import { part } from './start.mjs';

const given = options({ mcp: '', self: '', shots: '', user: 'alice', browser: '/usr/bin/chromium' });
const looks = {
  light: { colorScheme: 'light', viewport: { width: 1100, height: 800 } },
  dark: { colorScheme: 'dark', viewport: { width: 1100, height: 800 } },
  phone: { colorScheme: 'light', viewport: { width: 360, height: 740 }, isMobile: true, hasTouch: true, deviceScaleFactor: 2 },
};

await script(async () => {
  if (given.shots) await mkdir(given.shots, { recursive: true });
  const site = given.self ? await providerAlone() : await gate();
  const browser = await chromium.launch({
    executablePath: given.browser,
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
  try {
    for (const [name, look] of Object.entries(looks)) await visit({ browser, site, name, look, decision: 'approve' });
    await visit({ browser, site, name: 'deny', look: looks.light, decision: 'deny' });
    await visit({ browser, site, name: 'keyboard', look: looks.light, decision: 'approve', keyboard: true });
    await visit({ browser, site, name: 'scriptless', look: { ...looks.light, javaScriptEnabled: false }, decision: 'approve' });
    if (site.app) for (const [name, look] of Object.entries(looks)) await app({ browser, site, name: `app-${name}`, look });
  } finally {
    await browser.close();
    site.close();
  }
});

/** One visit of one person with a browser of its own. */
async function visit({ browser, site, name, look, decision, keyboard = false }) {
  const context = await browser.newContext({ locale: 'en-GB', ...look });
  const page = await context.newPage();
  const complaints = [];
  page.on('console', (message) => { if (['error', 'warning'].includes(message.type())) complaints.push(`${message.text()} (${message.location().url})`); });
  page.on('pageerror', (error) => complaints.push(String(error)));
  page.on('requestfailed', (request) => complaints.push(`${request.url()}: ${request.failure()?.errorText}`));
  const trip = await site.begin();
  await page.goto(trip.url);
  const seen = [];
  for (let step = 0; step < 8 && !page.url().startsWith(site.redirect); step += 1) {
    const where = new URL(page.url());
    const kind = await kindOf(page);
    seen.push(kind);
    if (given.shots) await page.screenshot({ path: join(given.shots, `${name}-${step}-${kind}.png`), fullPage: true });
    if (kind === 'consent') await judge(page, name, trip);
    await press({ page, kind, decision, keyboard, from: where });
  }
  const landed = new URL(page.url());
  check(landed.href.startsWith(site.redirect), `${name}: the browser lands at the client`, landed.href);
  check(seen.includes('consent'), `${name}: a consent page came up`, seen);
  check(landed.searchParams.get('state') === trip.state, `${name}: state comes back`, landed.search);
  if (decision === 'deny') {
    check(landed.searchParams.get('error') === 'access_denied', `${name}: the client hears access_denied`, landed.search);
  } else {
    check(landed.searchParams.get('code'), `${name}: the client gets a code`, landed.search);
    await site.finish({ ...trip, landed });
    ok(`${name}: the code is redeemed`);
  }
  // Chromium asks every site for its icon; an answer of 404 to that is no fault.
  const faults = complaints.filter((complaint) => !/favicon\.ico/.test(complaint));
  check(faults.length === 0, `${name}: the browser has nothing to complain of`, faults);
  await context.close();
}

/** A visit of an application on this device, which the browser leaves by a scheme of its own; then a page of refusal. */
async function app({ browser, site, name, look }) {
  const context = await browser.newContext({ locale: 'en-GB', ...look });
  const page = await context.newPage();
  const shot = (kind) => given.shots && page.screenshot({ path: join(given.shots, `${name}-${kind}.png`), fullPage: true });
  const trip = await site.app();
  await page.goto(trip.url);
  for (let step = 0; step < 4 && (await page.getByRole('button').count()) > 0; step += 1) {
    const kind = await kindOf(page);
    await judge(page, name, kind === 'consent' ? trip : {});
    await shot(kind);
    await press({ page, kind, decision: 'approve', from: new URL(page.url()) });
  }
  await judge(page, `${name}, the way back`, { names: ['You are logged in as'] });
  const link = await page.locator(`a[href^="${trip.redirect}"]`).getAttribute('href');
  const params = new URL(link).searchParams;
  check(params.get('code') && params.get('state') === trip.state, `${name}: the link leads back with code and state`, link);
  await shot('welcome');
  const refused = await page.goto(trip.url.replace(/client_id=[^&]*/, 'client_id=nobody'));
  check(refused.status() === 400, `${name}: an unknown client is refused on a page`, refused.status());
  await judge(page, `${name}, the refusal`, {});
  await shot('refusal');
  await context.close();
}

/** What a page owes to everybody who reads it. */
async function judge(page, name, trip) {
  const facts = await page.evaluate(() => ({
    lang: document.documentElement.lang,
    title: document.title,
    headings: document.querySelectorAll('h1').length,
    wide: document.documentElement.scrollWidth > document.documentElement.clientWidth,
    scripts: document.scripts.length,
    text: document.body.innerText,
    nameless: [...document.querySelectorAll('button, a')].filter((each) => !each.innerText.trim() && !each.getAttribute('aria-label')).length,
  })).catch(() => null);
  if (!facts) return;
  check(facts.lang && facts.title && facts.headings === 1, `${name}: the page has a language, a title and one heading`, facts);
  check(!facts.wide, `${name}: the page does not scroll sideways`);
  check(facts.scripts === 0, `${name}: the page has no script`);
  check(facts.nameless === 0, `${name}: every button has a name`);
  for (const word of trip.names ?? []) check(facts.text.includes(word), `${name}: the page shows ${word}`, facts.text);
}

/** A page with a field for the name, a page with people to choose from, or a page that asks for a decision. */
async function kindOf(page) {
  if ((await page.locator('input[name=username]').count()) > 0) return 'login';
  return (await page.getByRole('button', { name: new RegExp(given.user, 'i') }).count()) > 0 ? 'people' : 'consent';
}

async function press({ page, kind, decision, keyboard, from }) {
  const choice = decision === 'approve' ? /approve|allow|accept|continue/i : /deny|cancel|reject|go away/i;
  const wanted = kind === 'login' ? /log in/i : kind === 'people' ? new RegExp(given.user, 'i') : choice;
  const moved = page.waitForURL((url) => url.href !== from.href, { timeout: 15_000, waitUntil: 'load' });
  if (kind === 'login') await page.locator('input[name=username]').fill(given.user);
  if (keyboard) {
    let found = false;
    for (let hop = 0; hop < 20 && !found; hop += 1) {
      await page.keyboard.press('Tab');
      found = wanted.test(await page.evaluate(() => document.activeElement?.innerText || document.activeElement?.value || '')) &&
        (await page.evaluate(() => document.activeElement?.tagName)) !== 'INPUT';
    }
    check(found, `keyboard: Tab reaches the button of the ${kind} page`);
    const outlined = await page.evaluate(() => {
      const style = getComputedStyle(document.activeElement);
      return style.outlineStyle !== 'none' || style.boxShadow !== 'none';
    });
    check(outlined, `keyboard: the focus on the ${kind} page can be seen`);
    await page.keyboard.press('Enter');
  } else {
    await page.getByRole('button', { name: wanted }).first().click();
  }
  await moved;
}

async function gate() {
  const { server, resource } = await discover(given.mcp);
  const listener = await redirectListener();
  const redirect = listener.uri;
  const client = await register(server, { redirect_uris: [redirect], client_name: 'Chromium <b>&amp; friends' });
  return {
    redirect,
    app: async () => {
      const redirect = 'cursor://anysphere.cursor-mcp/oauth/callback';
      const { client_id: id } = await register(server, { redirect_uris: [redirect], client_name: 'Cursor' });
      return { redirect, ...(await begin(server, id, redirect, { resource: resource.resource }, ['Cursor', 'cursor:'])) };
    },
    begin: () => begin(server, client.client_id, redirect, { resource: resource.resource }, ['Chromium <b>&amp; friends', '127.0.0.1']),
    finish: (trip) => redeem({ server, client, redirect, resource: resource.resource, ...trip }),
    close: () => listener.close(),
  };
}

async function providerAlone() {
  const listener = await redirectListener('/oauth/callback');
  const redirect = listener.uri;
  const secret = 'a secret of the upstream provider, long enough';
  const provider = await part('./provider.mjs', { 'redirect-uri': redirect, consent: 'form' });
  const insecure = { [oauth.allowInsecureRequests]: true };
  const server = await oauth.processDiscoveryResponse(new URL(provider.issuer), await oauth.discoveryRequest(new URL(provider.issuer), insecure));
  const client = { client_id: 'portcullis' };
  return {
    redirect,
    begin: () => begin(server, client.client_id, redirect, { scope: 'openid email', prompt: 'consent' }),
    finish: (trip) => redeem({ server, client, redirect, auth: oauth.ClientSecretBasic(secret), ...trip }),
    close: () => { provider.stop(); listener.close(); },
  };
}

async function begin(server, client, redirect, more, names) {
  const verifier = oauth.generateRandomCodeVerifier();
  const state = oauth.generateRandomState();
  const url = new URL(server.authorization_endpoint);
  url.search = new URLSearchParams({
    client_id: client, redirect_uri: redirect, response_type: 'code', state, ...more,
    code_challenge: await oauth.calculatePKCECodeChallenge(verifier), code_challenge_method: 'S256',
  });
  return { url: url.href, verifier, state, names };
}
