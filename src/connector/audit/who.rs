//! Who read what about us: an answer for the officer who must give one.

use super::export::record;
use super::tables::LogRows;
use super::{Question, question};
use crate::connector::catalogue::blocking;
use crate::connector::node::Node;
use crate::export::About;
use crate::export::who::{Told, Who};
use crate::ledger::{Draft, EarlierLog, OneLog};
use crate::query::LogScan;
use perron_log::Stored;
use perron_model::entry::{Administration, AttachmentKind, Body, Entry};
use perron_model::limits::WHO_LOOKED_AT_MAX;
use perron_model::{Digest, Error, ErrorCode, ParticipantId, Result, canonical};
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::sync::Arc;

/// What is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhoAnswer {
    /// Whose log it is.
    pub about: About,
    /// Entry that says that this was asked.
    pub entry: u64,
    /// Entries that the answer is about: those before this number.
    pub to: u64,
    /// Pruned entries among those: whether they were about it, nobody can say.
    pub pruned: u64,
    /// Closed logs that the answer isn't about.
    pub earlier: Vec<EarlierLog>,
    /// By whom, for what.
    pub told: Vec<Told>,
}

impl Node {
    /// Who read here, and to whom it was refused. That it was asked is an entry, durable before the
    /// answer.
    ///
    /// # Errors
    /// `too_large` where more is looked at or told than has room.
    pub async fn audit_who(self: &Arc<Self>, actor: &str, question: Question) -> Result<WhoAnswer> {
        let log = self.ledger.log_of(question.generation)?;
        let (to, earlier, origin) = (log.reader.size(), self.earlier(&question), log.origin.clone());
        let document = canonical::to_bytes(&json!({"question": question, "to": to}))?;
        let body = Body::Administration(Administration {
            action: "audit.who".to_owned(),
            actor: actor.to_owned(),
            document: Digest::of(&document),
            sealed: None,
        });
        let attachments = vec![(AttachmentKind::Document, document)];
        let recorded = self.ledger.append(Draft { body, chain: None, trace: None, attachments }).await?;
        let node = Arc::clone(self);
        let (mut told, pruned) = blocking(move || node.who_read(&question, &log, to)).await?;
        let register = self.register.load();
        for one in &mut told {
            let id = one.reader.organisation.as_deref().and_then(|id| ParticipantId::parse(id).ok());
            one.name = id.and_then(|id| register.participant(&id)).map(|member| member.name.clone());
        }
        Ok(WhoAnswer { about: self.about(origin), entry: recorded.index, to, pruned, earlier, told })
    }

    /// What is told, and how many pruned entries there are where a read that is asked for may have begun.
    fn who_read(&self, question: &Question, log: &OneLog, to: u64) -> Result<(Vec<Told>, u64)> {
        let micros = |time: perron_model::Timestamp| time.millis().saturating_mul(1_000);
        let (since, until) = (question.since.map(micros), question.until.map(micros));
        let scan = LogScan { table: "log", columns: Vec::new(), from: 0, to, since, until, entries: to };
        // Of a closed log nobody knows where its clock jumped.
        let within = match log.base {
            0 => LogRows { ledger: self.ledger.clone(), state: self.state.clone() }.narrowed(&scan)?,
            _ => 0..to,
        };
        let (mut who, mut failed, mut looked_at, mut pruned) = (Who::default(), None, 0_u64, 0_u64);
        let read = log.reader.for_entries(within.start, to, &mut |stored| {
            let stored = match stored {
                Stored::Entry(stored) => stored,
                Stored::Pruned { index, .. } => {
                    pruned = pruned.saturating_add(u64::from(index < within.end));
                    return true;
                }
            };
            // Past the last that may begin, only ends of reads matter.
            if stored.index >= within.end && who.is_settled() {
                return false;
            }
            looked_at = looked_at.saturating_add(1);
            let taken = if looked_at > WHO_LOOKED_AT_MAX {
                let detail = format!("it is looked at {WHO_LOOKED_AT_MAX} entries at the most: narrow it with --since");
                Err(Error::new(ErrorCode::TooLarge, detail))
            } else {
                self.take_of_who(&mut who, &stored.leaf, question)
            };
            failed = taken.err();
            failed.is_none()
        });
        read.map_err(|e| Error::new(ErrorCode::LogUnavailable, e.to_string()))?;
        match failed {
            Some(error) => Err(error),
            None => Ok((who.finish()?, pruned)),
        }
    }

    fn take_of_who(&self, who: &mut Who, leaf: &[u8], question: &Question) -> Result<()> {
        let entry = Entry::from_bytes(leaf)?;
        let is_about_a_read =
            matches!(entry.body, Body::Decision(_) | Body::Outcome(_) | Body::PlanRefusal(_) | Body::RefusalSummary(_));
        if !is_about_a_read {
            return Ok(());
        }
        let agreement = question::agreement_of(&entry).and_then(|id| self.state.agreement(&id));
        let record = record(leaf, &entry, agreement.as_deref());
        // What was refused to users of one's own is counted under one's own name.
        let is_others = record.organisation.as_deref() != Some(self.me.as_str());
        let is_asked = is_others && self.answers(question, &entry, agreement.as_deref());
        who.take(&record, is_asked)
    }
}
