//! One drill: load, faults by the clock, everything put right again, databases read.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use triad_lab::{Lab, client};
use triad_model::{Design, State};

use crate::attack::{LOAD_ADDRESS, add_load_address};
use crate::bank::{self, BankCheck};
use crate::database;
use crate::fault::Faults;
use crate::judge::{Evidence, Happened, HealthSeen};
use crate::load::{DEADLINE, LoadPlan, WARM_UP_MS, interruption, until};
use crate::predict::predictions;
use crate::sample::Sample;
use crate::scenario::{Action, Control, Goal, Scenario, Step};

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
/// Pause between two looks at the lab's health.
const POLL: Duration = Duration::from_millis(100);
/// Looks in a row that must find all healthy: what has just been broken may not be known yet.
const LOOKS: u32 = 3;
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

/// What the load's reader and the watcher share.
#[derive(Clone, Default)]
struct Seen {
    samples: Arc<Mutex<Vec<Sample>>>,
    doing: Arc<Mutex<String>>,
}

/// Runs `scenario` and returns what was seen. All faults are ended before this returns, also on SIGINT and SIGTERM.
///
/// # Errors
/// If the lab cannot be broken, put right or read, or a signal says to stop.
pub async fn run(scenario: &Scenario, site: &Site<'_>, progress: &dyn Fn(Progress)) -> anyhow::Result<Evidence> {
    let plan = plan(scenario, site)?;
    let begins = Instant::now() + until(plan.begins_unix_ms);
    let seen = Seen::default();
    let mut faults = Faults::new(site.lab, site.design, site.executable);
    let mut evidence = Evidence {
        run: plan.run.clone(),
        places: places(scenario, site.design),
        predictions: predictions(scenario, site.design),
        ..Evidence::default()
    };
    let bank = site.design.database.as_ref().filter(|_| scenario.rates.writes > 0);
    if let Some(database) = bank {
        bank::open(site.lab, database).await?;
    }
    let outcome = tokio::select! {
        outcome = drill(scenario, site, &plan, begins, &seen, &mut faults, &mut evidence) => outcome,
        () = watch(begins, &seen, progress) => Ok(()),
        () = interruption() => Err(Interrupted.into()),
    };
    let ended = faults.end_all().await;
    outcome.and(ended)?;
    let loses = scenario.control == Some(Control::Lost);
    let (heal_limit, equal_limit) = if loses { (LOSS_LIMIT, LOSS_LIMIT) } else { (HEAL_LIMIT, EQUAL_LIMIT) };
    let aftermath = async {
        settle(site, &seen, heal_limit, &mut evidence).await?;
        evidence.nodes = database::read_all(site.lab, site.design, &evidence.run, equal_limit).await?;
        if let (Some(database), Some(check)) = (bank, &mut evidence.bank) {
            bank::audit(site.lab, database, check).await?;
            bank::close(site.lab, database).await?;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        outcome = aftermath => outcome?,
        () = watch(begins, &seen, progress) => bail!("nobody watches any more"),
        () = interruption() => return Err(Interrupted.into()),
    }
    evidence.samples = std::mem::take(&mut lock(&seen.samples));
    Ok(evidence)
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
    let load = start_load(site, plan).await?;
    let reader = read_load(load, seen);
    let transfers = transfers(scenario, site, plan);
    let clock = timeline(scenario, site, begins, seen, faults, evidence);
    let load_limit = begins + Duration::from_millis(plan.duration_ms) + DEADLINE + LOAD_END_LIMIT;
    let load = async { timeout_at(load_limit, reader).await.context("the load does not end")? };
    let ((), (), bank) = tokio::try_join!(load, clock, transfers)?;
    evidence.bank = bank;
    Ok(())
}

/// The bank's transfers, where a scenario writes.
async fn transfers(scenario: &Scenario, site: &Site<'_>, plan: &LoadPlan) -> anyhow::Result<Option<BankCheck>> {
    let (Some(database), Some(teller)) = (&site.design.database, bank::teller(site.design)) else { return Ok(None) };
    if scenario.rates.writes == 0 {
        return Ok(None);
    }
    let duration = until(plan.begins_unix_ms) + Duration::from_millis(plan.duration_ms);
    bank::transfer(site.lab, database, teller, duration).await.map(Some)
}

async fn start_load(site: &Site<'_>, plan: &LoadPlan) -> anyhow::Result<Child> {
    let argv = [
        site.executable.into(),
        crate::LOAD_COMMAND.into(),
        "--plan".into(),
        serde_json::to_string(plan).context("a plan that is no JSON")?.into(),
    ];
    let mut command = tokio::process::Command::from(site.lab.command(&client(), &argv).await?);
    // In a group of its own, so that a terminal's Ctrl-C reaches us alone and is not taken for a load that failed.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0).kill_on_drop(true);
    command.spawn().context("cannot start the load")
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
        let at_ms = since_ms(begins);
        step.text.clone_into(&mut lock(&seen.doing));
        let (done, is_begin) = match &step.action {
            Action::Begin(fault) => (faults.begin(fault).await, true),
            Action::End(fault) => (faults.end(fault).await, false),
        };
        done.with_context(|| format!("{}: {}", scenario.name, step.text))?;
        let note = faults.take_note().map(|note| format!(" ({note})")).unwrap_or_default();
        evidence.happened.push(Happened { at_ms, what: format!("{}{note}", step.text), begins: is_begin });
        let next_ms = scenario.steps.get(index + 1).map(|next| next.at_ms);
        if let Some(limit) = health_limit(step, begins, next_ms) {
            let from = begins + Duration::from_millis(at_ms);
            let after_ms = all_healthy(site.lab, from, limit).await?;
            evidence.healthy.push(HealthSeen { step: index, after_ms: after_ms.ok() });
        }
    }
    Ok(())
}

/// Until when all must be healthy after `step`, if it says so.
fn health_limit(step: &Step, begins: Instant, next_ms: Option<u64>) -> Option<Instant> {
    let condition = step.conditions.iter().find(|condition| condition.goal == Goal::Healthy)?;
    let limit_ms = (step.at_ms + condition.within_ms).min(next_ms.unwrap_or(u64::MAX));
    Some(begins + Duration::from_millis(limit_ms))
}

/// Waits until all of the lab is healthy: after how many milliseconds since `from`, or what is not by `limit`.
async fn all_healthy(lab: &Lab, from: Instant, limit: Instant) -> anyhow::Result<Result<u64, String>> {
    let mut found_ms = Vec::new();
    loop {
        let at_ms = since_ms(from);
        let status = lab.status().await?.context("the lab is gone")?;
        if status.state() == State::Healthy {
            found_ms.push(at_ms);
        } else {
            found_ms.clear();
        }
        if found_ms.len() >= LOOKS as usize {
            return Ok(Ok(found_ms[0]));
        }
        if Instant::now() >= limit {
            let problem =
                |server: &triad_lab::ServerStatus| Some(format!("{}: {}", server.name, server.problem.as_ref()?));
            return Ok(Err(status.servers.iter().filter_map(problem).collect::<Vec<_>>().join("; ")));
        }
        sleep(POLL).await;
    }
}

/// With all faults ended, waits until everything is healthy again.
async fn settle(site: &Site<'_>, seen: &Seen, limit: Duration, evidence: &mut Evidence) -> anyhow::Result<()> {
    "waits until all is healthy".clone_into(&mut lock(&seen.doing));
    let from = Instant::now();
    match all_healthy(site.lab, from, from + limit).await? {
        Ok(after_ms) => evidence.healthy_at_end_ms = Some(after_ms),
        Err(trouble) => evidence.trouble = Some(trouble),
    }
    Ok(())
}

/// Tells how it goes; never ends.
async fn watch(begins: Instant, seen: &Seen, progress: &dyn Fn(Progress)) {
    loop {
        let (succeeded, all) = {
            let samples = lock(&seen.samples);
            (samples.iter().filter(|sample| sample.outcome.is_ok()).count(), samples.len())
        };
        let doing = lock(&seen.doing).clone();
        progress(Progress {
            at_ms: since_ms(begins),
            succeeded: succeeded as u64,
            failed: (all - succeeded) as u64,
            doing,
        });
        sleep(TICK).await;
    }
}

fn since_ms(moment: Instant) -> u64 {
    u64::try_from(moment.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
