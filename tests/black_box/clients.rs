//! The wire shapes of the clients in use, each from its first unauthenticated call to a refreshed session: what it registers, where it
//! has its code sent, how it speaks to the token endpoint, and what it does otherwise than the others (docs/clients.md).

use super::documents::{Site, http, world_with};
use crate::harness::http::{Request, Response, fields, form};
use crate::harness::signer::{proven, rsa_keys, signed_by_rsa};
use crate::harness::{Client, Pkce, RESOURCE, Returned, SCOPE, Script, Tokens, World};
use serde_json::{Value, json};

/// What a client sends.
struct Shape {
    /// Its registration.
    metadata: Value,
    /// Where it has its code sent; on loopback at another port than it registered.
    redirect: &'static str,
    /// What it says of the resource, in both places; some say nothing.
    resource: Option<&'static str>,
    /// The scope that it asks for, if it asks for one.
    scope: Option<&'static str>,
    /// What it authenticates with at the token endpoint, whatever it registered.
    posts_secret: bool,
    /// Whether it signs what it sends there, for that endpoint and not for the issuer.
    signs: bool,
    /// Where its page is, if it is one.
    origin: Option<&'static str>,
}

/// A public client that registers as the SDKs do, under this name with these redirect URIs.
fn native(name: &str, redirects: &[&str], redirect: &'static str) -> Shape {
    Shape {
        metadata: json!({
            "client_name": name,
            "redirect_uris": redirects,
            "grant_types": ["authorization_code", "refresh_token"],
            "response_types": ["code"],
            "token_endpoint_auth_method": "none",
        }),
        redirect,
        resource: Some(RESOURCE),
        scope: Some(SCOPE),
        posts_secret: false,
        signs: false,
        origin: None,
    }
}

impl Shape {
    /// With this member in its registration.
    fn registering(mut self, name: &str, value: &Value) -> Self {
        self.metadata[name] = value.clone();
        self
    }

    /// A request as this client sends it: a page of it names its origin, and asks first whether it may.
    fn send(&self, world: &World, request: Request) -> Response {
        let Some(origin) = self.origin else { return world.send(&request) };
        let preflight = Request::new("OPTIONS", &request.target).header("Origin", origin);
        let preflight = preflight.header("Access-Control-Request-Method", &request.method);
        let may = world.send(&preflight.header("Access-Control-Request-Headers", "authorization,content-type"));
        assert!(matches!(may.status, 200 | 204), "{} {}", request.target, may.status);
        let answer = world.send(&request.header("Origin", origin));
        assert!(matches!(answer.header("access-control-allow-origin"), Some(open) if open == "*" || open == origin));
        answer
    }

    fn mcp(&self, world: &World, path: &str, access: Option<&str>) -> Response {
        let request = Request::post(path).header("Content-Type", "application/json").body(r#"{"jsonrpc":"2.0"}"#);
        let request = request.header("Accept", "application/json, text/event-stream");
        self.send(world, access.iter().fold(request, |request, token| request.bearer(token)))
    }

    /// The first connection, without anybody's help: from the challenge to a session that has been refreshed.
    #[track_caller]
    fn connects(&self, world: &World, path: &str) {
        self.connects_as(world, path, None);
    }

    /// The same for a client that need not register, because its id is the address of a document that says all of it.
    #[track_caller]
    fn connects_by_document(&self, document: &Value) {
        let (site, world) = (Site::start(), world_with(|_| {}));
        let mut document = document.clone();
        if self.signs {
            document["jwks_uri"] = json!(site.url("/oauth/jwks.json"));
            site.says("/oauth/jwks.json", http("200 OK", "application/json", rsa_keys().to_string().as_bytes()));
        }
        let client = site.publishes("/oauth/client-metadata.json", document);
        self.connects_as(&world, "/mcp", Some(client));
        assert_eq!(world.happened("client_registered"), 0);
    }

    #[track_caller]
    fn connects_as(&self, world: &World, path: &str, described: Option<Client>) {
        let told = self.mcp(world, path, None);
        assert_eq!(told.status, 401);
        let challenge = told.header("www-authenticate").unwrap();
        let (_, rest) = challenge.split_once("resource_metadata=\"https://gate.example").unwrap();
        let resource = self.send(world, Request::get(rest.split('"').next().unwrap())).json();
        assert_eq!(resource["authorization_servers"], json!(["https://gate.example"]));
        let server = self.send(world, Request::get("/.well-known/oauth-authorization-server")).json();
        let at = |name: &str| server[name].as_str().unwrap().strip_prefix("https://gate.example").unwrap().to_owned();

        let client = match described {
            Some(client) => {
                assert_eq!(server["client_id_metadata_document_supported"], json!(true));
                client
            }
            None => self.registers(world, &at("registration_endpoint")),
        };

        let pkce = Pkce::new();
        let code = self.log_in(world, &client, &pkce, &at("authorization_endpoint"));
        let mut redeem = vec![
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("code_verifier", &pkce.verifier),
            ("redirect_uri", self.redirect),
        ];
        redeem.extend(self.resource.map(|resource| ("resource", resource)));
        let asks = |fields: &[(&str, &str)]| {
            let endpoint = at("token_endpoint");
            if !self.signs {
                return self.send(world, client.form(&endpoint, fields));
            }
            let assertion = signed_by_rsa(&client.id, &json!({ "aud": server["token_endpoint"] }));
            self.send(world, proven(&endpoint, &[fields, &[("client_id", &client.id)]].concat(), &assertion))
        };
        let first = Tokens::of(&asks(&redeem));
        assert_eq!(self.mcp(world, path, Some(&first.access)).status, 200);

        let mut refresh = vec![("grant_type", "refresh_token"), ("refresh_token", first.refresh.as_str())];
        refresh.extend(self.resource.map(|resource| ("resource", resource)));
        let second = Tokens::of(&asks(&refresh));
        assert_ne!(first.refresh, second.refresh);
        assert_eq!(self.mcp(world, path, Some(&second.access)).status, 200);
    }

    /// Registers as it does, and is told what it said.
    #[track_caller]
    fn registers(&self, world: &World, endpoint: &str) -> Client {
        let registered = self.send(world, Request::json(endpoint, &self.metadata));
        assert_eq!(registered.status, 201, "{}", registered.text());
        let registered = registered.json();
        for (name, value) in self.metadata.as_object().unwrap() {
            if matches!(name.as_str(), "client_name" | "redirect_uris" | "token_endpoint_auth_method" | "grant_types") {
                assert_eq!(registered[name], *value, "{name} is echoed as it came");
            }
        }
        Client {
            id: registered["client_id"].as_str().unwrap().to_owned(),
            secret: registered["client_secret"].as_str().map(str::to_owned),
            posts_secret: self.posts_secret,
            registration: registered,
        }
    }

    /// Through the page and the provider, and back to where the client waits: the code.
    #[track_caller]
    fn log_in(&self, world: &World, client: &Client, pkce: &Pkce, endpoint: &str) -> String {
        let mut ask = vec![
            ("response_type", "code"),
            ("client_id", client.id.as_str()),
            ("redirect_uri", self.redirect),
            ("code_challenge", &pkce.challenge),
            ("code_challenge_method", "S256"),
            ("state", "a-state_of.its~own"),
        ];
        ask.extend(self.scope.map(|scope| ("scope", scope)));
        ask.extend(self.resource.map(|resource| ("resource", resource)));
        let mut browser = world.browser();
        let page = browser.send(Request::get(&format!("{endpoint}?{}", form(&ask))));
        assert_eq!(page.status, 200, "{:?} {}", page.header("location"), page.text());
        let text = page.text();
        let field = |name: &str| {
            let (_, rest) = text.split_once(&format!("name=\"{name}\" value=\"")).unwrap();
            rest.split_once('"').unwrap().0.to_owned()
        };
        let consent = crate::harness::Consent { flow: field("flow"), csrf: field("csrf"), page };
        let authorization = browser.approve(&consent);
        let at_provider = world.provider.issue(&authorization, Script::default());
        let back = browser.callback(&[("code", &at_provider), ("state", authorization.param("state"))]);
        let returned = back_at(&back, self.redirect);
        assert_eq!(returned.param("state"), Some("a-state_of.its~own"));
        assert_eq!(returned.param("iss"), Some("https://gate.example"));
        returned.code().to_owned()
    }
}

/// What arrives at this redirect URI: by a redirect, or from a page that a program's own scheme leads away from.
#[track_caller]
fn back_at(answer: &Response, redirect: &str) -> Returned {
    if redirect.starts_with("http") {
        let returned = Returned::of(answer);
        assert_eq!(returned.to, redirect, "where it is waited for, port and slash and all");
        return returned;
    }
    assert_eq!(answer.status, 200);
    let text = answer.text();
    let (_, rest) = text.split_once(&format!("{redirect}?")).unwrap();
    let query = rest.split('"').next().unwrap().replace("&amp;", "&").replace("&#38;", "&");
    Returned { to: redirect.to_owned(), params: fields(&query) }
}

#[test]
fn as_16_i_2_claude_code_comes_back_at_another_port_of_localhost() {
    let world = World::start();
    let registered = ["http://localhost:3118/callback"];
    native("Claude Code (an MCP server)", &registered, "http://localhost:51004/callback").connects(&world, "/mcp");
    let portless = ["http://localhost/callback", "http://127.0.0.1/callback"];
    native("Claude Code", &portless, "http://127.0.0.1:51005/callback").connects(&world, "/mcp");
}

#[test]
fn i_8_i_20_claude_ai_posts_its_secret_and_ends_a_bare_origin_with_a_slash() {
    let world = World::with(|config| config["resources"][0]["path"] = json!("/"));
    let redirect = "https://claude.ai/api/mcp/auth_callback";
    let shape = native("Claude", &[redirect], redirect)
        .registering("token_endpoint_auth_method", &json!("client_secret_post"))
        .registering("scope", &json!("claudeai"));
    Shape { resource: Some("https://gate.example/"), posts_secret: true, ..shape }.connects(&world, "/");
}

/// What the document of Claude on the web and on the desktop says.
#[test]
fn as_13_i_8_claude_ai_lives_by_its_document_alone() {
    let redirects = ["https://claude.ai/api/mcp/auth_callback", "https://claude.com/api/mcp/auth_callback"];
    let document = json!({
        "client_name": "Claude",
        "client_uri": "https://claude.ai",
        "redirect_uris": redirects,
        "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:jwt-bearer"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    });
    for redirect in redirects {
        let shape = native("Claude", &[], redirect);
        Shape { scope: Some("mcp offline_access"), ..shape }.connects_by_document(&document);
    }
}

/// What the document of ChatGPT says. It takes the stronger of its two methods where it is offered.
#[test]
fn as_13_i_23_t070_chatgpt_lives_by_its_document_and_signs_for_the_token_endpoint() {
    let redirect = "https://chatgpt.com/connector_platform_oauth_redirect";
    let document = json!({
        "client_name": "ChatGPT",
        "client_uri": "https://chatgpt.com/",
        "redirect_uris": [redirect],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "private_key_jwt",
        "token_endpoint_auth_methods_supported": ["none", "private_key_jwt"],
        "token_endpoint_auth_signing_alg": "RS256",
    });
    // For a while it left out which of the two it takes.
    let mut unsaid = document.clone();
    unsaid["token_endpoint_auth_method"] = Value::Null;
    for document in [document, unsaid] {
        Shape { signs: true, ..native("ChatGPT", &[], redirect) }.connects_by_document(&document);
    }
}

#[test]
fn i_23_chatgpt_comes_back_at_the_address_of_its_connector() {
    let redirect = "https://chatgpt.com/connector/oauth/Qm7-x_4";
    native("ChatGPT", &[redirect], redirect).connects(&World::start(), "/mcp");
    let redirect = "https://chatgpt.com/connector_platform_oauth_redirect";
    native("ChatGPT", &[redirect], redirect).connects(&World::start(), "/mcp");
}

#[test]
fn i_1_cursor_registers_all_its_places_at_once_and_calls_itself_a_web_application() {
    let redirects = [
        "cursor://anysphere.cursor-mcp/oauth/callback",
        "https://www.cursor.com/agents/mcp/oauth/callback",
        "http://localhost:8787/callback",
    ];
    for redirect in redirects {
        let shape = native("Cursor", &redirects, redirect).registering("application_type", &json!("web"));
        Shape { scope: None, ..shape }.connects(&World::start(), "/mcp");
    }
    // That of today no longer names its scheme, and registers the scope of the challenge.
    for redirect in &redirects[1..] {
        let shape = native("Cursor", &redirects[1..], redirect).registering("scope", &json!(SCOPE));
        shape.connects(&World::start(), "/mcp");
    }
}

/// What the document of Cursor says, which is also that of its sister program.
#[test]
fn as_13_i_1_cursor_lives_by_its_document_alone() {
    let redirects = [
        "https://www.cursor.com/agents/mcp/oauth/callback",
        "https://www.cursor.com/bot/mcp/oauth/callback",
        "https://grok.com/connectors-oauth-exchange-code/",
        "http://localhost:8787/callback",
        "http://127.0.0.1:8787/callback",
    ];
    let document = json!({ "client_name": "Cursor", "token_endpoint_auth_method": "none", "redirect_uris": redirects, "grant_types": null, "response_types": null });
    for redirect in redirects {
        native("Cursor", &[], redirect).connects_by_document(&document);
    }
}

#[test]
fn i_3_visual_studio_code_takes_any_port_with_its_slash_and_its_own_page() {
    let redirects = [
        "https://insiders.vscode.dev/redirect",
        "https://vscode.dev/redirect",
        "http://127.0.0.1/",
        "http://127.0.0.1:33418/",
    ];
    for redirect in ["http://127.0.0.1:33418/", "http://127.0.0.1:62111/", "https://vscode.dev/redirect"] {
        let shape = native("Visual Studio Code", &redirects, redirect)
            .registering("application_type", &json!("native"))
            .registering("client_uri", &json!("https://code.visualstudio.com"));
        shape.connects(&World::start(), "/mcp");
    }
}

/// What the document of VS Code says.
#[test]
fn as_13_i_3_i_4_visual_studio_code_lives_by_its_document_alone() {
    let document = json!({
        "client_name": "Visual Studio Code",
        "client_uri": "https://vscode.dev/product",
        "redirect_uris": ["http://127.0.0.1:33418/", "https://vscode.dev/redirect"],
        "grant_types": ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"],
        "response_types": ["code"],
        "application_type": "native",
        "token_endpoint_auth_method": "none",
    });
    for redirect in ["http://127.0.0.1:33418/", "http://127.0.0.1:62111/", "https://vscode.dev/redirect"] {
        native("Visual Studio Code", &[], redirect).connects_by_document(&document);
    }
}

#[test]
fn i_12_i_13_i_20_codex_names_no_resource_and_sends_by_basic_what_it_said_it_would_post() {
    let world = World::start();
    let (registered, redirect) =
        ("http://127.0.0.1:63546/callback/6MFBM1In3Ey-", "http://127.0.0.1:63999/callback/6MFBM1In3Ey-");
    let posts = native("Codex", &[registered], redirect)
        .registering("token_endpoint_auth_method", &json!("client_secret_post"));
    // It asks for whatever the authorization server lists.
    let server = world.send(&Request::get("/.well-known/oauth-authorization-server")).json();
    let listed: Vec<&str> = server["scopes_supported"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let scope: &'static str = Box::leak(listed.join(" ").into_boxed_str());
    Shape { resource: None, scope: Some(scope), ..posts }.connects(&world, "/mcp");
    let public = native("Codex", &[registered], redirect);
    Shape { resource: None, scope: None, ..public }.connects(&world, "/mcp");
}

#[test]
fn i_7_i_16_gemini_cli_registers_a_scope_and_comes_back_at_any_port() {
    let shape = native(
        "Gemini CLI MCP Client",
        &["http://localhost:7777/oauth/callback"],
        "http://localhost:40001/oauth/callback",
    );
    shape.registering("scope", &json!("something else")).connects(&World::start(), "/mcp");
}

#[test]
fn i_18_windsurf_asks_for_no_scope_and_refreshes_all_the_same() {
    let shape = native("Windsurf", &["http://127.0.0.1:36111/oauth/callback"], "http://127.0.0.1:36112/oauth/callback");
    Shape { scope: None, ..shape }.connects(&World::start(), "/mcp");
}

/// What the document of Claude Code says: two places without a port, from either of which it comes back at a free one.
#[test]
fn as_13_i_2_i_4_claude_code_lives_by_its_document_alone() {
    let document = json!({
        "client_name": "Claude Code",
        "client_uri": "https://claude.ai",
        "redirect_uris": ["http://localhost/callback", "http://127.0.0.1/callback"],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "token_endpoint_auth_method": "none",
    });
    for redirect in ["http://localhost:51004/callback", "http://127.0.0.1:51005/callback"] {
        native("Claude Code", &[], redirect).connects_by_document(&document);
    }
}

/// What the document of Zed says.
#[test]
fn as_13_i_2_i_4_zed_lives_by_its_document_alone() {
    let document = json!({
        "client_name": "Zed",
        "client_uri": "https://zed.dev",
        "redirect_uris": ["http://127.0.0.1/callback"],
        "grant_types": ["authorization_code", "refresh_token"],
        "response_types": ["code"],
        "application_type": "native",
        "token_endpoint_auth_method": "none",
    });
    for redirect in ["http://127.0.0.1:27523/callback", "http://127.0.0.1:49152/callback"] {
        native("Zed", &[], redirect).connects_by_document(&document);
    }
}

#[test]
fn i_2_zed_comes_back_at_the_numeric_address() {
    for redirect in ["http://127.0.0.1:27523/callback", "http://127.0.0.1:49152/callback"] {
        native("Zed", &["http://127.0.0.1/callback"], redirect).connects(&World::start(), "/mcp");
    }
}

#[test]
fn as_16_i_15_mcp_remote_says_which_software_it_is() {
    let shape =
        native("MCP CLI Proxy", &["http://localhost:3334/oauth/callback"], "http://localhost:3334/oauth/callback");
    shape
        .registering("client_uri", &json!("https://github.com/modelcontextprotocol/mcp-cli"))
        .registering("software_id", &json!("2e6dc280-f3c3-4e01-99a7-8181dbd1d23d"))
        .registering("software_version", &json!("1.0.0"))
        .connects(&World::start(), "/mcp");
}

#[test]
fn rs_30_i_22_the_inspector_is_a_page_on_this_machine() {
    for redirect in ["http://localhost:6274/oauth/callback", "http://localhost:6274/oauth/callback/debug"] {
        let shape = native("MCP Inspector", &[redirect], redirect)
            .registering("client_uri", &json!("https://github.com/modelcontextprotocol/inspector"));
        Shape { origin: Some("http://localhost:6274"), ..shape }.connects(&World::start(), "/mcp");
    }
}
