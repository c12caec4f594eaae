//! Active health checks: one task per backend on a thread of its own, so that busy workers cannot make a healthy
//! backend look dead, and each backend is asked once per process.
//!
//! A dead link is seen within [`triad_model::HealthCheck::silence_ms`]: 1.5 s with 500 ms, 500 ms and 2. A dead server is
//! seen sooner, by its silence (`silence`), which has its backends checked at once.

use std::hash::{BuildHasher, RandomState};
use std::sync::mpsc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use triad_model::{Reading, Verdict};

use crate::backend::{Backend, RAMP_STEPS};
use crate::balance::spread;
use crate::grpc;
use crate::plan::Target;
use crate::pool::Pool;
use crate::probe::probe;
use crate::serve::Shared;

/// Time between two looks at this server's own pool, which costs nothing.
const OWN_POOL_INTERVAL: Duration = Duration::from_millis(20);
/// The time between two checks is shorter by up to one such part, so that many balancers do not ask at one time. Never
/// longer: what is said of the time to see a dead server stays true.
const JITTER_ONE_IN: u64 = 10;

/// Checks `backend` of `pool` until nobody uses it any more. `first` is dropped after the first reading.
pub(crate) async fn check(backend: Weak<Backend>, pool: Arc<Pool>, shared: Arc<Shared>, first: mpsc::Sender<()>) {
    let mut first = Some(first);
    let Some(check_now) = backend.upgrade().map(|backend| backend.check_now.clone()) else { return };
    let mut random = RandomState::new().hash_one(());
    let mut next = Instant::now();
    let mut was_left_out = false;
    loop {
        tokio::select! {
            () = sleep_until(next) => {}
            () = check_now.notified() => {}
        }
        let Some(backend) = backend.upgrade() else { return };
        random = spread(random);
        let asked_at = Instant::now();
        next = asked_at + gap(&backend, random);
        backend.prune();
        if !backend.is_checked_further() {
            first.take();
            continue;
        }
        let is_left_out = backend.is_left_out(std::time::Instant::now());
        if backend.ramp() < RAMP_STEPS || was_left_out != is_left_out {
            pool.refresh();
        }
        was_left_out = is_left_out;
        let reading = tokio::select! {
            reading = read(&backend, &shared) => reading,
            // What was asked before its server fell silent need not be waited for.
            () = check_now.notified() => read(&backend, &shared).await,
        };
        let Some((reading, why)) = reading else { continue };
        if let Some(verdict) = backend.take(reading, why.clone()) {
            announce(&backend, &pool, verdict, &why);
            pool.refresh();
        }
        // What was read may call for a sooner one; one that took longer than that is followed at once.
        next = asked_at + gap(&backend, random);
        first.take();
    }
}

/// Time from one check to the next.
fn gap(backend: &Backend, random: u64) -> Duration {
    if backend.plan.target == Target::ThisServer {
        return OWN_POOL_INTERVAL;
    }
    let longest_us = u64::from(backend.check.gap_ms(backend.is_contradicted()).max(1)) * 1000;
    Duration::from_micros(longest_us - random % (longest_us / JITTER_ONE_IN + 1))
}

fn announce(backend: &Backend, pool: &Pool, verdict: Verdict, why: &str) {
    let (name, pool) = (&backend.plan.name, &*pool.name);
    match verdict {
        Verdict::Up => tracing::info!(pool, backend = name, why, "backend is up"),
        Verdict::Down => tracing::warn!(pool, backend = name, why, "backend is down"),
    }
}

/// One reading and the clause that explains it; `None` while there is nothing to say yet.
async fn read(backend: &Backend, shared: &Shared) -> Option<(Reading, String)> {
    if backend.plan.target == Target::ThisServer {
        return shared.local.is_up().map(|up| match up {
            true => (Reading::Pass, "this server's application is up".to_owned()),
            false => (Reading::Fail, "no instance on this server is up".to_owned()),
        });
    }
    let limit = backend.check_limit();
    let outcome = match backend.plan.grpc_check {
        true => timeout(limit, grpc::ask(backend, shared)).await,
        false => timeout(limit, probe(backend, shared)).await,
    };
    Some(match outcome {
        Ok(Ok(said)) => (Reading::Pass, said),
        Ok(Err(why)) => (Reading::Fail, why),
        Err(_elapsed) => (Reading::Fail, format!("no answer within {} ms", limit.as_millis())),
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::{Arc, mpsc};
    use std::time::Duration;

    use tokio::time::Instant;
    use triad_model::{HealthCheck, Reading};

    use super::{check, gap};
    use crate::backend::Backend;
    use crate::balance::spread;
    use crate::live::Live;
    use crate::plan::{BackendPlan, EdgePlan, Target};
    use crate::pool::Pool;
    use crate::serve::Shared;

    fn shared() -> Arc<Shared> {
        let plan = EdgePlan {
            hosts: vec!["www.foobar.com".to_owned()],
            redirect_to_https: false,
            site_certificate: None,
            site_extras: Default::default(),
            http2: true,
            identity: None,
            hop_from: Vec::new(),
            proxy_protocol_from: Vec::new(),
            checked_from: Vec::new(),
            root: None,
            balancer: None,
            local: None,
            sticky: None,
            limits: None,
            fronts: 1,
            files_max: None,
            headers: Default::default(),
            redirects: Vec::new(),
            pools: Default::default(),
            routes: Vec::new(),
            hsts: None,
            min_rate: crate::min_rate::MinRate::default(),
            grpc: false,
            maintenance: Default::default(),
            relay: None,
            database: Default::default(),
            access_log: None,
            log: Default::default(),
        };
        let live = Live::build(&plan, 1, None, &Arc::default()).expect("a plan without files");
        Arc::new(Shared::new(live, Arc::default()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_backend_is_out_after_fall_time_outs() {
        let check_plan = HealthCheck::new("/up", 500, 500);
        // The kernel accepts for it; it never answers.
        let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let target = Target::Plain(silent.local_addr().expect("bound"));
        let plan = BackendPlan::new("srv2", target);
        let backend = Arc::new(Backend::new(plan, check_plan, 1, Arc::default()));
        backend.take(Reading::Pass, "answered 200".to_owned());
        let shared = shared();
        let start = Instant::now();
        let (first, _) = mpsc::channel();
        tokio::spawn(check(Arc::downgrade(&backend), Arc::new(Pool::new("balancer")), shared, first));
        backend.down().await;
        // On the paused clock: two time-outs, one right after the other; what went before is at most one interval.
        assert_eq!(start.elapsed().as_millis(), Duration::from_secs(1).as_millis());
        assert_eq!(backend.report("balancer").why, "no answer within 500 ms");
    }

    #[test]
    fn checks_come_sooner_while_one_contradicts_and_never_later_than_said() {
        let plan = BackendPlan::new("srv2", Target::Instance(([127, 0, 0, 1], 1).into()));
        let check = HealthCheck { fast_interval_ms: 100, ..HealthCheck::new("/up", 500, 500) };
        let backend = Backend::new(plan, check, 1, Arc::default());
        // From the shortest to the longest, in hundredths of `longest`.
        let gaps = |backend: &Backend, longest_ms: u64| {
            let part = |turn| gap(backend, spread(turn)).as_micros() as u64 / (10 * longest_ms);
            let all: Vec<u64> = (0..1000).map(part).collect();
            assert!(all.iter().all(|part| (90..=100).contains(part)), "{all:?}");
            assert!(all.contains(&90) && all.contains(&99), "they differ: {all:?}");
        };
        backend.take(Reading::Pass, String::new());
        gaps(&backend, 500);
        backend.take(Reading::Fail, String::new());
        // Going down.
        gaps(&backend, 100);
        backend.take(Reading::Fail, String::new());
        // Down.
        gaps(&backend, 500);
        backend.take(Reading::Pass, String::new());
        // Coming up.
        gaps(&backend, 100);
    }
}
