//! What fields mean to HTTP/2 (RFC 9113 §8.2, §8.3). What they mean to HTTP is its parser's business.

/// What a field's name means here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `:method`.
    Method,
    /// `:scheme`.
    Scheme,
    /// `:authority`.
    Authority,
    /// `:path`.
    Path,
    /// `:protocol` (RFC 8441 §4).
    Protocol,
    /// `host`.
    Host,
    /// `cookie`.
    Cookie,
    /// `content-length`.
    ContentLength,
    /// `te`, which may only say that trailers are read.
    Te,
    /// Any other.
    Other,
    /// None that may stand in a request: not lower case, no token, a field of one connection, an unknown pseudo field.
    Wrong,
}

impl Kind {
    /// By its name.
    pub const fn of(name: &[u8]) -> Self {
        match name {
            [b':', ..] => Self::of_pseudo(name),
            b"te" => Self::Te,
            b"host" => Self::Host,
            b"cookie" => Self::Cookie,
            b"content-length" => Self::ContentLength,
            b"connection" | b"keep-alive" | b"proxy-connection" | b"transfer-encoding" | b"upgrade" => Self::Wrong,
            _ if is_lower_name(name) => Self::Other,
            _ => Self::Wrong,
        }
    }

    const fn of_pseudo(name: &[u8]) -> Self {
        match name {
            b":method" => Self::Method,
            b":scheme" => Self::Scheme,
            b":authority" => Self::Authority,
            b":path" => Self::Path,
            b":protocol" => Self::Protocol,
            _ => Self::Wrong,
        }
    }

    /// Whether a value under such a name can be passed on in a line (RFC 9113 §8.2.1).
    pub fn fits(self, value: &[u8]) -> bool {
        match self {
            Self::Wrong => false,
            Self::Te => value == b"trailers",
            Self::Method | Self::Scheme | Self::Authority | Self::Path | Self::Protocol => {
                !value.is_empty() && is_from(value, b'!')
            }
            _ => is_value(value),
        }
    }
}

/// Each byte that is allowed in names, in lower case; zero for all others (RFC 9110 §5.6.2).
static LOWER: [u8; 256] = lower();

const fn lower() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let lower = (byte as u8).to_ascii_lowercase();
        table[byte] = if is_name_byte(lower) { lower } else { 0 };
        byte += 1;
    }
    table
}

const fn is_name_byte(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

const fn is_lower_name(name: &[u8]) -> bool {
    let mut at = 0;
    while at < name.len() {
        if !is_name_byte(name[at]) {
            return false;
        }
        at += 1;
    }
    !name.is_empty()
}

/// Whether `name` is a token, in any case.
pub(crate) fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| LOWER[usize::from(*byte)] != 0)
}

/// Visible characters, bytes beyond ASCII and blanks, but no blanks around them: a reader of HTTP/1.1 would not see those.
pub(crate) fn is_value(value: &[u8]) -> bool {
    let blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    let allowed = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
    !blank(value.first()) && !blank(value.last()) && (is_from(value, b' ') || value.iter().all(allowed))
}

/// Whether all bytes are from `least` on, which is no more than 128, and none is DEL. Looks at eight at one time.
fn is_from(value: &[u8], least: u8) -> bool {
    const ONES: u64 = u64::MAX / 255;
    const TOPS: u64 = ONES << 7;
    // The top bit of each byte that is below `than`, and perhaps of some above one such.
    let below = |word: u64, than: u8| word.wrapping_sub(ONES * u64::from(than)) & !word & TOPS;
    let fits = |word: [u8; 8]| {
        let word = u64::from_le_bytes(word);
        below(word, least) | below(word ^ (ONES * 0x7f), 1) == 0
    };
    let (words, rest) = value.as_chunks::<8>();
    // What is behind the last word, with some of that word, where there is one.
    let rest_fits = match value.last_chunk::<8>() {
        Some(last) => fits(*last),
        None => rest.iter().all(|byte| *byte >= least && *byte != 0x7f),
    };
    rest_fits && words.iter().all(|word| fits(*word))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Kind, is_from};

    proptest! {
        #[test]
        fn eight_at_one_time_are_as_one_by_one(value in proptest::collection::vec(prop_oneof![
            0x1eu8..0x24, 0x7du8..0x83, any::<u8>(), Just(b'a')
        ], 0..20)) {
            for least in [b' ', b'!'] {
                let each = value.iter().all(|byte| *byte >= least && *byte != 0x7f);
                prop_assert_eq!(is_from(&value, least), each, "{}", least);
            }
        }
    }

    #[test]
    fn names_and_values_are_judged() {
        let fits = |name: &str, value: &str| Kind::of(name.as_bytes()).fits(value.as_bytes());
        for (name, value) in
            [("x-a_b", "1"), ("x", ""), ("x", "a\tb c\u{e4}"), ("te", "trailers"), (":path", "/a?b"), ("cookie", "a=b")]
        {
            assert!(fits(name, value), "{name}: {value}");
        }
        for (name, value) in [
            ("", "1"),
            ("X", "1"),
            ("a b", "1"),
            ("a:b", "1"),
            (":status", "200"),
            (":", "1"),
            ("connection", "close"),
            ("upgrade", "websocket"),
            ("te", "gzip"),
            ("te", "trailers, gzip"),
            ("x", " a"),
            ("x", "a\t"),
            ("x", "a\r\nb"),
            ("x", "a\0"),
            ("x", "\x7f"),
            (":path", ""),
            (":path", "/a b"),
            (":authority", "a\tb"),
        ] {
            assert!(!fits(name, value), "{name:?}: {value:?}");
        }
    }
}
