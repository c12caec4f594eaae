//! Designs to test with, and goldens.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use triad_dns::Zone;
use triad_model::{App, Backend, Balancer, Design, Dns, HealthCheck, Server, ServerName, Site};

/// Three servers: two balancers, both name servers, one of them with IPv6, and an application server that no stranger
/// sees.
pub fn secured() -> Design {
    Design {
        site: Site {
            domain: "foobar.com".to_owned(),
            hosts: strings(&["www.foobar.com", "foobar.com", "static.eu.foobar.com", "ns1.foobar.com"]),
            maintenance_page: None,
            maintenance_allow: Vec::new(),
        },
        servers: vec![
            server("srv1", &["203.0.113.11", "2001:db8::11"]),
            server("srv2", &["203.0.113.12"]),
            server("srv3", &[]),
        ],
        dns: Some(Dns { servers: vec![name("srv1"), name("srv2")], ttl_s: 60 }),
        balancer: Some(balancer(&["srv1", "srv2"])),
        web: None,
        app: Some(App {
            servers: vec![name("srv3")],
            build: None,
            directory: PathBuf::from("."),
            command: "./app".to_owned(),
            instances: 1,
            max_connections: 0,
            health: "/up".to_owned(),
            environment: BTreeMap::new(),
            proxy_protocol: None,
            protocol: Default::default(),
        }),
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

/// A design whose apex has so many addresses that they do not fit into a UDP answer.
pub fn wide() -> Design {
    let mut design = secured();
    let names: Vec<String> = (1..=90).map(|number| format!("srv{number}")).collect();
    design.servers =
        (1..=90).map(|number| server(&format!("srv{number}"), &[&format!("203.0.113.{number}")])).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    design.balancer = Some(balancer(&names));
    design
}

/// A design whose first name server has so many addresses that they do not fit beside the names of both.
pub fn much_glue() -> Design {
    let mut design = secured();
    design.servers[0].public = (1..=40).map(|number| IpAddr::from([203, 0, 113, number])).collect();
    design
}

/// The zone of a design called `name` in a case.
pub fn zone(name: &str) -> Zone {
    let design = match name {
        "secured" => secured(),
        "wide" => wide(),
        "much_glue" => much_glue(),
        other => panic!("no design is called {other:?}"),
    };
    Zone::of(&design).expect("the design has name servers")
}

pub fn name(text: &str) -> ServerName {
    ServerName::new(text).expect("a server's name")
}

fn server(text: &str, public: &[&str]) -> Server {
    let public = public.iter().map(|address| address.parse().expect("an address")).collect();
    Server { name: name(text), public, private: None }
}

fn balancer(servers: &[&str]) -> Balancer {
    Balancer::new(
        servers.iter().map(|server| name(server)).collect(),
        vec![Backend { server: name("srv3"), weight: 1, backup: false, max_connections: 0 }],
        HealthCheck::new("/up", 500, 400),
    )
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

/// Runs `respond` on the first line of every file of `tests/golden/FOLDER` and compares what it prints with the rest.
pub fn goldens(folder: &str, respond: impl Fn(&str) -> String) {
    for case in triad_golden::cases(&format!("tests/golden/{folder}"), triad_golden::EMPTY_LINE) {
        case.compare(&respond(&case.input));
    }
}
