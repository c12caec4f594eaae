//! A connection's bytes, read by this crate as a server or client would, written down as text: for goldens, for
//! comparing ways to cut the bytes, and for what goes on to the next server.

use std::fmt::Write;

use triad_http1::{
    BodyReader, Fields, Framing, HeadWriter, Method, RequestHead, ResponseHead, trailer_lines, write_chunk,
    write_last_chunk,
};

/// A message as it was understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Method and path of a request; status of an answer.
    pub start: String,
    /// Fields that pass, lower case, in their order.
    pub fields: Vec<(String, Vec<u8>)>,
    pub body: Vec<u8>,
}

/// What became of a stream of requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// In words.
    pub text: String,
    /// Those that were whole.
    pub messages: Vec<Message>,
    /// What is passed on of them.
    pub forwarded: Vec<u8>,
}

/// Reads requests from pieces that arrive one after the other.
pub fn requests<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Reading {
    let (mut reading, mut buffer) = (Reading::default(), Vec::new());
    let mut reader = Requests::default();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        if !reader.advance(&mut buffer, &mut reading) {
            return reading;
        }
    }
    let middle = reader.body.is_some() || !buffer.is_empty() || reader.head.is_partial();
    reader.flush(&mut reading);
    reading.text += if middle { "breaks off\n" } else { "" };
    reading
}

#[derive(Default)]
struct Requests {
    head: RequestHead,
    body: Option<BodyReader>,
    message: Message,
    forwarded: Vec<u8>,
}

impl Requests {
    /// Takes what it can of `buffer`; `false` after a refusal.
    fn advance(&mut self, buffer: &mut Vec<u8>, reading: &mut Reading) -> bool {
        loop {
            let step = match &mut self.body {
                None => self.head.parse(buffer).map(|length| length.unwrap_or(0)),
                Some(body) => body.next(buffer).map(|piece| {
                    self.message.body.extend_from_slice(&buffer[piece.payload]);
                    piece.consumed
                }),
            };
            let consumed = match step {
                Ok(consumed) => consumed,
                Err(refusal) => {
                    self.flush(reading);
                    writeln!(reading.text, "refused {refusal}").expect("text");
                    return false;
                }
            };
            if self.body.is_none() && consumed > 0 {
                self.begin(&buffer[..consumed], reading);
            }
            buffer.drain(..consumed);
            let done = self.body.as_ref().is_some_and(BodyReader::is_done);
            if done {
                self.end(reading);
            }
            if consumed == 0 && !done {
                return true;
            }
        }
    }

    fn begin(&mut self, bytes: &[u8], reading: &mut Reading) {
        let head = &self.head;
        let (slash, path) = head.path(bytes);
        let path = text(&[slash, path].concat());
        let method = text(head.method_text.of_bytes(bytes));
        let host = head.host.map(|host| text(host.of_bytes(bytes))).unwrap_or_default();
        let version = head.version.map_or("", |version| version.as_str());
        write!(reading.text, "request {method} {path} {version} for {host}, body {}", framing(head.framing))
            .expect("text");
        reading.text += if head.keep_alive { "" } else { ", closes" };
        reading.text += if head.expects_continue { ", expects 100" } else { "" };
        if let Some(protocol) = head.upgrade {
            write!(reading.text, ", upgrade to {}", text(protocol.of_bytes(bytes))).expect("text");
        }
        reading.text.push('\n');
        self.message = Message { start: format!("{method} {path}"), ..Message::default() };
        let mut writer =
            HeadWriter::request(&mut self.forwarded, head.method_text.of_bytes(bytes), &[slash, head.path(bytes).1]);
        pass(&mut writer, &head.fields, bytes, &mut self.message, &mut reading.text);
        match (head.framing, head.content_length) {
            (Framing::None, Some(0)) => writer.content_length(0),
            (framing, _) => writer.framing(framing),
        }
        writer.finish();
        self.body = Some(BodyReader::new(head.framing));
    }

    fn end(&mut self, reading: &mut Reading) {
        let Some(body) = self.body.take() else { return };
        match self.head.framing {
            Framing::Chunked => {
                write_chunk(&mut self.forwarded, &self.message.body);
                write_last_chunk(&mut self.forwarded, trailer_lines(body.trailers()).map(|(_, line)| line));
            }
            _ => self.forwarded.extend_from_slice(&self.message.body),
        }
        reading.forwarded.append(&mut self.forwarded);
        self.flush(reading);
        for (_, line) in trailer_lines(body.trailers()) {
            writeln!(reading.text, "  trailer {}", text(line.trim_ascii_end())).expect("text");
        }
        reading.text += "end\n";
        reading.messages.push(std::mem::take(&mut self.message));
    }

    fn flush(&mut self, reading: &mut Reading) {
        if !self.message.body.is_empty() {
            writeln!(reading.text, "  body {}", text(&self.message.body)).expect("text");
        }
    }
}

/// Reads the answers to one request of `method` from pieces; the connection ends after them.
pub fn responses<'a>(method: Method, pieces: impl IntoIterator<Item = &'a [u8]>) -> Reading {
    let (mut reading, mut buffer) = (Reading::default(), Vec::new());
    let (mut head, mut body) = (ResponseHead::default(), None::<BodyReader>);
    let mut message = Message::default();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            let step = match &mut body {
                None => head.parse(&buffer).map(|length| length.unwrap_or(0)),
                Some(body) => body.next(&buffer).map(|piece| {
                    message.body.extend_from_slice(&buffer[piece.payload]);
                    piece.consumed
                }),
            };
            let consumed = match step {
                Ok(consumed) => consumed,
                Err(refusal) => return refused(reading, &message, refusal),
            };
            if body.is_none() && consumed > 0 {
                message = begin(&head, &buffer[..consumed], method, &mut reading);
                body = (!head.is_interim()).then(|| BodyReader::new(head.framing(method)));
            }
            buffer.drain(..consumed);
            if consumed == 0 {
                break;
            }
        }
    }
    let whole = body.as_mut().is_some_and(|body| body.end_of_input().is_ok());
    if !message.body.is_empty() {
        writeln!(reading.text, "  body {}", text(&message.body)).expect("text");
    }
    for (_, line) in body.iter().flat_map(|body| trailer_lines(body.trailers())) {
        writeln!(reading.text, "  trailer {}", text(line.trim_ascii_end())).expect("text");
    }
    reading.text += if whole { "end\n" } else { "breaks off\n" };
    if !buffer.is_empty() {
        reading.text += "more than the answer\n";
    }
    reading.messages.push(message);
    reading
}

fn begin(head: &ResponseHead, bytes: &[u8], method: Method, reading: &mut Reading) -> Message {
    let version = head.version.map_or("", |version| version.as_str());
    let (status, reason) = (head.status, text(head.reason.of_bytes(bytes)));
    let kind = if head.is_interim() { "interim" } else { "answer" };
    write!(reading.text, "{kind} {status} \"{reason}\" {version}, body {}", framing(head.framing(method)))
        .expect("text");
    reading.text += if head.keep_alive { "\n" } else { ", closes\n" };
    let mut message = Message { start: status.to_string(), ..Message::default() };
    let mut writer = HeadWriter::response(&mut reading.forwarded, status, head.reason.of_bytes(bytes));
    pass(&mut writer, &head.fields, bytes, &mut message, &mut reading.text);
    writer.finish();
    message
}

fn refused(mut reading: Reading, message: &Message, refusal: triad_http1::Refusal) -> Reading {
    if !message.body.is_empty() {
        writeln!(reading.text, "  body {}", text(&message.body)).expect("text");
    }
    writeln!(reading.text, "refused {refusal}").expect("text");
    reading
}

fn pass(writer: &mut HeadWriter, fields: &Fields, bytes: &[u8], message: &mut Message, words: &mut String) {
    let mut passing = Vec::new();
    writer.pass(fields, bytes, |_, name| {
        passing.push(name.as_ptr());
        true
    });
    for (_, name, value) in fields.iter(bytes).filter(|(_, name, _)| passing.contains(&name.as_ptr())) {
        writeln!(words, "  {}: {}", text(name), text(value)).expect("text");
        message.fields.push((String::from_utf8_lossy(name).to_ascii_lowercase(), value.to_vec()));
    }
}

fn framing(framing: Framing) -> String {
    match framing {
        Framing::None => "none".to_owned(),
        Framing::Length(length) => format!("of {length}"),
        Framing::Chunked => "in chunks".to_owned(),
        Framing::UntilClose => "until close".to_owned(),
    }
}

/// Bytes as text in which nothing is lost.
pub fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
