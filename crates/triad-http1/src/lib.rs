//! HTTP/1.1 without I/O: bytes in, events out. Heads of requests and answers, framing of bodies, and a writer of heads.
//!
//! The way through it: [`RequestHead::parse`] or [`ResponseHead::parse`] on what has arrived, until the head is whole;
//! a [`BodyReader`] for what follows; [`HeadWriter`], [`write_chunk`] and [`write_last_chunk`] for what goes on.
//!
//! Invariants: what two readers could understand in two ways is refused, never repaired (RFC 9110, RFC 9112); how the
//! bytes were cut into reads changes nothing; every length and count has a bound in [`limits`]; parsing copies no bytes,
//! and allocates only while its lists grow to the largest head seen.

#![forbid(unsafe_code)]

mod authority;
mod body;
mod chunked;
mod field;
pub mod limits;
mod refusal;
mod request;
mod response;
mod scan;
mod write;

pub use body::{BodyReader, Framing, Piece};
pub use chunked::trailer_lines;
pub use field::{Fields, Name, Span};
pub use refusal::Refusal;
pub use request::{Form, Method, RequestHead};
pub use response::ResponseHead;
pub use write::{HeadWriter, write_chunk, write_last_chunk, write_number};

/// The versions spoken here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0: no chunks, and a connection per request unless asked otherwise.
    Http10,
    /// HTTP/1.1.
    Http11,
}

impl Version {
    /// As it stands in a message.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::Http10 => "HTTP/1.0",
            Version::Http11 => "HTTP/1.1",
        }
    }
}
