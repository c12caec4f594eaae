//! What the file says of header fields, and which fields are not its to say.

use serde::{Deserialize, Serialize};

/// The most fields that [`HeaderRules`] write, and the most they remove. What they write is taken from what a head can
/// hold (`triad_http1::limits`): a request that has much of its own must still get over the hop.
pub const HEADER_RULES_MAX: usize = 32;
/// Bytes of all that [`HeaderRules`] write, for the same reason.
pub const HEADER_RULES_BYTES_MAX: usize = 8 * 1024;
/// Longest value of a field that the file can set.
pub const HEADER_VALUE_BYTES_MAX: usize = 4096;

/// Rules for users' requests and what they are answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Headers {
    /// For requests on their way to a backend.
    pub request: HeaderRules,
    /// For every answer.
    pub response: HeaderRules,
    /// The client is named in `Forwarded` (RFC 7239) beside `X-Forwarded-*`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub forwarded: bool,
    /// What requests without a trace (W3C Trace Context) get; `None`: nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<Trace>,
}

/// A trace that begins at a front server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trace {
    /// Nobody is asked to record it.
    Unsampled,
    /// Whoever comes behind is.
    Sampled,
}

/// What happens to the header fields of a message: first `remove`, then `set`, then `add`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeaderRules {
    /// Fields that are there once, with this value.
    pub set: Vec<(String, String)>,
    /// Fields that are there once more.
    pub add: Vec<(String, String)>,
    /// Fields that are not there.
    pub remove: Vec<String>,
}

impl Headers {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl HeaderRules {
    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.add.is_empty() && self.remove.is_empty()
    }
}

/// Why no rule can name the field `name`, as a clause behind it; `None` if one can. Underscores count as hyphens,
/// because environment variables, which many applications read fields from, cannot tell them apart.
pub fn reserved_header(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase().replace('_', "-");
    let starts = |prefix: &str| name.starts_with(prefix);
    match name.as_str() {
        "connection" | "keep-alive" | "te" | "trailer" | "upgrade" | "expect" => {
            Some("is between two ends of one connection, and the edge is one of them")
        }
        "content-length" | "transfer-encoding" => {
            Some("tells where a message ends: with another value the next one could not be found")
        }
        "host" => Some("is what the request is for, which the application must see as it was asked"),
        "date" => Some("is when the answer was made"),
        "forwarded" | "x-request-id" => Some("is the edge's own word, which the application relies on"),
        _ if starts("x-forwarded") || starts("triad-") || starts("client-cert") => {
            Some("is the edge's own word, which the application relies on")
        }
        "proxy" => Some("is read by some applications as the proxy that they shall use"),
        _ if starts("proxy-") => Some("is between two ends of one connection, and the edge is one of them"),
        _ => None,
    }
}

/// Whether `text` can stand as a field's value without being taken for anything else: visible ASCII, with blanks inside.
pub fn is_header_value(text: &str) -> bool {
    let bytes = text.as_bytes();
    let visible = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_graphic);
    let fits = |byte: &u8| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t');
    bytes.len() <= HEADER_VALUE_BYTES_MAX && visible(bytes.first()) && visible(bytes.last()) && bytes.iter().all(fits)
}

#[cfg(test)]
mod tests {
    use super::{is_header_value, reserved_header};

    #[test]
    fn fields_that_frame_or_vouch_are_reserved_in_any_spelling() {
        for name in ["Content-Length", "content_length", "HOST", "X-Forwarded-For", "x_forwarded_port", "Proxy-Status"]
        {
            assert!(reserved_header(name).is_some(), "{name}");
        }
        for name in ["X-Site", "Server", "Content-Type", "Cache-Control", "Hostname"] {
            assert_eq!(reserved_header(name), None, "{name}");
        }
    }

    #[test]
    fn values_cannot_end_a_line() {
        for good in ["a", "max-age=60, public", "default-src 'self';\timg-src *"] {
            assert!(is_header_value(good), "{good:?}");
        }
        for bad in ["", " a", "a\t", "a\r\nb: c", "a\nb", "a\0", "\u{e4}", &"a".repeat(4097)] {
            assert!(!is_header_value(bad), "{bad:?}");
        }
    }
}
