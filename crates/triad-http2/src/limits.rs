//! Every bound of a connection, and what breaks it. Towards backends the `h2` crate adds its own: on CONTINUATION frames,
//! on empty and on tiny DATA frames.

/// Streams at one time; a client is told, and more are refused. Browsers are content with 100, RFC 9113 §6.5.2 asks
/// for no fewer. Of a connection to a backend we use no more.
pub const STREAMS_MAX: u32 = 100;
/// Bytes of a message's fields, as RFC 9113 §6.5.2 counts them; larger requests are answered 431, larger answers are
/// broken off.
pub const HEADER_LIST_BYTES_MAX: u32 = triad_http1::limits::HEAD_BYTES_MAX as u32;
/// The same towards backends and between edges: more than the parser of HTTP/1.1 lets pass, so that it is the one to
/// refuse a message that was just within the bound until an edge added its own fields.
pub const SHARED_HEADER_LIST_BYTES_MAX: u32 = 2 * HEADER_LIST_BYTES_MAX;
/// Bytes of one message's body that may be under way before we have read any.
pub const STREAM_WINDOW_BYTES: u32 = 128 * 1024;
/// The same for all bodies of a connection, so that a connection cannot fill more memory than this.
pub const CONNECTION_WINDOW_BYTES: u32 = 256 * 1024;
/// The same where many users share a connection, between edges and to backends: each stream has all of its own, or two
/// that nobody reads would hold up all others.
pub const SHARED_WINDOW_BYTES: u32 = STREAMS_MAX * STREAM_WINDOW_BYTES;
/// Bytes of one message that wait for the connection.
pub const SEND_BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Streams that we ended because of the other end's mistakes (CVE-2025-8671, "MadeYouReset") before the connection ends.
pub const OWN_RESETS_MAX: usize = 100;
/// Streams a client may break off or get wrong before it matters which part of all that is: a page that is left breaks
/// off many at once.
pub const BROKEN_FREE: u64 = 100;
/// Bytes of the table of each direction's header compression, as RFC 7541 §4.1 counts them: the default.
pub const HEADER_TABLE_BYTES: usize = 4096;
/// Bytes of one block of fields as it comes; a client that sends more loses the connection. What is said without
/// compression is longer than [`HEADER_LIST_BYTES_MAX`] allows long before.
pub const BLOCK_BYTES_MAX: usize = 2 * SHARED_HEADER_LIST_BYTES_MAX as usize;
/// Frames in which a block goes on (CVE-2024-27983, "CONTINUATION flood"): more than the largest block needs.
pub const CONTINUATIONS_MAX: u32 = 16;
/// Empty frames of bodies, one behind the other, that say nothing (CVE-2019-9518).
pub const EMPTY_FRAMES_MAX: u32 = 100;
/// Streams that are open or whose task has not noticed yet that they are not. More are refused, so that breaking off
/// makes no room faster than the work for it ends.
pub const STREAMS_HELD_MAX: usize = 2 * STREAMS_MAX as usize;
/// Streams that we broke off and whose late frames are read over. Later ones count as the client's mistakes.
pub const FORGOTTEN_MAX: usize = 256;
/// Bytes that wait to be sent on a connection, beside one frame or head; while there are more, nothing is read of it.
pub const OUTPUT_BYTES_MAX: usize = 64 * 1024;
