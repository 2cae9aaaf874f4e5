// An upstream that answers every request with what it was told of the person.
import http from 'node:http';
import { listen, options, ready, text } from './part.mjs';

const given = options({ port: '0' });
const server = http.createServer(async (request, response) => {
  await text(request);
  const told = Object.fromEntries(Object.entries(request.headers).filter(([name]) => name.startsWith('x-')));
  response.writeHead(200, { 'content-type': 'application/json' });
  response.end(JSON.stringify(told));
});
const port = await listen(server, given.port);
ready({ url: `http://127.0.0.1:${port}/mcp` });
