//! What a message that comes in reads as in HTTP/1.1: a head, then a body in its framing.

use tokio::io::ReadBuf;

/// How a body is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// There is none.
    None,
    /// By `Content-Length`, to which its sender was held.
    Length,
    /// In chunks.
    Chunked,
    /// Bytes of another protocol, once the answer is 101 (RFC 8441).
    Tunnel,
}

/// Bytes to be read.
#[derive(Debug, Default)]
pub(crate) struct Ready {
    bytes: Vec<u8>,
    taken: usize,
}

impl Ready {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self { bytes, taken: 0 }
    }

    /// Whether all of it was read.
    pub fn is_empty(&self) -> bool {
        self.taken == self.bytes.len()
    }

    /// Moves as much as fits.
    pub fn give(&mut self, buffer: &mut ReadBuf<'_>) {
        let rest = &self.bytes[self.taken..];
        let length = rest.len().min(buffer.remaining());
        buffer.put_slice(&rest[..length]);
        self.taken += length;
    }

    /// Forgets all of it, for what is written to it next.
    pub fn clear(&mut self) -> &mut Vec<u8> {
        self.bytes.clear();
        self.taken = 0;
        &mut self.bytes
    }
}
