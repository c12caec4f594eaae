//! An answer in HTTP/1.1, taken apart. Pure.

use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT};
use http::{HeaderMap, Response, StatusCode};
use triad_http1::{BodyReader, Method, Name, Refusal, ResponseHead, trailer_lines};

/// What was written cannot be said in HTTP/2. It was not the client's doing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unfit(pub &'static str);

/// Reads one answer, and interim ones before it.
#[derive(Debug)]
pub(crate) struct Answer {
    head: ResponseHead,
    /// Only HEAD matters.
    method: Method,
    state: State,
}

#[derive(Debug)]
enum State {
    Head,
    Body(BodyReader),
    /// Another protocol's bytes.
    Tunnel,
}

/// A part of an answer.
#[derive(Debug)]
pub(crate) enum Part<'a> {
    /// Another answer follows.
    Interim(Response<()>),
    Head(Response<()>),
    /// Some of the body; may be empty.
    Payload(&'a [u8]),
}

impl Answer {
    /// The answer to a request with `method`.
    pub fn new(method: &http::Method) -> Self {
        let method = if method == http::Method::HEAD { Method::Head } else { Method::Other };
        Self { head: ResponseHead::default(), method, state: State::Head }
    }

    /// Whether all of it was taken.
    pub fn is_over(&self) -> bool {
        matches!(&self.state, State::Body(reader) if reader.is_done())
    }

    /// Whether it switched to another protocol.
    pub fn is_tunnel(&self) -> bool {
        matches!(self.state, State::Tunnel)
    }

    /// The fields behind the body, once it is over; `None` if there are none.
    pub fn trailers(&self) -> Result<Option<HeaderMap>, Unfit> {
        let State::Body(reader) = &self.state else { return Ok(None) };
        let mut trailers = HeaderMap::new();
        for (name, line) in trailer_lines(reader.trailers()) {
            let value = line.get(name.len() + 1..).unwrap_or_default().trim_ascii();
            append(&mut trailers, name, value)?;
        }
        Ok((!trailers.is_empty()).then_some(trailers))
    }

    /// Takes the next part from the start of `bytes`, which are not empty; returns how many bytes it has. A head must be
    /// there whole.
    pub fn next<'a>(&mut self, bytes: &'a [u8]) -> Result<(usize, Part<'a>), Unfit> {
        match &mut self.state {
            State::Head => self.next_head(bytes),
            State::Tunnel => Ok((bytes.len(), Part::Payload(bytes))),
            State::Body(reader) if reader.is_done() => Err(Unfit("more than the answer")),
            State::Body(reader) => {
                let piece = reader.next(bytes)?;
                Ok((piece.consumed, Part::Payload(&bytes[piece.payload])))
            }
        }
    }

    /// The writer has ended.
    pub fn end_of_input(&mut self) -> Result<(), Unfit> {
        match &mut self.state {
            State::Head => Err(Unfit("no answer")),
            State::Tunnel => Ok(()),
            State::Body(reader) => Ok(reader.end_of_input()?),
        }
    }

    fn next_head<'a>(&mut self, bytes: &[u8]) -> Result<(usize, Part<'a>), Unfit> {
        let length = self.head.parse(bytes)?.ok_or(Unfit("a part of a head"))?;
        let response = self.response(&bytes[..length])?;
        if self.head.is_interim() {
            return Ok((length, Part::Interim(response)));
        }
        self.state = match self.head.status {
            101 => State::Tunnel,
            _ => State::Body(BodyReader::new(self.head.framing(self.method))),
        };
        Ok((length, Part::Head(response)))
    }

    /// Without what concerns one connection of HTTP/1.1 (RFC 9113 §8.2.2). A switch of protocols is a success here
    /// (RFC 8441 §5).
    fn response(&self, bytes: &[u8]) -> Result<Response<()>, Unfit> {
        let switches = self.head.status == 101;
        let mut response = Response::new(());
        let status = if switches { 200 } else { self.head.status };
        *response.status_mut() = StatusCode::from_u16(status).map_err(|_| Unfit("the status"))?;
        let headers = response.headers_mut();
        headers.reserve(self.head.fields.len());
        for (kind, name, value) in self.head.fields.iter(bytes) {
            if matches!(kind, Name::Other | Name::Host | Name::Date) {
                append(headers, name, value)?;
            }
        }
        if switches {
            headers.remove(SEC_WEBSOCKET_ACCEPT);
        }
        if let Some(length) = self.head.content_length {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        Ok(response)
    }
}

impl From<Refusal> for Unfit {
    fn from(refusal: Refusal) -> Self {
        Self(refusal.clause)
    }
}

fn append(headers: &mut HeaderMap, name: &[u8], value: &[u8]) -> Result<(), Unfit> {
    let name = HeaderName::from_bytes(name).map_err(|_| Unfit("the name of a header field"))?;
    let value = HeaderValue::from_bytes(value).map_err(|_| Unfit("the value of a header field"))?;
    headers.append(name, value);
    Ok(())
}
