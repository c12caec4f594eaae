//! Answers: however the bytes are cut, they read the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use triad_http1::Method;

#[path = "../../crates/triad-http1/tests/suite/transcript.rs"]
#[allow(dead_code)]
mod transcript;

fuzz_target!(|input: &[u8]| {
    let Some((cut, bytes)) = input.split_first() else { return };
    let method = if cut & 1 == 0 { Method::Get } else { Method::Head };
    let pieces = bytes.chunks(usize::from(*cut).max(1));
    assert_eq!(transcript::responses(method, pieces), transcript::responses(method, [bytes]));
});
