//! PROXY headers: however the bytes are cut, they read the same, what follows is not looked at, and what is written again
//! reads as it was read.

#![no_main]

use std::net::SocketAddr;

use libfuzzer_sys::fuzz_target;

#[path = "../../crates/triad-proxy/src/proxy_protocol/mod.rs"]
#[allow(dead_code)]
mod proxy_protocol;

use proxy_protocol::{Ends, HEADER_BYTES_MAX, read, v1, v2};

fn canonical(ends: Ends) -> [SocketAddr; 2] {
    [ends.source, ends.destination].map(|end| SocketAddr::new(end.ip().to_canonical(), end.port()))
}

fuzz_target!(|bytes: &[u8]| {
    let whole = read(bytes);
    let arriving = (0..=bytes.len()).map(|length| read(&bytes[..length])).find(|read| *read != Ok(None));
    assert_eq!(arriving.unwrap_or(Ok(None)), whole);
    let Ok(Some(header)) = whole else {
        assert!(whole.is_err() || bytes.len() < HEADER_BYTES_MAX);
        return;
    };
    assert_eq!(read(&bytes[..header.length]), whole);
    for write in [v1::write, v2::write] {
        let mut written = Vec::new();
        write(&mut written, header.ends.as_ref());
        let again = read(&written).expect("a header").expect("whole");
        assert_eq!((again.ends.map(canonical), again.length), (header.ends.map(canonical), written.len()));
    }
});
