// The login of Gemini CLI at an MCP server, out of its own package and without its session with a model: `/mcp auth` calls the same.
import { readdir } from 'node:fs/promises';

const [, , package_, mcp] = process.argv;
const bundle = new URL('bundle/', `file://${package_}/`);
// Two builds of its core are in the package, each in a file named by a digest.
const [core] = (await readdir(bundle)).filter((name) => /^core-\w+\.js$/.test(name));
const { MCPOAuthProvider, coreEvents } = await import(new URL(core, bundle));
coreEvents.on('user-feedback', ({ message }) => console.log(message));
coreEvents.drainBacklogs?.();
const provider = new MCPOAuthProvider();
const token = await provider.authenticate('gate', { enabled: true }, mcp);
console.log(`scope: ${token.scope}`);
const kept = await provider.tokenStorage.getCredentials('gate');
const again = await provider.refreshAccessToken({ clientId: kept.clientId }, kept.token.refreshToken, kept.tokenUrl, mcp);
await provider.tokenStorage.saveToken('gate', { accessToken: again.access_token, tokenType: again.token_type, refreshToken: again.refresh_token, scope: again.scope, expiresAt: Date.now() + again.expires_in * 1000 }, kept.clientId, kept.tokenUrl, mcp);
console.log(`renewed: ${again.access_token !== token.accessToken}`);
process.exit(0);
