use triad_model::DatabaseReport;

use crate::observe::{Account, Observed, observe, password_hashes};
use crate::report::{report, silent};
use crate::seed::forget_seed_position;
use crate::sql::Sql;
use crate::steps::{Step, accounts, next_steps, statements};
use crate::{DatabaseError, DatabasePlan, Passwords};

/// Rounds of looking and changing in one step: one round can make the next possible, more than this is the next
/// call's work.
const ROUNDS_MAX: usize = 3;

/// Brings a running server where its plan wants it, again and again.
pub struct Reconciler {
    plan: DatabasePlan,
    passwords: Passwords,
    session: Option<Session>,
    answered: bool,
}

/// A connection, and what only has to be computed once on it.
struct Session {
    sql: Sql,
    accounts: Vec<Account>,
}

impl Reconciler {
    /// For the server of `plan`; it need not run yet.
    pub fn new(plan: DatabasePlan, passwords: Passwords) -> Self {
        Self { plan, passwords, session: None, answered: false }
    }

    /// Looks at the server, does what is to do, and says how it stands. To be called about every 500 ms.
    ///
    /// It keeps one connection and opens it again after an error. Every statement has a deadline of 5 s; dropping
    /// the returned future is safe, as each step can be repeated.
    pub async fn step(&mut self) -> DatabaseReport {
        match self.reconcile().await {
            Ok(observed) => {
                self.answered = true;
                report(&observed, &self.plan)
            }
            Err(error) => {
                tracing::debug!(%error, "database does not answer");
                silent(&self.plan, self.answered, error.to_string())
            }
        }
    }

    async fn reconcile(&mut self) -> Result<Observed, DatabaseError> {
        // Taken out, so that an error or a dropped future leaves no half-used connection behind.
        let mut session = match self.session.take() {
            Some(session) => session,
            None => self.open().await?,
        };
        let mut observed = observe(&mut session.sql, &self.plan).await?;
        for _ in 0..ROUNDS_MAX {
            let steps = next_steps(&observed, &self.plan, &session.accounts);
            if steps.is_empty() {
                break;
            }
            for step in steps {
                self.execute(&mut session.sql, step).await?;
            }
            observed = observe(&mut session.sql, &self.plan).await?;
        }
        self.session = Some(session);
        Ok(observed)
    }

    async fn open(&self) -> Result<Session, DatabaseError> {
        let mut sql = Sql::connect(&self.plan.socket()).await?;
        let (app, replication) = password_hashes(&mut sql, &self.passwords).await?;
        Ok(Session { sql, accounts: accounts(&self.plan, &app, &replication) })
    }

    async fn execute(&self, sql: &mut Sql, step: Step) -> Result<(), DatabaseError> {
        let what = step.to_string();
        tracing::info!(step = what, "changing the database");
        for statement in statements(&step, &self.passwords.replication) {
            sql.run(&what, &statement).await?;
        }
        if let Step::ConfigureReplication { position: Some(_), .. } = step {
            // Only now: were it gone before, nobody would know that the data is a copy.
            forget_seed_position(&self.plan)?;
        }
        Ok(())
    }
}
