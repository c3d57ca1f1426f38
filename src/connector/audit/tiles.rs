//! Who may read the log by its tiles, and what is noted of it.

use crate::connector::node::Node;
use crate::connector::users::User;
use perron_model::{Digest, Error, ErrorCode, ParticipantId, Result, canonical};
use serde_json::json;
use std::sync::PoisonError;

/// The act of reading entries by tiles, as the log names it.
const TILES: &str = "audit.tiles";
/// An entry says it once an hour of a user: one for each tile would make the log grow by being read.
const NOTED_MS: i64 = 3_600_000;

impl Node {
    /// Refuses whoever isn't a participant in force.
    pub fn require_member(&self, who: &ParticipantId) -> Result<()> {
        self.in_force(who).map(drop)
    }

    /// Refuses a user who may not read the log, as any other way of reading it does: by the policy
    /// `staff`, and with an entry.
    pub async fn require_auditor(&self, user: &User) -> Result<()> {
        self.require_staff(user, "audit.read", None).await
    }

    /// Entries are refused to a participant; how often one asked for them is counted in the log.
    pub fn refuse_entries(&self, who: &ParticipantId, path: &str) -> Error {
        let code = ErrorCode::RoleMissing;
        perron_gate::Ledger::summarise(&self.ledger, who, code, Digest::of(path.as_bytes()), self.now());
        Error::new(code, "entries are given to this organisation's auditors alone")
    }

    /// That a user reads entries by tiles is an entry of the log, durable before they get any; one an
    /// hour.
    pub async fn note_tile_look(&self, user: &User) -> Result<()> {
        let look = (user.name.to_string(), self.now().millis().div_euclid(NOTED_MS));
        if self.tile_looks.lock().unwrap_or_else(PoisonError::into_inner).contains(&look) {
            return Ok(());
        }
        let document = json!({"size": self.ledger.reader().size()});
        self.administer(TILES, &self.pseudonym_of(user)?, canonical::to_bytes(&document)?).await?;
        let mut looks = self.tile_looks.lock().unwrap_or_else(PoisonError::into_inner);
        looks.retain(|(_, hour)| *hour == look.1);
        looks.insert(look);
        Ok(())
    }
}
