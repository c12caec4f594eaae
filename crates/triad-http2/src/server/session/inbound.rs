//! Frames in.

use super::{Begun, GOING, Key, Life, Session};
use crate::frame::{self, HEAD_BYTES, Head, PAYLOAD_BYTES_MAX, PREFACE, Reason, WINDOW_BYTES_MAX, setting};
use crate::hpack::{self, Field};
use crate::limits::{BLOCK_BYTES_MAX, CONTINUATIONS_MAX, EMPTY_FRAMES_MAX, STREAMS_HELD_MAX, STREAMS_MAX};
use crate::server::request::NoHead;

/// A block of fields that is not whole.
#[derive(Debug)]
pub(super) struct Block {
    stream: u32,
    /// Nothing follows it on its stream.
    is_last: bool,
    bytes: Vec<u8>,
    continuations: u32,
}

impl Session {
    /// Takes from the start of `input` what is whole; returns how many bytes that is. The rest is to be given again, with
    /// what follows; it is no more than [`HEAD_BYTES`] and [`PAYLOAD_BYTES_MAX`].
    pub fn receive(&mut self, input: &[u8]) -> usize {
        let mut at = 0;
        while self.life != Life::Over {
            let taken = if self.has_begun() { self.take_frame(&input[at..]) } else { self.take_preface(&input[at..]) };
            match taken {
                Ok(0) => return at,
                Ok(length) => at += length,
                Err(reason) => {
                    self.write_goaway(self.last, reason);
                    self.end();
                }
            }
        }
        input.len()
    }

    fn take_preface(&mut self, input: &[u8]) -> Result<usize, Reason> {
        let there = input.len().min(PREFACE.len());
        if input[..there] != PREFACE[..there] {
            return Err(Reason::ProtocolError);
        }
        if there < PREFACE.len() {
            return Ok(0);
        }
        self.begun = Begun::Preface;
        Ok(there)
    }

    fn take_frame(&mut self, input: &[u8]) -> Result<usize, Reason> {
        let Some(head) = Head::parse(input) else { return Ok(0) };
        if head.length > PAYLOAD_BYTES_MAX {
            return Err(Reason::FrameSizeError);
        }
        let Some(payload) = input[HEAD_BYTES..].get(..head.length) else { return Ok(0) };
        let is_first = self.begun == Begun::Preface;
        if is_first && (head.kind != frame::SETTINGS || head.has(frame::ACK)) {
            return Err(Reason::ProtocolError);
        }
        // Nothing may come between the parts of a block (RFC 9113 §4.3).
        if self.block.as_ref().is_some_and(|block| (frame::CONTINUATION, block.stream) != (head.kind, head.stream)) {
            return Err(Reason::ProtocolError);
        }
        self.begun = Begun::Settings;
        self.take_payload(head, payload)?;
        Ok(HEAD_BYTES + head.length)
    }

    fn take_payload(&mut self, head: Head, payload: &[u8]) -> Result<(), Reason> {
        match head.kind {
            frame::DATA => self.data(head, payload),
            frame::HEADERS => self.headers(head, payload),
            frame::CONTINUATION => self.continuation(head, payload),
            frame::RST_STREAM => self.rst_stream(head, payload),
            frame::WINDOW_UPDATE => self.window_update(head, payload),
            frame::SETTINGS => self.settings(head, payload),
            frame::PING => self.ping(head, payload),
            // Nothing was promised that it could refuse; what it asked for it still gets.
            frame::GOAWAY if head.stream == 0 && payload.len() >= 8 => Ok(()),
            frame::GOAWAY if head.stream == 0 => Err(Reason::FrameSizeError),
            frame::PRIORITY if head.stream != 0 && payload.len() == 5 => Ok(()),
            frame::PRIORITY if head.stream != 0 => self.mistake_on(head.stream, Reason::FrameSizeError),
            frame::GOAWAY | frame::PRIORITY | frame::PUSH_PROMISE => Err(Reason::ProtocolError),
            // RFC 9113 §5.5.
            _ => Ok(()),
        }
    }

    /// RFC 9113 §6.1.
    fn data(&mut self, head: Head, payload: &[u8]) -> Result<(), Reason> {
        self.check_not_idle(head.stream)?;
        if !self.window.take(payload.len()) {
            return Err(Reason::FlowControlError);
        }
        let data = head.unpadded(payload).ok_or(Reason::ProtocolError)?;
        let is_last = head.has(frame::END_STREAM);
        self.counts.empty = if data.is_empty() && !is_last { self.counts.empty + 1 } else { 0 };
        if self.counts.empty > EMPTY_FRAMES_MAX {
            return Err(Reason::EnhanceYourCalm);
        }
        let Some((key, state)) = self.streams.find(head.stream).and_then(|key| Some((key, self.streams.get(key)?)))
        else {
            self.release_connection_window(payload.len());
            return if self.is_forgotten(head.stream) {
                Ok(())
            } else {
                self.mistake(head.stream, Reason::StreamClosed)
            };
        };
        let wrong = match () {
            () if state.broken => None,
            () if state.incoming.ended => Some(Reason::StreamClosed),
            () if !state.incoming.window.take(payload.len()) => Some(Reason::FlowControlError),
            () if !state.incoming.agrees(data.len(), is_last) => Some(Reason::ProtocolError),
            () => {
                state.incoming.take(data, is_last);
                self.release_window(key, payload.len() - data.len());
                self.settle(key);
                return Ok(());
            }
        };
        self.release_connection_window(payload.len());
        wrong.map_or(Ok(()), |reason| self.mistake(head.stream, reason))
    }

    /// RFC 9113 §6.2.
    fn headers(&mut self, head: Head, payload: &[u8]) -> Result<(), Reason> {
        if head.stream.is_multiple_of(2) {
            return Err(Reason::ProtocolError);
        }
        let fragment = head.fragment(payload).ok_or(Reason::ProtocolError)?;
        let is_last = head.has(frame::END_STREAM);
        if head.has(frame::END_HEADERS) {
            return self.take_block(head.stream, is_last, fragment);
        }
        self.block = Some(Block { stream: head.stream, is_last, bytes: fragment.to_vec(), continuations: 0 });
        Ok(())
    }

    /// RFC 9113 §6.10; its flood is CVE-2024-27983.
    fn continuation(&mut self, head: Head, payload: &[u8]) -> Result<(), Reason> {
        let mut block = self.block.take().ok_or(Reason::ProtocolError)?;
        block.continuations += 1;
        block.bytes.extend_from_slice(payload);
        if block.continuations > CONTINUATIONS_MAX || block.bytes.len() > BLOCK_BYTES_MAX {
            return Err(Reason::EnhanceYourCalm);
        }
        if head.has(frame::END_HEADERS) {
            return self.take_block(block.stream, block.is_last, &block.bytes);
        }
        self.block = Some(block);
        Ok(())
    }

    /// Whatever becomes of a block, it is decoded: the next one builds on it.
    fn take_block(&mut self, id: u32, is_last: bool, block: &[u8]) -> Result<(), Reason> {
        if id > self.last {
            return self.take_request(id, is_last, block);
        }
        match self.streams.find(id) {
            Some(key) => self.take_trailers(key, is_last, block),
            None if self.is_forgotten(id) => self.read_over(block),
            None => Err(Reason::StreamClosed),
        }
    }

    fn take_request(&mut self, id: u32, is_last: bool, block: &[u8]) -> Result<(), Reason> {
        self.last = id;
        self.counts.empty = 0;
        let is_refused = self.streams.open >= STREAMS_MAX as usize || self.streams.len() >= STREAMS_HELD_MAX;
        if is_refused || matches!(self.life, Life::Going(_)) {
            self.read_over(block)?;
            self.forget_unless(is_last, id);
            self.write_reset(id, Reason::RefusedStream);
            return Ok(());
        }
        self.counts.streams += 1;
        let key = self.streams.add(id);
        let Some(state) = self.streams.get(key) else { return Err(Reason::InternalError) };
        state.outgoing.window = self.stream_room;
        let (gathered, out) = (&mut self.gathered, state.incoming.ready.clear());
        gathered.begin();
        self.decoder.decode(block, |field| gathered.take(field, out)).map_err(reason)?;
        match gathered.finish(is_last, out) {
            Ok(head) => {
                state.incoming.begin(head, is_last);
                self.accepted.push_back(key);
                Ok(())
            }
            Err(NoHead::TooLarge) => {
                state.incoming.ended = is_last;
                self.answer_too_large(key);
                Ok(())
            }
            Err(NoHead::Malformed) => {
                state.incoming.ended = is_last;
                self.mistake(id, Reason::ProtocolError)
            }
        }
    }

    fn take_trailers(&mut self, key: Key, is_last: bool, block: &[u8]) -> Result<(), Reason> {
        let Some(state) = self.streams.get(key) else { return Err(Reason::InternalError) };
        let (gathered, out) = (&mut self.gathered, &mut state.incoming.trailers);
        out.clear();
        gathered.begin();
        self.decoder.decode(block, |field| gathered.take_trailer(field, out)).map_err(reason)?;
        let wrong = match () {
            () if state.broken => return Ok(()),
            () if state.incoming.ended => Some(Reason::StreamClosed),
            () if !is_last || !gathered.are_trailers() || !state.incoming.agrees(0, true) => {
                Some(Reason::ProtocolError)
            }
            () => None,
        };
        if let Some(reason) = wrong {
            return self.mistake(key.id, reason);
        }
        state.incoming.take(&[], true);
        self.settle(key);
        Ok(())
    }

    /// Decodes a block that nobody wants.
    fn read_over(&mut self, block: &[u8]) -> Result<(), Reason> {
        let mut out = Vec::new();
        let gathered = &mut self.gathered;
        gathered.begin();
        let take = |field: Field<'_>| {
            out.clear();
            gathered.take_trailer(field, &mut out)
        };
        self.decoder.decode(block, take).map_err(reason)
    }

    /// RFC 9113 §6.4.
    fn rst_stream(&mut self, head: Head, payload: &[u8]) -> Result<(), Reason> {
        frame::number(payload).ok_or(Reason::FrameSizeError)?;
        self.check_not_idle(head.stream)?;
        let Some(key) = self.streams.find(head.stream) else { return Ok(()) };
        let is_unanswered = self.streams.get(key).is_some_and(|state| !state.closed && !state.outgoing.ended);
        self.close(key);
        if is_unanswered {
            self.counts.broken += 1;
        }
        self.check_conduct()
    }

    /// RFC 9113 §6.9.
    fn window_update(&mut self, head: Head, payload: &[u8]) -> Result<(), Reason> {
        let more = frame::number(payload).ok_or(Reason::FrameSizeError)? & WINDOW_BYTES_MAX;
        if head.stream == 0 {
            self.room += i64::from(more);
            return match more {
                0 => Err(Reason::ProtocolError),
                _ if self.room > WINDOW_BYTES_MAX.into() => Err(Reason::FlowControlError),
                _ => Ok(()),
            };
        }
        self.check_not_idle(head.stream)?;
        let Some((key, state)) = self.streams.find(head.stream).and_then(|key| Some((key, self.streams.get(key)?)))
        else {
            return Ok(());
        };
        if state.closed {
            return Ok(());
        }
        state.outgoing.window += i64::from(more);
        match more {
            0 => self.mistake(head.stream, Reason::ProtocolError),
            _ if state.outgoing.window > WINDOW_BYTES_MAX.into() => self.mistake(head.stream, Reason::FlowControlError),
            _ => {
                self.enqueue(key);
                Ok(())
            }
        }
    }

    /// RFC 9113 §6.5.
    fn settings(&mut self, head: Head, payload: &[u8]) -> Result<(), Reason> {
        if head.stream != 0 {
            return Err(Reason::ProtocolError);
        }
        let (settings, []) = payload.as_chunks::<6>() else { return Err(Reason::FrameSizeError) };
        if head.has(frame::ACK) {
            return if settings.is_empty() { Ok(()) } else { Err(Reason::FrameSizeError) };
        }
        // Of many only the last one counts, or a frame full of them would be a lot of work.
        let mut stream_room = self.stream_room;
        for [name @ .., a, b, c, d] in settings {
            let value = u32::from_be_bytes([*a, *b, *c, *d]);
            match u16::from_be_bytes(*name) {
                setting::HEADER_TABLE_SIZE => self.encoder.resize(value as usize),
                setting::ENABLE_PUSH | setting::ENABLE_CONNECT_PROTOCOL if value > 1 => {
                    return Err(Reason::ProtocolError);
                }
                setting::INITIAL_WINDOW_SIZE if value > WINDOW_BYTES_MAX => return Err(Reason::FlowControlError),
                setting::INITIAL_WINDOW_SIZE => stream_room = value.into(),
                // We send no larger frames than everybody takes.
                setting::MAX_FRAME_SIZE if !(1 << 14..1 << 24).contains(&value) => return Err(Reason::ProtocolError),
                _ => {}
            }
        }
        self.set_stream_room(stream_room)?;
        frame::write(&mut self.output, frame::SETTINGS, frame::ACK, 0, &[]);
        Ok(())
    }

    /// RFC 9113 §6.9.2.
    fn set_stream_room(&mut self, stream_room: i64) -> Result<(), Reason> {
        let more = stream_room - std::mem::replace(&mut self.stream_room, stream_room);
        if more == 0 {
            return Ok(());
        }
        for state in self.streams.iter_mut() {
            state.outgoing.window += more;
            if state.outgoing.window > WINDOW_BYTES_MAX.into() {
                return Err(Reason::FlowControlError);
            }
        }
        for key in self.streams.keys() {
            self.enqueue(key);
        }
        Ok(())
    }

    /// RFC 9113 §6.7.
    fn ping(&mut self, head: Head, payload: &[u8]) -> Result<(), Reason> {
        if head.stream != 0 {
            return Err(Reason::ProtocolError);
        }
        if payload.len() != GOING.len() {
            return Err(Reason::FrameSizeError);
        }
        if !head.has(frame::ACK) {
            frame::write(&mut self.output, frame::PING, frame::ACK, 0, payload);
        } else if payload == GOING && self.life == Life::Announced {
            self.life = Life::Going(self.last);
            self.write_goaway(self.last, Reason::NoError);
        }
        Ok(())
    }

    /// Nothing but HEADERS may come on a stream that was not begun, and all that clients begin are odd (RFC 9113 §5.1).
    fn check_not_idle(&self, id: u32) -> Result<(), Reason> {
        if id.is_multiple_of(2) || id > self.last { Err(Reason::ProtocolError) } else { Ok(()) }
    }

    fn mistake_on(&mut self, id: u32, reason: Reason) -> Result<(), Reason> {
        self.check_not_idle(id)?;
        self.mistake(id, reason)
    }

    fn is_forgotten(&self, id: u32) -> bool {
        self.forgotten.contains(&id)
    }

    fn forget_unless(&mut self, is_last: bool, id: u32) {
        if !is_last {
            self.forget(id);
        }
    }

    /// Payload of `length` bytes is gone from the stream of `key`.
    pub(super) fn release_window(&mut self, key: Key, length: usize) {
        self.release_connection_window(length);
        let Some(state) = self.streams.get(key).filter(|state| !state.incoming.ended) else { return };
        if let Some(more) = state.incoming.window.release(length) {
            frame::write(&mut self.output, frame::WINDOW_UPDATE, 0, key.id, &more.to_be_bytes());
            self.notify();
        }
    }

    pub(super) fn release_connection_window(&mut self, length: usize) {
        if let Some(more) = self.window.release(length).filter(|_| self.life != Life::Over) {
            frame::write(&mut self.output, frame::WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
            self.notify();
        }
    }
}

/// RFC 9113 §4.3.
fn reason(error: hpack::Error) -> Reason {
    match error {
        hpack::Error::Unwanted => Reason::EnhanceYourCalm,
        _ => Reason::CompressionError,
    }
}
