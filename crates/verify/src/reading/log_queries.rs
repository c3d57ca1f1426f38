//! Statements of the owner's own users over this log.

use super::attached::Attached;
use super::{OpenRead, Reading, has_room};
use perron_log::FindingKind;
use perron_model::entry::{AttachmentKind, LogQuery};
use perron_model::limits::MESSAGE_BYTES_MAX;
use perron_model::{Digest, canonical};
use serde_json::Value as Json;

/// What the policy `staff` is asked about them.
const ACTION: &str = "audit.sql";

impl Reading<'_> {
    pub(super) fn log_query(&mut self, leaf: Digest, body: &LogQuery, attached: &mut Attached<'_>) {
        let reasoned = body.permitted == body.reasons.is_empty() && body.reasons.len() == body.clauses.len();
        self.require(reasoned, FindingKind::Order, "a permit has no reasons, a refusal has reasons with their clauses");
        let durable = body.entries <= self.index;
        self.require(durable, FindingKind::Order, "it shows entries that weren't there yet");
        self.asked(body, attached);
        if body.permitted {
            if has_room(&self.open_reads, &leaf) {
                self.open_reads.insert(leaf, OpenRead { agreement: None, reserved: None });
            } else {
                self.beyond = self.beyond.saturating_add(1);
            }
        }
    }

    /// The input of the evaluation: bound with its salt, and about such a statement.
    fn asked(&mut self, body: &LogQuery, attached: &mut Attached<'_>) {
        // SHA-256 of salt and input is that of the attachment as a whole.
        let Some(bytes) = self.bound(attached, AttachmentKind::EvaluationInput, &body.input) else { return };
        let input = bytes.split_first_chunk::<16>().map(|(_, input)| canonical::from_bytes(input, MESSAGE_BYTES_MAX));
        match input {
            Some(Ok(input)) => {
                let input: Json = input;
                let action = input.get("action").and_then(Json::as_str);
                let fits = action == Some(ACTION);
                self.require(fits, FindingKind::DocumentBytes, "the evaluation's input is about something else");
            }
            Some(Err(error)) => {
                self.wrong(FindingKind::DocumentBytes, format!("the evaluation's input: {}", error.detail));
            }
            None => self.wrong(FindingKind::DocumentBytes, "the evaluation's input has no salt"),
        }
    }
}
