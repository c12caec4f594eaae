//! HTTP/2 (RFC 9113) for a proxy that thinks in HTTP/1.1: each stream of a connection reads and writes like a connection
//! that carries one request.
//!
//! Of a client's connection ([`Server`]), what a [`Stream`] gives to read is the request as HTTP/1.1 would have sent it;
//! what is written to it must be the answer in HTTP/1.1. Of a connection to a backend ([`Client`]), it is the other way
//! round: a request is written to a [`ClientStream`], an answer read. So one parser, with one set of rules, decides for
//! both protocols what a request is and what an answer is, and nothing can be said in HTTP/2 that HTTP/1.1 would refuse.
//! Towards clients, frames, header compression and flow control are our own, without I/O (`server/session`, `hpack`,
//! `frame`), because what a request costs there is the edge's price; towards backends they are the `h2` crate's.
//!
//! Invariants: a stream holds no more of a body than its window on the way in and one write on the way out, and takes no
//! more before that is gone; a client that breaks off most of what it begins loses its connection; [`limits`] has all
//! bounds.

#![forbid(unsafe_code)]

mod client;
mod frame;
mod hpack;
pub mod limits;
mod receive;
mod server;
mod text;

pub use client::{Client, ClientStream, Connection, Fate, connect, linger};
pub use server::{Server, Stream};
