//! One stream: what came of its request and was not read, what was written of its answer and did not go out.

use std::task::{Context, Waker};

use tokio::io::ReadBuf;
use triad_http1::{BodyReader, Framing, trailer_lines, write_chunk, write_last_chunk};

use super::window::Window;
use crate::frame::{self, END_STREAM, HEAD_BYTES, PAYLOAD_BYTES_MAX};
use crate::limits::STREAM_WINDOW_BYTES;
use crate::receive::{Body, Ready};
use crate::server::request::Head;

/// Room for a chunk's framing: its size in digits, and two line ends.
const CHUNK_FRAMING_BYTES: usize = 16 + 4;
/// Bytes of a chunk that is put together because its reader has little room.
const SMALL_CHUNK_BYTES: usize = 1024;
/// Bytes of memory that a place keeps in each buffer for its next stream.
const KEPT_BYTES_MAX: usize = 2 * 1024;

/// A stream. Its own number is 0 where there is none.
#[derive(Debug, Default)]
pub(super) struct State {
    pub id: u32,
    /// A task has it.
    pub held: bool,
    /// Neither end says any more on it.
    pub closed: bool,
    /// It was broken off, by whichever end.
    pub broken: bool,
    pub incoming: Incoming,
    pub outgoing: Outgoing,
}

/// A request.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    pub head: Option<Head>,
    /// In HTTP/1.1, to be read before anything else.
    pub ready: Ready,
    /// Payload behind that.
    body: Vec<u8>,
    taken: usize,
    /// Bytes of it that its sender owes.
    left: Option<u64>,
    /// Lines.
    pub trailers: Vec<u8>,
    /// Its sender has said that this was all.
    pub ended: bool,
    /// So has `ready`.
    told: bool,
    pub window: Window,
    waker: Option<Waker>,
}

/// What came of reading.
pub(super) enum Got {
    /// Some, of which so much was payload.
    Some(usize),
    /// Nothing will come any more.
    End,
    /// Nothing yet.
    Nothing,
}

/// An answer.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    pub part: Part,
    /// Bytes that its reader has room for.
    pub window: i64,
    /// Payload that did not go out.
    waiting: Vec<u8>,
    gone: usize,
    /// Whether it stands in line for the connection.
    pub queued: bool,
    /// Bytes of payload that went out.
    pub pushed: u64,
    /// Whether all of it went out.
    pub ended: bool,
    waker: Option<Waker>,
}

/// Where payload goes.
pub(super) struct Towards<'a> {
    /// The stream's number.
    pub id: u32,
    pub output: &'a mut Vec<u8>,
    /// The last frame of payload in there, as long as nothing of it went out.
    pub last: &'a mut Option<usize>,
    /// Bytes that it has room for.
    pub output_room: usize,
    /// Bytes that the client has room for on all streams.
    pub room: &'a mut i64,
}

/// What is written next.
#[derive(Debug, Default)]
pub(super) enum Part {
    #[default]
    Head,
    Body(BodyReader),
    /// Another protocol's bytes.
    Tunnel,
}

impl Towards<'_> {
    /// The frame that more payload goes into: the last of all, if it is this stream's and has room. A client counts
    /// small frames that it has not read, and ends a connection with too many, so small writes make no frames of their
    /// own while they wait together. Returns its place, and the length of its payload.
    fn open_frame(&self) -> Option<(usize, usize)> {
        let start = (*self.last)?;
        let head = frame::Head::parse(&self.output[start..])?;
        let is_last = start + HEAD_BYTES + head.length == self.output.len();
        (is_last && head.stream == self.id && head.length < PAYLOAD_BYTES_MAX).then_some((start, head.length))
    }
}

impl State {
    /// For a new stream.
    pub fn begin(&mut self, id: u32) {
        (self.id, self.held, self.closed, self.broken) = (id, false, false, false);
        let Incoming { ready, body, trailers, .. } = std::mem::take(&mut self.incoming);
        self.incoming =
            Incoming { ready, body, trailers, window: Window::new(STREAM_WINDOW_BYTES), ..Incoming::default() };
        let Outgoing { waiting, .. } = std::mem::take(&mut self.outgoing);
        self.outgoing = Outgoing { waiting, ..Outgoing::default() };
    }

    /// No stream any more.
    pub fn end(&mut self) {
        self.id = 0;
        self.empty();
        (self.incoming.waker, self.outgoing.waker) = (None, None);
        self.outgoing.part = Part::Head;
    }

    /// Throws away what nobody will read; returns bytes of payload that came.
    pub fn empty(&mut self) -> usize {
        let (incoming, outgoing) = (&mut self.incoming, &mut self.outgoing);
        let unread = incoming.body.len() - incoming.taken;
        (incoming.taken, outgoing.gone) = (0, 0);
        for memory in [incoming.ready.clear(), &mut incoming.body, &mut incoming.trailers, &mut outgoing.waiting] {
            memory.clear();
            if memory.capacity() > KEPT_BYTES_MAX {
                *memory = Vec::new();
            }
        }
        unread
    }

    /// Wakes whoever waits for it.
    pub fn wake(&mut self) {
        self.incoming.wake();
        self.outgoing.wake();
    }
}

impl Incoming {
    /// A request with `head`, which stands in `ready`.
    pub fn begin(&mut self, head: Head, is_whole: bool) {
        self.left = head.length;
        self.head = Some(head);
        self.ended = is_whole;
        self.told = head.body == Body::None;
    }

    /// Whether so much more payload is what its sender spoke of (RFC 9113 §8.1.1).
    pub fn agrees(&self, length: usize, is_last: bool) -> bool {
        let length = length as u64;
        self.left.is_none_or(|left| if is_last { left == length } else { left >= length })
    }

    /// Takes payload.
    pub fn take(&mut self, payload: &[u8], is_last: bool) {
        self.left = self.left.map(|left| left.saturating_sub(payload.len() as u64));
        if self.taken > self.body.len() / 2 {
            self.body.drain(..self.taken);
            self.taken = 0;
        }
        self.body.extend_from_slice(payload);
        self.ended = is_last;
        self.wake();
    }

    /// Reads. `is_tunnel`: the answer has switched to another protocol.
    pub fn read(&mut self, buffer: &mut ReadBuf<'_>, is_tunnel: bool) -> Got {
        if !self.ready.is_empty() {
            self.ready.give(buffer);
            return Got::Some(0);
        }
        let body = self.head.map_or(Body::None, |head| head.body);
        if self.told || (body == Body::Tunnel && !is_tunnel) {
            return if self.told && body == Body::Tunnel { Got::End } else { Got::Nothing };
        }
        if self.taken < self.body.len() {
            return Got::Some(self.read_body(buffer, body == Body::Chunked));
        }
        if !self.ended {
            return Got::Nothing;
        }
        self.told = true;
        if body == Body::Chunked {
            let lines = trailer_lines(&self.trailers).map(|(_, line)| line);
            write_last_chunk(self.ready.clear(), lines);
        }
        self.read(buffer, is_tunnel)
    }

    /// Gives payload to the reader; returns how much.
    fn read_body(&mut self, buffer: &mut ReadBuf<'_>, in_chunks: bool) -> usize {
        let rest = &self.body[self.taken..];
        let room = buffer.remaining();
        let length = if !in_chunks {
            let length = rest.len().min(room);
            buffer.put_slice(&rest[..length]);
            length
        } else if room > 2 * CHUNK_FRAMING_BYTES {
            let length = rest.len().min(room - CHUNK_FRAMING_BYTES);
            put_chunk(buffer, &rest[..length]);
            length
        } else {
            let length = rest.len().min(SMALL_CHUNK_BYTES);
            write_chunk(self.ready.clear(), &rest[..length]);
            self.ready.give(buffer);
            length
        };
        self.taken += length;
        if self.taken == self.body.len() {
            self.body.clear();
            self.taken = 0;
        }
        length
    }

    /// Wakes the reader when something has come.
    pub fn wait(&mut self, context: &Context<'_>) {
        wait(&mut self.waker, context);
    }

    pub fn wake(&mut self) {
        self.waker.take().into_iter().for_each(Waker::wake);
    }
}

impl Outgoing {
    /// Payload that did not go out.
    pub fn waiting(&self) -> &[u8] {
        &self.waiting[self.gone..]
    }

    /// More of it.
    pub fn keep(&mut self, payload: &[u8]) {
        self.waiting.extend_from_slice(payload);
    }

    /// Sends at most a frame of it; returns how much.
    pub fn send_waiting(&mut self, towards: &mut Towards<'_>) -> usize {
        let waiting = std::mem::take(&mut self.waiting);
        let length = self.send(&waiting[self.gone..], towards);
        self.waiting = waiting;
        self.gone += length;
        if self.gone == self.waiting.len() {
            self.waiting.clear();
            self.gone = 0;
        }
        length
    }

    /// Sends at most a frame of `payload`, which is all that was written and did not go out; returns how much.
    pub fn send(&mut self, payload: &[u8], towards: &mut Towards<'_>) -> usize {
        let windows = self.window.min(*towards.room).max(0) as usize;
        let frame = towards.open_frame();
        let frame_room = PAYLOAD_BYTES_MAX - frame.map_or(0, |(_, length)| length);
        let length = payload.len().min(frame_room).min(windows).min(towards.output_room);
        if length == 0 {
            return 0;
        }
        self.window -= length as i64;
        *towards.room -= length as i64;
        self.pushed += length as u64;
        self.ended = length == payload.len() && self.is_over() && self.trailers().is_empty();
        let flags = if self.ended { END_STREAM } else { 0 };
        let payload = &payload[..length];
        match frame {
            Some((start, _)) => frame::extend(towards.output, start, flags, payload),
            None => {
                *towards.last = Some(towards.output.len());
                frame::write(towards.output, frame::DATA, flags, towards.id, payload);
            }
        }
        length
    }

    /// A head went out; a body in `framing` follows.
    pub fn begin_body(&mut self, framing: Framing) {
        self.part = Part::Body(BodyReader::new(framing));
    }

    /// Whether all was written.
    pub fn is_over(&self) -> bool {
        matches!(&self.part, Part::Body(reader) if reader.is_done())
    }

    /// Lines behind the body.
    pub fn trailers(&self) -> &[u8] {
        if let Part::Body(reader) = &self.part { reader.trailers() } else { &[] }
    }

    /// Wakes the writer when there is room.
    pub fn wait(&mut self, context: &Context<'_>) {
        wait(&mut self.waker, context);
    }

    pub fn wake(&mut self) {
        self.waker.take().into_iter().for_each(Waker::wake);
    }
}

fn wait(waker: &mut Option<Waker>, context: &Context<'_>) {
    match waker {
        Some(waker) => waker.clone_from(context.waker()),
        None => *waker = Some(context.waker().clone()),
    }
}

/// Puts a chunk, for which there is room, into `buffer`.
fn put_chunk(buffer: &mut ReadBuf<'_>, payload: &[u8]) {
    let mut digits = [0; 16];
    let mut start = digits.len();
    let mut rest = payload.len();
    while rest > 0 {
        start -= 1;
        digits[start] = b"0123456789abcdef"[rest % 16];
        rest /= 16;
    }
    [&digits[start..], b"\r\n", payload, b"\r\n"].into_iter().for_each(|part| buffer.put_slice(part));
}
