//! The grammar of the command line: one word, then options with a value each, by a table.

use crate::config::nearest;
use lexopt::Arg;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// One command.
pub struct Row<C> {
    /// The word that asks for it.
    pub word: &'static str,
    /// What it does, in a line.
    pub about: &'static str,
    /// What it may be given.
    pub options: &'static [Opt],
    /// Makes it of what it was given.
    pub make: fn(&Given) -> Result<C, Misuse>,
}

/// One option; every option has a value.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    /// Its name without the hyphens.
    pub name: &'static str,
    /// What its value is, in capitals.
    pub value: &'static str,
    /// Whether the command needs it.
    pub needed: bool,
}

/// The options that a command line gives.
#[derive(Debug)]
pub struct Given(BTreeMap<&'static str, OsString>);

impl Given {
    /// A path.
    ///
    /// # Errors
    /// [`Misuse::Lacks`] if it is not given.
    pub fn path(&self, name: &'static str) -> Result<PathBuf, Misuse> {
        self.0.get(name).map(PathBuf::from).ok_or(Misuse::Lacks(name))
    }

    /// A text.
    ///
    /// # Errors
    /// [`Misuse::Lacks`] if it is not given, [`Misuse::NotText`] if it is not UTF-8.
    pub fn text(&self, name: &'static str) -> Result<&str, Misuse> {
        self.0.get(name).ok_or(Misuse::Lacks(name))?.to_str().ok_or(Misuse::NotText(name))
    }

    /// An address on this machine's loopback with its port, or nothing if it is not given.
    ///
    /// # Errors
    /// [`Misuse::NotAnAddress`] or, for any other address, [`Misuse::NotLoopback`].
    pub fn loopback(&self, name: &'static str) -> Result<Option<SocketAddr>, Misuse> {
        if !self.0.contains_key(name) {
            return Ok(None);
        }
        let address: SocketAddr = self.text(name)?.parse().map_err(|_| Misuse::NotAnAddress(name))?;
        if address.ip().is_loopback() { Ok(Some(address)) } else { Err(Misuse::NotLoopback(name)) }
    }
}

/// Why a command line is not understood. What was typed is not in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misuse {
    /// There is no command.
    NoCommand,
    /// There is no such command; perhaps this one was meant.
    UnknownCommand(Option<&'static str>),
    /// The command has no such option; perhaps this one was meant.
    UnknownOption(Option<&'static str>),
    /// An option stands before the command.
    OptionFirst,
    /// There is a second word.
    ExtraWord,
    /// An option has no value.
    NoValue(&'static str),
    /// An option is given twice.
    Twice(&'static str),
    /// An option that the command needs is not given.
    Lacks(&'static str),
    /// A value is not UTF-8.
    NotText(&'static str),
    /// A value is not an address with a port.
    NotAnAddress(&'static str),
    /// A value is an address that others can reach.
    NotLoopback(&'static str),
}

impl fmt::Display for Misuse {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCommand => out.write_str("a command is missing"),
            Self::UnknownCommand(Some(near)) => write!(out, "there is no such command: did you mean {near}?"),
            Self::UnknownCommand(None) => out.write_str("there is no such command"),
            Self::UnknownOption(Some(near)) => write!(out, "this command has no such option: did you mean --{near}?"),
            Self::UnknownOption(None) => out.write_str("this command has no such option"),
            Self::OptionFirst => out.write_str("an option stands before the command"),
            Self::ExtraWord => out.write_str("there is a word too many"),
            Self::NoValue(name) => write!(out, "--{name} has no value"),
            Self::Twice(name) => write!(out, "--{name} is given twice"),
            Self::Lacks(name) => write!(out, "this command needs --{name}"),
            Self::NotText(name) => write!(out, "--{name} is not UTF-8"),
            Self::NotAnAddress(name) => write!(out, "--{name} is not an address with a port, such as 127.0.0.1:8080"),
            Self::NotLoopback(name) => write!(out, "--{name} is reachable for others; write 127.0.0.1 or [::1] there"),
        }
    }
}

/// What a command line asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Asked<C> {
    Help,
    Version,
    For(C),
}

/// Reads a command line, without the program's own name, by the table.
pub(super) fn read<C>(
    rows: &'static [Row<C>],
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<Asked<C>, Misuse> {
    // The program's name is not among the arguments, and nothing is said by it.
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut row: Option<&'static Row<C>> = None;
    let mut given = Given(BTreeMap::new());
    loop {
        // Only a value that no option asked for is an error of the grammar itself: `--help=yes`.
        match (parser.next().map_err(|_| Misuse::UnknownOption(None))?, row) {
            (Some(Arg::Short('h') | Arg::Long("help")), _) => return Ok(Asked::Help),
            (Some(Arg::Short('V') | Arg::Long("version")), None) => return Ok(Asked::Version),
            (Some(Arg::Value(word)), None) => row = Some(find(rows, &word)?),
            (Some(Arg::Value(_)), Some(_)) => return Err(Misuse::ExtraWord),
            (Some(Arg::Short(_) | Arg::Long(_)), None) => return Err(Misuse::OptionFirst),
            (Some(Arg::Short(_)), Some(_)) => return Err(Misuse::UnknownOption(None)),
            (Some(Arg::Long(name)), Some(row)) => {
                let option = row.options.iter().find(|option| option.name == name);
                let names: Vec<_> = row.options.iter().map(|option| option.name).collect();
                let name = option.ok_or_else(|| Misuse::UnknownOption(nearest(name, &names)))?.name;
                let value = parser.value().map_err(|_| Misuse::NoValue(name))?;
                if given.0.insert(name, value).is_some() {
                    return Err(Misuse::Twice(name));
                }
            }
            (None, None) => return Err(Misuse::NoCommand),
            (None, Some(row)) => {
                let lacking = row.options.iter().find(|option| option.needed && !given.0.contains_key(option.name));
                return match lacking {
                    Some(option) => Err(Misuse::Lacks(option.name)),
                    None => (row.make)(&given).map(Asked::For),
                };
            }
        }
    }
}

fn find<C>(rows: &'static [Row<C>], word: &OsString) -> Result<&'static Row<C>, Misuse> {
    let words: Vec<_> = rows.iter().map(|row| row.word).collect();
    let near = || Misuse::UnknownCommand(word.to_str().and_then(|word| nearest(word, &words)));
    rows.iter().find(|row| word == row.word).ok_or_else(near)
}

/// The table, as a person reads it.
pub(super) fn help<C>(rows: &[Row<C>]) -> String {
    let mut text = String::from("usage: portcullis COMMAND\n\n");
    let lines = rows.iter().map(|row| {
        let mut line = row.word.to_owned();
        for Opt { name, value, needed } in row.options {
            line.push_str(&if *needed { format!(" --{name} {value}") } else { format!(" [--{name} {value}]") });
        }
        (line, row.about)
    });
    let own =
        [("--help", "print this"), ("--version", "print the version")].map(|(line, about)| (line.to_owned(), about));
    let lines: Vec<_> = lines.chain(own).collect();
    let width = lines.iter().map(|(line, _)| line.len()).max().unwrap_or_default();
    for (line, about) in lines {
        text.push_str(&format!("  {line:width$}  {about}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq)]
    enum Sample {
        Serve(PathBuf),
        Demo(Option<SocketAddr>),
        Health(String),
    }

    const CONFIG: Opt = Opt { name: "config", value: "FILE", needed: true };
    const SAMPLES: &[Row<Sample>] = &[
        Row {
            word: "serve",
            about: "the gate",
            options: &[CONFIG],
            make: |given| given.path("config").map(Sample::Serve),
        },
        Row {
            word: "demo",
            about: "everything embedded",
            options: &[Opt { name: "listen", value: "ADDR", needed: false }],
            make: |given| given.loopback("listen").map(Sample::Demo),
        },
        Row {
            word: "health",
            about: "for containers",
            options: &[Opt { name: "url", value: "URL", needed: true }],
            make: |given| given.text("url").map(|url| Sample::Health(url.to_owned())),
        },
    ];

    fn asked(line: &str) -> Result<Asked<Sample>, Misuse> {
        read(SAMPLES, line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn words_and_options_are_read_by_the_table() {
        for (line, expected) in [
            ("serve --config /etc/gate.json", Asked::For(Sample::Serve("/etc/gate.json".into()))),
            ("serve --config=/etc/gate.json", Asked::For(Sample::Serve("/etc/gate.json".into()))),
            ("demo", Asked::For(Sample::Demo(None))),
            ("demo --listen 127.0.0.1:8080", Asked::For(Sample::Demo("127.0.0.1:8080".parse().ok()))),
            ("demo --listen [::1]:8080", Asked::For(Sample::Demo("[::1]:8080".parse().ok()))),
            ("health --url http://127.0.0.1/health", Asked::For(Sample::Health("http://127.0.0.1/health".into()))),
            ("serve --help", Asked::Help),
            ("-h", Asked::Help),
            ("--version", Asked::Version),
        ] {
            assert_eq!(asked(line), Ok(expected), "{line}");
        }
    }

    #[test]
    fn every_misuse_has_its_name() {
        for (line, misuse) in [
            ("", Misuse::NoCommand),
            ("serv --config x", Misuse::UnknownCommand(Some("serve"))),
            ("colour", Misuse::UnknownCommand(None)),
            ("serve", Misuse::Lacks("config")),
            ("serve --config", Misuse::NoValue("config")),
            ("serve --config a --config b", Misuse::Twice("config")),
            ("serve --confg a", Misuse::UnknownOption(Some("config"))),
            ("serve -c a", Misuse::UnknownOption(None)),
            ("serve --config a b", Misuse::ExtraWord),
            ("--config a serve", Misuse::OptionFirst),
            ("demo --listen 8080", Misuse::NotAnAddress("listen")),
            ("demo --listen localhost:8080", Misuse::NotAnAddress("listen")),
            ("demo --listen 0.0.0.0:8080", Misuse::NotLoopback("listen")),
            ("demo --listen [::]:8080", Misuse::NotLoopback("listen")),
            ("demo --listen 192.0.2.1:8080", Misuse::NotLoopback("listen")),
        ] {
            assert_eq!(asked(line), Err(misuse), "{line}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn what_is_not_utf_8_is_refused_only_where_text_is_wanted() {
        use std::os::unix::ffi::OsStringExt;
        let bytes = || OsString::from_vec(vec![b'/', 0xff]);
        let line = |word: &str, option: &str| [word.into(), option.into(), bytes()];
        assert_eq!(read(SAMPLES, line("serve", "--config")), Ok(Asked::For(Sample::Serve(bytes().into()))));
        assert_eq!(read(SAMPLES, line("health", "--url")), Err(Misuse::NotText("url")));
        assert_eq!(read(SAMPLES, [bytes()]), Err(Misuse::UnknownCommand(None)));
    }

    #[test]
    fn help_lists_every_command_with_its_options() {
        let text = help(SAMPLES);
        assert!(text.contains("  serve --config FILE   the gate\n"), "{text}");
        assert!(text.contains("  demo [--listen ADDR]  everything embedded\n"), "{text}");
    }
}
