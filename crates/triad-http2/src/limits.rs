//! Every bound of a connection, and what breaks it. The `h2` crate adds its own: on CONTINUATION frames, on empty and on
//! tiny DATA frames, on streams that were reset before they were accepted.

/// Streams at one time; the client is told, and more are refused. Browsers are content with 100, RFC 9113 §6.5.2 asks
/// for no fewer.
pub const STREAMS_MAX: u32 = 100;
/// Bytes of a request's fields, as RFC 9113 §6.5.2 counts them; larger ones are answered 431.
pub const HEADER_LIST_BYTES_MAX: u32 = triad_http1::limits::HEAD_BYTES_MAX as u32;
/// Bytes of one request's body that may be under way before we have read any.
pub const STREAM_WINDOW_BYTES: u32 = 128 * 1024;
/// The same for all bodies of a connection, so that a connection cannot fill more memory than this.
pub const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;
/// Bytes of one answer that wait for the connection.
pub const SEND_BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Streams that we ended because of the client's mistakes (CVE-2025-8671, "MadeYouReset") before the connection ends.
pub const OWN_RESETS_MAX: usize = 100;
/// Streams a client may break off or get wrong before it matters which part of all that is: a page that is left breaks
/// off many at once.
pub const BROKEN_FREE: u64 = 100;
