//! Statements of an auditor over the log: planned, decided by the gate, run, and their end noted.

use super::tables::LogRows;
use crate::connector::node::Node;
use crate::connector::tally::Tally;
use crate::connector::users::User;
use crate::query::arrow::datatypes::{Schema, SchemaRef};
use crate::query::{LogTables, RowStream};
use perron_gate::{LogGrant, LogRequest, Stop};
use perron_model::entry::{Outcome, OutcomeStatus};
use perron_model::limits::STATEMENT_BYTES_MAX;
use perron_model::{Error, ErrorCode, Result, TraceId};
use std::sync::Arc;

/// A statement over the log.
#[derive(Clone, Debug)]
pub struct LogStatement {
    /// SQL.
    pub statement: String,
    /// The trace that the user's tool began.
    pub trace: Option<TraceId>,
}

/// A permitted statement over the log that runs.
pub struct Looking {
    grant: LogGrant,
    /// Schema of the answer.
    pub schema: SchemaRef,
    /// The rows; taken once.
    pub rows: Option<RowStream>,
}

impl Looking {
    /// The signal that ends it.
    pub fn stop(&self) -> &Stop {
        self.grant.stop()
    }
}

impl Node {
    /// Plans a statement over the log: no entry is read. Who may not ask, and a statement that asks
    /// for more than the log, is refused by an entry; one that is only mistyped is not.
    pub async fn plan_look(&self, user: &User, asked: &LogStatement) -> Result<SchemaRef> {
        let grant = self.gate.admit_log_schema(self.log_request(user, asked)?).await.map_err(|d| d.error)?;
        match self.engine.log_schema(&grant, self.log_tables()).await {
            Ok(schema) => Ok(schema),
            Err(error) if asks_for_more(error.code) => Err(self.gate.refuse_log_statement(grant, error).await.error),
            Err(error) => Err(error),
        }
    }

    /// The tables of the log, for who may ask it.
    pub async fn tables_of_log(&self, user: &User) -> Result<Vec<(&'static str, SchemaRef)>> {
        let nothing = LogStatement { statement: String::new(), trace: None };
        self.gate.admit_log_schema(self.log_request(user, &nothing)?).await.map_err(|d| d.error)?;
        Ok(self.log_tables().tables())
    }

    /// Decides about a statement over the log and begins it. A permit is durable before an entry is
    /// read.
    pub async fn look(&self, user: &User, asked: &LogStatement) -> Result<Looking> {
        let grant = self.gate.admit_log(self.log_request(user, asked)?).await.map_err(|d| d.error)?;
        match self.engine.run_log(&grant, &asked.statement, self.log_tables()).await {
            Ok(rows) => Ok(Looking { schema: rows.schema(), rows: Some(rows), grant }),
            Err(error) => {
                let looking = Looking { grant, schema: Arc::new(Schema::empty()), rows: None };
                self.looked(&looking, &Tally::default(), OutcomeStatus::NothingLeft, Some(error.code)).await?;
                Err(error)
            }
        }
    }

    /// Writes how it ended.
    pub async fn looked(
        &self,
        looking: &Looking,
        tally: &Tally,
        status: OutcomeStatus,
        reason: Option<ErrorCode>,
    ) -> Result<()> {
        let decision = looking.grant.decision();
        let outcome = Outcome {
            decision,
            status: status.with(tally.rows),
            reason: reason.map(|r| r.as_str().to_owned()),
            batches: tally.batches,
            rows: tally.rows,
            bytes: tally.bytes,
            messages: tally.messages(),
            stream_root: tally.root(&self.stream_salt(&decision)),
            // Nothing is charged to an agreement.
            uses: 0,
            volume: None,
        };
        self.ledger.outcome_of_log_query(outcome).await.map(|_| ())
    }

    fn log_request(&self, user: &User, asked: &LogStatement) -> Result<LogRequest> {
        if asked.statement.len() > STATEMENT_BYTES_MAX {
            return Err(Error::new(ErrorCode::TooLarge, format!("a statement is over {STATEMENT_BYTES_MAX} bytes")));
        }
        Ok(LogRequest {
            user: self.users.pseudonym(&user.name, None)?,
            roles: user.roles.iter().map(|role| role.as_str().to_owned()).collect(),
            statement: asked.statement.clone(),
            trace: asked.trace,
        })
    }

    fn log_tables(&self) -> Arc<dyn LogTables> {
        Arc::new(LogRows { ledger: self.ledger.clone(), state: self.state.clone() })
    }
}

/// Is it refused for what it asks, not for how it is written?
fn asks_for_more(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::TableNotGranted
            | ErrorCode::ColumnNotGranted
            | ErrorCode::FunctionNotAllowed
            | ErrorCode::StatementNotAllowed
    )
}
