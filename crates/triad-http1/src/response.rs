//! The head of a backend's answer, held to the same rules as a request's.

use std::mem::MaybeUninit;

use crate::field::{content_length, is_chunked};
use crate::limits::HEADERS_MAX;
use crate::scan::{Extent, STATUS_LINE, Scan};
use crate::{Fields, Framing, Method, Name, Refusal, Span, Version};

/// The head of an answer: places in the bytes it was parsed from. Reused from answer to answer.
#[derive(Clone, Debug, Default)]
pub struct ResponseHead {
    scan: Scan,
    /// 100 to 599.
    pub status: u16,
    /// What stands after the status; may be empty.
    pub reason: Span,
    /// `None` before an answer was parsed.
    pub version: Option<Version>,
    /// The fields.
    pub fields: Fields,
    /// What `Content-Length` says; of an answer to HEAD or a 304 that is no length of what follows.
    pub content_length: Option<u64>,
    chunked: bool,
    /// Whether the backend will take another request on this connection.
    pub keep_alive: bool,
}

impl ResponseHead {
    /// A fresh one with the memory of `used`, whose last answer may not have been whole.
    pub fn reusing(used: &mut Self) -> Self {
        Self { fields: std::mem::take(&mut used.fields), ..Self::default() }
    }

    /// Parses what has arrived of a head, as [`crate::RequestHead::parse`] does.
    ///
    /// # Errors
    /// The answer must not be passed on; its status is 502.
    pub fn parse(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        self.parse_strictly(bytes).map_err(|refusal| Refusal { status: 502, ..refusal })
    }

    /// Whether another answer to the same request follows. 101 is none of these: after it HTTP is over.
    pub fn is_interim(&self) -> bool {
        (100..200).contains(&self.status) && self.status != 101
    }

    /// What follows the head (RFC 9112 §6.3).
    pub fn framing(&self, method: Method) -> Framing {
        let is_bodiless = method == Method::Head || self.status < 200 || matches!(self.status, 204 | 304);
        match self.content_length {
            _ if is_bodiless => Framing::None,
            _ if self.chunked => Framing::Chunked,
            Some(0) => Framing::None,
            Some(length) => Framing::Length(length),
            None => Framing::UntilClose,
        }
    }

    fn parse_strictly(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        if self.scan.is_fresh() {
            *self = Self { fields: std::mem::take(&mut self.fields), ..Self::default() };
            self.fields.list.clear();
        }
        let extent = self.scan.advance(bytes, STATUS_LINE);
        if !bytes.is_empty() && bytes[0] != b'H' {
            return Err(Refusal::bad("the status line"));
        }
        let Some(extent) = extent? else { return Ok(None) };
        self.scan = Scan::default();
        self.take(bytes, extent)?;
        Ok(Some(extent.end))
    }

    fn take(&mut self, bytes: &[u8], extent: Extent) -> Result<(), Refusal> {
        let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut []);
        let parsed = httparse::ParserConfig::default().parse_response_with_uninit_headers(
            &mut response,
            &bytes[..extent.end],
            &mut headers,
        );
        match parsed {
            Ok(httparse::Status::Complete(length)) if length == extent.end => {}
            Ok(_) => return Err(Refusal::bad("the answer's head")),
            Err(httparse::Error::HeaderName) => return Err(Refusal::bad("the name of a header field")),
            Err(httparse::Error::HeaderValue) => return Err(Refusal::bad("the value of a header field")),
            Err(_) => return Err(Refusal::bad("the status line")),
        }
        self.version = Some(if response.version == Some(0) { Version::Http10 } else { Version::Http11 });
        self.status = response.code.filter(|code| (100..600).contains(code)).ok_or(Refusal::bad("the status"))?;
        self.reason = response.reason.map(|reason| reason.as_bytes()).map_or_else(Span::default, |reason| {
            // An absent reason is a constant of the parser's own, not a part of the bytes.
            if reason.is_empty() { Span::default() } else { Span::of(reason, bytes) }
        });
        self.fields.take(response.headers, bytes, extent.end)?;
        self.take_framing(bytes)
    }

    fn take_framing(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        self.content_length = content_length(&self.fields, bytes)?;
        self.chunked = is_chunked(&self.fields, bytes)?;
        if self.chunked && self.content_length.is_some() {
            return Err(Refusal::bad("Content-Length beside Transfer-Encoding"));
        }
        if self.chunked && (self.version == Some(Version::Http10) || self.status < 200 || self.status == 204) {
            return Err(Refusal::bad("Transfer-Encoding where there is none"));
        }
        let options = self.fields.connection;
        self.keep_alive = !options.close && (self.version == Some(Version::Http11) || options.keep_alive);
        Ok(())
    }

    /// The protocol a 101 switches to.
    pub fn upgrade<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let upgrade = self.fields.list.iter().find(|field| field.kind == Name::Upgrade)?;
        Some(upgrade.value.of_bytes(bytes))
    }
}
