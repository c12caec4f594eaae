//! Every bound, with what breaks it.

/// Bytes of a request line with its line end; longer ones are refused with 414.
pub const REQUEST_LINE_BYTES_MAX: usize = 8 * 1024;
/// Bytes of a whole head; longer ones are refused with 431.
pub const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Fields of a head; more are refused with 431.
pub const HEADERS_MAX: usize = 100;
/// Options in all `Connection` fields of a head: each is compared with each field.
pub const CONNECTION_OPTIONS_MAX: usize = 32;
/// Bytes of a method; the longest that is registered has 17.
pub const METHOD_BYTES_MAX: usize = 24;
/// Empty lines before a request, which some clients send after a body.
pub const EMPTY_LINES_MAX: usize = 1;
/// Digits of a chunk's size.
pub const CHUNK_SIZE_DIGITS_MAX: usize = 16;
/// Bytes of chunk extensions in one body. Nobody uses them, so they are read over and not passed on.
pub const CHUNK_EXTENSION_BYTES_MAX: usize = 1024;
/// Bytes of a trailer section: more than the 8 KiB of metadata that libraries of gRPC take from each other.
pub const TRAILER_BYTES_MAX: usize = 16 * 1024;
/// Fields of a trailer section.
pub const TRAILERS_MAX: usize = 32;
/// Largest length of a body or chunk: a reader with signed 64-bit lengths must understand the same.
pub const LENGTH_BYTES_MAX: u64 = i64::MAX as u64;
