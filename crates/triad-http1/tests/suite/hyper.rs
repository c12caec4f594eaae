//! A second reader's opinion: what goes on is given to hyper's server, which must understand the same requests.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use ::hyper::body::{Bytes, Incoming};
use ::hyper::service::service_fn;
use ::hyper::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::transcript::{Message, requests, text};

/// Bytes a pipe holds: more than any test sends.
const PIPE_BYTES: usize = 1024 * 1024;

/// The requests hyper finds in `bytes`.
fn read_by_hyper(bytes: &[u8]) -> Vec<Message> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = seen.clone();
    runtime.block_on(async {
        let (mut client, server) = tokio::io::duplex(PIPE_BYTES);
        client.write_all(bytes).await.expect("sent");
        client.shutdown().await.expect("ended");
        let service = service_fn(move |request| note(noted.clone(), request));
        let connection = ::hyper::server::conn::http1::Builder::new()
            .half_close(true)
            .serve_connection(TokioIo::new(server), service);
        let answers = async { client.read_to_end(&mut Vec::new()).await.expect("answers") };
        let _ = tokio::join!(connection, answers);
    });
    Arc::into_inner(seen).expect("nobody else").into_inner().expect("no panic")
}

async fn note(
    seen: Arc<Mutex<Vec<Message>>>,
    request: Request<Incoming>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| (name.to_string(), value.as_bytes().to_vec());
    let mut message = Message {
        start: format!("{} {}", head.method, text(head.uri.to_string().as_bytes())),
        fields: head.headers.iter().map(field).filter(|(name, _)| !is_framing(name)).collect(),
        body: body.collect().await.map(|body| body.to_bytes().to_vec()).unwrap_or_default(),
    };
    message.fields.sort();
    seen.lock().expect("no panic").push(message);
    Ok(Response::new(Empty::new()))
}

fn is_framing(name: &str) -> bool {
    ["content-length", "transfer-encoding"].contains(&name)
}

/// Whatever we take of `bytes` and pass on, hyper reads as the same requests.
pub fn assert_agreement(bytes: &[u8]) {
    let mut ours = requests([bytes]);
    ours.messages.iter_mut().for_each(|message| message.fields.sort());
    // The library that holds hyper's targets does not take all of ours.
    let is_uri =
        |message: &Message| message.start.split(' ').nth(1).is_some_and(|uri| uri.parse::<http::Uri>().is_ok());
    if ours.messages.iter().all(is_uri) {
        assert_eq!(read_by_hyper(&ours.forwarded), ours.messages, "{}", ours.text);
    }
}
