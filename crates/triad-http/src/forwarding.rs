//! Which headers may pass, and what is said about the client.
//!
//! Invariants: a header that concerns one connection only never crosses to the next (RFC 9110 §7.6.1); what a
//! stranger says about who it is, where it comes from and how it came is dropped before anybody reads it.

use std::net::IpAddr;

use http::header::{CONNECTION, EXPECT, HOST, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER};
use http::header::{TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderValue};

use crate::RequestId;

/// `X-Request-Id`.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// `X-Forwarded-For`.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// `X-Forwarded-Proto`.
pub const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// `X-Forwarded-Host`.
pub const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Headers of one connection, whether `Connection` names them or not.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    PROXY_CONNECTION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// The other end of a connection to us.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// Whether the connection is encrypted.
    pub secure: bool,
    /// Whether it is an edge of the same design, so that what it says about the client holds.
    pub trusted: bool,
    address_value: HeaderValue,
}

impl Peer {
    /// Made once per connection: every request of it shares the address as text.
    pub fn new(address: IpAddr, secure: bool, trusted: bool) -> Self {
        let address = address.to_canonical();
        let address_value = HeaderValue::try_from(address.to_string()).expect("an address is visible ASCII");
        Self { address, secure, trusted, address_value }
    }
}

/// The user's end of a request, however many edges stand between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// The user's address.
    pub address: IpAddr,
    /// Whether the user's connection is encrypted.
    pub secure: bool,
}

impl Client {
    /// The peer itself, or whom a trusted peer speaks for.
    pub fn of(headers: &HeaderMap, peer: &Peer) -> Self {
        if !peer.trusted {
            return Self { address: peer.address, secure: peer.secure };
        }
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let first = text(X_FORWARDED_FOR).and_then(|list| list.split(',').next());
        let address = first.and_then(|address| address.trim().parse().ok()).unwrap_or(peer.address);
        let secure = text(X_FORWARDED_PROTO).map_or(peer.secure, |scheme| scheme == "https");
        Self { address, secure }
    }
}

/// The request's id: a trusted peer's, else a new one.
pub fn request_id(headers: &HeaderMap, peer: &Peer) -> RequestId {
    let given = headers.get(X_REQUEST_ID).filter(|_| peer.trusted);
    given.and_then(RequestId::parse).unwrap_or_default()
}

/// Makes a request's headers fit to be passed on: hop-by-hop headers go, a stranger's claims go, ours are set.
pub fn forward(headers: &mut HeaderMap, peer: &Peer, id: &RequestId) {
    remove_hop_by_hop(headers);
    // hyper has already answered `Expect: 100-continue`, or will when the body is asked for.
    headers.remove(EXPECT);
    if !peer.trusted {
        remove_claims(headers);
    }
    append_address(headers, peer);
    if !headers.contains_key(X_FORWARDED_PROTO) {
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static(if peer.secure { "https" } else { "http" }));
    }
    if !headers.contains_key(X_FORWARDED_HOST)
        && let Some(host) = headers.get(HOST).cloned()
    {
        headers.insert(X_FORWARDED_HOST, host);
    }
    headers.insert(X_REQUEST_ID, id.header_value());
}

/// Removes what concerns one connection only: the fixed list, and what `Connection` names.
pub fn remove_hop_by_hop(headers: &mut HeaderMap) {
    for name in named_by_connection(headers) {
        headers.remove(name);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

fn named_by_connection(headers: &HeaderMap) -> Vec<HeaderName> {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let options = values.flat_map(|value| value.split(',')).map(str::trim);
    // `close` and `keep-alive` are no headers of a message; what routing relies on cannot be named away.
    options
        .filter(|option| !["close", "keep-alive", "host"].iter().any(|known| option.eq_ignore_ascii_case(known)))
        .filter_map(|option| HeaderName::from_bytes(option.as_bytes()).ok())
        .collect()
}

/// Removes a stranger's statements about itself.
fn remove_claims(headers: &mut HeaderMap) {
    let claims: Vec<HeaderName> = headers.keys().filter(|name| is_claim(name.as_str())).cloned().collect();
    for name in claims {
        headers.remove(name);
    }
}

/// Headers that applications take as a proxy's word. Underscores count as hyphens, because CGI-style environments
/// cannot tell them apart; `Proxy` becomes `HTTP_PROXY` there.
fn is_claim(name: &str) -> bool {
    const NAMES: [&str; 6] = ["forwarded", "proxy", "x-real-ip", "x-request-id", "x-client-ip", "true-client-ip"];
    NAMES.iter().any(|claim| claim.len() == name.len() && starts_like(name, claim)) || starts_like(name, "x-forwarded")
}

fn starts_like(name: &str, start: &str) -> bool {
    let hyphen = |byte: u8| if byte == b'_' { b'-' } else { byte };
    name.len() >= start.len() && name.bytes().map(hyphen).zip(start.bytes()).all(|(have, want)| have == want)
}

fn append_address(headers: &mut HeaderMap, peer: &Peer) {
    let before = headers.get(X_FORWARDED_FOR).and_then(|value| value.to_str().ok());
    let value = match before {
        None => peer.address_value.clone(),
        Some(before) => HeaderValue::try_from(format!("{before}, {}", peer.address))
            .expect("a header's visible ASCII and an address are a header value"),
    };
    headers.insert(X_FORWARDED_FOR, value);
}

/// Whether a request asks for a switch of protocols, which it does with both headers (RFC 9110 §7.8).
pub fn wants_upgrade(headers: &HeaderMap) -> Option<HeaderValue> {
    let asks = named_by_connection(headers).contains(&UPGRADE);
    headers.get(UPGRADE).filter(|_| asks).cloned()
}

/// Puts back what [`remove_hop_by_hop`] took from a message that switches protocols.
pub fn set_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};
    use proptest::prelude::*;

    use super::{Client, Peer, forward, is_claim, remove_hop_by_hop, request_id, set_upgrade, wants_upgrade};
    use crate::RequestId;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers
                .append(HeaderName::try_from(*name).expect("a name"), HeaderValue::try_from(*value).expect("a value"));
        }
        headers
    }

    fn peer(trusted: bool) -> Peer {
        Peer::new("192.0.2.7".parse().expect("an address"), true, trusted)
    }

    fn lines(headers: &HeaderMap) -> Vec<String> {
        let mut lines: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().expect("text"))).collect();
        lines.sort();
        lines
    }

    const CLAIMS: [(&str, &str); 8] = [
        ("host", "www.foobar.com"),
        ("x-forwarded-for", "203.0.113.99"),
        ("x_forwarded_for", "203.0.113.98"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "evil.example"),
        ("forwarded", "for=203.0.113.99"),
        ("x-request-id", "0123456789abcdef0123456789abcdef"),
        ("proxy", "http://evil.example"),
    ];

    #[test]
    fn a_strangers_claims_are_dropped_and_set_anew() {
        let mut headers = headers(&CLAIMS);
        let id = request_id(&headers, &peer(false));
        assert_ne!(id.as_str(), "0123456789abcdef0123456789abcdef");
        assert_eq!(Client::of(&headers, &peer(false)).address, peer(false).address);
        forward(&mut headers, &peer(false), &id);
        let expected = [
            "host: www.foobar.com".to_owned(),
            "x-forwarded-for: 192.0.2.7".to_owned(),
            "x-forwarded-host: www.foobar.com".to_owned(),
            "x-forwarded-proto: https".to_owned(),
            format!("x-request-id: {}", id.as_str()),
        ];
        assert_eq!(lines(&headers), expected);
    }

    #[test]
    fn a_trusted_peers_word_is_kept_and_appended_to() {
        let mut headers = headers(&[
            ("host", "www.foobar.com"),
            ("x-forwarded-for", "203.0.113.99"),
            ("x-forwarded-proto", "http"),
            ("x-request-id", "0123456789abcdef0123456789abcdef"),
        ]);
        let id = request_id(&headers, &peer(true));
        let client = Client::of(&headers, &peer(true));
        assert_eq!((client.address.to_string().as_str(), client.secure), ("203.0.113.99", false));
        forward(&mut headers, &peer(true), &id);
        assert_eq!(headers["x-forwarded-for"], "203.0.113.99, 192.0.2.7");
        assert_eq!(headers["x-forwarded-proto"], "http");
        assert_eq!(headers["x-request-id"], "0123456789abcdef0123456789abcdef");
    }

    #[test]
    fn what_connection_names_goes_with_it() {
        let mut headers = headers(&[
            ("connection", "close, X-Private , host"),
            ("connection", "te"),
            ("host", "www.foobar.com"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("x-private", "1"),
            ("x-public", "2"),
        ]);
        remove_hop_by_hop(&mut headers);
        assert_eq!(lines(&headers), ["host: www.foobar.com", "x-public: 2"]);
    }

    #[test]
    fn an_upgrade_needs_both_headers() {
        let mut both = headers(&[("connection", "keep-alive, Upgrade"), ("upgrade", "websocket")]);
        let protocol = wants_upgrade(&both);
        assert_eq!(protocol, Some(HeaderValue::from_static("websocket")));
        assert_eq!(wants_upgrade(&headers(&[("upgrade", "websocket")])), None);
        remove_hop_by_hop(&mut both);
        set_upgrade(&mut both, protocol.expect("asked for"));
        assert_eq!(lines(&both), ["connection: upgrade", "upgrade: websocket"]);
    }

    fn names() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec("(x[-_]forwarded[-_][a-z]{1,8}|x-[a-z]{1,9}|via|proxy)", 0..20)
    }

    proptest! {
        #[test]
        fn no_claim_of_a_stranger_survives(names in names()) {
            let given: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "claimed")).collect();
            let mut headers = headers(&given);
            forward(&mut headers, &peer(false), &RequestId::new());
            for (name, value) in &headers {
                prop_assert!(!is_claim(name.as_str()) || value != "claimed", "{}", name);
            }
        }
    }
}
