//! What one client may do.

use std::io::Read;
use std::time::{SystemTime, UNIX_EPOCH};

use triad_model::{Ban, Limits, ServerName, UsageNews, Used};
use triad_proxy::EdgePlan;

use crate::bed::*;

fn limits(requests_per_s: Option<u32>, connections: Option<u32>) -> Option<Limits> {
    Some(Limits { requests_per_s, burst: 3, connections, ..Limits::default() })
}

#[test]
fn requests_beyond_burst_and_rate_are_refused_with_a_time_to_come_back_and_reach_nobody() {
    let origin = Origin::start("srv2");
    let balancer = pool(vec![backend("srv2", origin.address, 1)]);
    let plan = EdgePlan { balancer, limits: limits(Some(1), None), ..plan() };
    let (edge, address) = edge("http", plan.clone());
    let statuses: Vec<u16> = (0..5).map(|_| get(address, "/").status).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    assert_eq!(origin.state.requests.load(std::sync::atomic::Ordering::SeqCst), 3);
    let refused = get(address, "/");
    assert_eq!(refused.header("retry-after"), Some("1"), "{refused:?}");
    edge.reload(plan).expect("a plan");
    assert_eq!(get(address, "/").status, 429, "a reload forgives nobody");
}

#[test]
fn connections_beyond_the_limit_are_closed_and_count_no_more_when_they_end() {
    let origin = Origin::start("srv2");
    let balancer = pool(vec![backend("srv2", origin.address, 1)]);
    let (edge, address) = edge("http", EdgePlan { balancer, limits: limits(None, Some(2)), ..plan() });
    let open: Vec<_> = (0..2).map(|_| connect(address)).collect();
    until("both are open", || edge.report().connections == 2);
    assert_eq!(connect(address).read(&mut [0]).expect("closed in order"), 0);
    assert_eq!(edge.report().connections_refused, 1);
    drop(open);
    until("both have ended", || edge.report().connections == 0);
    assert_eq!(get(address, "/").status, 200);
}

#[test]
fn other_edges_and_who_is_exempt_are_not_limited() {
    let origin = Origin::start("srv2");
    let of = |name: &str, limits: Limits| {
        let local = pool(vec![backend("app-1", origin.address, 1)]);
        edge(name, EdgePlan { local, limits: Some(limits), ..plan() })
    };
    let strict = limits(Some(1), Some(1)).expect("limits");
    let exempt = vec!["127.0.0.0/8".parse().expect("a network")];
    for (name, limits) in [("hop", strict.clone()), ("http", Limits { exempt, ..strict })] {
        let (_edge, address) = of(name, limits);
        assert!((0..9).all(|_| get(address, "/").status == 200), "{name}");
    }
}

/// A ban of `network` from now on.
pub fn ban(network: &str, for_s: u64) -> Ban {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64;
    Ban {
        network: network.parse().expect("a network"),
        until_ms: now_ms + for_s * 1000,
        since_ms: now_ms,
        by: ServerName::new("srv1").expect("a name"),
        reason: None,
        automatic: false,
    }
}

#[test]
fn who_is_banned_is_not_let_in_and_told_at_its_next_request() {
    let origin = Origin::start("srv2");
    let balancer = pool(vec![backend("srv2", origin.address, 1)]);
    let (edge, address) = edge("http", EdgePlan { balancer, ..plan() });
    let ask = format!("GET / HTTP/1.1\nHost: {HOST}\n\n");
    let mut open = connect(address);
    assert_eq!(exchange(&mut open, &ask).status, 200);
    edge.ban(&[ban("192.0.2.7/32", 3600)]);
    assert_eq!(exchange(&mut open, &ask).status, 200, "somebody else is banned");
    edge.ban(&[ban("127.0.0.0/8", 3600)]);
    let refused = exchange(&mut open, &ask);
    assert_eq!((refused.status, refused.header("connection")), (403, Some("close")), "{refused:?}");
    assert_eq!(open.read(&mut [0]).expect("closed in order"), 0);
    assert_eq!(connect(address).read(&mut [0]).expect("closed in order"), 0);
    let report = edge.report();
    assert_eq!((report.bans, report.refusals.connections_banned, report.refusals.requests_banned), (1, 1, 1));
    edge.ban(&[]);
    assert_eq!(get(address, "/").status, 200);
    edge.ban(&[ban("127.0.0.1/32", 0)]);
    assert_eq!(get(address, "/").status, 200, "one that has ended");
}

#[test]
fn other_edges_are_never_banned_and_forwarded_clients_are_by_their_own_address() {
    let origin = Origin::start("srv2");
    let local = pool(vec![backend("app-1", origin.address, 1)]);
    let (inner, address) = edge("hop", EdgePlan { local: local.clone(), ..plan() });
    inner.ban(&[ban("127.0.0.1/32", 3600)]);
    assert_eq!(get(address, "/").status, 200);
    let proxy_protocol_from = vec!["127.0.0.1/32".parse().expect("a network")];
    let (front, address) = edge("http", EdgePlan { local, proxy_protocol_from, ..plan() });
    front.ban(&[ban("192.0.2.7/32", 3600), ban("127.0.0.1/32", 3600)]);
    let ask = |client: &str| format!("PROXY TCP4 {client} 203.0.113.1 5000 80\nGET / HTTP/1.1\nHost: {HOST}\n\n");
    assert_eq!(exchange(&mut connect(address), &ask("192.0.2.8")).status, 200);
    let mut banned = connect(address);
    std::io::Write::write_all(&mut banned, b"PROXY TCP4 192.0.2.7 203.0.113.1 5000 80\r\n").expect("sent");
    assert_eq!(banned.read(&mut [0]).expect("closed in order"), 0);
}

#[test]
fn what_a_client_used_at_one_edge_is_missing_at_the_other() {
    let origin = Origin::start("srv2");
    let balancer = pool(vec![backend("srv2", origin.address, 1)]);
    let plan = EdgePlan { balancer, limits: limits(Some(1), None), ..plan() };
    let [(first, at_first), (second, at_second)] = [edge("http", plan.clone()), edge("http", plan)];
    assert!((0..3).all(|_| get(at_first, "/").status == 200), "a burst");
    let noticed = first.noticed().expect("limits");
    assert_eq!(noticed.used, [Used { client: "127.0.0.1/32".parse().expect("a network"), requests: 3 }]);
    let from = ServerName::new("lb1").expect("a name");
    second.hear(&UsageNews { used: noticed.used, number: 1, ..UsageNews::nothing(from) });
    assert_eq!(get(at_second, "/").status, 429);
    assert!(first.noticed().expect("limits").used.is_empty(), "it is told once");
    assert!(second.noticed().expect("limits").used.is_empty(), "what is heard is not told again");
}

#[test]
fn what_the_site_passed_at_one_edge_is_missing_at_the_other_but_for_its_part() {
    let origin = Origin::start("srv2");
    let balancer = pool(vec![backend("srv2", origin.address, 1)]);
    let limits = Limits { site_requests_per_s: Some(1), site_burst: 5, ..Limits::default() };
    let plan = EdgePlan { balancer, limits: Some(limits), fronts: 2, ..plan() };
    let [(first, at_first), (second, at_second)] = [edge("http", plan.clone()), edge("http", plan)];
    assert!((0..5).all(|_| get(at_first, "/").status == 200), "a burst");
    let said = first.noticed().expect("limits").site;
    assert_eq!((said, first.noticed().expect("limits").site), (5, 0), "it is told once");
    let from = ServerName::new("lb1").expect("a name");
    second.hear(&UsageNews { site: said, number: 1, ..UsageNews::nothing(from) });
    let passed = (0..9).filter(|_| get(at_second, "/").status == 200).count();
    assert!((2..5).contains(&passed), "{passed} of a burst of 5, of which up to 3 are believed to be gone");
    assert_eq!(second.noticed().expect("limits").site as usize, passed);
}

#[test]
fn who_is_refused_too_often_is_named_whether_for_asking_too_much_or_wrong() {
    let limits = Limits { ban_after: Some(3), ..limits(Some(1), None).expect("limits") };
    let exempt = Limits { exempt: vec!["127.0.0.0/8".parse().expect("a network")], ..limits.clone() };
    let offenders = |name: &str, limits: Limits| {
        let (edge, address) = edge(name, EdgePlan { limits: Some(limits), ..plan() });
        for _ in 0..3 {
            let wrong = exchange(&mut connect(address), "GET / HTTP/1.1\nHost: a\nHost: b\n\n");
            assert_eq!(wrong.status, 400);
        }
        edge.noticed().expect("limits").offenders.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(offenders("http", limits.clone()), ["127.0.0.1/32"]);
    assert!(offenders("http", exempt).is_empty() && offenders("hop", limits).is_empty());
}
