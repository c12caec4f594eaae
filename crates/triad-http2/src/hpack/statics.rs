//! The table that everybody has (RFC 7541 appendix A).

use super::Kind;

/// A field of the table.
pub(super) struct Static {
    pub name: &'static [u8],
    pub value: &'static [u8],
    pub kind: Kind,
    /// Whether the value is one. Those without are there for their names, of which some may have the empty value.
    pub fits: bool,
}

const fn field(name: &'static str, value: &'static str) -> Static {
    let kind = Kind::of(name.as_bytes());
    let fits = match kind {
        Kind::Method | Kind::Scheme | Kind::Authority | Kind::Path | Kind::Protocol => !value.is_empty(),
        Kind::Wrong => false,
        _ => true,
    };
    Static { name: name.as_bytes(), value: value.as_bytes(), kind, fits }
}

/// How many there are. The index of the first is 1.
pub(super) const STATIC_COUNT: usize = STATIC.len();

pub(super) static STATIC: [Static; 61] = [
    field(":authority", ""),
    field(":method", "GET"),
    field(":method", "POST"),
    field(":path", "/"),
    field(":path", "/index.html"),
    field(":scheme", "http"),
    field(":scheme", "https"),
    field(":status", "200"),
    field(":status", "204"),
    field(":status", "206"),
    field(":status", "304"),
    field(":status", "400"),
    field(":status", "404"),
    field(":status", "500"),
    field("accept-charset", ""),
    field("accept-encoding", "gzip, deflate"),
    field("accept-language", ""),
    field("accept-ranges", ""),
    field("accept", ""),
    field("access-control-allow-origin", ""),
    field("age", ""),
    field("allow", ""),
    field("authorization", ""),
    field("cache-control", ""),
    field("content-disposition", ""),
    field("content-encoding", ""),
    field("content-language", ""),
    field("content-length", ""),
    field("content-location", ""),
    field("content-range", ""),
    field("content-type", ""),
    field("cookie", ""),
    field("date", ""),
    field("etag", ""),
    field("expect", ""),
    field("expires", ""),
    field("from", ""),
    field("host", ""),
    field("if-match", ""),
    field("if-modified-since", ""),
    field("if-none-match", ""),
    field("if-range", ""),
    field("if-unmodified-since", ""),
    field("last-modified", ""),
    field("link", ""),
    field("location", ""),
    field("max-forwards", ""),
    field("proxy-authenticate", ""),
    field("proxy-authorization", ""),
    field("range", ""),
    field("referer", ""),
    field("refresh", ""),
    field("retry-after", ""),
    field("server", ""),
    field("set-cookie", ""),
    field("strict-transport-security", ""),
    field("transfer-encoding", ""),
    field("user-agent", ""),
    field("vary", ""),
    field("via", ""),
    field("www-authenticate", ""),
];
