// A forwarder that puts a bearer token on every request, for tools that cannot carry one themselves.
//
// Everything else passes as it is, streams included. Host and Origin are the target's where they named this forwarder,
// and untouched where a test sent a foreign one on purpose.
import http from 'node:http';
import { listen } from './part.mjs';

/** Starts the forwarder and gives the URL that stands for `target`; `token` may be absent. */
export async function injector(target, token) {
  const beyond = new URL(target);
  const agent = new http.Agent({ keepAlive: true });
  const server = http.createServer((request, response) => {
    const headers = [];
    for (let at = 0; at < request.rawHeaders.length; at += 2) {
      const name = request.rawHeaders[at];
      let value = request.rawHeaders[at + 1];
      if (/^authorization$/i.test(name) && token) continue;
      if (/^host$/i.test(name) && value === own.host) value = beyond.host;
      if (/^origin$/i.test(name) && value === own.origin) value = beyond.origin;
      headers.push(name, value);
    }
    if (token) headers.push('Authorization', `Bearer ${token}`);
    const onward = http.request(
      { host: beyond.hostname, port: beyond.port, method: request.method, path: request.url, headers, agent, setHost: false },
      (answer) => {
        response.writeHead(answer.statusCode, answer.statusMessage, answer.rawHeaders);
        response.flushHeaders();
        answer.pipe(response);
        answer.on('error', () => response.destroy());
      },
    );
    onward.on('error', () => response.destroy());
    response.on('close', () => { if (!response.writableEnded) onward.destroy(); });
    request.pipe(onward);
  });
  const port = await listen(server);
  const own = new URL(`http://127.0.0.1:${port}`);
  return {
    url: `${own.origin}${beyond.pathname}`,
    close: () => { server.closeAllConnections(); server.close(); agent.destroy(); },
  };
}
