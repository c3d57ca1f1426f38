//! Recorded decisions evaluated again: invariant 5, by whoever has the log and the modules.

use crate::policy::instance::Bounds;
use crate::policy::pool::Pool;
use crate::policy::{ACCESS, ACCESS_ENTRYPOINTS, STAFF, STAFF_ENTRYPOINTS, engine};
use perron_model::decision::Verdict;
use perron_model::entry::{Decision, LogQuery};
use perron_model::limits::{MESSAGE_BYTES_MAX, MODULE_BYTES_MAX, MODULES_MAX};
use perron_model::{Digest, Error, ErrorCode, Result, canonical};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use wasmtime::Engine;

/// What became of a recorded decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// The module decides the same again, with the same reasons.
    Same,
    /// It was refused before any policy was asked: no agreement of that name, a clock that went back.
    NotEvaluated,
    /// The evaluation failed then, which refused the read; there is no module to ask again.
    FailedThen,
    /// The module of this digest isn't at hand.
    NoModule(Digest),
    /// The module decides otherwise now.
    Otherwise(Verdict),
    /// The module can't be evaluated over the recorded input now.
    FailsNow(ErrorCode),
}

/// What is recorded of a decision, and by which policy it was made.
#[derive(Clone, Debug)]
pub struct Recorded {
    entrypoints: &'static [&'static str],
    permitted: bool,
    reasons: Vec<String>,
    clauses: Vec<String>,
    module: Digest,
    // What the gate refuses although its policy permits it.
    beyond_policy: fn(&Recorded) -> bool,
}

impl From<&Decision> for Recorded {
    fn from(decision: &Decision) -> Recorded {
        Recorded {
            entrypoints: DECISION_ALONE,
            permitted: decision.permitted,
            reasons: decision.reasons.clone(),
            clauses: decision.clauses.clone(),
            module: decision.module,
            // The set had no snapshot any more.
            beyond_policy: |recorded| told(recorded).eq([(ErrorCode::NotFound.as_str(), "dataset")]),
        }
    }
}

impl From<&LogQuery> for Recorded {
    fn from(query: &LogQuery) -> Recorded {
        Recorded {
            entrypoints: STAFF_ENTRYPOINTS,
            permitted: query.permitted,
            reasons: query.reasons.clone(),
            clauses: query.clauses.clone(),
            module: query.module,
            // The statement asked for more than the log.
            beyond_policy: |recorded| recorded.clauses.iter().eq(["statement"]),
        }
    }
}

impl Recorded {
    /// Was it permitted?
    pub fn is_permit(&self) -> bool {
        self.permitted
    }
    /// The reasons of a refusal, each with its clause.
    pub fn told(&self) -> impl Iterator<Item = (&str, &str)> {
        told(self)
    }
}

/// Evaluates recorded inputs by the modules that their decisions name: the program's own, or those
/// of a folder, whose files are named by their digest and checked against it.
pub struct Replayer {
    engine: Engine,
    folder: PathBuf,
    known: BTreeMap<Digest, Option<Pool>>,
}

impl Replayer {
    /// With modules of `folder` for those that this program doesn't have; it need not exist.
    pub fn new(folder: &Path) -> Result<Replayer> {
        let engine = engine(None)?;
        let own = Pool::new(&engine, "access", ACCESS_ENTRYPOINTS, ACCESS, Bounds::default())?;
        let staff = Pool::new(&engine, "staff", STAFF_ENTRYPOINTS, STAFF, Bounds::default())?;
        let known = BTreeMap::from([(own.digest(), Some(own)), (staff.digest(), Some(staff))]);
        Ok(Replayer { engine, folder: folder.to_owned(), known })
    }

    /// Decides anew from what is attached to a decision: 16 bytes of salt, then the input.
    pub async fn decide(&mut self, recorded: impl Into<Recorded>, attached: &[u8]) -> Result<Replayed> {
        let recorded = &recorded.into();
        let Some((_, input)) = attached.split_first_chunk::<16>() else {
            return Err(Error::malformed("the evaluation's input has no salt"));
        };
        // Only a refusal has no input, or no module: a permit without either can't be made again.
        if input.is_empty() && !recorded.permitted {
            return Ok(Replayed::NotEvaluated);
        }
        let failed = [(ErrorCode::EvaluationFailed.as_str(), "evaluation")];
        if recorded.module == Digest::of(b"") && !recorded.permitted && told(recorded).eq(failed) {
            return Ok(Replayed::FailedThen);
        }
        // Not as a type of this program: an input of an earlier version stays an input.
        let input: Json = canonical::from_bytes(input, MESSAGE_BYTES_MAX)?;
        let Some(pool) = self.module(recorded)? else { return Ok(Replayed::NoModule(recorded.module)) };
        Ok(match pool.decide(&input).await {
            Ok(verdict) if is_same(recorded, &verdict) => Replayed::Same,
            Ok(verdict) => Replayed::Otherwise(verdict),
            Err(error) => Replayed::FailsNow(error.code),
        })
    }

    fn module(&mut self, recorded: &Recorded) -> Result<Option<&Pool>> {
        let digest = &recorded.module;
        if !self.known.contains_key(digest) {
            if self.known.len() >= MODULES_MAX {
                return Err(Error::new(ErrorCode::TooLarge, format!("over {MODULES_MAX} policy modules")));
            }
            let wasm = read(&self.folder, digest)?;
            let pool =
                wasm.map(|wasm| Pool::new(&self.engine, "recorded", recorded.entrypoints, &wasm, Bounds::default()));
            self.known.insert(*digest, pool.transpose()?);
        }
        Ok(self.known.get(digest).and_then(Option::as_ref))
    }
}

/// Earlier modules need have no other entrypoint.
const DECISION_ALONE: &[&str] = &["perron/access/decision"];

/// The file of a module within the folder that keeps them.
pub(super) fn file_name(digest: &Digest) -> String {
    format!("{digest}.wasm")
}

/// The module's bytes, if the folder has them; those of another digest are refused.
fn read(folder: &Path, digest: &Digest) -> Result<Option<Vec<u8>>> {
    let unreadable = |e: std::io::Error| {
        Error::new(ErrorCode::ConfigInvalid, format!("the policy module {digest} can't be read: {}", e.kind()))
    };
    let file = match std::fs::File::open(folder.join(file_name(digest))) {
        Ok(file) => file,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(unreadable(e)),
    };
    let mut wasm = Vec::new();
    let most = u64::try_from(MODULE_BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(&mut wasm).map_err(unreadable)?;
    if wasm.len() > MODULE_BYTES_MAX {
        return Err(Error::new(ErrorCode::TooLarge, format!("the policy module {digest} is too large")));
    }
    if Digest::of(&wasm) == *digest {
        Ok(Some(wasm))
    } else {
        Err(Error::new(ErrorCode::LogDamaged, format!("the policy module {digest} is not the one of that digest")))
    }
}

/// The reasons of a refusal, each with its clause.
fn told(recorded: &Recorded) -> impl Iterator<Item = (&str, &str)> {
    recorded.reasons.iter().map(String::as_str).zip(recorded.clauses.iter().map(String::as_str))
}

/// Does the log tell of this verdict? Of a permit that the gate couldn't give it tells as a refusal of
/// its own.
fn is_same(recorded: &Recorded, verdict: &Verdict) -> bool {
    match verdict {
        Verdict::Permit => recorded.permitted || (recorded.beyond_policy)(recorded),
        Verdict::Refuse(refused) => {
            let again = refused.iter().map(|r| (r.code.as_str(), r.clause.as_str()));
            !recorded.permitted && recorded.reasons.len() == recorded.clauses.len() && told(recorded).eq(again)
        }
    }
}
