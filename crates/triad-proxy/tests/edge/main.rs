//! The edge from outside: real sockets, real origins, real TLS.

mod balancing;
mod bed;
mod http2;
mod life;
mod limits;
mod proxying;
mod relaying;
mod strictness;
