//! A request's head as HTTP/1.1 would have sent it. Pure.
//!
//! Nothing is judged here that the parser of HTTP/1.1 judges: two hosts that disagree become two `Host` fields, a
//! CONNECT becomes a CONNECT, and both are refused there.

use h2::ext::Protocol;
use http::header::{CONTENT_LENGTH, COOKIE, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method};

use crate::receive::Body;
use crate::text::{has_blank_edges, write_field as field};

/// What every client of WebSocket over HTTP/1.1 sends, and none over HTTP/2 (RFC 8441 §5). Any 16 bytes do: they prove
/// that the server speaks WebSocket. These are the example of RFC 6455 §1.2.
const WEBSOCKET_KEY: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";

/// The head, and how the body behind it is told; `None` for a request that HTTP/1.1 has no words for. `is_whole`: no
/// body follows.
pub(crate) fn head(parts: &Parts, is_whole: bool) -> Option<(Vec<u8>, Body)> {
    if parts.headers.values().any(has_blank_edges) {
        return None;
    }
    let websocket = parts.extensions.get::<Protocol>().is_some_and(|protocol| protocol.as_str() == "websocket");
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    let mut out = Vec::with_capacity(512);
    let (method, target) = match (&parts.method, parts.uri.path_and_query()) {
        (_, Some(path)) if websocket => (&b"GET"[..], path.as_str().as_bytes()),
        (&Method::CONNECT, _) => (&b"CONNECT"[..], authority?),
        (method, path) => (method.as_str().as_bytes(), path?.as_str().as_bytes()),
    };
    [method, b" ", target, b" HTTP/1.1\r\n"].iter().for_each(|part| out.extend_from_slice(part));
    let body = match (websocket, is_whole) {
        (true, _) => Body::Tunnel,
        (false, true) => Body::None,
        (false, false) if parts.headers.contains_key(CONTENT_LENGTH) => Body::Length,
        (false, false) => Body::Chunked,
    };
    write_hosts(&mut out, authority, &parts.headers);
    write_fields(&mut out, &parts.headers);
    let no_length = body == Body::None && !parts.headers.contains_key(CONTENT_LENGTH);
    match body {
        Body::Chunked => field(&mut out, b"transfer-encoding", b"chunked"),
        // Servers of HTTP/1.1 may ask for a length where a method has a body by its meaning (RFC 9110 §8.6).
        _ if no_length && [Method::POST, Method::PUT, Method::PATCH].contains(&parts.method) => {
            field(&mut out, b"content-length", b"0");
        }
        _ => {}
    }
    if websocket {
        field(&mut out, b"upgrade", b"websocket");
        field(&mut out, b"sec-websocket-key", WEBSOCKET_KEY);
    }
    field(&mut out, b"connection", if websocket { b"close, upgrade" } else { b"close" });
    out.extend_from_slice(b"\r\n");
    Some((out, body))
}

/// `:authority` is the host (RFC 9113 §8.3.1); a `Host` field beside it may only repeat it.
fn write_hosts(out: &mut Vec<u8>, authority: Option<&[u8]>, headers: &HeaderMap) {
    if let Some(authority) = authority {
        field(out, b"host", authority);
    }
    let others = headers.get_all(HOST).iter().map(HeaderValue::as_bytes).filter(|host| Some(*host) != authority);
    others.for_each(|host| field(out, b"host", host));
}

fn write_fields(out: &mut Vec<u8>, headers: &HeaderMap) {
    for (name, value) in headers.iter().filter(|(name, _)| **name != HOST && **name != COOKIE) {
        field(out, name.as_str().as_bytes(), value.as_bytes());
    }
    // Cut up for compression, they are one field again for servers that know only one (RFC 9113 §8.2.3).
    let mut cookies = headers.get_all(COOKIE).iter();
    if let Some(first) = cookies.next() {
        out.extend_from_slice(b"cookie: ");
        out.extend_from_slice(first.as_bytes());
        cookies.for_each(|cookie| [b"; ", cookie.as_bytes()].iter().for_each(|part| out.extend_from_slice(part)));
        out.extend_from_slice(b"\r\n");
    }
}
