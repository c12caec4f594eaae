//! A plan, made ready to serve: certificates parsed, files opened. A reload builds the next one and swaps it in.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use tokio_rustls::TlsAcceptor;
use triad_http::{Peer, TraceContext};
use triad_http1::RequestHead;
use triad_model::{IpNet, Limits, Trace};
use triad_tls::{Identity, SiteTls, TlsError};
use triad_web::StaticFiles;

use crate::answer::{Changes, Entrance};
use crate::counters::OTHER_SITE;
use crate::header_rules::HeaderRules;
use crate::limit::Limiter;
use crate::log::{LineShape, Log};
use crate::maintenance::Closed;
use crate::min_rate::MinRate;
use crate::plan::{EdgePlan, PoolPlan};
use crate::pool::Pool;
use crate::redirect::Redirects;
use crate::routes::{Outlet, Routes};
use crate::sticky::Sticky;
use crate::upstream::HopClient;

/// Why a plan cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum EdgeError {
    /// The folder of static files cannot be opened.
    #[error("cannot open the web root {path}: {source}; check that it exists and that user triad-edge may read it")]
    Root {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The access log cannot be opened.
    #[error("cannot open the access log {path}: {source}; check that user triad-edge may write there")]
    AccessLog {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A certificate or key cannot be used.
    #[error("the edge's certificates: {0}")]
    Tls(#[from] TlsError),
    /// The plan names no host.
    #[error("the plan's first host {0:?} is no host name; write it under site.hosts")]
    Host(String),
    /// A rule for a field that would break messages.
    #[error("the plan has a rule for the header field {0:?} that cannot be; write it as `triad check` says")]
    Header(String),
    /// A route that leads nowhere.
    #[error("the plan has a route to the pool {0:?} and no such pool; write it under [pools]")]
    Route(String),
    /// Sockets that do not fit together.
    #[error("the inherited sockets named {name:?} {problem}; the agent must pass the sockets of plan::listeners")]
    Sockets {
        /// Name of the sockets.
        name: String,
        /// What is wrong with them.
        problem: &'static str,
    },
    /// The system refused a thread, a runtime or a socket.
    #[error("cannot start the edge's workers: {0}; check the limits on threads and open files")]
    Start(#[from] io::Error),
}

/// What workers work from.
pub(crate) struct Live {
    /// Labels of the site's hosts, lower case.
    sites: Vec<Arc<str>>,
    pub other_site: Arc<str>,
    pub canonical_host: String,
    /// Whose connections from the world begin with a PROXY header.
    forwarders: Vec<IpNet>,
    /// Addresses whose checks are nobody's traffic.
    pub checked_from: Vec<IpAddr>,
    pub redirect_to_https: bool,
    /// The pools that users' requests are balanced over.
    pub outlets: Vec<Outlet>,
    /// That of them which takes what no route is for: the balancer's own.
    pub balancer: Option<usize>,
    pub routes: Option<Routes>,
    /// Whether there is anything behind static files.
    pub has_local: bool,
    /// Whether a balancer's check is answered by what is known of that: it is on other servers, or knows no such check.
    pub answers_checks: bool,
    /// Whether requests may be calls of gRPC.
    pub grpc: bool,
    /// Whether instances are told by a PROXY header who the client is.
    pub announces: bool,
    pub statics: Option<StaticFiles>,
    pub site_tls: Option<SiteTls>,
    pub hop: Hop,
    /// How we speak to other edges.
    pub hop_client: Option<Arc<HopClient>>,
    pub log: Option<Arc<Log>>,
    /// How its lines look.
    pub line: LineShape,
    sticky: Option<Sticky>,
    /// What clients may do.
    pub limiter: Option<Arc<Limiter>>,
    /// How slow they may be.
    min_rate: MinRate,
    /// Set while users are turned away.
    pub closed: Option<Closed>,
    pub redirects: Option<Redirects>,
    /// Rules for users' requests, for answers over HTTP, and for those over HTTPS.
    request_rules: Option<HeaderRules>,
    http_rules: Option<HeaderRules>,
    https_rules: Option<HeaderRules>,
    /// Whether a front tells of its clients in RFC 7239's words, too.
    says_forwarded: bool,
    /// What a front gives requests without a trace.
    trace: Option<Trace>,
}

/// Whom the hop is open to.
pub(crate) enum Hop {
    /// Whoever shows a certificate of the design's authority.
    MutualTls(TlsAcceptor),
    /// These addresses.
    Plain(Vec<IpAddr>),
}

impl Live {
    /// Makes `plan` ready. The log of `before` goes on if its path is the same; `log_dropped` counts for all logs.
    pub fn build(
        plan: &EdgePlan,
        workers: usize,
        before: Option<&Live>,
        log_dropped: &Arc<AtomicU64>,
    ) -> Result<Self, EdgeError> {
        let canonical = plan.hosts.first().map_or("", String::as_str);
        let is_host = !canonical.is_empty() && canonical.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_host {
            return Err(EdgeError::Host(canonical.to_owned()));
        }
        let outlets = outlets(plan, before);
        let site = plan.site_certificate.as_ref().map(|pair| SiteTls::new(pair, &plan.site_extras, plan.http2));
        Ok(Self {
            sites: plan.hosts.iter().map(|host| host.to_ascii_lowercase().into()).collect(),
            other_site: OTHER_SITE.into(),
            canonical_host: canonical.to_owned(),
            forwarders: plan.proxy_protocol_from.clone(),
            checked_from: plan.checked_from.clone(),
            redirect_to_https: plan.redirect_to_https,
            balancer: plan.balancer.as_ref().map(|_| 0),
            routes: Routes::of(&plan.routes, &outlets).map_err(EdgeError::Route)?,
            outlets,
            has_local: plan.local.is_some(),
            announces: plan.local.iter().flat_map(|pool| &pool.backends).any(|it| it.proxy_protocol.is_some()),
            answers_checks: plan.local.as_ref().is_some_and(answers_checks),
            grpc: plan.grpc,
            statics: plan.root.as_deref().map(open_root).transpose()?,
            site_tls: site.transpose()?,
            hop: match &plan.identity {
                Some(identity) => Hop::MutualTls(triad_tls::hop_server_config(identity)?.into()),
                None => Hop::Plain(plan.hop_from.clone()),
            },
            hop_client: plan.identity.as_ref().map(hop_client).transpose()?,
            sticky: plan.sticky.as_ref().map(|it| Sticky::of(it, plan.site_certificate.as_ref())).transpose()?,
            limiter: plan.limits.as_ref().map(|limits| limiter(limits, plan.fronts, before)),
            min_rate: plan.min_rate,
            closed: Closed::of(&plan.maintenance),
            redirects: Redirects::of(&plan.redirects),
            request_rules: HeaderRules::of(&plan.headers.request, None).map_err(EdgeError::Header)?,
            http_rules: HeaderRules::of(&plan.headers.response, None).map_err(EdgeError::Header)?,
            https_rules: HeaderRules::of(&plan.headers.response, plan.hsts).map_err(EdgeError::Header)?,
            says_forwarded: plan.headers.forwarded,
            trace: plan.headers.trace,
            line: LineShape::of(&plan.log),
            log: open_log(plan.access_log.as_deref(), workers, before, log_dropped)?,
        })
    }

    /// Whether a connection that comes from `address` through `entrance` begins with a PROXY header.
    pub fn is_forwarded(&self, entrance: Entrance, address: IpAddr) -> bool {
        let address = address.to_canonical();
        entrance != Entrance::Hop && self.forwarders.iter().any(|network| network.contains(&address))
    }

    /// How slow a client may be that came in through `entrance`. Another edge is as slow as its own client, which it
    /// judges itself.
    pub fn min_rate(&self, entrance: Entrance) -> Option<MinRate> {
        (entrance != Entrance::Hop).then_some(self.min_rate)
    }

    /// What happens to the fields of a request that came in through `entrance`.
    pub fn changes(&self, entrance: Entrance) -> Changes<'_> {
        match entrance {
            Entrance::Hop => Changes::default(),
            Entrance::Http | Entrance::Https => Changes {
                rules: self.request_rules.as_ref(),
                sticky: self.sticky.as_ref(),
                says_forwarded: self.says_forwarded,
            },
        }
    }

    /// The trace of a request of `peer`. What the file's rules take away is not put back.
    pub fn trace(&self, peer: &Peer, head: &RequestHead, bytes: &[u8]) -> TraceContext {
        let rules = self.request_rules.as_ref().filter(|_| !peer.trusted);
        if rules.is_some_and(|rules| !rules.passes(b"traceparent")) {
            return TraceContext::Absent;
        }
        let start = self.trace.filter(|_| !peer.trusted).map(|trace| trace == Trace::Sampled);
        TraceContext::of(&head.fields, bytes, start)
    }

    /// What happens to the fields of an answer that goes out through `entrance`. Strict transport security is for HTTPS
    /// alone (RFC 6797 section 7.2).
    pub fn answer_rules(&self, entrance: Entrance) -> Option<&HeaderRules> {
        match entrance {
            Entrance::Http => self.http_rules.as_ref(),
            Entrance::Https => self.https_rules.as_ref(),
            Entrance::Hop => None,
        }
    }

    /// The label of the site `host` belongs to, which may end in a dot.
    pub fn site(&self, host: &[u8]) -> Option<&Arc<str>> {
        let host = host.strip_suffix(b".").unwrap_or(host);
        self.sites.iter().find(|site| site.as_bytes() == host || site.as_bytes().eq_ignore_ascii_case(host))
    }
}

/// The pools of `plan`, the balancer's first. One that `before` has under the same name goes on.
fn outlets(plan: &EdgePlan, before: Option<&Live>) -> Vec<Outlet> {
    let known =
        |name: &str| before?.outlets.iter().map(|outlet| &outlet.pool).find(|pool| *pool.name == *name).cloned();
    let outlet = |(name, plan)| Outlet::new(known(name).unwrap_or_else(|| Arc::new(Pool::new(name))), plan);
    plan.balanced().map(outlet).collect()
}

/// The limiter of `before` goes on if the limits are the same: a reload forgives nobody.
fn limiter(limits: &Limits, fronts: u32, before: Option<&Live>) -> Arc<Limiter> {
    let same = before.and_then(|live| live.limiter.as_ref()).filter(|limiter| limiter.is_by(limits, fronts));
    same.cloned().unwrap_or_else(|| Arc::new(Limiter::new(limits.clone(), fronts)))
}

fn answers_checks(local: &PoolPlan) -> bool {
    local.backends.iter().all(|backend| backend.target.is_edge() || backend.grpc_check)
}

fn hop_client(identity: &Identity) -> Result<Arc<HopClient>, TlsError> {
    let http1 = triad_tls::mutual_client_config(identity)?;
    Ok(Arc::new(HopClient { http1, http2: triad_tls::hop_client_config(identity)? }))
}

fn open_root(path: &Path) -> Result<StaticFiles, EdgeError> {
    StaticFiles::open(path).map_err(|source| EdgeError::Root { path: path.to_owned(), source })
}

fn open_log(
    path: Option<&Path>,
    workers: usize,
    before: Option<&Live>,
    dropped: &Arc<AtomicU64>,
) -> Result<Option<Arc<Log>>, EdgeError> {
    let Some(path) = path else { return Ok(None) };
    let kept = before.and_then(|live| live.log.as_ref()).filter(|log| log.path() == path);
    if let Some(log) = kept {
        return Ok(Some(log.clone()));
    }
    let opened = Log::open(path, workers, dropped.clone());
    opened.map(|log| Some(Arc::new(log))).map_err(|source| EdgeError::AccessLog { path: path.to_owned(), source })
}
