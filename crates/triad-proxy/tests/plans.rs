//! Design to plan: each server's listeners and plan, compared whole with a file. `TRIAD_GOLDEN=write` rewrites them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use triad_model::{
    Algorithm, App, AppProtocol, Backend, Balancer, Balancing, Database, Design, HeaderRules, HealthCheck, Hsts, IpNet,
    Pool, PoolBackend, ProxyProtocol, Redirect, Route, Secret, Server, ServerName, Site, Tls, Web,
};
use triad_proxy::{EdgeInputs, EdgePlan, PoolPlan, listeners};
use triad_tls::{Identity, KeyPair};

fn name(name: &str) -> ServerName {
    ServerName::new(name).expect("a server's name")
}

fn names(list: &[&str]) -> Vec<ServerName> {
    list.iter().map(|one| name(one)).collect()
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn server(number: u8, is_public: bool, is_private: bool) -> Server {
    Server {
        name: name(&format!("srv{number}")),
        public: if is_public { vec![IpAddr::from([203, 0, 113, number]), address("2001:db8::1")] } else { Vec::new() },
        private: is_private.then(|| IpAddr::from([10, 77, 0, number])),
    }
}

fn app(servers: &[&str]) -> Option<App> {
    Some(App {
        servers: names(servers),
        build: None,
        directory: PathBuf::from("."),
        command: "./app".to_owned(),
        instances: 2,
        max_connections: 0,
        health: "/up".to_owned(),
        environment: BTreeMap::new(),
        proxy_protocol: None,
        protocol: Default::default(),
    })
}

fn web(servers: &[&str]) -> Option<Web> {
    Some(Web { servers: names(servers), root: Some(PathBuf::from("public")) })
}

fn database(primary: &str, replicas: &[&str]) -> Option<Database> {
    let (primary, replicas) = (name(primary), names(replicas));
    Some(Database { primary, replicas, name: "app".to_owned(), user: "app".to_owned() })
}

fn balancer(servers: &[&str], backends: &[(&str, u16, bool)]) -> Option<Balancer> {
    let backend = |(server, weight, backup): &(&str, u16, bool)| Backend {
        server: name(server),
        weight: *weight,
        backup: *backup,
        max_connections: 0,
    };
    let health = HealthCheck::new("/up", 500, 500);
    Some(Balancer::new(names(servers), backends.iter().map(backend).collect(), health))
}

fn design(servers: Vec<Server>) -> Design {
    let hosts = vec!["www.foobar.com".to_owned(), "foobar.com".to_owned()];
    Design {
        site: Site { domain: "foobar.com".to_owned(), hosts, maintenance_page: None, maintenance_allow: Vec::new() },
        servers,
        dns: None,
        balancer: None,
        web: None,
        app: None,
        database: None,
        tls: None,
        firewall: None,
        monitor: None,
        limits: None,
        headers: Default::default(),
        redirects: Vec::new(),
        log: Default::default(),
        pools: Vec::new(),
        routes: Vec::new(),
        check: Vec::new(),
    }
}

fn designs() -> Vec<(&'static str, Design)> {
    let three = || vec![server(1, true, true), server(2, false, true), server(3, false, true)];
    let tls = || Some(Tls::internal());
    let simple = Design {
        web: web(&["srv1"]),
        app: app(&["srv1"]),
        database: database("srv1", &[]),
        ..design(vec![server(1, true, false)])
    };
    let weighted = Design {
        balancer: balancer(&["srv1"], &[("srv1", 5, false), ("srv2", 1, false)]),
        web: web(&["srv1", "srv2"]),
        app: app(&["srv1", "srv2"]),
        database: database("srv1", &["srv2"]),
        ..design(three())
    };
    let secured = Design {
        balancer: balancer(&["srv1"], &[("srv2", 1, false), ("srv3", 1, true)]),
        web: web(&["srv2", "srv3"]),
        app: app(&["srv2", "srv3"]),
        database: database("srv2", &["srv3"]),
        tls: tls(),
        ..design(three())
    };
    let apart = Design { web: web(&["srv1"]), app: app(&["srv2", "srv3"]), tls: tls(), ..design(three()) };
    let mut bounded =
        Design { balancer: balancer(&["srv1"], &[("srv1", 1, false), ("srv2", 1, false)]), ..apart.clone() };
    bounded.app.iter_mut().for_each(|app| (app.servers, app.max_connections) = (names(&["srv2"]), 1));
    bounded.web = web(&["srv1", "srv2"]);
    if let Some(balancer) = &mut bounded.balancer {
        (balancer.balancing.queue_timeout_ms, balancer.balancing.queue_max, balancer.balancing.panic_percent) =
            (1000, 64, 51);
        balancer.backends[1].max_connections = 100;
        balancer.balancing.retry_statuses = vec![502, 503];
        balancer.sticky_cookie = Some("stay".to_owned());
    }
    let mut grpc = Design { tls: tls().map(|tls| Tls { hop_http2: true, ..tls }), ..secured.clone() };
    grpc.app.iter_mut().for_each(|app| (app.protocol, app.health) = (AppProtocol::Http2, "grpc".to_owned()));
    vec![
        ("routed", routed(secured.clone())),
        ("bounded", bounded),
        ("grpc", grpc),
        ("simple", simple),
        ("weighted", weighted),
        ("secured", secured),
        ("apart", apart),
    ]
}

/// With a pool of servers, and one of what Triad does not run.
fn routed(mut design: Design) -> Design {
    let backend = |text, address: Option<&str>, backup| PoolBackend {
        name: name(text),
        address: address.map(|address| address.parse().expect(address)),
        weight: 2,
        backup,
        max_connections: 10,
    };
    let health = HealthCheck { rise: 3, fall: 1, ..HealthCheck::new("/ok", 100, 50) };
    let balancing = Balancing { algorithm: Algorithm::Uri, panic_percent: 50, ..Balancing::new(health) };
    let blog = vec![backend("blog1", Some("10.77.0.20:8080"), false), backend("blog2", Some("[2001:db8::1]:80"), true)];
    let api = vec![backend("srv1", None, false), backend("srv3", None, true)];
    let pool = |name: &str, backends| Pool { name: name.to_owned(), backends, balancing: balancing.clone() };
    design.pools = vec![pool("blog", blog), pool("api", api)];
    let route = |text: &str, pool: &str| Route { pattern: text.parse().expect(text), pool: pool.to_owned() };
    design.routes = vec![route("/api/*", "api"), route("foobar.com/blog", "blog")];
    design
}

fn inputs(design: &Design, server: &ServerName) -> EdgeInputs {
    let key = || Secret::new("(key)");
    EdgeInputs {
        folder: PathBuf::from("/etc/triad"),
        identity: Identity {
            authority_pem: "(authority)".to_owned(),
            certificate_pem: format!("({server})"),
            key_pem: key(),
        },
        site_extras: Default::default(),
        site_certificate: design
            .fronts()
            .contains(&server)
            .then(|| KeyPair { certificate_pem: "(site)".to_owned(), key_pem: key() }),
        access_log: Some(PathBuf::from("/var/log/triad/access.log")),
        maintenance_page: None,
        database_socket: Some(PathBuf::from("/run/triad/database.sock")),
        database_password: Some(Secret::new("(password)")),
    }
}

fn describe(design: &Design) -> String {
    let mut text = String::new();
    for server in &design.servers {
        let plan = EdgePlan::of(design, &server.name, inputs(design, &server.name));
        let plan = serde_json::to_string_pretty(&plan).expect("JSON");
        writeln!(text, "== {}", server.name).expect("memory");
        for spec in listeners(design, &server.name) {
            writeln!(text, "{} {}", spec.name, spec.address).expect("memory");
        }
        writeln!(text, "{plan}").expect("memory");
    }
    text
}

#[test]
fn every_design_has_its_plans() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/plan");
    for (name, design) in designs() {
        let text = describe(&design);
        let path = folder.join(format!("{name}.txt"));
        if std::env::var_os("TRIAD_GOLDEN").is_some_and(|value| value == "write") {
            std::fs::create_dir_all(&folder).expect("a folder");
            std::fs::write(&path, &text).expect("a file");
        }
        assert_eq!(text, std::fs::read_to_string(&path).unwrap_or_default(), "{}", path.display());
    }
}

#[test]
fn a_plan_survives_the_way_to_the_edge_process() {
    for (_, design) in designs() {
        for server in &design.servers {
            let plan = EdgePlan::of(&design, &server.name, inputs(&design, &server.name));
            let sent = serde_json::to_vec(&plan).expect("JSON");
            assert_eq!(serde_json::from_slice::<EdgePlan>(&sent).expect("a plan"), plan);
            assert!(!format!("{plan:?}").contains("(key)"), "keys are never printed");
        }
    }
}

/// Behind a front, a request has had its rules already.
#[test]
fn only_fronts_have_rules_for_users_requests() {
    let (_, mut design) = designs().into_iter().find(|(name, _)| *name == "secured").expect("it is there");
    let set = vec![("X-Site".to_owned(), "foobar".to_owned())];
    design.headers.response = HeaderRules { set, ..HeaderRules::default() };
    design.redirects =
        vec![Redirect { from: "/old".parse().expect("a path"), to: "/new".parse().expect("a path"), status: 308 }];
    design.site.maintenance_allow = vec!["198.51.100.0/24".parse().expect("a network")];
    if let Some(tls) = &mut design.tls {
        tls.hsts = Some(Hsts { max_age_s: 300, include_subdomains: false });
    }
    let has = |server: &str| {
        let plan = EdgePlan::of(&design, &name(server), inputs(&design, &name(server)));
        let sent = serde_json::to_vec(&plan).expect("JSON");
        assert_eq!(serde_json::from_slice::<EdgePlan>(&sent).expect("a plan"), plan);
        [!plan.headers.is_empty(), !plan.redirects.is_empty(), plan.hsts.is_some(), !plan.maintenance.allow.is_empty()]
    };
    assert_eq!((has("srv1"), has("srv2")), ([true; 4], [false; 4]));
}

/// Balancers listen to forwarders, and edges tell their own instances, not each other.
#[test]
fn headers_of_the_proxy_protocol_come_to_balancers_and_go_to_instances() {
    let (_, mut design) = designs().into_iter().find(|(name, _)| *name == "weighted").expect("it is there");
    let network: IpNet = "198.51.100.0/24".parse().expect("a network");
    design.balancer.as_mut().expect("it is there").proxy_protocol_from = vec![network];
    design.app.as_mut().expect("it is there").proxy_protocol = Some(ProxyProtocol::V2);
    let plan = |server: &str| EdgePlan::of(&design, &name(server), inputs(&design, &name(server)));
    assert_eq!([plan("srv1").proxy_protocol_from, plan("srv2").proxy_protocol_from], [vec![network], Vec::new()]);
    let told = |pool: Option<PoolPlan>| {
        pool.into_iter().flat_map(|pool| pool.backends).map(|backend| backend.proxy_protocol).collect::<Vec<_>>()
    };
    assert_eq!(told(plan("srv1").balancer), [None; 2]);
    assert_eq!(told(plan("srv1").local), [Some(ProxyProtocol::V2); 2]);
    assert_eq!(told(plan("srv2").local), [Some(ProxyProtocol::V2); 2]);
}
