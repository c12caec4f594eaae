//! Reading every database from outside the product, by MariaDB's own client on the server itself.

use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::{Instant, sleep, timeout};
use triad_lab::Lab;
use triad_model::{Database, Design, ServerName};

use crate::checker::{NodeRows, id_prefix, statement_prefix};
use crate::writers::TABLE;

/// Pause between two looks.
const POLL: Duration = Duration::from_millis(250);
/// A statement takes no longer.
const STATEMENT_LIMIT: Duration = Duration::from_secs(10);

/// What each database of `design` holds of the run `run`: once all are equal, or after `limit`.
///
/// # Errors
/// If one cannot be read by then.
pub(crate) async fn read_all(lab: &Lab, design: &Design, run: &str, limit: Duration) -> anyhow::Result<Vec<NodeRows>> {
    let Some(database) = &design.database else { return Ok(Vec::new()) };
    let deadline = Instant::now() + limit;
    loop {
        match read_each(lab, database, run).await {
            Ok(nodes) if are_equal(&nodes) || Instant::now() >= deadline => return Ok(nodes),
            Err(error) if Instant::now() >= deadline => return Err(error),
            _ => sleep(POLL).await,
        }
    }
}

fn are_equal(nodes: &[NodeRows]) -> bool {
    nodes.windows(2).all(|pair| (&pair[0].gtid, &pair[0].checksum) == (&pair[1].gtid, &pair[1].checksum))
}

async fn read_each(lab: &Lab, database: &Database, run: &str) -> anyhow::Result<Vec<NodeRows>> {
    let mut nodes = Vec::new();
    for server in database.members() {
        nodes.push(read(lab, &database.name, server, run).await?);
    }
    Ok(nodes)
}

async fn read(lab: &Lab, schema: &str, server: &ServerName, run: &str) -> anyhow::Result<NodeRows> {
    let prefix = id_prefix(run);
    let statements = format!(
        "SELECT @@gtid_current_pos; CHECKSUM TABLE {schema}.entries; \
         SELECT name FROM {schema}.entries WHERE name LIKE '{prefix}%'"
    );
    let statements = match sql(lab, server, &format!("SHOW TABLES FROM {schema} LIKE '{TABLE}'")).await?.is_empty() {
        true => statements,
        false => format!("{statements}; SELECT CONCAT('{}', id) FROM {schema}.{TABLE}", statement_prefix(run)),
    };
    let text = sql(lab, server, &statements).await?;
    let mut lines = text.lines();
    let gtid = lines.next().unwrap_or_default().to_owned();
    let checksum = lines.next().and_then(|line| line.split('\t').nth(1)).unwrap_or_default().to_owned();
    Ok(NodeRows { server: server.clone(), ids: lines.map(str::to_owned).collect(), gtid, checksum })
}

/// Runs `statements` as the database's root on `server` and returns what they print.
pub(crate) async fn sql(lab: &Lab, server: &ServerName, statements: &str) -> anyhow::Result<String> {
    let socket = crate::fault::run_directory(lab, server).join("database/mariadbd.sock");
    let socket = format!("--socket={}", socket.display());
    let argv = ["mariadb", "--no-defaults", &socket, "--batch", "--skip-column-names", "--execute", statements];
    let output = timeout(STATEMENT_LIMIT, lab.exec_output(server, &argv)).await;
    let output = output.with_context(|| format!("the database on {server} does not answer"))??;
    if !output.status.success() {
        bail!("the database on {server} refused: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
