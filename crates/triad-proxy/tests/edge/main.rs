//! The edge from outside: real sockets, real origins, real TLS.

mod announcing;
mod balancing;
mod bed;
mod certificates;
mod checking;
mod forwarding;
mod http2;
mod http2_backends;
mod http2_origin;
mod leaving_out;
mod life;
mod limits;
mod maintenance;
mod overload;
mod panic;
mod proxying;
mod queueing;
mod relaying;
mod resumption;
mod routing;
mod rules;
mod silence;
mod slow_clients;
mod sticky;
mod strictness;
mod telling;
