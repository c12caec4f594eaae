//! The site closed for a while.

use std::io::Write;
use std::net::Ipv4Addr;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use triad_model::{CHECK_USER_AGENT, Maintenance, Verdict};
use triad_proxy::{EdgePlan, MaintenancePlan};

use crate::bed::*;

fn closed(message: Option<&str>) -> MaintenancePlan {
    let order = Maintenance::new(message.map(str::to_owned)).expect("a message");
    MaintenancePlan { order: Some(order), ..MaintenancePlan::default() }
}

#[test]
fn users_are_told_and_no_backend_is_asked_until_it_is_over() {
    let origin = Origin::start("srv2");
    let open = EdgePlan { balancer: pool(vec![backend("srv2", origin.address, 1)]), ..plan() };
    let (edge, address) = edge("http", EdgePlan { maintenance: closed(Some("new <database>")), ..open.clone() });
    let mut client = connect(address);
    for _ in 0..2 {
        let reply = exchange(&mut client, &format!("POST /buy HTTP/1.1\nHost: {HOST}\nContent-Length: 2\n\nok"));
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("120")), "{reply:?}");
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert!(reply.text().contains("new &lt;database&gt;"), "{}", reply.text());
    }
    assert_eq!(get(address, "/anything").status, 503);
    let wrong = exchange(&mut connect(address), "GET / HTTP/1.1\nHost: evil.example\n\n");
    assert_eq!(wrong.status, 421, "it is still only this site");
    assert_eq!(origin.state.requests.load(SeqCst), 0);
    until_backend(&edge, "srv2", Verdict::Up);
    assert_eq!(edge.report().maintenance, Some(Maintenance { message: Some("new <database>".to_owned()) }));
    edge.reload(open).expect("a plan");
    assert_eq!(exchange(&mut client, &format!("GET / HTTP/1.1\nHost: {HOST}\n\n")).name(), "srv2");
    assert_eq!(edge.report().maintenance, None);
}

#[test]
fn the_teams_page_is_shown_with_the_message_in_its_place() {
    let page = Some("<h1>Foobar is resting</h1><p>{message}</p>".to_owned());
    let maintenance = MaintenancePlan { page, ..closed(Some("until nine")) };
    let (_edge, address) = edge("http", EdgePlan { maintenance, ..plan() });
    assert_eq!(get(address, "/").text(), "<h1>Foobar is resting</h1><p>until nine</p>");
    assert_eq!(get(address, "/").header("content-type"), Some("text/html; charset=utf-8"));
}

#[test]
fn checks_pass_and_other_edges_are_served() {
    let origin = Origin::start("app-1");
    let local = pool(vec![backend("app-1", origin.address, 1)]);
    let checked_from = vec![Ipv4Addr::LOCALHOST.into()];
    let closed = EdgePlan { local, checked_from, maintenance: closed(None), ..plan() };
    let ((http, front), (hop, inner)) = (sockets(), sockets());
    let sockets = vec![("http".to_owned(), front), ("hop".to_owned(), inner)];
    let _edge = triad_proxy::Edge::start(closed, sockets).expect("the edge starts");
    let check = format!("HEAD / HTTP/1.1\nHost: {HOST}\nUser-Agent: {CHECK_USER_AGENT}\n\n");
    assert_eq!(exchange(&mut connect(http), &check).status, 204, "a name server's check");
    let check = format!("GET /up HTTP/1.1\nHost: {HOST}\nUser-Agent: {CHECK_USER_AGENT}\n\n");
    assert_eq!(exchange(&mut connect(hop), &check).status, 200, "a balancer's check");
    assert_eq!(get(hop, "/").name(), "app-1", "who is let in at a front is served behind it");
    assert_eq!(get(http, "/").status, 503);
}

#[test]
fn who_is_allowed_reaches_the_site() {
    let origin = Origin::start("app-1");
    let local = pool(vec![backend("app-1", origin.address, 1)]);
    let allow = vec!["127.0.0.0/8".parse().expect("a network")];
    let plan =
        |allow| EdgePlan { local: local.clone(), maintenance: MaintenancePlan { allow, ..closed(None) }, ..plan() };
    let (edge, address) = edge("http", plan(allow));
    assert_eq!(get(address, "/").name(), "app-1");
    edge.reload(plan(vec!["198.51.100.0/24".parse().expect("a network")])).expect("a plan");
    let spoofed =
        format!("GET / HTTP/1.1\nHost: {HOST}\nX-Forwarded-For: 198.51.100.7\nForwarded: for=198.51.100.7\n\n");
    assert_eq!(exchange(&mut connect(address), &spoofed).status, 503, "an address is not a claim");
}

#[test]
fn what_runs_is_finished() {
    let origin = Origin::start("app-1");
    let open = EdgePlan { local: pool(vec![backend("app-1", origin.address, 1)]), ..plan() };
    let (edge, address) = edge("http", open.clone());
    let mut waiting = connect(address);
    write!(waiting, "GET /wait HTTP/1.1\r\nHost: {HOST}\r\n\r\n").expect("sent");
    origin.until_asked(1);
    edge.reload(EdgePlan { maintenance: closed(None), ..open }).expect("a plan");
    assert_eq!(get(address, "/").status, 503);
    origin.state.release.notify_waiters();
    assert_eq!(read_reply(&mut waiting).status, 200);
    let next = exchange(&mut waiting, &format!("GET / HTTP/1.1\nHost: {HOST}\n\n"));
    assert_eq!(next.status, 503, "the next request of the connection is a new one");
}

#[test]
fn the_log_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("access.log");
    let plan = EdgePlan { access_log: Some(path.clone()), maintenance: closed(None), ..plan() };
    let (edge, address) = edge("http", plan);
    get(address, "/");
    until("it is counted", || edge.report().requests_total() == 1);
    edge.drain(Duration::from_secs(20));
    let text = std::fs::read_to_string(path).expect("a log");
    let line: serde_json::Value = serde_json::from_str(text.trim()).expect("one line");
    assert_eq!((&line["status"], &line["fault"]), (&503.into(), &"maintenance (ourselves)".into()));
}
