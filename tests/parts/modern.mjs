// A protected MCP server of the 2026-07-28 generation that also answers the 2025 one, on loopback.
//
// Its tools: echo (argument message), whoami (the headers that tell it who is asking), slow (progress, then an answer).
// GET /__seen gives the headers of the last request, so that a test can look for what must not have arrived.
import http from 'node:http';
import { toNodeHandler } from '@modelcontextprotocol/node';
import { McpServer, createMcpHandler } from '@modelcontextprotocol/server';
import { z } from 'zod';
import { listen, options, ready, sleep } from './part.mjs';

const given = options({ port: '0', legacy: 'stateless' });
const say = (words) => ({ content: [{ type: 'text', text: words }] });
let last = {};
let requests = 0;

const handler = createMcpHandler(
  ({ requestInfo }) => {
    const server = new McpServer({ name: 'portcullis-modern-part', version: '1.0.0' });
    server.registerTool(
      'echo',
      { description: 'Says what it was told', inputSchema: z.object({ message: z.string() }) },
      async ({ message }) => say(`Echo: ${message}`),
    );
    server.registerTool('whoami', { description: 'Tells who the gate says is asking', inputSchema: z.object({}) }, async () => {
      const about = [...(requestInfo?.headers ?? [])].filter(([name]) => name === 'authorization' || name === 'cookie' || name.startsWith('x-'));
      return say(JSON.stringify(Object.fromEntries(about)));
    });
    server.registerTool(
      'slow',
      {
        description: 'Reports progress and answers at the end',
        inputSchema: z.object({ steps: z.number().int().min(1).max(50).default(3), delay: z.number().min(0).max(5000).default(200) }),
      },
      async ({ steps, delay }, context) => {
        const progressToken = context.mcpReq._meta?.progressToken;
        for (let progress = 1; progress <= steps; progress += 1) {
          await sleep(delay);
          if (progressToken !== undefined) {
            await context.mcpReq.notify({ method: 'notifications/progress', params: { progressToken, progress, total: steps } });
          }
        }
        return say(`done after ${steps} steps`);
      },
    );
    return server;
  },
  { legacy: given.legacy },
);
const serve = toNodeHandler(handler);
const server = http.createServer((request, response) => {
  const { pathname } = new URL(request.url, 'http://127.0.0.1');
  if (pathname === '/__seen') {
    response.writeHead(200, { 'content-type': 'application/json' });
    return response.end(JSON.stringify({ requests, last }));
  }
  if (pathname !== '/mcp') {
    response.writeHead(404);
    return response.end();
  }
  requests += 1;
  last = { method: request.method, url: request.url, headers: request.headers };
  return serve(request, response);
});
const port = await listen(server, given.port);
ready({ url: `http://127.0.0.1:${port}/mcp`, port });
