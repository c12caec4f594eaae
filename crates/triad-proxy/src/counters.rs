//! What a worker counts. Each worker has its own, so that counting never waits for another core; a report adds them.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use triad_http1::Method;
use triad_model::{EdgeReport, LATENCY_BOUNDS_S, LatencyHistogram, Refusals, RequestCount, SiteLatency};

/// Rows of the table of requests. Hosts, methods and codes are closed sets; the bound holds for reloads that bring
/// ever new hosts.
const ROWS_MAX: usize = 4096;
/// Sites whose durations are told apart, for the same reason; further ones count as [`OTHER_SITE`].
const SITES_MAX: usize = 256;
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
    /// By site.
    latency: Mutex<HashMap<Arc<str>, Arc<Latency>>>,
    pub in_flight: AtomicU64,
    /// Connections that switched protocols.
    switched: AtomicU64,
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

/// How long requests of a site took, to which only its worker adds.
#[derive(Debug, Default)]
struct Latency {
    buckets: [AtomicU64; LATENCY_BOUNDS_S.len() + 1],
    sum_us: AtomicU64,
}

/// Where a connection counted last: most requests of a connection have the same labels.
#[derive(Debug, Default)]
pub(crate) struct LastRow(Option<(Labels, Row, Arc<Latency>)>);

/// A connection that switched protocols, counted as long as this lives.
pub(crate) struct Switched<'a>(&'a AtomicU64);

impl Drop for Switched<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Counters {
    /// Counts a connection that switches protocols.
    pub fn switch(&self) -> Switched<'_> {
        self.switched.fetch_add(1, Relaxed);
        Switched(&self.switched)
    }

    /// What takes files to backends: requests under way, and connections that switched protocols.
    pub fn under_way(&self) -> u64 {
        self.in_flight.load(Relaxed) + self.switched.load(Relaxed)
    }

    /// Counts an answered request. Takes a lock only when the labels differ from those in `last`.
    pub fn count(&self, last: &mut LastRow, site: &Arc<str>, method: Method, status: u16, duration: Duration) {
        let method = method_label(method);
        let is_same =
            |labels: &Labels| Arc::ptr_eq(&labels.site, site) && (labels.method, labels.code) == (method, status);
        if !last.0.as_ref().is_some_and(|(labels, ..)| is_same(labels)) {
            let labels = Labels { site: site.clone(), method, code: status };
            last.0 = Some((labels.clone(), self.row(labels), self.latency(site)));
        }
        let Some((_, row, latency)) = &last.0 else { return };
        add(row, 1);
        let seconds = duration.as_secs_f64();
        let bucket = LATENCY_BOUNDS_S.partition_point(|bound| *bound < seconds);
        add(&latency.buckets[bucket], 1);
        add(&latency.sum_us, duration.as_micros() as u64);
    }

    fn latency(&self, site: &Arc<str>) -> Arc<Latency> {
        let mut all = self.latency.lock().unwrap_or_else(PoisonError::into_inner);
        let is_new = !all.contains_key(site);
        let site = if is_new && all.len() >= SITES_MAX { OTHER_SITE.into() } else { site.clone() };
        all.entry(site).or_default().clone()
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

impl Latency {
    fn add_to(&self, total: &mut LatencyHistogram) {
        for (total, bucket) in total.buckets.iter_mut().zip(&self.buckets) {
            *total += bucket.load(Relaxed);
        }
        total.sum_s += self.sum_us.load(Relaxed) as f64 / 1e6;
    }
}

/// Adds to a number that no other thread changes: cheaper than an atomic addition.
pub(crate) fn add(number: &AtomicU64, more: u64) {
    number.store(number.load(Relaxed).wrapping_add(more), Relaxed);
}

/// The sum over all workers; what workers do not count is left at zero.
pub(crate) fn sum<'a>(workers: impl Iterator<Item = &'a Counters>) -> EdgeReport {
    let nothing = || LatencyHistogram { buckets: vec![0; LATENCY_BOUNDS_S.len() + 1], sum_s: 0.0 };
    let mut report = EdgeReport { latency: nothing(), ..EdgeReport::default() };
    let mut sites: BTreeMap<Arc<str>, LatencyHistogram> = BTreeMap::new();
    let mut requests: HashMap<Labels, u64> = HashMap::new();
    for worker in workers {
        for (labels, count) in worker.requests.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            *requests.entry(labels.clone()).or_default() += count.load(Relaxed);
        }
        for (site, latency) in worker.latency.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            let of_site = sites.entry(site.clone()).or_insert_with(nothing);
            [&mut report.latency, of_site].into_iter().for_each(|total| latency.add_to(total));
        }
        report.in_flight += worker.in_flight.load(Relaxed);
        report.switched += worker.switched.load(Relaxed);
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
    let of_site = |(site, latency): (Arc<str>, _)| SiteLatency { site: site.to_string(), latency };
    report.site_latency = sites.into_iter().map(of_site).collect();
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

    use super::{Counters, LastRow, ROWS_MAX, SITES_MAX, sum};

    #[test]
    fn workers_are_added_up_by_label() {
        let workers = [Counters::default(), Counters::default()];
        let site: Arc<str> = "www.foobar.com".into();
        let mut last = [LastRow::default(), LastRow::default()];
        workers[0].count(&mut last[0], &site, Method::Get, 200, Duration::from_micros(900));
        workers[1].count(&mut last[1], &site, Method::Get, 200, Duration::from_secs(11));
        workers[1].count(&mut last[1], &"foobar.com".into(), Method::Other, 418, Duration::from_millis(1));
        let report = sum(workers.iter());
        let rows: Vec<_> = report.requests.iter().map(|row| (row.method.as_str(), row.code, row.count)).collect();
        assert_eq!(rows, [("OTHER", 418, 1), ("GET", 200, 2)]);
        assert_eq!(report.latency.buckets, [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert!((report.latency.sum_s - 11.0019).abs() < 1e-9);
        let sites: Vec<_> = report.site_latency.iter().map(|it| (it.site.as_str(), it.latency.buckets[0])).collect();
        assert_eq!(sites, [("foobar.com", 1), ("www.foobar.com", 1)]);
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
        assert_eq!(report.site_latency.len(), SITES_MAX + 1);
        assert_eq!(report.latency.buckets[0], 2 * ROWS_MAX as u64);
    }
}
