//! A bank: accounts whose sum must not change, whatever becomes of the servers.
//!
//! Transfers run on a server that carries the application, by MariaDB's own client, as the application's user and
//! over the relay that the application uses. Each is one transaction that also reads the sum; half a transfer, or a
//! sum of two moments, shows at once. Afterwards every database is asked for its sum.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Serialize;
use tokio::time::timeout;
use triad_lab::Lab;
use triad_model::{Database, Design, ServerName};

use crate::database::sql;
use crate::fault::state_directory;
use crate::writers::TABLE as STATEMENTS;

const ACCOUNTS: u32 = 10;
/// What is on each account at first.
const BALANCE: u32 = 100;
/// Pause between two transfers, in seconds.
const PAUSE_S: &str = "0.1";
/// A transfer that takes longer has failed, in seconds; what it did is not known, and need not be.
const TRANSFER_LIMIT_S: u32 = 3;
/// Time the last transfer has to end.
const END_LIMIT: Duration = Duration::from_secs(TRANSFER_LIMIT_S as u64 + 2);

/// What transfers read, and what every database holds in the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BankCheck {
    /// Transfers that were confirmed.
    pub transfers: u64,
    /// Transfers that failed, or of which nothing certain is known.
    pub failed: u64,
    /// Sums that are wrong: read by a transfer, or found on a database at the end.
    pub wrong: Vec<String>,
}

/// The server that transfers run on: the first that carries the application.
pub(crate) fn teller(design: &Design) -> Option<&ServerName> {
    design.database.as_ref().and(design.app.as_ref())?.servers.first()
}

/// Opens the accounts, and makes the writers' table, where `design` has its primary.
pub(crate) async fn open(lab: &Lab, design: &Design) -> anyhow::Result<()> {
    let Some(Database { name, primary, .. }) = &design.database else { return Ok(()) };
    let values: Vec<String> = (1..=ACCOUNTS).map(|id| format!("({id}, {BALANCE})")).collect();
    let statements = format!(
        "CREATE OR REPLACE TABLE {name}.drill_bank (id INT PRIMARY KEY, balance INT NOT NULL); \
         INSERT INTO {name}.drill_bank VALUES {}; \
         CREATE OR REPLACE TABLE {name}.{STATEMENTS} (id INT UNSIGNED PRIMARY KEY)",
        values.join(", ")
    );
    sql(lab, primary, &statements).await.map(drop)
}

/// Closes them.
pub(crate) async fn close(lab: &Lab, design: &Design) -> anyhow::Result<()> {
    let Some(Database { name, primary, .. }) = &design.database else { return Ok(()) };
    sql(lab, primary, &format!("DROP TABLE IF EXISTS {name}.drill_bank, {name}.{STATEMENTS}")).await.map(drop)
}

/// Transfers for so long; what came of it.
pub(crate) async fn transfer(
    lab: &Lab,
    database: &Database,
    teller: &ServerName,
    duration: Duration,
) -> anyhow::Result<BankCheck> {
    let script = script(lab, database, teller, duration);
    let mut command =
        tokio::process::Command::from(lab.command(teller, &["sh".into(), "-c".into(), script.into()]).await?);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0).kill_on_drop(true);
    let child = command.spawn().context("cannot start the bank's transfers")?;
    let output = timeout(duration + END_LIMIT, child.wait_with_output()).await;
    let output = output.context("the bank's transfers do not end")?.context("the bank's transfers cannot be read")?;
    read_transfers(&String::from_utf8_lossy(&output.stdout))
}

/// The client is started for each transfer: what one of them lost, the next does not miss.
fn script(lab: &Lab, database: &Database, teller: &ServerName, duration: Duration) -> String {
    let Database { name, user, .. } = database;
    let password = state_directory(lab, teller).join("secrets/database-app.password");
    let transaction = "START TRANSACTION; \
         UPDATE drill_bank SET balance = balance - 1 WHERE id = $from; \
         UPDATE drill_bank SET balance = balance + 1 WHERE id = $to; \
         SELECT 'sum', SUM(balance) FROM drill_bank; COMMIT; SELECT 'moved'";
    format!(
        "MYSQL_PWD=$(cat '{}'); export MYSQL_PWD; n=0; end=$(($(date +%s%3N) + {}))
         while [ $(date +%s%3N) -lt $end ]; do
             n=$((n + 1)); from=$((n % {ACCOUNTS} + 1)); to=$(((n * 7 + 3) % {ACCOUNTS} + 1))
             timeout {TRANSFER_LIMIT_S} mariadb --no-defaults --protocol=tcp --host=127.0.0.1 --user='{user}' \
                 --connect-timeout={TRANSFER_LIMIT_S} --batch --skip-column-names --execute \"{transaction}\" {name} \
                 || echo failed
             sleep {PAUSE_S}
         done",
        password.display(),
        duration.as_millis()
    )
}

/// Lines of `sum N`, `moved` and `failed`.
fn read_transfers(output: &str) -> anyhow::Result<BankCheck> {
    let mut check = BankCheck::default();
    for line in output.lines() {
        match line.split_once('\t').unwrap_or((line, "")) {
            ("moved", "") => check.transfers += 1,
            ("failed", "") => check.failed += 1,
            ("sum", sum) if sum.parse() == Ok(ACCOUNTS * BALANCE) => {}
            ("sum", sum) => check.wrong.push(format!("a transfer read {sum}")),
            _ => bail!("the bank's transfers printed {line:?}"),
        }
    }
    Ok(check)
}

/// Adds what the databases hold to `check`.
pub(crate) async fn audit(lab: &Lab, design: &Design, check: &mut BankCheck) -> anyhow::Result<()> {
    let Some(database) = &design.database else { return Ok(()) };
    for server in database.members() {
        let statement = format!("SELECT SUM(balance) FROM {}.drill_bank", database.name);
        let sum = sql(lab, server, &statement).await?;
        if sum.trim().parse() != Ok(ACCOUNTS * BALANCE) {
            check.wrong.push(format!("{server} has {}", sum.trim()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{BankCheck, read_transfers};

    #[test]
    fn a_sum_that_changed_is_found() {
        let check = read_transfers("sum\t1000\nmoved\nfailed\nsum\t999\nmoved\nsum\tNULL\n").expect("readable");
        let wrong = ["a transfer read 999", "a transfer read NULL"].map(str::to_owned).to_vec();
        assert_eq!(check, BankCheck { transfers: 2, failed: 1, wrong });
        assert!(read_transfers("ERROR\n").is_err());
    }
}
