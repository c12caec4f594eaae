//! An answer's head in HTTP/1.1, as HTTP/2 says it. Pure.
//!
//! The edge wrote it: what backends said was judged by the parser of HTTP/1.1 before. So this reads lines, and looks only
//! at what HTTP/2 has rules for.

use std::ops::Range;

use memchr::memchr;
use triad_http1::{Framing, Name, trailer_lines};

use crate::hpack::{Encoder, is_name, is_value};
use crate::text::Unfit;

/// An answer's head in parts. Used again for each answer of a connection.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    status: u16,
    fields: Vec<Line>,
    chunked: bool,
    length: Option<u64>,
    /// Bytes of the head.
    bytes: usize,
}

#[derive(Debug)]
struct Line {
    name: Range<usize>,
    value: Range<usize>,
}

/// What follows a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Another head.
    Head,
    /// A body in this framing.
    Body(Framing),
    /// Another protocol's bytes.
    Tunnel,
}

impl Answer {
    /// Takes the head from the start of `bytes`, where it must be whole; returns how many bytes it has, and what follows.
    /// `to_head`: it answers a HEAD.
    pub fn parse(&mut self, bytes: &[u8], to_head: bool) -> Result<(usize, Next), Unfit> {
        self.fields.clear();
        (self.chunked, self.length) = (false, None);
        self.status = status(bytes).ok_or(Unfit("the status line"))?;
        let mut at = line_end(bytes, 0)?.1;
        loop {
            let (end, next) = line_end(bytes, at)?;
            if end == at {
                self.bytes = next;
                return Ok((next, self.next(to_head)));
            }
            self.take_line(bytes, at, end)?;
            at = next;
        }
    }

    /// Writes what was parsed from the start of `bytes`: a block of fields.
    pub fn write(&self, bytes: &[u8], encoder: &mut Encoder, out: &mut Vec<u8>) {
        let switches = self.status == 101;
        encoder.begin(out);
        // A switch of protocols is a success here (RFC 8441 §5).
        encoder.status(if switches { 200 } else { self.status }, out);
        for Line { name, value } in &self.fields {
            let name = &bytes[name.clone()];
            if !(switches && name.eq_ignore_ascii_case(b"sec-websocket-accept")) {
                encoder.field(name, &bytes[value.clone()], out);
            }
        }
    }

    /// What concerns one connection of HTTP/1.1 stays behind (RFC 9113 §8.2.2).
    fn take_line(&mut self, bytes: &[u8], start: usize, end: usize) -> Result<(), Unfit> {
        let (name, value) = field(bytes, start, end)?;
        match Name::of(&bytes[name.clone()]) {
            Name::Other | Name::Host | Name::Date => {}
            Name::ContentLength => self.length = Some(number(&bytes[value.clone()])?),
            Name::TransferEncoding => {
                self.chunked = true;
                return Ok(());
            }
            _ => return Ok(()),
        }
        self.fields.push(Line { name, value });
        Ok(())
    }

    /// RFC 9112 §6.3.
    fn next(&self, to_head: bool) -> Next {
        match self.status {
            101 => Next::Tunnel,
            ..200 => Next::Head,
            204 | 304 => Next::Body(Framing::None),
            _ if to_head => Next::Body(Framing::None),
            _ if self.chunked => Next::Body(Framing::Chunked),
            _ => Next::Body(match self.length {
                None => Framing::UntilClose,
                Some(0) => Framing::None,
                Some(length) => Framing::Length(length),
            }),
        }
    }
}

/// Writes the fields of a trailer section of HTTP/1.1: a block of fields, if they are fit.
pub(crate) fn write_trailers(section: &[u8], encoder: &mut Encoder, out: &mut Vec<u8>) -> Result<(), Unfit> {
    for (_, line) in trailer_lines(section) {
        field(line, 0, line_end(line, 0)?.0)?;
    }
    encoder.begin(out);
    for (name, line) in trailer_lines(section) {
        let value = line.get(name.len() + 1..).unwrap_or_default().trim_ascii();
        encoder.field(name, value, out);
    }
    Ok(())
}

/// The three digits of `HTTP/1.1 200 OK`.
fn status(bytes: &[u8]) -> Option<u16> {
    let digits: &[u8; 3] = bytes.strip_prefix(b"HTTP/1.1 ")?.first_chunk()?;
    let is_status = matches!(digits[0], b'1'..=b'5') && digits.iter().all(u8::is_ascii_digit);
    is_status.then(|| digits.iter().fold(0, |status, digit| status * 10 + u16::from(digit - b'0')))
}

/// Where the line that starts at `start` ends, without CR LF and with it.
fn line_end(bytes: &[u8], start: usize) -> Result<(usize, usize), Unfit> {
    let line = &bytes[start..];
    let length =
        memchr(b'\n', line).filter(|end| *end > 0 && line[end - 1] == b'\r').ok_or(Unfit("a part of a head"))?;
    Ok((start + length - 1, start + length + 1))
}

/// Name and value of a line without its end.
fn field(bytes: &[u8], start: usize, end: usize) -> Result<(Range<usize>, Range<usize>), Unfit> {
    let line = &bytes[start..end];
    let colon = memchr(b':', line).ok_or(Unfit("a line without a name"))?;
    if !is_name(&line[..colon]) {
        return Err(Unfit("the name of a header field"));
    }
    let value = line[colon + 1..].trim_ascii();
    if !is_value(value) {
        return Err(Unfit("the value of a header field"));
    }
    // Both are addresses in the same buffer; an empty value may stand anywhere.
    let at = if value.is_empty() { end } else { value.as_ptr() as usize - bytes.as_ptr() as usize };
    Ok((start..start + colon, at..at + value.len()))
}

fn number(digits: &[u8]) -> Result<u64, Unfit> {
    let number = digits.iter().try_fold(0u64, |number, digit| {
        let digit = u64::from(digit.wrapping_sub(b'0'));
        if digit < 10 { number.checked_mul(10)?.checked_add(digit) } else { None }
    });
    number.filter(|_| !digits.is_empty()).ok_or(Unfit("the length"))
}
