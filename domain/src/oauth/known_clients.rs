//! The redirect URIs and web origins of the clients that people use today, each with where it is known from.
//!
//! This is data, not policy: whatever stands here may register out of the box, and nothing here makes a client trusted. A
//! code that is sent to one of these places reaches either a program on the person's own machine or the client's own
//! service, whatever a registration calls itself.

/// What a client's redirect URI looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// Exactly this URI.
    Exact(&'static str),
    /// This URI, which ends in a slash, followed by the id of one connection and nothing else.
    Connection(&'static str),
    /// A port of the person's own machine, whatever the path (RFC 8252 section 7.3).
    Loopback,
}

/// One client.
#[derive(Debug, Clone, Copy)]
pub struct KnownClient {
    /// What its makers call it.
    pub name: &'static str,
    /// Where it receives codes.
    pub redirects: &'static [Shape],
    /// The origins from which its pages call resources.
    pub origins: &'static [&'static str],
    /// Where this is said.
    pub sources: &'static [&'static str],
}

/// All of them.
pub const KNOWN_CLIENTS: &[KnownClient] = &[
    KnownClient {
        // http://localhost:<port>/callback, and http://127.0.0.1:<port>/callback
        name: "Claude Code",
        redirects: &[Shape::Loopback],
        origins: &[],
        sources: &[
            "https://code.claude.com/docs/en/mcp",
            "https://claude.ai/oauth/claude-code-client-metadata",
            "https://github.com/anthropics/claude-code/issues/42301",
        ],
    },
    KnownClient {
        name: "Claude",
        redirects: &[
            Shape::Exact("https://claude.ai/api/mcp/auth_callback"),
            Shape::Exact("https://claude.com/api/mcp/auth_callback"),
        ],
        origins: &["https://claude.ai", "https://claude.com"],
        sources: &[
            "https://support.claude.com/en/articles/11503834",
            "https://claude.ai/oauth/mcp-oauth-client-metadata",
        ],
    },
    KnownClient {
        // The first where every answer carries `iss` and the metadata says so, the others elsewhere.
        name: "ChatGPT",
        redirects: &[
            Shape::Exact("https://chatgpt.com/connector_platform_oauth_redirect"),
            Shape::Connection("https://chatgpt.com/connector/oauth/"),
        ],
        origins: &["https://chatgpt.com"],
        sources: &[
            "https://developers.openai.com/apps-sdk/build/auth",
            "https://chatgpt.com/oauth/client.json",
            "https://github.com/koala73/worldmonitor/pull/8307",
            "https://github.com/makeplane/plane-mcp-server/pull/165",
        ],
    },
    KnownClient {
        // The desktop program, its agents on the web and http://localhost:8787/callback stand in one registration.
        name: "Cursor",
        redirects: &[
            Shape::Exact("cursor://anysphere.cursor-mcp/oauth/callback"),
            Shape::Exact("https://www.cursor.com/agents/mcp/oauth/callback"),
            Shape::Exact("https://cursor.com/agents/mcp/oauth/callback"),
            Shape::Exact("https://www.cursor.com/bot/mcp/oauth/callback"),
            Shape::Loopback,
        ],
        origins: &["https://www.cursor.com", "https://cursor.com"],
        sources: &[
            "https://cursor.com/docs/mcp",
            "https://cursor.com/oauth/mcp-client.json",
            "https://github.com/erp-mafia/accounted/pull/2225",
            "https://github.com/better-auth/better-auth/issues/10946",
        ],
    },
    KnownClient {
        // http://127.0.0.1/, http://127.0.0.1:33418/ and, when that is taken, any other port.
        name: "Visual Studio Code",
        redirects: &[
            Shape::Exact("https://vscode.dev/redirect"),
            Shape::Exact("https://insiders.vscode.dev/redirect"),
            Shape::Loopback,
        ],
        origins: &["https://vscode.dev", "https://insiders.vscode.dev"],
        sources: &[
            "https://code.visualstudio.com/api/extension-guides/ai/mcp",
            "https://vscode.dev/oauth/client-metadata.json",
            "https://github.com/microsoft/vscode/issues/278512",
        ],
    },
    KnownClient {
        // http://127.0.0.1:<port>/callback/<id of the server>
        name: "Codex",
        redirects: &[Shape::Loopback],
        origins: &[],
        sources: &["https://github.com/openai/codex/issues/30460", "https://github.com/openai/codex/pull/11382"],
    },
    KnownClient {
        // http://localhost:<port>/oauth/callback
        name: "Gemini CLI",
        redirects: &[Shape::Loopback],
        origins: &[],
        sources: &["https://github.com/google-gemini/gemini-cli/pull/24844"],
    },
    KnownClient {
        // Its documentation names no redirect URI. An installation that uses a scheme of its own needs the operator's word.
        name: "Windsurf",
        redirects: &[Shape::Loopback],
        origins: &[],
        sources: &["https://docs.windsurf.com/windsurf/cascade/mcp"],
    },
    KnownClient {
        // http://127.0.0.1:<port>/callback, by preference port 27523
        name: "Zed",
        redirects: &[Shape::Loopback],
        origins: &[],
        sources: &[
            "https://zed.dev/oauth/client-metadata.json",
            "https://github.com/zed-industries/zed/pull/51768",
            "https://github.com/zed-industries/zed/issues/56210",
        ],
    },
    KnownClient {
        name: "Grok",
        redirects: &[
            Shape::Exact("https://grok.com/connectors-oauth-exchange-code/"),
            Shape::Exact("https://console.x.ai/connectors-oauth-exchange-code/"),
        ],
        origins: &["https://grok.com"],
        sources: &["https://grok.com/oauth/mcp-client.json", "https://github.com/koala73/worldmonitor/pull/8307"],
    },
    KnownClient {
        // http://localhost:6274/oauth/callback and /oauth/callback/debug; its page calls from a loopback origin.
        name: "MCP Inspector",
        redirects: &[Shape::Loopback],
        origins: &[],
        sources: &["https://github.com/modelcontextprotocol/inspector/issues/556"],
    },
    KnownClient {
        // http://localhost:<port>/oauth/callback, client_name "MCP CLI Proxy"
        name: "mcp-remote",
        redirects: &[Shape::Loopback],
        origins: &[],
        sources: &["https://github.com/anthropics/claude-code/issues/24870"],
    },
];

/// The programs that open a link with this scheme, for the page that sends the person back to one of them.
const APP_NAMES: &[(&str, &str)] = &[
    ("atom", "Atom"),
    ("claude", "Claude"),
    ("code", "Visual Studio Code"),
    ("codium", "VSCodium"),
    ("cursor", "Cursor"),
    ("discord", "Discord"),
    ("figma", "Figma"),
    ("iterm", "iTerm"),
    ("iterm2", "iTerm2"),
    ("jupyterlab", "JupyterLab"),
    ("linear", "Linear"),
    ("notion", "Notion"),
    ("obsidian", "Obsidian"),
    ("positron", "Positron"),
    ("raycast", "Raycast"),
    ("slack", "Slack"),
    ("sublime", "Sublime Text"),
    ("theia", "Theia"),
    ("vscode", "Visual Studio Code"),
    ("vscode-insiders", "Visual Studio Code Insiders"),
    ("vscodium", "VSCodium"),
    ("warp", "Warp"),
    ("windsurf", "Windsurf"),
    ("zed", "Zed"),
];

/// All redirect shapes.
pub fn shapes() -> impl Iterator<Item = Shape> {
    KNOWN_CLIENTS.iter().flat_map(|client| client.redirects.iter().copied())
}

/// Whether this scheme, in lower case, is the private-use scheme of a known client.
#[must_use]
pub fn has_scheme(scheme: &str) -> bool {
    shapes().any(|shape| match shape {
        Shape::Exact(uri) => !uri.starts_with("https:") && uri.split_once(':').is_some_and(|(own, _)| own == scheme),
        Shape::Connection(_) | Shape::Loopback => false,
    })
}

/// The origins of all known clients' pages, as browsers write them.
pub fn origins() -> impl Iterator<Item = &'static str> {
    KNOWN_CLIENTS.iter().flat_map(|client| client.origins.iter().copied())
}

/// What to call the program behind a private-use scheme: its name, else the scheme with a capital first letter.
#[must_use]
pub fn app_name(scheme: &str) -> String {
    if let Some((_, name)) = APP_NAMES.iter().find(|(own, _)| own.eq_ignore_ascii_case(scheme)) {
        return (*name).to_owned();
    }
    let mut letters = scheme.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::uri::Uri;

    #[test]
    fn every_row_is_sound_and_says_where_it_is_known_from() {
        for client in KNOWN_CLIENTS {
            assert!(!client.redirects.is_empty() && !client.sources.is_empty(), "{}", client.name);
            for source in client.sources {
                assert!(Uri::parse(source).unwrap().has_scheme("https"), "{source}");
            }
            for origin in client.origins {
                assert_eq!(Uri::parse(origin).unwrap().origin().as_deref(), Some(*origin));
            }
            for shape in client.redirects {
                match shape {
                    Shape::Exact(uri) => assert!(!uri.starts_with("http:") && Uri::parse(uri).is_ok(), "{uri}"),
                    Shape::Connection(uri) => assert!(uri.starts_with("https://") && uri.ends_with('/'), "{uri}"),
                    Shape::Loopback => {}
                }
            }
        }
        let connections: Vec<Shape> = shapes().filter(|shape| matches!(shape, Shape::Connection(_))).collect();
        assert_eq!(connections, [Shape::Connection("https://chatgpt.com/connector/oauth/")], "the one rule by prefix");
    }

    #[test]
    fn schemes_and_names() {
        assert!(has_scheme("cursor"));
        for other in ["https", "http", "javascript", "Cursor", "cursorx", ""] {
            assert!(!has_scheme(other), "{other}");
        }
        for (scheme, name) in
            [("cursor", "Cursor"), ("iterm2", "iTerm2"), ("com.example.app", "Com.example.app"), ("", "")]
        {
            assert_eq!(app_name(scheme), name);
        }
    }
}
