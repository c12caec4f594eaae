//! From a design to what a request needs.

use triad_model::{
    App, Balancing, Database, Design, HealthCheck, INSTANCE_CHECK_MS, Pool, PoolBackend, Role, ServerName,
};

use super::fault::Part;
use super::need::{Candidate, Member, Need, Switch, Wait};
use super::times;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// A static file.
    File,
    /// A page that the application makes from the database.
    Read,
    /// A change of the database.
    Write,
}

/// Everything `request` needs.
pub(crate) fn request(design: &Design, request: Request) -> Need {
    let certificate = design.tls.as_ref().map(|_| Need::Part(Part::Certificate));
    // Who waits for a name finds a balancer that has noticed meanwhile.
    let mut needs = vec![Need::AllSince(vec![names(design), fronts(design, Some(request))])];
    needs.extend(certificate);
    Need::All(needs)
}

/// Name resolution. A design without name servers leaves it to others.
pub(crate) fn names(design: &Design) -> Need {
    let Some(dns) = &design.dns else { return Need::All(Vec::new()) };
    let candidates = dns.servers.iter().map(|server| {
        active(Need::All(vec![Need::Part(Part::Public(server.clone())), Need::Part(Part::Dns(server.clone()))]))
    });
    Need::OneOf(Switch::Resolver, candidates.collect())
}

/// The servers users reach first, and what they pass `request` to; with `None`, nothing behind them.
pub(crate) fn fronts(design: &Design, request: Option<Request>) -> Need {
    // Without our DNS, nothing leaves a dead front out: clients try the other addresses themselves.
    let ttl_s = design.dns.as_ref().map_or(0, |dns| dns.ttl_s);
    let candidates = design.fronts().into_iter().map(|front| {
        let mut needs = vec![Need::Part(Part::Public(front.clone())), Need::Part(Part::Edge(front.clone()))];
        // DNS and clients look whether the front answers at all, not what.
        needs.extend(request.map(|request| Need::Unseen(Box::new(behind(design, front, request)))));
        active(Need::All(needs))
    });
    Need::OneOf(Switch::Client { ttl_s }, candidates.collect())
}

/// What a front passes a request to.
pub(crate) fn behind(design: &Design, front: &ServerName, request: Request) -> Need {
    if request == Request::File && has_files(design, front) {
        return Need::All(Vec::new());
    }
    let Some(balancer) = design.balancer.as_ref().filter(|balancer| balancer.servers.contains(front)) else {
        return local(design, front, request);
    };
    let to = |server: &ServerName| Need::All(vec![hop(front, server), local(design, server, request)]);
    let candidates =
        balancer.backends.iter().map(|backend| Candidate { need: to(&backend.server), passive: backend.backup });
    let unrouted = Need::OneOf(switch(&balancer.balancing), candidates.collect());
    // Files are taken to be where no route leads: what it leads to is an application or like one.
    if request == Request::File || design.pools.is_empty() {
        return unrouted;
    }
    // What Triad does not run is taken to be there; a finding says so.
    let need = |backend: &PoolBackend| backend.server().map_or(Need::All(Vec::new()), to);
    let candidate = |backend: &PoolBackend| Candidate { need: need(backend), passive: backend.backup };
    let pool = |pool: &Pool| Need::OneOf(switch(&pool.balancing), pool.backends.iter().map(candidate).collect());
    Need::Shares(std::iter::once(unrouted).chain(design.pools.iter().map(pool)).collect())
}

/// A balancer that chooses.
fn switch(balancing: &Balancing) -> Switch {
    Switch::Edge { silence_ms: balancing.health.silence_ms(), max_fails: balancing.max_fails }
}

fn has_files(design: &Design, server: &ServerName) -> bool {
    design.web.as_ref().is_some_and(|web| web.root.is_some() && web.servers.contains(server))
}

/// What a server does with a request that has arrived: its own instances, or, on a web server without, others'.
fn local(design: &Design, server: &ServerName, request: Request) -> Need {
    if design.carries(server, Role::App) {
        return instances(design, server, request);
    }
    let Some(app) = &design.app else { return Need::All(Vec::new()) };
    let candidates =
        app.servers.iter().map(|to| active(Need::All(vec![hop(server, to), instances(design, to, request)])));
    Need::OneOf(edge(design, instance_check(design, app).silence_ms()), candidates.collect())
}

/// The way from one server's edge to another's, and the other edge.
fn hop(from: &ServerName, to: &ServerName) -> Need {
    if from == to {
        return Need::All(Vec::new());
    }
    Need::All(vec![Need::Part(Part::link(from, to)), Need::Part(Part::Edge(to.clone()))])
}

/// An instance on `server`, and what it needs itself. Health checks ask the instance, which is taken to answer without
/// its database: that is behind their view.
fn instances(design: &Design, server: &ServerName, request: Request) -> Need {
    let Some(app) = &design.app else { return Need::All(Vec::new()) };
    let check = instance_check(design, app);
    let restart_ms = times::INSTANCE_START_MS + u64::from(check.rise) * u64::from(INSTANCE_CHECK_MS);
    let instance = |number| active(Need::Part(Part::Instance { server: server.clone(), number, restart_ms }));
    let silence_ms = check.silence_ms();
    let mut needs = vec![Need::OneOf(edge(design, silence_ms), (1..=app.instances).map(instance).collect())];
    if let Some(database) = design.database.as_ref().filter(|_| request != Request::File) {
        needs.push(Need::Unseen(Box::new(data(design, database, Some(server), request))));
    }
    Need::All(needs)
}

/// The primary, from `server`, or from wherever it is; for a write, replicas that confirm it.
pub(crate) fn data(design: &Design, database: &Database, server: Option<&ServerName>, request: Request) -> Need {
    let primary = &database.primary;
    let way = |to: &ServerName| {
        let part = server.filter(|from| *from != to).map(|from| Part::link(from, to));
        Need::All(part.map(Need::Part).into_iter().collect())
    };
    let mut needs = if design.fails_over() {
        // Who is cut off from all others is no primary any more.
        let up = |name: &ServerName| {
            Need::All(vec![Need::Part(Part::Database(name.clone())), Need::Part(Part::Private(name.clone()))])
        };
        vec![Need::Led(database.members().map(|name| Member { up: up(name), way: way(name) }).collect())]
    } else {
        vec![Need::Part(Part::Database(primary.clone())), way(primary)]
    };
    if request == Request::Write && !database.replicas.is_empty() {
        let replica = |name: &ServerName| {
            Need::All(vec![Need::Part(Part::link(primary, name)), Need::Part(Part::Database(name.clone()))])
        };
        let wait = if design.fails_over() { Wait::InSync } else { Wait::SemiSync };
        needs.push(Need::Wanted(database.replicas.iter().map(replica).collect(), wait));
    }
    Need::All(needs)
}

/// An edge that chooses.
fn edge(design: &Design, silence_ms: u64) -> Switch {
    let max_fails = design.balancer.as_ref().map_or(Balancing::MAX_FAILS, |balancer| balancer.balancing.max_fails);
    Switch::Edge { silence_ms, max_fails }
}

/// How edges check instances, and other servers' instances.
fn instance_check(design: &Design, app: &App) -> HealthCheck {
    HealthCheck::of_instances(app, design.balancer.as_ref().map(|balancer| &balancer.balancing.health))
}

fn active(need: Need) -> Candidate {
    Candidate { need, passive: false }
}
