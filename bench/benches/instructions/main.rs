//! What filter and sidecar do for every request, delta and line, in cases for callgrind to count the instructions of.
//! `cargo xtask counts` runs each case in a process of its own and compares what it comes to with `x86_64.txt`.

mod chat_bodies;
mod child_lines;
mod filter_policy;
mod requests;
mod response_streams;

use std::env;
use std::process::ExitCode;

/// Something that is done over and over. All that it needs is made before the first time.
type Work = Box<dyn FnMut()>;

/// Something to count, and how it is prepared.
struct Case {
    name: &'static str,
    prepare: fn() -> Work,
}

const fn case(name: &'static str, prepare: fn() -> Work) -> Case {
    Case { name, prepare }
}

fn main() -> ExitCode {
    let mut cases = [
        filter_policy::CASES,
        requests::CASES,
        response_streams::CASES,
        child_lines::CASES,
    ]
    .into_iter()
    .flatten();
    let Some(name) = env::args().nth(1) else {
        cases.for_each(|case| list(case.name));
        return ExitCode::SUCCESS;
    };
    let Some(case) = cases.find(|case| case.name == name) else {
        eprintln!("there is no case {name}");
        return ExitCode::FAILURE;
    };
    let mut work = (case.prepare)();
    // The first time pays for what is set up once: buffers, caches, the look at what the processor can do.
    work();
    measured(&mut work);
    ExitCode::SUCCESS
}

#[expect(clippy::print_stdout, reason = "the names are what was asked for")]
fn list(name: &str) {
    println!("{name}");
}

/// Callgrind counts from here on, by this name, until it returns.
#[inline(never)]
fn measured(work: &mut Work) {
    work();
}
