//! Version 1: a line of text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{Ends, Header, OneFamily, Refusal};

/// How every header of this version begins.
pub const SIGNATURE: &[u8] = b"PROXY ";
/// Bytes of the longest line, its end included.
pub const LINE_BYTES_MAX: usize = 107;

/// The header at the start of `bytes`, which begin like one; `None` while its end is missing.
pub fn read(bytes: &[u8]) -> Result<Option<Header>, Refusal> {
    let start = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
    let Some(end) = start.windows(2).position(|pair| pair == b"\r\n") else {
        let is_full = start.len() == LINE_BYTES_MAX;
        return if is_full { Err(Refusal("a line without an end")) } else { Ok(None) };
    };
    let line = start[..end].strip_prefix(SIGNATURE).ok_or(Refusal("no PROXY header"))?;
    Ok(Some(Header { ends: ends(line)?, length: end + 2 }))
}

/// What a line says behind its signature.
fn ends(line: &[u8]) -> Result<Option<Ends>, Refusal> {
    if line.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        return Err(Refusal("a line end that is not CR LF"));
    }
    // What stands behind UNKNOWN means nothing.
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Ok(None);
    }
    let parts = std::str::from_utf8(line).map(|line| line.split(' ').collect::<Vec<_>>()).unwrap_or_default();
    let [family, source, destination, source_port, destination_port] = parts[..] else {
        return Err(Refusal("a line of other parts"));
    };
    let address: fn(&str) -> Option<IpAddr> = match family {
        "TCP4" => |text| text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => |text| text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => return Err(Refusal("a family other than TCP4, TCP6 and UNKNOWN")),
    };
    let end = |text, number| Some(SocketAddr::new(address(text)?, port(number)?));
    let ends = end(source, source_port).zip(end(destination, destination_port));
    let (source, destination) = ends.ok_or(Refusal("an address or a port that is none"))?;
    Ok(Some(Ends { source, destination }))
}

/// A decimal number without a sign or leading zeros.
fn port(text: &str) -> Option<u16> {
    let is_plain = text == "0" || text.starts_with(|first: char| ('1'..='9').contains(&first));
    text.parse().ok().filter(|_| is_plain)
}

/// Appends the header of a connection between `ends`; without them, one that speaks of nobody.
pub fn write(out: &mut Vec<u8>, ends: Option<&Ends>) {
    let text = match ends.map(Ends::one_family) {
        None => "PROXY UNKNOWN\r\n".to_owned(),
        Some(OneFamily::V4(source, destination)) => {
            let (from, to) = (source.ip(), destination.ip());
            format!("PROXY TCP4 {from} {to} {} {}\r\n", source.port(), destination.port())
        }
        Some(OneFamily::V6(source, destination)) => {
            let (from, to) = (hexadecimal(source.ip()), hexadecimal(destination.ip()));
            format!("PROXY TCP6 {from} {to} {} {}\r\n", source.port(), destination.port())
        }
    };
    out.extend_from_slice(text.as_bytes());
}

/// An address without the dotted form of mapped ones, which the specification does not have.
fn hexadecimal(address: &Ipv6Addr) -> String {
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] => format!("::ffff:{high:x}:{low:x}"),
        _ => address.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Ends, LINE_BYTES_MAX, write};
    use crate::proxy_protocol::{Header, Refusal, read};

    fn ends(source: &str, destination: &str) -> Option<Ends> {
        let parse = |text: &str| text.parse().expect("an address");
        Some(Ends { source: parse(source), destination: parse(destination) })
    }

    #[test]
    fn the_lines_of_the_specification() {
        let all = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        let largest = format!("[{all}]:65535");
        let cases = [
            ("PROXY TCP4 192.168.0.1 192.168.0.11 56324 443", ends("192.168.0.1:56324", "192.168.0.11:443")),
            (
                "PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535",
                ends("255.255.255.255:65535", "255.255.255.255:65535"),
            ),
            (&format!("PROXY TCP6 {all} {all} 65535 65535"), ends(&largest, &largest)),
            ("PROXY TCP6 2001:DB8::7 ::ffff:192.0.2.1 0 80", ends("[2001:db8::7]:0", "[::ffff:192.0.2.1]:80")),
            ("PROXY UNKNOWN", None),
            (&format!("PROXY UNKNOWN {all} {all} 65535 65535"), None),
            ("PROXY UNKNOWN what ever  \u{e9}", None),
        ];
        for (line, ends) in cases {
            let bytes = format!("{line}\r\nGET / HTTP/1.1\r\n");
            assert_eq!(read(bytes.as_bytes()), Ok(Some(Header { ends, length: line.len() + 2 })), "{line}");
        }
    }

    #[test]
    fn what_does_not_match_exactly_is_refused() {
        let parts = "a line of other parts";
        let family = "a family other than TCP4, TCP6 and UNKNOWN";
        let numbers = "an address or a port that is none";
        let cases = [
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 ", parts),
            ("PROXY TCP4  192.0.2.1 192.0.2.2 1", numbers),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1", parts),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 2 3", parts),
            ("PROXY \u{e9} 192.0.2.1 192.0.2.2 1 2", family),
            ("PROXY tcp4 192.0.2.1 192.0.2.2 1 2", family),
            ("PROXY UDP4 192.0.2.1 192.0.2.2 1 2", family),
            ("PROXY UNKNOWN\tx", parts),
            ("PROXY TCP4 192.0.2.01 192.0.2.2 1 2", numbers),
            ("PROXY TCP4 192.0.2 192.0.2.2 1 2", numbers),
            ("PROXY TCP4 192.0.2.1 2001:db8::1 1 2", numbers),
            ("PROXY TCP6 192.0.2.1 192.0.2.2 1 2", numbers),
            ("PROXY TCP6 fe80::1%eth0 ::1 1 2", numbers),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 01 2", numbers),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 +1 2", numbers),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 -0 2", numbers),
            ("PROXY TCP4 192.0.2.1 192.0.2.2 1 65536", numbers),
            ("PROXY UNKNOWN \nGET / HTTP/1.1", "a line end that is not CR LF"),
            ("PROXY UNKNOWN\r", "a line end that is not CR LF"),
        ];
        for (line, why) in cases {
            assert_eq!(read(format!("{line}\r\n").as_bytes()), Err(Refusal(why)), "{line}");
        }
    }

    #[test]
    fn a_line_is_bounded() {
        let long = |bytes: usize| format!("{:x<bytes$}\r\n", "PROXY UNKNOWN ");
        assert!(matches!(read(long(LINE_BYTES_MAX - 2).as_bytes()), Ok(Some(_))));
        assert_eq!(read(long(LINE_BYTES_MAX - 1).as_bytes()), Err(Refusal("a line without an end")));
        assert_eq!(read(&long(LINE_BYTES_MAX).as_bytes()[..LINE_BYTES_MAX - 1]), Ok(None));
    }

    #[test]
    fn what_is_written() {
        let written = |ends: Option<Ends>| {
            let mut out = Vec::new();
            write(&mut out, ends.as_ref());
            String::from_utf8(out).expect("text")
        };
        assert_eq!(written(ends("192.0.2.7:5000", "127.0.0.1:80")), "PROXY TCP4 192.0.2.7 127.0.0.1 5000 80\r\n");
        let mixed = written(ends("[2001:db8::7]:5000", "127.0.0.1:80"));
        assert_eq!(mixed, "PROXY TCP6 2001:db8::7 ::ffff:7f00:1 5000 80\r\n");
        assert_eq!(written(None), "PROXY UNKNOWN\r\n");
    }
}
