//! An answer's head as HTTP/1.1 would have sent it. Pure.
//!
//! Nothing is judged here that the parser of HTTP/1.1 judges.

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use triad_http1::HeadWriter;

use super::fields::has_blank_edges;
use crate::receive::Body;
use crate::text::write_field;

/// The head, and how the body behind it is told; `None` if it is malformed. `is_whole`: no body follows; `to_head`: it
/// answers a HEAD.
pub(crate) fn head(status: StatusCode, headers: &HeaderMap, is_whole: bool, to_head: bool) -> Option<(Vec<u8>, Body)> {
    let mut out = begun(status, headers)?;
    let is_bodiless = to_head || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let has_length = headers.contains_key(CONTENT_LENGTH);
    let body = match (is_bodiless || is_whole, has_length) {
        (true, _) => Body::None,
        (false, true) => Body::Length,
        (false, false) => Body::Chunked,
    };
    if body == Body::Chunked {
        write_field(&mut out, b"transfer-encoding", b"chunked");
    } else if !is_bodiless && !has_length {
        // Or HTTP/1.1 would wait for the end of the connection.
        write_field(&mut out, b"content-length", b"0");
    }
    out.extend_from_slice(b"\r\n");
    Some((out, body))
}

/// The head of an interim answer.
pub(crate) fn interim(status: StatusCode, headers: &HeaderMap) -> Option<Vec<u8>> {
    let mut out = begun(status, headers)?;
    out.extend_from_slice(b"\r\n");
    Some(out)
}

fn begun(status: StatusCode, headers: &HeaderMap) -> Option<Vec<u8>> {
    if headers.values().any(has_blank_edges) {
        return None;
    }
    let mut out = Vec::with_capacity(512);
    let reason = status.canonical_reason().unwrap_or_default();
    // Its end is written when all fields are.
    let _ = HeadWriter::response(&mut out, status.as_u16(), reason.as_bytes());
    headers.iter().for_each(|(name, value)| write_field(&mut out, name.as_str().as_bytes(), value.as_bytes()));
    Some(out)
}
