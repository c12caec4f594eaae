//! Bodies in chunks: whatever is cut where, payload, trailers and end are the same.

#![no_main]

use libfuzzer_sys::fuzz_target;
use triad_http1::{BodyReader, Framing};

/// Payload, trailers, and how it ended.
fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<u8>, Vec<u8>, Result<bool, u16>) {
    let mut body = BodyReader::new(Framing::Chunked);
    let mut payload = Vec::new();
    for mut piece in pieces {
        while !piece.is_empty() && !body.is_done() {
            match body.next(piece) {
                Ok(part) => {
                    assert!(part.consumed > 0);
                    payload.extend_from_slice(&piece[part.payload]);
                    piece = &piece[part.consumed..];
                }
                Err(refusal) => return (payload, Vec::new(), Err(refusal.status)),
            }
        }
    }
    let trailers = if body.is_done() { body.trailers().to_vec() } else { Vec::new() };
    (payload, trailers, Ok(body.is_done()))
}

fuzz_target!(|input: &[u8]| {
    let Some((cut, bytes)) = input.split_first() else { return };
    assert_eq!(read(bytes.chunks(usize::from(*cut).max(1))), read(std::iter::once(bytes)));
});
