//! Chunks (RFC 9112 §7.1): strict about sizes, indifferent to how the bytes arrive.
//!
//! A size is bare digits, directly followed by CR LF or by an extension. Extensions are read over, within a bound.

use crate::limits::{
    CHUNK_EXTENSION_BYTES_MAX, CHUNK_SIZE_DIGITS_MAX, LENGTH_BYTES_MAX, TRAILER_BYTES_MAX, TRAILERS_MAX,
};
use crate::{Name, Piece, Refusal};

#[derive(Clone, Debug)]
pub(crate) struct Chunked {
    state: State,
    size: u64,
    digits: usize,
    extension_bytes: usize,
    trailers: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    Extension,
    SizeEnd,
    Data,
    DataEnd,
    DataLineFeed,
    /// At the start of a line of the trailer section.
    TrailerStart,
    Trailer,
    LastLineFeed,
    Done,
    /// After a refusal nothing is understood any more.
    Broken(Refusal),
}

const BAD_SIZE: Refusal = Refusal::bad("the size of a chunk");
const BAD_END: Refusal = Refusal::bad("the end of a chunk");
const BAD_TRAILERS: Refusal = Refusal::bad("the trailer section");

impl Chunked {
    pub fn new() -> Self {
        Self { state: State::Size, size: 0, digits: 0, extension_bytes: 0, trailers: Vec::new() }
    }

    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Lines of the trailer section, each with its end; whole once the body is done.
    pub fn trailers(&self) -> &[u8] {
        &self.trailers
    }

    /// Takes from the start of `bytes` up to the end of the first piece of payload in them, or all.
    pub fn next(&mut self, bytes: &[u8]) -> Result<Piece, Refusal> {
        let mut at = 0;
        while at < bytes.len() && self.state != State::Done {
            if self.state == State::Data {
                let length = self.size.min((bytes.len() - at) as u64);
                self.size -= length;
                if self.size == 0 {
                    self.state = State::DataEnd;
                }
                let end = at + length as usize;
                return Ok(Piece { consumed: end, payload: at..end });
            }
            self.state = self.step(bytes[at]).unwrap_or_else(State::Broken);
            if let State::Broken(refusal) = self.state {
                return Err(refusal);
            }
            at += 1;
        }
        Ok(Piece { consumed: at, payload: at..at })
    }

    fn step(&mut self, byte: u8) -> Result<State, Refusal> {
        match (self.state, byte) {
            (State::Size, b'\r') if self.digits > 0 => Ok(State::SizeEnd),
            (State::Size, b';') if self.digits > 0 => Ok(State::Extension),
            (State::Size, digit) => self.digit(digit),
            (State::Extension, b'\r') => Ok(State::SizeEnd),
            (State::Extension, byte) => self.extension(byte),
            (State::SizeEnd, b'\n') => {
                self.digits = 0;
                Ok(if self.size == 0 { State::TrailerStart } else { State::Data })
            }
            (State::SizeEnd, _) => Err(BAD_SIZE),
            (State::DataEnd, b'\r') => Ok(State::DataLineFeed),
            (State::DataLineFeed, b'\n') => Ok(State::Size),
            (State::DataEnd | State::DataLineFeed, _) => Err(BAD_END),
            (State::TrailerStart, b'\r') => Ok(State::LastLineFeed),
            (State::TrailerStart | State::Trailer, byte) => self.trailer(byte),
            (State::LastLineFeed, b'\n') => self.check_trailers().map(|()| State::Done),
            (State::LastLineFeed, _) => Err(BAD_TRAILERS),
            (State::Data | State::Done | State::Broken(_), _) => Ok(self.state),
        }
    }

    fn digit(&mut self, digit: u8) -> Result<State, Refusal> {
        let value = (digit as char).to_digit(16).ok_or(BAD_SIZE)?;
        self.digits += 1;
        self.size = if self.digits == 1 { 0 } else { self.size };
        if self.digits > CHUNK_SIZE_DIGITS_MAX || self.size > LENGTH_BYTES_MAX >> 4 {
            return Err(BAD_SIZE);
        }
        self.size = self.size << 4 | u64::from(value);
        Ok(State::Size)
    }

    fn extension(&mut self, byte: u8) -> Result<State, Refusal> {
        self.extension_bytes += 1;
        let is_text = byte == b' ' || byte == b'\t' || byte.is_ascii_graphic();
        match is_text && self.extension_bytes <= CHUNK_EXTENSION_BYTES_MAX {
            true => Ok(State::Extension),
            false => Err(Refusal::bad("a chunk's extension")),
        }
    }

    fn trailer(&mut self, byte: u8) -> Result<State, Refusal> {
        if self.trailers.len() == TRAILER_BYTES_MAX {
            return Err(Refusal::new(431, "the trailer section is too large"));
        }
        self.trailers.push(byte);
        match byte {
            b'\n' if self.trailers.ends_with(b"\r\n") => Ok(State::TrailerStart),
            b'\n' => Err(BAD_TRAILERS),
            _ => Ok(State::Trailer),
        }
    }

    /// Fields that decide on framing or routing have no place behind a body (RFC 9110 §6.5.1).
    fn check_trailers(&mut self) -> Result<(), Refusal> {
        if self.trailers.is_empty() {
            return Ok(());
        }
        self.trailers.extend(b"\r\n");
        let mut headers = [httparse::EMPTY_HEADER; TRAILERS_MAX];
        let fields = match httparse::parse_headers(&self.trailers, &mut headers) {
            Ok(httparse::Status::Complete((length, fields))) if length == self.trailers.len() => fields,
            Err(httparse::Error::TooManyHeaders) => return Err(Refusal::new(431, "too many trailer fields")),
            _ => return Err(BAD_TRAILERS),
        };
        if fields.iter().any(|field| Name::of(field.name.as_bytes()) != Name::Other) {
            return Err(BAD_TRAILERS);
        }
        self.trailers.truncate(self.trailers.len() - b"\r\n".len());
        Ok(())
    }
}

/// The fields of a trailer section that a [`crate::BodyReader`] has accepted: their names, and their whole lines.
pub fn trailer_lines(section: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    section.split_inclusive(|byte| *byte == b'\n').map(|line| {
        let name_end = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        (&line[..name_end], line)
    })
}
