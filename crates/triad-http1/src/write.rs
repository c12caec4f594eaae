//! Heads and chunks as they go on: written once, into a buffer that is used again.

use std::io::Write;

use crate::{Fields, Framing, Name};

/// Writes one head at the end of a buffer. It is whole after [`HeadWriter::finish`].
#[derive(Debug)]
pub struct HeadWriter<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> HeadWriter<'a> {
    /// A request's head; `target` may come in parts.
    pub fn request(out: &'a mut Vec<u8>, method: &[u8], target: &[&[u8]]) -> Self {
        out.extend_from_slice(method);
        out.push(b' ');
        target.iter().for_each(|part| out.extend_from_slice(part));
        out.extend_from_slice(b" HTTP/1.1\r\n");
        Self { out }
    }

    /// An answer's head.
    pub fn response(out: &'a mut Vec<u8>, status: u16, reason: &[u8]) -> Self {
        if (status, reason) == (200, b"OK") {
            out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
            return Self { out };
        }
        out.extend_from_slice(b"HTTP/1.1 ");
        write_number(out, status.into(), 3);
        out.push(b' ');
        out.extend_from_slice(reason);
        out.extend_from_slice(b"\r\n");
        Self { out }
    }

    /// The fields of `bytes` that concern more than one connection and that `keep` wants, byte for byte.
    ///
    /// Never passed: what concerns one connection, whether `Connection` names it or not (RFC 9110 §7.6.1), and what
    /// this crate writes anew, namely the framing. `Expect` is between us and the client, too.
    pub fn pass(&mut self, fields: &Fields, bytes: &[u8], mut keep: impl FnMut(Name, &[u8]) -> bool) {
        let mut run = None;
        for field in &fields.list {
            let name = field.name.of_bytes(bytes);
            let start = field.name.range().start;
            let passes = matches!(field.kind, Name::Other | Name::Host | Name::Date)
                && !fields.is_named_by_connection(bytes, field.kind, name)
                && keep(field.kind, name);
            match (passes, run) {
                (true, None) => run = Some(start),
                (false, Some(from)) => {
                    self.out.extend_from_slice(&bytes[from..start]);
                    run = None;
                }
                _ => {}
            }
        }
        if let Some(from) = run {
            self.out.extend_from_slice(&bytes[from..fields.end]);
        }
    }

    /// A field whose value comes in parts. Neither name nor value is checked.
    #[inline]
    pub fn field(&mut self, name: &str, value: &[&[u8]]) {
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b": ");
        value.iter().for_each(|part| self.out.extend_from_slice(part));
        self.out.extend_from_slice(b"\r\n");
    }

    /// A field that is a line already, with its end. It is not checked.
    pub fn line(&mut self, line: &[u8]) {
        self.out.extend_from_slice(line);
    }

    /// `Content-Length` of a number of bytes.
    pub fn content_length(&mut self, length: u64) {
        self.out.extend_from_slice(b"content-length: ");
        write_number(self.out, length, 1);
        self.out.extend_from_slice(b"\r\n");
    }

    /// The fields that tell the length of the body, if there is any.
    pub fn framing(&mut self, framing: Framing) {
        match framing {
            Framing::Length(length) => self.content_length(length),
            Framing::Chunked => self.out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            Framing::None | Framing::UntilClose => {}
        }
    }

    /// Ends the head.
    pub fn finish(self) {
        self.out.extend_from_slice(b"\r\n");
    }
}

/// Writes a chunk with `payload`; nothing for an empty one, which would be the last.
pub fn write_chunk(out: &mut Vec<u8>, payload: &[u8]) {
    if payload.is_empty() {
        return;
    }
    write!(out, "{:x}\r\n", payload.len()).expect("a buffer takes all");
    out.extend_from_slice(payload);
    out.extend_from_slice(b"\r\n");
}

/// Writes the last chunk with `trailers`: whole lines, each with its end.
pub fn write_last_chunk<'a>(out: &mut Vec<u8>, trailers: impl Iterator<Item = &'a [u8]>) {
    out.extend_from_slice(b"0\r\n");
    trailers.for_each(|line| out.extend_from_slice(line));
    out.extend_from_slice(b"\r\n");
}

/// Writes decimal digits, at least `width` of them, without the machinery of formatting.
pub fn write_number(out: &mut Vec<u8>, mut number: u64, width: usize) {
    if number < 10 && width <= 1 {
        return out.push(b'0' + number as u8);
    }
    let mut digits = [b'0'; 20];
    let mut start = digits.len();
    while number > 0 {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    out.extend_from_slice(&digits[start.min(digits.len().saturating_sub(width))..]);
}

#[cfg(test)]
mod tests {
    use super::write_number;

    #[test]
    fn numbers_are_as_wide_as_asked_or_wider() {
        for (number, width, text) in
            [(0, 1, "0"), (7, 3, "007"), (1234, 3, "1234"), (u64::MAX, 1, "18446744073709551615")]
        {
            let mut out = Vec::new();
            write_number(&mut out, number, width);
            assert_eq!(out, text.as_bytes());
        }
    }
}
