//! The head of a request.

use std::mem::MaybeUninit;

use crate::authority::Authority;
use crate::field::{content_length, is_chunked};
use crate::limits::{HEADERS_MAX, METHOD_BYTES_MAX};
use crate::scan::{Extent, REQUEST_LINE, Scan};
use crate::{Fields, Framing, Name, Refusal, Span, Version};

/// A request's method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Method {
    /// `GET`.
    Get,
    /// `HEAD`.
    Head,
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
    /// `DELETE`.
    Delete,
    /// `OPTIONS`.
    Options,
    /// `PATCH`.
    Patch,
    /// `CONNECT`, which is refused with 501: it would make a tunnel of us.
    Connect,
    /// `TRACE`, which is refused with 501: it would show a client fields that it must not see.
    Trace,
    /// Any other, or one that was not understood.
    #[default]
    Other,
}

impl Method {
    fn of(name: &[u8]) -> Self {
        match name {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"PATCH" => Self::Patch,
            b"CONNECT" => Self::Connect,
            b"TRACE" => Self::Trace,
            _ => Self::Other,
        }
    }

    /// Whether doing it twice is as good as once, among the methods known here (RFC 9110 §9.2.2).
    pub fn is_idempotent(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Put | Self::Delete | Self::Options)
    }
}

/// The form of a request's target (RFC 9112 §3.2). The authority form belongs to CONNECT, which is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// `/path?query`.
    #[default]
    Origin,
    /// `http://host/path?query`.
    Absolute,
    /// `*`, for OPTIONS.
    Asterisk,
}

/// The head of a request: places in the bytes it was parsed from. Reused from request to request.
///
/// After a refusal the parts that were understood before it are there, for a log.
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    scan: Scan,
    /// What is asked for.
    pub method: Method,
    /// The method's text.
    pub method_text: Span,
    /// The target as it was sent.
    pub target: Span,
    /// The target's form.
    pub form: Form,
    /// Path and query: what a server behind us gets. It may lack the slash at its start in absolute form.
    path: Span,
    /// `None` if the request line was not understood.
    pub version: Option<Version>,
    /// The host it is for, without port; the target's, which in absolute form goes before `Host`.
    pub host: Option<Span>,
    /// The fields.
    pub fields: Fields,
    /// Length of its body as its fields tell it.
    pub framing: Framing,
    /// What `Content-Length` says; zero is worth passing on, because some servers miss it.
    pub content_length: Option<u64>,
    /// Whether the client waits for 100 before it sends the body.
    pub expects_continue: bool,
    /// The protocols it asks to switch to, with both fields that this needs (RFC 9110 §7.8).
    pub upgrade: Option<Span>,
    /// Whether the client will send another request on this connection.
    pub keep_alive: bool,
}

impl RequestHead {
    /// Parses what has arrived of a head: `bytes` starts with the head's first byte and, while this returns `None`,
    /// grows only at its end. Returns the head's length once it is whole.
    ///
    /// # Errors
    /// The message is refused; nothing after it can be understood.
    pub fn parse(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        if self.scan.is_fresh() {
            *self = Self { fields: std::mem::take(&mut self.fields), ..Self::default() };
            self.fields.list.clear();
        }
        let extent = self.scan.advance(bytes, REQUEST_LINE);
        let first = bytes.get(self.scan.start()).filter(|byte| !matches!(**byte, b'\r' | b'\n'));
        if first.is_some_and(|byte| !byte.is_ascii_alphabetic()) {
            return Err(Refusal::bad("the request's method"));
        }
        let Some(extent) = extent? else { return Ok(None) };
        self.scan = Scan::default();
        self.take(bytes, extent)?;
        Ok(Some(extent.end))
    }

    /// Whether bytes of a head were taken that is not whole yet, so that a connection's end now would cut it off.
    pub fn is_partial(&self) -> bool {
        !self.scan.is_fresh()
    }

    /// Path and query in `bytes`, as a server behind us gets them.
    pub fn path<'a>(&self, bytes: &'a [u8]) -> (&'static [u8], &'a [u8]) {
        let path = self.path.of_bytes(bytes);
        let slash: &[u8] = if self.form == Form::Absolute && !path.starts_with(b"/") { b"/" } else { b"" };
        (slash, path)
    }

    fn take(&mut self, bytes: &[u8], extent: Extent) -> Result<(), Refusal> {
        let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
        let mut request = httparse::Request::new(&mut []);
        let parsed = request.parse_with_uninit_headers(&bytes[extent.start..extent.end], &mut headers);
        let (method, target) = (request.method.unwrap_or_default(), request.path.unwrap_or_default());
        if request.method.is_some() {
            self.method_text = Span::of(method.as_bytes(), bytes);
            self.method = Method::of(method.as_bytes());
        }
        if request.path.is_some() {
            self.target = Span::of(target.as_bytes(), bytes);
        }
        match parsed {
            Ok(httparse::Status::Complete(length)) if length == extent.end - extent.start => {}
            Err(httparse::Error::Version) => return Err(bad_version(bytes, self.target, extent)),
            Err(error) => return Err(refusal(error)),
            Ok(_) => return Err(Refusal::bad("the request's head")),
        }
        self.version = Some(if request.version == Some(0) { Version::Http10 } else { Version::Http11 });
        self.fields.take(request.headers, bytes, extent.end)?;
        self.take_target(bytes, target.as_bytes())?;
        check_method(self.method, method.as_bytes())?;
        self.take_framing(bytes)?;
        self.take_switches(bytes)
    }

    /// Target and host belong together: a request for two hosts is for none.
    fn take_target(&mut self, bytes: &[u8], target: &[u8]) -> Result<(), Refusal> {
        let mut hosts = self.fields.values(bytes, Name::Host);
        let host = match (hosts.next(), hosts.next()) {
            (None, _) => None,
            (Some(host), None) => Some(Authority::parse(host)?),
            (Some(_), Some(_)) => return Err(Refusal::bad("the request's Host")),
        };
        self.host = host.map(|host| Span::of(host.host, bytes));
        let bad = Refusal::bad("the request's target");
        if !target.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'#') {
            return Err(bad);
        }
        if self.method == Method::Connect {
            return Authority::parse(target).map(drop).map_err(|_| bad);
        }
        (self.form, self.path) = match target {
            [b'/', ..] => (Form::Origin, self.target),
            b"*" if self.method == Method::Options => (Form::Asterisk, self.target),
            _ => {
                let (authority, path, port) = split_absolute(target).ok_or(bad)?;
                let named = Authority::parse(authority).map_err(|_| bad)?;
                self.host = Some(Span::of(named.host, bytes));
                if host.is_some_and(|host| !host.agrees(&named, port)) {
                    return Err(Refusal::new(421, "a target and a Host that disagree"));
                }
                (Form::Absolute, Span::of(path, bytes))
            }
        };
        if host.is_none() { Err(Refusal::bad("the request's Host")) } else { Ok(()) }
    }

    fn take_framing(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let length = content_length(&self.fields, bytes)?;
        let chunked = is_chunked(&self.fields, bytes)?;
        if chunked && length.is_some() {
            return Err(Refusal::bad("Content-Length beside Transfer-Encoding"));
        }
        if chunked && self.version == Some(Version::Http10) {
            return Err(Refusal::bad("Transfer-Encoding in HTTP/1.0"));
        }
        self.content_length = length;
        self.framing = match length {
            _ if chunked => Framing::Chunked,
            None | Some(0) => Framing::None,
            Some(length) => Framing::Length(length),
        };
        Ok(())
    }

    /// What HTTP/1.0 does not know is ignored in it.
    fn take_switches(&mut self, bytes: &[u8]) -> Result<(), Refusal> {
        let is_current = self.version == Some(Version::Http11);
        let options = self.fields.connection;
        self.keep_alive = !options.close && (is_current || options.keep_alive);
        for expectation in self.fields.values(bytes, Name::Expect).filter(|_| is_current) {
            if !expectation.eq_ignore_ascii_case(b"100-continue") {
                return Err(Refusal::new(417, "Expect"));
            }
            self.expects_continue = self.framing != Framing::None;
        }
        let mut upgrades = self.fields.values(bytes, Name::Upgrade).filter(|_| is_current && options.upgrade);
        match (upgrades.next(), upgrades.next()) {
            (Some(protocol), None) => self.upgrade = Some(Span::of(protocol, bytes)),
            (Some(_), Some(_)) => return Err(Refusal::bad("more than one Upgrade")),
            (None, _) => {}
        }
        Ok(())
    }
}

/// Authority, path with query, and the scheme's port.
fn split_absolute(target: &[u8]) -> Option<(&[u8], &[u8], &'static [u8])> {
    let scheme_end = target.iter().position(|byte| *byte == b':')?;
    let (scheme, rest) = target.split_at(scheme_end);
    let port: &[u8] = match scheme {
        _ if scheme.eq_ignore_ascii_case(b"http") => b"80",
        _ if scheme.eq_ignore_ascii_case(b"https") => b"443",
        _ => return None,
    };
    let rest = rest.strip_prefix(b"://")?;
    let (authority, path) = rest.split_at(rest.iter().position(|byte| b"/?".contains(byte)).unwrap_or(rest.len()));
    Some((authority, path, port))
}

/// Methods are upper case (RFC 9110 §9.1). `head` would be HEAD to some and have a body for others.
fn check_method(method: Method, text: &[u8]) -> Result<(), Refusal> {
    let known_form = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"-_".contains(byte);
    let refused = matches!(method, Method::Connect | Method::Trace);
    match refused || text.len() > METHOD_BYTES_MAX || !text.iter().all(known_form) {
        true => Err(Refusal::new(501, "the request's method")),
        false => Ok(()),
    }
}

/// A version that is well formed, but not ours, or no version at all.
fn bad_version(bytes: &[u8], target: Span, extent: Extent) -> Refusal {
    let rest = &bytes[target.range().end..extent.end];
    let line = rest.split(|byte| *byte == b'\r').next().unwrap_or_default();
    match line {
        [b' ', b'H', b'T', b'T', b'P', b'/', major, b'.', minor]
            if major.is_ascii_digit() && minor.is_ascii_digit() =>
        {
            Refusal::new(505, "the request's version")
        }
        _ => Refusal::bad("the request line"),
    }
}

fn refusal(error: httparse::Error) -> Refusal {
    match error {
        httparse::Error::HeaderName => Refusal::bad("the name of a header field"),
        httparse::Error::HeaderValue => Refusal::bad("the value of a header field"),
        httparse::Error::NewLine => Refusal::bad("a line that does not end in CR LF"),
        httparse::Error::TooManyHeaders => Refusal::new(431, "too many header fields"),
        httparse::Error::Token => Refusal::bad("the request line"),
        httparse::Error::Status | httparse::Error::Version => Refusal::bad("the request line"),
    }
}
