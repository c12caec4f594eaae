//! The file, `triad.toml`, to [`triad_model::Design`], with every mistake reported at once.
//!
//! A file goes through five steps, each in a module of its own:
//!
//! 1. `syntax` reads the TOML, past its errors.
//! 2. `reader` walks it beside the table of sections and keys in `keys` and reports what does not fit: unknown keys,
//!    missing keys, values of the wrong type or form.
//! 3. `file` takes the values out, through `table`, into the file form, each with the place it stands at.
//! 4. `rules` reports what cannot be together: a role on a server that is not listed, two servers with one address;
//!    `requests` the same of what is said of requests and answers, such as redirects in a circle.
//! 5. `resolve` fills in the defaults. It runs only on a file without mistakes.
//!
//! Invariants: only [`load`] and [`find_file`] read the file system; no text makes [`parse`] or [`render`] panic;
//! no value under a name that looks like a secret's is ever printed.

#![forbid(unsafe_code)]

mod balancing;
mod certificates;
mod file;
mod find;
mod format;
mod keys;
mod load;
mod mistake;
mod paths;
mod place;
mod pools;
mod reader;
mod requests;
mod resolve;
mod rules;
mod schema;
mod suggest;
mod syntax;
mod table;
mod template;

pub use find::{NotFound, find_file};
pub use load::{FILE_BYTES_MAX, LoadError, Loaded, load, parse};
pub use mistake::{MISTAKES_MAX, Mistake, render};
pub use rules::SERVERS_MAX;
pub use schema::{reference, schema};
pub use template::{DesignKind, UnknownDesign, template};
