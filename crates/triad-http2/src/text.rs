//! Fields as lines of HTTP/1.1. Pure.

use triad_http1::Refusal;

/// What was written cannot be said in HTTP/2. It was not the peer's doing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unfit(pub &'static str);

impl From<Refusal> for Unfit {
    fn from(refusal: Refusal) -> Self {
        Self(refusal.clause)
    }
}

impl From<Unfit> for std::io::Error {
    fn from(Unfit(what): Unfit) -> Self {
        std::io::Error::new(std::io::ErrorKind::InvalidData, what)
    }
}

/// Writes one line.
pub(crate) fn write_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    [name, b": ", value, b"\r\n"].iter().for_each(|part| out.extend_from_slice(part));
}
