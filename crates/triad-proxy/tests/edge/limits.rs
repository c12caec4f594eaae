//! What one client may do.

use std::io::Read;

use triad_model::Limits;
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
