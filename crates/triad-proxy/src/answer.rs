//! One request's way through the edge: whose it is, where it goes, what comes back.

use std::sync::Arc;

use http::header::{HOST, LOCATION};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use triad_http::{Body, Fault, Peer, RequestId, Switch, Whose, body, forwarding};

use crate::exchange::{Exchange, mark_untouched};
use crate::live::Live;
use crate::record::{Record, Recorded};
use crate::serve::Worker;

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

/// What a connection's requests have in common.
pub(crate) struct Connection {
    pub worker: Arc<Worker>,
    pub entrance: Entrance,
    pub peer: Peer,
}

/// Answers one request, from the plan that is live when it arrives.
pub(crate) async fn answer(connection: Arc<Connection>, request: Request<Body>) -> Response<Recorded> {
    let worker = &connection.worker;
    let live = worker.shared.live.load_full();
    let (head, body) = request.into_parts();
    let mut record = Record::begin(live.clone(), worker.counters.clone(), &connection.peer, &head);
    let response = match route(&connection, &live, Request::from_parts(head, body), &mut record).await {
        Ok(response) => response,
        Err(fault) => {
            let page = fault.response(&record.id());
            record.failed(fault);
            page
        }
    };
    record.answered(response)
}

async fn route(
    connection: &Connection,
    live: &Live,
    request: Request<Body>,
    record: &mut Record,
) -> Result<Response<Body>, Fault> {
    let (head, body) = request.into_parts();
    let from_world = connection.entrance != Entrance::Hop;
    if from_world && record.is_check() {
        return Ok(alive());
    }
    refuse_tunnels(&head)?;
    let host = triad_http::host(&head)?;
    if from_world {
        let site = live.site(host).ok_or_else(|| Fault::new(421, Whose::Client, "the request's Host"))?;
        if connection.entrance == Entrance::Http && live.redirect_to_https {
            return redirect(site, &head);
        }
    }
    if let Some(response) = static_file(live, &head).await {
        return Ok(response);
    }
    let through_balancer = from_world && live.through_balancer;
    if !through_balancer && !live.has_local {
        return Err(Fault::new(404, Whose::Client, "the request's path"));
    }
    let (request, switch) = outgoing(Request::from_parts(head, body), &connection.peer, &record.id());
    let outcome = Exchange::new(connection.worker.clone(), through_balancer, connection.peer.address, request, switch)
        .run()
        .await;
    record.sent(outcome.backend, outcome.attempts);
    match outcome.answer {
        Err(fault) if !from_world && !outcome.touched => {
            let mut page = fault.response(&record.id());
            record.failed(fault);
            mark_untouched(&mut page);
            Ok(page)
        }
        answer => answer,
    }
}

/// What a name server's check gets. It asks about this edge, so no backend is troubled and no one's turn is used up.
fn alive() -> Response<Body> {
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

/// CONNECT would make us an open proxy, TRACE would show a client headers it must not see.
fn refuse_tunnels(head: &Parts) -> Result<(), Fault> {
    match head.method {
        Method::CONNECT | Method::TRACE => Err(Fault::new(501, Whose::Client, "the request's method")),
        _ => Ok(()),
    }
}

fn redirect(site: &str, head: &Parts) -> Result<Response<Body>, Fault> {
    let path = head.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    let location = HeaderValue::try_from(format!("https://{site}{path}"));
    let mut response = Response::new(body::empty());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    let location = location.map_err(|_| Fault::new(400, Whose::Client, "the request's path"))?;
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

async fn static_file(live: &Live, head: &Parts) -> Option<Response<Body>> {
    let statics = live.statics.as_ref().filter(|_| matches!(head.method, Method::GET | Method::HEAD))?;
    statics.respond(head).await
}

/// The request as a backend shall see it, and the client's end if it asks for another protocol.
fn outgoing(mut request: Request<Body>, peer: &Peer, id: &RequestId) -> (Request<Body>, Option<(Switch, HeaderValue)>) {
    let protocol = forwarding::wants_upgrade(request.headers());
    let switch = protocol.map(|protocol| (Switch::of_request(&mut request), protocol));
    // A target in absolute form goes before Host (RFC 9112 §3.2.2).
    if let Some(host) = request.uri().authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok()) {
        request.headers_mut().insert(HOST, host);
    }
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    *request.uri_mut() = Uri::from(path);
    *request.version_mut() = Version::HTTP_11;
    forwarding::forward(request.headers_mut(), peer, id);
    (request, switch)
}
