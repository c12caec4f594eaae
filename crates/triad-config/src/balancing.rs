//! Rules over how requests are shared, by the balancer and by each pool beside it.

use std::ops::Range;

use toml::Spanned;
use triad_model::{Algorithm, CheckKind};

use crate::file::{Backend, Balancing, File, Pool, PoolBackend};
use crate::mistake::Mistakes;
use crate::table::Field;

/// Backends that share requests, and how.
struct Shared<'f> {
    /// Dotted: `balancer`, `pools.api`.
    key: String,
    at: Range<usize>,
    balancing: &'f Balancing,
    /// In the order of the file; the default where it names none.
    targets: Vec<Target<'f>>,
    /// What stands under `backends`, if it is written there.
    written: Option<&'f Spanned<String>>,
}

/// One that gets requests, whoever says so.
struct Target<'f> {
    name: &'f str,
    passive: bool,
    /// Its own keys say so.
    passive_itself: bool,
    max_connections: u32,
}

/// Reports what cannot be.
pub(crate) fn check(file: &File, mistakes: &mut Mistakes<'_>) {
    for shared in balancer(file).into_iter().chain(pools(file).iter().map(pool)) {
        check_algorithm(&shared, mistakes);
        check_active_passive(&shared, mistakes);
        check_first(&shared, mistakes);
        check_panic(&shared, mistakes);
        check_health(&shared, mistakes);
        check_slow(&shared, mistakes);
    }
}

/// Well-formed pools of the file.
fn pools(file: &File) -> &[Pool] {
    file.pools.value().map_or(&[], Vec::as_slice)
}

fn balancer(file: &File) -> Option<Shared<'_>> {
    let balancer = file.balancer.as_ref()?;
    let targets = match &balancer.backends {
        Field::Absent => {
            let servers = file.web.as_ref().map(|web| &web.servers).or(file.app.as_ref().map(|app| &app.servers));
            let names = servers.and_then(Field::value).into_iter().flatten().map(|name| name.get_ref().as_str());
            names.map(|name| Target { name, passive: false, passive_itself: false, max_connections: 0 }).collect()
        }
        backends => backends.value().into_iter().flatten().map(Target::of).collect(),
    };
    let written = balancer.backends.value().and_then(|backends| backends.first()).map(|first| &first.server);
    Some(Shared::new("balancer".to_owned(), balancer.at.clone(), &balancer.balancing, targets, written))
}

fn pool(pool: &Pool) -> Shared<'_> {
    let backends = pool.backends.value().map_or(&[][..], Vec::as_slice);
    let targets = backends.iter().map(|PoolBackend { backend, .. }| Target::of(backend)).collect();
    let written = backends.first().map(|first| &first.backend.server);
    Shared::new(pool.key(), pool.name.span(), &pool.balancing, targets, written)
}

impl<'f> Shared<'f> {
    fn new(
        key: String,
        at: Range<usize>,
        balancing: &'f Balancing,
        mut targets: Vec<Target<'f>>,
        written: Option<&'f Spanned<String>>,
    ) -> Self {
        if balancing.is_active_passive() {
            targets.iter_mut().skip(1).for_each(|target| target.passive = true);
        }
        Self { key, at, balancing, targets, written }
    }

    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.key)
    }
}

impl<'f> Target<'f> {
    fn of(backend: &'f Backend) -> Self {
        let (name, passive) = (backend.server.get_ref().as_str(), backend.is_passive());
        Self { name, passive, passive_itself: passive, max_connections: backend.max_connections }
    }
}

fn check_algorithm(shared: &Shared<'_>, mistakes: &mut Mistakes<'_>) {
    let Some(algorithm) = shared.balancing.algorithm.value() else { return };
    let (needs_name, algorithm) = (algorithm.hashes_by_name(), algorithm.as_str());
    match &shared.balancing.hash_on {
        Field::Absent if needs_name => mistakes.add(
            shared.at.clone(),
            shared.key("hash_on"),
            format!("algorithm = {algorithm:?} needs `hash_on`"),
            format!("write hash_on = {:?}, the name of the {algorithm}", "X-User"),
        ),
        Field::Given(name) if !needs_name => mistakes.add(
            name.span(),
            shared.key("hash_on"),
            format!("`hash_on` has no effect with algorithm = {algorithm:?}"),
            "write algorithm = \"header\" or \"cookie\", or remove it",
        ),
        _ => {}
    }
}

fn check_active_passive(shared: &Shared<'_>, mistakes: &mut Mistakes<'_>) {
    let (Some(first), Some(name)) = (shared.targets.first(), shared.written) else { return };
    if shared.balancing.is_active_passive() && first.passive_itself {
        let first = first.name;
        mistakes.add(
            name.span(),
            shared.key("mode"),
            format!("mode = \"active-passive\" makes {first} the active one, and its own keys make it passive"),
            "put the active backend first, or remove `mode` and keep backup = true",
        );
    }
}

/// Algorithm `first` goes on to the next backend only when one is full.
fn check_first(shared: &Shared<'_>, mistakes: &mut Mistakes<'_>) {
    let Field::Given(algorithm) = &shared.balancing.algorithm else { return };
    let first = shared.targets.iter().find(|target| !target.passive).filter(|first| first.max_connections == 0);
    if let Some(first) = first.filter(|_| *algorithm.get_ref() == Algorithm::First) {
        let name = first.name;
        mistakes.add(
            algorithm.span(),
            shared.key("algorithm"),
            format!("algorithm = \"first\" goes on to the next backend when one is full, and {name} never is"),
            format!("write backends = {{ {name} = {{ max_connections = 100 }}, … }}, or mode = \"active-passive\""),
        );
    }
}

/// Slow answers count for the rate of errors alone.
fn check_slow(shared: &Shared<'_>, mistakes: &mut Mistakes<'_>) {
    let slow_after_ms = &shared.balancing.slow_after_ms;
    if shared.balancing.error_rate_percent == 0 && *slow_after_ms.get_ref() > 0 {
        let what = "`slow_after_ms` has no effect without `error_rate_percent`, for which slow answers count";
        let help = "write error_rate_percent = 20, or remove it";
        mistakes.add(slow_after_ms.span(), shared.key("slow_after_ms"), what, help);
    }
}

/// A connection has neither a path nor an answer.
fn check_health(shared: &Shared<'_>, mistakes: &mut Mistakes<'_>) {
    let health = &shared.balancing.health;
    if health.kind.value() == Some(&CheckKind::Tcp) {
        let given = [
            ("path", health.path.given().map(Spanned::span)),
            ("status", health.status.given().map(Spanned::span)),
            ("body", health.body.given().map(Spanned::span)),
        ];
        for (name, place) in given {
            let Some(place) = place else { continue };
            let what = format!("`{name}` has no effect with type = \"tcp\", which asks for nothing but a connection");
            mistakes.add(place, shared.key(&format!("health.{name}")), what, "write type = \"http\", or remove it");
        }
    }
    let (fast, interval_ms) = (&health.fast_interval_ms, health.interval_ms);
    if *fast.get_ref() > interval_ms && interval_ms > 0 {
        mistakes.add(
            fast.span(),
            shared.key("health.fast_interval_ms"),
            format!("{} is slower than interval_ms = {interval_ms}", fast.get_ref()),
            format!("write at most {interval_ms}, or remove it for a fifth of that"),
        );
    }
}

/// In panic the active backends get the requests: with one of them, passive ones would stand by for nothing.
fn check_panic(shared: &Shared<'_>, mistakes: &mut Mistakes<'_>) {
    let percent = &shared.balancing.panic_percent;
    let active: Vec<_> = shared.targets.iter().filter(|target| !target.passive).collect();
    if let [only] = active[..]
        && shared.targets.len() > 1
        && *percent.get_ref() > 0
    {
        let name = only.name;
        mistakes.add(
            percent.span(),
            shared.key("panic_percent"),
            format!("with `panic_percent`, requests go on to {name} when its checks fail, not to the passive ones"),
            "remove it, or make more backends active",
        );
    }
}
