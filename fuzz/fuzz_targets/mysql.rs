//! A client and a database that say anything, cut in any way. The same goes on as if it had come at once, nothing that is
//! yet to go on grows beyond what a relay holds back, and nothing panics.
//!
//! Each part of the input: its length, with the lowest bit for who speaks, then so many bytes of payload, that get a head.

#![no_main]

use libfuzzer_sys::fuzz_target;
use triad_mysql::limits::HELD_BACK_BYTES_MAX;
use triad_mysql::{Account, Session};

const GREETING: &[u8] = b"\x0a5.5.5-10.11.19-MariaDB\0\x07\0\0\0abcdefgh\0\xfe\xf7\x2d\x02\0\xbf\x81\x15\0\0\0\0\0\0\x1d\0\0\0\
ijklmnopqrst\0mysql_native_password\0";
const LOGIN: &[u8] = b"\x00\x82\x00\x00\0\0\0\x01\x2d\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0app\0\0";

fn packet(number: u8, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_le_bytes();
    [&length[..3], &[number], payload].concat()
}

/// What goes on of `said`, read in parts of `cut` bytes, and whether it is at rest and can be made again.
fn follow(said: &[(bool, Vec<u8>)], cut: usize) -> (Vec<u8>, [bool; 3]) {
    let (mut session, mut passed) = (Session::default(), Vec::new());
    for (is_client, bytes) in said {
        let mut waiting = Vec::new();
        for part in bytes.chunks(cut) {
            waiting.extend_from_slice(part);
            let length = match is_client {
                true => session.client_said(&mut waiting).expect("nothing was restored"),
                false => session.server_said(&mut waiting),
            };
            passed.extend(waiting.drain(..length));
            assert!(waiting.len() <= HELD_BACK_BYTES_MAX);
        }
        passed.extend(waiting);
    }
    let account = Account { user: "app", password: "hunter2" };
    (passed, [session.is_opaque(), session.is_at_rest(), session.restore(account).is_ok()])
}

fuzz_target!(|input: &[u8]| {
    let mut said = vec![(false, packet(0, GREETING)), (true, packet(1, LOGIN)), (false, packet(2, &[0, 0, 0, 2, 0, 0, 0]))];
    let mut rest = input;
    while let Some((length, after)) = rest.split_first() {
        let (payload, after) = after.split_at((usize::from(*length) >> 1).min(after.len()));
        let is_client = length & 1 == 1;
        said.push((is_client, packet(u8::from(!is_client), payload)));
        rest = after;
    }
    let all: Vec<u8> = said.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    let whole = follow(&said, usize::MAX);
    assert_eq!(whole.0, all);
    assert_eq!(follow(&said, 1 + input.len() % 7), whole);
});
