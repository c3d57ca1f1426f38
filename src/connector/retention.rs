//! How long entries about single reads are kept, and their pruning: by a rule that this
//! organisation's agreement key signed, and in no other way.
//!
//! First an entry says which entries go, by which rule; then their bytes go. What a crash leaves
//! undone of it, the next start does (`ledger::pruning`).

mod plan;

use crate::connector::catalogue::blocking;
use crate::connector::node::Node;
use crate::ledger::Draft;
use crate::trust::jws;
use perron_model::entry::{AttachmentKind, Body, Pruned};
use perron_model::limits::RETENTION_RULE_BYTES_MAX;
use perron_model::participant::KeyUse;
use perron_model::retention::{Activity, Pruning, RETENTION_ACT, RETENTION_TYP, RetentionRule, RuleKind, rule_digest};
use perron_model::{Digest, Error, ErrorCode, Result, canonical};
use plan::{Kept, Plan};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::sync::Arc;

impl Node {
    /// Signs a retention rule and puts it in force, in place of the one before: it is an entry, with
    /// the signed rule attached.
    pub async fn set_retention(
        &self,
        actor: &str,
        default_days: Option<u32>,
        activities: BTreeMap<Activity, u32>,
    ) -> Result<Json> {
        let _one_at_a_time = self.pruning.lock().await;
        let rule = RetentionRule {
            kind: RuleKind::V1,
            space: self.space.clone(),
            participant: self.me.clone(),
            number: self.state.retention()?.map_or(0, |(_, rule)| rule.number).saturating_add(1),
            issued: self.now(),
            default_days,
            activities,
        };
        rule.check()?;
        let key = self.keys.signing_key(KeyUse::Agreement, rule.issued)?;
        let signed = jws::sign_compact(&key, RETENTION_TYP, &rule.bytes()?)?;
        if signed.len() > RETENTION_RULE_BYTES_MAX {
            return Err(Error::new(ErrorCode::TooLarge, "the retention rule is too large"));
        }
        self.administer(RETENTION_ACT, actor, signed.into_bytes()).await?;
        self.retention()
    }

    /// The retention rule in force, as signed and in plain; and the processing activities that the
    /// configuration names.
    pub fn retention(&self) -> Result<Json> {
        let rule = self.state.retention()?.map(|(signed, rule)| {
            json!({
                "number": rule.number,
                "digest": rule_digest(&signed),
                "issued": rule.issued,
                "default_days": rule.default_days,
                "activities": rule.activities,
                "signed": signed,
            })
        });
        Ok(json!({"rule": rule, "datasets": self.activities, "done": self.ledger.is_pruning_done()}))
    }

    /// The retention rule in force as signed (a compact JWS); none where nothing may be pruned.
    pub fn retention_rule(&self) -> Result<Option<String>> {
        Ok(self.state.retention()?.map(|(signed, _)| signed))
    }

    /// Prunes what the rule in force allows, or tells what that is. What one entry can't name is left
    /// for the next call, and the answer says so.
    ///
    /// # Errors
    /// `not_found` without a rule; what the log says.
    pub async fn prune(self: &Arc<Self>, actor: &str, dry_run: bool) -> Result<Json> {
        let _one_at_a_time = self.pruning.lock().await;
        if !dry_run && !self.ledger.is_pruning_done() {
            let ledger = self.ledger.clone();
            blocking(move || ledger.prune_told()).await?;
        }
        let none =
            || Error::new(ErrorCode::NotFound, "no retention rule is in force: `perron retention set` makes one");
        let (signed, rule) = self.state.retention()?.ok_or_else(none)?;
        let kept = Kept {
            decisions: self.ledger.open_decisions(),
            received: self.state.unacknowledged(),
            requests: self.state.open_reads()?.into_iter().map(|(request, _)| request).collect(),
        };
        let (node, asked, now) = (self.clone(), rule.clone(), self.now());
        let plan = blocking(move || Plan::of(node.ledger.reader(), &asked, &kept, now)).await?;
        let told = json!({"rule": rule.number, "entries": plan.pruning.leaves(), "groups": groups(&plan.pruning), "more": plan.has_more});
        if dry_run || plan.pruning.groups.is_empty() {
            return Ok(told);
        }
        self.carry_out(actor, rule_digest(&signed), plan, told).await
    }

    async fn carry_out(self: &Arc<Self>, actor: &str, rule: Digest, plan: Plan, mut told: Json) -> Result<Json> {
        let ranges = plan.pruning.ranges().ok_or_else(|| Error::new(ErrorCode::Internal, "a plan isn't in order"))?;
        let document = canonical::to_bytes(&plan.pruning)?;
        // The entry lies behind what it names, in another file.
        self.ledger.roll().await?;
        let body = Body::Pruned(Pruned {
            rule,
            document: Digest::of(&document),
            leaves: plan.pruning.leaves(),
            actor: actor.to_owned(),
        });
        let attachments = vec![(AttachmentKind::Document, document)];
        let recorded = self.ledger.append(Draft { body, chain: None, trace: None, attachments }).await?;
        self.ledger.told_pruned(recorded.index, &ranges);
        let ledger = self.ledger.clone();
        let done = blocking(move || ledger.prune_told()).await?;
        if let Some(told) = told.as_object_mut() {
            told.insert("entry".to_owned(), json!(recorded.index));
            told.insert("bytes".to_owned(), json!(done.bytes));
        }
        Ok(told)
    }
}

/// What goes, by activity.
fn groups(pruning: &Pruning) -> Json {
    let group = |g: &perron_model::retention::PrunedGroup| {
        let entries: u64 = g.kinds.values().sum();
        json!({"activity": g.activity, "days": g.days, "entries": entries, "kinds": g.kinds})
    };
    Json::Array(pruning.groups.iter().map(group).collect())
}
