//! The `portcullis` command.
#![forbid(unsafe_code)]

use portcullis::cli::{Terminal, run};
use std::process::ExitCode;

fn main() -> ExitCode {
    let (mut out, mut err) = (std::io::stdout(), std::io::stderr());
    run(std::env::args_os().skip(1), &mut Terminal::new(&mut out, &mut err)).into()
}
