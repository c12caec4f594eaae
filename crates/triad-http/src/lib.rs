//! What the proxy and the web server share: bodies, who a client is, request ids, which headers may pass, errors as
//! answers, and the one seam to the HTTP/1.1 implementation.
//!
//! Invariants: only [`serve`], [`Sender`] and [`Switch`] know which library speaks HTTP/1.1; only [`Fault::response`]
//! makes an error an answer; only [`forwarding`] decides which headers cross.

#![forbid(unsafe_code)]

pub mod body;
mod fault;
pub mod forwarding;
mod host;
mod inbound;
mod outbound;
mod progress;
mod request_id;
mod upgrade;

pub use body::{Body, BodyError};
pub use fault::{Fault, Whose};
pub use forwarding::{Client, Peer};
pub use host::host;
pub use inbound::{HEAD_BYTES_MAX, HEAD_TIMEOUT, HEADERS_MAX, IDLE_TIMEOUT, serve};
pub use outbound::{SendError, Sender};
pub use request_id::RequestId;
pub use upgrade::{SWITCHED_IDLE_TIMEOUT, Switch};
