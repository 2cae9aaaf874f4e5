//! The command line: what is asked for, and the commands that need nothing but themselves.

mod grammar;
mod operate;
mod reload;
mod terminal;

pub use grammar::{Given, Misuse, Opt, Row};
pub use terminal::{Exit, Terminal};

use crate::config;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use grammar::{Asked, help, read};
use ring::rand::{SecureRandom, SystemRandom};
use std::ffi::OsString;
#[cfg(feature = "demo")]
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use zeroize::Zeroizing;

/// What a command line asks for. A new command is a variant here, a row in [`COMMANDS`] and an arm in [`run`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// The gate, until it is told to stop.
    Serve {
        /// The configuration.
        config: PathBuf,
    },
    /// A gate with everything around it, for a first look.
    #[cfg(feature = "demo")]
    Demo {
        /// Where on loopback it listens.
        listen: SocketAddr,
    },
    /// Whether the gate could run with a configuration.
    Check {
        /// The configuration.
        config: PathBuf,
    },
    /// Whether a gate is healthy.
    Health {
        /// Where to ask.
        url: String,
    },
    /// A new master key, printed.
    Keygen,
    /// The JSON Schema of the configuration, printed.
    Schema,
}

/// Every command: its word, what it is for, its options, and how the options make it.
pub const COMMANDS: &[Row<Command>] = &[
    Row {
        word: "serve",
        about: "run the gate",
        options: &[CONFIG],
        make: |given| Ok(Command::Serve { config: given.path(CONFIG.name)? }),
    },
    #[cfg(feature = "demo")]
    Row {
        word: "demo",
        about: "run a gate with a demonstration identity provider and MCP server, on loopback",
        options: &[LISTEN],
        make: |given| Ok(Command::Demo { listen: given.loopback(LISTEN.name)?.unwrap_or(DEMO_LISTEN) }),
    },
    Row {
        word: "check",
        about: "read a configuration and reach what it names",
        options: &[CONFIG],
        make: |given| Ok(Command::Check { config: given.path(CONFIG.name)? }),
    },
    Row {
        word: "health",
        about: "ask a gate how it is, for container health checks",
        options: &[URL],
        make: |given| Ok(Command::Health { url: given.text(URL.name)?.to_owned() }),
    },
    Row { word: "keygen", about: "print a new master key", options: &[], make: |_| Ok(Command::Keygen) },
    Row { word: "schema", about: "print the configuration's JSON Schema", options: &[], make: |_| Ok(Command::Schema) },
];

const CONFIG: Opt = Opt { name: "config", value: "FILE", needed: true };
#[cfg(feature = "demo")]
const LISTEN: Opt = Opt { name: "listen", value: "ADDRESS", needed: false };
#[cfg(feature = "demo")]
const DEMO_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);
const URL: Opt = Opt { name: "url", value: "URL", needed: true };

/// Does what the arguments, without the program's own name, ask for.
pub fn run(arguments: impl IntoIterator<Item = OsString>, terminal: &mut Terminal<'_>) -> Exit {
    match read(COMMANDS, arguments) {
        Ok(Asked::Help) => terminal.print(&help(COMMANDS)),
        Ok(Asked::Version) => terminal.print(concat!("portcullis ", env!("CARGO_PKG_VERSION"), "\n")),
        Ok(Asked::For(Command::Serve { config })) => operate::serve(&config, terminal),
        #[cfg(feature = "demo")]
        Ok(Asked::For(Command::Demo { listen })) => operate::demo(listen, terminal),
        Ok(Asked::For(Command::Check { config })) => operate::check(&config, terminal),
        Ok(Asked::For(Command::Health { url })) => operate::health(&url, terminal),
        Ok(Asked::For(Command::Keygen)) => keygen(terminal),
        Ok(Asked::For(Command::Schema)) => terminal.print(&format!("{}\n", config::schema())),
        Err(misuse) => terminal.refuse(misuse),
    }
}

/// A new master key from the system's generator, in the base64 that `masterKeys` reads.
fn keygen(terminal: &mut Terminal<'_>) -> Exit {
    let mut key = Zeroizing::new([0_u8; 32]);
    if SystemRandom::new().fill(key.as_mut_slice()).is_err() {
        return terminal.fail("the system gives no random bytes", Exit::System);
    }
    let mut line = Zeroizing::new(STANDARD.encode(key.as_slice()));
    line.push('\n');
    terminal.print(&line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, MasterKeys, Surroundings, Unreadable};
    use portcullis_domain::secret::SecretText;
    use std::path::Path;

    /// What a command line prints, says and ends with.
    fn said(line: &str) -> (String, String, Exit) {
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = run(line.split_whitespace().map(OsString::from), &mut Terminal::new(&mut out, &mut err));
        (String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap(), exit)
    }

    #[test]
    fn keygen_prints_a_key_that_the_configuration_takes() {
        struct Nothing;
        impl Surroundings for Nothing {
            fn variable(&self, _: &str) -> Option<SecretText> {
                None
            }
            fn file(&self, _: &Path) -> Result<SecretText, Unreadable> {
                Err(Unreadable::Absent)
            }
        }
        let (first, err, exit) = said("keygen");
        assert_eq!((first.len(), err.as_str(), exit), (45, "", Exit::Done));
        assert_ne!(first, said("keygen").0);
        let config = serde_json::json!({
            "baseUrl": "https://mcp.example.com",
            "masterKeys": [first.trim_end()],
            "provider": "oidc",
            "oidc": { "issuerUrl": "https://id.example.com", "clientId": "gate", "clientSecret": "hush" },
            "resources": [{ "path": "/mcp", "upstream": "http://127.0.0.1:3000/mcp" }],
        });
        let config = Config::read(&config.to_string(), &Nothing).unwrap();
        assert!(matches!(config.master_keys, MasterKeys::Given(keys) if keys.len() == 1));
    }

    #[test]
    fn schema_prints_json() {
        let (out, err, exit) = said("schema");
        assert_eq!((err.as_str(), exit), ("", Exit::Done));
        let schema: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert!(schema["properties"]["baseUrl"].is_object() && out.ends_with("}\n"));
    }

    #[test]
    fn help_and_version_go_to_stdout() {
        for line in ["--help", "-h", "keygen --help", "--help keygen"] {
            let (out, err, exit) = said(line);
            assert!(out.starts_with("usage: portcullis COMMAND") && out.contains("keygen"), "{line}: {out}");
            assert_eq!((err.as_str(), exit), ("", Exit::Done), "{line}");
        }
        for line in ["--version", "-V"] {
            assert_eq!(said(line), (format!("portcullis {}\n", env!("CARGO_PKG_VERSION")), String::new(), Exit::Done));
        }
    }

    #[test]
    fn what_is_not_understood_ends_with_64() {
        for line in ["", "keygem", "keygen now", "keygen --config x", "--config x", "-x"] {
            let (out, err, exit) = said(line);
            assert_eq!((out.as_str(), exit), ("", Exit::Usage), "{line}");
            assert!(err.starts_with("portcullis: ") && err.contains("portcullis --help"), "{line}: {err}");
        }
        assert!(said("keygem").1.contains("did you mean keygen?"));
    }
}
