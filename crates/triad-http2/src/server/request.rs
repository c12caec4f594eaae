//! A request's fields as HTTP/1.1 would have sent them. Pure.
//!
//! Only what HTTP/2 has rules for is judged here (RFC 9113 §8): what the parser of HTTP/1.1 judges is written as it came.
//! Two hosts that disagree become two `Host` fields, a CONNECT becomes a CONNECT, and both are refused there.

use std::ops::Range;

use crate::hpack::{Field, Kind};
use crate::receive::Body;
use crate::text::write_field;

/// What every client of WebSocket over HTTP/1.1 sends, and none over HTTP/2 (RFC 8441 §5). Any 16 bytes do: they prove
/// that the server speaks WebSocket. These are the example of RFC 6455 §1.2.
const WEBSOCKET_KEY: &[u8] = b"dGhlIHNhbXBsZSBub25jZQ==";
/// What a field counts beside its texts (RFC 9113 §6.5.2).
const FIELD_OVERHEAD: usize = 32;
/// Times the bound at which decoding ends: up to there it goes on, so that the other streams can be understood.
const ABUSE: usize = 4;
/// Digits of a length.
const LENGTH_DIGITS_MAX: usize = 19;

/// Fields that were gathered. Used again for each block of a connection.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// What counts towards the bound, in bytes.
    list_bytes: usize,
    list_bytes_max: usize,
    malformed: bool,
    /// Texts of pseudo fields.
    texts: Vec<u8>,
    method: Range<usize>,
    scheme: Range<usize>,
    authority: Range<usize>,
    path: Range<usize>,
    protocol: Range<usize>,
    /// Pseudo fields are over.
    begun: bool,
    length: Option<u64>,
    /// Joined.
    cookies: Vec<u8>,
}

/// A head, written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub body: Body,
    /// Bytes of the body, if its sender tells.
    pub length: Option<u64>,
    /// Whether its answer has no body.
    pub to_head: bool,
}

/// Why it is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoHead {
    TooLarge,
    /// RFC 9113 §8.1.1, or HTTP/1.1 has no words for it.
    Malformed,
}

impl Gathered {
    /// With a bound on a list of fields, in bytes.
    pub fn new(list_bytes_max: u32) -> Self {
        Self { list_bytes_max: list_bytes_max as usize, ..Self::default() }
    }

    /// Before the first field of a block.
    pub fn begin(&mut self) {
        self.texts.clear();
        self.cookies.clear();
        (self.list_bytes, self.malformed, self.begun, self.length) = (0, false, false, None);
        for text in [&mut self.method, &mut self.scheme, &mut self.authority, &mut self.path, &mut self.protocol] {
            *text = 0..0;
        }
    }

    /// Takes the next field of a request, and writes it to `out`; false if there are far too many.
    pub fn take(&mut self, field: Field<'_>, out: &mut Vec<u8>) -> bool {
        if !self.count(field) {
            return !self.is_abuse();
        }
        self.malformed |= !field.fits;
        if matches!(field.kind, Kind::Method | Kind::Scheme | Kind::Authority | Kind::Path | Kind::Protocol) {
            self.take_pseudo(field);
            return true;
        }
        if !self.begun {
            self.begin_fields(out);
        }
        match field.kind {
            Kind::Cookie => self.take_cookie(field.value),
            Kind::Host if field.value == &self.texts[self.authority.clone()] => {}
            Kind::ContentLength => {
                self.take_length(field.value);
                write_field(out, field.name, field.value);
            }
            _ => write_field(out, field.name, field.value),
        }
        true
    }

    /// Takes the next field behind a body, and writes it to `out`; false if there are far too many.
    pub fn take_trailer(&mut self, field: Field<'_>, out: &mut Vec<u8>) -> bool {
        if !self.count(field) {
            return !self.is_abuse();
        }
        let is_pseudo = field.name.starts_with(b":");
        self.malformed |= !field.fits || is_pseudo;
        write_field(out, field.name, field.value);
        true
    }

    /// Whether trailers that were taken are fit to be passed on.
    pub fn are_trailers(&self) -> bool {
        !self.malformed && !self.is_too_large()
    }

    /// Ends the head. `is_whole`: no body follows.
    pub fn finish(&mut self, is_whole: bool, out: &mut Vec<u8>) -> Result<Head, NoHead> {
        if self.is_too_large() {
            return Err(NoHead::TooLarge);
        }
        if !self.begun {
            self.begin_fields(out);
        }
        if self.malformed || (is_whole && self.length.is_some_and(|length| length > 0)) {
            return Err(NoHead::Malformed);
        }
        let method = &self.texts[self.method.clone()];
        let websocket = self.is_websocket();
        let body = match (websocket, is_whole) {
            (true, _) => Body::Tunnel,
            (false, true) => Body::None,
            (false, false) if self.length.is_some() => Body::Length,
            (false, false) => Body::Chunked,
        };
        if !self.cookies.is_empty() {
            write_field(out, b"cookie", &self.cookies);
        }
        match body {
            Body::Chunked => out.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            // Servers of HTTP/1.1 may ask for a length where a method has a body by its meaning (RFC 9110 §8.6).
            Body::None if self.length.is_none() && matches!(method, b"POST" | b"PUT" | b"PATCH") => {
                out.extend_from_slice(b"content-length: 0\r\n");
            }
            _ => {}
        }
        if websocket {
            write_field(out, b"upgrade", b"websocket");
            write_field(out, b"sec-websocket-key", WEBSOCKET_KEY);
        }
        out.extend_from_slice(if websocket {
            b"connection: close, upgrade\r\n\r\n"
        } else {
            b"connection: close\r\n\r\n"
        });
        Ok(Head { body, length: self.length, to_head: method == b"HEAD" })
    }

    /// Gives back memory that one large block took.
    pub fn trim(&mut self) {
        const KEPT_BYTES_MAX: usize = 4 * 1024;
        for text in [&mut self.texts, &mut self.cookies] {
            if text.capacity() > KEPT_BYTES_MAX {
                *text = Vec::new();
            }
        }
    }

    /// Whether the field is still within the bound.
    fn count(&mut self, field: Field<'_>) -> bool {
        self.list_bytes += field.name.len() + field.value.len() + FIELD_OVERHEAD;
        !self.is_too_large()
    }

    fn is_too_large(&self) -> bool {
        self.list_bytes > self.list_bytes_max
    }

    fn is_abuse(&self) -> bool {
        self.list_bytes > self.list_bytes_max * ABUSE
    }

    fn take_pseudo(&mut self, field: Field<'_>) {
        let start = self.texts.len();
        self.texts.extend_from_slice(field.value);
        let place = match field.kind {
            Kind::Method => &mut self.method,
            Kind::Scheme => &mut self.scheme,
            Kind::Authority => &mut self.authority,
            Kind::Path => &mut self.path,
            _ => &mut self.protocol,
        };
        // None is empty, or it does not fit.
        self.malformed |= self.begun || place.start < place.end;
        *place = start..self.texts.len();
    }

    /// The request line, and `:authority` as the host (RFC 9113 §8.3.1).
    fn begin_fields(&mut self, out: &mut Vec<u8>) {
        self.begun = true;
        let is_connect = &self.texts[self.method.clone()] == b"CONNECT";
        let is_extended = !self.protocol.is_empty();
        self.malformed |= self.method.is_empty() || (is_extended && !is_connect);
        self.malformed |= match is_connect && !is_extended {
            true => !self.scheme.is_empty() || !self.path.is_empty() || self.authority.is_empty(),
            false => !self.has_target(),
        };
        let (method, target): (&[u8], _) = match is_connect {
            true if self.is_websocket() => (b"GET", &self.path),
            true => (b"CONNECT", &self.authority),
            false => (&self.texts[self.method.clone()], &self.path),
        };
        let target = &self.texts[target.clone()];
        [method, b" ", target, b" HTTP/1.1\r\n"].iter().for_each(|part| out.extend_from_slice(part));
        if !self.authority.is_empty() {
            write_field(out, b"host", &self.texts[self.authority.clone()]);
        }
    }

    /// A scheme and a path, or an asterisk (RFC 9113 §8.3.1). Anything else would be read as another form of target.
    fn has_target(&self) -> bool {
        let scheme = &self.texts[self.scheme.clone()];
        let is_scheme = matches!(scheme, b"https" | b"http")
            || scheme.first().is_some_and(u8::is_ascii_alphabetic)
                && scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
        let path = &self.texts[self.path.clone()];
        is_scheme && (path.first() == Some(&b'/') || path == b"*")
    }

    fn is_websocket(&self) -> bool {
        &self.texts[self.protocol.clone()] == b"websocket"
    }

    /// Cut up for compression, they are one field again for servers that know only one (RFC 9113 §8.2.3).
    fn take_cookie(&mut self, value: &[u8]) {
        if !self.cookies.is_empty() {
            self.cookies.extend_from_slice(b"; ");
        }
        self.cookies.extend_from_slice(value);
    }

    /// Two that differ, or none that is a number, make it malformed; two that agree the parser refuses.
    fn take_length(&mut self, value: &[u8]) {
        let is_number = (1..=LENGTH_DIGITS_MAX).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
        let number =
            value.iter().fold(0u64, |number, digit| number.wrapping_mul(10).wrapping_add(u64::from(digit & 15)));
        self.malformed |= !is_number || self.length.is_some_and(|other| other != number);
        self.length = Some(number);
    }
}
