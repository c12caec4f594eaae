//! Active health checks: one task per backend on a thread of its own, so that busy workers cannot make a healthy
//! backend look dead, and each backend is asked once per process.
//!
//! A dead link is seen within interval + fall × timeout: 1.5 s with 500 ms, 500 ms and 2.

use std::future::poll_fn;
use std::sync::mpsc;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::{MissedTickBehavior, interval, timeout};
use triad_http::forwarding;
use triad_http1::{HeadWriter, ResponseHead};
use triad_model::{CHECK_USER_AGENT, Reading, Verdict};

use crate::backend::{Backend, RAMP_STEPS};
use crate::plan::Target;
use crate::pool::Pool;
use crate::serve::Shared;
use crate::stream::Buffer;
use crate::upstream::preface;

/// Time between two looks at this server's own pool, which costs nothing.
const OWN_POOL_INTERVAL: Duration = Duration::from_millis(20);

/// Checks `backend` of `pool` until nobody uses it any more. `first` is dropped after the first reading.
pub(crate) async fn check(backend: Weak<Backend>, pool: Arc<Pool>, shared: Arc<Shared>, first: mpsc::Sender<()>) {
    let mut first = Some(first);
    let Some(mut ticks) = backend.upgrade().map(|backend| interval(interval_of(&backend))) else { return };
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was_left_out = false;
    loop {
        ticks.tick().await;
        let Some(backend) = backend.upgrade() else { return };
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
        let Some((reading, why)) = read(&backend, &shared).await else { continue };
        if let Some(verdict) = backend.take(reading, why.clone()) {
            announce(&backend, &pool, verdict, &why);
            pool.refresh();
        }
        first.take();
    }
}

fn interval_of(backend: &Backend) -> Duration {
    match backend.plan.target {
        Target::ThisServer => OWN_POOL_INTERVAL,
        _ => Duration::from_millis(backend.check.interval_ms.max(1).into()),
    }
}

fn announce(backend: &Backend, pool: &Pool, verdict: Verdict, why: &str) {
    let (name, pool) = (&backend.plan.name, pool.name);
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
    let limit = Duration::from_millis(backend.check.timeout_ms.into());
    let outcome = timeout(limit, ask(backend, shared)).await;
    Some(match outcome {
        Ok(Ok(status)) if status < 400 => (Reading::Pass, format!("answered {status}")),
        Ok(Ok(status)) => (Reading::Fail, format!("answered {status}")),
        Ok(Err(error)) => (Reading::Fail, error),
        Err(_elapsed) => (Reading::Fail, format!("no answer within {} ms", limit.as_millis())),
    })
}

/// Asks over a new connection, the way a request would go.
async fn ask(backend: &Backend, shared: &Shared) -> Result<u16, String> {
    let mut stream = shared.dialer.open(&backend.plan.target).await?;
    let host = shared.live.load().canonical_host.clone();
    let mut question = preface(&backend.plan, None);
    let mut writer = HeadWriter::request(&mut question, b"GET", &[backend.check.path.as_bytes()]);
    writer.field("host", &[host.as_bytes()]);
    writer.field("user-agent", &[CHECK_USER_AGENT.as_bytes()]);
    writer.field(forwarding::X_FORWARDED_PROTO, &[b"https"]);
    writer.field("connection", &[b"close"]);
    writer.finish();
    stream.write_all(&question).await.map_err(|error| error.to_string())?;
    let mut head = ResponseHead::default();
    let mut answer = Buffer::default();
    loop {
        let read = poll_fn(|context| answer.poll_fill(&mut stream, context)).await;
        if read.map_err(|error| error.to_string())? == 0 {
            return Err("the connection was closed".to_owned());
        }
        while let Some(length) =
            head.parse(answer.bytes()).map_err(|refusal| format!("answered with {}", refusal.clause))?
        {
            if !head.is_interim() {
                return Ok(head.status);
            }
            answer.consume(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::{Arc, mpsc};
    use std::time::Duration;

    use tokio::time::Instant;
    use triad_model::{HealthCheck, Reading};

    use super::check;
    use crate::backend::Backend;
    use crate::live::Live;
    use crate::plan::{BackendPlan, EdgePlan, Target};
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
            limits: None,
            headers: Default::default(),
            redirects: Vec::new(),
            hsts: None,
            min_rate: crate::min_rate::MinRate::default(),
            maintenance: Default::default(),
            relay: None,
            access_log: None,
        };
        let live = Live::build(&plan, 1, None, &Arc::default()).expect("a plan without files");
        Arc::new(Shared::new(live, Arc::default()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_backend_is_out_after_fall_time_outs() {
        let check_plan = HealthCheck { path: "/up".to_owned(), interval_ms: 500, timeout_ms: 500, rise: 2, fall: 2 };
        // The kernel accepts for it; it never answers.
        let silent = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let target = Target::Plain(silent.local_addr().expect("bound"));
        let plan = BackendPlan::new("srv2", target);
        let backend = Arc::new(Backend::new(plan, check_plan, 1, Arc::default()));
        backend.take(Reading::Pass, "answered 200".to_owned());
        let shared = shared();
        let start = Instant::now();
        let (first, _) = mpsc::channel();
        tokio::spawn(check(Arc::downgrade(&backend), shared.balancer.clone(), shared, first));
        backend.down().await;
        // On the paused clock: two time-outs, one right after the other; what went before is at most one interval.
        assert_eq!(start.elapsed().as_millis(), Duration::from_secs(1).as_millis());
        assert_eq!(backend.report("balancer").why, "no answer within 500 ms");
    }
}
