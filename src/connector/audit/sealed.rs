//! What an auditor is told of a sealed value: that there is one, what it says, or that it was erased.

use crate::connector::erasure::{sealed_in, signed_statement};
use crate::connector::node::Node;
use crate::connector::state::State;
use crate::export::Record;
use crate::vault::is_signed;
use perron_log::StoredEntry;
use perron_model::entry::Entry;
use perron_model::sealed::SealedValue;
use perron_model::{Error, ErrorCode, Result};
use serde_json::{Value as Json, json};

/// Says of an entry that is exported or asked by SQL whether its sealed value was erased. What leaves
/// can't be erased, so its text never does.
pub(super) fn with_sealed(state: &State, mut record: Record, entry: &Entry, place: u64) -> Record {
    if let (Some(facts), true) = (record.facts.as_object_mut(), entry.body.is_sealed()) {
        let said = if state.erased_by(place).is_some() { "erased" } else { "sealed" };
        facts.insert("sealed".to_owned(), said.into());
    }
    record
}

impl Node {
    /// What is told of an entry's sealed value; nothing where it has none. It is opened only where
    /// that was asked for.
    pub(super) fn sealed_value(&self, entry: &Entry, place: u64, is_opened: bool) -> Result<Option<Json>> {
        if !entry.body.is_sealed() {
            return Ok(None);
        }
        if let Some(by) = self.state.erased_by(place) {
            let told = json!({"state": "erased", "on": by.time, "ground": by.ground, "undone_until": by.until, "by_entry": by.index});
            return Ok(Some(told));
        }
        if !is_opened {
            return Ok(Some(json!({"state": "sealed"})));
        }
        let (reader, index) = self.ledger.locate(place);
        let stored = reader.entry(index).map_err(|e| Error::new(ErrorCode::LogUnavailable, e.to_string()))?;
        Ok(Some(self.opened(&stored)))
    }

    fn opened(&self, stored: &StoredEntry) -> Json {
        let read = sealed_in(stored).map(|sealed| self.vault.read(sealed));
        match read {
            Some(Ok(Some(SealedValue::Statement { salt, text }))) => {
                let signed = signed_statement(stored).is_some_and(|signed| is_signed(&signed, &salt, &text));
                json!({"state": "statement", "statement": text, "as_signed": signed})
            }
            Some(Ok(Some(SealedValue::User { name, pseudonyms }))) => {
                json!({"state": "user", "name": name, "pseudonyms": pseudonyms})
            }
            Some(Ok(None)) => json!({"state": "no-key"}),
            Some(Err(_)) | None => json!({"state": "damaged"}),
        }
    }
}
