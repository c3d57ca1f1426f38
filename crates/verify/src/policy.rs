//! What a policy of witnesses (C2SP tlog-policy) says of the heads that others cosigned.

use crate::directory::read;
use crate::kept::{Head, Opener};
use crate::report::{Judged, JudgedWitness, of_file};
use perron_log::limits::POLICY_BYTES_MAX;
use perron_log::{Cosigned, Finding, FindingKind, Policy, SignedNote, Verdict};
use perron_model::{Error, ErrorCode, Result, Timestamp};
use std::path::Path;

/// Reads a policy's file.
///
/// # Errors
/// `config_invalid` where it can't be read, or isn't one.
pub fn read_policy(file: &Path) -> Result<Policy> {
    let bytes_max = u64::try_from(POLICY_BYTES_MAX).unwrap_or(u64::MAX);
    let invalid = |what: String| Error::new(ErrorCode::ConfigInvalid, format!("`{}`: {what}", file.display()));
    let bytes = read(file, bytes_max)?.ok_or_else(|| invalid("there is no such file".to_owned()))?;
    Policy::parse(&bytes).map_err(|e| invalid(e.to_string()))
}

/// The policy's verdict of a log of `size` entries by the heads that agree with it; and lines that are
/// not by whom they say. Of a log that doesn't verify nothing is final.
pub(crate) fn judge(
    policy: &Policy,
    heads: &[&Head],
    opener: &Opener<'_>,
    size: u64,
    is_sound: bool,
) -> (Judged, Vec<Finding>) {
    let (mut cosigned, mut findings): (Vec<Cosigned>, Vec<Finding>) = (Vec::new(), Vec::new());
    for head in heads {
        let lines = SignedNote::parse(&head.note).and_then(|note| policy.cosigned(&note, head.size));
        match lines {
            Ok(lines) => cosigned.extend(lines),
            Err(error) => findings.push(of_file(FindingKind::Signature, head.label.clone(), error.to_string())),
        }
    }
    let is_about = policy.is_about(opener.log_keys());
    let is_sound = is_sound && findings.is_empty();
    let verdict = if is_about && is_sound { policy.judge(&cosigned) } else { Verdict::Open };
    let (quorum, seen, at) = match verdict {
        Verdict::Unasked => ("none", Some(size), None),
        Verdict::Final { size, at_unix_s } => ("met", Some(size), time(at_unix_s)),
        Verdict::Open if !is_about => ("another-log", None, None),
        Verdict::Open => ("open", None, None),
    };
    let newest = |place: usize| {
        let of = cosigned.iter().filter(|one| one.witness == place);
        of.max_by_key(|one| (one.size, std::cmp::Reverse(one.time_unix_s)))
    };
    let witnesses = policy.witnesses().iter().enumerate().map(|(place, witness)| JudgedWitness {
        name: witness.name.clone(),
        size: newest(place).map(|one| one.size),
        at: newest(place).and_then(|one| time(one.time_unix_s)),
    });
    let is_final = quorum == "none" || quorum == "met";
    (Judged { quorum, is_final, size: seen, at, witnesses: witnesses.collect() }, findings)
}

fn time(unix_s: u64) -> Option<String> {
    let ms = i64::try_from(unix_s).ok()?.checked_mul(1000)?;
    Timestamp::from_millis(ms).ok().map(|at| at.to_string())
}
