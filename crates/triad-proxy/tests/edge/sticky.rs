//! Users that stay where they were answered first.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::SeqCst;

use triad_model::Verdict::{Down, Up};
use triad_model::{Algorithm, BackendMode, BackendSetting, Route};
use triad_proxy::{BackendPlan, EdgePlan, PoolPlan, StickyPlan, Target};
use triad_tls::{Authority, KeyPair};

use crate::bed::*;

const COOKIE: &str = "stay";

fn key() -> KeyPair {
    let authority = Authority::generate("test").expect("an authority");
    authority.site(&plan().hosts).expect("a certificate")
}

/// A front with the key of `site` that balances over `pool`.
fn front(site: &KeyPair, balancer: Option<PoolPlan>) -> EdgePlan {
    let stations = ["srv1", "srv2", "srv3", "srv4", "app-1", "app-2", "app-3"].map(str::to_owned).to_vec();
    let sticky = Some(StickyPlan { cookie: COOKIE.to_owned(), stations });
    EdgePlan { balancer, sticky, site_certificate: Some(site.clone()), ..plan() }
}

fn servers(origins: &[Origin], names: &[&str]) -> Vec<BackendPlan> {
    origins.iter().zip(names).map(|(origin, name)| backend(name, origin.address, 1)).collect()
}

/// A user, who keeps the cookie.
struct User {
    address: SocketAddr,
    cookie: Option<String>,
}

impl User {
    fn new(address: SocketAddr) -> Self {
        Self { address, cookie: None }
    }

    fn ask(&mut self, path: &str) -> Reply {
        let cookie =
            self.cookie.iter().map(|value| format!("Cookie: a=1; {COOKIE}={value}; b=2\n")).collect::<String>();
        let request = format!("GET {path} HTTP/1.1\nHost: {HOST}\n{cookie}Connection: close\n\n");
        let reply = exchange(&mut connect(self.address), &request);
        if let Some(set) = reply.header("set-cookie") {
            let value = set.strip_prefix(&format!("{COOKIE}=")).and_then(|rest| rest.split(';').next());
            self.cookie = Some(value.expect("the cookie").to_owned());
        }
        reply
    }

    /// Who answers.
    fn met(&mut self) -> String {
        self.ask("/").name()
    }
}

fn three() -> ([Origin; 3], [&'static str; 3]) {
    let names = ["srv2", "srv3", "srv4"];
    (names.map(Origin::start), names)
}

#[test]
fn the_first_answer_sets_a_cookie_that_leads_back_at_every_front_and_after_a_restart() {
    let (origins, names) = three();
    let site = key();
    let plan = || front(&site, pool(servers(&origins, &names)));
    let (_one, address) = edge("http", plan());
    let mut users: Vec<User> = (0..3).map(|_| User::new(address)).collect();
    let met: Vec<String> = users.iter_mut().map(User::met).collect();
    assert_eq!(met.iter().collect::<BTreeSet<_>>().len(), 3, "the algorithm chooses first: {met:?}");
    let (_two, other) = edge("http", plan());
    for (user, met) in users.iter_mut().zip(&met) {
        for address in [address, other] {
            user.address = address;
            let reply = user.ask("/");
            assert_eq!((&reply.name(), reply.header("set-cookie")), (met, None), "said once");
        }
    }
}

#[test]
fn the_cookie_tells_no_names_and_no_application_sees_or_sets_it() {
    let app = raw_origin(|mut stream| {
        let head = "HTTP/1.1 200 OK\r\nSet-Cookie: session=1\r\nset-cookie: stay=mine\r\nSet-Cookie: c=3\r\n";
        let rest = "Triad-Sticky: srv3\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        stream.write_all(format!("{head}{rest}").as_bytes()).expect("sent");
    });
    let echo = Origin::start("srv3");
    let site = key();
    let (edge, address) = edge("http", front(&site, pool(vec![backend("srv2", app, 1)])));
    let reply = get(address, "/");
    let fields = |name: &str| {
        let lines = reply.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).collect::<Vec<_>>()
    };
    let cookies = fields("set-cookie");
    assert_eq!(cookies[..2], ["session=1", "c=3"], "the application's own go through");
    let ours = cookies[2].strip_prefix("stay=").expect("ours");
    let (value, attributes) = ours.split_once("; ").expect("attributes");
    assert_eq!(attributes, "Path=/; HttpOnly; Secure; SameSite=Lax");
    assert!(value.len() == 24 && value.bytes().all(|byte| byte.is_ascii_hexdigit()), "{value}");
    assert_eq!((fields("cache-control"), fields("triad-sticky")), (vec!["private".to_owned()], vec![]));

    edge.reload(front(&site, pool(vec![backend("srv3", echo.address, 1)]))).expect("a plan");
    let mut user = User { address, cookie: Some(value.to_owned()) };
    let seen = user.ask("/").text();
    assert!(seen.contains("cookie: \"a=1; b=2\""), "{seen}");
    assert!(!seen.contains(COOKIE) && !seen.contains("triad-"), "{seen}");
    assert_ne!(user.cookie.as_deref(), Some(value), "srv2 is no more: it is set anew");
}

#[test]
fn what_is_not_ours_is_nobody_s() {
    let (origins, names) = three();
    let (_edge, address) = edge("http", front(&key(), pool(servers(&origins, &names))));
    let (_other, elsewhere) = edge("http", front(&key(), pool(servers(&origins, &names))));
    let mut user = User::new(elsewhere);
    let met = user.met();
    let foreign = user.cookie.expect("a cookie");
    for forged in [foreign.as_str(), met.as_str(), "", "+1+1+1+1+1+1+1+1+1+1+1+1", "\u{e4}\u{e4}", &"0".repeat(4000)] {
        let mut user = User { address, cookie: Some(forged.to_owned()) };
        let met: BTreeSet<String> = (0..3).map(|_| User { cookie: Some(forged.to_owned()), address }.met()).collect();
        assert_eq!(met.len(), 3, "{forged:?} leads nowhere");
        assert!(user.ask("/").header("set-cookie").is_some());
    }
}

#[test]
fn a_stranger_cannot_say_where_it_belongs_in_the_edges_own_words() {
    let instances = ["app-1", "app-2"].map(Origin::start);
    let (_back, hop) = edge("hop", EdgePlan { local: pool(servers(&instances, &["app-1", "app-2"])), ..plan() });
    let srv2 = BackendPlan::new("srv2", Target::Plain(hop));
    let (_front, address) = edge("http", EdgePlan { balancer: pool(vec![srv2]), ..plan() });
    let ask = |name: &str| {
        let request = format!("GET / HTTP/1.1\nHost: {HOST}\n{name}: app-1\nConnection: close\n\n");
        let reply = exchange(&mut connect(address), &request);
        assert!(!reply.head.to_lowercase().contains("triad-sticky") && !reply.text().contains("triad"), "{reply:?}");
        reply.name()
    };
    let met: BTreeSet<String> = (0..4).map(|n| ask(if n % 2 == 0 { "triad-sticky" } else { "Triad_Sticky" })).collect();
    assert_eq!(met.len(), 2);
}

#[test]
fn a_drained_backend_keeps_its_users_and_one_in_maintenance_or_down_does_not() {
    let (origins, names) = three();
    let site = key();
    let told = |mode, weight| {
        let mut pool = pool(servers(&origins, &names)).expect("a pool");
        pool.settings = vec![BackendSetting { backend: "srv2".to_owned(), mode, weight }];
        front(&site, Some(pool))
    };
    let (edge, address) = edge("http", told(BackendMode::Ready, None));
    let mut user = User::new(address);
    while user.met() != "srv2" {
        user.cookie = None;
    }
    for (mode, weight) in [(BackendMode::Drain, None), (BackendMode::Ready, Some(0))] {
        edge.reload(told(mode, weight)).expect("a plan");
        assert_eq!(user.met(), "srv2", "{mode}, {weight:?}");
        assert!((0..3).all(|_| User::new(address).met() != "srv2"), "nobody comes new");
    }
    let cookie = user.cookie.clone();
    edge.reload(told(BackendMode::Maintenance, None)).expect("a plan");
    let met = user.met();
    assert_ne!(met, "srv2");
    edge.reload(told(BackendMode::Ready, None)).expect("a plan");
    assert_eq!(user.met(), met, "who moved stays where it moved to");
    user.cookie = cookie;
    origins[0].state.sick.store(true, std::sync::atomic::Ordering::SeqCst);
    until_backend(&edge, "srv2", Down);
    assert_ne!(user.met(), "srv2");
}

#[test]
fn who_cannot_be_reached_at_home_is_answered_elsewhere_and_stays_there() {
    let (origins, names) = three();
    let [home, others @ ..] = origins;
    let mut backends = vec![BackendPlan { weight: 1, ..backend("srv2", home.address, 1) }];
    backends.extend(servers(&others, &names[1..]));
    // Nothing but requests tells that it is gone.
    let slow = |mut pool: PoolPlan| {
        (pool.check.interval_ms, pool.max_fails) = (60_000, 0);
        pool
    };
    let (edge, address) = edge("http", front(&key(), pool(backends).map(slow)));
    until_backend(&edge, "srv2", Up);
    let mut user = User::new(address);
    while user.met() != "srv2" {
        user.cookie = None;
    }
    home.kill();
    let met = user.met();
    assert_ne!(met, "srv2");
    assert!((0..3).all(|_| user.met() == met));
}

#[test]
fn a_user_stays_at_its_instance_here_and_behind_other_edges() {
    let site = key();
    let here = ["app-1", "app-2"].map(|name| Origin::start(&format!("srv1 {name}")));
    let there = ["app-1", "app-2", "app-3"].map(|name| Origin::start(&format!("srv3 {name}")));
    let instances = |origins: &[Origin]| pool(servers(origins, &["app-1", "app-2", "app-3"]));
    let (_app, app_hop) = edge("hop", EdgePlan { local: instances(&there), ..plan() });
    // A web server has no instances of its own.
    let passing_on = pool(vec![BackendPlan::new("srv3", Target::Plain(app_hop))]);
    let (_web, web_hop) = edge("hop", EdgePlan { local: passing_on, ..plan() });
    let srv1 = BackendPlan::new("srv1", Target::ThisServer);
    let srv2 = BackendPlan::new("srv2", Target::Plain(web_hop));
    let plan = EdgePlan { local: instances(&here), ..front(&site, pool(vec![srv1, srv2])) };
    let (_front, address) = edge("http", plan);
    let mut users: Vec<User> = (0..20).map(|_| User::new(address)).collect();
    let met: Vec<String> = users.iter_mut().map(User::met).collect();
    assert_eq!(met.iter().collect::<BTreeSet<_>>().len(), 5, "{met:?}");
    for _ in 0..2 {
        let again: Vec<String> = users.iter_mut().map(User::met).collect();
        assert_eq!(again, met);
    }
    let lengths: BTreeSet<usize> = users.iter().filter_map(|user| Some(user.cookie.as_ref()?.len())).collect();
    assert_eq!(lengths, BTreeSet::from([48, 72]), "two stations and three");
}

#[test]
fn every_algorithm_chooses_first_and_lets_who_belongs_somewhere_go_there() {
    let (origins, names) = three();
    let site = key();
    let plan = |algorithm, backup: bool| {
        let mut pool = pool(servers(&origins, &names)).expect("a pool");
        pool.algorithm = algorithm;
        // Passive ones, as with `mode = "active-passive"`.
        pool.backends.iter_mut().skip(1).for_each(|backend| backend.backup = backup);
        front(&site, Some(pool))
    };
    let (edge, address) = edge("http", plan(Algorithm::RoundRobin, false));
    let mut users: Vec<User> = (0..3).map(|_| User::new(address)).collect();
    let met: Vec<String> = users.iter_mut().map(User::met).collect();
    for algorithm in [Algorithm::LeastConn, Algorithm::Random, Algorithm::Source, Algorithm::Uri, Algorithm::First] {
        edge.reload(plan(algorithm, algorithm == Algorithm::First)).expect("a plan");
        let again: Vec<String> = users.iter_mut().map(User::met).collect();
        assert_eq!(again, met, "{algorithm:?}");
    }
}

#[test]
fn who_belongs_to_a_full_backend_waits_for_it_and_holds_nobody_up() {
    let (origins, names) = three();
    let mut pool = pool(servers(&origins[..2], &names)).expect("a pool");
    pool.backends.iter_mut().for_each(|backend| backend.max_connections = 1);
    pool.queue_timeout_ms = 60_000;
    let (edge, address) = edge("http", front(&key(), Some(pool)));
    let mut user = User::new(address);
    while user.met() != "srv2" {
        user.cookie = None;
    }
    let ask = |user: &User, path: &str| {
        let mut stream = connect(address);
        let cookie = user.cookie.as_deref().unwrap_or_default();
        let head = format!("GET {path} HTTP/1.1\r\nHost: {HOST}\r\nCookie: {COOKIE}={cookie}\r\n");
        stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes()).expect("sent");
        stream
    };
    let before = origins[0].state.requests.load(SeqCst);
    let mut first = ask(&user, "/wait");
    origins[0].until_asked(before + 1);
    let mut second = ask(&user, "/");
    until("it waits", || edge.report().pools[0].waiting == 1);
    let mut stranger = User::new(address);
    assert_eq!(stranger.met(), "srv3", "who belongs nowhere takes what is free");
    origins[0].state.release.notify_waiters();
    assert_eq!((read_reply(&mut first).name(), read_reply(&mut second).name()), ("srv2".into(), "srv2".into()));
}

#[test]
fn a_pool_that_a_route_leads_to_does_not_see_the_cookie_either() {
    let (home, elsewhere) = (Origin::start("srv2"), Origin::start("a1"));
    let site = key();
    let routed = BackendPlan::new("a1", Target::Origin(elsewhere.address));
    let (_edge, address) = edge(
        "http",
        EdgePlan {
            pools: [("api".to_owned(), pool(vec![routed]).expect("a pool"))].into(),
            routes: vec![Route { pattern: "/api/*".parse().expect("a pattern"), pool: "api".to_owned() }],
            ..front(&site, pool(vec![backend("srv2", home.address, 1)]))
        },
    );
    let mut user = User::new(address);
    assert_eq!(user.met(), "srv2");
    let reply = user.ask("/api/");
    assert_eq!((reply.name(), reply.header("set-cookie")), ("a1".to_owned(), None));
    let text = reply.text();
    assert!(text.contains("a=1; b=2") && !text.contains(COOKIE), "{text}");
}

#[test]
fn a_pool_that_a_route_leads_to_does_not_set_the_cookie_either() {
    let home = Origin::start("srv2");
    let elsewhere = raw_origin(|mut stream| {
        let head = "HTTP/1.1 200 OK\r\nSet-Cookie: session=1\r\nset-cookie: stay=mine\r\nSet-Cookie: c=3\r\n";
        stream.write_all(format!("{head}Content-Length: 0\r\nConnection: close\r\n\r\n").as_bytes()).expect("sent");
    });
    let routed = BackendPlan::new("a1", Target::Origin(elsewhere));
    let plan = EdgePlan {
        pools: [("api".to_owned(), pool(vec![routed]).expect("a pool"))].into(),
        routes: vec![Route { pattern: "/api/*".parse().expect("a pattern"), pool: "api".to_owned() }],
        ..front(&key(), pool(vec![backend("srv2", home.address, 1)]))
    };
    let (_edge, address) = edge("http", plan);
    let head = get(address, "/api/").head;
    let cookies: Vec<&str> = head.lines().filter(|line| line.to_ascii_lowercase().starts_with("set-cookie")).collect();
    assert_eq!(cookies.len(), 2, "{head}");
    assert!(cookies.iter().all(|cookie| cookie.ends_with("session=1") || cookie.ends_with("c=3")), "{head}");
}
