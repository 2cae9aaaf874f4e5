//! One fuzzer for every target, so that there is one binary to build: `PORTCULLIS_FUZZ_TARGET` says which one runs.
#![no_main]

use std::sync::LazyLock;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("PORTCULLIS_FUZZ_TARGET").expect("PORTCULLIS_FUZZ_TARGET names the target");
    portcullis_fuzz::target(&name).expect("PORTCULLIS_FUZZ_TARGET names a target of src/lib.rs")
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| TARGET(data));
