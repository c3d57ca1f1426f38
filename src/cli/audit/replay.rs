//! `perron audit replay`: every decision of a log made again, by the modules that it names.

use crate::cli::{Output, client};
use crate::connector::MODULES;
use crate::messages::text;
use crate::policy::{Recorded, Replayed, Replayer};
use perron_log::LeafView;
use perron_model::decision::Verdict;
use perron_model::entry::{AttachmentKind, Body, Entry, Erased};
use perron_model::limits::DIFFERENCES_TOLD_MAX;
use perron_model::{Digest, Error, ErrorCode, Result, Timestamp};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What came of it.
#[derive(Debug, Default, Serialize)]
struct Tally {
    /// Decisions in the log.
    decisions: u64,
    /// Made the same again, with the same reasons.
    same: u64,
    /// Refused before any policy was asked.
    not_evaluated: u64,
    /// Refused because the evaluation failed then.
    failed_then: u64,
    /// Decisions whose module isn't at hand, by its digest.
    without_module: BTreeMap<Digest, u64>,
    /// Made otherwise, the first of them.
    differences: Vec<Difference>,
    /// Differences beyond those.
    differences_left_out: u64,
    /// What was lawfully erased: nothing that a decision was made from.
    erased: Vec<Gone>,
    /// Erasures beyond those.
    erased_left_out: u64,
}

/// An erasure that the log tells of.
#[derive(Debug, Serialize)]
struct Gone {
    /// Its entry.
    entry: u64,
    /// When.
    on: Timestamp,
    /// How many values.
    values: u64,
    /// Ground.
    ground: String,
    /// Until when a backup could undo it.
    undone_until: Timestamp,
}

/// A decision that isn't made the same again.
#[derive(Debug, Serialize)]
struct Difference {
    /// Its entry.
    entry: u64,
    /// What the log tells: `permit`, or each reason with its clause.
    recorded: String,
    /// What the module gives now.
    again: String,
}

/// Verifies the directory, and replays it on the way: one pass over the log.
pub(super) fn replay(directory: &Path, modules: Option<PathBuf>, output: &Output) -> Result<()> {
    let modules = modules.unwrap_or_else(|| directory.join(MODULES));
    let (runtime, mut replayer) = (client::runtime()?, Replayer::new(&modules)?);
    let (mut tally, mut failed) = (Tally::default(), None);
    let report = perron_verify::verify_visiting(directory, &perron_verify::Options::default(), &mut |view| {
        if let Some(gone) = erasure_of(view) {
            return tally.erase(gone);
        }
        let Some((recorded, attached)) = decision_of(view) else { return };
        match runtime.block_on(replayer.decide(recorded.clone(), attached)) {
            Ok(replayed) => tally.take(view.index, &recorded, replayed),
            // What the verification says of a broken input, it says itself.
            Err(error) => failed = failed.take().or(Some(error)),
        }
    })?;
    if !report.is_ok() {
        let kinds = report.kinds().join(", ");
        return Err(Error::new(ErrorCode::LogDamaged, format!("the directory doesn't verify: {kinds}")));
    }
    if let Some(error) = failed {
        return Err(error);
    }
    tally.tell(output)
}

/// The decision that an entry is, with its evaluation's input.
fn decision_of<'a>(view: &LeafView<'a>) -> Option<(Recorded, &'a [u8])> {
    let recorded = match Entry::from_bytes(view.leaf?).ok()?.body {
        Body::Decision(decision) => Recorded::from(&decision),
        Body::LogQuery(query) => Recorded::from(&query),
        _ => return None,
    };
    let input = view.attachments().find(|(kind, _)| *kind == AttachmentKind::EvaluationInput as u16);
    input.map(|(_, bytes)| (recorded, bytes))
}

/// The erasure that an entry tells of.
fn erasure_of(view: &LeafView<'_>) -> Option<Gone> {
    let entry = Entry::from_bytes(view.leaf?).ok()?;
    let Body::Erased(erased) = entry.body else { return None };
    let Erased { values, ground, until, .. } = erased;
    Some(Gone { entry: view.index, on: entry.time, values, ground, undone_until: until })
}

impl Tally {
    fn erase(&mut self, gone: Gone) {
        if self.erased.len() < DIFFERENCES_TOLD_MAX {
            self.erased.push(gone);
        } else {
            self.erased_left_out = self.erased_left_out.saturating_add(1);
        }
    }

    fn take(&mut self, entry: u64, recorded: &Recorded, replayed: Replayed) {
        let one_more = |count: &mut u64| *count = count.saturating_add(1);
        one_more(&mut self.decisions);
        let again = match replayed {
            Replayed::Same => return one_more(&mut self.same),
            Replayed::NotEvaluated => return one_more(&mut self.not_evaluated),
            Replayed::FailedThen => return one_more(&mut self.failed_then),
            Replayed::NoModule(digest) => return one_more(self.without_module.entry(digest).or_default()),
            Replayed::Otherwise(verdict) => in_words(&verdict),
            Replayed::FailsNow(code) => code.to_string(),
        };
        if self.differences.len() >= DIFFERENCES_TOLD_MAX {
            return one_more(&mut self.differences_left_out);
        }
        let recorded = if recorded.is_permit() {
            "permit".to_owned()
        } else {
            recorded.told().map(|(reason, clause)| format!("{reason} {clause}")).collect::<Vec<_>>().join(", ")
        };
        self.differences.push(Difference { entry, recorded, again });
    }

    /// Says it; anything but the same is an error.
    fn tell(&self, output: &Output) -> Result<()> {
        if output.json {
            let told = serde_json::to_value(self);
            output.answer(&told.map_err(|_| Error::new(ErrorCode::Internal, "the report can't be written"))?);
        } else {
            let numbers = [self.same, self.decisions, self.not_evaluated, self.failed_then].map(|n| n.to_string());
            let [same, decisions, not_evaluated, failed_then] = &numbers;
            output.say("replay.same", &[("same", same), ("decisions", decisions)]);
            output.say("replay.apart", &[("not_evaluated", not_evaluated), ("failed_then", failed_then)]);
            for (module, count) in &self.without_module {
                output.say("replay.no_module", &[("count", &count.to_string()), ("module", &module.to_string())]);
            }
            for Difference { entry, recorded, again } in &self.differences {
                let entry = entry.to_string();
                output.say("replay.differs", &[("entry", &entry), ("recorded", recorded), ("again", again)]);
            }
            for Gone { entry, on, values, ground, undone_until } in &self.erased {
                let ground = text(output.lang, &format!("ground.{ground}"), &[]);
                let [entry, on, values, until] =
                    [entry.to_string(), on.to_string(), values.to_string(), undone_until.to_string()];
                let parts = [("entry", entry), ("on", on), ("values", values), ("until", until), ("ground", ground)];
                output.say("replay.erased", &parts.each_ref().map(|(name, value)| (*name, value.as_str())));
            }
        }
        let told = u64::try_from(self.differences.len()).unwrap_or(u64::MAX);
        let differ = told.saturating_add(self.differences_left_out);
        if differ > 0 {
            let detail = format!("{differ} decisions are not made the same again");
            return Err(Error::new(ErrorCode::EvidenceDiffers, detail));
        }
        match self.without_module.keys().next() {
            Some(module) => Err(Error::new(ErrorCode::NotFound, format!("the policy module {module} is not at hand"))),
            None => Ok(()),
        }
    }
}

fn in_words(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Permit => "permit".to_owned(),
        Verdict::Refuse(refused) => {
            refused.iter().map(|r| format!("{} {}", r.code, r.clause)).collect::<Vec<_>>().join(", ")
        }
    }
}
