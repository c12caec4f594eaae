//! The fields of a head, as places in the bytes it was parsed from.

use std::ops::Range;

use crate::Refusal;
use crate::limits::CONNECTION_OPTIONS_MAX;

/// Bytes of the longest name that matters here: `Proxy-Authorization`.
const NAME_BYTES_MAX: usize = 19;

/// A place in a head's bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// The place of `part` in `whole`, of which it is a part.
    pub(crate) fn of(part: &[u8], whole: &[u8]) -> Self {
        // Both are addresses in the same buffer, so the difference is an index in it.
        let start = part.as_ptr() as usize - whole.as_ptr() as usize;
        Self::new(start, start + part.len())
    }

    /// From `start` to before `end`; heads are far smaller than 4 GiB.
    pub(crate) fn new(start: usize, end: usize) -> Self {
        Self { start: start as u32, end: end as u32 }
    }

    /// As a range.
    pub fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    /// What stands there.
    pub fn of_bytes(self, bytes: &[u8]) -> &[u8] {
        &bytes[self.range()]
    }
}

/// What a field's name means to this crate and its users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// `Connection`.
    Connection,
    /// `Content-Length`.
    ContentLength,
    /// `Date`.
    Date,
    /// `Expect`.
    Expect,
    /// `Host`.
    Host,
    /// Another field of one connection: `Keep-Alive`, `Proxy-*`, `Trailer`.
    HopByHop,
    /// `TE`.
    Te,
    /// `Transfer-Encoding`.
    TransferEncoding,
    /// `Upgrade`.
    Upgrade,
    /// Any other, which passes unless `Connection` names it.
    Other,
}

impl Name {
    /// By its text, in any case.
    pub fn of(name: &[u8]) -> Self {
        let is = |known: &str| name == known.as_bytes() || name.eq_ignore_ascii_case(known.as_bytes());
        match name.len() {
            2 if is("te") => Self::Te,
            4 if is("host") => Self::Host,
            4 if is("date") => Self::Date,
            6 if is("expect") => Self::Expect,
            7 if is("upgrade") => Self::Upgrade,
            7 if is("trailer") => Self::HopByHop,
            10 if is("connection") => Self::Connection,
            10 if is("keep-alive") => Self::HopByHop,
            14 if is("content-length") => Self::ContentLength,
            16 if is("proxy-connection") => Self::HopByHop,
            17 if is("transfer-encoding") => Self::TransferEncoding,
            18 if is("proxy-authenticate") => Self::HopByHop,
            19 if is("proxy-authorization") => Self::HopByHop,
            _ => Self::Other,
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Field {
    pub kind: Name,
    pub name: Span,
    pub value: Span,
}

/// The fields of a head in their order. Reused from head to head.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    pub(crate) list: Vec<Field>,
    /// Where the last one's line ends.
    pub(crate) end: usize,
    pub(crate) connection: ConnectionOptions,
}

/// What `Connection` says.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ConnectionOptions {
    pub close: bool,
    pub keep_alive: bool,
    pub upgrade: bool,
    /// It names fields beside these, which concern this connection only.
    pub names_fields: bool,
    count: usize,
}

impl Fields {
    /// Takes the parsed `headers` of `bytes`, whose head ends at `end`, its empty line included.
    pub(crate) fn take(&mut self, headers: &[httparse::Header<'_>], bytes: &[u8], end: usize) -> Result<(), Refusal> {
        self.list.clear();
        self.end = end - "\r\n".len();
        self.connection = ConnectionOptions::default();
        for header in headers {
            let kind = Name::of(header.name.as_bytes());
            if kind == Name::Connection {
                self.connection.add(header.value)?;
            }
            if kind == Name::Other && is_disguised(header.name.as_bytes()) {
                return Err(Refusal::bad("the name of a header field"));
            }
            let (name, value) = (Span::of(header.name.as_bytes(), bytes), Span::of(header.value, bytes));
            self.list.push(Field { kind, name, value });
        }
        Ok(())
    }

    /// Number of fields.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Every field in `bytes`: what its name means, its name, its value.
    pub fn iter<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = (Name, &'a [u8], &'a [u8])> {
        self.list.iter().map(|field| (field.kind, field.name.of_bytes(bytes), field.value.of_bytes(bytes)))
    }

    /// The place of the first value under `name`, in any case.
    pub fn find(&self, bytes: &[u8], name: &str) -> Option<Span> {
        let is = |field: &&Field| field.name.of_bytes(bytes).eq_ignore_ascii_case(name.as_bytes());
        self.list.iter().find(is).map(|field| field.value)
    }

    /// The values of a kind of fields.
    pub(crate) fn values<'a>(&'a self, bytes: &'a [u8], kind: Name) -> impl Iterator<Item = &'a [u8]> {
        self.list.iter().filter(move |field| field.kind == kind).map(|field| field.value.of_bytes(bytes))
    }

    /// Whether there is a field of a kind.
    pub fn has(&self, kind: Name) -> bool {
        self.list.iter().any(|field| field.kind == kind)
    }

    /// Whether a list field has `token`, in any case.
    pub fn has_token(&self, bytes: &[u8], kind: Name, token: &str) -> bool {
        self.values(bytes, kind).flat_map(elements).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// Whether `Connection` says that `name` concerns this connection only. It cannot name `Host` away.
    pub(crate) fn is_named_by_connection(&self, bytes: &[u8], kind: Name, name: &[u8]) -> bool {
        let names = || self.values(bytes, Name::Connection).flat_map(elements);
        self.connection.names_fields && kind != Name::Host && names().any(|option| option.eq_ignore_ascii_case(name))
    }
}

impl ConnectionOptions {
    fn add(&mut self, value: &[u8]) -> Result<(), Refusal> {
        for option in elements(value) {
            let is = |known: &str| option.eq_ignore_ascii_case(known.as_bytes());
            self.count += 1;
            if self.count > CONNECTION_OPTIONS_MAX || !option.iter().all(|byte| is_token(*byte)) {
                return Err(Refusal::bad("Connection"));
            }
            match option.len() {
                5 if is("close") => self.close = true,
                7 if is("upgrade") => self.upgrade = true,
                10 if is("keep-alive") => self.keep_alive = true,
                _ => self.names_fields = true,
            }
        }
        Ok(())
    }
}

/// Whether a name is one that matters here with underscores for its hyphens: servers that hand fields on as environment
/// variables cannot tell `Content_Length` from `Content-Length`.
fn is_disguised(name: &[u8]) -> bool {
    let mut folded = [0; NAME_BYTES_MAX];
    if name.len() > folded.len() || memchr::memchr(b'_', name).is_none() {
        return false;
    }
    for (to, from) in folded.iter_mut().zip(name) {
        *to = if *from == b'_' { b'-' } else { *from };
    }
    Name::of(&folded[..name.len()]) != Name::Other
}

/// The elements of a list, without blanks and empty ones (RFC 9110 §5.6.1).
pub(crate) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim).filter(|element| !element.is_empty())
}

/// Without the blanks around it.
pub(crate) fn trim(text: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = text.iter().position(|byte| !blank(byte)).unwrap_or(text.len());
    let end = text.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    &text[start..end]
}

/// RFC 9110 §5.6.2.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The length that a message's fields give. Two are refused even if they agree: nobody sends them by intent.
pub(crate) fn content_length(fields: &Fields, bytes: &[u8]) -> Result<Option<u64>, Refusal> {
    let mut values = fields.values(bytes, Name::ContentLength);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Refusal::bad("more than one Content-Length"));
    }
    number(value).map(Some).ok_or(Refusal::bad("Content-Length"))
}

/// Digits without sign or leading zeros, up to [`crate::limits::LENGTH_BYTES_MAX`].
fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) || (digits.len() > 1 && digits[0] == b'0') {
        return None;
    }
    let number: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    (number <= crate::limits::LENGTH_BYTES_MAX).then_some(number)
}

/// Whether the message is in chunks: a single `chunked` is the only transfer coding taken.
pub(crate) fn is_chunked(fields: &Fields, bytes: &[u8]) -> Result<bool, Refusal> {
    let mut values = fields.values(bytes, Name::TransferEncoding);
    let Some(value) = values.next() else { return Ok(false) };
    if values.next().is_some() {
        return Err(Refusal::bad("more than one Transfer-Encoding"));
    }
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(true);
    }
    let is_known = |coding: &[u8]| coding.eq_ignore_ascii_case(b"chunked");
    let codings = || elements(value);
    let chunked_last =
        codings().last().is_some_and(is_known) && codings().filter(|coding| is_known(coding)).count() == 1;
    let well_formed = codings().all(|coding| coding.iter().all(|byte| is_token(*byte))) && !value.ends_with(b",");
    match well_formed && chunked_last && codings().count() > 1 {
        true => Err(Refusal::new(501, "a transfer coding other than chunked")),
        false => Err(Refusal::bad("Transfer-Encoding")),
    }
}
