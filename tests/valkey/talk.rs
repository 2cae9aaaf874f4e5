//! A client that speaks RESP by itself, so that no test judges the gate's own client by the gate's own client.

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// What a server answers. Maps and sets are lists, and so are pushes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Simple(String),
    Error(String),
    Number(i64),
    Bulk(Vec<u8>),
    Nil,
    List(Vec<Self>),
}

impl Reply {
    /// The first whole reply in these bytes, with its length; nothing if more has to come.
    pub fn first(bytes: &[u8]) -> Option<(Self, usize)> {
        let end = bytes.windows(2).position(|window| window == b"\r\n")?;
        let line = std::str::from_utf8(&bytes[1..end]).unwrap();
        let (rest, number) = (end + 2, || line.parse::<i64>().unwrap_or_else(|_| panic!("a number: {line:?}")));
        match bytes[0] {
            b'+' | b',' | b'(' | b'#' => Some((Self::Simple(line.to_owned()), rest)),
            b'-' => Some((Self::Error(line.to_owned()), rest)),
            b':' => Some((Self::Number(number()), rest)),
            b'_' => Some((Self::Nil, rest)),
            b'$' | b'=' | b'!' => {
                let Ok(length) = usize::try_from(number()) else { return Some((Self::Nil, rest)) };
                let body = bytes.get(rest..rest + length + 2)?;
                Some((Self::Bulk(body[..length].to_vec()), rest + length + 2))
            }
            kind @ (b'*' | b'~' | b'>' | b'%' | b'|') => {
                let Ok(count) = usize::try_from(number()) else { return Some((Self::Nil, rest)) };
                let count = if matches!(kind, b'%' | b'|') { 2 * count } else { count };
                let (mut list, mut at) = (Vec::new(), rest);
                for _ in 0..count {
                    let (item, length) = Self::first(&bytes[at..])?;
                    list.push(item);
                    at += length;
                }
                Some((Self::List(list), at))
            }
            other => panic!("no RESP: {:?}", char::from(other)),
        }
    }

    /// The text of a simple or a bulk reply.
    #[track_caller]
    pub fn text(&self) -> String {
        match self {
            Self::Simple(text) => text.clone(),
            Self::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            other => panic!("no text: {other:?}"),
        }
    }

    /// The same, where a number may stand in its place.
    #[track_caller]
    pub fn text_or_number(&self) -> String {
        if let Self::Number(number) = self { number.to_string() } else { self.text() }
    }

    /// The same; nothing if it is no text.
    pub fn text_or_none(&self) -> Option<String> {
        matches!(self, Self::Simple(_) | Self::Bulk(_)).then(|| self.text())
    }

    /// The items of a list.
    #[track_caller]
    pub fn list(self) -> Vec<Self> {
        match self {
            Self::List(list) => list,
            other => panic!("no list: {other:?}"),
        }
    }

    /// A number, or a text that is one.
    #[track_caller]
    pub fn number(&self) -> i64 {
        match self {
            Self::Number(number) => *number,
            other => other.text().parse().unwrap(),
        }
    }
}

trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// A connection.
pub struct Talk {
    stream: Box<dyn Stream>,
    ahead: Vec<u8>,
}

impl Talk {
    /// Nothing if nobody listens. With a configuration it speaks TLS.
    pub fn to(address: SocketAddr, tls: Option<Arc<ClientConfig>>) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let stream: Box<dyn Stream> = match tls {
            None => Box::new(stream),
            Some(config) => {
                let client = ClientConnection::new(config, ServerName::try_from("localhost").unwrap());
                Box::new(StreamOwned::new(client.map_err(Error::other)?, stream))
            }
        };
        Ok(Self { stream, ahead: Vec::new() })
    }

    /// The answer to a command, an error included; a failure only if the connection fails.
    pub fn try_ask<A: AsRef<[u8]>>(&mut self, command: &[A]) -> Result<Reply> {
        self.try_ask_all(&[encode(command)])
    }

    /// The first answer to several commands that are sent at once, as they are.
    pub fn try_ask_all(&mut self, commands: &[Vec<u8>]) -> Result<Reply> {
        self.stream.write_all(&commands.concat())?;
        self.stream.flush()?;
        let mut buffer = [0; 16 << 10];
        loop {
            if let Some((reply, length)) = Reply::first(&self.ahead) {
                self.ahead.drain(..length);
                return Ok(reply);
            }
            match self.stream.read(&mut buffer)? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                count => self.ahead.extend_from_slice(&buffer[..count]),
            }
        }
    }

    /// The answer to a command, which must not be an error.
    #[track_caller]
    pub fn ask<A: AsRef<[u8]>>(&mut self, command: &[A]) -> Reply {
        match self.try_ask(command) {
            Ok(Reply::Error(error)) => panic!("{error}"),
            Ok(reply) => reply,
            Err(error) => panic!("{error}"),
        }
    }
}

/// The bytes of a command.
pub fn encode<A: AsRef<[u8]>>(command: &[A]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", command.len()).into_bytes();
    for argument in command {
        bytes.extend_from_slice(format!("${}\r\n", argument.as_ref().len()).as_bytes());
        bytes.extend_from_slice(argument.as_ref());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}
