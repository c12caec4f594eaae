//! Static files from one folder, over HTTP.
//!
//! [`StaticFiles::respond`] maps the path of a URL to a relative path (`target.rs`), opens it (`file.rs`), decides
//! what the client needs of it (`conditional.rs`, `range.rs`), and sends that (`serve.rs`).
//!
//! Invariants:
//! - No request reads a file outside the root: a URL becomes a path without `..`, and the kernel resolves that path
//!   below an open folder, symbolic links included, so what leads out of it cannot be opened.
//! - No file or folder whose name starts with a dot is served, except `/.well-known/` (RFC 8615).
//! - A file is never in memory as a whole, unless it is small, and no request blocks the runtime's thread.

#![forbid(unsafe_code)]

mod conditional;
mod file;
mod range;
mod serve;
mod target;

pub use serve::StaticFiles;
