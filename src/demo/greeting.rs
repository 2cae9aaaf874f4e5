//! What the demonstration says when it has started: where it is, and what to paste into which client.

use serde_json::json;

/// The whole text.
pub(super) fn greeting(endpoint: &str, issuer: &str) -> String {
    let vs_code = json!({ "name": NAME, "type": "http", "url": endpoint });
    let vs_code_file = json!({ "servers": { NAME: { "type": "http", "url": endpoint } } });
    let cursor = json!({ "mcpServers": { NAME: { "url": endpoint } } });
    let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
    format!(
        "\
Portcullis demonstration

  protected MCP endpoint   {endpoint}
  identity provider        {issuer}   (Alice and Bob, no passwords)

Point a client at the endpoint; it opens a browser, you choose who you are, approve,
and its tools `echo` and `whoami` are there. Everything is forgotten when this ends.

Claude Code
  claude mcp add --transport http {NAME} {endpoint}
  then, inside claude:  /mcp

VS Code
  code --add-mcp '{vs_code}'
  or in .vscode/mcp.json:
  {vs_code_file}

Cursor, in .cursor/mcp.json
  {cursor}

MCP Inspector
  npx @modelcontextprotocol/inspector --transport http --server-url {endpoint}

curl, to see the challenge that every client starts from
  curl -i {endpoint} -H 'Content-Type: application/json' -d '{ping}'

Ctrl-C ends it.
"
    )
}

/// What the lines call the server.
const NAME: &str = "portcullis-demo";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_client_gets_its_line() {
        let text = greeting("http://127.0.0.1:8080/mcp", "http://127.0.0.1:39999");
        for line in [
            "  claude mcp add --transport http portcullis-demo http://127.0.0.1:8080/mcp\n",
            "  code --add-mcp '{\"name\":\"portcullis-demo\",\"type\":\"http\",\"url\":\"http://127.0.0.1:8080/mcp\"}'\n",
            "  {\"servers\":{\"portcullis-demo\":{\"type\":\"http\",\"url\":\"http://127.0.0.1:8080/mcp\"}}}\n",
            "  {\"mcpServers\":{\"portcullis-demo\":{\"url\":\"http://127.0.0.1:8080/mcp\"}}}\n",
            "  npx @modelcontextprotocol/inspector --transport http --server-url http://127.0.0.1:8080/mcp\n",
            "  curl -i http://127.0.0.1:8080/mcp -H 'Content-Type: application/json' -d '{\"id\":1,\"jsonrpc\":\"2.0\",\"method\":\"ping\"}'\n",
        ] {
            assert!(text.contains(line), "{line}\n{text}");
        }
    }
}
