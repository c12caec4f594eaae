//! One binary for all tests of the crate's public face, so that it is linked once.

mod properties;
mod requests;
mod site;
mod streaming;
