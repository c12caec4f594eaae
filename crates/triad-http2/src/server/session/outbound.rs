//! Frames out.

use std::io;
use std::task::{Context, Poll};

use triad_http1::Framing;

use super::stream::{Part, Towards};
use super::{Key, Session, reset};
use crate::frame::{self, END_STREAM, Reason};
use crate::limits::OUTPUT_BYTES_MAX;
use crate::server::answer::{Next, write_trailers};
use crate::text::Unfit;

impl Session {
    /// Takes all of `bytes` as the next part of an answer in HTTP/1.1, once what was written before went out.
    pub fn poll_write(&mut self, key: Key, context: &Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(state) = self.streams.get(key).filter(|state| !state.broken) else { return Poll::Ready(Err(reset())) };
        let waits = !state.outgoing.waiting().is_empty();
        if waits || self.output_room() == 0 {
            self.wait_for_room(key, context);
            return Poll::Pending;
        }
        let length = self.take_heads(key, bytes)?;
        if length < bytes.len() {
            self.take_body(key, &bytes[length..])?;
        }
        self.notify();
        Poll::Ready(Ok(bytes.len()))
    }

    /// Ready when all that was written went out.
    pub fn poll_push(&mut self, key: Key, context: &Context<'_>) -> Poll<io::Result<()>> {
        let Some(state) = self.streams.get(key).filter(|state| !state.broken) else { return Poll::Ready(Err(reset())) };
        if state.outgoing.waiting().is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.wait_for_room(key, context);
        Poll::Pending
    }

    /// The writer has ended: ends an answer that is whole, or whose end this is; breaks any other off.
    pub fn poll_shutdown(&mut self, key: Key, context: &Context<'_>) -> Poll<io::Result<()>> {
        if self.streams.get(key).is_some_and(|state| state.outgoing.ended) {
            return Poll::Ready(Ok(()));
        }
        if self.poll_push(key, context)?.is_pending() {
            return Poll::Pending;
        }
        let Some(state) = self.streams.get(key) else { return Poll::Ready(Err(reset())) };
        let is_whole = match &mut state.outgoing.part {
            Part::Head => Err(Unfit("no head")),
            Part::Tunnel => Ok(()),
            Part::Body(reader) => reader.end_of_input().map_err(Unfit::from),
        };
        let ended = is_whole.and_then(|()| self.finish(key));
        if ended.is_err() {
            self.reset(key, Reason::InternalError);
        }
        self.notify();
        Poll::Ready(ended.map_err(io::Error::from))
    }

    /// Moves on what waits, as far as there is room for it: a frame of each stream in turn.
    pub fn pump(&mut self) {
        let mut stuck = 0;
        while stuck < self.queue.len() && self.output_room() > 0 {
            let Some(key) = self.queue.pop_front() else { return };
            let Some(state) = self.streams.get(key) else { continue };
            if state.outgoing.waiting().is_empty() {
                state.outgoing.queued = false;
                state.outgoing.wake();
                continue;
            }
            if self.room <= 0 {
                self.queue.push_back(key);
                stuck += 1;
                continue;
            }
            state.outgoing.queued = false;
            self.send_waiting(key);
            self.enqueue(key);
            stuck = 0;
        }
    }

    /// Puts a stream in line whose payload waits for nothing but its turn.
    pub(super) fn enqueue(&mut self, key: Key) {
        let Some(state) = self.streams.get(key) else { return };
        let outgoing = &mut state.outgoing;
        if !outgoing.queued && outgoing.window > 0 && !outgoing.waiting().is_empty() {
            outgoing.queued = true;
            self.queue.push_back(key);
        }
    }

    pub(super) fn write_goaway(&mut self, last: u32, reason: Reason) {
        let payload = [last.to_be_bytes(), (reason as u32).to_be_bytes()].concat();
        frame::write(&mut self.output, frame::GOAWAY, 0, 0, &payload);
    }

    pub(super) fn write_reset(&mut self, id: u32, reason: Reason) {
        frame::write(&mut self.output, frame::RST_STREAM, 0, id, &(reason as u32).to_be_bytes());
    }

    /// Answers a request whose fields are too large, without reading it (RFC 6585 §5).
    pub(super) fn answer_too_large(&mut self, key: Key) {
        let start = frame::begin_headers(&mut self.output);
        self.encoder.begin(&mut self.output);
        self.encoder.status(431, &mut self.output);
        frame::end_headers(&mut self.output, start, key.id, true);
        if let Some(state) = self.streams.get(key) {
            state.outgoing.ended = true;
        }
        self.release(key);
    }

    fn output_room(&self) -> usize {
        OUTPUT_BYTES_MAX.saturating_sub(self.output().len())
    }

    /// The task of `key` is woken once there is room for what it writes next.
    fn wait_for_room(&mut self, key: Key, context: &Context<'_>) {
        let Some(state) = self.streams.get(key) else { return };
        state.outgoing.wait(context);
        if state.outgoing.waiting().is_empty() && !std::mem::replace(&mut state.outgoing.queued, true) {
            self.queue.push_back(key);
        }
    }

    /// Sends the heads that `bytes` begin with, if heads are to come; returns how many bytes those have.
    fn take_heads(&mut self, key: Key, bytes: &[u8]) -> Result<usize, Unfit> {
        let mut at = 0;
        while at < bytes.len() {
            let Some(state) = self.streams.get(key) else { break };
            let Part::Head = state.outgoing.part else { break };
            let to_head = state.incoming.head.is_some_and(|head| head.to_head);
            let (length, next) = self.answer.parse(&bytes[at..], to_head)?;
            match next {
                Next::Head => {}
                Next::Body(framing) => state.outgoing.begin_body(framing),
                Next::Tunnel => state.outgoing.part = Part::Tunnel,
            }
            let is_last = next == Next::Body(Framing::None);
            state.outgoing.ended = is_last;
            let start = frame::begin_headers(&mut self.output);
            self.answer.write(&bytes[at..][..length], &mut self.encoder, &mut self.output);
            frame::end_headers(&mut self.output, start, key.id, is_last);
            if is_last {
                self.settle(key);
            }
            at += length;
        }
        Ok(at)
    }

    /// Sends what follows the head, or keeps it until there is room.
    fn take_body(&mut self, key: Key, bytes: &[u8]) -> Result<(), Unfit> {
        let Some(state) = self.streams.get(key) else { return Ok(()) };
        let reader = match &mut state.outgoing.part {
            Part::Head => return Err(Unfit("no head")),
            Part::Tunnel => {
                self.send(key, bytes);
                return Ok(());
            }
            Part::Body(reader) => reader,
        };
        if !reader.is_chunked() {
            if reader.next(bytes)?.consumed < bytes.len() {
                return Err(Unfit("more than the message"));
            }
            self.send(key, bytes);
            return self.finish_if_over(key);
        }
        let mut payload = std::mem::take(&mut self.payload);
        payload.clear();
        let mut at = 0;
        while at < bytes.len() {
            if reader.is_done() {
                return Err(Unfit("more than the message"));
            }
            let piece = reader.next(&bytes[at..])?;
            payload.extend_from_slice(&bytes[at..][piece.payload]);
            at += piece.consumed;
        }
        self.send(key, &payload);
        self.payload = payload;
        self.finish_if_over(key)
    }

    /// Sends `payload`, as far as there is room and nobody else waits for it; keeps the rest.
    fn send(&mut self, key: Key, payload: &[u8]) {
        let mut at = 0;
        while at < payload.len() && self.queue.is_empty() {
            match self.send_frame(key, Some(&payload[at..])) {
                0 => break,
                length => at += length,
            }
        }
        if at < payload.len()
            && let Some(state) = self.streams.get(key)
        {
            state.outgoing.keep(&payload[at..]);
            self.enqueue(key);
        }
    }

    /// Sends a frame of what waits; wakes its writer when that was all.
    fn send_waiting(&mut self, key: Key) {
        self.send_frame(key, None);
        let Some(state) = self.streams.get(key).filter(|state| state.outgoing.waiting().is_empty()) else { return };
        state.outgoing.wake();
        if self.finish_if_over(key).is_err() {
            self.break_off(key, Reason::InternalError);
        }
    }

    /// Sends at most a frame of `payload`, or of what waits; returns how much.
    fn send_frame(&mut self, key: Key, payload: Option<&[u8]>) -> usize {
        let output_room = self.output_room();
        let Some(state) = self.streams.get(key) else { return 0 };
        let mut towards = Towards {
            id: key.id,
            output: &mut self.output,
            last: &mut self.last_data,
            output_room,
            room: &mut self.room,
        };
        let length = match payload {
            Some(payload) => state.outgoing.send(payload, &mut towards),
            None => state.outgoing.send_waiting(&mut towards),
        };
        if state.outgoing.ended {
            self.settle(key);
        }
        length
    }

    fn finish_if_over(&mut self, key: Key) -> Result<(), Unfit> {
        let Some(state) = self.streams.get(key) else { return Ok(()) };
        let outgoing = &state.outgoing;
        if outgoing.is_over() && !outgoing.ended && outgoing.waiting().is_empty() { self.finish(key) } else { Ok(()) }
    }

    /// Says that this was all: by trailers, or by a frame without payload.
    fn finish(&mut self, key: Key) -> Result<(), Unfit> {
        let Some(state) = self.streams.get(key) else { return Ok(()) };
        let trailers = state.outgoing.trailers();
        if trailers.is_empty() {
            frame::write(&mut self.output, frame::DATA, END_STREAM, key.id, &[]);
        } else {
            let start = frame::begin_headers(&mut self.output);
            if let Err(unfit) = write_trailers(trailers, &mut self.encoder, &mut self.output) {
                self.output.truncate(start);
                return Err(unfit);
            }
            frame::end_headers(&mut self.output, start, key.id, true);
        }
        state.outgoing.ended = true;
        self.settle(key);
        Ok(())
    }
}
