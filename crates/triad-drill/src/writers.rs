//! Writers: clients of the database that insert row after row over the relay of an application server, as its
//! application does, each on one connection that it keeps.
//!
//! Unlike the load they are closed-loop, since a client that waits for its commit sends nothing meanwhile; what they
//! measure is how long nobody's commit was acknowledged. A row is tried once: what became of it must be known.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::future::try_join_all;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::task::LocalSet;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use triad_model::{DATABASE, ServerName};

use crate::fault::state_directory;
use crate::load::{DEADLINE, LoadPlan, until};
use crate::run::{Seen, Site, end_limit, start};
use crate::sample::{Kind, Outcome, Sample};

/// Where rows go; it is made anew for each drill.
pub(crate) const TABLE: &str = "drill_statements";
/// Pause of a writer between two rows: enough of them to tell milliseconds, and the machine does other things too.
const PAUSE: Duration = Duration::from_millis(100);
/// Time before a writer that failed tries again.
const AGAIN_AFTER: Duration = Duration::from_millis(5);

/// Everything that the writers on one server need to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WritersPlan {
    /// The schema, the account, and the file with its password.
    pub schema: String,
    /// See above.
    pub user: String,
    /// See above.
    pub password: PathBuf,
    /// How many there are.
    pub writers: u32,
    /// The number of their first row, from 1.
    pub first: u32,
    /// How far a writer's numbers are apart: there are so many writers on all servers.
    pub step: u32,
    /// How long, in milliseconds.
    pub duration_ms: u64,
    /// When they begin, in milliseconds since 1970.
    pub begins_unix_ms: u64,
}

/// Writes as `plan` (JSON) says. Each row is a line of JSON on standard output before it is sent, as one that nobody
/// heard of, and another when it is known what became of it.
///
/// # Errors
/// If the plan or the password cannot be read.
pub fn writers_main(plan: &str) -> anyhow::Result<()> {
    let plan: WritersPlan = serde_json::from_str(plan).context("not a writers' plan")?;
    let password =
        std::fs::read_to_string(&plan.password).with_context(|| format!("cannot read {}", plan.password.display()))?;
    let options: mysql_async::Opts = OptsBuilder::default()
        .ip_or_hostname("127.0.0.1")
        .tcp_port(DATABASE)
        .user(Some(&plan.user))
        .pass(Some(password.trim_end()))
        .db_name(Some(&plan.schema))
        .prefer_socket(false)
        // Given here, they need not be asked for.
        .max_allowed_packet(Some(16 * 1024 * 1024))
        .wait_timeout(Some(28_800))
        .into();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    let begins = local.block_on(&runtime, async { Instant::now() + until(plan.begins_unix_ms) });
    for writer in 0..plan.writers {
        let row = Row { plan: plan.clone(), options: options.clone(), begins, number: plan.first + writer };
        local.spawn_local(row.write_on());
    }
    runtime.block_on(local);
    Ok(())
}

/// A writer at its next row.
struct Row {
    plan: WritersPlan,
    options: mysql_async::Opts,
    begins: Instant,
    number: u32,
}

impl Row {
    async fn write_on(mut self) {
        let end = self.begins + Duration::from_millis(self.plan.duration_ms);
        let mut connection = None;
        sleep_until(self.begins).await;
        while Instant::now() < end {
            let sent = Instant::now();
            self.tell(sent, Outcome::Unheard);
            let mut reached = connection.is_some();
            let outcome = timeout(DEADLINE, self.insert(&mut connection, &mut reached)).await;
            let outcome = outcome.unwrap_or(if reached { Outcome::TimedOut } else { Outcome::NeverSent });
            if outcome != Outcome::Ok {
                connection = None;
            }
            self.tell(sent, outcome);
            self.number += self.plan.step;
            // Whoever failed tries again at once, or this pause would be most of what is measured.
            sleep(if outcome == Outcome::Ok { PAUSE } else { AGAIN_AFTER }).await;
        }
    }

    /// `reached` says, if this is given up, whether the row may have been sent.
    async fn insert(&self, connection: &mut Option<Conn>, reached: &mut bool) -> Outcome {
        if connection.is_none() {
            match Conn::new(self.options.clone()).await {
                Ok(open) => *connection = Some(open),
                Err(_) => return Outcome::Unconnected,
            }
        }
        *reached = true;
        let Some(connection) = connection else { return Outcome::Unconnected };
        match connection.query_drop(format!("INSERT INTO {TABLE} VALUES ({})", self.number)).await {
            Ok(()) => Outcome::Ok,
            Err(mysql_async::Error::Server(error)) => Outcome::Sql(error.code),
            Err(_) => Outcome::Broken,
        }
    }

    fn tell(&self, sent: Instant, outcome: Outcome) {
        let us = |span: Duration| u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        let sample = Sample {
            kind: Kind::Statements,
            number: self.number,
            due_us: us(sent.duration_since(self.begins)),
            took_us: us(sent.elapsed()),
            outcome,
            server: None,
            seen: Vec::new(),
        };
        // Whoever reads is gone only when this process ends.
        if let Ok(line) = serde_json::to_string(&sample) {
            let _ = writeln!(std::io::stdout(), "{line}");
        }
    }
}

/// Writes from every application server for as long as `load` says; what became of each row goes to `seen`. A server
/// that dies takes its writers with it, which is no error.
pub(crate) async fn write(site: &Site<'_>, load: &LoadPlan, seen: &Seen) -> anyhow::Result<()> {
    let (Some(database), Some(app)) = (&site.design.database, &site.design.app) else { return Ok(()) };
    let each = load.rates.writers;
    let step = each * u32::try_from(app.servers.len()).context("so many servers")?;
    let plan = |index: u32, server: &ServerName| WritersPlan {
        schema: database.name.clone(),
        user: database.user.clone(),
        password: state_directory(site.lab, server).join("secrets/database-app.password"),
        writers: each,
        first: 1 + index * each,
        step,
        duration_ms: load.duration_ms,
        begins_unix_ms: load.begins_unix_ms,
    };
    let plans = (0..).zip(&app.servers).map(|(index, server)| (server, plan(index, server)));
    try_join_all(plans.map(|(server, plan)| write_on(site, server, plan, seen))).await.map(drop)
}

async fn write_on(site: &Site<'_>, server: &ServerName, plan: WritersPlan, seen: &Seen) -> anyhow::Result<()> {
    if plan.writers == 0 {
        return Ok(());
    }
    let mut child = start(site, server, crate::WRITERS_COMMAND, &plan).await?;
    let mut lines = BufReader::new(child.stdout.take().context("a child without its standard output")?).lines();
    let limit = end_limit(Instant::now() + until(plan.begins_unix_ms), plan.duration_ms);
    let mut count = 0_u64;
    loop {
        let line = timeout_at(limit, lines.next_line()).await;
        let line = line.with_context(|| format!("the writers on {server} do not end"))?;
        let Some(line) = line.context("the writers' results cannot be read")? else { break };
        // The last line of a process that was killed may be half a one; its row is known from the line before.
        let Ok(sample) = serde_json::from_str::<Sample>(&line) else { continue };
        seen.add_statement(sample);
        count += 1;
    }
    let status = timeout_at(limit, child.wait()).await.context("the writers do not end")??;
    if count == 0 {
        bail!("the writers on {server} wrote nothing: {status}");
    }
    Ok(())
}
