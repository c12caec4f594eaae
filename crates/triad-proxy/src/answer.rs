//! Where a request goes, and what a backend gets of it.

use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, Uri};
use triad_http::{Body, Fault, Peer, RequestId, TraceContext, Whose, body, forwarding};
use triad_http1::{Framing, HeadWriter, Method, Name, RequestHead, Version};
use triad_model::Ambiguous;
use triad_tls::Shown;
use triad_web::StaticFiles;

use crate::balance::{HashOn, cookie, fingerprint};
use crate::exchange::Request;
use crate::header_rules::HeaderRules;
use crate::live::Live;
use crate::redirect::{Asked, moved};
use crate::sticky::Sticky;

/// Which door a connection came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entrance {
    /// Plain HTTP from the world.
    Http,
    /// HTTPS from the world.
    Https,
    /// Another edge.
    Hop,
}

/// Where a request goes.
pub(crate) enum Way {
    /// It is answered here, by what is known of it already.
    Here(Result<Response<Body>, Fault>),
    /// It is the site's.
    Inside {
        /// The pool it is balanced over, by its number; `None`: it is for what is behind this server.
        outlet: Option<usize>,
        /// Whether a file here can answer it.
        files: bool,
    },
}

/// Where the request of `peer` goes whose `head` is in `bytes`.
pub(crate) fn way(
    entrance: Entrance,
    live: &Live,
    head: &RequestHead,
    bytes: &[u8],
    peer: &Peer,
    shown: Option<&Shown>,
    scratch: &mut Vec<u8>,
) -> Way {
    if entrance == Entrance::Hop {
        return Way::Inside { outlet: None, files: true };
    }
    let Some(site) = head.host.and_then(|host| live.site(host.of_bytes(bytes))) else {
        return Way::Here(Err(Fault::new(421, Whose::Client, "the request's Host")));
    };
    if is_misdirected(live, shown, site) {
        return Way::Here(Err(Fault::new(421, Whose::Client, "the request's Host, by this connection's certificate")));
    }
    if let Some(fault) = live.closed.as_ref().and_then(|closed| closed.refusal(peer.address)) {
        return Way::Here(Err(fault));
    }
    if let Some(answer) = redirect(entrance, live, site, head, bytes) {
        return Way::Here(answer);
    }
    route(live, site, head, bytes, scratch)
}

/// Where the design sends a request that is for `site`. Where how its path is read makes a difference, who passed it on
/// and who got it could read it differently, so it is not passed on.
fn route(live: &Live, site: &str, head: &RequestHead, bytes: &[u8], scratch: &mut Vec<u8>) -> Way {
    let found = match &live.routes {
        Some(routes) => routes.find(site, path(head, bytes), scratch),
        None => Ok(None),
    };
    match found {
        Ok(None) => Way::Inside { outlet: live.balancer, files: true },
        Ok(Some(outlet)) => Way::Inside { outlet: Some(outlet), files: live.outlets[outlet].looks_at_files() },
        Err(Ambiguous) => Way::Here(Err(Fault::new(400, Whose::Client, "the request's path"))),
    }
}

/// The path a request is for, without query.
fn path<'b>(head: &RequestHead, bytes: &'b [u8]) -> &'b [u8] {
    let (slash, path) = head.path(bytes);
    if slash.is_empty() { path.split(|byte| *byte == b'?').next().unwrap_or_default() } else { b"/" }
}

/// Whether the client saw a certificate that is not for `site` (RFC 9110 section 7.4): it verified another host than the
/// one that it asks. Where one certificate is for both, it may (RFC 9113 section 9.1.1).
fn is_misdirected(live: &Live, shown: Option<&Shown>, site: &str) -> bool {
    let (Some(shown), Some(tls)) = (shown, &live.site_tls) else { return false };
    !tls.may_answer(shown, site.as_bytes())
}

/// What a balancer's check gets of an edge that itself passes requests to other servers, or to servers of gRPC: whether
/// any of those is up. Were the check passed on, the death of one application server would take every web server in
/// front of it out, and a server of gRPC knows no path that it could be for.
pub(crate) fn checked(up: bool) -> Way {
    let nobody = || Fault::new(503, Whose::Upstream, "no application is up");
    Way::Here(if up { Ok(alive()) } else { Err(nobody()) })
}

/// Where a name server's check goes that came from the world.
pub(crate) fn checked_from_world() -> Way {
    Way::Here(Ok(alive()))
}

/// What a name server's check gets. It asks about this edge, so no backend is troubled and no one's turn is used up.
fn alive() -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// The answer to a request that is sent elsewhere: to HTTPS first, then where the design says.
fn redirect(
    entrance: Entrance,
    live: &Live,
    site: &str,
    head: &RequestHead,
    bytes: &[u8],
) -> Option<Result<Response<Body>, Fault>> {
    let (slash, path) = head.path(bytes);
    if entrance == Entrance::Http && live.redirect_to_https {
        let location = [b"https://", site.as_bytes(), slash, path].concat();
        return Some(moved(StatusCode::PERMANENT_REDIRECT, location));
    }
    let scheme = if entrance == Entrance::Https { "https" } else { "http" };
    let answer = |target: &[u8]| live.redirects.as_ref()?.answer(&Asked { scheme, host: site, target });
    if slash.is_empty() { answer(path) } else { answer(&[slash, path].concat()) }
}

/// The answer if the request is for a file here. Some targets that we pass on cannot name one.
pub(crate) async fn file(
    files: &StaticFiles,
    head: &RequestHead,
    bytes: &[u8],
    id: RequestId,
) -> Option<Response<Body>> {
    let parts = parts(head, bytes, id)?;
    files.respond(&parts).await
}

fn parts(head: &RequestHead, bytes: &[u8], id: RequestId) -> Option<Parts> {
    let method = match head.method {
        Method::Get => http::Method::GET,
        Method::Head => http::Method::HEAD,
        _ => return None,
    };
    let (slash, path) = head.path(bytes);
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.uri = Uri::try_from([slash, path].concat()).ok()?;
    parts.method = method;
    parts.headers = head.fields.iter(bytes).fold(HeaderMap::new(), |mut headers, (_, name, value)| {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
        headers
    });
    parts.extensions.insert(id);
    Some(parts)
}

/// What a front does to the fields of users' requests.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Changes<'a> {
    pub rules: Option<&'a HeaderRules>,
    pub sticky: Option<&'a Sticky>,
    /// Whether the client is named in RFC 7239's words, too.
    pub says_forwarded: bool,
}

/// A request's id and its trace.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity<'a> {
    pub id: &'a RequestId,
    pub trace: &'a TraceContext,
}

/// Writes the request's head to `out` as a backend shall see it; returns what is needed of it after its bytes are gone.
pub(crate) fn outgoing(
    out: &mut Vec<u8>,
    head: &RequestHead,
    bytes: &[u8],
    peer: &Peer,
    Identity { id, trace }: Identity<'_>,
    changes: Changes<'_>,
) -> Request {
    out.clear();
    let (slash, path) = head.path(bytes);
    let mut writer = HeadWriter::request(out, head.method_text.of_bytes(bytes), &[slash, path]);
    let Changes { rules, sticky, says_forwarded } = changes;
    let passes = |name: &[u8]| trace.passes(name) && rules.is_none_or(|rules| rules.passes(name));
    match sticky.filter(|sticky| sticky.is_in(&head.fields, bytes)) {
        None => forwarding::forward(&mut writer, &head.fields, bytes, peer, id, passes),
        Some(sticky) => {
            let is_cookie = |name: &[u8]| name.eq_ignore_ascii_case(b"cookie");
            forwarding::forward(&mut writer, &head.fields, bytes, peer, id, |name| !is_cookie(name) && passes(name));
            if passes(b"cookie") {
                sticky.write_others(&mut writer, &head.fields, bytes);
            }
        }
    }
    if says_forwarded {
        forwarding::write_forwarded(&mut writer, &head.fields, bytes, peer);
    }
    trace.write(&mut writer, id);
    if let Some(rules) = rules {
        rules.write(&mut writer);
    }
    match (head.framing, head.content_length) {
        (Framing::None, Some(0)) => writer.content_length(0),
        (framing, _) => writer.framing(framing),
    }
    // Behind a body it would not be plain which bytes are HTTP, so there the wish is not passed on.
    let wished = head.upgrade.filter(|_| head.framing == Framing::None);
    let protocol = wished.map(|protocol| protocol.of_bytes(bytes)).filter(|protocol| !is_http(protocol));
    // Whoever reads trailers says so to the next one only (RFC 9110 §10.1.4), so each one on the way says it again.
    let trailers = head.fields.has_token(bytes, Name::Te, "trailers");
    match (protocol, trailers) {
        (Some(_), true) => writer.field("connection", &[b"upgrade, te"]),
        (Some(_), false) => writer.field("connection", &[b"upgrade"]),
        (None, true) => writer.field("connection", &[b"te"]),
        (None, false) => {}
    }
    if let Some(protocol) = protocol {
        writer.field("upgrade", &[protocol]);
    }
    if trailers {
        writer.field("te", &[b"trailers"]);
    }
    writer.finish();
    Request {
        method: head.method,
        version: head.version.unwrap_or(Version::Http11),
        framing: head.framing,
        keep_alive: head.keep_alive,
        trailers,
        upgrade: protocol.is_some(),
        expects_continue: head.expects_continue,
        is_call: false,
    }
}

/// The hash of what the balancer goes by, if the request has it.
pub(crate) fn key(on: &HashOn, head: &RequestHead, bytes: &[u8], peer: &Peer) -> Option<u64> {
    let field = |name: &str| head.fields.find(bytes, name).map(|value| value.of_bytes(bytes));
    match on {
        HashOn::Source => Some(fingerprint(peer.address.to_string().as_bytes())),
        HashOn::Uri => Some(fingerprint(head.path(bytes).1)),
        HashOn::Header(name) => field(name).map(fingerprint),
        HashOn::Cookie(name) => field("cookie").and_then(|all| cookie(all, name)).map(fingerprint),
    }
}

/// Other versions of HTTP are not switched to: requests in them would pass nobody's eyes.
fn is_http(protocol: &[u8]) -> bool {
    protocol.split(|byte| *byte == b',').any(|one| {
        let one = one.trim_ascii();
        one.len() >= 2
            && (one[..2].eq_ignore_ascii_case(b"h2") || one.len() >= 4 && one[..4].eq_ignore_ascii_case(b"http"))
    })
}
