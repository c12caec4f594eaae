//! A design of three servers with a database on two, for all tests of this crate.

use std::net::IpAddr;
use std::path::Path;

use triad_database::{DatabasePlan, Layout, RunAs};
use triad_model::{Database, Design, Server, ServerName, Site};

/// A checked server name.
pub fn name(text: &str) -> ServerName {
    ServerName::new(text).expect("a server's name")
}

/// `addresses` become `srv1`, `srv2`, …
pub fn design(addresses: &[&str], primary: &str, replicas: &[&str]) -> Design {
    let address = |text: &str| -> IpAddr { text.parse().expect("an address") };
    let server = |(index, text): (usize, &&str)| Server {
        name: name(&format!("srv{}", index + 1)),
        public: Vec::new(),
        private: Some(address(text)),
    };
    Design {
        site: Site {
            domain: "foobar.com".into(),
            hosts: vec!["www.foobar.com".into()],
            maintenance_page: None,
            maintenance_allow: Vec::new(),
        },
        servers: addresses.iter().enumerate().map(server).collect(),
        dns: None,
        balancer: None,
        web: None,
        app: None,
        database: Some(Database {
            primary: name(primary),
            replicas: replicas.iter().map(|replica| name(replica)).collect(),
            name: "guest_book".into(),
            user: "guestbook".into(),
        }),
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

/// The plan of `server`, with everything below `root`.
pub fn plan(design: &Design, server: &str, root: &Path, run_as: RunAs) -> DatabasePlan {
    let layout =
        Layout { data: root.join("data"), run: root.join("run"), config: root.join("config"), log: root.join("log") };
    DatabasePlan::of(design, &name(server), layout, run_as).expect("a server with a database")
}
