//! What is particular to gRPC, which is HTTP/2 to everybody else: its calls have a rhythm of their own, and its servers
//! are asked how they are in a way of their own (`grpc.health.v1.Health/Check`).

use std::future::poll_fn;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use triad_http1::{
    BodyReader, Fields, Framing, HeadWriter, Method, ResponseHead, trailer_lines, write_chunk, write_last_chunk,
};
use triad_model::CHECK_USER_AGENT;

use crate::backend::Backend;
use crate::serve::Shared;
use crate::stream::{Buffer, Stream};

/// Time, up to twice, after which a call on which nothing moves is ended; also the time a server has for the head of an
/// answer, which it sends with its first message. Envoy gives a stream as much.
pub(crate) const CALL_IDLE_TIMEOUT: Duration = Duration::from_secs(300);
/// Bytes of an answer to a check.
const ANSWER_BYTES_MAX: usize = 4 * 1024;
/// Bytes before a message: whether it is compressed, and its length.
const PREFIX_BYTES: usize = 5;
/// `HealthCheckResponse { status: SERVING }`: field 1, a varint, is 1.
const SERVING: [u8; 2] = [0x08, 0x01];

/// Whether a request is a call.
pub(crate) fn is_call(fields: &Fields, bytes: &[u8]) -> bool {
    let content_type = fields.find(bytes, "content-type").map(|value| value.of_bytes(bytes));
    content_type.is_some_and(|text| text.starts_with(b"application/grpc"))
}

/// Asks a backend how it is as a whole; the error is the clause that explains what is wrong.
pub(crate) async fn ask(backend: &Backend, shared: &Shared) -> Result<String, String> {
    let mut stream = shared.dialer.open_alone(&backend.plan).await?;
    let question = question(&shared.live.load().canonical_host);
    let sent = async {
        stream.write_all(&question).await?;
        stream.flush().await
    };
    sent.await.map_err(|error| error.to_string())?;
    let answer = Answer::read(&mut stream).await?;
    answer.judge().map(|()| "serving".to_owned())
}

/// `HealthCheckRequest {}`, in HTTP/1.1.
fn question(host: &str) -> Vec<u8> {
    let mut question = Vec::new();
    let mut writer = HeadWriter::request(&mut question, b"POST", &[b"/grpc.health.v1.Health/Check"]);
    writer.field("host", &[host.as_bytes()]);
    writer.field("user-agent", &[CHECK_USER_AGENT.as_bytes()]);
    writer.field("content-type", &[b"application/grpc"]);
    writer.field("connection", &[b"te"]);
    writer.field("te", &[b"trailers"]);
    writer.framing(Framing::Chunked);
    writer.finish();
    write_chunk(&mut question, &[0; PREFIX_BYTES]);
    write_last_chunk(&mut question, std::iter::empty());
    question
}

/// What came back.
#[derive(Debug, Default)]
struct Answer {
    status: u16,
    /// `grpc-status`, in the head of an answer without a message, else behind it.
    code: Vec<u8>,
    body: Vec<u8>,
}

impl Answer {
    async fn read(stream: &mut Stream) -> Result<Self, String> {
        let mut head = ResponseHead::default();
        let mut input = Buffer::default();
        let mut body: Option<BodyReader> = None;
        let mut answer = Self::default();
        loop {
            let read = poll_fn(|context| input.poll_fill(stream, context)).await;
            if read.map_err(|error| error.to_string())? == 0 {
                return Err("the answer broke off".to_owned());
            }
            while body.is_none() {
                let parsed = head.parse(input.bytes()).map_err(|refusal| refusal.to_string())?;
                let Some(length) = parsed else { break };
                if !head.is_interim() {
                    answer.status = head.status;
                    let code = head.fields.find(input.bytes(), "grpc-status");
                    answer.code = code.map(|code| code.of_bytes(input.bytes()).to_vec()).unwrap_or_default();
                    body = Some(BodyReader::new(head.framing(Method::Post)));
                }
                input.consume(length);
            }
            let Some(reader) = &mut body else { continue };
            if answer.take(reader, &mut input)? {
                return Ok(answer);
            }
        }
    }

    /// Takes what is there of the body; whether that was all.
    fn take(&mut self, reader: &mut BodyReader, input: &mut Buffer) -> Result<bool, String> {
        while !reader.is_done() && !input.is_empty() {
            let piece = reader.next(input.bytes()).map_err(|refusal| refusal.to_string())?;
            self.body.extend_from_slice(&input.bytes()[piece.payload]);
            input.consume(piece.consumed);
            if self.body.len() > ANSWER_BYTES_MAX {
                return Err("a long answer".to_owned());
            }
        }
        let code = trailer_lines(reader.trailers()).find(|(name, _)| name.eq_ignore_ascii_case(b"grpc-status"));
        if let Some((name, line)) = code {
            self.code = line[name.len() + 1..].trim_ascii().to_vec();
        }
        Ok(reader.is_done())
    }

    fn judge(&self) -> Result<(), String> {
        if self.status != 200 {
            return Err(format!("answered {}", self.status));
        }
        match self.code.as_slice() {
            b"0" => {}
            b"12" => return Err("has no service grpc.health.v1.Health".to_owned()),
            b"" => return Err("answered without grpc-status".to_owned()),
            code => return Err(format!("answered with grpc-status {}", String::from_utf8_lossy(code))),
        }
        let message = self.body.get(PREFIX_BYTES..).unwrap_or_default();
        if message.starts_with(&SERVING) { Ok(()) } else { Err("not serving".to_owned()) }
    }
}

#[cfg(test)]
mod tests {
    use super::Answer;

    fn judged(status: u16, code: &str, body: &[u8]) -> String {
        let answer = Answer { status, code: code.as_bytes().to_vec(), body: body.to_vec() };
        answer.judge().err().unwrap_or("serving".to_owned())
    }

    #[test]
    fn only_serving_is_up() {
        assert_eq!(judged(200, "0", &[0, 0, 0, 0, 2, 8, 1]), "serving");
        assert_eq!(judged(200, "0", &[0, 0, 0, 0, 2, 8, 2]), "not serving");
        assert_eq!(judged(200, "0", &[0, 0, 0, 0, 0]), "not serving", "unknown is 0, which is not written");
        assert_eq!(judged(200, "0", &[]), "not serving");
        assert_eq!(judged(200, "12", &[]), "has no service grpc.health.v1.Health");
        assert_eq!(judged(200, "5", &[]), "answered with grpc-status 5");
        assert_eq!(judged(200, "", &[0, 0, 0, 0, 2, 8, 1]), "answered without grpc-status");
        assert_eq!(judged(503, "", &[]), "answered 503");
    }
}
