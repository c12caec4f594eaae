use std::time::Duration;

use triad_model::{Ban, DatabaseRoute, EdgeReport, Noticed, ServerName, UsageNews};
use triad_proxy::{Edge, EdgePlan};

use super::{Inherited, Served, serve};

/// Time requests have to finish when the edge is told to end. When it was replaced, it is the time that a connection is
/// kept open for another request.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);
/// Time that everything under way has when the edge was replaced: downloads, WebSockets, the application's connections to
/// the database. What is still open then is cut.
pub const HOLD_TIMEOUT: Duration = Duration::from_secs(600);

/// `triad edge`: serves HTTP and relays to the database on inherited sockets.
pub fn main() -> anyhow::Result<()> {
    serve::<Edge>(c"triad-edge")
}

impl Served for Edge {
    type Plan = EdgePlan;
    type Report = EdgeReport;

    fn start(plan: EdgePlan, inherited: &mut Inherited) -> anyhow::Result<Self> {
        let mut sockets = Vec::new();
        for name in inherited.names() {
            let listeners = inherited.tcp(&name)?;
            sockets.push((name, listeners));
        }
        Ok(Edge::start(plan, sockets)?)
    }

    fn reload(&mut self, plan: EdgePlan) -> anyhow::Result<()> {
        Ok(Edge::reload(self, plan)?)
    }

    /// Beside what its own checks say.
    fn leave_out(&mut self, servers: Vec<ServerName>) {
        self.heed_silence(&servers);
    }

    fn cut_off(&mut self, servers: Vec<ServerName>) {
        self.heed_cut(&servers);
    }

    fn ban(&mut self, bans: Vec<Ban>) {
        Edge::ban(self, &bans);
    }

    fn hear(&mut self, news: UsageNews) {
        Edge::hear(self, &news);
    }

    fn route_database(&mut self, route: DatabaseRoute) {
        Edge::route_database(self, route);
    }

    fn noticed(&self) -> Option<Noticed> {
        Edge::noticed(self).filter(|noticed| !noticed.is_empty())
    }

    fn report(&self) -> EdgeReport {
        Edge::report(self)
    }

    /// A worker that ended is the edge's own business: it runs several.
    async fn failed(&mut self) {
        std::future::pending().await
    }

    fn retire(&mut self) {
        Edge::retire(self, DRAIN_TIMEOUT, HOLD_TIMEOUT);
    }

    fn is_done(&self) -> bool {
        Edge::is_done(self)
    }

    fn drain(self) {
        let cut = Edge::drain(self, DRAIN_TIMEOUT);
        if cut > 0 {
            tracing::warn!(connections = cut, "not every request was answered in time; these were cut");
        }
    }
}
