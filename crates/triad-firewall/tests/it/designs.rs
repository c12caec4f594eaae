//! Designs as `triad-config` would resolve them; what firewalls do not look at is left small.

use std::collections::BTreeMap;

use triad_model::{
    App, Backend, Balancer, Database, Design, Dns, Firewall, HealthCheck, Monitor, Server, ServerName, Site, Tls, Web,
};

/// Every design by the name its goldens carry.
pub fn all() -> Vec<(&'static str, Design)> {
    vec![("simple", simple()), ("secured", secured()), ("ipv6", ipv6())]
}

/// One server that has everything and no private address.
pub fn simple() -> Design {
    Design {
        web: Some(Web { servers: names(&["srv1"]), root: None }),
        app: Some(app(&["srv1"])),
        database: Some(database("srv1", &[])),
        firewall: Some(firewall(&["0.0.0.0/0", "::/0"], 2222)),
        ..empty(vec![server("srv1", &["203.0.113.11"], None)])
    }
}

/// Name server and balancer in front of two servers that hold all the rest.
pub fn secured() -> Design {
    let servers = vec![
        server("srv1", &["203.0.113.11"], Some("10.77.0.11")),
        server("srv2", &["203.0.113.12"], Some("10.77.0.12")),
        server("srv3", &["203.0.113.13"], Some("10.77.0.13")),
    ];
    Design {
        dns: Some(Dns { servers: names(&["srv1"]), ttl_s: 30 }),
        balancer: Some(balancer(&["srv1"], &["srv2", "srv3"])),
        web: Some(Web { servers: names(&["srv2", "srv3"]), root: None }),
        app: Some(app(&["srv2", "srv3"])),
        database: Some(database("srv2", &["srv3"])),
        tls: Some(Tls::internal()),
        firewall: Some(firewall(&["198.51.100.0/24"], 22)),
        monitor: Some(Monitor { metrics_from: vec![] }),
        check: Vec::new(),
        ..empty(servers)
    }
}

/// Both families in front, IPv6 alone between the servers.
pub fn ipv6() -> Design {
    let servers = vec![
        server("front", &["203.0.113.11", "2001:db8::11"], Some("fd77::11")),
        server("back", &[], Some("fd77::12")),
    ];
    Design {
        dns: Some(Dns { servers: names(&["front"]), ttl_s: 30 }),
        balancer: Some(balancer(&["front"], &["back"])),
        app: Some(app(&["back"])),
        firewall: Some(firewall(&["2001:db8:aaaa::/48"], 22)),
        monitor: Some(Monitor { metrics_from: vec!["2001:db8:bbbb::5/128".parse().unwrap()] }),
        check: Vec::new(),
        ..empty(servers)
    }
}

pub fn name(text: &str) -> ServerName {
    ServerName::new(text).unwrap()
}

fn names(texts: &[&str]) -> Vec<ServerName> {
    texts.iter().map(|text| name(text)).collect()
}

fn empty(servers: Vec<Server>) -> Design {
    Design {
        site: Site {
            domain: "foobar.com".to_owned(),
            hosts: vec!["www.foobar.com".to_owned()],
            maintenance_page: None,
            maintenance_allow: Vec::new(),
        },
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

fn server(text: &str, public: &[&str], private: Option<&str>) -> Server {
    Server {
        name: name(text),
        public: public.iter().map(|address| address.parse().unwrap()).collect(),
        private: private.map(|address| address.parse().unwrap()),
    }
}

fn balancer(servers: &[&str], backends: &[&str]) -> Balancer {
    let backends = names(backends)
        .into_iter()
        .map(|server| Backend { server, weight: 1, backup: false, max_connections: 0 })
        .collect();
    let health = HealthCheck::new("/up", 500, 500);
    Balancer::new(names(servers), backends, health)
}

fn app(servers: &[&str]) -> App {
    App {
        servers: names(servers),
        build: None,
        directory: ".".into(),
        command: "./app".to_owned(),
        instances: 1,
        max_connections: 0,
        health: "/up".to_owned(),
        environment: BTreeMap::new(),
        proxy_protocol: None,
        protocol: Default::default(),
    }
}

fn database(primary: &str, replicas: &[&str]) -> Database {
    Database { primary: name(primary), replicas: names(replicas), name: "app".to_owned(), user: "app".to_owned() }
}

fn firewall(ssh_from: &[&str], ssh_port: u16) -> Firewall {
    Firewall { ssh_from: ssh_from.iter().map(|network| network.parse().unwrap()).collect(), ssh_port }
}
