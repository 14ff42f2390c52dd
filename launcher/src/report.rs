//! Lines on stderr for the user. `eprintln!` panics when the reader of stderr is gone, as with `2>&1 | head`, and would end a
//! program in the middle of its work.

use std::fmt::Arguments;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::Result;

/// Writes a line to stderr, if stderr has a reader.
#[macro_export]
macro_rules! report {
    ($($argument:tt)*) => {
        $crate::report::line(format_args!($($argument)*))
    };
}

/// Writes a line to stderr, if stderr has a reader.
pub fn line(text: Arguments<'_>) {
    let _ = writeln!(io::stderr(), "{text}");
}

/// Returns the exit code of a program, and reports its error.
pub fn exit_code(result: Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        report!("error: {error:#}");
        ExitCode::FAILURE
    })
}
