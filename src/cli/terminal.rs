//! Where text goes, and the number that the program ends with (sysexits).

use super::Misuse;
use crate::config::Complaints;
use std::fmt::Display;
use std::io::Write;
use std::process::ExitCode;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// As it should.
    Done,
    /// The command line is wrong.
    Usage,
    /// What was asked about is not there or does not answer.
    Unavailable,
    /// The system lets the program down.
    System,
    /// The answer could not be written.
    Output,
    /// The configuration is wrong.
    Configuration,
}

impl Exit {
    /// The number, as sysexits has it.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Usage => 64,
            Self::Unavailable => 69,
            Self::System => 71,
            Self::Output => 74,
            Self::Configuration => 78,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}

/// The two streams of a command.
pub struct Terminal<'t> {
    out: &'t mut dyn Write,
    err: &'t mut dyn Write,
}

impl<'t> Terminal<'t> {
    /// Answers go to `out`, everything else to `err`.
    pub fn new(out: &'t mut dyn Write, err: &'t mut dyn Write) -> Self {
        Self { out, err }
    }

    /// Prints an answer as it is.
    pub fn print(&mut self, text: &str) -> Exit {
        let written = self.out.write_all(text.as_bytes()).and_then(|()| self.out.flush());
        match written {
            Ok(()) => Exit::Done,
            Err(_) => self.fail("the answer could not be written", Exit::Output),
        }
    }

    /// Says what went wrong, in a line of its own.
    pub fn fail(&mut self, what: impl Display, exit: Exit) -> Exit {
        // There is nowhere left to say that saying it failed; the number says it.
        let _unheard = writeln!(self.err, "portcullis: {what}");
        exit
    }

    /// Says why a command line is not understood.
    pub fn refuse(&mut self, misuse: Misuse) -> Exit {
        self.fail(format_args!("{misuse}; `portcullis --help` says more"), Exit::Usage)
    }

    /// Says everything that is wrong with a configuration, one line each.
    pub fn complain(&mut self, complaints: &Complaints) -> Exit {
        for complaint in &complaints.0 {
            self.fail(complaint, Exit::Configuration);
        }
        Exit::Configuration
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Complaint;

    #[test]
    fn complaints_are_one_line_each_and_end_with_78() {
        let complaint =
            |path: &str| Complaint { path: path.to_owned(), wrong: "is odd".into(), instead: "even it".into() };
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let exit = Terminal::new(&mut out, &mut err).complain(&Complaints(vec![complaint("a"), complaint("b[0]")]));
        assert_eq!(exit.number(), 78);
        assert_eq!(out, b"");
        assert_eq!(err, b"portcullis: a: is odd; even it\nportcullis: b[0]: is odd; even it\n");
    }

    #[test]
    fn an_answer_that_nobody_takes_ends_with_74() {
        let mut full: &mut [u8] = &mut [0; 3];
        let mut err = Vec::new();
        assert_eq!(Terminal::new(&mut full, &mut err).print("answer").number(), 74);
        assert_eq!(err, b"portcullis: the answer could not be written\n");
    }
}
