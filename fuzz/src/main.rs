//! The targets under libFuzzer: `FUZZ_TARGET` selects the target of this process.

#![no_main]

use std::env;
use std::sync::LazyLock;

use fuzz::Target;
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = env::var("FUZZ_TARGET").expect("FUZZ_TARGET is set");
    fuzz::find(&name).expect("FUZZ_TARGET names a target")
});

fuzz_target!(|input: &[u8]| (TARGET.check)(input));
