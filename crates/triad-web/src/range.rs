//! Which part of a file a client asks for (RFC 9110 §14). Pure.

use std::ops::Range;

/// What to send of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    /// All of it: no range is asked for, or one that we may ignore.
    Whole,
    /// These bytes, at least one.
    Part(Range<u64>),
    /// The range starts behind the end.
    Unsatisfiable,
}

/// What a `Range` header selects of a file of `size_bytes`.
///
/// Several ranges select all: they are rare, and a multipart answer can cost more than the file (CVE-2011-3192). So
/// does whatever is not a range of bytes.
pub(crate) fn select(range: &str, size_bytes: u64) -> Selection {
    match parse(range) {
        Some((Some(first), _)) if first >= size_bytes => Selection::Unsatisfiable,
        Some((Some(first), last)) => {
            Selection::Part(first..last.map_or(size_bytes, |last| size_bytes.min(last.saturating_add(1))))
        }
        Some((None, Some(0))) => Selection::Unsatisfiable,
        Some((None, Some(suffix))) if size_bytes > 0 => Selection::Part(size_bytes.saturating_sub(suffix)..size_bytes),
        _ => Selection::Whole,
    }
}

/// First and last position of the only range; `(None, Some(n))` is the last `n` bytes.
fn parse(range: &str) -> Option<(Option<u64>, Option<u64>)> {
    let (unit, set) = range.split_once('=')?;
    let (first, last) = set.trim().split_once('-')?;
    let (first, last) = (position(first)?, position(last)?);
    let ordered = match (first, last) {
        (Some(first), Some(last)) => first <= last,
        (first, last) => first.or(last).is_some(),
    };
    (unit.eq_ignore_ascii_case("bytes") && ordered).then_some((first, last))
}

/// A position or nothing; a number too large for a file is as good as the largest.
fn position(digits: &str) -> Option<Option<u64>> {
    if digits.is_empty() {
        return Some(None);
    }
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| Some(digits.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Selection, select};

    #[test]
    fn ranges_of_a_file_of_ten_bytes() {
        let part = Selection::Part;
        let cases = [
            ("bytes=0-0", part(0..1)),
            ("bytes=0-9", part(0..10)),
            ("bytes=3-", part(3..10)),
            ("bytes=9-99", part(9..10)),
            ("bytes=-3", part(7..10)),
            ("bytes=-99", part(0..10)),
            ("BYTES= 1-2 ", part(1..3)),
            ("bytes=0-99999999999999999999", part(0..10)),
            ("bytes=10-", Selection::Unsatisfiable),
            ("bytes=10-12", Selection::Unsatisfiable),
            ("bytes=99999999999999999999-", Selection::Unsatisfiable),
            ("bytes=-0", Selection::Unsatisfiable),
            ("bytes=0-1,4-5", Selection::Whole),
            ("bytes=5-4", Selection::Whole),
            ("bytes=-", Selection::Whole),
            ("bytes=+1-2", Selection::Whole),
            ("bytes=1", Selection::Whole),
            ("bytes", Selection::Whole),
            ("lines=0-1", Selection::Whole),
            ("", Selection::Whole),
        ];
        for (range, expected) in cases {
            assert_eq!(select(range, 10), expected, "{range}");
        }
    }

    #[test]
    fn an_empty_file_has_no_part() {
        assert_eq!(select("bytes=0-", 0), Selection::Unsatisfiable);
        assert_eq!(select("bytes=-5", 0), Selection::Whole);
    }

    proptest! {
        #[test]
        fn a_part_lies_in_the_file(range in "(bytes=)?[0-9]{0,20}-?[0-9]{0,20}|\\PC*", size_bytes in any::<u64>()) {
            if let Selection::Part(part) = select(&range, size_bytes) {
                prop_assert!(part.start < part.end && part.end <= size_bytes, "{part:?}");
            }
        }
    }
}
