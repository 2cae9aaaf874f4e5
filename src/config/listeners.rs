//! Where the listeners listen, and what must not be said there in the clear.

use super::complaint::{Wrong, wrong};
use super::keys::Text;
use super::place::Place;
use super::{ConfigDraft, UpstreamUrl};
use portcullis_domain::limits::SOCKET_PATH_MAX;
use serde_json::{Value as Json, json};
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// Where the admin listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminListen {
    /// At this address.
    Address(SocketAddr),
    /// At a Unix socket of this path.
    Socket(PathBuf),
}

impl AdminListen {
    /// The address, if it is one.
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Socket(_) => None,
        }
    }

    /// The path of the socket, if it is one.
    #[must_use]
    pub fn socket(&self) -> Option<&Path> {
        match self {
            Self::Address(_) => None,
            Self::Socket(path) => Some(path),
        }
    }
}

impl fmt::Display for AdminListen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(out),
            Self::Socket(path) => write!(out, "unix:{}", path.display()),
        }
    }
}

impl Text for AdminListen {
    fn shape() -> Json {
        json!({})
    }

    fn parse(text: &str) -> Result<Self, Wrong> {
        let Some(socket) = text.strip_prefix("unix:") else {
            return SocketAddr::parse(text).map(Self::Address);
        };
        let odd = socket.ends_with('/') || socket.contains(":/") || socket.bytes().any(|byte| byte.is_ascii_control());
        if !socket.starts_with('/') || socket.len() > SOCKET_PATH_MAX || odd {
            return Err(wrong("is not the path of a socket", "write it as unix:/run/portcullis/admin.sock"));
        }
        Ok(Self::Socket(socket.into()))
    }
}

/// The rules of where the listeners listen, and over what.
pub(super) fn listeners(draft: &ConfigDraft, at: &Place<'_>) {
    let (Some(listen), Some(admin)) = (draft.listen, &draft.admin_listen) else { return };
    let same = |admin: SocketAddr| listen.ip() == admin.ip() || is_any(listen) || is_any(admin);
    if admin.address().is_some_and(|admin| listen.port() == admin.port() && same(admin)) {
        at.key("adminListen").complain("is where the public listener listens", "use another port, such as 9464");
    }
    // What could not be read was complained of, and is not missing.
    let tls = !matches!(draft.tls, Some(None));
    let (Some(proxies), Some(danger)) = (&draft.trusted_proxy_cidrs, draft.danger_plain_http) else { return };
    if !listen.ip().to_canonical().is_loopback() && proxies.is_empty() && !danger && !tls {
        at.key("listen").complain(
            "is beyond loopback, and nothing here says that a proxy with TLS stands in front",
            "give tls, or listen on 127.0.0.1, or name the proxy in trustedProxyCIDRs, or set dangerPlainHttp",
        );
    }
    admin_listener(draft, admin, at);
    if tls && danger {
        at.key("dangerPlainHttp").complain("is of no use beside tls", "remove it: the listener speaks no plain HTTP");
    }
    if tls && draft.base_url.as_ref().is_some_and(|base| !base.is_https()) {
        at.key("tls").complain("is there, and baseUrl is http", "write https:// in baseUrl, or remove tls");
    }
}

/// A token that opens every session must not be read on the way.
fn admin_listener(draft: &ConfigDraft, admin: &AdminListen, at: &Place<'_>) {
    let (Some(token), Some(danger)) = (&draft.admin_token, draft.danger_plain_admin) else { return };
    let tls = !matches!(draft.admin_tls, Some(None));
    let beyond = admin.address().is_some_and(|admin| !admin.ip().to_canonical().is_loopback());
    if token.is_some() && beyond && !tls && !danger {
        at.key("adminListen").complain(
            "is beyond loopback, and the admin token would go there in the clear",
            "give adminTls, or listen on 127.0.0.1 or a Unix socket, or remove adminToken, or set dangerPlainAdmin",
        );
    }
    let socket = admin.socket().is_some();
    if danger && (tls || socket || token.is_none()) {
        at.key("dangerPlainAdmin")
            .complain("is of no use with adminTls, on a Unix socket, or without adminToken", "remove it");
    }
    if tls && socket {
        at.key("adminTls").complain("is of no use on a Unix socket", "remove it, or listen at an address");
    }
}

fn is_any(address: SocketAddr) -> bool {
    address.ip().to_canonical().is_unspecified()
}

/// Which of the gate's own listeners an upstream is, as far as the text tells.
pub(super) fn own_listener(draft: &ConfigDraft, upstream: &UpstreamUrl) -> Option<&'static str> {
    let admin = draft.admin_listen.as_ref();
    let admins = admin.is_some_and(|admin| match admin {
        AdminListen::Address(address) => leads_to(upstream, *address),
        AdminListen::Socket(path) => upstream.socket().is_some_and(|socket| Path::new(socket) == path),
    });
    if draft.listen.is_some_and(|listen| leads_to(upstream, listen)) {
        return Some("is the gate itself");
    }
    admins.then_some("is the gate's admin listener")
}

fn leads_to(upstream: &UpstreamUrl, listener: SocketAddr) -> bool {
    let Some((host, port)) = upstream.host_and_port() else { return false };
    let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().ok().map(|address| address.to_canonical());
    let own = listener.ip().to_canonical();
    let here = host == "localhost" || address.is_some_and(|address| address.is_loopback() || address.is_unspecified());
    port == listener.port()
        && (address == Some(own) || (here && (is_any(listener) || (host == "localhost" && own.is_loopback()))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_admin_listener_is_at_an_address_or_a_socket() {
        let parse = AdminListen::parse;
        assert_eq!(parse("127.0.0.1:9464"), Ok(AdminListen::Address("127.0.0.1:9464".parse().unwrap())));
        let socket = parse("unix:/run/portcullis/admin.sock").unwrap();
        assert_eq!(socket.socket(), Some(Path::new("/run/portcullis/admin.sock")));
        assert_eq!(socket.to_string(), "unix:/run/portcullis/admin.sock");
        let long = format!("unix:/{}", "s".repeat(SOCKET_PATH_MAX));
        for text in ["unix:admin.sock", "unix:", "unix:/run/", "unix:/run/a.sock:/x", "unix:/run/a\nb", &long] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
