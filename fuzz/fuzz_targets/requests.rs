//! Requests: however the bytes are cut, they read the same, and what goes on reads as it was read.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/triad-http1/tests/suite/transcript.rs"]
#[allow(dead_code)]
mod transcript;

fuzz_target!(|input: &[u8]| {
    // The first byte says where to cut.
    let Some((cut, bytes)) = input.split_first() else { return };
    let whole = transcript::requests([bytes]);
    let pieces = bytes.chunks(usize::from(*cut).max(1));
    assert_eq!(transcript::requests(pieces), whole);
    let again = transcript::requests([&whole.forwarded[..]]);
    assert_eq!(again.messages, whole.messages);
    assert_eq!(again.forwarded, whole.forwarded);
});
