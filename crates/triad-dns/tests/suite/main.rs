//! One binary for all tests of the crate's public face, so that it is linked once.

mod answers;
mod dig;
mod properties;
mod sockets;
mod support;
mod zones;
