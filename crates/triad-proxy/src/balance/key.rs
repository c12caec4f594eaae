//! What a consistent hash goes by.

use triad_model::Algorithm;

/// The part of a request that is hashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashOn {
    /// The client's address.
    Source,
    /// Path and query.
    Uri,
    /// The header of this name.
    Header(String),
    /// The cookie of this name.
    Cookie(String),
}

impl HashOn {
    /// What `algorithm` hashes, `name` being the header's or the cookie's; `None` for those that hash nothing.
    pub fn of(algorithm: Algorithm, name: Option<&str>) -> Option<Self> {
        let name = || name.map(str::to_owned);
        match algorithm {
            Algorithm::Source => Some(Self::Source),
            Algorithm::Uri => Some(Self::Uri),
            Algorithm::Header => name().map(Self::Header),
            Algorithm::Cookie => name().map(Self::Cookie),
            Algorithm::RoundRobin | Algorithm::LeastConn | Algorithm::Random | Algorithm::First => None,
        }
    }
}

/// FNV-1a of `bytes`, 64 bits (Fowler, Noll and Vo): a few lines, and the same on every edge of a design.
pub fn fingerprint(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// The value of the cookie `name` in a Cookie header (RFC 6265 section 5.4).
pub fn cookie<'a>(header: &'a [u8], name: &str) -> Option<&'a [u8]> {
    header.split(|byte| *byte == b';').find_map(|pair| {
        let pair = pair.trim_ascii();
        let (found, value) = (pair.get(..name.len())?, pair.get(name.len()..)?);
        value.strip_prefix(b"=").filter(|_| found == name.as_bytes())
    })
}

#[cfg(test)]
mod tests {
    use triad_model::Algorithm;

    use super::{HashOn, cookie, fingerprint};

    #[test]
    fn a_fingerprint_is_fnv_1a() {
        assert_eq!(fingerprint(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fingerprint(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fingerprint(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let header = b"a=1; session=xyz; b=2";
        assert_eq!(cookie(header, "session"), Some(&b"xyz"[..]));
        assert_eq!(cookie(header, "b"), Some(&b"2"[..]));
        assert_eq!(cookie(header, "ession"), None);
        assert_eq!(cookie(header, "sess"), None);
        assert_eq!(cookie(b"", "a"), None);
    }

    #[test]
    fn algorithms_name_what_they_hash() {
        assert_eq!(HashOn::of(Algorithm::Header, Some("X-User")), Some(HashOn::Header("X-User".to_owned())));
        assert_eq!(HashOn::of(Algorithm::Cookie, None), None);
        assert_eq!(HashOn::of(Algorithm::RoundRobin, Some("x")), None);
        assert_eq!(HashOn::of(Algorithm::Uri, None), Some(HashOn::Uri));
    }
}
