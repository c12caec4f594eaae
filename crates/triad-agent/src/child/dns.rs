use triad_dns::{NameServer, Zone};
use triad_model::{DnsReport, ServerName};

use super::{Inherited, Served, serve};

/// `triad dns`: answers for the domain on inherited sockets.
pub fn main() -> anyhow::Result<()> {
    serve::<NameServer>(c"triad-dns")
}

impl Served for NameServer {
    type Plan = Zone;
    type Report = DnsReport;

    fn start(zone: Zone, inherited: &mut Inherited) -> anyhow::Result<Self> {
        Ok(NameServer::start(zone, inherited.udp("udp")?, inherited.tcp("tcp")?)?)
    }

    fn reload(&mut self, zone: Zone) -> anyhow::Result<()> {
        Ok(NameServer::reload(self, zone)?)
    }

    fn leave_out(&mut self, servers: Vec<ServerName>) {
        NameServer::leave_out(self, servers);
    }

    fn report(&self) -> DnsReport {
        NameServer::report(self)
    }

    async fn failed(&mut self) {
        NameServer::failed(self).await;
    }

    fn retire(&mut self) {}

    /// Like [`Self::drain`], it leaves nothing to be waited for.
    fn is_done(&self) -> bool {
        true
    }

    /// Every answer is one packet or a few: nothing runs long enough to be waited for.
    fn drain(self) {}
}
