//! Why each part is in this design: its names, addresses and numbers.

use std::net::IpAddr;

use triad_model::{
    Algorithm, Backend, Balancer, Certificate, CheckKind, DATABASE, DATABASE_READ, DNS, DNS_LEAVES_OUT_MS, Design,
    FAILOVER_SILENT_MS, FAILOVER_TOLD_MS, HTTP, HTTPS, HealthCheck, INSTANCE_FIRST, METRICS, Role,
    SEMI_SYNC_TIMEOUT_MS, Server, ServerName, Statuses,
};

use super::Part;
use crate::survival::in_seconds;
use crate::words::{and_list, count, or_list};

/// Lines about `part`.
pub(super) fn part(part: Part, design: &Design) -> Vec<String> {
    match part {
        Part::Server => design.servers.iter().map(|server| self::server(design, server)).collect(),
        Part::Domain => domain(design),
        Part::Www => www(design),
        Part::Dns => dns(design),
        Part::Web => web(design),
        Part::App => app(design),
        Part::Database => database(design),
        Part::Balancer => balancer(design),
        Part::Algorithm => algorithm(design),
        Part::ActiveActive => active_active(design),
        Part::ActivePassive => active_passive(design),
        Part::Replica => replica(design),
        Part::Failover => failover(design),
        Part::Firewall => firewall(design),
        Part::Https => https(design),
        Part::Monitoring => monitoring(design),
        Part::Qps => qps(design),
    }
}

fn absent(section: &str, otherwise: &str) -> Vec<String> {
    vec![format!("There is none: the file has no [{section}]. {otherwise}")]
}

fn server(design: &Design, server: &Server) -> String {
    let mut addresses: Vec<String> = server.public.iter().map(|address| format!("{address} for the world")).collect();
    addresses.extend(server.private.map(|address| format!("{address} for the other servers")));
    let roles = design.roles(&server.name);
    let carries = if roles.is_empty() {
        "It carries no role, but votes on who is the primary.".to_owned()
    } else {
        format!("It carries {}.", and_list(roles))
    };
    format!("{}: {}. {carries}", server.name, and_list(addresses))
}

fn public(design: &Design, name: &ServerName) -> String {
    let addresses = design.server(name).map(|server| &server.public[..]).unwrap_or_default();
    format!("{name} ({})", and_list(addresses))
}

fn private(design: &Design, name: &ServerName) -> String {
    match design.server(name).and_then(|server| server.private) {
        Some(address) => format!("{name} ({address})"),
        None => name.to_string(),
    }
}

fn domain(design: &Design) -> Vec<String> {
    let fronts = and_list(design.fronts().into_iter().map(|front| public(design, front)));
    let mut lines = vec![
        format!("The domain is {}; the site answers to {}.", design.site.domain, and_list(&design.site.hosts)),
        format!("It leads to {fronts}, where requests arrive."),
    ];
    if design.dns.is_some() {
        lines.push("At the registrar, the design's name servers are entered for it (triad explain dns).".to_owned());
    }
    lines
}

fn www(design: &Design) -> Vec<String> {
    let domain = &design.site.domain;
    let addresses: Vec<IpAddr> = design
        .fronts()
        .into_iter()
        .filter_map(|front| design.server(front))
        .flat_map(|server| server.public.iter().copied())
        .collect();
    let aliases: Vec<&String> = design.site.hosts.iter().filter(|host| *host != domain).collect();
    let mut lines: Vec<String> =
        aliases.iter().map(|host| format!("{host} is a CNAME record: an alias of {domain}.")).collect();
    lines.extend(addresses.iter().map(|address| {
        let kind = if address.is_ipv4() { "A" } else { "AAAA" };
        format!("{domain} has the {kind} record {address}.")
    }));
    lines
}

fn dns(design: &Design) -> Vec<String> {
    let Some(dns) = &design.dns else { return absent("dns", "Somebody else's name servers answer for the domain.") };
    let mut lines: Vec<String> = dns
        .servers
        .iter()
        .enumerate()
        .map(|(index, name)| format!("{} is {}, port {DNS}.", design.name_server_name(index), public(design, name)))
        .collect();
    lines.push(format!("Answers may be kept for {} s (dns.ttl_s).", dns.ttl_s));
    lines.push(format!(
        "A front server that does not answer is left out of the answers within {} s, unless that would leave none.",
        in_seconds(DNS_LEAVES_OUT_MS)
    ));
    lines
}

fn web(design: &Design) -> Vec<String> {
    let Some(web) = &design.web else { return absent("web", "Every request goes to the application.") };
    let mut lines = vec![format!("It runs on {}.", and_list(web.servers.iter().map(|name| private(design, name))))];
    if let Some(root) = &web.root {
        lines.push(format!("It answers with the files in {}; other requests go to the application.", root.display()));
    }
    lines
}

fn app(design: &Design) -> Vec<String> {
    let Some(app) = &design.app else { return absent("app", "The site is files only.") };
    let last = INSTANCE_FIRST + app.instances - 1;
    let ports = if app.instances == 1 { format!("port {last}") } else { format!("ports {INSTANCE_FIRST} to {last}") };
    vec![
        format!("It runs on {}.", and_list(app.servers.iter().map(|name| private(design, name)))),
        format!(
            "On each, {} of {:?} on 127.0.0.1, {ports}: only the server's own edge reaches them.",
            count(app.instances.into(), "instance"),
            app.command
        ),
        format!("An instance gets requests while {} answers with a status below 400.", app.health),
    ]
}

fn database(design: &Design) -> Vec<String> {
    let Some(database) = &design.database else { return absent("database", "The site keeps no data.") };
    let mut lines = vec![format!("{} holds the schema {}.", private(design, &database.primary), database.name)];
    if design.carriers(Role::App).iter().any(|app| **app != database.primary) {
        lines.push(format!(
            "Applications connect to 127.0.0.1:{DATABASE} on their own server; its edge relays them to {}{}.",
            private(design, &database.primary),
            if design.fails_over() { ", or to whoever has taken over from it" } else { "" }
        ));
    }
    lines
}

fn balancer(design: &Design) -> Vec<String> {
    let Some(balancer) = &design.balancer else { return absent("balancer", "Requests go straight to the servers.") };
    let health = &balancer.balancing.health;
    let fronts = and_list(balancer.servers.iter().map(|name| public(design, name)));
    let ends = if design.tls.is_some() { format!(", ports {HTTP} and {HTTPS}") } else { format!(", port {HTTP}") };
    let backends: Vec<String> = balancer.backends.iter().map(|backend| share(design, backend)).collect();
    vec![
        format!("It is on {fronts}{ends}."),
        format!("It sends requests to {}.", and_list(backends)),
        format!(
            "It {} every {} ms, and every {} ms while answers contradict what it believes; {} failures in a row take \
             a backend out, {} successes bring it back. One that falls silent is out within {} s.",
            asks(health),
            health.interval_ms,
            health.gap_ms(true),
            health.fall,
            health.rise,
            in_seconds(health.silence_ms())
        ),
    ]
}

/// What a check does, as a clause.
fn asks(health: &HealthCheck) -> String {
    if health.kind == CheckKind::Tcp {
        return "connects to each".to_owned();
    }
    let status = match &health.status {
        any if *any == Statuses::default() => String::new(),
        status => format!(", which must answer {status},"),
    };
    let body = health.body.as_ref().map(|body| format!(" with {body:?} in it,")).unwrap_or_default();
    format!("asks each for {}{status}{body}", health.path)
}

fn share(design: &Design, backend: &Backend) -> String {
    let name = private(design, &backend.server);
    if backend.backup { format!("{name}, passive") } else { format!("{name}, weight {}", backend.weight) }
}

fn actives(balancer: &Balancer) -> Vec<&Backend> {
    balancer.backends.iter().filter(|backend| !backend.backup).collect()
}

fn algorithm(design: &Design) -> Vec<String> {
    let Some(balancer) = &design.balancer else { return absent("balancer", "Nothing chooses.") };
    let active = actives(balancer);
    let total: u32 = active.iter().map(|backend| u32::from(backend.weight)).sum();
    if let [only] = active[..] {
        return vec![format!("{} is the only active backend: it gets every request while it is up.", only.server)];
    }
    let name = format!(
        "The algorithm is {}, {}.",
        balancer.balancing.algorithm.as_str(),
        balancer.balancing.algorithm.in_words()
    );
    if balancer.balancing.algorithm != Algorithm::RoundRobin {
        let weights = active.iter().map(|backend| format!("{} has {}", backend.server, backend.weight));
        return vec![name, format!("Of the weights {}.", and_list(weights))];
    }
    let shares = active.iter().map(|backend| format!("{} gets {}", backend.server, backend.weight));
    vec![
        name,
        format!(
            "While all active backends are up, of every {} {}.",
            count(total as usize, "request"),
            and_list(shares)
        ),
    ]
}

fn active_active(design: &Design) -> Vec<String> {
    let Some(balancer) = &design.balancer else { return absent("balancer", "Nothing is shared.") };
    let active: Vec<&ServerName> = actives(balancer).into_iter().map(|backend| &backend.server).collect();
    let mut lines = vec![if active.len() > 1 {
        format!("{} share the requests, and each takes over for the others.", and_list(&active))
    } else {
        format!("Backends do not work this way here: {} alone is active.", and_list(&active))
    }];
    if balancer.servers.len() > 1 {
        lines.push(format!("The balancers {} are both active: DNS names all of them.", and_list(&balancer.servers)));
    }
    lines
}

fn active_passive(design: &Design) -> Vec<String> {
    let Some(balancer) = &design.balancer else { return absent("balancer", "Nothing takes over.") };
    let passive: Vec<&ServerName> =
        balancer.backends.iter().filter(|backend| backend.backup).map(|backend| &backend.server).collect();
    let active = and_list(actives(balancer).into_iter().map(|backend| &backend.server));
    if passive.is_empty() {
        return vec![format!("Backends do not work this way here: {active} are all active.")];
    }
    vec![format!(
        "{active} gets the requests; {} gets them within {} s after {active} has fallen silent, and gives them back \
         when it has returned.",
        and_list(passive),
        in_seconds(balancer.balancing.health.silence_ms())
    )]
}

fn replica(design: &Design) -> Vec<String> {
    let Some(database) = &design.database else { return absent("database", "There is nothing to copy.") };
    let primary = private(design, &database.primary);
    if database.replicas.is_empty() {
        return vec![format!("{primary} is the primary. It has no replica.")];
    }
    let replicas = and_list(database.replicas.iter().map(|name| private(design, name)));
    vec![
        format!("{primary} is the primary{}: it alone accepts writes.", first(design)),
        format!("{replicas} repeats its changes, over port {DATABASE}, and confirms each write that arrived."),
        alone(design),
        format!(
            "$DATABASE_URL leads to the primary. $DATABASE_READ_URL, port {DATABASE_READ}, leads to replicas as well, for \
             pages that may miss what was just written."
        ),
    ]
}

/// The file names who is the primary; where another may take over, only at first.
fn first(design: &Design) -> &'static str {
    if design.fails_over() { " at first, until another takes over" } else { "" }
}

/// What a primary does without its replicas.
fn alone(design: &Design) -> String {
    if design.fails_over() {
        return format!(
            "A replica that dies or falls silent leaves the in-sync set within {} s: writes go on without it, and wait for it \
             again when it has caught up.",
            in_seconds(FAILOVER_SILENT_MS)
        );
    }
    format!(
        "If no replica confirms within {} s, writes go on without, until one has caught up.",
        in_seconds(SEMI_SYNC_TIMEOUT_MS)
    )
}

fn failover(design: &Design) -> Vec<String> {
    let Some(database) = &design.database else { return absent("database", "There is nothing to take over.") };
    if !design.fails_over() {
        return vec![format!(
            "Nobody takes over from {} by itself: that needs a replica (database.replicas), and three servers with private \
             addresses that vote. The third need not carry anything.",
            database.primary
        )];
    }
    let voters: Vec<String> = design.voters().into_iter().map(|name| private(design, name)).collect();
    vec![
        format!("{} vote on who is the primary. Two of them must be up for anybody to take over.", and_list(voters)),
        format!(
            "{} is the primary at first. When its database's process dies, {} takes over within {} s; when the server falls \
             silent, within {} s.",
            database.primary,
            or_list(&database.replicas),
            in_seconds(FAILOVER_TOLD_MS),
            in_seconds(FAILOVER_SILENT_MS)
        ),
        "Meanwhile the edges hold what begins, and open connections that are idle go on at the new primary. Statements \
         and transactions in flight fail once; what was confirmed is there."
            .to_owned(),
        "When the old primary is back, it becomes a replica. `triad switchover` makes it the primary again, without losing a \
         write; `triad status database` says who it is."
            .to_owned(),
    ]
}

fn firewall(design: &Design) -> Vec<String> {
    let Some(firewall) = &design.firewall else { return absent("firewall", "Every port is open.") };
    let count = count(design.servers.len(), "firewall");
    let ssh = match firewall.ssh_from[..] {
        [] => "SSH is closed to everybody.".to_owned(),
        ref networks => format!("SSH, port {}, is open to {}.", firewall.ssh_port, and_list(networks)),
    };
    vec![format!("{count}, one on each server; what the design needs is admitted, the rest dropped."), ssh]
}

fn https(design: &Design) -> Vec<String> {
    let Some(tls) = &design.tls else { return absent("tls", "All traffic is plain HTTP.") };
    let fronts = and_list(design.fronts().into_iter().map(|front| public(design, front)));
    let certificate = match &tls.certificate {
        Certificate::Internal => "It is signed by the design's own authority, which browsers must be told to trust.",
        Certificate::Files { .. } => "It comes from the files the design names; somebody renews them.",
    };
    let mut lines = vec![
        format!("{fronts} shows the certificate for {}, on port {HTTPS}.", and_list(&design.site.hosts)),
        certificate.to_owned(),
    ];
    lines.extend(tls.certificates.iter().map(|named| {
        let hosts = and_list(&named.hosts);
        format!("Who asks for {hosts} is shown another one, from {}.", named.certificate.display())
    }));
    lines.extend(tls.clients.as_ref().map(|clients| {
        let demand = if clients.required { "must" } else { "may" };
        format!("Clients {demand} show a certificate of their own, signed by {}.", clients.authority.display())
    }));
    lines.extend([format!("Port {HTTP} answers with a redirect to HTTPS.")]);
    if design.servers.len() > 1 {
        lines.push("From edge to edge it is mutual TLS 1.3: both sides show a certificate of the design.".to_owned());
    }
    lines
}

fn monitoring(design: &Design) -> Vec<String> {
    let Some(monitor) = &design.monitor else { return absent("monitor", "Nobody is told how the servers are.") };
    let address = |server: &Server| server.private.or(server.public.first().copied());
    let addresses = design.servers.iter().filter_map(address).map(|it| format!("{it}:{METRICS}"));
    let readers = match monitor.metrics_from[..] {
        [] => "only the design's own servers may read them".to_owned(),
        ref networks => format!("the design's servers and {} may read them", and_list(networks)),
    };
    vec![
        format!("{}, one on each server: {}; {readers}.", count(design.servers.len(), "agent"), and_list(addresses)),
        "Each reads the kernel's figures from /proc, the edge's and name server's counters once a second, and the \
         database's own status; `triad status` shows the same from every server."
            .to_owned(),
    ]
}

fn qps(design: &Design) -> Vec<String> {
    let fronts = and_list(design.fronts());
    let mut lines = vec![
        format!("The edge on {fronts} counts every request that users make; `triad status` shows the rate."),
        "Edges behind count the requests that reach them, so the sum over all servers is not the site's QPS."
            .to_owned(),
    ];
    if design.database.is_some() {
        lines.push("The database counts its queries itself; one page may need many.".to_owned());
    }
    lines
}
