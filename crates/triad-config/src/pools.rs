//! Rules over pools beside the balancer's, and over the routes that lead to them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use toml::Spanned;
use triad_model::{POOL_NAMES_TAKEN, POOLS_MAX, ROUTES_MAX, Redirect, RequestPattern, redirect_for};

use crate::file::{self, File, Pool, PoolBackend};
use crate::mistake::Mistakes;
use crate::resolve::hosts;
use crate::suggest::{and_list, suggest};
use crate::table::Field;

/// Reports what cannot be.
pub(crate) fn check(file: &File, mistakes: &mut Mistakes<'_>) {
    check_pools(file, mistakes);
    check_routes(file, mistakes);
    check_is_used(file, mistakes);
    if file.has_all_sections {
        check_has_balancer(file, mistakes);
    }
}

/// Well-formed pools of the file.
fn pools(file: &File) -> &[Pool] {
    file.pools.value().map_or(&[], Vec::as_slice)
}

fn names(file: &File) -> Vec<&str> {
    pools(file).iter().map(|pool| pool.name.get_ref().as_str()).collect()
}

/// A pool is a balancer's: that is who checks and chooses.
fn check_has_balancer(file: &File, mistakes: &mut Mistakes<'_>) {
    if file.balancer.is_some() {
        return;
    }
    let help = "add [balancer] with servers = [\"srv1\"]; it may be on the only server";
    let pool = pools(file).first().map(|pool| (pool.name.span(), pool.key()));
    let route =
        || file.routes.iter().find_map(|route| Some((route.pattern.given()?.span(), "routes.match".to_owned())));
    if let Some((place, key)) = pool.or_else(route) {
        mistakes.add(place, key, "[pools] and [[routes]] need [balancer], which sends requests there", help);
    }
}

fn check_pools(file: &File, mistakes: &mut Mistakes<'_>) {
    if let Some(extra) = pools(file).get(POOLS_MAX) {
        let what = format!("{} pools are more than a design can have: {POOLS_MAX}", pools(file).len());
        return mistakes.add(extra.name.span(), "pools", what, "give pools that do the same job one name");
    }
    for pool in pools(file) {
        if POOL_NAMES_TAKEN.contains(&pool.name.get_ref().as_str()) {
            let what = format!("{:?} is what status and metrics call a pool of Triad's own", pool.name.get_ref());
            mistakes.add(pool.name.span(), pool.key(), what, "choose another name: [pools.api]");
        }
        check_some_active(pool, mistakes);
        for backend in pool.backends.value().into_iter().flatten() {
            check_backend(file, pool, backend, mistakes);
        }
    }
}

fn check_some_active(pool: &Pool, mistakes: &mut Mistakes<'_>) {
    let Some(backends) = pool.backends.given() else { return };
    let (key, place) = (format!("{}.backends", pool.key()), backends.span());
    if backends.get_ref().is_empty() {
        let help = "write backends = { srv2 = {} }, or { blog1 = { address = \"10.77.0.20:8080\" } }";
        mistakes.add(place, key, "no backend gets requests: there is none", help);
    } else if backends.get_ref().iter().all(|it| it.backend.is_passive()) {
        let help = "leave out backup = true, and write a weight of at least 1, for one of them";
        mistakes.add(place, key, "all backends are passive: none gets requests while all is well", help);
    }
}

/// A backend is a server of the design, which can answer, or something else at an address.
fn check_backend(file: &File, pool: &Pool, backend: &PoolBackend, mistakes: &mut Mistakes<'_>) {
    let Some(servers) = file.servers.value() else { return };
    let name = backend.backend.server.get_ref().as_str();
    let known: Vec<&str> = servers.iter().map(|server| server.name.get_ref().as_str()).collect();
    let (key, place) = (format!("{}.backends.{name}", pool.key()), backend.backend.server.span());
    match (known.contains(&name), &backend.address) {
        (false, Field::Absent) => {
            let help = match suggest(name, known.iter().copied()) {
                Some(near) => format!("did you mean {near:?}? Of what Triad does not run, write the address"),
                None => {
                    format!("write {name} = {{ address = \"10.77.0.20:8080\" }}, or name one of {}", and_list(known))
                }
            };
            mistakes.add(place, key, format!("{name:?} is neither a server nor has it an address"), help);
        }
        (true, Field::Given(address)) => {
            let what = format!("{name} is a server of the design, whose edge is asked; it has an address, too");
            mistakes.add(
                address.span(),
                format!("{key}.address"),
                what,
                "remove it, or choose a name that no server has",
            );
        }
        (false, Field::Given(address)) => {
            if let Some(owner) = owner(servers, address.get_ref().ip()) {
                let what = format!("{} is {owner}, a server of the design", address.get_ref());
                let help = format!("write {owner} = {{}}: its edge then answers");
                mistakes.add(address.span(), format!("{key}.address"), what, help);
            }
        }
        (true, _) if !can_answer(file, name) => {
            let what = format!("{name} carries neither [web] nor [app]: it cannot answer requests");
            let help = format!("add {name:?} to web.servers or app.servers, or remove this backend");
            mistakes.add(place, key, what, help);
        }
        _ => {}
    }
}

/// The server that has `address`.
fn owner(servers: &[file::Server], address: IpAddr) -> Option<&str> {
    let address = address.to_canonical();
    let has = |server: &&file::Server| {
        let public = server.public.value().into_iter().flatten().map(Spanned::get_ref);
        public.chain(server.private.value()).any(|own| own.to_canonical() == address)
    };
    servers.iter().find(has).map(|server| server.name.get_ref().as_str())
}

/// Whether a server carries what answers requests; also where the file does not say it well enough to know.
fn can_answer(file: &File, name: &str) -> bool {
    let lists = [file.web.as_ref().map(|web| &web.servers), file.app.as_ref().map(|app| &app.servers)];
    let lists: Vec<_> = lists.into_iter().flatten().collect();
    let carries = |list: &&file::Servers| list.value().is_none_or(|names| names.iter().any(|it| it.get_ref() == name));
    lists.is_empty() || lists.iter().any(carries)
}

fn check_routes(file: &File, mistakes: &mut Mistakes<'_>) {
    if let Some(extra) = file.routes.get(ROUTES_MAX).and_then(|route| route.pattern.given()) {
        let what = format!("{} routes are more than a design can have: {ROUTES_MAX}", file.routes.len());
        return mistakes.add(extra.span(), "routes", what, "write one with /* for those that begin alike");
    }
    let hosts = file.site.as_ref().and_then(hosts);
    let mut seen: BTreeMap<String, &str> = BTreeMap::new();
    for route in &file.routes {
        check_pool_is_there(file, route, mistakes);
        let Some(pattern) = route.pattern.given() else { continue };
        let (text, pool) = (pattern.get_ref().to_string(), route.pool.value().map_or("another pool", String::as_str));
        if let Some(first) = seen.get(&text) {
            let what = format!("{text:?} is routed already, to {first}");
            mistakes.add(pattern.span(), "routes.match", what, "remove one of them");
            continue;
        }
        if let Some(hosts) = &hosts {
            check_is_reached(file, hosts, pattern, mistakes);
        }
        seen.insert(text, pool);
    }
}

fn check_pool_is_there(file: &File, route: &file::Route, mistakes: &mut Mistakes<'_>) {
    let Some(pool) = route.pool.given().filter(|_| !matches!(file.pools, Field::Wrong)) else { return };
    let names = names(file);
    let name = pool.get_ref().as_str();
    if names.contains(&name) {
        return;
    }
    let help = match suggest(name, names.iter().copied()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("add [pools.{name}] with backends = {{ srv2 = {{}} }}"),
    };
    mistakes.add(pool.span(), "routes.pool", format!("there is no pool {name:?}"), help);
}

/// A host that is not the site's is refused, and what is redirected goes nowhere else.
fn check_is_reached(file: &File, hosts: &[String], pattern: &Spanned<RequestPattern>, mistakes: &mut Mistakes<'_>) {
    let own = |host: &&String| pattern.get_ref().host.as_ref().is_none_or(|only| only == *host);
    let mut reached = hosts.iter().filter(own).peekable();
    if reached.peek().is_none() {
        let host = pattern.get_ref().host.as_deref().unwrap_or_default();
        let what = format!("the site does not answer to {host:?}, so nothing that is asked of it arrives here");
        let help = format!("write one of site.hosts, {}, or add it there", and_list(hosts.iter().map(String::as_str)));
        return mistakes.add(pattern.span(), "routes.match", what, help);
    }
    let redirects = redirects(file);
    let met: Option<Vec<usize>> = reached.map(|host| redirect_all(&redirects, host, pattern.get_ref())).collect();
    if let Some(first) = met.and_then(|met| met.first().copied()) {
        let from = redirects[first].from.to_string();
        let what = format!("no request takes this route: all are redirected before, by from = {from:?}");
        mistakes.add(pattern.span(), "routes.match", what, "remove one of them, or make `from` narrower");
    }
}

/// Well-formed redirects of the file.
fn redirects(file: &File) -> Vec<Redirect> {
    let whole = |redirect: &file::Redirect| {
        let (from, to) = (redirect.from.value()?.clone(), redirect.to.value()?.clone());
        Some(Redirect { from, to, status: redirect.status })
    };
    file.redirects.iter().filter_map(whole).collect()
}

/// The redirect that every request of `pattern` on `host` meets, if there is one. Of a prefix, a path stands for all
/// that goes on with what no redirect knows: if it is redirected, then by what all of the prefix begin with.
fn redirect_all(redirects: &[Redirect], host: &str, pattern: &RequestPattern) -> Option<usize> {
    let longest = redirects.iter().map(|redirect| redirect.from.path.len()).max().unwrap_or(0);
    let rest = if pattern.is_prefix { "~".repeat(longest + 1) } else { String::new() };
    redirect_for(redirects, host, &format!("{}{rest}", pattern.path))
}

/// A pool without a route is one that somebody believes to be used.
fn check_is_used(file: &File, mistakes: &mut Mistakes<'_>) {
    if file.routes.iter().any(|route| route.pool.given().is_none()) {
        return;
    }
    let used: BTreeSet<&str> = file.routes.iter().filter_map(|route| route.pool.value()).map(String::as_str).collect();
    // A misspelt name is one mistake, not two.
    let misspelt = used.iter().any(|name| !names(file).contains(name));
    for pool in pools(file).iter().filter(|pool| !misspelt && !used.contains(pool.name.get_ref().as_str())) {
        let name = pool.name.get_ref();
        let help = format!("add [[routes]] with match = \"/{name}/*\", pool = {name:?}, or remove the pool");
        mistakes.add(pool.name.span(), pool.key(), format!("no route leads to the pool {name:?}"), help);
    }
}
