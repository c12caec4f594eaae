//! Which pool a request goes to, and what a reload makes of that.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::SeqCst;

use triad_model::{BackendMode, BackendSetting, Route};
use triad_proxy::{BackendPlan, Edge, EdgeError, EdgePlan, PoolPlan, Target};

use crate::bed::*;

/// Something that Triad does not run.
fn outside(name: &str, address: SocketAddr) -> BackendPlan {
    BackendPlan::new(name, Target::Origin(address))
}

fn pools<const N: usize>(pools: [(&str, Vec<BackendPlan>); N]) -> BTreeMap<String, PoolPlan> {
    pools.into_iter().map(|(name, backends)| (name.to_owned(), pool(backends).expect("a pool"))).collect()
}

fn routes(list: &[(&str, &str)]) -> Vec<Route> {
    let route =
        |(pattern, pool): &(&str, &str)| Route { pattern: pattern.parse().expect(pattern), pool: (*pool).to_owned() };
    list.iter().map(route).collect()
}

fn get_of(address: SocketAddr, host: &str, path: &str) -> Reply {
    exchange(&mut connect(address), &format!("GET {path} HTTP/1.1\nHost: {host}\nConnection: close\n\n"))
}

/// Requests sent to each backend, `POOL/NAME`.
fn sent(edge: &Edge) -> Vec<(String, u64)> {
    let name = |backend: &triad_model::BackendReport| format!("{}/{}", backend.pool, backend.name);
    edge.report().backends.iter().map(|backend| (name(backend), backend.requests)).collect()
}

#[test]
fn the_most_specific_route_decides_and_the_rest_goes_to_the_balancer() {
    let [site, api, blog] = ["site", "api", "blog"].map(Origin::start);
    let list = [
        ("/api/*", "api"),
        ("/api/blog/*", "blog"),
        ("/api/blog/feed", "api"),
        ("foobar.com/api/*", "blog"),
        ("/who", "blog"),
    ];
    let (edge, address) = edge(
        "http",
        EdgePlan {
            balancer: pool(vec![backend("srv2", site.address, 1)]),
            pools: pools([("api", vec![outside("a1", api.address)]), ("blog", vec![outside("b1", blog.address)])]),
            routes: routes(&list),
            ..plan()
        },
    );
    for (host, path, name) in [
        (HOST, "/", "site"),
        (HOST, "/api", "site"),
        (HOST, "/API/", "site"),
        (HOST, "/api/", "api"),
        (HOST, "/api/x?y=/api/blog/", "api"),
        (HOST, "/api/blog/x", "blog"),
        (HOST, "/api/blog/feed", "api"),
        ("foobar.com", "/api/x", "blog"),
        ("FOOBAR.com.", "/api/x", "blog"),
        (HOST, "/who?", "blog"),
        (HOST, "/who/", "site"),
        (HOST, "http://www.foobar.com/api/", "api"),
    ] {
        assert_eq!(get_of(address, host, path).name(), name, "{host} {path}");
    }
    let expected = [("balancer/srv2", 4), ("api/a1", 4), ("blog/b1", 4)];
    assert_eq!(sent(&edge), expected.map(|(name, count)| (name.to_owned(), count)));
    let names: Vec<String> = edge.report().pools.into_iter().map(|pool| pool.pool).collect();
    assert_eq!(names, ["balancer", "api", "blog"]);
}

#[test]
fn a_path_that_a_backend_could_read_as_another_pools_reaches_nobody() {
    let (site, admin) = (Origin::start("site"), Origin::start("admin"));
    let plan = EdgePlan {
        balancer: pool(vec![backend("srv2", site.address, 1)]),
        pools: pools([("admin", vec![outside("a1", admin.address)])]),
        routes: routes(&[("/admin/*", "admin")]),
        ..plan()
    };
    let (_edge, address) = edge("http", plan);
    for path in ["//admin/x", "/%61dmin/x", "/x/../admin/x", "/admin/..%2fx", "/admin/../x", "/admin;a/x", "/\\admin/x"]
    {
        assert_eq!(get(address, path).status, 400, "{path}");
    }
    assert_eq!((site.state.requests.load(SeqCst), admin.state.requests.load(SeqCst)), (0, 0));
    // What leads to the same pool however it is read is passed on as it came.
    let reply = get(address, "/x/..//y%20z");
    assert!(reply.text().starts_with("site\nGET /x/..//y%20z\n"), "{}", reply.text());
}

#[test]
fn what_triad_does_not_run_gets_a_users_request_and_is_not_believed() {
    let says_untouched = raw_origin(|mut stream| {
        let head = "HTTP/1.1 503 Busy\r\ntriad-untouched: busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        std::io::Write::write_all(&mut stream, head.as_bytes()).expect("sent");
    });
    let other = Origin::start("other");
    let backends = vec![outside("one", says_untouched), backup("two", other.address)];
    let plan =
        EdgePlan { pools: pools([("api", backends)]), routes: routes(&[("/a/*", "api"), ("/b", "b")]), ..plan() };
    let refused = Edge::start(plan.clone(), Vec::new()).err();
    assert!(matches!(refused, Some(EdgeError::Route(pool)) if pool == "b"));
    let (_edge, address) = edge(
        "http",
        EdgePlan {
            pools: plan.pools.into_iter().chain(pools([("b", vec![outside("two", other.address)])])).collect(),
            ..plan
        },
    );
    let reply = get(address, "/a/x");
    assert_eq!((reply.status, other.state.requests.load(SeqCst)), (503, 0), "its answer is an answer");
    assert_eq!(reply.header("triad-untouched"), None, "{}", reply.head);
    let head = get(address, "/b").text();
    for line in [&format!("host: {HOST:?}"), "x-forwarded-for: \"127.0.0.1\"", "x-forwarded-proto: \"http\""] {
        assert!(head.lines().any(|have| have == line), "{line} in {head}");
    }
    assert!(!head.contains("triad"), "{head}");
}

#[test]
fn files_of_a_front_answer_a_route_only_where_it_is_a_backend_itself() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(folder.path().join("a")).expect("a folder");
    std::fs::write(folder.path().join("a/file.txt"), "a file").expect("a file");
    let (other, instance) = (Origin::start("other"), Origin::start("app-1"));
    let plan = |backends| EdgePlan {
        root: Some(folder.path().to_owned()),
        local: pool(vec![backend("app-1", instance.address, 1)]),
        pools: pools([("api", backends)]),
        routes: routes(&[("/a/*", "api")]),
        ..plan()
    };
    let (edge_of_ours, address) = edge("http", plan(vec![outside("one", other.address)]));
    assert_eq!(get(address, "/a/file.txt").name(), "other");
    edge_of_ours.reload(plan(vec![BackendPlan::new("srv1", Target::ThisServer)])).expect("a good plan");
    assert_eq!(get(address, "/a/file.txt").text(), "a file");
    assert_eq!(get(address, "/a/other").name(), "app-1");
    // What another edge passes on has had its route.
    let (_edge, hop) = edge("hop", plan(vec![outside("one", other.address)]));
    assert_eq!(get(hop, "/a/file.txt").text(), "a file");
    assert_eq!(get(hop, "/a/other").name(), "app-1");
}

#[test]
fn a_reload_keeps_what_is_known_of_a_pool_that_stays_and_forgets_one_that_leaves() {
    let [site, api, blog] = ["site", "api", "blog"].map(Origin::start);
    let plan = |pools, list: &[(&str, &str)]| EdgePlan {
        balancer: pool(vec![backend("srv2", site.address, 1)]),
        pools,
        routes: routes(list),
        ..plan()
    };
    let one = || ("api", vec![outside("a1", api.address)]);
    let two = || ("blog", vec![outside("b1", blog.address)]);
    let (edge, address) = edge("http", plan(pools([two()]), &[("/*", "blog")]));
    assert_eq!(get(address, "/").name(), "blog");
    // A pool that comes before it in order takes nothing from it.
    edge.reload(plan(pools([one(), two()]), &[("/a/*", "api"), ("/*", "blog")])).expect("a good plan");
    assert_eq!((get(address, "/").name().as_str(), get(address, "/a/").name().as_str()), ("blog", "api"));
    assert_eq!(sent(&edge)[2], ("blog/b1".to_owned(), 2), "it is the same pool");
    edge.reload(plan(pools([one()]), &[("/*", "api")])).expect("a good plan");
    assert_eq!(get(address, "/").name(), "api");
    edge.reload(plan(pools([]), &[])).expect("a good plan");
    assert_eq!(get(address, "/a/").name(), "site");
    assert_eq!(sent(&edge), [("balancer/srv2".to_owned(), 1)]);
    edge.reload(plan(pools([two()]), &[("/*", "blog")])).expect("a good plan");
    assert_eq!(get(address, "/").name(), "blog");
    assert_eq!(sent(&edge)[1], ("blog/b1".to_owned(), 1), "what came back is new");
    let refused = edge.reload(plan(pools([]), &[("/*", "shop")]));
    assert!(matches!(refused, Err(EdgeError::Route(pool)) if pool == "shop"));
    assert_eq!(get(address, "/").name(), "blog", "everything stays as it was");
}

#[test]
fn each_pool_is_balanced_and_watched_for_itself() {
    let [one, two] = ["one", "two"].map(Origin::start);
    let mut all = pools([
        ("api", vec![outside("one", one.address), outside("two", two.address)]),
        ("blog", vec![outside("one", one.address)]),
    ]);
    // The last word counts.
    let word = |mode| BackendSetting { backend: "one".to_owned(), mode, weight: None };
    all.get_mut("api").expect("it is there").settings = vec![word(BackendMode::Ready), word(BackendMode::Drain)];
    let plan = EdgePlan { pools: all, routes: routes(&[("/api/*", "api"), ("/blog/*", "blog")]), ..plan() };
    let (edge, address) = edge("http", plan);
    for _ in 0..3 {
        assert_eq!(get(address, "/api/").name(), "two");
        assert_eq!(get(address, "/blog/").name(), "one");
    }
    one.kill();
    assert_eq!(get(address, "/blog/").status, 502);
    until_backend(&edge, "one", triad_model::Verdict::Down);
    until("the pool has nobody", || get(address, "/blog/").status == 503);
    assert_eq!(get(address, "/api/").name(), "two");
    assert_eq!(get(address, "/").status, 404, "there is nothing else");
}

/// The log says which pool a route led to.
#[test]
fn the_log_names_the_pool() {
    let folder = tempfile::tempdir().expect("a folder");
    let log = folder.path().join("access.log");
    let (site, api) = (Origin::start("site"), Origin::start("api"));
    let plan = EdgePlan {
        balancer: pool(vec![backend("srv2", site.address, 1)]),
        pools: pools([("api", vec![outside("a1", api.address)])]),
        routes: routes(&[("/api/*", "api")]),
        access_log: Some(log.clone()),
        ..plan()
    };
    let (_edge, address) = edge("http", plan);
    let statuses = ["/api/x", "/x"].map(|path| get(address, path).status);
    assert_eq!(statuses, [200, 200]);
    let lines = || std::fs::read_to_string(&log).unwrap_or_default();
    until("both lines are there", || lines().lines().count() == 2);
    let said = |path: &str| {
        let line = lines().lines().find(|line| line.contains(path)).expect("a line").to_owned();
        let line: serde_json::Value = serde_json::from_str(&line).expect("JSON");
        (line["pool"].as_str().map(str::to_owned), line["backend"].as_str().expect("a backend").to_owned())
    };
    assert_eq!(said("\"/api/x\""), (Some("api".to_owned()), "a1".to_owned()));
    assert_eq!(said("\"/x\""), (None, "srv2".to_owned()));
}
