//! Checks that are not believed.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use triad_model::Verdict::{Down, Up};
use triad_model::{BackendMode, BackendSetting};
use triad_proxy::{BackendPlan, Edge, EdgePlan};

use crate::bed::*;

fn plan_with(backends: Vec<BackendPlan>, panic_percent: u8) -> EdgePlan {
    let mut pool = pool(backends).expect("a pool");
    pool.panic_percent = panic_percent;
    EdgePlan { balancer: Some(pool), ..plan() }
}

fn is_panic(edge: &Edge) -> bool {
    edge.report().pools[0].panic
}

fn names(address: SocketAddr) -> Vec<String> {
    let mut names: Vec<String> = (0..6).map(|_| get(address, "/").name()).collect();
    names.sort();
    names.dedup();
    names
}

#[test]
fn when_too_few_are_up_all_that_are_wanted_get_requests() {
    let origins = ["srv2", "srv3", "srv4", "srv5"].map(Origin::start);
    let names_of = ["srv2", "srv3", "srv4"];
    let mut backends: Vec<_> = names_of.iter().zip(&origins).map(|(name, it)| backend(name, it.address, 1)).collect();
    backends.push(backup("srv5", origins[3].address));
    let mut plan = plan_with(backends, 60);
    let drained = BackendSetting { backend: "srv4".to_owned(), mode: BackendMode::Drain, weight: None };
    let (edge, address) = edge("http", plan.clone());
    assert_eq!((names(address), is_panic(&edge)), (names_of.map(str::to_owned).to_vec(), false));
    // Two of three are enough, one is not.
    origins[0].state.sick.store(true, SeqCst);
    until_backend(&edge, "srv2", Down);
    until("it is left out", || names(address) == ["srv3", "srv4"]);
    assert!(!is_panic(&edge));
    origins[1].state.sick.store(true, SeqCst);
    until("panic", || is_panic(&edge));
    assert_eq!(names(address), names_of);
    plan.balancer.as_mut().expect("a balancer").settings = vec![drained];
    edge.reload(plan).expect("a plan");
    assert_eq!(names(address), ["srv2", "srv3"], "who is drained is not wanted");
    origins[0].state.sick.store(false, SeqCst);
    origins[1].state.sick.store(false, SeqCst);
    until("panic is over", || !is_panic(&edge));
    until_backend(&edge, "srv2", Up);
}

#[test]
fn in_panic_a_request_is_not_broken_off_because_checks_fail() {
    let origin = Origin::start("srv2");
    origin.state.sick.store(true, SeqCst);
    let (edge, address) = edge("http", plan_with(vec![backend("srv2", origin.address, 1)], 1));
    until("panic", || is_panic(&edge));
    let waiting = std::thread::spawn(move || get(address, "/wait"));
    origin.until_asked(1);
    // Longer than a request takes to see that its backend is down.
    std::thread::sleep(Duration::from_millis(600));
    origin.state.release.notify_waiters();
    let reply = waiting.join().expect("an answer");
    assert_eq!((reply.status, reply.name().as_str()), (200, "srv2"));
    assert_eq!(origin.state.requests.load(SeqCst), 1);
}

#[test]
fn without_the_key_checks_are_believed() {
    let origin = Origin::start("srv2");
    origin.state.sick.store(true, SeqCst);
    let (edge, address) = edge("http", plan_with(vec![backend("srv2", origin.address, 1)], 0));
    until_backend(&edge, "srv2", Down);
    assert_eq!((get(address, "/").status, is_panic(&edge)), (503, false));
}
