//! From an address to a connection on which commands may be sent: TCP, TLS, login, database, and the server's own words on
//! what it is.

use super::refusal::{Refusal, quoted};
use super::resp::{Decoder, Frame, Value, command};
use super::server::Server;
use crate::apart;
use crate::system::wall;
use portcullis_domain::secret::SecretText;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use std::fmt;
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use zeroize::Zeroizing;

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Endpoint {
    /// A name or an address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
}

impl fmt::Display for Endpoint {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') { write!(out, "[{host}]:{port}") } else { write!(out, "{host}:{port}") }
    }
}

/// TLS to a server.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Whom to trust, and what to show.
    pub config: Arc<ClientConfig>,
    /// The name in the certificate of every server, where it is not the one that it is reached by.
    pub server_name: Option<String>,
}

/// How servers are spoken to.
#[derive(Debug, Default)]
pub struct Access {
    /// Where it is spoken, all connections speak it: an address that the cluster or a Sentinel names is no way around it.
    pub tls: Option<Tls>,
    /// A user of the server's access control list; without one, its default user.
    pub username: Option<String>,
    /// That user's password.
    pub password: Option<SecretText>,
    /// The number of the database.
    pub database: u32,
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// State changes: their readings and their commits.
    Operations,
    /// Readings whose keys the server then watches for it.
    Questions,
}

pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Socket for T {}

/// A connection on which one command at a time is sent and answered.
pub(super) struct Talk {
    pub(super) socket: Box<dyn Socket>,
    pub(super) decoder: Decoder,
}

/// A connection that is ready for use.
pub(super) struct Ready {
    pub(super) talk: Talk,
    pub(super) server: Server,
    /// Whether the server tells of changes to what was read on it.
    pub(super) watches: bool,
}

impl Access {
    /// Connects and logs in. Whoever calls sets a deadline.
    pub(super) async fn talk(&self, endpoint: &Endpoint) -> Result<(Talk, Protocol), Refusal> {
        let stream = apart::connect(&endpoint.host, endpoint.port).await.map_err(broken)?;
        stream.set_nodelay(true).map_err(broken)?;
        let socket: Box<dyn Socket> = match &self.tls {
            None => Box::new(stream),
            Some(tls) => {
                let name = tls.server_name.as_ref().unwrap_or(&endpoint.host).clone();
                let name = ServerName::try_from(name).map_err(|error| Refusal::Tls(error.to_string()))?;
                let agreed = TlsConnector::from(Arc::clone(&tls.config)).connect(name, stream).await;
                Box::new(agreed.map_err(broken)?)
            }
        };
        let mut talk = Talk { socket, decoder: Decoder::default() };
        let protocol = self.log_in(&mut talk).await?;
        Ok((talk, protocol))
    }

    /// The same for a server of data, which says what it is, and is judged by it.
    pub(super) async fn open(&self, endpoint: &Endpoint, purpose: Purpose) -> Result<Ready, Refusal> {
        let (mut talk, protocol) = self.talk(endpoint).await?;
        if self.database != 0 {
            talk.fine(&[b"SELECT", self.database.to_string().as_bytes()]).await?;
        }
        let info = talk.fine(&[b"INFO"]).await?;
        let server = info.str().and_then(|info| Server::read(info, wall())).ok_or(Refusal::Nonsense)?;
        server.judge()?;
        let watches = purpose == Purpose::Questions && protocol == Protocol::Third;
        if watches {
            talk.fine(&[b"CLIENT", b"TRACKING", b"ON"]).await?;
        }
        Ok(Ready { talk, server, watches })
    }

    async fn log_in(&self, talk: &mut Talk) -> Result<Protocol, Refusal> {
        let user = self.username.as_deref().unwrap_or("default").as_bytes();
        let password = self.password.as_ref().map(|password| password.expose().as_bytes());
        let mut hello: Vec<&[u8]> = vec![b"HELLO", b"3"];
        if let Some(password) = password {
            hello.extend([b"AUTH", user, password]);
        }
        hello.extend([b"SETNAME".as_slice(), NAME]);
        match talk.ask(&hello).await? {
            Value::Error(said) if said.starts_with(b"NOPROTO") || said.starts_with(b"ERR unknown command") => {}
            Value::Error(said) => return Err(refusal_of(&said)),
            _ => return Ok(Protocol::Third),
        }
        if let Some(password) = password {
            let login: &[&[u8]] =
                if self.username.is_some() { &[b"AUTH", user, password] } else { &[b"AUTH", password] };
            talk.fine(login).await?;
        }
        Ok(Protocol::Second)
    }
}

/// How each connection is listed by the server.
const NAME: &[u8] = b"portcullis";

/// The version of RESP that was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Second,
    Third,
}

impl Talk {
    /// Sends one command, and waits for its answer.
    pub(super) async fn ask(&mut self, parts: &[&[u8]]) -> Result<Value, Refusal> {
        // It may hold the password.
        let bytes = Zeroizing::new(command(parts));
        self.socket.write_all(&bytes).await.map_err(broken)?;
        self.socket.flush().await.map_err(broken)?;
        let mut buffer = [0; 4_096];
        loop {
            match self.decoder.next().map_err(|_| Refusal::Nonsense)? {
                Some(Frame::Reply(value)) => return Ok(value),
                Some(Frame::Push(_)) => {}
                None => {
                    let count = self.socket.read(&mut buffer).await.map_err(broken)?;
                    if count == 0 {
                        return Err(Refusal::Unreachable("it hangs up".to_owned()));
                    }
                    self.decoder.feed(buffer.get(..count).unwrap_or_default());
                }
            }
        }
    }

    /// The same, for an answer that must not be an error.
    pub(super) async fn fine(&mut self, parts: &[&[u8]]) -> Result<Value, Refusal> {
        match self.ask(parts).await? {
            Value::Error(said) => Err(refusal_of(&said)),
            value => Ok(value),
        }
    }
}

/// Why bytes do not come or go. That a certificate of ours is missing, a server says only after the handshake.
fn broken(error: std::io::Error) -> Refusal {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(tls) => Refusal::Tls(tls.to_string()),
        None => Refusal::Unreachable(error.to_string()),
    }
}

/// What an error means while a connection is made.
pub(super) fn refusal_of(said: &[u8]) -> Refusal {
    let code = said.split(|byte| *byte == b' ').next().unwrap_or_default();
    match code {
        b"WRONGPASS" | b"NOAUTH" => Refusal::Login(quoted(said)),
        b"NOPERM" => Refusal::Forbidden(quoted(said)),
        b"LOADING" => Refusal::Loading,
        b"MASTERDOWN" | b"READONLY" => Refusal::Replica,
        _ if said.starts_with(b"ERR AUTH") || said.starts_with(b"ERR invalid password") => Refusal::Login(quoted(said)),
        _ => Refusal::Error(quoted(said)),
    }
}
