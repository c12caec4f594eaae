//! One drill: load, faults by the clock, everything put right again, databases read.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use triad_lab::{Lab, client};
use triad_model::{Design, ServerName};

use crate::attack::{LOAD_ADDRESS, add_load_address};
use crate::bank::{self, BankCheck};
use crate::database;
use crate::fault::Faults;
use crate::health;
use crate::judge::{Evidence, Happened, HealthSeen};
use crate::load::{DEADLINE, LoadPlan, WARM_UP_MS, interruption, until};
use crate::predict::predictions;
use crate::record::{self, Records};
use crate::sample::Sample;
use crate::scenario::{Action, Control, Goal, Scenario};
use crate::standstill::Witness;
use crate::writers;

/// Time the load's process has to start and warm up.
const LEAD: Duration = Duration::from_millis(500 + WARM_UP_MS);
/// Time it has to end after its last request's deadline.
const LOAD_END_LIMIT: Duration = Duration::from_secs(3);
/// With all faults ended, everything is healthy within this.
const HEAL_LIMIT: Duration = Duration::from_secs(40);
/// Then replicas have what the primary has within this.
const EQUAL_LIMIT: Duration = Duration::from_secs(15);
/// Databases that a control has made differ become neither; only a killed one has to answer again.
const LOSS_LIMIT: Duration = Duration::from_secs(4);
/// Before anything is broken, all is healthy and in sync within this: an earlier drill may have just ended.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// Pause between two words to whoever watches.
const TICK: Duration = Duration::from_millis(100);

/// A lab that is up, with what is needed to drill it.
pub struct Site<'a> {
    /// The lab.
    pub lab: &'a Lab,
    /// Its design.
    pub design: &'a Design,
    /// The binary that has [`crate::LOAD_COMMAND`].
    pub executable: &'a Path,
}

/// How a drill goes.
#[derive(Clone, Debug)]
pub struct Progress {
    /// Time since the load began, in milliseconds.
    pub at_ms: u64,
    /// Requests that succeeded.
    pub succeeded: u64,
    /// Requests that failed.
    pub failed: u64,
    /// What was done last, or is done.
    pub doing: String,
}

/// A signal told a drill to end.
#[derive(Debug, thiserror::Error)]
#[error("interrupted; the faults were ended")]
pub struct Interrupted;

/// What those share who read and watch while things break.
#[derive(Clone, Default)]
pub(crate) struct Seen {
    samples: Arc<Mutex<Vec<Sample>>>,
    /// What is known of each row that writers tried, by its number.
    statements: Arc<Mutex<BTreeMap<u32, Sample>>>,
    doing: Arc<Mutex<String>>,
    records: Records,
}

impl Seen {
    /// Takes what is known of a row now.
    pub fn add_statement(&self, sample: Sample) {
        lock(&self.statements).insert(sample.number, sample);
    }

    /// Says what is done now.
    pub fn tell(&self, doing: &str) {
        doing.clone_into(&mut lock(&self.doing));
    }

    /// Everything, at the end.
    fn take_samples(&self) -> Vec<Sample> {
        let mut samples = std::mem::take(&mut *lock(&self.samples));
        samples.extend(std::mem::take(&mut *lock(&self.statements)).into_values());
        samples
    }
}

/// Runs `scenario` and returns what was seen, once the lab is as it should be to begin with. All faults are ended before
/// this returns, also on SIGINT and SIGTERM.
///
/// # Errors
/// If the lab is not healthy, or cannot be broken, put right or read, or a signal says to stop.
pub async fn run(scenario: &Scenario, site: &Site<'_>, progress: &dyn Fn(Progress)) -> anyhow::Result<Evidence> {
    let seen = Seen::default();
    let ready = async {
        if !site.lab.is_running().await {
            bail!("lab {} does not run; `triad lab up` starts it", site.lab.name());
        }
        seen.tell("waits until all is healthy");
        health::wait_until_ready(site.lab, site.design, READY_LIMIT).await?;
        seen.records.look(site.lab, site.design, Instant::now()).await;
        anyhow::Ok(())
    };
    watched(ready, Instant::now(), &seen, progress).await?;
    // As the servers have their parts now, not as the file gave them out.
    let design = seen.records.applied_to(site.design);
    let site = &Site { design: &design, ..*site };
    let plan = plan(scenario, site)?;
    let begins = Instant::now() + until(plan.begins_unix_ms);
    let mut faults = Faults::new(site.lab, site.design, site.executable, seen.records.clone());
    let mut evidence = Evidence {
        run: plan.run.clone(),
        places: places(scenario, site.design),
        predictions: predictions(scenario, site.design),
        ..Evidence::default()
    };
    if scenario.rates.write() {
        bank::open(site.lab, site.design).await?;
    }
    let witness = Witness::start(begins.into_std());
    let drilled = async {
        tokio::select! {
            outcome = drill(scenario, site, &plan, begins, &seen, &mut faults, &mut evidence) => outcome,
            () = seen.records.watch(site.lab, site.design, begins) => Ok(()),
        }
    };
    let outcome = watched(drilled, begins, &seen, progress).await;
    evidence.standstills = witness.end();
    let ended = faults.end_all().await;
    outcome.and(ended)?;
    watched(aftermath(scenario, site, begins, &seen, &mut evidence), begins, &seen, progress).await?;
    evidence.samples = seen.take_samples();
    evidence.records = seen.records.all();
    Ok(evidence)
}

/// Does `what` while whoever watches is told how it goes, unless a signal says to stop.
async fn watched(
    what: impl Future<Output = anyhow::Result<()>>,
    begins: Instant,
    seen: &Seen,
    progress: &dyn Fn(Progress),
) -> anyhow::Result<()> {
    tokio::select! {
        outcome = what => outcome,
        () = watch(begins, seen, progress) => Ok(()),
        () = interruption() => Err(Interrupted.into()),
    }
}

/// With all faults ended: waits until all is well, then reads what is stored.
async fn aftermath(
    scenario: &Scenario,
    site: &Site<'_>,
    begins: Instant,
    seen: &Seen,
    evidence: &mut Evidence,
) -> anyhow::Result<()> {
    let loses = scenario.control == Some(Control::Lost);
    let (heal_limit, equal_limit) = if loses { (LOSS_LIMIT, LOSS_LIMIT) } else { (HEAL_LIMIT, EQUAL_LIMIT) };
    seen.tell("waits until all is healthy");
    health::settle(site, heal_limit, evidence).await?;
    seen.records.look(site.lab, site.design, begins).await;
    if let Some(first) = seen.records.all().first() {
        evidence.took_over = record::last_times(site.lab, site.design, first.epoch).await;
    }
    evidence.nodes = database::read_all(site.lab, site.design, &evidence.run, equal_limit).await?;
    if scenario.rates.write() {
        if let Some(check) = &mut evidence.bank {
            bank::audit(site.lab, site.design, check).await?;
        }
        bank::close(site.lab, &seen.records.applied_to(site.design)).await?;
    }
    Ok(())
}

fn plan(scenario: &Scenario, site: &Site<'_>) -> anyhow::Result<LoadPlan> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")?;
    let begins_unix_ms = u64::try_from((now + LEAD).as_millis()).context("the clock is wrong")?;
    Ok(LoadPlan {
        host: site.design.site.hosts[0].clone(),
        authority: site.design.tls.is_some().then(|| site.lab.path().join("authority.pem")),
        rates: scenario.rates,
        duration_ms: scenario.load_ms(),
        keep_alive: scenario.keep_alive,
        from: scenario.has_attack().then_some(LOAD_ADDRESS),
        run: format!("{begins_unix_ms:x}"),
        begins_unix_ms,
    })
}

/// What the scenario's words for servers mean.
fn places(scenario: &Scenario, design: &Design) -> Vec<(String, String)> {
    let goals = scenario.steps.iter().flat_map(|step| &step.conditions).filter_map(|condition| match &condition.goal {
        Goal::From(place) => Some(place),
        _ => None,
    });
    goals.filter_map(|place| Some((place.word.clone(), place.resolve(design)?.to_string()))).collect()
}

async fn drill(
    scenario: &Scenario,
    site: &Site<'_>,
    plan: &LoadPlan,
    begins: Instant,
    seen: &Seen,
    faults: &mut Faults<'_>,
    evidence: &mut Evidence,
) -> anyhow::Result<()> {
    if plan.from.is_some() {
        add_load_address(site.lab).await?;
    }
    let load = start(site, &client(), crate::LOAD_COMMAND, plan).await?;
    let reader = read_load(load, seen);
    let transfers = transfers(scenario, site, plan);
    let clock = timeline(scenario, site, begins, seen, faults, evidence);
    let load_limit = end_limit(begins, plan.duration_ms);
    let load = async { timeout_at(load_limit, reader).await.context("the load does not end")? };
    let writers = writers::write(site, plan, seen);
    let ((), (), (), bank) = tokio::try_join!(load, clock, writers, transfers)?;
    evidence.bank = bank;
    Ok(())
}

/// The bank's transfers, where a scenario writes.
async fn transfers(scenario: &Scenario, site: &Site<'_>, plan: &LoadPlan) -> anyhow::Result<Option<BankCheck>> {
    let (Some(database), Some(teller)) = (&site.design.database, bank::teller(site.design)) else { return Ok(None) };
    if !scenario.rates.write() {
        return Ok(None);
    }
    let duration = until(plan.begins_unix_ms) + Duration::from_millis(plan.duration_ms);
    bank::transfer(site.lab, database, teller, duration).await.map(Some)
}

/// When what makes requests from `begins` on, for so long, has ended.
pub(crate) fn end_limit(begins: Instant, duration_ms: u64) -> Instant {
    begins + Duration::from_millis(duration_ms) + DEADLINE + LOAD_END_LIMIT
}

/// Starts `command` of the site's binary in `member`, with `plan`; what it writes is to be read.
pub(crate) async fn start(
    site: &Site<'_>,
    member: &ServerName,
    command: &str,
    plan: &impl Serialize,
) -> anyhow::Result<Child> {
    let plan = serde_json::to_string(plan).context("a plan that is no JSON")?;
    let argv = [site.executable.into(), command.into(), "--plan".into(), plan.into()];
    let mut child = tokio::process::Command::from(site.lab.command(member, &argv).await?);
    // In a group of its own, so that a terminal's Ctrl-C reaches us alone and is not taken for a load that failed.
    child.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0).kill_on_drop(true);
    child.spawn().with_context(|| format!("cannot start {command} in {member}"))
}

async fn read_load(mut load: Child, seen: &Seen) -> anyhow::Result<()> {
    let output = load.stdout.take().context("a child without its standard output")?;
    let mut lines = BufReader::new(output).lines();
    while let Some(line) = lines.next_line().await.context("the load's results cannot be read")? {
        let sample: Sample = serde_json::from_str(&line).with_context(|| format!("no result of a load: {line}"))?;
        lock(&seen.samples).push(sample);
    }
    let status = load.wait().await.context("the load cannot be waited for")?;
    if !status.success() {
        bail!("the load failed: {status}");
    }
    Ok(())
}

async fn timeline(
    scenario: &Scenario,
    site: &Site<'_>,
    begins: Instant,
    seen: &Seen,
    faults: &mut Faults<'_>,
    evidence: &mut Evidence,
) -> anyhow::Result<()> {
    for (index, step) in scenario.steps.iter().enumerate() {
        sleep_until(begins + Duration::from_millis(step.at_ms)).await;
        if index == 0 || scenario.steps[index - 1].at_ms != step.at_ms {
            faults.look();
        }
        let at_ms = since_ms(begins);
        seen.tell(&step.text);
        let (done, is_begin) = match &step.action {
            Action::Begin(fault) => (faults.begin(fault).await, true),
            Action::End(fault) => (faults.end(fault).await, false),
        };
        done.with_context(|| format!("{}: {}", scenario.name, step.text))?;
        let meant = faults.meant_by(step.action.fault()).filter(|_| is_begin);
        let notes: Vec<String> = meant.into_iter().chain(faults.take_note()).collect();
        let note = if notes.is_empty() { String::new() } else { format!(" ({})", notes.join("; ")) };
        evidence.happened.push(Happened { at_ms, what: format!("{}{note}", step.text), begins: is_begin });
        let next_ms = scenario.steps.get(index + 1).map(|next| next.at_ms);
        if let Some(limit) = health::limit(step, begins, next_ms) {
            let from = begins + Duration::from_millis(at_ms);
            let after_ms = health::all_healthy(site.lab, from, limit).await?;
            evidence.healthy.push(HealthSeen { step: index, after_ms: after_ms.ok() });
        }
    }
    Ok(())
}

/// Tells how it goes; never ends.
async fn watch(begins: Instant, seen: &Seen, progress: &dyn Fn(Progress)) {
    loop {
        let count = |samples: &mut dyn Iterator<Item = &Sample>| {
            samples.fold((0_u64, 0_u64), |(good, all), sample| (good + u64::from(sample.outcome.is_ok()), all + 1))
        };
        let (requests, statements) =
            (count(&mut lock(&seen.samples).iter()), count(&mut lock(&seen.statements).values()));
        let (succeeded, all) = (requests.0 + statements.0, requests.1 + statements.1);
        let doing = lock(&seen.doing).clone();
        progress(Progress { at_ms: since_ms(begins), succeeded, failed: all - succeeded, doing });
        sleep(TICK).await;
    }
}

pub(crate) fn since_ms(moment: Instant) -> u64 {
    u64::try_from(moment.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
