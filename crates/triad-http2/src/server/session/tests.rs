//! Frames made by hand, without a connection: what a client says, and what it is told.

use std::fmt::Write;
use std::task::{Context, Poll, Waker};

use proptest::prelude::*;
use tokio::io::ReadBuf;

use super::{Key, Session};
use crate::frame::{self, ACK, END_HEADERS, END_STREAM, HEAD_BYTES, Head, PREFACE, Reason};
use crate::limits::{
    BLOCK_BYTES_MAX, BROKEN_FREE, CONNECTION_WINDOW_BYTES, CONTINUATIONS_MAX, EMPTY_FRAMES_MAX, OUTPUT_BYTES_MAX,
    OWN_RESETS_MAX, SHARED_HEADER_LIST_BYTES_MAX, STREAM_WINDOW_BYTES, STREAMS_HELD_MAX, STREAMS_MAX,
};

const PADDED: u8 = 0x8;
const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::write(&mut out, kind, flags, stream, payload);
    out
}

/// Fields as literals that enter no table (RFC 7541 §6.2.2).
fn fields(list: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).expect("short")], text.as_bytes()].concat();
    list.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect()
}

/// A request's block, with `more` behind what it needs.
fn block(method: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let needed = [(":method", method), (":scheme", "https"), (":authority", "a.example"), (":path", "/")];
    fields(&[&needed[..], more].concat())
}

fn get(stream: u32) -> Vec<u8> {
    frame(frame::HEADERS, END_HEADERS | END_STREAM, stream, &block("GET", &[]))
}

/// A request with a body to come.
fn post(stream: u32, more: &[(&str, &str)]) -> Vec<u8> {
    frame(frame::HEADERS, END_HEADERS, stream, &block("POST", more))
}

fn data(stream: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    frame(frame::DATA, flags, stream, payload)
}

fn update(stream: u32, more: u32) -> Vec<u8> {
    frame(frame::WINDOW_UPDATE, 0, stream, &more.to_be_bytes())
}

fn rst(stream: u32) -> Vec<u8> {
    frame(frame::RST_STREAM, 0, stream, &(Reason::Cancel as u32).to_be_bytes())
}

fn setting(name: u16, value: u32) -> Vec<u8> {
    frame(frame::SETTINGS, 0, 0, &[&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
}

/// A client that has said its preface, and was told ours.
fn opened() -> Session {
    opened_by(false)
}

fn opened_by(edge: bool) -> Session {
    let mut session = Session::new(edge);
    let preface = [PREFACE, &frame(frame::SETTINGS, 0, 0, &[])].concat();
    assert_eq!(session.receive(&preface), preface.len());
    told(&mut session);
    session
}

/// What it is told, a line for each frame.
fn told(session: &mut Session) -> String {
    let mut text = String::new();
    session.pump();
    while !session.output().is_empty() {
        let out = session.output().to_vec();
        let mut rest = out.as_slice();
        while let Some(head) = Head::parse(rest) {
            let payload = &rest[HEAD_BYTES..][..head.length];
            let number = |at: usize| payload.get(at..at + 4).and_then(frame::number).unwrap_or_default();
            let flags = head.flags;
            _ = match head.kind {
                frame::DATA => writeln!(text, "{}: DATA {flags:x} {}", head.stream, head.length),
                frame::HEADERS => writeln!(text, "{}: HEADERS {flags:x}", head.stream),
                frame::RST_STREAM => writeln!(text, "{}: RST_STREAM {}", head.stream, number(0)),
                frame::SETTINGS => writeln!(text, "SETTINGS {flags:x}"),
                frame::PING => writeln!(text, "PING {flags:x}"),
                frame::GOAWAY => writeln!(text, "GOAWAY {} {}", number(0), number(4)),
                frame::WINDOW_UPDATE => writeln!(text, "{}: WINDOW_UPDATE {}", head.stream, number(0)),
                kind => writeln!(text, "{}: {kind}", head.stream),
            };
            rest = &rest[HEAD_BYTES + head.length..];
        }
        assert!(rest.is_empty(), "frames are whole");
        session.sent(out.len());
        session.pump();
    }
    text
}

/// What it is told once it has said `frames`.
fn after(session: &mut Session, frames: &[Vec<u8>]) -> String {
    session.receive(&frames.concat());
    told(session)
}

fn nobody() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// What there is to read of a request, and whether more may come.
fn read(session: &mut Session, key: Key) -> (String, bool) {
    let mut text = Vec::new();
    loop {
        let mut memory = [0; 1000];
        let mut buffer = ReadBuf::new(&mut memory);
        let read = session.poll_read(key, &nobody(), &mut buffer);
        text.extend_from_slice(buffer.filled());
        if !matches!(read, Poll::Ready(Ok(()))) || buffer.filled().is_empty() {
            return (String::from_utf8_lossy(&text).into_owned(), read.is_pending());
        }
    }
}

fn write(session: &mut Session, key: Key, bytes: &[u8]) -> bool {
    matches!(session.poll_write(key, &nobody(), bytes), Poll::Ready(Ok(length)) if length == bytes.len())
}

#[test]
fn a_request_is_read_and_answered() {
    let mut session = opened();
    assert_eq!(after(&mut session, &[post(1, &[]), data(1, 0, b"ab"), data(1, END_STREAM, b"c")]), "");
    let key = session.accept().expect("a stream");
    let head = "POST / HTTP/1.1\r\nhost: a.example\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    assert_eq!(read(&mut session, key), (format!("{head}3\r\nabc\r\n0\r\n\r\n"), true));
    assert!(write(&mut session, key, OK));
    assert_eq!(told(&mut session), "1: HEADERS 4\n1: DATA 1 2\n");
    assert!(session.is_idle());
    session.release(key);
    assert_eq!((told(&mut session).as_str(), session.streams.len()), ("", 0));
}

/// RFC 9113 §5.4.1: each costs the connection.
#[test]
fn a_connection_that_is_wrong_ends() {
    let two = |first: Vec<u8>, second: Vec<u8>| [first, second].concat();
    let whole = || two(get(1), vec![]);
    let part = || frame(frame::HEADERS, 0, 1, &[]);
    let beyond = CONNECTION_WINDOW_BYTES as usize / 16_384 + 1;
    for (wrong, bytes, reason) in [
        ("DATA on no stream", data(0, 0, b"a"), Reason::ProtocolError),
        ("DATA on an idle stream", data(1, 0, b"a"), Reason::ProtocolError),
        ("DATA of more padding than there is", two(post(1, &[]), data(1, PADDED, b"\x05a")), Reason::ProtocolError),
        ("HEADERS on no stream", get(0), Reason::ProtocolError),
        ("HEADERS on a stream of ours", get(2), Reason::ProtocolError),
        ("HEADERS on a stream that was skipped", two(get(5), get(3)), Reason::StreamClosed),
        ("HEADERS without a block", frame(frame::HEADERS, END_HEADERS | PADDED, 1, &[]), Reason::ProtocolError),
        ("a block that is none", frame(frame::HEADERS, END_HEADERS, 1, &[0x80]), Reason::CompressionError),
        ("a block that is cut off", frame(frame::HEADERS, END_HEADERS, 1, &[0x40]), Reason::CompressionError),
        ("CONTINUATION of nothing", frame(frame::CONTINUATION, END_HEADERS, 1, &[]), Reason::ProtocolError),
        ("a frame between parts of a block", two(part(), frame(frame::PING, 0, 0, &[0; 8])), Reason::ProtocolError),
        ("CONTINUATION elsewhere", two(part(), frame(frame::CONTINUATION, 0, 3, &[])), Reason::ProtocolError),
        ("a promise", frame(frame::PUSH_PROMISE, END_HEADERS, 1, &[0; 5]), Reason::ProtocolError),
        ("RST_STREAM of no length", two(whole(), frame(frame::RST_STREAM, 0, 1, &[0; 3])), Reason::FrameSizeError),
        ("RST_STREAM on an idle stream", rst(1), Reason::ProtocolError),
        ("SETTINGS on a stream", frame(frame::SETTINGS, 0, 1, &[]), Reason::ProtocolError),
        ("SETTINGS of no length", frame(frame::SETTINGS, 0, 0, &[0; 5]), Reason::FrameSizeError),
        ("an answer to SETTINGS with some", frame(frame::SETTINGS, ACK, 0, &[0; 6]), Reason::FrameSizeError),
        ("a window too large from the start", setting(4, 1 << 31), Reason::FlowControlError),
        (
            "a window too large by then",
            [whole(), update(1, 1 << 30), setting(4, (1 << 31) - 1)].concat(),
            Reason::FlowControlError,
        ),
        ("a push of three", setting(2, 3), Reason::ProtocolError),
        ("frames too small", setting(5, 16_383), Reason::ProtocolError),
        ("frames too large", setting(5, 1 << 24), Reason::ProtocolError),
        ("PING on a stream", frame(frame::PING, 0, 1, &[0; 8]), Reason::ProtocolError),
        ("PING of no length", frame(frame::PING, 0, 0, &[0; 7]), Reason::FrameSizeError),
        ("GOAWAY on a stream", frame(frame::GOAWAY, 0, 1, &[0; 8]), Reason::ProtocolError),
        ("GOAWAY of no length", frame(frame::GOAWAY, 0, 0, &[0; 7]), Reason::FrameSizeError),
        ("PRIORITY on no stream", frame(frame::PRIORITY, 0, 0, &[0; 5]), Reason::ProtocolError),
        ("WINDOW_UPDATE of no length", frame(frame::WINDOW_UPDATE, 0, 0, &[0; 5]), Reason::FrameSizeError),
        ("WINDOW_UPDATE of nothing", update(0, 0), Reason::ProtocolError),
        ("WINDOW_UPDATE beyond the largest window", update(0, (1 << 31) - 1), Reason::FlowControlError),
        ("WINDOW_UPDATE on an idle stream", update(1, 1), Reason::ProtocolError),
        (
            "DATA beyond the connection's window",
            [post(1, &[]), post(3, &[]), post(5, &[])]
                .into_iter()
                .chain((0..beyond).map(|at| data([1, 3, 5][at % 3], 0, &[0; 16_384])))
                .flatten()
                .collect(),
            Reason::FlowControlError,
        ),
    ] {
        let mut session = opened();
        let told = after(&mut session, &[bytes]);
        assert!(told.ends_with(&format!(" {}\n", reason as u32)) && told.contains("GOAWAY "), "{wrong}: {told}");
        assert!(session.is_over(), "{wrong}");
    }
    let mut long = frame(frame::DATA, 0, 1, &[]);
    long[1] = 0x40;
    long[2] = 1;
    assert_eq!(after(&mut opened(), &[long]), "GOAWAY 0 6\n", "a frame too large, of which nothing but the head came");
    for first in [b"GET / HTTP/1.1\r\n\r\n".to_vec(), [PREFACE, &get(1)].concat()] {
        let mut session = Session::new(false);
        let told = after(&mut session, &[first]);
        assert!(told.ends_with("GOAWAY 0 1\n"), "{told}");
    }
}

/// RFC 9113 §5.4.2: each costs the stream, and the next one is served.
#[test]
fn a_stream_that_is_wrong_ends_alone() {
    let post_1 = || post(1, &[]);
    let beyond = (0..=STREAM_WINDOW_BYTES as usize / 16_384).flat_map(|_| data(1, 0, &[0; 16_384]));
    for (wrong, bytes, reason) in [
        ("DATA behind the end", [get(1), data(1, 0, b"a")].concat(), Reason::StreamClosed),
        (
            "DATA behind trailers",
            [post_1(), frame(frame::HEADERS, 5, 1, &[]), data(1, 0, b"a")].concat(),
            Reason::StreamClosed,
        ),
        ("DATA beyond the window", post_1().into_iter().chain(beyond).collect(), Reason::FlowControlError),
        (
            "more than was said",
            [post(1, &[("content-length", "1")]), data(1, 0, b"ab")].concat(),
            Reason::ProtocolError,
        ),
        (
            "less than was said",
            [post(1, &[("content-length", "3")]), data(1, 1, b"ab")].concat(),
            Reason::ProtocolError,
        ),
        (
            "trailers before that",
            [post(1, &[("content-length", "3")]), frame(frame::HEADERS, 5, 1, &[])].concat(),
            Reason::ProtocolError,
        ),
        ("trailers that are not the end", [post_1(), frame(frame::HEADERS, 4, 1, &[])].concat(), Reason::ProtocolError),
        ("pseudo fields in trailers", [post_1(), frame(frame::HEADERS, 5, 1, &[0x82])].concat(), Reason::ProtocolError),
        ("a length of no number", post(1, &[("content-length", "+1")]), Reason::ProtocolError),
        ("two lengths", post(1, &[("content-length", "1"), ("content-length", "2")]), Reason::ProtocolError),
        (
            "a body that was said, but not sent",
            frame(frame::HEADERS, 5, 1, &block("GET", &[("content-length", "1")])),
            Reason::ProtocolError,
        ),
        (
            "an absolute target",
            frame(frame::HEADERS, 5, 1, &fields(&[(":method", "GET"), (":scheme", "https"), (":path", "http://b/")])),
            Reason::ProtocolError,
        ),
        ("WINDOW_UPDATE of nothing", [get(1), update(1, 0)].concat(), Reason::ProtocolError),
        ("a window too large", [get(1), update(1, (1 << 31) - 1)].concat(), Reason::FlowControlError),
        ("PRIORITY of no length", [get(1), frame(frame::PRIORITY, 0, 1, &[0; 4])].concat(), Reason::FrameSizeError),
    ] {
        let mut session = opened();
        let told = after(&mut session, &[bytes, get(3)]);
        let first = told.lines().next();
        assert_eq!(first, Some(&*format!("1: RST_STREAM {}", reason as u32)), "{wrong}");
        assert_eq!(session.accept().map(|key| key.id), Some(3), "{wrong}");
        assert_eq!(session.window.held(), 0, "{wrong}: what came is released");
    }
}

#[test]
fn late_frames_are_read_over_for_a_while() {
    let mut session = opened();
    after(&mut session, &[post(1, &[])]);
    let key = session.accept().expect("a stream");
    assert!(write(&mut session, key, OK));
    session.release(key);
    assert_eq!(told(&mut session), "1: HEADERS 4\n1: DATA 1 2\n1: RST_STREAM 0\n", "nobody wants the rest");
    let late = [data(1, 0, b"abc"), update(1, 5), rst(1), frame(frame::HEADERS, 5, 1, &[]), get(3)];
    assert_eq!((after(&mut session, &late).as_str(), session.window.held()), ("", 0));
    assert!(session.accept().is_some());
    let whole = [get(5), rst(5), data(5, 0, b"a")];
    assert_eq!(after(&mut session, &whole), "5: RST_STREAM 5\n", "on a stream that it ended itself");
}

#[test]
fn streams_beyond_the_bounds_are_refused() {
    let mut session = opened();
    let ids = |count: u32| (0..count).map(|at| 2 * at + 1);
    let all: Vec<_> = ids(STREAMS_MAX + 2).map(get).collect();
    assert_eq!(after(&mut session, &all), "201: RST_STREAM 7\n203: RST_STREAM 7\n");
    let keys: Vec<_> = std::iter::from_fn(|| session.accept()).collect();
    assert_eq!(keys.len(), STREAMS_MAX as usize);
    // Breaking off makes room only as far as nobody works for what was broken off.
    let broken: Vec<_> = ids(STREAMS_MAX).map(rst).collect();
    let again: Vec<_> = (0..STREAMS_MAX).map(|at| get(2 * at + 301)).collect();
    assert_eq!(after(&mut session, &[broken, again].concat()), "");
    assert_eq!(std::iter::from_fn(|| session.accept()).count(), STREAMS_MAX as usize);
    let broken: Vec<_> = (0..STREAMS_MAX).map(|at| rst(2 * at + 301)).collect();
    session.counts.streams += 1000;
    let refused = after(&mut session, &[broken, vec![get(601)]].concat());
    assert_eq!((refused.as_str(), session.streams.len()), ("601: RST_STREAM 7\n", STREAMS_HELD_MAX));
    keys.into_iter().for_each(|key| session.release(key));
    assert_eq!(after(&mut session, &[get(603)]), "");
}

#[test]
fn who_abuses_the_connection_loses_it() {
    let calm = |told: String| told.ends_with(&format!(" {}\n", Reason::EnhanceYourCalm as u32));
    let odd = |at: usize| 2 * at as u32 + 1;
    let rapid = |count: usize| (0..count).map(|at| [get(odd(at)), rst(odd(at))].concat()).collect::<Vec<_>>();
    assert_eq!(after(&mut opened(), &rapid(BROKEN_FREE as usize)), "", "a page that is left breaks off many");
    assert!(calm(after(&mut opened(), &rapid(BROKEN_FREE as usize + 1))));
    assert_eq!(after(&mut opened_by(true), &rapid(1000)), "", "another edge's users change their minds");
    let mistakes: Vec<_> = (0..=OWN_RESETS_MAX).map(|at| [get(odd(at)), update(odd(at), 0)].concat()).collect();
    assert!(calm(after(&mut opened_by(true), &mistakes)), "who makes us break off");
    let empty = |count: u32| [vec![post(1, &[])], vec![data(1, 0, &[]); count as usize]].concat();
    assert_eq!(after(&mut opened(), &empty(EMPTY_FRAMES_MAX)), "");
    assert!(calm(after(&mut opened(), &empty(EMPTY_FRAMES_MAX + 1))), "empty DATA");
    let part = |payload: &[u8]| frame(frame::CONTINUATION, 0, 1, payload);
    let start = || vec![frame(frame::HEADERS, 0, 1, &[])];
    let many = [start(), vec![part(&[]); CONTINUATIONS_MAX as usize + 1]].concat();
    assert!(calm(after(&mut opened(), &many)), "CONTINUATION without end");
    let large = [start(), vec![part(&[0; 16_384]); BLOCK_BYTES_MAX / 16_384 + 1]].concat();
    assert!(calm(after(&mut opened(), &large)), "a block without end");
    // An entry of the table that takes most of it, and is meant again and again by one byte.
    let entry = [&[0x40, 1, b'x', 0x7f, 0x80 | 0x21, 0x1e][..], &[b'a'; 4000]].concat();
    let bomb = [entry, vec![0xbe; 200]].concat();
    assert!(calm(after(&mut opened(), &[frame(frame::HEADERS, 5, 1, &bomb)])), "a list that unpacks to far too much");
}

#[test]
fn fields_beyond_the_bound_are_answered_431() {
    let mut session = opened_by(true);
    let entry = [&[0x40, 1, b'x', 0x7f, 0x80 | 0x21, 0x1e][..], &[b'a'; 4000]].concat();
    let large = [entry, vec![0xbe; SHARED_HEADER_LIST_BYTES_MAX as usize / 4000]].concat();
    let told = after(&mut session, &[frame(frame::HEADERS, 4, 1, &large), get(3)]);
    assert_eq!(told, "1: HEADERS 5\n1: RST_STREAM 0\n");
    assert_eq!(session.accept().map(|key| key.id), Some(3), "the table is as it should be");
}

#[test]
fn nothing_is_read_while_too_much_waits_to_be_sent() {
    let mut session = opened();
    let pings = frame(frame::PING, 0, 0, &[0; 8]).repeat(1000);
    let mut said = 0;
    while session.may_read() {
        said += session.receive(&pings);
    }
    assert!((OUTPUT_BYTES_MAX..OUTPUT_BYTES_MAX + pings.len()).contains(&said));
    assert_eq!(told(&mut session).lines().count(), said / 17);
    assert!(session.may_read());
}

#[test]
fn payload_waits_for_windows_and_for_its_turn() {
    let mut session = opened();
    after(&mut session, &[setting(4, 10), get(1), get(3)]);
    let keys = [session.accept().expect("one"), session.accept().expect("two")];
    for key in keys {
        let answer = [b"HTTP/1.1 200 OK\r\ncontent-length: 40000\r\n\r\n", &[0; 40_000][..]].concat();
        assert!(write(&mut session, key, &answer));
        assert!(session.holds_back(key) && !write(&mut session, key, b"x"));
    }
    assert_eq!(told(&mut session), "1: HEADERS 4\n1: DATA 0 10\n3: HEADERS 4\n3: DATA 0 10\n");
    assert_eq!(after(&mut session, &[update(3, 5)]), "3: DATA 0 5\n");
    // The connection's window of 65,535 is shared, a frame in turn.
    let told = after(&mut session, &[setting(4, 65_535)]);
    assert_eq!(told, "SETTINGS 1\n1: DATA 0 16384\n3: DATA 0 16384\n1: DATA 0 16384\n3: DATA 0 16348\n1: DATA 0 10\n");
    let rest = after(&mut session, &[update(0, 100_000)]);
    let one = "1: DATA 1 7212\n";
    assert!(rest.contains(one) && rest.contains("3: DATA 1 7253\n"), "{rest}");
    assert_eq!(session.pushed(keys[0]), 40_000);
    assert!(session.is_idle());
}

#[test]
fn small_writes_that_wait_together_are_one_frame() {
    let mut session = opened();
    after(&mut session, &[get(1), get(3)]);
    let keys = [session.accept().expect("one"), session.accept().expect("two")];
    let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = b"5\r\nabcde\r\n";
    assert!(keys.iter().all(|key| write(&mut session, *key, head)));
    told(&mut session);
    for _ in 0..300 {
        assert!(write(&mut session, keys[0], chunk));
    }
    assert_eq!(told(&mut session), "1: DATA 0 1500\n");
    // Another stream's payload is a frame of its own, and behind it begins a new one.
    for key in [keys[0], keys[0], keys[1], keys[0], keys[0]] {
        assert!(write(&mut session, key, chunk));
    }
    assert_eq!(told(&mut session), "1: DATA 0 10\n3: DATA 0 5\n1: DATA 0 10\n");
    // What has begun to go out stays as it is.
    assert!(write(&mut session, keys[0], chunk));
    session.sent(1);
    assert!(write(&mut session, keys[0], b"5\r\nabcde\r\n0\r\n\r\n"));
    let rest = session.output().to_vec();
    assert_eq!(rest[rest.len() - 14..], data(1, END_STREAM, b"abcde"));
    session.sent(rest.len());
    // A frame that is full grows no more, and the end goes onto one that has room.
    for part in [&[b"4001\r\n", &[0; 0x3fff][..]].concat(), &[0; 2][..], b"\r\n3\r\nab", b"c\r\n0\r\n\r\n"] {
        assert!(write(&mut session, keys[1], part));
    }
    assert_eq!(told(&mut session), "3: DATA 0 16384\n3: DATA 1 4\n");
    assert!(session.is_idle());
}

#[test]
fn who_shall_go_is_served_until_it_knows() {
    let mut session = opened();
    after(&mut session, &[get(1)]);
    session.shut_down();
    assert_eq!(told(&mut session), "GOAWAY 2147483647 0\nPING 0\n");
    let pong = frame(frame::PING, ACK, 0, &super::GOING);
    assert_eq!(after(&mut session, &[get(3), pong, get(5)]), "GOAWAY 3 0\n5: RST_STREAM 7\n");
    for id in [1, 3] {
        assert!(!session.is_over());
        let key = session.accept().expect("a stream");
        assert_eq!(key.id, id);
        assert!(write(&mut session, key, OK));
        session.release(key);
    }
    assert!(session.is_over() && session.accept().is_none());
}

/// Any frame, often one that means something.
fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let id = || (0u32..6).prop_map(|at| [1, 3, 5, 7, 0, 2][at as usize]);
    let bytes = |most: usize| proptest::collection::vec(any::<u8>(), 0..most);
    prop_oneof![
        4 => (id(), any::<bool>()).prop_map(|(id, whole)| if whole { get(id) } else { post(id, &[]) }),
        4 => (id(), any::<bool>(), bytes(300)).prop_map(|(id, last, payload)| data(id, u8::from(last), &payload)),
        1 => (id(), any::<u8>(), bytes(40)).prop_map(|(id, flags, payload)| data(id, flags, &payload)),
        2 => (id(), 0u32..100_000).prop_map(|(id, more)| update(id, more)),
        1 => id().prop_map(rst),
        1 => (0u16..9, 0u32..70_000).prop_map(|(name, value)| setting(name, value)),
        1 => (id(), proptest::collection::vec(130u8..200, 0..6)).prop_map(|(id, block)| frame(frame::HEADERS, 5, id, &block)),
        1 => (any::<u8>(), any::<u8>(), id(), bytes(30)).prop_map(|(kind, flags, id, payload)| frame(kind % 11, flags, id, &payload)),
    ]
}

/// Serves all streams as they come: reads, answers, lets go. What was read and told, as text.
fn serve(session: &mut Session, held: &mut Vec<Key>, seen: &mut String) {
    held.extend(std::iter::from_fn(|| session.accept()));
    held.retain(|key| {
        let (text, goes_on) = read(session, *key);
        _ = writeln!(seen, "{}: {text:?} {goes_on}", key.id);
        let is_whole = text.ends_with("0\r\n\r\n") || text.starts_with("GET");
        if is_whole {
            write(session, *key, OK);
        }
        if is_whole || !goes_on {
            session.release(*key);
        }
        goes_on && !is_whole
    });
}

proptest! {
    /// Whatever is said, everything that is held is within its bound, and nothing is left when all is over.
    #[test]
    fn nothing_is_forgotten(frames in proptest::collection::vec(any_frame(), 0..60), slow in any::<bool>()) {
        let (mut session, mut held, mut seen) = (opened(), Vec::new(), String::new());
        for frame in frames {
            session.receive(&frame);
            if !slow {
                serve(&mut session, &mut held, &mut seen);
            }
            told(&mut session);
        }
        serve(&mut session, &mut held, &mut seen);
        held.into_iter().for_each(|key| session.release(key));
        told(&mut session);
        prop_assert_eq!((session.streams.len(), session.streams.open), (0, 0));
        prop_assert!(session.is_over() || session.window.held() == 0, "{} bytes", session.window.held());
    }

    /// How bytes are cut into reads changes nothing.
    #[test]
    fn cuts_change_nothing(
        frames in proptest::collection::vec(any_frame(), 0..40),
        cuts in proptest::collection::vec(1usize..200, 1..50),
    ) {
        let bytes = frames.concat();
        let (mut whole, mut parts) = (opened(), opened());
        whole.receive(&bytes);
        let (mut waiting, mut rest, mut cuts) = (Vec::new(), bytes.as_slice(), cuts.into_iter().cycle());
        while !rest.is_empty() {
            let (part, behind) = rest.split_at(cuts.next().unwrap_or(1).min(rest.len()));
            waiting.extend_from_slice(part);
            rest = behind;
            let taken = parts.receive(&waiting);
            waiting.drain(..taken);
        }
        let end = |session: &mut Session| {
            let mut seen = told(session);
            serve(session, &mut Vec::new(), &mut seen);
            seen + &told(session)
        };
        prop_assert_eq!(end(&mut whole), end(&mut parts));
    }
}
