//! Bodies of both directions.

use std::ops::Range;

use crate::Refusal;
use crate::chunked::Chunked;

/// How the end of a body is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    #[default]
    None,
    /// By its length in bytes, which is not zero.
    Length(u64),
    /// By its last chunk.
    Chunked,
    /// By the end of the connection; answers only.
    UntilClose,
}

/// What was taken from the start of some bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// How many bytes.
    pub consumed: usize,
    /// Which of them are payload; empty when all are framing.
    pub payload: Range<usize>,
}

/// Reads one body, however its bytes arrive.
#[derive(Clone, Debug)]
pub struct BodyReader(State);

#[derive(Clone, Debug)]
enum State {
    Done,
    Length(u64),
    Chunked(Chunked),
    UntilClose,
}

impl BodyReader {
    /// At the start of a body.
    pub fn new(framing: Framing) -> Self {
        Self(match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunked(Chunked::new()),
            Framing::UntilClose => State::UntilClose,
        })
    }

    /// Whether the body is whole.
    pub fn is_done(&self) -> bool {
        match &self.0 {
            State::Done => true,
            State::Length(left) => *left == 0,
            State::Chunked(chunked) => chunked.is_done(),
            State::UntilClose => false,
        }
    }

    /// What is left of a body with a length; `None` if its end is told otherwise.
    pub fn remaining(&self) -> Option<u64> {
        match &self.0 {
            State::Done => Some(0),
            State::Length(left) => Some(*left),
            State::Chunked(_) | State::UntilClose => None,
        }
    }

    /// Whether it arrives in chunks.
    pub fn is_chunked(&self) -> bool {
        matches!(self.0, State::Chunked(_))
    }

    /// Takes from the start of `bytes`, at most up to the end of one run of payload. With bytes there and the body not
    /// done it takes at least one.
    ///
    /// # Errors
    /// The framing is broken; nothing after it can be understood.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Piece, Refusal> {
        let whole = |length: usize| Piece { consumed: length, payload: 0..length };
        match &mut self.0 {
            State::Done => Ok(whole(0)),
            State::Length(left) => {
                let taken = (*left).min(bytes.len() as u64);
                *left -= taken;
                Ok(whole(taken as usize))
            }
            State::Chunked(chunked) => chunked.next(bytes),
            State::UntilClose => Ok(whole(bytes.len())),
        }
    }

    /// `length` bytes of a body with a length went on without being looked at, no more than [`remaining`](Self::remaining).
    pub fn skip(&mut self, length: u64) {
        debug_assert!(self.remaining().is_some_and(|left| length <= left));
        if let State::Length(left) = &mut self.0 {
            *left = left.saturating_sub(length);
        }
    }

    /// The connection has ended.
    ///
    /// # Errors
    /// The body was not whole.
    pub fn end_of_input(&mut self) -> Result<(), Refusal> {
        if matches!(self.0, State::UntilClose) {
            self.0 = State::Done;
        }
        if self.is_done() { Ok(()) } else { Err(Refusal::bad("a body that breaks off")) }
    }

    /// The trailer section of a body in chunks that is done: lines, each with its end. Empty if there is none.
    pub fn trailers(&self) -> &[u8] {
        match &self.0 {
            State::Chunked(chunked) => chunked.trailers(),
            _ => &[],
        }
    }
}
