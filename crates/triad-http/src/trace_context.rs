//! The trace that a request is part of, as W3C Trace Context (level 1) hands it on in `traceparent` and `tracestate`.
//!
//! Edges record no spans of their own, so they pass both on as they came, which section 2.2 of it calls forwarding: a
//! parent that nobody reports would be a hole in the picture.

use triad_http1::{Fields, HeadWriter};

use crate::RequestId;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
/// Bytes of version 0; later ones may only add to it, behind a hyphen.
const TRACEPARENT_BYTES: usize = 55;
/// Where the trace's id stands.
const TRACE_ID: std::ops::Range<usize> = 3..35;
/// The same of the caller's span.
const PARENT_ID: std::ops::Range<usize> = 36..52;

/// The id of a trace: 32 lower-case hexadecimal digits, not all of them 0.
pub type TraceId = [u8; 32];

/// What is known of a request's trace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TraceContext {
    /// There is none, or none that can be understood.
    #[default]
    Absent,
    /// Whoever sent the request is part of it.
    Given(TraceId),
    /// It begins here. Its id is the request's.
    Started {
        /// Whether whoever comes behind is asked to record it.
        sampled: bool,
    },
}

impl TraceContext {
    /// The trace of a request with `fields`; where there is none, one that begins here, if `start` says how.
    pub fn of(fields: &Fields, bytes: &[u8], start: Option<bool>) -> Self {
        let mut found = None;
        for (_, name, value) in fields.iter(bytes) {
            if name.eq_ignore_ascii_case(TRACEPARENT.as_bytes()) {
                // Of two, neither is believed.
                found = Some(if found.is_none() { parse(value) } else { None });
            }
        }
        match (found.flatten(), start) {
            (Some(id), _) => Self::Given(id),
            (None, Some(sampled)) => Self::Started { sampled },
            (None, None) => Self::Absent,
        }
    }

    /// Whether a field of the request passes: what is said of a trace does only as a whole (section 2.2.3).
    pub fn passes(&self, name: &[u8]) -> bool {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        matches!(self, Self::Given(_)) || !(is(TRACEPARENT) || is(TRACESTATE))
    }

    /// Writes what begins here.
    pub fn write(&self, writer: &mut HeadWriter<'_>, id: &RequestId) {
        if let Self::Started { sampled } = self {
            let span = RequestId::new();
            let parent = &span.as_str().as_bytes()[..PARENT_ID.len()];
            let flags = if *sampled { b"-01" } else { b"-00" };
            writer.field(TRACEPARENT, &[b"00-", id.as_str().as_bytes(), b"-", parent, flags]);
        }
    }

    /// The trace's id, of a request with this `id`.
    pub fn id<'a>(&'a self, id: &'a RequestId) -> Option<&'a str> {
        match self {
            Self::Absent => None,
            Self::Given(digits) => std::str::from_utf8(digits).ok(),
            Self::Started { .. } => Some(id.as_str()),
        }
    }
}

/// The trace's id in a `traceparent` (section 2.2.2, and 2.2.4 for versions to come).
fn parse(value: &[u8]) -> Option<TraceId> {
    let (head, rest) = value.split_at_checked(TRACEPARENT_BYTES)?;
    let is_hyphen = |at: &usize| head[*at] == b'-';
    let is_digit = |at: &usize| head[*at].is_ascii_digit() || (b'a'..=b'f').contains(&head[*at]);
    let version = &head[..2];
    let is_whole = match version {
        b"00" => rest.is_empty(),
        b"ff" => false,
        _ => rest.is_empty() || rest[0] == b'-',
    };
    let hyphens = [2, TRACE_ID.end, PARENT_ID.end];
    let well_formed =
        hyphens.iter().all(is_hyphen) && (0..head.len()).filter(|at| !hyphens.contains(at)).all(|at| is_digit(&at));
    let is_zero = |range: std::ops::Range<usize>| head[range].iter().all(|digit| *digit == b'0');
    let is_valid = is_whole && well_formed && !is_zero(TRACE_ID) && !is_zero(PARENT_ID);
    is_valid.then(|| head[TRACE_ID].try_into().ok())?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use triad_http1::{HeadWriter, RequestHead};

    use super::{TraceContext, parse};
    use crate::RequestId;

    const ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const PARENT: &str = "00f067aa0ba902b7";

    fn of(fields: &[&str], start: Option<bool>) -> TraceContext {
        let text = format!(
            "GET / HTTP/1.1\r\nHost: a\r\n{}\r\n",
            fields.iter().map(|it| format!("{it}\r\n")).collect::<String>()
        );
        let mut head = RequestHead::default();
        head.parse(text.as_bytes()).expect("a request").expect("whole");
        TraceContext::of(&head.fields, text.as_bytes(), start)
    }

    #[test]
    fn what_the_specification_takes_is_taken_and_nothing_else() {
        for good in [
            "00-ID-PARENT-01",
            "00-ID-PARENT-00",
            "00-ID-PARENT-ff",
            "01-ID-PARENT-00",
            "cc-ID-PARENT-01-what-the-future-holds",
            "01-ID-PARENT-01-",
        ] {
            let value = good.replace("ID", ID).replace("PARENT", PARENT);
            assert_eq!(parse(value.as_bytes()).map(|id| id.to_vec()), Some(ID.as_bytes().to_vec()), "{value}");
        }
        let upper = ID.to_uppercase();
        for bad in [
            "",
            "00",
            "00-ID-PARENT",
            "00-ID-PARENT-",
            "00-ID-PARENT-0",
            "00-ID-PARENT-01-more",
            "00-ID-PARENT-011",
            "00-ID-PARENT-01.",
            "ff-ID-PARENT-01",
            "0x-ID-PARENT-01",
            "00-00000000000000000000000000000000-PARENT-01",
            "00-ID-0000000000000000-01",
            &format!("00-{upper}-PARENT-01"),
            "00-ID-PARENT-.1",
            "00_ID-PARENT-01",
            "01-ID-PARENT-01.",
        ] {
            let value = bad.replace("ID", ID).replace("PARENT", PARENT);
            assert_eq!(parse(value.as_bytes()), None, "{value}");
        }
    }

    #[test]
    fn a_trace_goes_on_or_begins_and_what_is_broken_does_not_pass() {
        let given = format!("TraceParent: 00-{ID}-{PARENT}-01");
        let context = of(&[&given, "tracestate: a=1"], Some(false));
        assert_eq!(context.id(&RequestId::new()), Some(ID));
        assert!(context.passes(b"traceparent") && context.passes(b"Tracestate"));
        for broken in
            [vec!["traceparent: nonsense"], vec![given.as_str(), given.as_str()], vec!["tracestate: a=1"], vec![]]
        {
            assert_eq!(of(&broken, Some(true)), TraceContext::Started { sampled: true }, "{broken:?}");
            let context = of(&broken, None);
            assert_eq!(context, TraceContext::Absent, "{broken:?}");
            assert!(!context.passes(b"TRACEPARENT") && !context.passes(b"tracestate") && context.passes(b"trace"));
        }
    }

    #[test]
    fn what_begins_here_is_well_formed_and_says_whether_it_is_recorded() {
        for (sampled, flags) in [(false, "-00\r\n"), (true, "-01\r\n")] {
            let (id, mut out) = (RequestId::new(), Vec::new());
            let context = TraceContext::Started { sampled };
            context.write(&mut HeadWriter::response(&mut out, 200, b"OK"), &id);
            let line = String::from_utf8(out).expect("text");
            let value = line.split_once("traceparent: ").expect("the field").1;
            assert!(value.ends_with(flags), "{value}");
            assert_eq!(parse(value.trim_end().as_bytes()).map(|it| it.to_vec()), Some(id.as_str().as_bytes().to_vec()));
            assert_eq!(context.id(&id), Some(id.as_str()));
        }
    }

    proptest! {
        #[test]
        fn no_value_is_misread(value in "(00|01|ff|[0-9a-g]{2})-[0-9a-f]{31,33}-[0-9a-f]{15,17}-[0-9a-f]{1,3}(-.{0,4})?") {
            let parsed = parse(value.as_bytes());
            if let Some(id) = parsed {
                prop_assert_eq!(&value.as_bytes()[3..35], &id[..]);
                prop_assert!(value.len() == 55 || !value.starts_with("00") && value.as_bytes()[55] == b'-');
            }
        }
    }
}
