//! What an authority said of a certificate and signed (OCSP, RFC 6960), to be shown with it (RFC 6066 section 8).
//!
//! Only what decides whether to show it is read: for which certificate it is, and from when to when it holds. Clients
//! verify the signature; a response that somebody made up is one that they refuse.

use time::{Date, Month, PrimitiveDateTime, Time};

/// Bytes of a response at most.
pub const OCSP_BYTES_MAX: usize = 16 * 1024;
/// Clocks of authorities and servers differ: a response may begin so many seconds from now.
const CLOCK_SKEW_S: i64 = 300;

/// A response for one certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    /// The certificate's serial number, as DER has it.
    serial: Vec<u8>,
    is_good: bool,
    /// Seconds since 1970.
    from_s: i64,
    until_s: i64,
}

impl Response {
    /// Reads `der`; the error says what it is not.
    pub fn parse(der: &[u8]) -> Result<Self, &'static str> {
        if der.len() > OCSP_BYTES_MAX {
            return Err("longer than 16 KiB");
        }
        let mut response = sequence(&mut &*der).ok_or("no OCSP response in DER")?;
        if take(&mut response, ENUMERATED) != Some(&[0]) {
            return Err("a response that says the authority could not answer");
        }
        single(response).ok_or("no OCSP response for one certificate")?
    }

    /// Why it must not be shown with the certificate that has this `serial` number at `now_s`; `None`: it may.
    pub fn flaw(&self, serial: &[u8], now_s: i64) -> Option<Flaw> {
        if self.serial != serial {
            return Some(Flaw::Another);
        }
        if !self.is_good {
            return Some(Flaw::NotGood);
        }
        if now_s >= self.until_s {
            return Some(Flaw::Stale);
        }
        (now_s + CLOCK_SKEW_S < self.from_s).then_some(Flaw::Early)
    }
}

/// Why a response is not shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Flaw {
    #[error("it is for another certificate")]
    Another,
    #[error("it says that the certificate is revoked or unknown")]
    NotGood,
    #[error("it is stale, its nextUpdate has passed")]
    Stale,
    #[error("it is from the future, its thisUpdate is to come")]
    Early,
}

const INTEGER: u8 = 0x02;
const OCTETS: u8 = 0x04;
const OID: u8 = 0x06;
const ENUMERATED: u8 = 0x0a;
const TIME: u8 = 0x18;
const SEQUENCE: u8 = 0x30;
/// `[0]`, with a value inside.
const EXPLICIT_0: u8 = 0xa0;
/// `[0] IMPLICIT NULL`: the certificate is good.
const GOOD: u8 = 0x80;

/// What follows the status: `[0] { SEQUENCE { type, OCTET STRING { BasicOCSPResponse } } }`.
fn single(mut rest: &[u8]) -> Option<Result<Response, &'static str>> {
    let mut bytes = sequence(&mut take(&mut rest, EXPLICIT_0)?)?;
    take(&mut bytes, OID)?;
    let mut data = sequence(&mut sequence(&mut take(&mut bytes, OCTETS)?)?)?;
    // Version, if there is one, and who answers.
    while let Some(tag) = tag(data).filter(|tag| tag & 0xe0 == 0xa0) {
        take(&mut data, tag)?;
    }
    take(&mut data, TIME)?;
    let mut responses = sequence(&mut data)?;
    let mut one = sequence(&mut responses)?;
    let mut id = sequence(&mut one)?;
    sequence(&mut id)?;
    take(&mut id, OCTETS)?;
    take(&mut id, OCTETS)?;
    let serial = take(&mut id, INTEGER)?.to_vec();
    let status = tag(one)?;
    take(&mut one, status)?;
    let from_s = seconds(take(&mut one, TIME)?)?;
    let Some(mut next) = take(&mut one, EXPLICIT_0) else {
        return Some(Err("a response that does not say how long it holds (nextUpdate)"));
    };
    let until_s = seconds(take(&mut next, TIME)?)?;
    Some(Ok(Response { serial, is_good: status == GOOD, from_s, until_s }))
}

fn sequence<'a>(der: &mut &'a [u8]) -> Option<&'a [u8]> {
    take(der, SEQUENCE)
}

/// Takes the first value off `der` if its tag is `tag`.
fn take<'a>(der: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (_, value, rest) = split(der).filter(|(found, _, _)| *found == tag)?;
    *der = rest;
    Some(value)
}

/// The tag that `der` begins with.
fn tag(der: &[u8]) -> Option<u8> {
    der.first().copied()
}

/// The tag and the value that `der` begins with, and the rest. Lengths have up to two bytes, which is all that fits the
/// bound.
fn split(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (length, rest) = match der.get(1..)? {
        [short @ ..=0x7f, rest @ ..] => (usize::from(*short), rest),
        [0x81, length, rest @ ..] => (usize::from(*length), rest),
        [0x82, high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        _ => return None,
    };
    let (value, rest) = rest.split_at_checked(length)?;
    Some((der[0], value, rest))
}

/// `YYYYMMDDHHMMSSZ` as seconds since 1970.
fn seconds(text: &[u8]) -> Option<i64> {
    let digits = std::str::from_utf8(text).ok()?.strip_suffix('Z').filter(|digits| digits.len() == 14)?;
    let number = |range: std::ops::Range<usize>| digits.get(range)?.parse::<u8>().ok();
    let month = Month::try_from(number(4..6)?).ok()?;
    let date = Date::from_calendar_date(digits.get(..4)?.parse().ok()?, month, number(6..8)?).ok()?;
    let time = Time::from_hms(number(8..10)?, number(10..12)?, number(12..14)?).ok()?;
    Some(PrimitiveDateTime::new(date, time).assume_utc().unix_timestamp())
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::{CLOCK_SKEW_S, Flaw, Response};

    fn value(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let inner = parts.concat();
        let length = u16::try_from(inner.len()).unwrap().to_be_bytes();
        [&[tag, 0x82, length[0], length[1]], &*inner].concat()
    }

    /// A response that nobody signed. `status` is the tag of what is said.
    pub(crate) fn response(serial: &[u8], status: u8, from: &str, until: Option<&str>) -> Vec<u8> {
        let time = |text: &str| value(super::TIME, &[text.as_bytes()]);
        let hash = value(super::OCTETS, &[&[7; 20]]);
        let id =
            value(super::SEQUENCE, &[&value(super::SEQUENCE, &[]), &hash, &hash, &value(super::INTEGER, &[serial])]);
        let until = until.map(|until| value(super::EXPLICIT_0, &[&time(until)])).unwrap_or_default();
        let one = value(super::SEQUENCE, &[&id, &[status, 0], &time(from), &until]);
        let responder = value(0xa2, &[&hash]);
        let data = value(super::SEQUENCE, &[&responder, &time(from), &value(super::SEQUENCE, &[&one])]);
        let basic = value(super::SEQUENCE, &[&data, &value(super::SEQUENCE, &[]), &value(0x03, &[&[0]])]);
        let bytes = value(super::SEQUENCE, &[&value(super::OID, &[&[1, 2]]), &value(super::OCTETS, &[&basic])]);
        value(super::SEQUENCE, &[&value(super::ENUMERATED, &[&[0]]), &value(super::EXPLICIT_0, &[&bytes])])
    }

    #[test]
    fn what_is_shown_is_of_this_certificate_good_and_of_now() {
        let of = |status| {
            let der = response(&[0, 200, 1], status, "20260101000000Z", Some("20260108000000Z"));
            Response::parse(&der).expect("a response")
        };
        let (from, until) = (1_767_225_600, 1_767_830_400);
        assert_eq!(of(super::GOOD).flaw(&[0, 200, 1], from), None);
        assert_eq!(of(super::GOOD).flaw(&[0, 200, 1], until - 1), None);
        assert_eq!(of(super::GOOD).flaw(&[0, 200, 1], from - CLOCK_SKEW_S), None);
        assert_eq!(of(super::GOOD).flaw(&[0, 200, 1], until), Some(Flaw::Stale));
        assert_eq!(of(super::GOOD).flaw(&[0, 200, 1], from - CLOCK_SKEW_S - 1), Some(Flaw::Early));
        assert_eq!(of(super::GOOD).flaw(&[0, 200, 2], from), Some(Flaw::Another));
        assert_eq!(of(0xa1).flaw(&[0, 200, 1], from), Some(Flaw::NotGood));
    }

    #[test]
    fn what_says_too_little_is_refused() {
        let endless = response(&[1], super::GOOD, "20260101000000Z", None);
        assert!(Response::parse(&endless).expect_err("no end").contains("nextUpdate"));
        let try_later = value(super::SEQUENCE, &[&value(super::ENUMERATED, &[&[3]])]);
        assert!(Response::parse(&try_later).expect_err("no answer").contains("could not answer"));
        assert!(Response::parse(b"-----BEGIN").is_err());
        let no_day = response(&[1], super::GOOD, "20260230000000Z", Some("20260108000000Z"));
        assert!(Response::parse(&no_day).is_err());
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_read_to_an_end(
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
            made_up in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let whole = response(&[1, 2], super::GOOD, "20260101000000Z", Some("20260108000000Z"));
            let mut changed = whole.clone();
            let at = at.index(whole.len());
            changed[at] = byte;
            let _ = Response::parse(&changed);
            prop_assert!(Response::parse(&whole[..at]).is_err());
            let _ = Response::parse(&made_up);
        }
    }
}
