//! What stops the site, and what it costs to run it.

use std::net::IpAddr;

use triad_model::{Backend, Certificate, Code, Design, Finding, IpNet, Pool, Role, ServerName};

use super::finding;
use crate::survival::{Fault, Stage, predict, single_point, unseen_cut};
use crate::words::and_list;

/// Prefix lengths that networks of one place seldom exceed.
const NEIGHBOURS_V4: u8 = 24;
const NEIGHBOURS_V6: u8 = 48;

/// Every finding about what fails and what it costs.
pub(super) fn all(design: &Design) -> Vec<Finding> {
    let rules: [fn(&Design) -> Option<Finding>; 20] = [
        single_server,
        single_name_server,
        name_servers_together,
        single_balancer,
        single_application,
        single_database,
        no_failover,
        deploy_downtime,
        weak_reserve,
        unseen_database_loss,
        no_monitoring,
        monitoring_inside,
        no_backup,
        internal_certificate,
        single_writer,
        same_components,
        cannot_scale,
        one_private_network,
        no_https,
        outside_pool,
    ];
    rules.iter().filter_map(|rule| rule(design)).collect()
}

fn is_one_server(design: &Design) -> bool {
    design.servers.len() == 1
}

fn single_server(design: &Design) -> Option<Finding> {
    let [server] = &design.servers[..] else { return None };
    Some(finding(
        Code::SingleServer,
        "servers",
        format!("{} carries everything: it is a single point of failure", server.name),
        format!("while {} is down, nobody reaches the site; if its disk dies, so does the data", server.name),
        "add [servers.srv2] and [servers.srv3] and give them roles: `triad init --design secured` shows how",
    ))
}

fn single_name_server(design: &Design) -> Option<Finding> {
    if is_one_server(design) {
        return None;
    }
    let server = single_point(design, Stage::Names)?;
    Some(finding(
        Code::SingleNameServer,
        "dns.servers",
        format!("{server} alone answers for {}", design.site.domain),
        format!("while {server} is down, browsers cannot find the site, however healthy the rest is"),
        "list a second server with a public address in dns.servers, best in another network",
    ))
}

fn name_servers_together(design: &Design) -> Option<Finding> {
    let dns = design.dns.as_ref().filter(|dns| dns.servers.len() > 1)?;
    let public = |name: &ServerName| design.server(name).map(|server| &server.public[..]).unwrap_or_default();
    let addresses: Vec<&IpAddr> = dns.servers.iter().flat_map(public).collect();
    let mut networks: Vec<IpNet> = addresses.into_iter().filter_map(|address| network_of(*address)).collect();
    networks.sort();
    networks.dedup();
    let [network] = networks[..] else { return None };
    Some(finding(
        Code::NameServersTogether,
        "dns.servers",
        format!("{} are name servers in one network, {network}", and_list(&dns.servers)),
        "a fault of that network or its provider takes the domain off the Internet, with mail and all else in it",
        "move one name server to a server in another network",
    ))
}

fn network_of(address: IpAddr) -> Option<IpNet> {
    let length = if address.is_ipv4() { NEIGHBOURS_V4 } else { NEIGHBOURS_V6 };
    IpNet::new(address, length).ok().map(|network| network.trunc())
}

fn single_balancer(design: &Design) -> Option<Finding> {
    let balancer = design.balancer.as_ref()?;
    let server = single_point(design, Stage::Fronts).filter(|_| !is_one_server(design))?;
    let behind = and_list(balancer.backends.iter().map(|backend| &backend.server));
    Some(finding(
        Code::SingleBalancer,
        "balancer.servers",
        format!("{server} is the only balancer: a single point of failure"),
        format!("while {server} is down, nobody reaches the site, though {behind} could answer"),
        "list a second server with a public address in balancer.servers; DNS then names both, and browsers try both",
    ))
}

fn single_application(design: &Design) -> Option<Finding> {
    if is_one_server(design) {
        return None;
    }
    let only = |role| match design.carriers(role)[..] {
        [server] => Some(server),
        _ => None,
    };
    let server = single_point(design, Stage::Application).or(only(Role::App)).or(only(Role::Web))?;
    let (code, role, what) = if design.carries(server, Role::App) {
        (Code::SingleAppServer, "app", "runs the application")
    } else {
        (Code::SingleWebServer, "web", "serves the site's web server")
    };
    // Others may do it for what routes take.
    let (share, whose) =
        if design.pools.is_empty() { ("", "users") } else { (" for what no route takes", "its users") };
    Some(finding(
        code,
        &format!("{role}.servers"),
        format!("{server} alone {what}{share}: a single point of failure"),
        format!("while {server} is down, {whose} get an error page (502 or 503)"),
        format!("list a second server in {role}.servers; a balancer sends requests to whichever is up"),
    ))
}

fn single_database(design: &Design) -> Option<Finding> {
    let database = design.database.as_ref().filter(|database| database.replicas.is_empty())?;
    let primary = single_point(design, Stage::Data)?;
    let mend = match design.servers.len() {
        1 => "add a second server and list it in database.replicas; with a third one, it takes over by itself",
        2 => "list another server in database.replicas: it holds a copy of each write before the write is confirmed",
        _ => {
            "list another server in database.replicas: it holds a copy of each write before the write is confirmed, and \
             takes over by itself"
        }
    };
    Some(finding(
        Code::SingleDatabase,
        "database.primary",
        format!("{primary} holds the only copy of the data ({})", database.name),
        format!("while {primary} is down, every page that needs data fails; if its disk dies, all data is gone"),
        mend,
    ))
}

fn no_failover(design: &Design) -> Option<Finding> {
    let database = design.database.as_ref().filter(|database| !database.replicas.is_empty())?;
    let primary = single_point(design, Stage::Data)?;
    Some(finding(
        Code::NoFailover,
        "database.primary",
        format!(
            "nothing promotes {} when {primary} dies: two servers can have no majority",
            and_list(&database.replicas)
        ),
        format!(
            "while {primary} is down, writes and pages that need data fail, until an operator has repaired it, or says \
             `triad promote` on a server with a replica"
        ),
        "add a third server with a private address: its vote is enough, it need not carry anything. Then the replica takes \
         over by itself",
    ))
}

fn deploy_downtime(design: &Design) -> Option<Finding> {
    let app = design.app.as_ref()?;
    let [server] = &app.servers[..] else { return None };
    Some(finding(
        Code::DeployDowntime,
        "app.servers",
        format!("every deploy and every maintenance of {server} is downtime"),
        format!("while {server} or the application on it restarts, users get an error page"),
        "list a second server in app.servers and give the site a [balancer]: then one can be changed at a time",
    ))
}

fn weak_reserve(design: &Design) -> Option<Finding> {
    let balancer = design.balancer.as_ref()?;
    let weight = |backends: &[&Backend]| backends.iter().map(|backend| u32::from(backend.weight)).sum::<u32>();
    let (passive, active): (Vec<&Backend>, Vec<&Backend>) = balancer.backends.iter().partition(|it| it.backup);
    let strongest = active.iter().max_by_key(|backend| backend.weight)?;
    let others: Vec<&Backend> = active.iter().copied().filter(|backend| backend.server != strongest.server).collect();
    let rest = if others.is_empty() { passive } else { others };
    let (lost, left) = (u32::from(strongest.weight), weight(&rest));
    if rest.is_empty() || left >= lost {
        return None;
    }
    let names = and_list(rest.iter().map(|backend| &backend.server));
    let of = lost + if active.len() > 1 { left } else { 0 };
    Some(finding(
        Code::WeakReserve,
        "balancer.backends",
        format!("when {} dies, {names} must carry its load, by weight {lost} against {left}", strongest.server),
        format!("{names}, sized for {left} of {of} parts, gets all requests: pages become slow or fail"),
        format!("size {names} for all of the load and raise its weight, or add a backend"),
    ))
}

fn unseen_database_loss(design: &Design) -> Option<Finding> {
    let (server, primary) = unseen_cut(design)?;
    let path = &design.app.as_ref()?.health;
    Some(finding(
        Code::UnseenDatabaseLoss,
        "app.health",
        format!("a server that loses only its way to the database, as {server} to {primary}, keeps getting requests"),
        format!("requests that {server} gets fail although another server could answer them, until somebody sees it"),
        format!(
            "remove max_fails = 0 from [balancer]: then it leaves out who fails alone; or let {path} ask the database, \
             with a time-out below the check's, and answer 503 without it (while the database itself is down, static \
             files then fail too); if it does so already, allow this finding"
        ),
    ))
}

fn no_https(design: &Design) -> Option<Finding> {
    if design.tls.is_some() {
        return None;
    }
    let host = design.site.hosts.first()?;
    Some(finding(
        Code::NoHttps,
        "site.hosts",
        format!("{host} is served over plain HTTP"),
        "anybody on the way can read and change what users see and send, passwords too; browsers warn of it",
        "add [tls] with certificate = \"internal\", or \"files\" with certificate_file and key_file",
    ))
}

fn no_monitoring(design: &Design) -> Option<Finding> {
    if design.monitor.is_some() {
        return None;
    }
    Some(finding(
        Code::NoMonitoring,
        "servers",
        "no server is monitored",
        "a full disk, a replica that fell behind or a rising error rate is noticed when users call",
        "add [monitor], with metrics_from for whoever collects",
    ))
}

fn monitoring_inside(design: &Design) -> Option<Finding> {
    design.monitor.as_ref().filter(|monitor| monitor.metrics_from.is_empty())?;
    let servers = and_list(design.servers.iter().map(|server| &server.name));
    Some(finding(
        Code::MonitoringInside,
        "monitor.metrics_from",
        "only the servers themselves may read the metrics",
        format!("a collector on {servers} dies with what it watches, and then nobody is called"),
        "collect from outside: write metrics_from = [\"198.51.100.0/24\"], the collector's network",
    ))
}

fn no_backup(design: &Design) -> Option<Finding> {
    let database = design.database.as_ref()?;
    let copies =
        if database.replicas.is_empty() { "" } else { "; a replica repeats a mistaken DELETE within a second" };
    Some(finding(
        Code::NoBackup,
        "database",
        "no backup leaves the servers",
        format!("what is deleted by mistake or by a burglar is gone for ever{copies}"),
        "this version makes none: run mariadb-backup from cron, copy its result to another place, try restoring it, \
         and then allow this finding with a reason that says where the copy is",
    ))
}

fn internal_certificate(design: &Design) -> Option<Finding> {
    design.tls.as_ref().filter(|tls| tls.certificate == Certificate::Internal)?;
    Some(finding(
        Code::InternalCertificate,
        "tls.certificate",
        "the site's certificate is signed by the design's own authority",
        "browsers that were not told to trust it show a warning instead of the site",
        "for strangers, write certificate = \"files\" with a certificate that browsers know",
    ))
}

fn outside_pool(design: &Design) -> Option<Finding> {
    let outside = |pool: &&Pool| pool.backends.iter().any(|backend| backend.server().is_none());
    let pools: Vec<&Pool> = design.pools.iter().filter(outside).collect();
    let first = pools.first()?;
    let backends = pools.iter().flat_map(|pool| &pool.backends).filter(|backend| backend.server().is_none());
    let names: Vec<&ServerName> = backends.map(|backend| &backend.name).collect();
    Some(finding(
        Code::OutsidePool,
        &format!("pools.{}.backends", first.name),
        format!("routes lead to {}, which Triad does not run", and_list(names)),
        "what becomes of requests that are routed there is not in the table below, which takes it to be up",
        "nothing, if somebody else watches it; else run it as the design's own application",
    ))
}

fn single_writer(design: &Design) -> Option<Finding> {
    let database = design.database.as_ref().filter(|database| !database.replicas.is_empty())?;
    let heir = if design.fails_over() { ", or whoever has taken over from it" } else { "" };
    Some(finding(
        Code::SingleWriter,
        "database.primary",
        format!("{} alone accepts writes{heir}", database.primary),
        "writes are as fast as that one server, and wait for it; more replicas do not make them faster",
        "for most sites nothing: several writers cost more than they give (conflicts to resolve, commits that wait \
         for a round of votes, or data split by key). First give the primary a faster disk and more memory",
    ))
}

fn same_components(design: &Design) -> Option<Finding> {
    let both = |server: &&ServerName| {
        design.carries(server, Role::Database)
            && (design.carries(server, Role::App) || design.carries(server, Role::Web))
    };
    let servers: Vec<&ServerName> = design.servers.iter().map(|server| &server.name).filter(both).collect();
    if servers.len() < 2 {
        return None;
    }
    let shared = [Role::Web, Role::App, Role::Database];
    let roles: Vec<Role> =
        shared.into_iter().filter(|role| servers.iter().all(|server| design.carries(server, *role))).collect();
    Some(finding(
        Code::SameComponents,
        "servers",
        format!("{} hold the same components: {}", and_list(&servers), and_list(&roles)),
        "when traffic rises, the application takes the processor and memory the database on the same server needs, \
         and neither can be given more alone",
        "give the database servers of its own, as `triad init --design scaled` does",
    ))
}

fn cannot_scale(design: &Design) -> Option<Finding> {
    let app = design.app.as_ref().filter(|app| app.servers.len() == 1 && design.balancer.is_none())?;
    Some(finding(
        Code::CannotScale,
        "app.servers",
        format!("more traffic than {} carries cannot be met with more servers", app.servers[0]),
        "at a peak, pages become slow for everybody, then fail",
        "add a [balancer] before two or more servers in app.servers",
    ))
}

fn one_private_network(design: &Design) -> Option<Finding> {
    if is_one_server(design) || predict(design, Fault::PrivateNetwork).reads.goes_on() {
        return None;
    }
    Some(finding(
        Code::OnePrivateNetwork,
        "servers",
        "all servers reach each other over one private network",
        "while that network is down, requests stop at the first server, and the database does not replicate",
        "ask the provider for redundant switches and bonded interfaces; a second network cannot be written here",
    ))
}
