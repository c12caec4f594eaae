//! One connection to the server on this machine: every call has a deadline, and statements never reach an error.

use std::future::Future;
use std::path::Path;
use std::time::Duration;

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder, Row};
use tokio::time::timeout;

use crate::DatabaseError;

/// Longest time for one statement. Ours take milliseconds; one that waits behind stuck commits must not hang the
/// agent.
const STATEMENT_LIMIT: Duration = Duration::from_secs(5);

pub(crate) struct Sql {
    connection: Conn,
}

impl Sql {
    /// Logs in as root, which MariaDB's unix_socket plug-in grants to user id 0.
    pub(crate) async fn connect(socket: &Path) -> Result<Self, DatabaseError> {
        let options = OptsBuilder::default()
            .socket(Some(socket.to_string_lossy()))
            .user(Some("root"))
            // Given here, they need not be asked for.
            .max_allowed_packet(Some(16 * 1024 * 1024))
            .wait_timeout(Some(28_800));
        let connection = in_time("accept a connection", Conn::new(options)).await?;
        Ok(Self { connection })
    }

    /// Runs a statement; `what` completes "refused to …".
    pub(crate) async fn run(&mut self, what: &str, statement: &str) -> Result<(), DatabaseError> {
        in_time(what, self.connection.query_drop(statement)).await
    }

    /// All rows of a short answer.
    pub(crate) async fn rows(&mut self, what: &str, statement: &str) -> Result<Vec<Row>, DatabaseError> {
        in_time(what, self.connection.query(statement)).await
    }
}

async fn in_time<T>(what: &str, answer: impl Future<Output = mysql_async::Result<T>>) -> Result<T, DatabaseError> {
    match timeout(STATEMENT_LIMIT, answer).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(DatabaseError::Sql { what: what.to_owned(), source: Box::new(source) }),
        Err(_) => Err(DatabaseError::Slow { what: what.to_owned(), limit_ms: STATEMENT_LIMIT.as_millis() as u64 }),
    }
}

/// A column as text; empty where it is NULL or missing.
pub(crate) fn text(row: &Row, column: impl mysql_async::prelude::ColumnIndex) -> String {
    row.get_opt::<Option<String>, _>(column).and_then(Result::ok).flatten().unwrap_or_default()
}

/// `text` as a string literal.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', "''"))
}

/// `name` as a quoted identifier.
pub(crate) fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A schema's name as GRANT reads it: a pattern, in which `_` and `%` are wildcards unless escaped.
pub(crate) fn grant_pattern(schema: &str) -> String {
    schema.replace('\\', r"\\").replace('_', r"\_").replace('%', r"\%")
}

#[cfg(test)]
mod tests {
    use super::{grant_pattern, identifier, literal};

    #[test]
    fn quotes_cannot_be_broken_out_of() {
        assert_eq!(literal(r"it's a \ test"), r"'it''s a \\ test'");
        assert_eq!(identifier("a`b"), "`a``b`");
        assert_eq!(grant_pattern("my_app"), r"my\_app");
    }
}
