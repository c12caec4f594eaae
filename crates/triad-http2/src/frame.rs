//! Frames and their parts (RFC 9113 §4, §6). Pure.

/// Bytes of a frame's head.
pub(crate) const HEAD_BYTES: usize = 9;
/// Bytes of a payload that everybody takes, and all that we take or send (RFC 9113 §4.2).
pub(crate) const PAYLOAD_BYTES_MAX: usize = 16 * 1024;
/// What each connection of a client begins with (RFC 9113 §3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A window until something else is said, in bytes (RFC 9113 §6.9.2).
pub(crate) const WINDOW_BYTES: u32 = 65_535;
/// The largest window (RFC 9113 §6.9.1), and the largest number of a stream.
pub(crate) const WINDOW_BYTES_MAX: u32 = (1 << 31) - 1;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

/// Of SETTINGS and PING.
pub(crate) const ACK: u8 = 0x1;
/// Of DATA and HEADERS.
pub(crate) const END_STREAM: u8 = 0x1;
/// Of HEADERS and CONTINUATION.
pub(crate) const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITIZED: u8 = 0x20;

/// Settings (RFC 9113 §6.5.2, RFC 8441 §3).
pub(crate) mod setting {
    pub const HEADER_TABLE_SIZE: u16 = 1;
    pub const ENABLE_PUSH: u16 = 2;
    pub const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub const INITIAL_WINDOW_SIZE: u16 = 4;
    pub const MAX_FRAME_SIZE: u16 = 5;
    pub const MAX_HEADER_LIST_SIZE: u16 = 6;
    pub const ENABLE_CONNECT_PROTOCOL: u16 = 8;
}

/// Why a stream or a connection ends (RFC 9113 §7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    NoError = 0,
    ProtocolError = 1,
    InternalError = 2,
    FlowControlError = 3,
    StreamClosed = 5,
    FrameSizeError = 6,
    RefusedStream = 7,
    Cancel = 8,
    CompressionError = 9,
    EnhanceYourCalm = 11,
}

/// A frame's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Bytes of its payload.
    pub length: usize,
    pub kind: u8,
    pub flags: u8,
    /// The stream's number; 0: the connection.
    pub stream: u32,
}

impl Head {
    /// Takes the head from the start of `bytes`; `None` if it is not whole.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let [a, b, c, kind, flags, stream @ ..] = *bytes.first_chunk::<HEAD_BYTES>()?;
        let length = u32::from_be_bytes([0, a, b, c]) as usize;
        Some(Self { length, kind, flags, stream: u32::from_be_bytes(stream) & WINDOW_BYTES_MAX })
    }

    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// `payload` without what fills it up (RFC 9113 §6.1); `None` if that is more than there is.
    pub fn unpadded<'a>(&self, payload: &'a [u8]) -> Option<&'a [u8]> {
        if !self.has(PADDED) {
            return Some(payload);
        }
        let (padding, rest) = payload.split_first()?;
        rest.get(..rest.len().checked_sub(usize::from(*padding))?)
    }

    /// The part of a block of fields in the `payload` of HEADERS; `None` if it is not whole. Priorities are read over
    /// (RFC 9113 §5.3.2).
    pub fn fragment<'a>(&self, payload: &'a [u8]) -> Option<&'a [u8]> {
        let fragment = self.unpadded(payload)?;
        if self.has(PRIORITIZED) { fragment.get(5..) } else { Some(fragment) }
    }
}

/// Writes a frame's head.
pub(crate) fn write_head(out: &mut Vec<u8>, length: usize, kind: u8, flags: u8, stream: u32) {
    out.extend_from_slice(&head(length, kind, flags, stream));
}

fn head(length: usize, kind: u8, flags: u8, stream: u32) -> [u8; HEAD_BYTES] {
    debug_assert!(length <= PAYLOAD_BYTES_MAX);
    let [_, a, b, c] = (length as u32).to_be_bytes();
    let [d, e, f, g] = stream.to_be_bytes();
    [a, b, c, kind, flags, d, e, f, g]
}

/// Writes a frame.
pub(crate) fn write(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    write_head(out, payload.len(), kind, flags, stream);
    out.extend_from_slice(payload);
}

/// Adds to the payload, and to the flags, of the frame at `start`, which is the last of `out`.
pub(crate) fn extend(out: &mut Vec<u8>, start: usize, flags: u8, payload: &[u8]) {
    let Some(old) = Head::parse(&out[start..]) else { return };
    let new = head(old.length + payload.len(), old.kind, old.flags | flags, old.stream);
    out[start..][..HEAD_BYTES].copy_from_slice(&new);
    out.extend_from_slice(payload);
}

/// Begins HEADERS at the end of `out`; behind it goes a block of fields, then [`end_headers`]. Returns its place.
pub(crate) fn begin_headers(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD_BYTES]);
    start
}

/// Ends HEADERS that begin at `start`: in several frames, if the block is large.
pub(crate) fn end_headers(out: &mut Vec<u8>, start: usize, stream: u32, is_last: bool) {
    let end_stream = if is_last { END_STREAM } else { 0 };
    let block = start + HEAD_BYTES;
    let length = out.len() - block;
    if length <= PAYLOAD_BYTES_MAX {
        out[start..block].copy_from_slice(&head(length, HEADERS, end_stream | END_HEADERS, stream));
        return;
    }
    let rest = out.split_off(block + PAYLOAD_BYTES_MAX);
    out[start..block].copy_from_slice(&head(PAYLOAD_BYTES_MAX, HEADERS, end_stream, stream));
    let mut parts = rest.chunks(PAYLOAD_BYTES_MAX).peekable();
    while let Some(part) = parts.next() {
        let flags = if parts.peek().is_none() { END_HEADERS } else { 0 };
        write(out, CONTINUATION, flags, stream, part);
    }
}

/// The number that is all of a payload.
pub(crate) fn number(payload: &[u8]) -> Option<u32> {
    payload.try_into().ok().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_come_back() {
        let mut out = Vec::new();
        write(&mut out, DATA, END_STREAM, 0x7fff_ffff, b"abc");
        assert_eq!(out, [0, 0, 3, 0, 1, 0x7f, 0xff, 0xff, 0xff, b'a', b'b', b'c']);
        let head = Head::parse(&out).expect("a head");
        assert_eq!(head, Head { length: 3, kind: DATA, flags: 1, stream: 0x7fff_ffff });
        assert_eq!(Head::parse(&out[..8]), None);
        assert_eq!(Head::parse(&[0, 0, 0, 9, 0, 0xff, 0xff, 0xff, 0xff]).map(|head| head.stream), Some(0x7fff_ffff));
    }

    #[test]
    fn padding_and_priorities_are_read_over() {
        let fragment = |flags, payload| Head { length: 0, kind: HEADERS, flags, stream: 1 }.fragment(payload);
        assert_eq!(fragment(0, &b"ab"[..]), Some(&b"ab"[..]));
        assert_eq!(fragment(PADDED, b"\x01ab"), Some(&b"a"[..]));
        assert_eq!(fragment(PADDED, b"\x02ab"), Some(&b""[..]));
        assert_eq!(fragment(PADDED, b"\x03ab"), None);
        assert_eq!(fragment(PADDED, b""), None);
        assert_eq!(fragment(PADDED | PRIORITIZED, b"\x0112345ab"), Some(&b"a"[..]));
        assert_eq!(fragment(PRIORITIZED, b"1234"), None);
    }

    #[test]
    fn a_large_block_takes_several_frames() {
        let block: Vec<u8> = (0..2 * PAYLOAD_BYTES_MAX + 1).map(|at| at as u8).collect();
        let mut out = b"before".to_vec();
        let start = begin_headers(&mut out);
        out.extend_from_slice(&block);
        end_headers(&mut out, start, 5, true);
        let (mut rest, mut seen, mut kinds) = (&out[start..], Vec::new(), Vec::new());
        while let Some(head) = Head::parse(rest) {
            kinds.push((head.kind, head.flags, head.stream));
            seen.extend_from_slice(&rest[HEAD_BYTES..][..head.length]);
            rest = &rest[HEAD_BYTES + head.length..];
        }
        assert!(seen == block);
        assert_eq!(kinds, [(HEADERS, END_STREAM, 5), (CONTINUATION, 0, 5), (CONTINUATION, END_HEADERS, 5)]);
    }
}
