//! What a worker counts. Each worker has its own, so that counting never waits for another core; a report adds them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use triad_http1::Method;
use triad_model::{EdgeReport, LATENCY_BOUNDS_S, LatencyHistogram, Refusals, RequestCount};

/// Rows of the table of requests. Hosts, methods and codes are closed sets; the bound holds for reloads that bring
/// ever new hosts.
const ROWS_MAX: usize = 4096;
/// The label of requests that name no host of the site.
pub(crate) const OTHER_SITE: &str = "other";

/// A row's labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Labels {
    site: Arc<str>,
    method: &'static str,
    code: u16,
}

/// One worker's counters.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    requests: Mutex<HashMap<Labels, Row>>,
    latency: [AtomicU64; LATENCY_BOUNDS_S.len() + 1],
    latency_sum_us: AtomicU64,
    pub in_flight: AtomicU64,
    pub connections: AtomicU64,
    pub connections_banned: AtomicU64,
    pub requests_banned: AtomicU64,
    pub connections_full: AtomicU64,
    pub connections_client: AtomicU64,
    pub requests_full: AtomicU64,
    pub requests_site: AtomicU64,
    pub requests_client: AtomicU64,
    pub handshake_failures: AtomicU64,
    pub retries: AtomicU64,
    pub retries_refused: AtomicU64,
    pub proxy_headers_refused: AtomicU64,
}

/// A row's count, which only its worker adds to.
type Row = Arc<AtomicU64>;

/// The row a connection counted in last: most requests of a connection have the same labels.
#[derive(Debug, Default)]
pub(crate) struct LastRow(Option<(Labels, Row)>);

impl Counters {
    /// Counts an answered request. Takes a lock only when the labels differ from those in `last`.
    pub fn count(&self, last: &mut LastRow, site: &Arc<str>, method: Method, status: u16, duration: Duration) {
        let method = method_label(method);
        let is_same =
            |labels: &Labels| Arc::ptr_eq(&labels.site, site) && (labels.method, labels.code) == (method, status);
        match &last.0 {
            Some((labels, row)) if is_same(labels) => add(row, 1),
            _ => {
                let labels = Labels { site: site.clone(), method, code: status };
                let row = self.row(labels.clone());
                add(&row, 1);
                last.0 = Some((labels, row));
            }
        }
        let seconds = duration.as_secs_f64();
        let bucket = LATENCY_BOUNDS_S.partition_point(|bound| *bound < seconds);
        add(&self.latency[bucket], 1);
        add(&self.latency_sum_us, duration.as_micros() as u64);
    }

    fn refusals(&self) -> Refusals {
        Refusals {
            connections_banned: self.connections_banned.load(Relaxed),
            requests_banned: self.requests_banned.load(Relaxed),
            connections_full: self.connections_full.load(Relaxed),
            connections_client: self.connections_client.load(Relaxed),
            requests_full: self.requests_full.load(Relaxed),
            requests_site: self.requests_site.load(Relaxed),
            requests_client: self.requests_client.load(Relaxed),
        }
    }

    fn row(&self, mut labels: Labels) -> Row {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if requests.len() >= ROWS_MAX && !requests.contains_key(&labels) {
            labels.site = OTHER_SITE.into();
        }
        requests.entry(labels).or_default().clone()
    }
}

/// Adds to a number that no other thread changes: cheaper than an atomic addition.
fn add(number: &AtomicU64, more: u64) {
    number.store(number.load(Relaxed).wrapping_add(more), Relaxed);
}

/// The sum over all workers; what workers do not count is left at zero.
pub(crate) fn sum<'a>(workers: impl Iterator<Item = &'a Counters>) -> EdgeReport {
    let mut report = EdgeReport {
        latency: LatencyHistogram { buckets: vec![0; LATENCY_BOUNDS_S.len() + 1], sum_s: 0.0 },
        ..EdgeReport::default()
    };
    let mut requests: HashMap<Labels, u64> = HashMap::new();
    for worker in workers {
        for (labels, count) in worker.requests.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            *requests.entry(labels.clone()).or_default() += count.load(Relaxed);
        }
        for (total, bucket) in report.latency.buckets.iter_mut().zip(&worker.latency) {
            *total += bucket.load(Relaxed);
        }
        report.latency.sum_s += worker.latency_sum_us.load(Relaxed) as f64 / 1e6;
        report.in_flight += worker.in_flight.load(Relaxed);
        report.connections += worker.connections.load(Relaxed);
        report.refusals += worker.refusals();
        report.handshake_failures += worker.handshake_failures.load(Relaxed);
        report.retries += worker.retries.load(Relaxed);
        report.retries_refused += worker.retries_refused.load(Relaxed);
        report.proxy_headers_refused += worker.proxy_headers_refused.load(Relaxed);
    }
    let Refusals { connections_banned, connections_full, connections_client, .. } = report.refusals;
    report.connections_refused = connections_banned + connections_full + connections_client;
    report.requests = rows(requests);
    report
}

fn rows(requests: HashMap<Labels, u64>) -> Vec<RequestCount> {
    let row = |(labels, count): (Labels, u64)| RequestCount {
        site: labels.site.to_string(),
        code: labels.code,
        method: labels.method.to_owned(),
        cache: "none".to_owned(),
        count,
    };
    let mut rows: Vec<RequestCount> = requests.into_iter().map(row).collect();
    rows.sort_by(|a, b| (&a.site, &a.method, a.code).cmp(&(&b.site, &b.method, b.code)));
    rows
}

/// The methods of RFC 9110 §9 and PATCH; the world may send any other.
fn method_label(method: Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Head => "HEAD",
        Method::Post => "POST",
        Method::Put => "PUT",
        Method::Delete => "DELETE",
        Method::Options => "OPTIONS",
        Method::Patch => "PATCH",
        Method::Connect => "CONNECT",
        Method::Trace => "TRACE",
        Method::Other => "OTHER",
    }
}

/// Something that is going on, counted as long as the guard lives.
#[derive(Debug)]
pub(crate) struct Ongoing<T>(T, fn(&T) -> &AtomicU64);

impl<T> Ongoing<T> {
    /// Counts one more in `counter` of `owner`.
    pub fn new(owner: T, counter: fn(&T) -> &AtomicU64) -> Self {
        counter(&owner).fetch_add(1, Relaxed);
        Self(owner, counter)
    }
}

impl<T> Drop for Ongoing<T> {
    fn drop(&mut self) {
        (self.1)(&self.0).fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use triad_http1::Method;

    use super::{Counters, LastRow, ROWS_MAX, sum};

    #[test]
    fn workers_are_added_up_by_label() {
        let workers = [Counters::default(), Counters::default()];
        let site: Arc<str> = "www.foobar.com".into();
        let mut last = [LastRow::default(), LastRow::default()];
        workers[0].count(&mut last[0], &site, Method::Get, 200, Duration::from_micros(900));
        workers[1].count(&mut last[1], &site, Method::Get, 200, Duration::from_secs(11));
        workers[1].count(&mut last[1], &site, Method::Other, 418, Duration::from_millis(1));
        let report = sum(workers.iter());
        let rows: Vec<_> = report.requests.iter().map(|row| (row.method.as_str(), row.code, row.count)).collect();
        assert_eq!(rows, [("GET", 200, 2), ("OTHER", 418, 1)]);
        assert_eq!(report.latency.buckets, [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(report.latency.sum_s, 11.0019);
    }

    #[test]
    fn the_table_is_bounded() {
        let counters = Counters::default();
        let mut last = LastRow::default();
        for host in 0..2 * ROWS_MAX {
            counters.count(&mut last, &format!("{host}.foobar.com").into(), Method::Get, 200, Duration::ZERO);
        }
        let report = sum(std::iter::once(&counters));
        assert_eq!(report.requests.len(), ROWS_MAX + 1);
        assert_eq!(report.requests_total(), 2 * ROWS_MAX as u64);
    }
}
