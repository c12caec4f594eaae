//! The file form to the model: fills in the defaults that follow from other keys.

use toml::Spanned;
use triad_model::{
    AccessLog, Allowed, App, Backend, Balancer, Balancing, Certificate, ClientCertificates, Database, Design, Dns,
    Firewall, HeaderRules, Headers, HealthCheck, Hsts, IpNet, Limits, LogField, LogFormat, Monitor, NamedCertificate,
    Pool, PoolBackend, Redirect, Route, Server, ServerName, Site, Statuses, Tls, Trace, Web,
};

use crate::file;
use crate::file::File;
use crate::format::{IDENTIFIER_LENGTH_MAX, network};
use crate::keys::CHECK_INTERVAL_MS_MIN;
use crate::table::Field;

/// While answers contradict the verdict, checks come so many times as often, but not faster than one can ask for.
const FASTER: u32 = 5;
/// The path balancers ask without an application.
const HEALTH_PATH_WITHOUT_APP: &str = "/";

/// The design `file` describes; `None` if it has mistakes.
pub(crate) fn resolve(file: &File) -> Option<Design> {
    let site = site(file.site.as_ref()?)?;
    Some(Design {
        servers: file.servers.value()?.iter().map(server).collect::<Option<_>>()?,
        dns: optional(&file.dns, dns)?,
        balancer: optional(&file.balancer, |balancer| resolve_balancer(balancer, file))?,
        web: optional(&file.web, web)?,
        app: optional(&file.app, app)?,
        database: optional(&file.database, |it| database(it, &site.domain))?,
        tls: optional(&file.tls, tls)?,
        limits: optional(&file.limits, limits)?,
        headers: optional(&file.headers, headers)?.unwrap_or_default(),
        redirects: file.redirects.iter().map(redirect).collect::<Option<_>>()?,
        pools: pools(file)?,
        routes: file.routes.iter().map(route).collect::<Option<_>>()?,
        firewall: optional(&file.firewall, firewall)?,
        monitor: optional(&file.monitor, |monitor| Some(Monitor { metrics_from: networks(&monitor.metrics_from)? }))?,
        log: optional(&file.log, log)?.unwrap_or_default(),
        check: file.allowed.iter().map(allowed).collect::<Option<_>>()?,
        site,
    })
}

/// `None` for a section with mistakes, `Some(None)` for one that is absent.
fn optional<F, M>(section: &Option<F>, resolve: impl FnOnce(&F) -> Option<M>) -> Option<Option<M>> {
    match section {
        Some(section) => resolve(section).map(Some),
        None => Some(None),
    }
}

fn site(site: &file::Site) -> Option<Site> {
    Some(Site {
        domain: site.domain.value()?.clone(),
        hosts: hosts(site)?,
        maintenance_page: site.maintenance_page.value().cloned(),
        maintenance_allow: networks(&site.maintenance_allow)?,
    })
}

/// The names the site answers to.
pub(crate) fn hosts(site: &file::Site) -> Option<Vec<String>> {
    let domain = site.domain.value()?;
    match &site.hosts {
        Field::Absent => Some(vec![format!("www.{domain}"), domain.clone()]),
        hosts => values(hosts),
    }
}

fn server(server: &file::Server) -> Option<Server> {
    Some(Server {
        name: name(&server.name)?,
        public: if server.public.is_absent() { Vec::new() } else { values(&server.public)? },
        private: server.private.value().copied(),
    })
}

fn dns(dns: &file::Dns) -> Option<Dns> {
    Some(Dns { servers: names(&dns.servers)?, ttl_s: dns.ttl_s })
}

fn resolve_balancer(balancer: &file::Balancer, file: &File) -> Option<Balancer> {
    let mut backends = match &balancer.backends {
        Field::Absent => default_backends(file)?,
        backends => backends.value()?.iter().map(backend).collect::<Option<_>>()?,
    };
    if balancer.balancing.is_active_passive() {
        backends.iter_mut().skip(1).for_each(|backend| backend.backup = true);
    }
    Some(Balancer {
        servers: names(&balancer.servers)?,
        backends,
        balancing: balancing(&balancer.balancing, file)?,
        sticky_cookie: balancer.sticky_cookie.value().cloned(),
        proxy_protocol_from: networks(&balancer.proxy_protocol_from)?,
    })
}

fn balancing(balancing: &file::Balancing, file: &File) -> Option<Balancing> {
    Some(Balancing {
        algorithm: *balancing.algorithm.value()?,
        health: health(&balancing.health, file)?,
        hash_on: balancing.hash_on.value().cloned(),
        slow_start_ms: balancing.slow_start_ms,
        max_fails: balancing.max_fails,
        error_rate_percent: balancing.error_rate_percent,
        slow_after_ms: *balancing.slow_after_ms.get_ref(),
        retry_statuses: balancing.retry_statuses.clone(),
        queue_timeout_ms: balancing.queue_timeout_ms,
        queue_max: balancing.queue_max,
        panic_percent: *balancing.panic_percent.get_ref(),
    })
}

fn pools(file: &File) -> Option<Vec<Pool>> {
    let pools = if file.pools.is_absent() { &[][..] } else { file.pools.value()? };
    pools.iter().map(|pool| resolve_pool(pool, file)).collect()
}

fn resolve_pool(pool: &file::Pool, file: &File) -> Option<Pool> {
    let backends = pool.backends.value()?.iter().enumerate().map(|(index, it)| {
        let Backend { server, weight, backup, max_connections } = backend(&it.backend)?;
        let backup = backup || pool.balancing.is_active_passive() && index > 0;
        Some(PoolBackend { name: server, address: it.address.value().copied(), weight, backup, max_connections })
    });
    Some(Pool {
        name: pool.name.get_ref().clone(),
        backends: backends.collect::<Option<_>>()?,
        balancing: balancing(&pool.balancing, file)?,
    })
}

fn route(route: &file::Route) -> Option<Route> {
    Some(Route { pattern: route.pattern.value()?.clone(), pool: route.pool.value()?.clone() })
}

fn backend(backend: &file::Backend) -> Option<Backend> {
    Some(Backend {
        server: name(&backend.server)?,
        weight: backend.weight.max(1),
        backup: backend.is_passive(),
        max_connections: backend.max_connections,
    })
}

fn default_backends(file: &File) -> Option<Vec<Backend>> {
    let web = file.web.as_ref().map(|web| &web.servers);
    let servers = web.or(file.app.as_ref().map(|app| &app.servers))?;
    let backend = |server| Backend { server, weight: 1, backup: false, max_connections: 0 };
    Some(names(servers)?.into_iter().map(backend).collect())
}

fn health(health: &file::HealthCheck, file: &File) -> Option<HealthCheck> {
    let path = match (&health.path, &file.app) {
        (Field::Absent, Some(app)) if app.health.value()? != App::GRPC_HEALTH => app.health.value()?.clone(),
        (Field::Absent, _) => HEALTH_PATH_WITHOUT_APP.to_owned(),
        (path, _) => path.value()?.clone(),
    };
    let file::HealthCheck { interval_ms, timeout_ms, rise, fall, .. } = *health;
    let fast_interval_ms = match *health.fast_interval_ms.get_ref() {
        0 => (interval_ms / FASTER).max(CHECK_INTERVAL_MS_MIN),
        given => given,
    };
    Some(HealthCheck {
        kind: *health.kind.value()?,
        status: if health.status.is_absent() { Statuses::default() } else { health.status.value()?.clone() },
        body: if health.body.is_absent() { None } else { Some(health.body.value()?.clone()) },
        path,
        interval_ms,
        fast_interval_ms,
        timeout_ms,
        rise,
        fall,
    })
}

fn web(web: &file::Web) -> Option<Web> {
    Some(Web { servers: names(&web.servers)?, root: web.root.value().cloned() })
}

fn app(app: &file::App) -> Option<App> {
    Some(App {
        servers: names(&app.servers)?,
        build: app.build.value().cloned(),
        directory: app.directory.value()?.clone(),
        command: app.command.value()?.clone(),
        instances: app.instances,
        max_connections: app.max_connections,
        health: app.health.value()?.clone(),
        environment: app.environment.iter().cloned().collect(),
        proxy_protocol: app.proxy_protocol.value().copied(),
        protocol: *app.protocol.value()?,
    })
}

fn database(database: &file::Database, domain: &str) -> Option<Database> {
    let name_of_schema = database.name.value().cloned().unwrap_or_else(|| default_database_name(domain));
    Some(Database {
        primary: name(database.primary.given()?)?,
        replicas: if database.replicas.is_absent() { Vec::new() } else { names(&database.replicas)? },
        user: database.user.value().cloned().unwrap_or_else(|| name_of_schema.clone()),
        name: name_of_schema,
    })
}

/// The first label of `domain` as an identifier: `foo-bar` becomes `foo_bar`, `9lives` becomes `db_9lives`.
pub(crate) fn default_database_name(domain: &str) -> String {
    let label = domain.split('.').next().unwrap_or_default();
    let prefix = if label.starts_with(|c: char| c.is_ascii_lowercase()) { "" } else { "db_" };
    let label = label.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' });
    prefix.chars().chain(label).take(IDENTIFIER_LENGTH_MAX).collect()
}

fn tls(tls: &file::Tls) -> Option<Tls> {
    let certificate = match tls.certificate.value()?.as_str() {
        "files" => Certificate::Files {
            certificate: tls.certificate_file.value()?.clone(),
            key: tls.key_file.value()?.clone(),
        },
        _ => Certificate::Internal,
    };
    let hsts = Hsts { max_age_s: tls.hsts_max_age_s, include_subdomains: *tls.hsts_include_subdomains.get_ref() };
    Some(Tls {
        certificate,
        certificates: tls.certificates.iter().map(named_certificate).collect::<Option<_>>()?,
        ocsp: tls.ocsp_file.value().cloned(),
        clients: optional(&tls.asks_clients(), |how| client_certificates(how, tls))?,
        http2: tls.http2,
        hop_http2: tls.hop_http2,
        hsts: (hsts.max_age_s > 0).then_some(hsts),
    })
}

fn named_certificate(named: &file::NamedCertificate) -> Option<NamedCertificate> {
    Some(NamedCertificate {
        hosts: values(&named.hosts)?,
        certificate: named.certificate_file.value()?.clone(),
        key: named.key_file.value()?.clone(),
        ocsp: named.ocsp_file.value().cloned(),
    })
}

fn client_certificates(how: &str, tls: &file::Tls) -> Option<ClientCertificates> {
    Some(ClientCertificates {
        required: how == "required",
        authority: tls.client_ca_file.value()?.clone(),
        crl: tls.client_crl_file.value().cloned(),
    })
}

fn limits(limits: &file::Limits) -> Option<Limits> {
    let given = |number: u32| (number > 0).then_some(number);
    let requests_per_s = given(limits.requests_per_s);
    let site_requests_per_s = given(limits.site_requests_per_s);
    Some(Limits {
        requests_per_s,
        burst: given(limits.burst).unwrap_or(2 * requests_per_s.unwrap_or(1)),
        connections: given(limits.connections),
        exempt: networks(&limits.exempt)?,
        site_requests_per_s,
        site_burst: given(limits.site_burst).or(site_requests_per_s).unwrap_or(1),
        site_connections: given(limits.site_connections),
        ban_after: given(limits.ban_after),
        ban_s: limits.ban_s,
    })
}

fn headers(headers: &file::Headers) -> Option<Headers> {
    Some(Headers {
        request: header_rules(&headers.request)?,
        response: header_rules(&headers.response)?,
        forwarded: headers.forwarded.value()? == "both",
        trace: match headers.trace.value()?.as_str() {
            "unsampled" => Some(Trace::Unsampled),
            "sampled" => Some(Trace::Sampled),
            _ => None,
        },
    })
}

fn header_rules(rules: &file::HeaderRules) -> Option<HeaderRules> {
    let fields = |fields: &[(Spanned<String>, String)]| -> Vec<(String, String)> {
        fields.iter().map(|(name, value)| (name.get_ref().clone(), value.clone())).collect()
    };
    let remove = if rules.remove.is_absent() { Vec::new() } else { values(&rules.remove)? };
    Some(HeaderRules { set: fields(&rules.set), add: fields(&rules.add), remove })
}

fn log(log: &file::Log) -> Option<AccessLog> {
    let format = match log.format.value()?.as_str() {
        "combined" => LogFormat::Combined,
        _ => LogFormat::Json,
    };
    let named = |name: &Spanned<String>| LogField::named(name.get_ref());
    let fields = if log.fields.is_absent() {
        LogField::ALL.to_vec()
    } else {
        log.fields.value()?.iter().map(named).collect::<Option<_>>()?
    };
    Some(AccessLog { format, fields })
}

fn redirect(redirect: &file::Redirect) -> Option<Redirect> {
    Some(Redirect { from: redirect.from.value()?.clone(), to: redirect.to.value()?.clone(), status: redirect.status })
}

fn firewall(firewall: &file::Firewall) -> Option<Firewall> {
    Some(Firewall { ssh_from: networks(&firewall.ssh_from)?, ssh_port: *firewall.ssh_port.get_ref() })
}

fn allowed(allowed: &file::Allowed) -> Option<Allowed> {
    Some(Allowed { code: *allowed.code.value()?, reason: allowed.reason.value()?.clone() })
}

fn networks(list: &Field<Vec<Spanned<String>>>) -> Option<Vec<IpNet>> {
    if list.is_absent() {
        return Some(Vec::new());
    }
    list.value()?.iter().map(|text| network(text.get_ref())).collect()
}

fn names(servers: &file::Servers) -> Option<Vec<ServerName>> {
    servers.value()?.iter().map(name).collect()
}

fn name(name: &Spanned<String>) -> Option<ServerName> {
    ServerName::new(name.get_ref().as_str()).ok()
}

fn values<T: Clone>(list: &Field<Vec<Spanned<T>>>) -> Option<Vec<T>> {
    Some(list.value()?.iter().map(|item| item.get_ref().clone()).collect())
}

#[cfg(test)]
mod tests {
    use super::default_database_name;

    #[test]
    fn a_pool_asks_again_as_the_balancer_does_unless_it_says_otherwise() {
        let text = crate::template(crate::DesignKind::Secured)
            .replace("[balancer]", "[balancer]\nretry_statuses = [503, 502]");
        let pools =
            "\n[pools.as]\nbackends = { srv2 = {} }\n[pools.never]\nretry_statuses = []\nbackends = { srv2 = {} }\n";
        let routes = "[[routes]]\nmatch = \"/a\"\npool = \"as\"\n[[routes]]\nmatch = \"/b\"\npool = \"never\"\n";
        let design = crate::parse(&format!("{text}{pools}{routes}")).expect("a design");
        let pools = design.pools.iter().map(|pool| &pool.balancing);
        let all: Vec<_> = design.balancer.iter().map(|it| &it.balancing).chain(pools).collect();
        assert_eq!(all.iter().map(|it| it.retry_statuses.len()).collect::<Vec<_>>(), [2, 2, 0]);
    }

    #[test]
    fn a_domain_gives_the_database_its_name() {
        assert_eq!(default_database_name("foobar.com"), "foobar");
        assert_eq!(default_database_name("foo-bar.co.uk"), "foo_bar");
        assert_eq!(default_database_name("9lives.example"), "db_9lives");
        assert_eq!(default_database_name(&format!("{}.com", "a".repeat(63))), "a".repeat(32));
    }
}
