//! What cannot be together: rules over the whole file form. Each rule is one function that reports through
//! [`Mistakes`] and speaks only of values that are well-formed; the rest was reported when it was read.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::ops::Range;

use toml::Spanned;
use triad_model::{AGENT, Algorithm, App, AppProtocol, DATABASE, DNS, HOP, HTTP, HTTPS, METRICS, VOTERS};

use crate::balancing;
use crate::certificates;
use crate::file::{Database, File, Server, Servers};
use crate::format::{Format, network};
use crate::mistake::Mistakes;
use crate::pools;
use crate::requests;
use crate::resolve::default_database_name;
use crate::suggest::{and_list, suggest};
use crate::table::Field;

/// The most servers of one design.
pub const SERVERS_MAX: usize = 64;

/// Reports what `file` puts together that cannot be together.
pub(crate) fn check(file: &File, mistakes: &mut Mistakes<'_>) {
    check_hosts(file, mistakes);
    check_server_count(file, mistakes);
    check_addresses_differ(file, mistakes);
    check_private_addresses(file, mistakes);
    check_roles(file, mistakes);
    // A misspelt section is one mistake: what it leaves without a role or a need is not another.
    if file.has_all_sections {
        check_public_addresses(file, mistakes);
        check_sections(file, mistakes);
    }
    check_backends(file, mistakes);
    balancing::check(file, mistakes);
    check_sticky_cookie(file, mistakes);
    pools::check(file, mistakes);
    check_forwarders(file, mistakes);
    check_protocol(file, mistakes);
    check_limits(file, mistakes);
    check_log(file, mistakes);
    requests::check(file, mistakes);
    check_allowed(file, mistakes);
    check_database(file, mistakes);
    certificates::check(file, mistakes);
    check_ssh_port(file, mistakes);
}

/// Well-formed servers of the file.
fn servers(file: &File) -> &[Server] {
    file.servers.value().map_or(&[], Vec::as_slice)
}

fn listed(servers: &Servers) -> &[Spanned<String>] {
    servers.value().map_or(&[], Vec::as_slice)
}

fn check_hosts(file: &File, mistakes: &mut Mistakes<'_>) {
    let Some(site) = &file.site else { return };
    let (Some(domain), Some(hosts)) = (site.domain.value(), site.hosts.value()) else { return };
    let below = format!(".{domain}");
    for host in hosts.iter().filter(|host| host.get_ref() != domain && !host.get_ref().ends_with(&below)) {
        let what = format!("{:?} is outside the domain {domain:?}", host.get_ref());
        mistakes.add(host.span(), "site.hosts", what, format!("write {domain:?} or a name below it: \"www.{domain}\""));
    }
}

fn check_server_count(file: &File, mistakes: &mut Mistakes<'_>) {
    let Some(servers) = file.servers.given() else { return };
    let count = servers.get_ref().len();
    if let Some(first_extra) = servers.get_ref().get(SERVERS_MAX) {
        let what = format!("{count} servers are more than a design can have: {SERVERS_MAX}");
        mistakes.add(first_extra.name.span(), "servers", what, "make two designs of it");
    }
}

fn check_addresses_differ(file: &File, mistakes: &mut Mistakes<'_>) {
    let mut owners: BTreeMap<IpAddr, String> = BTreeMap::new();
    for server in servers(file) {
        let name = server.name.get_ref();
        let public = server.public.value().into_iter().flatten().map(|address| ("public", address));
        let private = server.private.given().map(|address| ("private", address));
        for (kind, address) in public.chain(private) {
            let key = format!("servers.{name}.{kind}");
            match owners.get(&address.get_ref().to_canonical()) {
                // A list that names an address twice was reported as a list.
                Some(owner) if kind == "public" && *owner == key => {}
                Some(owner) => {
                    let what = format!("{} is already {owner}", address.get_ref());
                    mistakes.add(address.span(), key, what, "give each server addresses of its own");
                }
                None => {
                    owners.insert(address.get_ref().to_canonical(), key);
                }
            }
        }
    }
}

fn check_private_addresses(file: &File, mistakes: &mut Mistakes<'_>) {
    let servers = servers(file);
    if servers.len() < 2 {
        return;
    }
    for server in servers.iter().filter(|server| server.private.is_absent()) {
        let name = server.name.get_ref();
        mistakes.add(
            server.name.span(),
            format!("servers.{name}.private"),
            format!("{name} has no private address, and the other servers must reach it"),
            "write private = \"10.77.0.11\", an address on the network between the servers",
        );
    }
}

/// Name servers and the servers users' requests reach first face the world.
fn check_public_addresses(file: &File, mistakes: &mut Mistakes<'_>) {
    let names = |servers: Option<&Servers>| -> BTreeSet<String> {
        servers.map_or(&[][..], listed).iter().map(|name| name.get_ref().clone()).collect()
    };
    let name_servers = names(file.dns.as_ref().map(|dns| &dns.servers));
    let (front_role, front_servers) = front(file);
    let fronts = names(front_servers);
    for server in servers(file).iter().filter(|server| server.public.is_absent()) {
        let name = server.name.get_ref();
        let why = match (name_servers.contains(name), fronts.contains(name)) {
            (_, true) => format!("carries [{front_role}], which users' requests reach first"),
            (true, false) => "carries [dns], which resolvers ask".to_owned(),
            (false, false) => continue,
        };
        mistakes.add(
            server.name.span(),
            format!("servers.{name}.public"),
            format!("{name} has no public address, but {why}"),
            format!("write public = \"203.0.113.11\" under [servers.{name}], or list another server"),
        );
    }
}

/// The role users' requests reach first, and who carries it; as [`triad_model::Design::front_role`].
fn front(file: &File) -> (&'static str, Option<&Servers>) {
    if let Some(balancer) = &file.balancer {
        ("balancer", Some(&balancer.servers))
    } else if let Some(web) = &file.web {
        ("web", Some(&web.servers))
    } else {
        ("app", file.app.as_ref().map(|app| &app.servers))
    }
}

/// A place in the file that names a server.
struct Reference<'f> {
    key: String,
    name: &'f Spanned<String>,
}

/// Roles are on servers that are listed, and every server that is listed has one or votes on who is the primary.
fn check_roles(file: &File, mistakes: &mut Mistakes<'_>) {
    let Some(servers) = file.servers.value() else { return };
    let names: BTreeSet<&str> = servers.iter().map(|server| server.name.get_ref().as_str()).collect();
    let references = references(file);
    let mut all_listed = true;
    for reference in references.iter().filter(|reference| !names.contains(reference.name.get_ref().as_str())) {
        all_listed = false;
        let what = format!("server {:?} is not listed", reference.name.get_ref());
        mistakes.add(
            reference.name.span(),
            reference.key.as_str(),
            what,
            listed_help(reference.name.get_ref(), &names),
        );
    }
    // A misspelt name leaves the server it means without a role: that is one mistake, not two.
    let complete = file.has_all_sections && all_listed;
    let has_replica = file.database.as_ref().is_some_and(|database| !listed(&database.replicas).is_empty());
    let all_vote = has_replica && servers.len() <= VOTERS;
    let whole = role_lists(file).iter().all(|(_, servers)| servers.given().is_some()) && primary_is_whole(file);
    if complete && whole && !all_vote {
        check_idle(servers, &references, mistakes);
    }
}

fn listed_help(name: &str, names: &BTreeSet<&str>) -> String {
    match suggest(name, names.iter().copied()) {
        Some(near) => format!("did you mean {near:?}?"),
        None if names.is_empty() => format!("add [servers.{name}]"),
        None => format!("add [servers.{name}], or name one of {}", and_list(names.iter().copied())),
    }
}

fn check_idle(servers: &[Server], references: &[Reference<'_>], mistakes: &mut Mistakes<'_>) {
    let busy: BTreeSet<&str> = references.iter().map(|reference| reference.name.get_ref().as_str()).collect();
    for server in servers.iter().filter(|server| !busy.contains(server.name.get_ref().as_str())) {
        let name = server.name.get_ref();
        mistakes.add(
            server.name.span(),
            format!("servers.{name}"),
            format!("{name} carries nothing"),
            "give it a role, in the servers of a section, or remove it",
        );
    }
}

/// The lists of servers that give roles.
fn role_lists(file: &File) -> Vec<(&'static str, &Servers)> {
    let lists = [
        file.dns.as_ref().map(|dns| ("dns.servers", &dns.servers)),
        file.balancer.as_ref().map(|balancer| ("balancer.servers", &balancer.servers)),
        file.web.as_ref().map(|web| ("web.servers", &web.servers)),
        file.app.as_ref().map(|app| ("app.servers", &app.servers)),
    ];
    lists.into_iter().flatten().collect()
}

fn primary_is_whole(file: &File) -> bool {
    file.database
        .as_ref()
        .is_none_or(|database| database.primary.given().is_some() && !matches!(database.replicas, Field::Wrong))
}

fn references(file: &File) -> Vec<Reference<'_>> {
    let mut references = Vec::new();
    for (key, servers) in role_lists(file) {
        references.extend(listed(servers).iter().map(|name| Reference { key: key.to_owned(), name }));
    }
    let backends = file.balancer.iter().filter_map(|balancer| balancer.backends.value()).flatten();
    references.extend(backends.map(|backend| Reference {
        key: format!("balancer.backends.{}", backend.server.get_ref()),
        name: &backend.server,
    }));
    if let Some(database) = &file.database {
        references.extend(database.primary.given().map(|name| Reference { key: "database.primary".to_owned(), name }));
        let replicas = listed(&database.replicas).iter();
        references.extend(replicas.map(|name| Reference { key: "database.replicas".to_owned(), name }));
    }
    references
}

/// Sections that need others.
fn check_sections(file: &File, mistakes: &mut Mistakes<'_>) {
    match (&file.web, &file.app) {
        (None, None) => check_serves_something(file, mistakes),
        (Some(web), None) if web.root.is_absent() => mistakes.add(
            web.at.clone(),
            "web.root",
            "[web] serves nothing: it has no root, and there is no [app] to pass requests to",
            "write root = \"public\", or add [app]",
        ),
        _ => {}
    }
    if let (Some(database), None) = (&file.database, &file.app) {
        let help = "add [app] with servers = [\"srv2\"], command = \"./foobar-app\", or remove [database]";
        mistakes.add(database.at.clone(), "database", "[database] has no [app] that uses it", help);
    }
}

fn check_serves_something(file: &File, mistakes: &mut Mistakes<'_>) {
    let help = "add [web] with servers = [\"srv2\"], root = \"public\", or [app] with servers and command";
    match &file.balancer {
        Some(balancer) => {
            let what = "[balancer] needs [web] or [app]: it has nothing to send requests to";
            mistakes.add(balancer.at.clone(), "balancer", what, help);
        }
        None => mistakes.add(0..0, "web", "the design serves nothing: it has neither [web] nor [app]", help),
    }
}

fn check_backends(file: &File, mistakes: &mut Mistakes<'_>) {
    let Some(backends) = file.balancer.as_ref().and_then(|balancer| balancer.backends.given()) else { return };
    if backends.get_ref().is_empty() {
        let help =
            "write backends = { srv2 = { weight = 5 } }, or leave the key out for every server of [web] or [app]";
        mistakes.add(backends.span(), "balancer.backends", "no backend gets requests: there is none", help);
    } else if backends.get_ref().iter().all(|backend| backend.is_passive()) {
        mistakes.add(
            backends.span(),
            "balancer.backends",
            "all backends are passive: none gets requests while all is well",
            "leave out backup = true, and write a weight of at least 1, for one of them",
        );
    }
    check_backends_carry(file, mistakes);
}

/// Name servers look whether balancers are alive as any client would: without a PROXY header.
fn check_forwarders(file: &File, mistakes: &mut Mistakes<'_>) {
    let (Some(balancer), Some(dns)) = (&file.balancer, &file.dns) else { return };
    let asks = |server: &&Server| listed(&dns.servers).iter().any(|name| name.get_ref() == server.name.get_ref());
    for text in listed(&balancer.proxy_protocol_from) {
        let Some(network) = network(text.get_ref()) else { continue };
        let is_in = |server: &&Server| {
            server.public.value().into_iter().flatten().any(|address| network.contains(address.get_ref()))
        };
        let Some(server) = servers(file).iter().filter(asks).find(is_in) else { continue };
        let (text_is, name) = (text.get_ref(), server.name.get_ref());
        mistakes.add(
            text.span(),
            "balancer.proxy_protocol_from",
            format!("{text_is} has {name} in it, a name server, whose checks of the balancers have no PROXY header"),
            "write the forwarders' own addresses",
        );
    }
}

/// What only goes with one of the protocols that instances speak.
fn check_protocol(file: &File, mistakes: &mut Mistakes<'_>) {
    let Some(app) = &file.app else { return };
    let (Some(protocol), health) = (app.protocol.value(), app.health.given()) else { return };
    if let Some(health) = health.filter(|it| it.get_ref() == App::GRPC_HEALTH && *protocol == AppProtocol::Http1) {
        mistakes.add(
            health.span(),
            "app.health",
            "gRPC needs HTTP/2, and `protocol` does not say that instances speak it",
            "write protocol = \"http2\", or a path: health = \"/up\"",
        );
    }
    if let Some(version) = app.proxy_protocol.given().filter(|_| *protocol == AppProtocol::Http2) {
        mistakes.add(
            version.span(),
            "app.proxy_protocol",
            "a PROXY header names one user, and a connection of HTTP/2 has many users' requests",
            "remove it, and take the address from X-Forwarded-For; or write protocol = \"http1\"",
        );
    }
}

fn check_limits(file: &File, mistakes: &mut Mistakes<'_>) {
    let Some(limits) = &file.limits else { return };
    let of_clients = limits.requests_per_s | limits.connections | limits.ban_after;
    if of_clients | limits.site_requests_per_s | limits.site_connections == 0 {
        let help = "write requests_per_s = 50, or connections = 100, or remove the section";
        mistakes.add(limits.at.clone(), "limits", "[limits] limits nothing", help);
    }
}

fn check_log(file: &File, mistakes: &mut Mistakes<'_>) {
    let Some(log) = &file.log else { return };
    let is_combined = log.format.value().is_some_and(|format| format == "combined");
    if let Some(fields) = log.fields.given().filter(|_| is_combined) {
        let what = "`fields` has no effect with format = \"combined\", which has seven and no others";
        mistakes.add(fields.span(), "log.fields", what, "remove it, or write format = \"json\"");
    }
}

fn check_sticky_cookie(file: &File, mistakes: &mut Mistakes<'_>) {
    let Some(balancer) = &file.balancer else { return };
    let Some(name) = balancer.sticky_cookie.given() else { return };
    if file.tls.is_none() && file.has_all_sections {
        let what = "`sticky_cookie` needs [tls]: what signs it follows from the site's private key";
        let help = "write a section [tls] with certificate = \"internal\", or algorithm = \"source\" instead";
        mistakes.add(name.span(), "balancer.sticky_cookie", what, help);
    }
    let is_cookie = balancer.balancing.algorithm.value().is_some_and(|algorithm| *algorithm == Algorithm::Cookie);
    if is_cookie && balancer.balancing.hash_on.value() == Some(name.get_ref()) {
        let what = format!("{:?} is the application's own cookie, by `hash_on`", name.get_ref());
        mistakes.add(name.span(), "balancer.sticky_cookie", what, "write another name: \"stay\"");
    }
}

/// A finding is allowed once: two reasons would contradict each other.
fn check_allowed(file: &File, mistakes: &mut Mistakes<'_>) {
    let mut seen = BTreeSet::new();
    for allowed in &file.allowed {
        if let Some(code) = allowed.code.value().filter(|code| !seen.insert(**code)) {
            let what = format!("{:?} is allowed twice", code.as_str());
            mistakes.add(allowed.at.clone(), "check.allow", what, "remove one of them");
        }
    }
}

fn check_backends_carry(file: &File, mistakes: &mut Mistakes<'_>) {
    let web = file.web.as_ref().map(|web| &web.servers);
    let app = file.app.as_ref().map(|app| &app.servers);
    let carriers: Vec<&Servers> = [web, app].into_iter().flatten().collect();
    if carriers.is_empty() || carriers.iter().any(|servers| servers.given().is_none()) {
        return;
    }
    let known = |name: &str| servers(file).iter().any(|server| server.name.get_ref() == name);
    let carries = |name: &str| carriers.iter().any(|servers| listed(servers).iter().any(|it| it.get_ref() == name));
    let backends = file.balancer.iter().filter_map(|balancer| balancer.backends.value()).flatten();
    for backend in backends.filter(|backend| known(backend.server.get_ref()) && !carries(backend.server.get_ref())) {
        let name = backend.server.get_ref();
        mistakes.add(
            backend.server.span(),
            format!("balancer.backends.{name}"),
            format!("{name} carries neither [web] nor [app]: it cannot answer requests"),
            format!("add {name:?} to web.servers or app.servers, or remove this backend"),
        );
    }
}

fn check_database(file: &File, mistakes: &mut Mistakes<'_>) {
    let Some(database) = &file.database else { return };
    if let Some(primary) = database.primary.value() {
        for replica in listed(&database.replicas).iter().filter(|replica| replica.get_ref() == primary) {
            mistakes.add(
                replica.span(),
                "database.replicas",
                format!("{primary} is the primary: it cannot be its own replica"),
                "name another server, or remove it",
            );
        }
    }
    check_database_defaults(file, database, mistakes);
}

/// A default can be a name that is refused: the schema of `mysql.com`, the account of a schema called `root`.
fn check_database_defaults(file: &File, database: &Database, mistakes: &mut Mistakes<'_>) {
    let domain = file.site.as_ref().and_then(|site| site.domain.value());
    let name = match &database.name {
        Field::Given(name) => Some(name.get_ref().clone()),
        Field::Wrong => None,
        Field::Absent => domain.map(|domain| default_database_name(domain)),
    };
    let Some(name) = name else { return };
    let defaults = [("name", Format::Schema, &database.name), ("user", Format::Account, &database.user)];
    for (key, format, _) in defaults.into_iter().filter(|(_, _, field)| field.is_absent()) {
        if let Err(fault) = format.check(&name) {
            let what = format!("`{key}` would be {name:?} by default: {}", fault.what);
            mistakes.add(database.at.clone(), format!("database.{key}"), what, fault.help);
        }
    }
}

fn check_ssh_port(file: &File, mistakes: &mut Mistakes<'_>) {
    let Some(firewall) = &file.firewall else { return };
    let port = *firewall.ssh_port.get_ref();
    if [HTTP, HTTPS, DNS, HOP, DATABASE, AGENT, METRICS].contains(&port) {
        let span: Range<usize> = firewall.ssh_port.span();
        mistakes.add(span, "firewall.ssh_port", format!("Triad itself listens on port {port}"), "write ssh_port = 22");
    }
}
