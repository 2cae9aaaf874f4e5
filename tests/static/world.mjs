// What the static binary finds in its network namespace: a name server on port 53, an identity provider behind a name and TLS,
// and a listener that stands for an MCP server.
import dgram from 'node:dgram';
import net from 'node:net';
import { listen, options, ready } from '../parts/part.mjs';
import { part } from '../parts/start.mjs';

const given = options({ cert: '', key: '' });
const names = new Set(['id.portcullis.test', 'mcp-server.portcullis.test']);

const upstream = await listen(net.createServer((socket) => socket.on('error', () => {}).resume()));
const provider = await part('./provider.mjs', { name: 'id.portcullis.test', cert: given.cert, key: given.key });
const dns = dgram.createSocket('udp4');
dns.on('message', (query, from) => {
  const answer = reply(query);
  if (answer) dns.send(answer, from.port, from.address);
});
await new Promise((resolve, reject) => dns.once('error', reject).bind(53, '127.0.0.1', resolve));
ready({ issuer: provider.issuer, upstream: `http://mcp-server.portcullis.test:${upstream}/mcp` });

/** RFC 1035 section 4: one question, and for a known name's A record one answer; AAAA is an empty yes. */
function reply(query) {
  const labels = [];
  let at = 12;
  while (query[at] > 0) {
    labels.push(query.subarray(at + 1, at + 1 + query[at]).toString('latin1').toLowerCase());
    at += 1 + query[at];
  }
  const end = at + 5;
  if (end > query.length || query.readUInt16BE(4) !== 1) return undefined;
  const [name, type] = [labels.join('.'), query.readUInt16BE(at + 1)];
  const known = names.has(name);
  console.log(JSON.stringify({ asked: name, type }));
  const head = Buffer.alloc(12);
  query.copy(head, 0, 0, 2);
  head.writeUInt16BE(known ? 0x8580 : 0x8583, 2);
  head.writeUInt16BE(1, 4);
  const address = known && type === 1;
  head.writeUInt16BE(address ? 1 : 0, 6);
  const answer = Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1]);
  return Buffer.concat([head, query.subarray(12, end), ...(address ? [answer] : [])]);
}
