//! What the proxy and the web server share: bodies, request ids, which fields may pass, errors as answers, small pages.
//!
//! Invariants: only [`Fault::response`] makes an error an answer; only [`forwarding`] decides which fields cross.

#![forbid(unsafe_code)]

pub mod body;
mod fault;
pub mod forwarding;
mod page;
mod request_id;
mod trace_context;

pub use body::{Body, BodyError};
pub use fault::{Fault, Whose};
pub use forwarding::Peer;
pub use page::maintenance_page;
pub use request_id::RequestId;
pub use trace_context::{TraceContext, TraceId};
