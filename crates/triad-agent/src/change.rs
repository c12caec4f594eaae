//! What changes while the agent runs.
//!
//! A changed file is taken into use: what the running parts can change is changed, in the order of a change (firewall,
//! edge, name server). A file that is wrong, certificates that cannot be used, or a change that needs more than that
//! leave everything as it was. What an operator says of a backend, or of maintenance, goes the same way, as a part of the
//! edge's plan.

use std::collections::BTreeSet;

use anyhow::{Context, bail};
use triad_api::{TakenUp, Upgraded};
use triad_dns::Zone;
use triad_firewall::Ruleset;
use triad_model::{Backend, BackendSetting, Design, Maintenance, Orders, Promotion};
use triad_proxy::EdgePlan;

use crate::agent::Running;
use crate::api::{Answer, Command};
use crate::orders::{self, Known, now_ms};
use crate::renewal::Renewal;
use crate::secrets::{self, Secrets};
use crate::service::Upgrade;
use crate::setup::Setup;

/// Why nobody is promoted by hand.
const AGREED: &str = "three servers agree here on who is the primary: they replace a dead one by themselves, and `triad \
                      switchover` replaces a living one";

/// What becomes of a file that was replaced by another one.
#[derive(Clone, Copy)]
enum Stale {
    Refused,
    TakenUpAgain,
}

impl Running {
    /// Reads file and secrets again and works from them, or says in the log why not.
    pub(crate) async fn reload(&mut self) {
        match self.try_to_reload(Stale::Refused).await {
            Ok(digest) => {
                tracing::info!("the file was read again and is in use");
                if let Some(designs) = self.coordination.designs() {
                    designs.work_from(&digest);
                }
            }
            Err(error) => tracing::error!("the file was read again and changes nothing: {error:#}"),
        }
    }

    /// What the file that is in use now is known by.
    async fn try_to_reload(&mut self, stale: Stale) -> anyhow::Result<String> {
        let setup = &self.setup;
        let (design, digest) = (setup.reread)()?;
        let secrets = secrets::read(&design, &setup.folder, &setup.server.name, &setup.secrets_folder())?;
        secrets.check(&design)?;
        if let Some(what) = needs_restart(setup, &design, &secrets) {
            bail!("{what} cannot change while the agent runs; restart it for that, one server after another");
        }
        if let (Some(designs), Stale::Refused) = (self.coordination.designs(), stale) {
            designs.refuse_stale(&digest).await?;
        }
        self.change(&design, &secrets).await?;
        self.handle.adopt(&design, &secrets);
        self.setup.design = design;
        self.renewal = Renewal::new(secrets.looks.clone());
        self.setup.secrets = secrets;
        self.enforce_bans();
        Ok(digest)
    }

    /// Takes the file into use, also one that was replaced: it is what all servers go by from now on.
    async fn apply(&mut self) -> anyhow::Result<TakenUp> {
        let digest = self.try_to_reload(Stale::TakenUpAgain).await?;
        let server = self.setup.server.name.clone();
        let Some(designs) = self.coordination.designs() else { return Ok(TakenUp { server, generation: None }) };
        let generation = designs.apply(&digest).await;
        // Only now: what it works from it would make a generation as well.
        designs.work_from(&digest);
        let generation = generation.context(
            "the file is in use here, but which generation it is could not be agreed upon; say it again later",
        )?;
        Ok(TakenUp { server, generation: Some(generation) })
    }

    /// Looks whether certificates were renewed, and takes them into use, or says in the log why not.
    pub(crate) async fn look_after_certificates(&mut self) {
        if self.renewal.is_due(self.setup.shown_files()) {
            match self.take_certificates().await {
                Ok(()) => tracing::info!("certificates were renewed and are in use"),
                Err(error) => tracing::error!("certificates were renewed and cannot be used: {error:#}"),
            }
        }
        self.handle.adopt(&self.setup.design, &self.setup.secrets);
    }

    /// What users are shown is read again and nothing else.
    async fn take_certificates(&mut self) -> anyhow::Result<()> {
        let setup = &self.setup;
        let read = secrets::read(&setup.design, &setup.folder, &setup.server.name, &setup.secrets_folder())?;
        let (identity, passwords) = (setup.secrets.identity.clone(), setup.secrets.passwords.clone());
        let secrets = Secrets { identity, passwords, ..read };
        secrets.check(&setup.design)?;
        if let Some(edge) = &self.edge {
            let maintenance = self.orders.closed();
            edge.change(self.edge_plan(&setup.design, &secrets, &self.settings, maintenance)).await?;
        }
        self.setup.secrets = secrets;
        Ok(())
    }

    /// What the edge works from under `design`, and what operators said.
    fn edge_plan(
        &self,
        design: &Design,
        secrets: &Secrets,
        settings: &[BackendSetting],
        maintenance: Option<&Maintenance>,
    ) -> EdgePlan {
        let mut plan = self.setup.edge_plan(design, secrets, self.database.as_ref(), maintenance);
        for (name, pool) in plan.balanced_mut() {
            pool.settings = settings.iter().filter_map(|setting| of_pool(setting, name)).collect();
        }
        plan
    }

    /// Does what was said at a door.
    pub(crate) async fn obey(&mut self, command: Command) {
        match command {
            Command::SetBackend(setting, answer) => tell(answer, self.set_backend(setting).await),
            Command::TakeOrders(words, answer) => tell(answer, self.take_orders(words).await),
            Command::Apply(answer) => tell(answer, self.apply().await),
            Command::Promote(answer) => tell(answer, self.promote().await),
            Command::Heed(promotion) => {
                if let Err(error) = self.heed(promotion) {
                    tracing::error!("who is the primary was said, and is not heeded: {error:#}");
                }
            }
            Command::Upgrade(answer) => tell(answer, self.upgrade().await),
        }
    }

    /// This server's database is the primary from now on, and no other.
    async fn promote(&self) -> anyhow::Result<Promotion> {
        let Some(promotions) = &self.promotions else {
            bail!(if self.setup.design.fails_over() {
                AGREED
            } else {
                "there is no replica here that could be promoted"
            })
        };
        let promotion = promotions.next().await?;
        self.heed(promotion.clone())?;
        Ok(promotion)
    }

    /// Goes by `promotion` from now on.
    fn heed(&self, promotion: Promotion) -> anyhow::Result<()> {
        let Some(promotions) = &self.promotions else { return Ok(()) };
        promotions.adopt(promotion.clone())?;
        if let Some(database) = &self.database {
            database.promote(&self.setup.design, &promotion);
        }
        if let Some(edge) = &self.edge {
            edge.database.send_replace(Some(promotion.route()));
        }
        Ok(())
    }

    /// Replaces the edge by one that runs what is installed now. What else is said meanwhile waits for it.
    async fn upgrade(&self) -> anyhow::Result<Upgraded> {
        let Some(edge) = &self.edge else { bail!("this server has no edge, so there is nothing to replace") };
        tracing::info!(binary = %self.setup.binary.display(), "an operator's word: the edge is replaced");
        let Upgrade { old_pid, new_pid } = edge.upgrade(edge.binary(&self.setup.binary)?).await?;
        Ok(Upgraded { server: self.setup.server.name.clone(), old_pid, new_pid })
    }

    async fn set_backend(&mut self, setting: BackendSetting) -> anyhow::Result<bool> {
        let Some(balancer) = self.setup.design.balancer.as_ref() else { return Ok(false) };
        let Some(edge) = self.edge.as_ref().filter(|_| balancer.servers.contains(&self.setup.server.name)) else {
            return Ok(false);
        };
        check_setting(&self.setup.design, &setting)?;
        let mut settings = self.settings.clone();
        settings.retain(|other| other.backend != setting.backend);
        tracing::info!(backend = setting.backend, mode = %setting.mode, weight = setting.weight, "an operator's word");
        settings.push(setting);
        let maintenance = self.orders.closed();
        edge.change(self.edge_plan(&self.setup.design, &self.setup.secrets, &settings, maintenance)).await?;
        self.settings = settings;
        Ok(true)
    }

    /// In force first, kept second: a full disk is a reason for maintenance, not against it.
    async fn take_orders(&mut self, words: Orders) -> anyhow::Result<Orders> {
        let setup = &self.setup;
        let is_front = setup.design.fronts().contains(&&setup.server.name);
        let Some(edge) = self.edge.as_ref().filter(|_| is_front) else { return Ok(Orders::default()) };
        orders::check(&words, now_ms())?;
        let mut next = self.orders.clone();
        next.merge(words);
        next.purge(now_ms());
        if next == self.orders {
            return Ok(next);
        }
        if next.closed() != self.orders.closed() {
            tracing::info!(on = next.closed().is_some(), "an operator's word of maintenance");
            edge.change(self.edge_plan(&setup.design, &setup.secrets, &self.settings, next.closed())).await?;
        }
        self.orders = next;
        self.enforce_bans();
        self.known.send_replace(Known::new(self.orders.clone()));
        let kept = orders::write(&self.setup.state, &self.orders);
        kept.context("it is done, but a restart of the agent will not know of it")?;
        Ok(self.orders.clone())
    }

    /// Gives the edge the bans that are in force now, if they are others than it has.
    pub(crate) fn enforce_bans(&self) {
        let Some(edge) = &self.edge else { return };
        let bans = orders::bans_in_force(&self.orders, &self.setup.design, now_ms());
        edge.bans.send_if_modified(|before| {
            let differ = *before != bans;
            if differ {
                tracing::info!(bans = bans.len(), "other clients are banned");
                *before = bans;
            }
            differ
        });
    }

    async fn change(&self, design: &Design, secrets: &Secrets) -> anyhow::Result<()> {
        let setup = &self.setup;
        let ruleset = |design| Ruleset::of(design, &setup.server.name);
        let (before, after) = (ruleset(&setup.design), ruleset(design));
        let changed = after.filter(|after| before.as_ref() != Some(after));
        if let Some(ruleset) = &changed {
            triad_firewall::apply(ruleset).await.context("the firewall cannot be loaded")?;
        }
        let outcome = self.change_services(design, secrets).await;
        if let (Err(_), Some(_), Some(before)) = (&outcome, &changed, &before) {
            triad_firewall::apply(before).await.context("the firewall before cannot be loaded again")?;
        }
        outcome
    }

    async fn change_services(&self, design: &Design, secrets: &Secrets) -> anyhow::Result<()> {
        let edge_plan = |design, secrets| self.edge_plan(design, secrets, &self.settings, self.orders.closed());
        if let Some(edge) = &self.edge {
            edge.change(edge_plan(design, secrets)).await?;
        }
        let (Some(dns), Some(zone)) = (&self.dns, Zone::of(design)) else { return Ok(()) };
        let outcome = dns.change(zone).await;
        if let (Err(_), Some(edge)) = (&outcome, &self.edge) {
            edge.change(edge_plan(&self.setup.design, &self.setup.secrets)).await?;
        }
        outcome
    }
}

/// Tells whoever asked what came of it. They may have gone.
fn tell<T>(answer: Answer<T>, outcome: anyhow::Result<T>) {
    let _ = answer.send(outcome.map_err(|error| format!("{error:#}")));
}

/// What `setting` says of a backend of `pool`: `NAME` is that backend in every pool, `POOL/NAME` in one.
fn of_pool(setting: &BackendSetting, pool: &str) -> Option<BackendSetting> {
    match setting.backend.split_once('/') {
        None => Some(setting.clone()),
        Some((only, name)) => (only == pool).then(|| BackendSetting { backend: name.to_owned(), ..setting.clone() }),
    }
}

fn check_setting(design: &Design, setting: &BackendSetting) -> anyhow::Result<()> {
    let balancer = design.balancer.iter().flat_map(|balancer| &balancer.backends);
    let balancer = balancer.map(|backend| ("balancer", backend.server.as_str()));
    let pools =
        design.pools.iter().flat_map(|pool| pool.backends.iter().map(|it| (pool.name.as_str(), it.name.as_str())));
    let known: Vec<(&str, &str)> = balancer.chain(pools).collect();
    if !known.iter().any(|(pool, name)| of_pool(setting, pool).is_some_and(|setting| setting.backend == *name)) {
        let mut names: Vec<String> = known.iter().map(|(_, name)| (*name).to_owned()).collect();
        if !design.pools.is_empty() {
            names.extend(known.iter().map(|(pool, name)| format!("{pool}/{name}")));
        }
        let mut seen = BTreeSet::new();
        names.retain(|name| seen.insert(name.clone()));
        bail!("{} is no backend; there are {}", setting.backend, names.join(", "));
    }
    if setting.weight.is_some_and(|weight| weight > Backend::WEIGHT_MAX) {
        bail!("a weight is from 0 to {}", Backend::WEIGHT_MAX);
    }
    Ok(())
}

/// The first thing in which `design` differs from what runs that only a restart can change: sockets, processes and
/// data, and whom this server trusts.
fn needs_restart(setup: &Setup, design: &Design, secrets: &Secrets) -> Option<&'static str> {
    let (before, server) = (&setup.design, &setup.server.name);
    let listeners = |design| (triad_proxy::listeners(design, server), triad_dns::listeners(design, server));
    let expected = |design: &Design| design.app.as_ref().and_then(|app| app.proxy_protocol);
    let spoken = |design: &Design| design.app.as_ref().map(|app| app.protocol);
    let differs = [
        (before.servers != design.servers, "the list of servers, or an address,"),
        (before.roles(server) != design.roles(server), "what this server carries"),
        (listeners(before) != listeners(design), "a port this server listens on"),
        (before.fronts() != design.fronts(), "the list of balancers"),
        (before.database != design.database, "the [database] section"),
        (setup.instances(before, &setup.secrets) != setup.instances(design, secrets), "the [app] section"),
        (expected(before) != expected(design), "app.proxy_protocol, which running instances expect or do not,"),
        (spoken(before) != spoken(design), "app.protocol, which running instances speak or do not,"),
        (before.firewall.is_some() != design.firewall.is_some(), "whether there are firewalls"),
        (before.monitor.is_some() != design.monitor.is_some(), "whether there is monitoring"),
        (setup.secrets.identity != secrets.identity, "this server's own key and certificate"),
        (setup.secrets.passwords != secrets.passwords, "a database password"),
    ];
    differs.into_iter().find(|(differs, _)| *differs).map(|(_, what)| what)
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use triad_model::{
        BackendMode, BackendSetting, Balancer, Balancing, Design, HealthCheck, Pool, PoolBackend, Server, ServerName,
    };

    use super::{check_setting, of_pool};

    fn setting(backend: &str) -> BackendSetting {
        BackendSetting { backend: backend.to_owned(), mode: BackendMode::Drain, weight: None }
    }

    fn design() -> Design {
        let name = |text: &str| ServerName::new(text).expect(text);
        let health = HealthCheck::new("/up", 500, 500);
        let backend = |server| triad_model::Backend { server, weight: 1, backup: false, max_connections: 0 };
        let balancer = Balancer::new(vec![name("srv1")], vec![backend(name("srv2"))], health.clone());
        let outside = |text| PoolBackend {
            name: name(text),
            address: Some(([10, 77, 0, 20], 80).into()),
            weight: 1,
            backup: false,
            max_connections: 0,
        };
        let inside = PoolBackend { address: None, ..outside("srv2") };
        let backends = vec![inside, outside("blog1")];
        let pool = Pool { name: "blog".to_owned(), backends, balancing: Balancing::new(health) };
        let server = Server { name: name("srv2"), public: Vec::<IpAddr>::new(), private: None };
        Design { servers: vec![server], balancer: Some(balancer), pools: vec![pool], ..crate::report::tests::design() }
    }

    #[test]
    fn a_backend_is_named_in_every_pool_or_in_one() {
        let design = design();
        for known in ["srv2", "blog1", "balancer/srv2", "blog/srv2", "blog/blog1"] {
            assert!(check_setting(&design, &setting(known)).is_ok(), "{known}");
        }
        for unknown in ["srv3", "blog", "balancer/blog1", "local/app-1", "shop/srv2", "blog/srv2/x", "/srv2", ""] {
            assert!(check_setting(&design, &setting(unknown)).is_err(), "{unknown}");
        }
        let said = check_setting(&design, &setting("srv3")).expect_err("no such backend").to_string();
        assert_eq!(said, "srv3 is no backend; there are srv2, blog1, balancer/srv2, blog/srv2, blog/blog1");
        let in_pool = |backend, pool| of_pool(&setting(backend), pool).map(|setting| setting.backend);
        assert_eq!(in_pool("srv2", "blog").as_deref(), Some("srv2"));
        assert_eq!(in_pool("blog/srv2", "blog").as_deref(), Some("srv2"));
        assert_eq!(in_pool("blog/srv2", "balancer"), None);
    }
}
