// The protected MCP server of the 2025 generation: server-everything over streamable HTTP, on loopback only.
import net from 'node:net';
import { options, ready } from './part.mjs';

const { port } = options({ port: '0' });
// The package listens on every interface and tells only the port it was asked for; both are put right here.
const bind = net.Server.prototype.listen;
net.Server.prototype.listen = function listen(wanted) {
  this.once('listening', () => ready({ url: `http://127.0.0.1:${this.address().port}/mcp`, port: this.address().port }));
  return bind.call(this, Number(wanted), '127.0.0.1');
};
console.log = console.error = () => {};
process.env.PORT = port;
await import(new URL('./node_modules/@modelcontextprotocol/server-everything/dist/transports/streamableHttp.js', import.meta.url));
