//! The pipeline of requests against a second reader: what goes on, hyper understands as the same requests.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/triad-http1/tests/suite/hyper.rs"]
mod second;
#[path = "../../crates/triad-http1/tests/suite/transcript.rs"]
#[allow(dead_code)]
mod transcript;

fuzz_target!(|bytes: &[u8]| second::assert_agreement(bytes));
