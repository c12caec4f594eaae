//! The way of one request through a design, hop by hop, with addresses, ports and protocols.

use std::net::IpAddr;

use serde::Serialize;
use triad_model::{
    Ambiguous, Backend, Balancer, DATABASE, DNS, Design, Flow, HOP, HTTP, HTTPS, INSTANCE_FIRST, Origin, Pool,
    PoolBackend, Protocol, Redirect, Role, Route, ServerName, flows, redirect_for, route_for,
};

use super::wrapped;
use crate::words::{and_list, or_list};

/// Why a request has no way through a design.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WalkError {
    /// It is no URL of the web.
    #[error("{0:?} is not a URL: write https://www.foobar.com/")]
    NotAUrl(String),
    /// The site has another name.
    #[error("{host:?} is none of this site's hosts, which are {hosts}: the edge would answer 421")]
    OtherHost {
        /// The host in the URL.
        host: String,
        /// The site's.
        hosts: String,
    },
    /// The edge listens on the usual ports only.
    #[error("the site does not listen on port {0}: leave the port out")]
    OtherPort(String),
}

/// A URL, taken apart.
struct Url<'u> {
    secure: bool,
    host: &'u str,
    path: &'u str,
}

/// A part of a request's way, and who does it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Hop {
    /// The name is looked up.
    Name,
    /// A front server sends the browser from HTTP to HTTPS.
    Redirect {
        /// The front server.
        server: ServerName,
    },
    /// The browser reaches the site.
    Arrive {
        /// The front server.
        server: ServerName,
    },
    /// A web server looks for a file of that name.
    Files {
        /// The web server.
        server: ServerName,
    },
    /// The balancer chooses.
    Balance {
        /// The balancer.
        server: ServerName,
    },
    /// One server's edge passes the request to another's.
    Between {
        /// Who passes it.
        from: ServerName,
        /// Who gets it.
        to: ServerName,
    },
    /// An edge passes the request to what Triad does not run.
    Outside {
        /// Who passes it.
        from: ServerName,
        /// What the file calls it.
        to: ServerName,
    },
    /// An instance of the application makes the answer.
    Application {
        /// The server it is on.
        server: ServerName,
    },
    /// The instance asks the database.
    Database {
        /// The server the instance is on.
        server: ServerName,
    },
    /// The answer goes back.
    Back {
        /// The front server.
        server: ServerName,
    },
}

/// A part of a request's way, told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Which part.
    #[serde(flatten)]
    pub hop: Hop,
    /// What the design says of it.
    pub text: String,
    /// What was seen of it, a sentence each, where a request was really sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub seen: Vec<String>,
}

/// Says how a browser's request for `url` goes through `design`: who is asked, at which address and port, in which
/// protocol, and which firewall rule admits it. Where several can answer, the first of the file is followed.
///
/// # Errors
/// `url` is not one of this site.
pub fn walk(design: &Design, url: &str) -> Result<String, WalkError> {
    Ok(told(&steps(design, url, &[])?))
}

/// The same as data. Where several can answer, the request follows `way`, the servers whose edges had it in their
/// order, a server that is its own backend twice; where `way` ends, the first of the file.
///
/// # Errors
/// As [`walk`].
pub fn steps(design: &Design, url: &str, way: &[ServerName]) -> Result<Vec<Step>, WalkError> {
    let url = Url::parse(design, url)?;
    let mut steps = vec![step(Hop::Name, resolve(design, url.host))];
    let Some(front) = way.first().or_else(|| design.fronts().first().copied()) else { return Ok(Vec::new()) };
    let secure = design.tls.is_some();
    if secure && !url.secure {
        steps.push(step(Hop::Redirect { server: front.clone() }, redirect(design, front, &url)));
    }
    let arrives = arrive(design, front, secure);
    if let Some(index) = redirect_for(&design.redirects, url.host, url.path) {
        let text = format!("{arrives} {}", elsewhere(&design.redirects[index]));
        steps.push(step(Hop::Arrive { server: front.clone() }, text));
        return Ok(steps);
    }
    let route = match route_for(&design.routes, url.host, url.path) {
        Ok(route) => route.map(|index| &design.routes[index]),
        Err(Ambiguous) => {
            let text = format!("{arrives} It answers 400: {Ambiguous}.");
            steps.push(step(Hop::Arrive { server: front.clone() }, text));
            return Ok(steps);
        }
    };
    steps.push(step(Hop::Arrive { server: front.clone() }, arrives));
    let (mut server, mut rest) = (front, way.get(1..).unwrap_or_default());
    if let Some((route, pool)) = route.and_then(|route| Some((route, design.pool(&route.pool)?))) {
        steps.extend(routed(design, front, url.path, route, pool, rest));
        steps.push(step(Hop::Back { server: front.clone() }, back(design, front)));
        return Ok(steps);
    }
    if let Some(balancer) = design.balancer.as_ref().filter(|balancer| balancer.servers.contains(front)) {
        steps.extend(files(design, front, url.path));
        let next;
        (next, rest) = match rest {
            [next, rest @ ..] => (next, rest),
            [] => (first_backend(balancer, front), rest),
        };
        steps.push(step(Hop::Balance { server: front.clone() }, balance(design, balancer, front, next)));
        steps.extend(hop(design, front, next));
        server = next;
    }
    if server != front || design.balancer.is_none() {
        steps.extend(files(design, server, url.path));
    }
    steps.extend(application(design, server, rest.first()));
    steps.push(step(Hop::Back { server: front.clone() }, back(design, front)));
    Ok(steps)
}

/// `steps` as they are printed: numbered, what was seen below what was to be expected.
pub fn told(steps: &[Step]) -> String {
    let one = |(index, step): (usize, &Step)| {
        let seen: String = step.seen.iter().map(|line| wrapped(line, "    => ")).collect();
        wrapped(&step.text, &format!("{:>2}. ", index + 1)) + &seen
    };
    steps.iter().enumerate().map(one).collect()
}

fn step(hop: Hop, text: String) -> Step {
    Step { hop, text, seen: Vec::new() }
}

impl<'u> Url<'u> {
    fn parse(design: &Design, url: &'u str) -> Result<Self, WalkError> {
        let not_a_url = || WalkError::NotAUrl(url.to_owned());
        let (scheme, rest) = url.split_once("://").ok_or_else(not_a_url)?;
        let secure = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(not_a_url()),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
        if host.is_empty() {
            return Err(not_a_url());
        }
        if !design.site.hosts.iter().any(|known| known == host) {
            return Err(WalkError::OtherHost { host: host.to_owned(), hosts: and_list(&design.site.hosts) });
        }
        let usual = if secure { HTTPS } else { HTTP };
        let listens = !secure || design.tls.is_some();
        if !listens || !(port.is_empty() || port == usual.to_string()) {
            let port = if port.is_empty() { usual.to_string() } else { port.to_owned() };
            return Err(WalkError::OtherPort(port));
        }
        let path = path.split(['?', '#']).next().filter(|path| !path.is_empty()).unwrap_or("/");
        Ok(Self { secure, host, path })
    }
}

fn public(design: &Design, name: &ServerName) -> Vec<IpAddr> {
    design.server(name).map(|server| server.public.clone()).unwrap_or_default()
}

fn private(design: &Design, name: &ServerName) -> String {
    design.server(name).and_then(|server| server.private).map_or_else(|| name.to_string(), |it| it.to_string())
}

/// What a server's firewall says to a connection.
fn admitted(design: &Design, to: &ServerName, port: u16, from: &Origin) -> String {
    if design.firewall.is_none() {
        return format!("{to} has no firewall, so nothing asks who may.");
    }
    let fits =
        |flow: &Flow| flow.to == *to && flow.port == port && flow.from == *from && flow.protocol == Protocol::Tcp;
    match flows(design).into_iter().find(fits) {
        Some(flow) => format!("{to}'s firewall admits TCP port {port} from {}: \"{}\".", origin(from), flow.why),
        None => format!("{to}'s firewall drops it: nothing in the design needs TCP port {port} from {}.", origin(from)),
    }
}

fn origin(from: &Origin) -> String {
    match from {
        Origin::World => "anybody".to_owned(),
        Origin::Network(network) => network.to_string(),
        Origin::Server(server) => server.to_string(),
    }
}

fn resolve(design: &Design, host: &str) -> String {
    let addresses: Vec<IpAddr> = design.fronts().into_iter().flat_map(|front| public(design, front)).collect();
    let found =
        format!("{} {}", if addresses.len() == 1 { "the address" } else { "the addresses" }, and_list(&addresses));
    let alias = if host == design.site.domain {
        String::new()
    } else {
        format!("{host} is an alias (CNAME) of {}, and ", design.site.domain)
    };
    let Some(dns) = &design.dns else {
        return format!("Name: name servers outside this design give {host} {found}.");
    };
    let one_of = if dns.servers.len() == 1 { "" } else { "one of " };
    let servers = dns.servers.iter().enumerate().map(|(index, name)| {
        let addresses = and_list(public(design, name));
        format!("{} ({name}, {addresses})", design.name_server_name(index))
    });
    format!(
        "Name: the browser asks its resolver for {host}; unless it remembers, the resolver asks {one_of}{}, UDP port \
         {DNS}. The answer: {alias}{} has {found}. It may be kept for {} s.",
        and_list(servers),
        design.site.domain,
        dns.ttl_s
    )
}

fn redirect(design: &Design, front: &ServerName, url: &Url<'_>) -> String {
    let address = and_list(public(design, front));
    format!(
        "Redirect: the browser connects to {front}, {address}, TCP port {HTTP}, and asks in plain HTTP. The edge \
         answers 308: come back to https://{}{}.",
        url.host, url.path
    )
}

/// The end of the way: who is sent elsewhere begins anew there.
fn elsewhere(redirect: &Redirect) -> String {
    let Redirect { from, to, status } = redirect;
    format!(
        "It answers {status}, because [[redirects]] has from = \"{from}\" and to = \"{to}\"; nothing behind it is asked."
    )
}

fn arrive(design: &Design, front: &ServerName, secure: bool) -> String {
    let address = and_list(public(design, front));
    let port = if secure { HTTPS } else { HTTP };
    let others = design.fronts().len() - 1;
    let try_next = if others > 0 { " If that address is silent, the browser tries the next." } else { "" };
    let protocol = if secure {
        "The edge shows the site's certificate: TLS 1.3 or 1.2, HTTP/1.1 inside."
    } else {
        "The edge reads HTTP/1.1 in the clear."
    };
    format!(
        "{front}: the browser connects to {address}, TCP port {port}. {} {protocol} It refuses hosts that are not the \
         site's and gives the request an id.{try_next}",
        admitted(design, front, port, &Origin::World)
    )
}

/// Where a file of that name would be answered with.
fn files(design: &Design, server: &ServerName, path: &str) -> Option<Step> {
    let web = design.web.as_ref().filter(|web| web.servers.contains(server))?;
    let root = web.root.as_ref()?.display();
    let otherwise =
        if design.app.is_some() { "Else it goes on to the application." } else { "Else the answer is 404." };
    let text = format!("{server}, web server: if {root} has a file for {path}, it is answered from here. {otherwise}");
    Some(step(Hop::Files { server: server.clone() }, text))
}

/// Who gets a request if all backends are up.
fn first_backend<'d>(balancer: &'d Balancer, front: &'d ServerName) -> &'d ServerName {
    balancer.backends.iter().find(|backend| !backend.backup).map_or(front, |backend| &backend.server)
}

/// Who stands by.
fn spare(passive: Vec<&ServerName>) -> String {
    if passive.is_empty() {
        return String::new();
    }
    format!(" {} would get it only with none of them up.", and_list(passive))
}

fn balance(design: &Design, balancer: &Balancer, front: &ServerName, next: &ServerName) -> String {
    let (passive, active): (Vec<&Backend>, Vec<&Backend>) = balancer.backends.iter().partition(|it| it.backup);
    let turns = active.iter().map(|backend| format!("{} (weight {})", backend.server, backend.weight));
    let spare = spare(passive.iter().map(|backend| &backend.server).collect());
    let kept = if design.carries(front, Role::Web) { "anything else" } else { "the request" };
    let stays = balancer.sticky_cookie.as_ref().map(|cookie| {
        format!(
            " Who has the cookie {cookie:?} goes where it was answered first, down to the instance, while that is up."
        )
    });
    format!(
        "{front}, balancer: {kept} goes to the next in turn of {}, of those whose {} answers.{spare}{} We follow it to \
         {next}.",
        and_list(turns),
        balancer.balancing.health.path,
        stays.unwrap_or_default()
    )
}

/// The way of a request that a route is for, from the front on.
fn routed(
    design: &Design,
    front: &ServerName,
    path: &str,
    route: &Route,
    pool: &Pool,
    way: &[ServerName],
) -> Vec<Step> {
    // Where it is a backend itself, it looks for a file first, as it would then.
    let is_backend = pool.backends.iter().any(|backend| backend.server() == Some(front));
    let mut steps: Vec<Step> = files(design, front, path).filter(|_| is_backend).into_iter().collect();
    let asked = way.first().and_then(|name| pool.backends.iter().find(|backend| backend.name == *name));
    let first = || pool.backends.iter().find(|backend| !backend.backup);
    let Some(next) = asked.or_else(first) else { return steps };
    steps.push(step(Hop::Balance { server: front.clone() }, choose(front, route, pool, next)));
    let Some(server) = next.server() else {
        steps.push(outside(design, front, next));
        return steps;
    };
    steps.extend(hop(design, front, server));
    if server != front {
        steps.extend(files(design, server, path));
    }
    steps.extend(application(design, server, way.get(1)));
    steps
}

fn choose(front: &ServerName, route: &Route, pool: &Pool, next: &PoolBackend) -> String {
    let (passive, active): (Vec<&PoolBackend>, Vec<&PoolBackend>) = pool.backends.iter().partition(|it| it.backup);
    let turns = active.iter().map(|backend| format!("{} (weight {})", backend.name, backend.weight));
    format!(
        "{front}, balancer: [[routes]] has match = \"{}\", so the request goes to the pool {}: to the next in turn of {}, \
         of those whose {} answers.{} We follow it to {}.",
        route.pattern,
        pool.name,
        and_list(turns),
        pool.balancing.health.path,
        spare(passive.iter().map(|backend| &backend.name).collect()),
        next.name
    )
}

/// To what Triad does not run.
fn outside(design: &Design, from: &ServerName, to: &PoolBackend) -> Step {
    let name = &to.name;
    let address = to.address.map(|address| address.to_string()).unwrap_or_default();
    let text = format!(
        "{from} to {name}: {} connects to {address}, plain HTTP/1.1. Triad does not run it, so what happens there is not \
         told here.",
        private(design, from)
    );
    step(Hop::Outside { from: from.clone(), to: name.clone() }, text)
}

/// From one server's edge to another's.
fn hop(design: &Design, from: &ServerName, to: &ServerName) -> Option<Step> {
    if from == to {
        return None;
    }
    let protocol = if design.tls.is_some() {
        "mutual TLS 1.3: both sides show a certificate of the design's authority"
    } else {
        "plain HTTP/1.1"
    };
    let text = format!(
        "{from} to {to}: {} connects to {}, TCP port {HOP}, {protocol}. {}",
        private(design, from),
        private(design, to),
        admitted(design, to, HOP, &Origin::Server(from.clone()))
    );
    Some(step(Hop::Between { from: from.clone(), to: to.clone() }, text))
}

/// On `server`, or if it has no application, on `next` or the first that has.
fn application(design: &Design, server: &ServerName, next: Option<&ServerName>) -> Vec<Step> {
    let Some(app) = &design.app else { return Vec::new() };
    let mut steps = Vec::new();
    let mut at = server;
    if !design.carries(server, Role::App) {
        let Some(next) = next.or(app.servers.first()) else { return steps };
        steps.extend(hop(design, server, next));
        at = next;
    }
    let ports = (0..app.instances).map(|index| format!("127.0.0.1:{}", INSTANCE_FIRST + index));
    let text = format!(
        "{at}, application: the edge passes the request, in plain HTTP/1.1 that does not leave the server, to the next \
         instance that is up: {}.",
        and_list(ports)
    );
    steps.push(step(Hop::Application { server: at.clone() }, text));
    steps.extend(database(design, at).map(|text| step(Hop::Database { server: at.clone() }, text)));
    steps
}

fn database(design: &Design, app: &ServerName) -> Option<String> {
    let database = design.database.as_ref()?;
    let primary = &database.primary;
    let way = if primary == app {
        "which leads to MariaDB on the same server, through a Unix socket.".to_owned()
    } else {
        format!(
            "which leads to MariaDB on {primary}, {}, TCP port {DATABASE}, unencrypted. {}",
            private(design, primary),
            admitted(design, primary, DATABASE, &Origin::Server(app.clone()))
        )
    };
    let confirm = match &database.replicas[..] {
        [] => String::new(),
        replicas => format!(" A write is confirmed once {} has received it.", and_list(replicas)),
    };
    let heirs = match design.fails_over() {
        true => format!(" When {primary} dies, {} takes over, and the relay leads there.", or_list(&database.replicas)),
        false => String::new(),
    };
    let hop = if primary == app { app.to_string() } else { format!("{app} to {primary}") };
    Some(format!(
        "{hop}, database: the instance connects to 127.0.0.1:{DATABASE}, the edge's relay, {way}{confirm}{heirs}"
    ))
}

fn back(design: &Design, front: &ServerName) -> String {
    let counted = if design.monitor.is_some() { "counts it for the metrics" } else { "counts it" };
    format!(
        "Back: the answer goes the same way, as it is made. The edge on {front} {counted} and writes a line to its log."
    )
}
