//! The client's part: a browser that keeps a stopwatch.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, HOST, HeaderName, LOCATION, USER_AGENT};
use http::{HeaderMap, Request, Response, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName as DnsName;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use triad_model::{HTTP, HTTPS, ServerName};

use crate::name::{look_up, since_us};
use crate::seen::{Answer, Exchange, Handshake, Passed, ServedBy, Trace};

/// An address that takes no connection within this is passed over, as a browser does.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);
/// A handshake, and an answer, that take longer are not coming.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// What is kept of an answer to find who made it; the rest is counted only.
const KEPT_BYTES_MAX: usize = 1024 * 1024;
/// The first request, and one to where it is redirected.
const EXCHANGES_MAX: usize = 2;
/// Where the edge tells a request's id.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the client is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// A URL of the site.
    pub url: String,
    /// Certificates of the authorities to trust (PEM), for HTTPS.
    pub authority: Option<String>,
}

/// Sends the request that `plan` (JSON) describes and writes the [`Trace`] to standard output, as JSON.
///
/// # Errors
/// If the plan or the authority cannot be read. A request that fails is none: the trace says so.
pub fn trace_main(plan: &str) -> anyhow::Result<()> {
    let plan: Plan = serde_json::from_str(plan).context("not a request's plan")?;
    let tls = match &plan.authority {
        Some(pem) => Some(triad_tls::public_client_config(pem)?),
        None => None,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let trace = runtime.block_on(trace(&plan.url, tls));
    println!("{}", serde_json::to_string(&trace)?);
    Ok(())
}

async fn trace(url: &str, tls: Option<Arc<ClientConfig>>) -> Trace {
    let began = Instant::now();
    let mut trace = Trace::default();
    let outcome = browse(url, tls, &mut trace).await;
    trace.took_us = since_us(began);
    trace.failure = outcome.err().map(|error| format!("{error:#}"));
    trace
}

/// Looks the name up, asks, and follows one redirection to the same host.
async fn browse(url: &str, tls: Option<Arc<ClientConfig>>, trace: &mut Trace) -> anyhow::Result<()> {
    let mut url: Uri = url.split('#').next().unwrap_or_default().parse().context("not a URL")?;
    let host = url.host().context("a URL without a host")?.to_owned();
    let addresses = trace.lookup.insert(look_up(&host).await?).addresses.clone();
    for _ in 0..EXCHANGES_MAX {
        trace.exchanges.push(Exchange { url: url.to_string(), ..Exchange::default() });
        let exchange = trace.exchanges.last_mut().context("there is one")?;
        ask(&url, &host, &addresses, tls.as_ref(), exchange).await?;
        match redirected(exchange, &host) {
            Some(next) if next != url => url = next,
            _ => return Ok(()),
        }
    }
    Ok(())
}

/// Where `exchange` sends the client, if that is the same host.
fn redirected(exchange: &Exchange, host: &str) -> Option<Uri> {
    let answer = exchange.answer.as_ref().filter(|answer| (300..400).contains(&answer.status))?;
    let next: Uri = answer.location.as_ref()?.parse().ok()?;
    (next.host() == Some(host)).then_some(next)
}

async fn ask(
    url: &Uri,
    host: &str,
    addresses: &[IpAddr],
    tls: Option<&Arc<ClientConfig>>,
    exchange: &mut Exchange,
) -> anyhow::Result<()> {
    let secure = url.scheme_str() == Some("https");
    let stream = connect(addresses, if secure { HTTPS } else { HTTP }, exchange).await?;
    if !secure {
        exchange.answer = Some(answer(stream, url, host).await?);
        return Ok(());
    }
    let config = tls.context("the site has no HTTPS")?;
    let name = DnsName::try_from(host.to_owned()).context("the host is no name")?;
    let began = Instant::now();
    let shaken = timeout(ANSWER_TIMEOUT, TlsConnector::from(Arc::clone(config)).connect(name, stream)).await;
    let stream = shaken.context("the TLS handshake took too long")?.context("the TLS handshake failed")?;
    let (_, session) = stream.get_ref();
    let certificate = session.peer_certificates().and_then(<[_]>::first);
    exchange.tls = Some(Handshake {
        protocol: match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLS 1.3".to_owned(),
            Some(rustls::ProtocolVersion::TLSv1_2) => "TLS 1.2".to_owned(),
            other => format!("{other:?}"),
        },
        names: certificate.map(triad_tls::certificate_names).unwrap_or_default(),
        took_us: since_us(began),
    });
    exchange.answer = Some(answer(stream, url, host).await?);
    Ok(())
}

/// A connection to the first of `addresses` that takes one.
async fn connect(addresses: &[IpAddr], port: u16, exchange: &mut Exchange) -> anyhow::Result<TcpStream> {
    for address in addresses {
        let began = Instant::now();
        let why = match timeout(CONNECT_TIMEOUT, TcpStream::connect(SocketAddr::new(*address, port))).await {
            Ok(Ok(stream)) => {
                // Costs a moment on a small request otherwise; a failure to set it costs nothing more.
                let _ = stream.set_nodelay(true);
                exchange.address = Some(*address);
                exchange.connect_us = since_us(began);
                return Ok(stream);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("took no connection within {} ms", CONNECT_TIMEOUT.as_millis()),
        };
        exchange.passed.push(Passed { address: *address, why });
    }
    let whys: Vec<String> =
        exchange.passed.iter().map(|passed| format!("{}: {}", passed.address, passed.why)).collect();
    bail!("no address takes a connection on port {port}: {}", whys.join("; "))
}

/// Sends the request on `stream` and reads the answer to its end.
async fn answer<S>(stream: S, url: &Uri, host: &str) -> anyhow::Result<Answer>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let read = async {
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await?;
        // Ends with the sender; its errors reach the request.
        tokio::spawn(async move { drop(connection.await) });
        let request = Request::get(url.path_and_query().map_or("/", |path| path.as_str()))
            .header(HOST, host)
            .header(USER_AGENT, concat!("triad/", env!("CARGO_PKG_VERSION")))
            .header(CONNECTION, "close")
            .body(Empty::<Bytes>::new())?;
        let began = Instant::now();
        let response = sender.send_request(request).await?;
        let head_us = since_us(began);
        let answer = read_to_end(response).await?;
        anyhow::Ok(Answer { head_us, took_us: since_us(began), ..answer })
    };
    timeout(ANSWER_TIMEOUT, read).await.context("the answer took too long")?.context("the answer broke off")
}

async fn read_to_end(response: Response<Incoming>) -> anyhow::Result<Answer> {
    let (head, mut body) = response.into_parts();
    let (mut bytes, mut kept) = (0, BytesMut::new());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        bytes += data.len() as u64;
        kept.extend_from_slice(&data[..data.len().min(KEPT_BYTES_MAX - kept.len())]);
    }
    let header = |headers: &HeaderMap, name| headers.get(name)?.to_str().ok().map(str::to_owned);
    Ok(Answer {
        status: head.status.as_u16(),
        bytes,
        request_id: header(&head.headers, REQUEST_ID),
        location: header(&head.headers, LOCATION),
        served_by: served_by(&String::from_utf8_lossy(&kept)),
        ..Answer::default()
    })
}

/// Who says to have made `text`: JSON with `server` and `instance`, or a page that says "served by srv2, instance 1".
fn served_by(text: &str) -> Option<ServedBy> {
    if let Ok(served) = serde_json::from_str(text) {
        return Some(served);
    }
    let (_, rest) = text.split_once("served by ")?;
    let (server, rest) = rest.split_once(", instance ")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let named = server.len() <= ServerName::LENGTH_MAX && digits > 0;
    named.then(|| ServedBy { server: server.to_owned(), instance: rest[..digits].to_owned() })
}

#[cfg(test)]
mod tests {
    use super::{redirected, served_by};
    use crate::seen::{Answer, Exchange, ServedBy};

    #[test]
    fn an_answer_may_say_who_made_it() {
        let srv2 = ServedBy { server: "srv2".to_owned(), instance: "1".to_owned() };
        assert_eq!(served_by("<footer>served by srv2, instance 1</footer>"), Some(srv2.clone()));
        assert_eq!(served_by(r#"{"server":"srv2","instance":"1","pid":77}"#), Some(srv2));
        assert_eq!(served_by("<h1>It works</h1>"), None);
        assert_eq!(served_by("served by "), None);
    }

    #[test]
    fn only_a_redirection_to_the_same_host_is_followed() {
        let to = |status, location: &str| {
            let answer = Answer { status, location: Some(location.to_owned()), ..Answer::default() };
            let exchange = Exchange { answer: Some(answer), ..Exchange::default() };
            redirected(&exchange, "www.foobar.com").map(|url| url.to_string())
        };
        assert_eq!(to(308, "https://www.foobar.com/a?b").as_deref(), Some("https://www.foobar.com/a?b"));
        assert_eq!(to(308, "https://evil.example/"), None);
        assert_eq!(to(303, "/"), None, "a page's own redirection is its answer");
        assert_eq!(to(200, "https://www.foobar.com/"), None);
    }
}
