//! A connection in HTTP/2 without I/O (RFC 9113): bytes in, streams and bytes out.
//!
//! The way through it: [`Session::receive`] on what has arrived; [`Session::accept`] for the streams that came of it;
//! what their tasks read and write; [`Session::output`] for what is to be sent.
//!
//! Invariants: how the bytes were cut into reads changes nothing; what is wrong with a stream ends that stream, what is
//! wrong with the connection ends it with GOAWAY; whatever the client does, no more than [`crate::limits`] is held for it,
//! and nothing is read while too much waits to be sent.

mod inbound;
mod outbound;
mod stream;
mod streams;
#[cfg(test)]
mod tests;
mod window;

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::task::{Context, Poll, Waker};

use tokio::io::ReadBuf;

use crate::frame::{self, Reason, WINDOW_BYTES, WINDOW_BYTES_MAX, setting};
use crate::hpack::{Decoder, Encoder};
use crate::limits::{
    BROKEN_FREE, CONNECTION_WINDOW_BYTES, FORGOTTEN_MAX, HEADER_LIST_BYTES_MAX, OUTPUT_BYTES_MAX, OWN_RESETS_MAX,
    SHARED_HEADER_LIST_BYTES_MAX, SHARED_WINDOW_BYTES, STREAM_WINDOW_BYTES, STREAMS_MAX,
};
use crate::server::answer::Answer;
use crate::server::request::Gathered;
use inbound::Block;
use stream::{Got, Part};
pub(crate) use streams::Key;
use streams::Streams;
use window::Window;

/// What our PING says that asks whether the client has seen that it shall go.
const GOING: [u8; 8] = *b"going...";
/// Bytes of memory kept in a buffer between requests.
const KEPT_BYTES_MAX: usize = 4 * 1024;

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Session {
    /// Whether many users share it.
    is_shared: bool,
    begun: Begun,
    life: Life,
    /// In.
    decoder: Decoder,
    gathered: Gathered,
    block: Option<Block>,
    window: Window,
    streams: Streams,
    /// The largest number of a stream of the client.
    last: u32,
    /// Streams with a request that nobody has taken.
    accepted: VecDeque<Key>,
    /// Numbers of streams that we broke off, on which the client may not know it yet.
    forgotten: VecDeque<u32>,
    /// Out.
    encoder: Encoder,
    answer: Answer,
    output: Vec<u8>,
    sent: usize,
    /// The last frame of payload in `output`, as long as nothing was sent since.
    last_data: Option<usize>,
    /// Payload of one write, without its framing.
    payload: Vec<u8>,
    /// Bytes that the client has room for on all streams.
    room: i64,
    /// The same on a new one.
    stream_room: i64,
    /// Streams whose payload waits for the connection, or whose task for room in `output`.
    queue: VecDeque<Key>,
    /// Whoever moves `output` on.
    waker: Option<Waker>,
    woken: bool,
    counts: Counts,
}

/// How far the client's first words came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begun {
    Nothing,
    /// The first frame is to be SETTINGS.
    Preface,
    Settings,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Open,
    /// The client was told to go, and asked whether it knows.
    Announced,
    /// It knows. Streams above this one are not taken.
    Going(u32),
    /// Nothing more is read.
    Over,
}

/// What is held against a client.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    streams: u64,
    /// Those of them that the client broke off or got wrong.
    broken: u64,
    /// Streams that we broke off because of its mistakes.
    mistakes: usize,
    /// Empty frames of bodies, one behind the other.
    empty: u32,
}

impl Session {
    /// At a connection's start. `is_shared`: it is another edge's, whose streams are many users'.
    pub fn new(is_shared: bool) -> Self {
        let (list_bytes, window_bytes) = match is_shared {
            true => (SHARED_HEADER_LIST_BYTES_MAX, SHARED_WINDOW_BYTES),
            false => (HEADER_LIST_BYTES_MAX, CONNECTION_WINDOW_BYTES),
        };
        Self {
            is_shared,
            begun: Begun::Nothing,
            life: Life::Open,
            decoder: Decoder::new(),
            gathered: Gathered::new(list_bytes),
            block: None,
            window: Window::new(window_bytes),
            streams: Streams::default(),
            last: 0,
            accepted: VecDeque::new(),
            forgotten: VecDeque::new(),
            encoder: Encoder::new(),
            answer: Answer::default(),
            output: first_words(list_bytes, window_bytes),
            sent: 0,
            last_data: None,
            payload: Vec::new(),
            room: WINDOW_BYTES.into(),
            stream_room: WINDOW_BYTES.into(),
            queue: VecDeque::new(),
            waker: None,
            woken: false,
            counts: Counts::default(),
        }
    }

    /// Whether the client has said its preface.
    pub fn has_begun(&self) -> bool {
        self.begun != Begun::Nothing
    }

    /// The next stream with a request. It is held until [`Session::release`].
    pub fn accept(&mut self) -> Option<Key> {
        while let Some(key) = self.accepted.pop_front() {
            // One that was broken off meanwhile is gone.
            if let Some(state) = self.streams.get(key) {
                state.held = true;
                return Some(key);
            }
        }
        None
    }

    /// Whether there is one, as far as was looked.
    pub fn has_accepted(&self) -> bool {
        !self.accepted.is_empty()
    }

    /// Whether no stream is open.
    pub fn is_idle(&self) -> bool {
        self.streams.open == 0
    }

    /// Whether nothing more will be read, and nothing more be written.
    pub fn is_over(&self) -> bool {
        match self.life {
            Life::Open | Life::Announced => false,
            Life::Going(_) => self.streams.open == 0,
            Life::Over => true,
        }
    }

    /// Whether more may be read: not while the client takes nothing of what there is.
    pub fn may_read(&self) -> bool {
        !self.is_over() && self.output.len() - self.sent < OUTPUT_BYTES_MAX
    }

    /// What is to be sent.
    pub fn output(&self) -> &[u8] {
        &self.output[self.sent..]
    }

    /// So much of it was.
    pub fn sent(&mut self, length: usize) {
        self.sent += length;
        self.last_data = None;
        if self.sent == self.output.len() {
            self.output.clear();
            self.sent = 0;
        } else if self.sent >= OUTPUT_BYTES_MAX {
            self.output.drain(..self.sent);
            self.sent = 0;
        }
    }

    /// Nothing is to be done now: gives back memory.
    pub fn rest(&mut self) {
        if self.streams.open > 0 {
            return;
        }
        self.streams.trim();
        self.gathered.trim();
        self.decoder.trim();
        for memory in [&mut self.output, &mut self.payload] {
            if memory.is_empty() && memory.capacity() > KEPT_BYTES_MAX {
                *memory = Vec::new();
            }
        }
    }

    /// Whoever works for the connection waits, and is woken once there is something to send.
    pub fn wait(&mut self, context: &Context<'_>) {
        match &mut self.waker {
            Some(waker) => waker.clone_from(context.waker()),
            None => self.waker = Some(context.waker().clone()),
        }
        self.woken = false;
    }

    /// Tells the client to go (RFC 9113 §6.8): what it sends until it knows is still taken.
    pub fn shut_down(&mut self) {
        if self.life == Life::Open {
            self.life = Life::Announced;
            self.write_goaway(WINDOW_BYTES_MAX, Reason::NoError);
            frame::write(&mut self.output, frame::PING, 0, 0, &GOING);
        }
    }

    /// The client has closed its side, or is gone: nothing is heard of any stream any more.
    pub fn end(&mut self) {
        self.life = Life::Over;
        for key in self.streams.keys() {
            self.close(key);
        }
    }

    /// Reads of the request of `key`.
    pub fn poll_read(&mut self, key: Key, context: &Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(state) = self.streams.get(key).filter(|state| !state.broken) else { return Poll::Ready(Err(reset())) };
        let is_tunnel = matches!(state.outgoing.part, Part::Tunnel);
        match state.incoming.read(buffer, is_tunnel) {
            Got::Nothing => {
                state.incoming.wait(context);
                return Poll::Pending;
            }
            Got::End | Got::Some(0) => {}
            Got::Some(payload) => self.release_window(key, payload),
        }
        Poll::Ready(Ok(()))
    }

    /// Breaks it off, unless all of its answer went out.
    pub fn reset(&mut self, key: Key, reason: Reason) {
        if self.streams.get(key).is_some_and(|state| !state.outgoing.ended) {
            self.break_off(key, reason);
            self.notify();
        }
    }

    /// Nobody holds it any more.
    pub fn release(&mut self, key: Key) {
        let Some(state) = self.streams.get(key) else { return };
        state.held = false;
        if !state.closed {
            // Without an answer it is broken off; with one, the client need not send the rest (RFC 9113 §8.1).
            let reason = if state.outgoing.ended { Reason::NoError } else { Reason::InternalError };
            self.break_off(key, reason);
            self.notify();
        }
        self.settle(key);
    }

    /// Bytes of its answer's payload that went out, for which the client had room.
    pub fn pushed(&mut self, key: Key) -> u64 {
        self.streams.get(key).map_or(0, |state| state.outgoing.pushed)
    }

    /// Whether some of it waits until the client has room.
    pub fn holds_back(&mut self, key: Key) -> bool {
        self.streams.get(key).is_some_and(|state| !state.outgoing.waiting().is_empty())
    }

    /// A stream's mistake of the client's.
    fn mistake(&mut self, id: u32, reason: Reason) -> Result<(), Reason> {
        match self.streams.find(id) {
            Some(key) => self.break_off(key, reason),
            None => {
                self.forget(id);
                self.write_reset(id, reason);
            }
        }
        self.counts.mistakes += 1;
        self.counts.broken += 1;
        self.check_conduct()
    }

    /// Whether the client breaks off most of what it begins (CVE-2023-44487, "rapid reset"), or makes us do it
    /// (CVE-2025-8671, "MadeYouReset").
    fn check_conduct(&self) -> Result<(), Reason> {
        let Counts { streams, broken, mistakes, .. } = self.counts;
        let is_rapid = !self.is_shared && broken > BROKEN_FREE && broken > streams / 2;
        if is_rapid || mistakes > OWN_RESETS_MAX { Err(Reason::EnhanceYourCalm) } else { Ok(()) }
    }

    /// Ends a stream by RST_STREAM.
    fn break_off(&mut self, key: Key, reason: Reason) {
        let Some(state) = self.streams.get(key).filter(|state| !state.closed) else { return };
        if !state.incoming.ended {
            self.forget(key.id);
        }
        self.write_reset(key.id, reason);
        self.close(key);
    }

    /// Ends a stream whose end both sides know.
    fn close(&mut self, key: Key) {
        let Some(state) = self.streams.get(key).filter(|state| !state.closed) else { return };
        state.broken = true;
        let unread = state.empty();
        state.wake();
        self.release_connection_window(unread);
        self.settle(key);
    }

    /// Notes if a stream is over, and forgets it if nobody holds it.
    fn settle(&mut self, key: Key) {
        let Some(state) = self.streams.get(key) else { return };
        let is_over = state.broken || (state.incoming.ended && state.outgoing.ended);
        if is_over && !std::mem::replace(&mut state.closed, true) {
            self.streams.open -= 1;
        }
        let Some(state) = self.streams.get(key) else { return };
        if state.closed && !state.held {
            let unread = state.empty();
            self.streams.remove(key);
            self.release_connection_window(unread);
        }
    }

    fn forget(&mut self, id: u32) {
        if self.forgotten.len() == FORGOTTEN_MAX {
            self.forgotten.pop_front();
        }
        self.forgotten.push_back(id);
    }

    /// Wakes whoever moves the output on.
    fn notify(&mut self) {
        if !std::mem::replace(&mut self.woken, true)
            && let Some(waker) = &self.waker
        {
            waker.wake_by_ref();
        }
    }
}

/// Our preface (RFC 9113 §3.4).
fn first_words(list_bytes: u32, window_bytes: u32) -> Vec<u8> {
    let settings = [
        (setting::MAX_CONCURRENT_STREAMS, STREAMS_MAX),
        (setting::INITIAL_WINDOW_SIZE, STREAM_WINDOW_BYTES),
        (setting::MAX_HEADER_LIST_SIZE, list_bytes),
        (setting::ENABLE_CONNECT_PROTOCOL, 1),
    ];
    let payload: Vec<u8> = settings
        .into_iter()
        .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
        .collect();
    let mut out = Vec::new();
    frame::write(&mut out, frame::SETTINGS, 0, 0, &payload);
    frame::write(&mut out, frame::WINDOW_UPDATE, 0, 0, &(window_bytes - WINDOW_BYTES).to_be_bytes());
    out
}

/// What whoever uses a stream is told that was broken off.
fn reset() -> io::Error {
    ErrorKind::ConnectionReset.into()
}
