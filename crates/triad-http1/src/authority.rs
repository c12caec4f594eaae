//! Host and port as they stand in `Host` and in targets.

use crate::Refusal;

/// Digits of a port.
const PORT_DIGITS_MAX: usize = 5;
/// Bytes of a host: what DNS allows, and a final dot.
const HOST_BYTES_MAX: usize = 255;

/// An authority's parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Authority<'a> {
    pub host: &'a [u8],
    /// Without the colon; empty if there is none.
    pub port: &'a [u8],
}

impl<'a> Authority<'a> {
    /// `host[:port]` without user information. Names are letters, digits, `-`, `.` and `_`; an IPv6 address stands in
    /// brackets.
    pub fn parse(text: &'a [u8]) -> Result<Self, Refusal> {
        let bad = Refusal::bad("the request's Host");
        let (host, port) = split(text).ok_or(bad)?;
        let good_port = port.len() <= PORT_DIGITS_MAX && port.iter().all(u8::is_ascii_digit);
        let good_host = !host.is_empty() && host.len() <= HOST_BYTES_MAX && is_host(host);
        if good_port && good_host { Ok(Self { host, port }) } else { Err(bad) }
    }

    /// Whether both name the same host and port, where no port is `default`.
    pub fn agrees(&self, other: &Self, default: &[u8]) -> bool {
        let port =
            |authority: &Self| if authority.port.is_empty() { default.to_vec() } else { authority.port.to_vec() };
        self.host.eq_ignore_ascii_case(other.host) && port(self) == port(other)
    }
}

fn split(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let host_end = match text.first()? {
        b'[' => text.iter().position(|byte| *byte == b']')? + 1,
        _ => text.iter().position(|byte| *byte == b':').unwrap_or(text.len()),
    };
    let (host, rest) = text.split_at(host_end);
    match rest {
        [] => Some((host, rest)),
        [b':', port @ ..] => Some((host, port)),
        _ => None,
    }
}

fn is_host(host: &[u8]) -> bool {
    match host.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]")) {
        Some(address) => std::str::from_utf8(address).is_ok_and(|text| text.parse::<std::net::Ipv6Addr>().is_ok()),
        None => host != b"." && host.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(byte)),
    }
}

#[cfg(test)]
mod tests {
    use super::Authority;

    #[test]
    fn hosts_and_ports_are_told_apart() {
        let parts = |text: &'static str| {
            let parsed = Authority::parse(text.as_bytes()).ok()?;
            Some((std::str::from_utf8(parsed.host).ok()?, std::str::from_utf8(parsed.port).ok()?))
        };
        assert_eq!(parts("www.foobar.com"), Some(("www.foobar.com", "")));
        assert_eq!(parts("foobar.com.:8080"), Some(("foobar.com.", "8080")));
        assert_eq!(parts("foobar.com:"), Some(("foobar.com", "")));
        assert_eq!(parts("[2001:db8::1]:80"), Some(("[2001:db8::1]", "80")));
        for bad in
            ["", ":80", "a b", "a@b", "a:b", "a:123456", "[::1", "[x]", "[::1]a", "a/b", "a,b", "\u{e4}", ".", "a%2fb"]
        {
            assert_eq!(parts(bad), None, "{bad:?}");
        }
    }
}
