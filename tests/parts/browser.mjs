// A person with a browser, played without one: cookies, redirects, and the forms of the pages that come up.
//
// It is as strict as a browser where that can hide a fault of the gate: cookies are kept by host and path and never by
// port, a Secure cookie is refused over plain http, a __Host- cookie must keep its promises, and a form is sent with
// Origin, Referer and the Sec-Fetch headers as Chromium sends them.
import http from 'node:http';

const APPROVE = /approve|allow|accept|agree|continue|yes/i;
const DENY = /\b(deny|denied|cancel|reject|refuse|decline|abort|no)\b/i;

/** A listener on loopback that stands for the client's redirect URI and hands on the first answer that it gets. */
export async function redirectListener(path = '/callback', port = 0) {
  let landed;
  const answer = new Promise((resolve) => { landed = resolve; });
  const server = http.createServer((request, response) => {
    const url = new URL(request.url, origin);
    if (url.pathname !== path) {
      response.writeHead(404);
      return response.end();
    }
    response.writeHead(200, { 'content-type': 'text/plain' });
    response.end('You can close this page.');
    landed(url);
  });
  let origin;
  await new Promise((resolve, reject) => server.once('error', reject).listen(port, '127.0.0.1', resolve));
  origin = `http://127.0.0.1:${server.address().port}`;
  return { uri: `${origin}${path}`, answer, close: () => server.close() };
}

export class Browser {
  constructor({ user = 'alice', decision = 'approve', providerDecision = 'approve', trace = false } = {}) {
    Object.assign(this, { user, decision, providerDecision, trace });
    this.jar = [];
    this.pages = [];
  }

  /** Opens `start`, answers every page, and gives the first URL that begins with `until`, after having visited it. */
  async walk(start, until) {
    let step = { method: 'GET', url: new URL(start), site: 'none' };
    this.gate = step.url.origin;
    this.pages = [];
    for (let hop = 0; hop < 30; hop += 1) {
      const response = await this.send(step);
      if (step.url.href.startsWith(until)) return step.url;
      if (response.status >= 300 && response.status < 400) {
        if (!response.headers.location) throw new Error(`a redirect without a target from ${step.url}`);
        const target = new URL(response.headers.location, step.url);
        if (!/^https?:$/.test(target.protocol)) return target;
        const keeps = response.status === 307 || response.status === 308;
        const site = step.site === 'none' ? 'none' : relation(step.url, target);
        step = { method: keeps ? step.method : 'GET', body: keeps ? step.body : undefined, url: target, site, from: step.from };
        continue;
      }
      if (!/^text\/html/.test(response.headers['content-type'] ?? '')) {
        throw new Error(`${step.url} answered ${response.status}: ${response.body.slice(0, 400)}`);
      }
      this.pages.push({ url: step.url.href, status: response.status, headers: response.headers, body: response.body });
      step = this.submit(response, step.url);
    }
    throw new Error('thirty pages and no end');
  }

  /** Fills in the form of a page and chooses its button. */
  submit(response, at) {
    const choices = forms(response.body).flatMap((form) => form.buttons.map((button) => ({ form, button })));
    if (choices.length === 0) throw new Error(`no form to send at ${at} (${response.status}): ${plain(response.body).slice(0, 600)}`);
    const decision = this.atGate(at) ? this.decision : this.providerDecision;
    const words = ({ form, button }) => `${button.name} ${button.value} ${button.text} ${button.action ?? form.action}`;
    const wanted = decision === 'deny'
      ? choices.find((choice) => DENY.test(words(choice)))
      : choices.find(({ form }) => form.fields.some(([name]) => name === 'username'))
        ?? choices.find((choice) => !this.atGate(at) && words(choice).toLowerCase().includes(this.user))
        ?? choices.find((choice) => APPROVE.test(words(choice)) && !DENY.test(words(choice)));
    if (!wanted) throw new Error(`no button to ${decision} at ${at}: ${choices.map(words).join(' | ')}`);
    const { form, button } = wanted;
    const fields = form.fields.map(([name, value]) => [name, name === 'username' ? this.user : value]);
    if (button.name) fields.push([button.name, button.value]);
    const target = new URL(button.action ?? form.action, at);
    const body = new URLSearchParams(fields).toString();
    if (form.method === 'get') {
      target.search = body;
      return { method: 'GET', url: target, site: relation(at, target), from: at };
    }
    return { method: 'POST', url: target, body, site: relation(at, target), from: at };
  }

  /** The page is the gate's, and not the provider's, whose pages lie under paths of their own. */
  atGate(at) {
    return at.origin === this.gate && !at.pathname.startsWith('/interaction/');
  }

  send({ method, url, body, site, from }) {
    const headers = {
      accept: 'text/html,application/xhtml+xml;q=0.9,*/*;q=0.8',
      'accept-language': 'en',
      'sec-fetch-site': site,
      'sec-fetch-mode': 'navigate',
      'sec-fetch-dest': 'document',
      'sec-fetch-user': '?1',
      'upgrade-insecure-requests': '1',
      'user-agent': 'Mozilla/5.0 (parts)',
    };
    const cookies = this.cookies(url);
    if (cookies) headers.cookie = cookies;
    if (from) headers.referer = from.origin === url.origin ? from.href : `${from.origin}/`;
    if (body !== undefined) {
      headers['content-type'] = 'application/x-www-form-urlencoded';
      headers['content-length'] = Buffer.byteLength(body);
      headers.origin = from.origin;
    }
    return new Promise((resolve, reject) => {
      const request = http.request(url, { method, headers, timeout: 20_000, agent: false }, (response) => {
        const pieces = [];
        response.on('data', (piece) => pieces.push(piece));
        response.on('error', reject);
        response.on('end', () => {
          for (const line of response.headers['set-cookie'] ?? []) this.keep(line, url);
          if (this.trace) process.stderr.write(`${method} ${url.href.slice(0, 200)} -> ${response.statusCode} ${response.headers.location ?? ''}\n`);
          resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(pieces).toString('utf8') });
        });
      });
      request.on('timeout', () => request.destroy(new Error(`no answer from ${url}`)));
      request.on('error', reject);
      request.end(body);
    });
  }

  keep(line, url) {
    const [pair, ...attributes] = line.split(';').map((piece) => piece.trim());
    const name = pair.slice(0, pair.indexOf('='));
    const value = pair.slice(pair.indexOf('=') + 1);
    const about = Object.fromEntries(attributes.map((piece) => {
      const [key, ...rest] = piece.split('=');
      return [key.toLowerCase(), rest.join('=') || true];
    }));
    if (about.secure && url.protocol !== 'https:') return;
    if (name.startsWith('__Host-') && (!about.secure || about.domain || about.path !== '/')) return;
    const path = typeof about.path === 'string' && about.path.startsWith('/') ? about.path : url.pathname.replace(/\/[^/]*$/, '') || '/';
    this.jar = this.jar.filter((cookie) => !(cookie.name === name && cookie.host === url.hostname && cookie.path === path));
    const gone = Number(about['max-age'] ?? 1) <= 0 || (about.expires && Date.parse(about.expires) <= Date.now());
    if (!gone) this.jar.push({ name, value, host: url.hostname, path, about });
  }

  cookies(url) {
    const inside = (path) => url.pathname === path || url.pathname.startsWith(path.endsWith('/') ? path : `${path}/`);
    return this.jar
      .filter((cookie) => cookie.host === url.hostname && inside(cookie.path))
      .sort((one, other) => other.path.length - one.path.length)
      .map(({ name, value }) => `${name}=${value}`)
      .join('; ');
  }
}

function relation(from, to) {
  if (from.origin === to.origin) return 'same-origin';
  return from.protocol === to.protocol && from.hostname === to.hostname ? 'same-site' : 'cross-site';
}

/** The forms of a page: where each goes, what it carries, and its buttons. */
export function forms(html) {
  const found = [];
  for (const [, attributes, inside] of html.matchAll(/<form\b([^>]*)>([\s\S]*?)<\/form>/gi)) {
    const about = attributesOf(attributes);
    const form = { action: about.action ?? '', method: (about.method ?? 'get').toLowerCase(), fields: [], buttons: [] };
    for (const [, input] of inside.matchAll(/<input\b([^>]*)>/gi)) {
      const { type = 'text', name, value = '', ...more } = attributesOf(input);
      if (type === 'submit') form.buttons.push({ name, value, text: value, action: more.formaction });
      else if (name && ((type !== 'checkbox' && type !== 'radio') || 'checked' in more)) form.fields.push([name, value]);
    }
    for (const [, button, label] of inside.matchAll(/<button\b([^>]*)>([\s\S]*?)<\/button>/gi)) {
      const { type = 'submit', name, value = '', formaction } = attributesOf(button);
      if (type === 'submit') form.buttons.push({ name, value, text: plain(label), action: formaction });
    }
    found.push(form);
  }
  return found;
}

function attributesOf(source) {
  const about = {};
  for (const [, name, , quoted, single, bare] of source.matchAll(/([a-zA-Z][-\w]*)(\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s>]+)))?/g)) {
    about[name.toLowerCase()] = decode(quoted ?? single ?? bare ?? '');
  }
  return about;
}

function plain(html) {
  return decode(html.replace(/<style[\s\S]*?<\/style>/gi, ' ').replace(/<[^>]*>/g, ' ')).replace(/\s+/g, ' ').trim();
}

function decode(value) {
  const named = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: ' ' };
  return value.replace(/&(#x[0-9a-f]+|#\d+|[a-z]+);/gi, (whole, name) => {
    if (name[0] !== '#') return named[name.toLowerCase()] ?? whole;
    return String.fromCodePoint(name[1].toLowerCase() === 'x' ? parseInt(name.slice(2), 16) : Number(name.slice(1)));
  });
}
