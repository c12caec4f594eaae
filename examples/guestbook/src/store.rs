//! The entries, in a MySQL-type database. Nothing is kept in memory, so instances can come and go.

use std::time::Duration;

use mysql_async::prelude::{FromRow, Queryable};
use mysql_async::{Conn, FromRowError, Opts, OptsBuilder, Params, Pool, PoolConstraints, PoolOpts, Row, params};
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

/// Connections to the database, at most. Requests beyond that wait for one, within their deadline.
const CONNECTIONS_MAX: usize = 8;
/// How long a connection is kept that nobody uses.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// Time a request may spend on the database, waiting for a connection included.
const DEADLINE: Duration = Duration::from_secs(5);
/// MySQL's number for "table does not exist" (`ER_NO_SUCH_TABLE`).
const NO_SUCH_TABLE: u16 = 1146;
/// MySQL's number for "the server is read-only" (`ER_OPTION_PREVENTS_STATEMENT`).
const READ_ONLY: u16 = 1290;

const CREATE_TABLE: &str = "CREATE TABLE IF NOT EXISTS entries (
    id BIGINT AUTO_INCREMENT PRIMARY KEY,
    name VARCHAR(80) NOT NULL,
    text VARCHAR(1000) NOT NULL,
    at TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP(3)
) CHARACTER SET utf8mb4";

const COLUMNS: &str = "id, name, text, CONCAT(REPLACE(at, ' ', 'T'), 'Z') AS at";

/// What a visitor left.
#[derive(Serialize)]
pub struct Entry {
    /// Grows with each entry; not without gaps.
    pub id: u64,
    /// Who.
    pub name: String,
    /// What.
    pub text: String,
    /// When it was stored: UTC, `2026-11-22T09:30:00.123Z`.
    pub at: String,
}

impl FromRow for Entry {
    fn from_row_opt(row: Row) -> Result<Self, FromRowError> {
        let (id, name, text, at) = FromRow::from_row_opt(row)?;
        Ok(Self { id, name, text, at })
    }
}

/// Why the database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It refused, or the connection failed.
    #[error("{0}")]
    Failed(#[from] mysql_async::Error),
    /// It did not answer in time.
    #[error("no answer within {} s", DEADLINE.as_secs())]
    TimedOut(#[from] tokio::time::error::Elapsed),
}

/// Where entries are kept.
pub struct Store {
    pool: Pool,
}

impl Store {
    /// A store at `url`. Connects only when it is used, so an instance can start before its database.
    pub fn new(url: &str) -> anyhow::Result<Self> {
        // The error is not passed on: it may quote the URL, and the password with it.
        let opts = Opts::from_url(url).map_err(|_| {
            anyhow::anyhow!("DATABASE_URL is not of the form mysql://user:password@127.0.0.1:3306/name")
        })?;
        let constraints = PoolConstraints::new(0, CONNECTIONS_MAX).expect("0 is below the maximum");
        let opts = OptsBuilder::from_opts(opts)
            .pool_opts(PoolOpts::new().with_constraints(constraints).with_inactive_connection_ttl(IDLE_MAX))
            // A socket leads to this server's database; the relay leads to the primary.
            .prefer_socket(false)
            .setup(vec!["SET time_zone = '+00:00'"]);
        Ok(Self { pool: Pool::new(opts) })
    }

    /// Adds an entry. `Ok` means committed. After an error in the middle of the statement it may be there or not.
    pub async fn add(&self, name: &str, text: &str) -> Result<(), StoreError> {
        let insert = "INSERT INTO entries (name, text) VALUES (:name, :text)";
        self.run::<Row>(insert, params! { name, text }, Effect::Writes).await.map(|_| ())
    }

    /// The `limit` newest entries, newest first.
    pub async fn newest(&self, limit: u32) -> Result<Vec<Entry>, StoreError> {
        let select = format!("SELECT {COLUMNS} FROM entries ORDER BY id DESC LIMIT :limit");
        self.run(&select, params! { limit }, Effect::Reads).await
    }

    /// The first `limit` entries with an id above `after`, oldest first.
    pub async fn after(&self, after: u64, limit: u32) -> Result<Vec<Entry>, StoreError> {
        let select = format!("SELECT {COLUMNS} FROM entries WHERE id > :after ORDER BY id LIMIT :limit");
        self.run(&select, params! { after, limit }, Effect::Reads).await
    }

    /// Runs one statement within [`DEADLINE`] and collects its rows. When the database moves to another server, a statement
    /// in flight fails: then it tries once more, unless the statement may have had its effect.
    async fn run<T: FromRow + Send + 'static>(
        &self,
        statement: &str,
        params: Params,
        effect: Effect,
    ) -> Result<Vec<T>, StoreError> {
        let deadline = Instant::now() + DEADLINE;
        match self.try_once(statement, &params, deadline).await {
            Err(failure) if effect == Effect::Reads || !failure.may_have_run => {
                eprintln!("tried once more: {}", failure.error);
                self.try_once(statement, &params, deadline).await
            }
            outcome => outcome,
        }
        .map_err(|failure| failure.error)
    }

    async fn try_once<T: FromRow + Send + 'static>(
        &self,
        statement: &str,
        params: &Params,
        deadline: Instant,
    ) -> Result<Vec<T>, Failure> {
        let connected = timeout_at(deadline, self.pool.get_conn()).await.map_err(StoreError::from);
        let connected = connected.and_then(|connected| Ok(connected?));
        let mut connection = connected.map_err(|error| Failure { error, may_have_run: false })?;
        let mut sent = false;
        let ran = timeout_at(deadline, run_on(&mut connection, statement, params, &mut sent)).await;
        let outcome = ran.map_err(StoreError::from).and_then(|outcome| Ok(outcome?));
        if outcome.is_err() {
            // Never back into the pool: an answer may still be on its way, or the server may have become a replica
            // that refuses writes while a new connection would reach the primary.
            let _ = connection.disconnect().await;
        }
        outcome.map_err(|error| Failure { may_have_run: sent && !is_refusal(&error), error })
    }
}

/// What a statement does.
#[derive(PartialEq)]
enum Effect {
    Reads,
    Writes,
}

/// Why a try failed.
struct Failure {
    error: StoreError,
    /// The database may have done what the statement says.
    may_have_run: bool,
}

/// Whether the database is one that takes no writes, and said so.
fn is_refusal(error: &StoreError) -> bool {
    matches!(error, StoreError::Failed(mysql_async::Error::Server(error)) if error.code == READ_ONLY)
}

/// Runs `statement`; where the table is missing, as on the first use of a new database, creates it. Sets `sent` before
/// the database is told to do what the statement says.
async fn run_on<T: FromRow + Send + 'static>(
    connection: &mut Conn,
    statement: &str,
    params: &Params,
    sent: &mut bool,
) -> mysql_async::Result<Vec<T>> {
    match run_prepared(connection, statement, params, sent).await {
        Err(mysql_async::Error::Server(error)) if error.code == NO_SUCH_TABLE => {
            *sent = false;
            connection.query_drop(CREATE_TABLE).await?;
            run_prepared(connection, statement, params, sent).await
        }
        outcome => outcome,
    }
}

async fn run_prepared<T: FromRow + Send + 'static>(
    connection: &mut Conn,
    statement: &str,
    params: &Params,
    sent: &mut bool,
) -> mysql_async::Result<Vec<T>> {
    let prepared = connection.prep(statement).await?;
    *sent = true;
    connection.exec(prepared, params.clone()).await
}
