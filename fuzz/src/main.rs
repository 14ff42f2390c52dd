//! The targets under libFuzzer: `FUZZ_TARGET` names the one that this process attacks.

#![no_main]

use std::env;
use std::sync::LazyLock;

use fuzz::Target;
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = env::var("FUZZ_TARGET").expect("FUZZ_TARGET is set");
    fuzz::find(&name).expect("FUZZ_TARGET is one of ours")
});

fuzz_target!(|input: &[u8]| (TARGET.check)(input));
