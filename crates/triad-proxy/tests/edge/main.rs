//! The edge from outside: real sockets, real origins, real TLS.

mod balancing;
mod bed;
mod http2;
mod life;
mod limits;
mod maintenance;
mod panic;
mod proxying;
mod queueing;
mod relaying;
mod rules;
mod strictness;
