//! The demonstration: an identity provider and an MCP server of its own, on loopback, so that one command shows the gate.
//!
//! Both live in this process and nowhere else: they listen on 127.0.0.1 at free ports, know two invented people, and forget
//! everything at the end. Keys and secrets are drawn at the start.

mod answer;
mod greeting;
mod identity;
mod mcp;

use crate::config::Surroundings;
use identity::Identity;
use mcp::Tools;
use portcullis_adapters::http::{Bound, Handler, Plain, Serving, Settings, serve};
use portcullis_adapters::system::SystemEntropy;
use portcullis_domain::secret::SecretText;
use portcullis_domain::wire::text;
use portcullis_ports::Entropy;
use serde_json::json;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::watch;

/// The gate's identifier at the demonstration provider.
const CLIENT_ID: &str = "portcullis-demo";

/// The running demonstration: what stands behind the gate and beside it, but not the gate.
#[derive(Debug)]
pub struct Demo {
    listen: SocketAddr,
    admin: SocketAddr,
    identity: SocketAddr,
    tools: SocketAddr,
    client_secret: SecretText,
    stop: watch::Sender<bool>,
    serving: Vec<Serving>,
}

impl Demo {
    /// Starts both servers for a gate that will listen there.
    ///
    /// # Errors
    /// If the address is not on loopback or has no port, if a socket or a thread cannot be had, or if there is no randomness.
    pub fn start(listen: SocketAddr) -> io::Result<Self> {
        if !listen.ip().is_loopback() || listen.port() == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the demonstration is for loopback, at a known port",
            ));
        }
        let entropy = SystemEntropy::new();
        let draw = || entropy.draw().map_err(|_| io::Error::other("the system gives no random bytes"));
        let client_secret = SecretText::new(text::base64url(draw()?.expose()));
        let redirect_uri = format!("{}/oauth/callback", base_url(listen));

        let (identity_at, tools_at) = (free_port()?, free_port()?);
        let (identity, tools) = (identity_at.address(), tools_at.address());
        // Only looked up: the gate binds it itself, and a second demonstration finds another one.
        let admin = free_port()?.address();
        let (stop, stopped) = watch::channel(false);
        let handler = Identity::new(identity, &draw()?, client_secret.clone(), redirect_uri);
        let serving = vec![run(identity_at, handler, &stopped)?, run(tools_at, Tools::new(tools), &stopped)?];
        Ok(Self { listen, admin, identity, tools, client_secret, stop, serving })
    }

    /// The gate's base URL, which is its issuer.
    #[must_use]
    pub fn base_url(&self) -> String {
        base_url(self.listen)
    }

    /// The demonstration provider's issuer.
    #[must_use]
    pub fn issuer(&self) -> String {
        identity::issuer(self.identity)
    }

    /// Where the demonstration MCP server is, without the gate in front.
    #[must_use]
    pub fn upstream(&self) -> String {
        format!("http://{}{}", self.tools, mcp::PATH)
    }

    /// Where clients find it, behind the gate.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("{}{}", self.base_url(), mcp::PATH)
    }

    /// The gate's configuration for this demonstration, as the text of a file: it holds the client secret.
    ///
    /// The master key is kept in the file, if one is given, so that clients registered yesterday are still known; without
    /// one it is drawn anew at every start.
    #[must_use]
    pub fn configuration(&self, master_key_file: Option<&Path>) -> SecretText {
        let mut configuration = json!({
            "baseUrl": self.base_url(),
            "listen": self.listen.to_string(),
            "adminListen": self.admin.to_string(),
            "provider": "oidc",
            "oidc": {
                "issuerUrl": self.issuer(),
                "clientId": CLIENT_ID,
                "clientSecret": self.client_secret.expose(),
                "scopes": identity::SCOPES,
            },
            "resources": [{
                "name": "The demonstration",
                "path": mcp::PATH,
                "upstream": self.upstream(),
                "scopes": [{ "name": "mcp", "description": "Use the demonstration's tools" }],
            }],
            "storage": { "type": "memory" },
            "logFormat": "text",
            "logLevel": "warn",
        });
        if let Some(members) = configuration.as_object_mut() {
            match master_key_file {
                Some(file) => members.insert("masterKeyFile".to_owned(), json!(file)),
                None => members.insert("dangerRandomMasterKey".to_owned(), json!(true)),
            };
        }
        SecretText::new(configuration.to_string())
    }

    /// What the command prints: the endpoint, and the lines to paste into real clients.
    #[must_use]
    pub fn greeting(&self) -> String {
        greeting::greeting(&self.endpoint(), &self.issuer())
    }

    /// Ends both servers and waits for them.
    pub fn stop(self) {
        // Nobody listening any more is as good as stopped.
        let _ = self.stop.send(true);
        for serving in self.serving {
            serving.join();
        }
    }
}

/// Where the demonstration keeps its master key: in the person's state directory (XDG Base Directory Specification), if the
/// environment says where that is.
#[must_use]
pub fn master_key_file(around: &dyn Surroundings) -> Option<PathBuf> {
    let directory = |name: &str| {
        let path = around.variable(name).map(|value| PathBuf::from(value.expose()))?;
        Some(path).filter(|path| path.is_absolute())
    };
    let state = directory("XDG_STATE_HOME").or_else(|| directory("HOME").map(|home| home.join(".local/state")))?;
    Some(state.join("portcullis").join("demo.key"))
}

fn base_url(listen: SocketAddr) -> String {
    format!("http://{listen}")
}

fn free_port() -> io::Result<Bound> {
    Bound::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), 1)
}

fn run<H: Handler>(bound: Bound, handler: H, stop: &watch::Receiver<bool>) -> io::Result<Serving> {
    let settings = Settings { drain: Duration::from_secs(1), ..Settings::default() };
    serve(bound, settings, Plain, move |_| handler.clone(), stop.clone())
}

#[cfg(test)]
mod tests;
