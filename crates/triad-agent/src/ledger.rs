//! What the processes of a service counted, as one account: it never falls while the agent runs, whoever dies or is
//! replaced, so that no request is lost or counted twice by whoever reads it. Pure.
//!
//! A process reports once a second; what it counted between its last report and a violent death is lost. One that
//! drains reports until its end, and once more then.

use triad_model::{BackendReport, DnsReport, EdgeReport, LatencyHistogram, PoolReport, RequestCount, SiteLatency};

use crate::generations::Number;

/// A report that can be added up.
pub trait Counted: Clone {
    /// Adds what `other` counted, and what it has open. What a backend is, and what is in force, stays as it is here.
    fn add(&mut self, other: &Self);

    /// The process is gone: it has nothing open any more.
    fn close(&mut self);
}

/// One start of a process: the process, and how often it had been started.
pub(crate) type Life = (Number, u64);

/// The account.
#[derive(Debug)]
pub(crate) struct Ledger<R> {
    /// All who are gone.
    gone: Option<R>,
    /// Who lives, with what it said last.
    living: Vec<(Life, R)>,
}

impl<R: Counted> Ledger<R> {
    /// Nobody has counted anything.
    pub fn new() -> Self {
        Self { gone: None, living: Vec::new() }
    }

    /// Takes what `life` counted since its start.
    pub fn take(&mut self, life: Life, report: R) {
        match self.living.iter_mut().find(|(other, _)| *other == life) {
            Some((_, last)) => *last = report,
            None => self.living.push((life, report)),
        }
    }

    /// Closes the account of `life`.
    pub fn end(&mut self, life: Life) {
        let Some(index) = self.living.iter().position(|(other, _)| *other == life) else { return };
        let (_, mut last) = self.living.swap_remove(index);
        last.close();
        if let Some(gone) = &self.gone {
            last.add(gone);
        }
        self.gone = Some(last);
    }

    /// How things are by the word of the process `current`, with what everybody counted; `None` until it says something.
    pub fn total(&self, current: Number) -> Option<R> {
        let of_current = self.living.iter().filter(|((number, _), _)| *number == current);
        let (life, report) = of_current.max_by_key(|((_, start), _)| *start)?;
        let mut total = report.clone();
        let others = self.living.iter().filter(|(other, _)| other != life).map(|(_, report)| report);
        others.chain(&self.gone).for_each(|other| total.add(other));
        Some(total)
    }
}

impl Counted for EdgeReport {
    fn add(&mut self, other: &Self) {
        // Every field by name: a new one is no field to forget here.
        let Self {
            requests,
            latency,
            site_latency,
            in_flight,
            switched,
            connections,
            connections_refused,
            connections_max: _,
            bans: _,
            refusals,
            handshake_failures,
            retries,
            retries_refused,
            proxy_headers_refused,
            log_dropped,
            backends,
            pools,
            relay_connections,
            relay_failures,
            relay,
            read_relay,
            maintenance: _,
        } = other;
        requests.iter().for_each(|request| add_request(&mut self.requests, request));
        add_latency(&mut self.latency, latency);
        site_latency.iter().for_each(|site| add_site(&mut self.site_latency, site));
        self.in_flight += in_flight;
        self.switched += switched;
        self.connections += connections;
        self.connections_refused += connections_refused;
        self.refusals += *refusals;
        self.handshake_failures += handshake_failures;
        self.retries += retries;
        self.retries_refused += retries_refused;
        self.proxy_headers_refused += proxy_headers_refused;
        self.log_dropped += log_dropped;
        backends.iter().for_each(|backend| add_backend(&mut self.backends, backend));
        pools.iter().for_each(|pool| add_pool(&mut self.pools, pool));
        self.relay_connections += relay_connections;
        self.relay_failures += relay_failures;
        self.relay += *relay;
        self.read_relay += *read_relay;
    }

    fn close(&mut self) {
        self.in_flight = 0;
        self.switched = 0;
        self.connections = 0;
        self.relay_connections = 0;
        for relay in [&mut self.relay, &mut self.read_relay] {
            (relay.open, relay.held) = (0, 0);
        }
        self.backends.iter_mut().for_each(|backend| backend.in_flight = 0);
        self.pools.iter_mut().for_each(|pool| pool.waiting = 0);
        self.maintenance = None;
    }
}

fn add_request(requests: &mut Vec<RequestCount>, request: &RequestCount) {
    let labels = |it: &RequestCount| (it.site.clone(), it.code, it.method.clone(), it.cache.clone());
    let wanted = labels(request);
    match requests.iter_mut().find(|it| it.code == request.code && labels(it) == wanted) {
        Some(same) => same.count += request.count,
        None => requests.push(request.clone()),
    }
}

fn add_latency(latency: &mut LatencyHistogram, other: &LatencyHistogram) {
    if latency.buckets.len() < other.buckets.len() {
        latency.buckets.resize(other.buckets.len(), 0);
    }
    latency.buckets.iter_mut().zip(&other.buckets).for_each(|(bucket, more)| *bucket += more);
    latency.sum_s += other.sum_s;
}

fn add_site(sites: &mut Vec<SiteLatency>, other: &SiteLatency) {
    match sites.iter_mut().find(|it| it.site == other.site) {
        Some(site) => add_latency(&mut site.latency, &other.latency),
        None => sites.push(other.clone()),
    }
}

/// A backend that the file has no more is forgotten, so the account cannot grow without bound.
fn add_backend(backends: &mut [BackendReport], other: &BackendReport) {
    let same = |it: &&mut BackendReport| it.pool == other.pool && it.name == other.name;
    if let Some(backend) = backends.iter_mut().find(same) {
        backend.requests += other.requests;
        backend.failures += other.failures;
        backend.retries += other.retries;
        add_latency(&mut backend.first_byte, &other.first_byte);
        backend.in_flight += other.in_flight;
    }
}

fn add_pool(pools: &mut [PoolReport], other: &PoolReport) {
    if let Some(pool) = pools.iter_mut().find(|it| it.pool == other.pool) {
        pool.waiting += other.waiting;
        pool.timed_out += other.timed_out;
        pool.overflowed += other.overflowed;
    }
}

impl Counted for DnsReport {
    fn add(&mut self, other: &Self) {
        let Self { answers, udp, tcp, dropped, left_out: _ } = other;
        for (code, count) in answers {
            match self.answers.iter_mut().find(|(other, _)| other == code) {
                Some((_, sum)) => *sum += count,
                None => self.answers.push((code.clone(), *count)),
            }
        }
        self.udp += udp;
        self.tcp += tcp;
        self.dropped += dropped;
    }

    fn close(&mut self) {
        self.left_out.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use triad_model::{DnsReport, EdgeReport, LatencyHistogram, RequestCount, SiteLatency};

    use super::{Counted, Ledger};

    fn edge(code: u16, count: u64, open: u64) -> EdgeReport {
        let (site, method, cache) = ("foobar.com".to_owned(), "GET".to_owned(), "none".to_owned());
        EdgeReport {
            requests: vec![RequestCount { site, code, method, cache, count }],
            latency: LatencyHistogram { buckets: vec![count, 1], sum_s: 0.5 },
            site_latency: vec![SiteLatency {
                site: format!("{code}.foobar.com"),
                latency: LatencyHistogram { buckets: vec![count], sum_s: 0.5 },
            }],
            in_flight: open,
            connections: open,
            ..EdgeReport::default()
        }
    }

    #[test]
    fn an_edge_that_is_replaced_leaves_its_counts_and_nothing_open() {
        let mut ledger = Ledger::new();
        assert_eq!(ledger.total(0), None);
        ledger.take((0, 1), edge(200, 10, 3));
        ledger.take((1, 1), edge(200, 2, 1));
        ledger.take((1, 1), edge(404, 5, 1));
        let both = ledger.total(1).expect("it reported");
        assert_eq!((both.requests_total(), both.in_flight, both.requests.len()), (15, 4, 2));
        assert_eq!(both.latency, LatencyHistogram { buckets: vec![15, 2], sum_s: 1.0 });
        let sites: Vec<_> = both.site_latency.iter().map(|it| (it.site.as_str(), it.latency.buckets[0])).collect();
        assert_eq!(sites, [("404.foobar.com", 5), ("200.foobar.com", 10)]);
        ledger.take((0, 1), edge(200, 11, 1));
        ledger.end((0, 1));
        let after = ledger.total(1).expect("it reported");
        assert_eq!((after.requests_total(), after.in_flight, after.connections), (16, 1, 1));
        ledger.end((1, 1));
        assert_eq!(ledger.total(1), None, "nobody says how things are");
        ledger.take((1, 2), edge(200, 0, 0));
        assert_eq!(ledger.total(1).expect("it reported").requests_total(), 16, "a death loses no count either");
    }

    proptest! {
        /// Reports that only grow, deaths and replacements in any order: the sum is that of all last words.
        #[test]
        fn the_sum_is_what_all_said_last(steps in prop::collection::vec((0..3u64, 0..3u64, 0..50u64, any::<bool>()), 1..60)) {
            let mut ledger = Ledger::new();
            let mut said = std::collections::BTreeMap::new();
            let mut ended = std::collections::BTreeSet::new();
            for (number, start, more, ends) in steps {
                let life = (number, start);
                if ended.contains(&life) {
                    continue;
                }
                let udp = said.entry(life).or_insert(0);
                *udp += more;
                ledger.take(life, DnsReport { udp: *udp, ..DnsReport::default() });
                if ends {
                    ledger.end(life);
                    ended.insert(life);
                }
                let sum: u64 = said.values().sum();
                for current in 0..3 {
                    let lives = said.keys().any(|life| life.0 == current && !ended.contains(life));
                    prop_assert_eq!(ledger.total(current).map(|total| total.udp), lives.then_some(sum));
                }
            }
        }
    }

    #[test]
    fn name_servers_are_added_up_by_code() {
        let report = |code: &str| DnsReport { answers: vec![(code.to_owned(), 2)], ..DnsReport::default() };
        let mut sum = report("NOERROR");
        sum.add(&report("REFUSED"));
        sum.add(&report("NOERROR"));
        assert_eq!(sum.answers, [("NOERROR".to_owned(), 4), ("REFUSED".to_owned(), 2)]);
    }
}
