//! Which fields may pass, and what is said about the client.
//!
//! Invariants: a field that concerns one connection only never crosses to the next (RFC 9110 §7.6.1), which
//! [`HeadWriter::pass`] sees to; what a stranger says about who it is, where it comes from and how it came is dropped
//! before anybody reads it.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use triad_http1::{Fields, HeadWriter, Name};

use crate::RequestId;

/// `X-Request-Id`.
pub const X_REQUEST_ID: &str = "x-request-id";
/// `X-Forwarded-For`.
pub const X_FORWARDED_FOR: &str = "x-forwarded-for";
/// `X-Forwarded-Proto`.
pub const X_FORWARDED_PROTO: &str = "x-forwarded-proto";
/// `X-Forwarded-Host`.
pub const X_FORWARDED_HOST: &str = "x-forwarded-host";
/// `Forwarded` (RFC 7239).
pub const FORWARDED: &str = "forwarded";

/// `Client-Cert` (RFC 9440).
pub const CLIENT_CERT: &str = "client-cert";

/// The other end of a connection to us.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Its address.
    pub address: IpAddr,
    /// The address as text, made once per connection.
    pub address_text: String,
    /// Its port.
    pub port: u16,
    /// Whether the connection is encrypted.
    pub secure: bool,
    /// Whether it is an edge of the same design, so that what it says about the client holds.
    pub trusted: bool,
    /// Its certificate, verified, as a value of `Client-Cert`.
    pub certificate: Option<Arc<str>>,
}

impl Peer {
    /// The end of a connection at `end`.
    pub fn new(end: SocketAddr, secure: bool, trusted: bool) -> Self {
        let address = end.ip().to_canonical();
        Self { address, address_text: address.to_string(), port: end.port(), secure, trusted, certificate: None }
    }
}

/// The user's address: the peer's own, or that of whom a trusted peer speaks for.
pub fn client(fields: &Fields, bytes: &[u8], peer: &Peer) -> IpAddr {
    told_client(fields, bytes, peer).unwrap_or(peer.address)
}

/// The user's end of its connection. Of a user that a peer speaks for, no field tells the port: it is 0.
pub fn client_end(fields: &Fields, bytes: &[u8], peer: &Peer) -> SocketAddr {
    let told = told_client(fields, bytes, peer).map(|address| SocketAddr::new(address, 0));
    told.unwrap_or(SocketAddr::new(peer.address, peer.port))
}

fn told_client(fields: &Fields, bytes: &[u8], peer: &Peer) -> Option<IpAddr> {
    if !peer.trusted {
        return None;
    }
    let told = find(fields, bytes, X_FORWARDED_FOR)?;
    std::str::from_utf8(told).ok()?.split(',').next()?.trim().parse().ok()
}

/// The request's id: a trusted peer's, else a new one.
pub fn request_id(fields: &Fields, bytes: &[u8], peer: &Peer) -> RequestId {
    let given = if peer.trusted { find(fields, bytes, X_REQUEST_ID) } else { None };
    given.and_then(RequestId::parse).unwrap_or_default()
}

/// Writes a request's fields as they are passed on: hop-by-hop ones go, a stranger's claims go, what the design does
/// not let pass goes, ours are added.
pub fn forward(
    writer: &mut HeadWriter<'_>,
    fields: &Fields,
    bytes: &[u8],
    peer: &Peer,
    id: &RequestId,
    passes: impl Fn(&[u8]) -> bool,
) {
    writer.pass(fields, bytes, |_, name| !is_ours(name) && (peer.trusted || !is_claim(name)) && passes(name));
    let told = |name| if peer.trusted { find(fields, bytes, name) } else { None };
    let text = |value: &&[u8]| value.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    match told(X_FORWARDED_FOR).filter(text) {
        Some(before) => writer.field(X_FORWARDED_FOR, &[before, b", ", peer.address_text.as_bytes()]),
        None => writer.field(X_FORWARDED_FOR, &[peer.address_text.as_bytes()]),
    }
    let scheme: &[u8] = if peer.secure { b"https" } else { b"http" };
    writer.field(X_FORWARDED_PROTO, &[told(X_FORWARDED_PROTO).unwrap_or(scheme)]);
    let host = || fields.iter(bytes).find(|(kind, _, _)| *kind == Name::Host).map(|(_, _, value)| value);
    if let Some(host) = told(X_FORWARDED_HOST).or_else(host) {
        writer.field(X_FORWARDED_HOST, &[host]);
    }
    writer.field(X_REQUEST_ID, &[id.as_str().as_bytes()]);
    if let Some(certificate) = &peer.certificate {
        writer.field(CLIENT_CERT, &[certificate.as_bytes()]);
    }
    if let Some(before) = told(FORWARDED).filter(text) {
        let (open, close) = node_quotes(peer.address);
        writer.field(FORWARDED, &[before, b", for=", open, peer.address_text.as_bytes(), close]);
    }
}

/// Writes what a front says of a stranger's request in the words of RFC 7239 as well; edges behind it add themselves.
/// `by` is left out: it would tell of our own network.
pub fn write_forwarded(writer: &mut HeadWriter<'_>, fields: &Fields, bytes: &[u8], peer: &Peer) {
    let (open, close) = node_quotes(peer.address);
    let scheme: &[u8] = if peer.secure { b";proto=https" } else { b";proto=http" };
    let host =
        fields.iter(bytes).find(|(kind, _, _)| *kind == Name::Host).map_or(b"".as_slice(), |(_, _, value)| value);
    // A host of ours has nothing that would end the quotes.
    let is_plain = !host.is_empty() && host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-.:[]".contains(byte));
    let mut parts = vec![b"for=".as_slice(), open, peer.address_text.as_bytes(), close];
    if is_plain {
        parts.extend([b";host=\"".as_slice(), host, b"\""]);
    }
    parts.push(scheme);
    writer.field(FORWARDED, &parts);
}

/// What stands around an address in `for=`: one of IPv6 needs brackets and quotes (RFC 7239 section 6).
fn node_quotes(address: IpAddr) -> (&'static [u8], &'static [u8]) {
    if address.is_ipv6() { (b"\"[", b"]\"") } else { (b"", b"") }
}

/// Whether a field behind a body may pass: those that are read like fields of a head must not contradict it.
pub fn passes_as_trailer(name: &[u8]) -> bool {
    !is_ours(name) && !is_claim(name)
}

fn find<'a>(fields: &Fields, bytes: &'a [u8], name: &str) -> Option<&'a [u8]> {
    fields.find(bytes, name).map(|value| value.of_bytes(bytes))
}

/// The fields that [`forward`] writes, and what edges say to each other, which each says anew.
fn is_ours(name: &[u8]) -> bool {
    let written = [X_FORWARDED_FOR, X_FORWARDED_PROTO, X_FORWARDED_HOST, X_REQUEST_ID, FORWARDED];
    written.iter().any(|ours| is_like(name, ours)) || starts_like(name, "triad-")
}

/// Fields that applications take as a proxy's word. Underscores count as hyphens, because CGI-style environments
/// cannot tell them apart; `Proxy` becomes `HTTP_PROXY` there.
fn is_claim(name: &[u8]) -> bool {
    const NAMES: [&str; 6] = [FORWARDED, "proxy", "x-real-ip", "x-request-id", "x-client-ip", "true-client-ip"];
    NAMES.iter().any(|claim| is_like(name, claim)) || starts_like(name, "x-forwarded") || starts_like(name, CLIENT_CERT)
}

/// Whether a name is `other`, which is in lower case with hyphens, in any case and with hyphens or underscores.
pub fn is_like(name: &[u8], other: &str) -> bool {
    name.len() == other.len() && starts_like(name, other)
}

fn starts_like(name: &[u8], start: &str) -> bool {
    let folded = |byte: &u8| if *byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    name.len() >= start.len() && name.iter().map(folded).zip(start.bytes()).all(|(have, want)| have == want)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use triad_http1::{HeadWriter, RequestHead};

    use super::{Peer, client, client_end, forward, is_claim, request_id, write_forwarded};
    use crate::RequestId;

    /// A request with `fields`, parsed.
    fn request(fields: &[(&str, &str)]) -> (RequestHead, Vec<u8>) {
        let mut text = "GET / HTTP/1.1\r\nHost: www.foobar.com\r\n".to_owned();
        fields.iter().for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
        text += "\r\n";
        let mut head = RequestHead::default();
        head.parse(text.as_bytes()).expect("a request").expect("whole");
        (head, text.into_bytes())
    }

    fn peer(trusted: bool) -> Peer {
        Peer::new("192.0.2.7:5000".parse().expect("an address"), true, trusted)
    }

    /// The lines that pass, sorted.
    fn lines(fields: &[(&str, &str)], peer: &Peer, id: &RequestId) -> Vec<String> {
        let (head, bytes) = request(fields);
        let mut out = Vec::new();
        let mut writer = HeadWriter::request(&mut out, b"GET", &[b"/"]);
        forward(&mut writer, &head.fields, &bytes, peer, id, |_| true);
        writer.finish();
        let text = String::from_utf8(out).expect("text");
        let mut lines: Vec<String> = text.trim_end().lines().skip(1).map(str::to_lowercase).collect();
        lines.sort();
        lines
    }

    const CLAIMS: [(&str, &str); 9] = [
        ("Client-Cert", ":bWU=:"),
        ("client_cert_chain", ":bWU=:"),
        ("x-forwarded-for", "203.0.113.99"),
        ("X_Forwarded_For", "203.0.113.98"),
        ("x-forwarded-proto", "http"),
        ("X-Forwarded-Host", "evil.example"),
        ("forwarded", "for=203.0.113.99"),
        ("X-Request-Id", "0123456789abcdef0123456789abcdef"),
        ("Proxy", "http://evil.example"),
    ];

    #[test]
    fn a_strangers_claims_are_dropped_and_set_anew() {
        let (head, bytes) = request(&CLAIMS);
        let id = request_id(&head.fields, &bytes, &peer(false));
        assert_ne!(id.as_str(), "0123456789abcdef0123456789abcdef");
        assert_eq!(client(&head.fields, &bytes, &peer(false)), peer(false).address);
        assert_eq!(client_end(&head.fields, &bytes, &peer(false)).to_string(), "192.0.2.7:5000");
        let expected = [
            "host: www.foobar.com".to_owned(),
            "x-forwarded-for: 192.0.2.7".to_owned(),
            "x-forwarded-host: www.foobar.com".to_owned(),
            "x-forwarded-proto: https".to_owned(),
            format!("x-request-id: {}", id.as_str()),
        ];
        assert_eq!(lines(&CLAIMS, &peer(false), &id), expected);
    }

    #[test]
    fn a_trusted_peers_word_is_kept_and_appended_to() {
        let given = [
            ("x-forwarded-for", "203.0.113.99"),
            ("x-forwarded-proto", "http"),
            ("x-request-id", "0123456789abcdef0123456789abcdef"),
        ];
        let (head, bytes) = request(&given);
        let id = request_id(&head.fields, &bytes, &peer(true));
        assert_eq!(client(&head.fields, &bytes, &peer(true)).to_string(), "203.0.113.99");
        assert_eq!(client_end(&head.fields, &bytes, &peer(true)).to_string(), "203.0.113.99:0");
        let expected = [
            "host: www.foobar.com",
            "x-forwarded-for: 203.0.113.99, 192.0.2.7",
            "x-forwarded-host: www.foobar.com",
            "x-forwarded-proto: http",
            "x-request-id: 0123456789abcdef0123456789abcdef",
        ];
        assert_eq!(lines(&given, &peer(true), &id), expected);
    }

    /// RFC 9440 section 4: only who ended the client's TLS says it, and edges behind it pass it on.
    #[test]
    fn a_clients_certificate_is_told_by_the_edge_it_came_to_and_kept_by_the_next() {
        let given = [("client-cert", ":b3RoZXI=:")];
        let user = Peer { certificate: Some(":bWU=:".into()), ..peer(false) };
        let told = |peer: &Peer| {
            let lines = lines(&given, peer, &RequestId::new());
            lines.into_iter().filter(|line| line.starts_with("client-cert")).collect::<Vec<_>>()
        };
        assert_eq!(told(&user), ["client-cert: :bwu=:"]);
        assert_eq!(told(&peer(false)), [""; 0]);
        assert_eq!(told(&peer(true)), ["client-cert: :b3rozxi=:"]);
    }

    #[test]
    fn forwarded_is_written_anew_for_strangers_and_appended_to_behind_a_front() {
        let written = |address: &str, secure, host: &str| {
            let text = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let mut head = RequestHead::default();
            head.parse(text.as_bytes()).expect("a request").expect("whole");
            let peer = Peer::new(address.parse().expect("an address"), secure, false);
            let mut out = Vec::new();
            write_forwarded(&mut HeadWriter::request(&mut out, b"GET", &[b"/"]), &head.fields, text.as_bytes(), &peer);
            let text = String::from_utf8(out).expect("text");
            text.trim_end().split_once("forwarded: ").expect("the field").1.to_owned()
        };
        let v4 = "for=192.0.2.7;host=\"www.foobar.com:8080\";proto=https";
        assert_eq!(written("192.0.2.7:5000", true, "www.foobar.com:8080"), v4);
        let v6 = "for=\"[2001:db8::7]\";host=\"www.foobar.com\";proto=http";
        assert_eq!(written("[2001:db8::7]:5000", false, "www.foobar.com"), v6);
        assert_eq!(written("[::ffff:192.0.2.7]:5000", false, "a"), "for=192.0.2.7;host=\"a\";proto=http");

        let given = [("Forwarded", "for=203.0.113.99")];
        let of = |peer: &Peer| {
            let lines = lines(&given, peer, &RequestId::new());
            lines.into_iter().filter(|line| line.starts_with("forwarded")).collect::<Vec<_>>()
        };
        assert_eq!(of(&peer(true)), ["forwarded: for=203.0.113.99, for=192.0.2.7"]);
        assert_eq!(
            of(&Peer::new("[2001:db8::1]:1".parse().expect("an address"), true, true)),
            ["forwarded: for=203.0.113.99, for=\"[2001:db8::1]\""]
        );
        assert!(of(&peer(false)).is_empty(), "a stranger's goes");
    }

    #[test]
    fn what_connection_names_goes_with_it() {
        let given = [
            ("connection", "close, X-Private , host"),
            ("connection", "te"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("x-private", "1"),
            ("x-public", "2"),
        ];
        let lines = lines(&given, &peer(false), &RequestId::new());
        assert!(lines.contains(&"host: www.foobar.com".to_owned()) && lines.contains(&"x-public: 2".to_owned()));
        assert!(
            !lines
                .iter()
                .any(|line| ["connection", "keep", "te:", "x-private"].iter().any(|gone| line.starts_with(gone)))
        );
    }

    fn names() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec(
            "([xX][-_][Ff]orwarded[-_][a-z]{1,8}|[Cc]lient[-_]cert(-chain)?|x-[a-z]{1,9}|via|proxy)",
            0..20,
        )
    }

    proptest! {
        #[test]
        fn no_claim_of_a_stranger_survives(names in names()) {
            let given: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "claimed")).collect();
            for line in lines(&given, &peer(false), &RequestId::new()) {
                let (name, value) = line.split_once(": ").expect("a field");
                prop_assert!(!is_claim(name.as_bytes()) || value != "claimed", "{}", name);
            }
        }
    }
}
