//! One check of one backend, over a new connection, the way a request would go.

use std::future::poll_fn;

use tokio::io::AsyncWriteExt;
use triad_http::forwarding;
use triad_http1::{BodyReader, HeadWriter, Method, ResponseHead};
use triad_model::{CHECK_USER_AGENT, CheckKind};

use crate::backend::Backend;
use crate::serve::Shared;
use crate::stream::{Buffer, Stream};
use crate::upstream::preface;

/// Bytes of a body in which a text must stand.
const SEARCHED_BYTES: usize = 16 * 1024;

/// What it said, as a clause; or why that is not enough. The caller gives it its time.
pub(crate) async fn probe(backend: &Backend, shared: &Shared) -> Result<String, String> {
    let mut stream = shared.dialer.open_alone(&backend.plan).await?;
    if backend.check.kind == CheckKind::Tcp {
        return Ok("took a connection".to_owned());
    }
    let host = shared.live.load().canonical_host.clone();
    let mut question = preface(&backend.plan, None);
    let mut writer = HeadWriter::request(&mut question, b"GET", &[backend.check.path.as_bytes()]);
    writer.field("host", &[host.as_bytes()]);
    writer.field("user-agent", &[CHECK_USER_AGENT.as_bytes()]);
    writer.field(forwarding::X_FORWARDED_PROTO, &[b"https"]);
    writer.field("connection", &[b"close"]);
    writer.finish();
    stream.write_all(&question).await.map_err(|error| error.to_string())?;
    let mut answer = Buffer::default();
    let head = read_head(&mut stream, &mut answer).await?;
    let said = format!("answered {}", head.status);
    if !backend.check.status.contains(head.status) {
        return Err(said);
    }
    match &backend.check.body {
        Some(text) if !stands(text, &head, &mut stream, &mut answer).await? => Err(format!("{said} without {text:?}")),
        _ => Ok(said),
    }
}

/// The head of the final answer, whose bytes are consumed.
async fn read_head(stream: &mut Stream, answer: &mut Buffer) -> Result<ResponseHead, String> {
    let mut head = ResponseHead::default();
    loop {
        if fill(stream, answer).await? == 0 {
            return Err("the connection was closed".to_owned());
        }
        while let Some(length) =
            head.parse(answer.bytes()).map_err(|refusal| format!("answered with {}", refusal.clause))?
        {
            answer.consume(length);
            if !head.is_interim() {
                return Ok(head);
            }
        }
    }
}

/// Whether `text` stands in the first [`SEARCHED_BYTES`] of the answer's body; no more of it is read than that takes.
async fn stands(text: &str, head: &ResponseHead, stream: &mut Stream, answer: &mut Buffer) -> Result<bool, String> {
    let mut reader = BodyReader::new(head.framing(Method::Get));
    let mut body = Vec::new();
    loop {
        while !answer.is_empty() && !reader.is_done() && body.len() < SEARCHED_BYTES {
            let piece = reader.next(answer.bytes()).map_err(|refusal| format!("answered with {}", refusal.clause))?;
            body.extend_from_slice(&answer.bytes()[piece.payload]);
            answer.consume(piece.consumed);
        }
        body.truncate(SEARCHED_BYTES);
        if body.windows(text.len()).any(|window| window == text.as_bytes()) {
            return Ok(true);
        }
        if reader.is_done() || body.len() == SEARCHED_BYTES || fill(stream, answer).await? == 0 {
            return Ok(false);
        }
    }
}

async fn fill(stream: &mut Stream, answer: &mut Buffer) -> Result<usize, String> {
    poll_fn(|context| answer.poll_fill(stream, context)).await.map_err(|error| error.to_string())
}
