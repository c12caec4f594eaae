//! What was seen of a request: by its client, and by the edges that had it.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use triad_model::ServerName;

/// A request, as its client and the edges saw it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Followed {
    /// What the client saw.
    pub trace: Trace,
    /// What the edges logged of the client's requests, in the order of their way.
    pub edges: Vec<EdgeLine>,
}

/// What the client saw, up to where it got no further.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// How the name became addresses.
    pub lookup: Option<Lookup>,
    /// Its requests: the first, and one more if that was redirected from HTTP to HTTPS.
    pub exchanges: Vec<Exchange>,
    /// From asking for the name to the answer's last byte, in microseconds.
    pub took_us: u64,
    /// Why there is no answer, as a clause.
    pub failure: Option<String>,
}

/// How the name became addresses.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lookup {
    /// The name server that answered; `None` if no name server was needed.
    pub server: Option<IpAddr>,
    /// Name servers that gave no answer before it did.
    pub passed: Vec<Passed>,
    /// The names that the name is an alias of, without the final dot.
    pub aliases: Vec<String>,
    /// The addresses, in the order of the answer.
    pub addresses: Vec<IpAddr>,
    /// How long the first record may be kept, in seconds.
    pub ttl_s: Option<u32>,
    /// What it took the name server that answered, in microseconds.
    pub took_us: u64,
}

/// An address that was passed over for the next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passed {
    /// The address.
    pub address: IpAddr,
    /// What was wrong with it, as a clause.
    pub why: String,
}

/// One HTTP request on a connection of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exchange {
    /// What was asked for.
    pub url: String,
    /// Addresses that took no connection.
    pub passed: Vec<Passed>,
    /// The address that did.
    pub address: Option<IpAddr>,
    /// What the TCP connection took, in microseconds.
    pub connect_us: u64,
    /// The TLS handshake, for HTTPS.
    pub tls: Option<Handshake>,
    /// The answer.
    pub answer: Option<Answer>,
}

/// A TLS handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handshake {
    /// The protocol's version.
    pub protocol: String,
    /// The names the certificate is for.
    pub names: Vec<String>,
    /// What it took, in microseconds.
    pub took_us: u64,
}

/// An answer, read to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Bytes of its body.
    pub bytes: u64,
    /// The id the edge gave the request.
    pub request_id: Option<String>,
    /// Where it sends the client.
    pub location: Option<String>,
    /// From sending the request to the answer's head, in microseconds.
    pub head_us: u64,
    /// From sending the request to the last byte, in microseconds.
    pub took_us: u64,
    /// Who says to have made it, if the answer says so as the guestbook's do.
    pub served_by: Option<ServedBy>,
}

/// Who says to have made an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServedBy {
    /// The server.
    pub server: String,
    /// Which of its instances.
    pub instance: String,
}

/// A line of an edge's access log; the edge writes more into it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EdgeLine {
    /// The edge's server, which does not stand in the line.
    #[serde(default)]
    pub server: Option<ServerName>,
    /// The request.
    pub request_id: String,
    /// What was answered.
    pub status: u16,
    /// From the request's head to the answer's last byte, in milliseconds.
    pub duration_ms: f64,
    /// Where the request was sent: an instance, or another server.
    #[serde(default)]
    pub backend: Option<String>,
    /// Times it was sent.
    #[serde(default)]
    pub attempts: u32,
    /// What went wrong.
    #[serde(default)]
    pub fault: Option<String>,
}
