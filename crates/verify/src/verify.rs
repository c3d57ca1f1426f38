//! The verification of one directory, from its register to what may be said of it.

use crate::changes;
use crate::directory::{Whose, authority_key, register_bytes, whose};
use crate::kept::{Head, Heads, Opener, Seen};
use crate::policy;
use crate::reading::{Before, Larger, Read, Reading, Succeeded, check_kept_files};
use crate::register::{Register, log_verifiers};
use crate::report::{Authority, AuthoritySource, Closed, Holder, Judged, KeptHead, Report, of_file};
use crate::words::{Part, Phrase};
use perron_log::merkle::empty_root;
use perron_log::{FindingKind, LeafView, Outcome, Policy, VerifyError, VerifyOptions};
use perron_model::participant::{Participant, PublicKey};
use perron_model::succession::{ClosedLog, generation_of};
use perron_model::{Digest, Error, ErrorCode, Result};
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

/// How a directory is verified.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Checkpoint files, or directories of other organisations, to compare with.
    pub against: Vec<PathBuf>,
    /// The authority's register key; the directory's own where there is none.
    pub authority: Option<PublicKey>,
    /// The policy of witnesses by which the log is called final; without one, nothing is.
    pub policy: Option<Policy>,
}

/// Who looks at the entries while they are verified.
pub type Visit<'a> = dyn FnMut(&LeafView<'_>) + 'a;

/// Verifies an organisation's stopped directory, or a copy of it, and compares its log with what
/// others kept of it.
///
/// # Errors
/// Where nothing can be said: no directory of an organisation, or a file that can't be read. What
/// is wrong with the directory is in the report.
pub fn verify(directory: &Path, against: &[PathBuf]) -> Result<Report> {
    verify_with(directory, &Options { against: against.to_vec(), ..Options::default() })
}

/// As [`verify`], by the options given.
///
/// # Errors
/// As [`verify`].
pub fn verify_with(directory: &Path, options: &Options) -> Result<Report> {
    verify_visiting(directory, options, &mut |_| {})
}

/// As [`verify_with`]; each entry is shown to `visit` too, in the log's order. What is shown holds
/// only if the report has no finding.
///
/// # Errors
/// As [`verify`].
pub fn verify_visiting(directory: &Path, options: &Options, visit: &mut Visit<'_>) -> Result<Report> {
    let whose = whose(directory)?;
    let (key, from) = match options.authority {
        Some(key) => (key, AuthoritySource::Given),
        None => (authority_key(directory)?, AuthoritySource::Directory),
    };
    let mut report = empty(&whose, key, from);
    match register_of(directory, &key, &whose) {
        Ok(register) => {
            report.register_version = Some(register.version);
            report.count_signatures("register", register.signatures);
            changes::check(&register, &mut report);
            match register.participant(whose.participant.as_str()) {
                Some(owner) => verify_log(directory, options, &register, owner, &mut report, visit)?,
                None => no_log(&mut report, FindingKind::DocumentBytes, "it doesn't tell of this organisation"),
            }
        }
        Err((kind, detail)) => no_log(&mut report, kind, &detail),
    }
    if from == AuthoritySource::Directory {
        report.leave_unsaid(Phrase::new("unsaid.authority", Vec::new()));
    }
    report.outcome = report.worst.name();
    Ok(report)
}

fn empty(whose: &Whose, key: PublicKey, from: AuthoritySource) -> Report {
    Report {
        participant: whose.participant.to_string(),
        space: whose.space.to_string(),
        origin: String::new(),
        log_keys: Vec::new(),
        size: 0,
        root: empty_root().to_base64(),
        outcome: Outcome::Ok.name(),
        authority: Authority { key: key.into(), from },
        register_version: None,
        findings: Vec::new(),
        findings_left_out: 0,
        entries: BTreeMap::new(),
        pruned: Vec::new(),
        open_reads: 0,
        sealed: 0,
        erased: 0,
        signatures: BTreeMap::new(),
        checkpoints_compared: 0,
        kept: Vec::new(),
        closed: Vec::new(),
        policy: None,
        statements: Vec::new(),
        not_shown: Vec::new(),
        said: Vec::new(),
        unsaid: Vec::new(),
        worst: Outcome::Ok,
    }
}

fn register_of(
    directory: &Path,
    key: &PublicKey,
    whose: &Whose,
) -> std::result::Result<Register, (FindingKind, String)> {
    let bytes = register_bytes(directory).map_err(|e| (FindingKind::DocumentBytes, e.detail))?;
    let bytes = bytes.ok_or_else(|| (FindingKind::MissingFile, "there is no register".to_owned()))?;
    let register = Register::open(&bytes, key).map_err(|e| (FindingKind::DocumentSignature, e.detail))?;
    if register.space == whose.space {
        Ok(register)
    } else {
        Err((FindingKind::DocumentBytes, format!("it is the register of the space `{}`", register.space)))
    }
}

/// Without a register there is no key to verify the log by.
fn no_log(report: &mut Report, kind: FindingKind, detail: &str) {
    report.add(of_file(kind, "trust/register.json", detail));
    report.say(Phrase::new("said.nothing", Vec::new()));
    report.leave_unsaid(Phrase::new("unsaid.log", Vec::new()));
}

fn verify_log(
    directory: &Path,
    options: &Options,
    register: &Register,
    owner: &Participant,
    report: &mut Report,
    visit: &mut Visit<'_>,
) -> Result<()> {
    report.origin.clone_from(&owner.log_origin);
    report.log_keys = log_verifiers(owner).iter().map(perron_log::Verifier::to_vkey).collect();
    let mut reading = Reading::new(register, owner);
    let mut before = None;
    for closed in &owner.closed_logs {
        before = verify_closed(directory, options, (register, owner, closed), report, (&mut reading, before), visit)?;
    }
    let opener = Opener::new(register, owner, &owner.log_origin);
    let heads = heads_of(directory, "trust", &options.against, &opener, report)?;
    reading.begin(&owner.log_origin, "log", before, &heads.list);
    let kept = heads.list.iter().map(|h| h.note.clone()).collect();
    let Some(log) = read_log(directory, "log", &opener, kept, report, (&mut reading, visit))? else {
        reading.finish().findings.into_iter().for_each(|finding| report.add(finding));
        return Ok(());
    };
    let read = reading.finish();
    let is_complete = log.is_complete;
    let agreeing = take_log(report, "log", log, &heads.list);
    take_succeeded(report, &read.succeeded);
    take_read(directory, register, report, read, is_complete)?;
    if let Some(policy) = &options.policy {
        let (judged, findings) = policy::judge(policy, &agreeing, &opener, report.size, report.is_ok());
        findings.into_iter().for_each(|finding| report.add(finding));
        report.policy = Some(judged);
    }
    conclude(report, &heads);
    Ok(())
}

/// A log that was closed: verified as any other, and what others hold of it as far as it was closed.
/// What they hold beyond must be what the register says that they do, but for who couldn't be asked.
fn verify_closed(
    directory: &Path,
    options: &Options,
    (register, owner, closed): (&Register, &Participant, &ClosedLog),
    report: &mut Report,
    (reading, before): (&mut Reading<'_>, Option<Before>),
    visit: &mut Visit<'_>,
) -> Result<Option<Before>> {
    let read = (0, Digest::from_bytes(empty_root().0));
    let mut told = Before { told: closed.clone(), read, beyond: BTreeMap::new(), larger: Vec::new() };
    let Ok(generation) = generation_of(&closed.origin) else {
        report.add(of_file(FindingKind::DocumentBytes, "trust/register.json", "a closed log has no generation"));
        return Ok(Some(told));
    };
    let folder = format!("generations/{generation}");
    let place = format!("{folder}/log");
    let opener = Opener::new(register, owner, &closed.origin);
    let mut heads = heads_of(directory, &folder, &options.against, &opener, report)?;
    let (within, beyond): (Vec<Head>, Vec<Head>) = heads.list.drain(..).partition(|head| head.size <= closed.size);
    for head in &beyond {
        if head.size > closed.held {
            // The next log's first entry may name who holds it among those that couldn't be asked.
            let by = head.holders.clone();
            told.larger.push(Larger { label: head.label.clone(), size: head.size, by });
        }
        // There is no log to compare them with; each other they can't contradict.
        if *told.beyond.entry(head.size).or_insert(head.root) != head.root {
            let detail = format!("another head of {} entries of `{}` has another root", head.size, closed.origin);
            report.add(of_file(FindingKind::Fork, &head.label, detail));
        }
    }
    reading.begin(&closed.origin, &place, before, &within);
    let kept = within.iter().map(|h| h.note.clone()).collect();
    let Some(log) = read_log(directory, &place, &opener, kept, report, (reading, visit))? else {
        return Ok(Some(told));
    };
    let read = (log.size, Digest::from_bytes(log.root.0));
    take_log(report, &place, log, &within);
    Ok(Some(Before { read, ..told }))
}

/// The heads of a log that others have seen.
fn heads_of(
    directory: &Path,
    place: &str,
    against: &[PathBuf],
    opener: &Opener<'_>,
    report: &mut Report,
) -> Result<Heads> {
    let mut heads = Heads::default();
    heads.take_cosigned(directory, place, opener)?;
    for given in against {
        heads.take_given(given, opener)?;
    }
    for finding in std::mem::take(&mut heads.findings) {
        report.add(finding);
    }
    report.count_signatures("cosignature", heads.cosignatures);
    Ok(heads)
}

/// Reads a log entry by entry; none, told as a finding, where nothing can be read.
fn read_log(
    directory: &Path,
    place: &str,
    opener: &Opener<'_>,
    kept: Vec<String>,
    report: &mut Report,
    (reading, visit): (&mut Reading<'_>, &mut Visit<'_>),
) -> Result<Option<perron_log::Report>> {
    let options = VerifyOptions { origin: opener.origin().to_owned(), keys: opener.log_keys().to_vec(), kept };
    let mut visitor = |view: &LeafView<'_>| {
        visit(view);
        reading.entry(view)
    };
    match perron_log::verify_log_dir(&directory.join(place), &options, &mut visitor) {
        Ok(log) => Ok(Some(log)),
        Err(VerifyError::NoKeys) => {
            no_log(report, FindingKind::DocumentBytes, "it tells no log key of this organisation");
            Ok(None)
        }
        Err(VerifyError::Io { source, .. })
            if source.kind() == std::io::ErrorKind::NotFound && !directory.join(place).is_dir() =>
        {
            report.add(of_file(FindingKind::MissingFile, place, "there is no log"));
            if place == "log" {
                report.say(Phrase::new("said.nothing", Vec::new()));
            }
            Ok(None)
        }
        Err(error) => Err(Error::new(ErrorCode::LogUnavailable, error.to_string())),
    }
}

/// What the first entries of logs tell of those that they took the place of.
fn take_succeeded(report: &mut Report, succeeded: &[Succeeded]) {
    for one in succeeded {
        report.closed.push(Closed {
            origin: one.origin.clone(),
            size: one.size,
            lost: one.lost,
            held_by: one.by.clone(),
            contradicted_by: one.contradicting.clone(),
            silent: one.silent.clone(),
            shown_later: one.shown_later.iter().map(|(by, size)| Holder { by: by.clone(), size: *size }).collect(),
        });
    }
}

/// Takes over what the log's own verification found; heads that it contradicts lose their say. Gives
/// those that agree with it.
fn take_log<'a>(report: &mut Report, place: &str, log: perron_log::Report, heads: &'a [Head]) -> Vec<&'a Head> {
    let mut contradicted: HashSet<usize> = HashSet::new();
    for mut finding in log.findings {
        if let Some(head) = finding.path.strip_prefix("kept ").and_then(|n| n.parse::<usize>().ok()) {
            contradicted.insert(head);
            finding.path = heads.get(head).map_or_else(String::new, |h| h.label.clone());
        } else if finding.path != "log" && !finding.path.starts_with("generations/") {
            finding.path = format!("{place}/{}", finding.path);
        }
        report.add(finding);
    }
    report.findings_left_out = report.findings_left_out.saturating_add(log.findings_left_out);
    report.worst = report.worst.max(log.outcome);
    (report.size, report.root) = (log.size, log.root.to_base64());
    report.checkpoints_compared = report.checkpoints_compared.saturating_add(log.kept_compared);
    report.count_signatures("checkpoint", log.signatures_checked);
    let agreeing =
        heads.iter().enumerate().filter(|(at, h)| !contradicted.contains(at) && h.size > 0 && h.size <= log.size);
    let agreeing: Vec<&Head> = agreeing.map(|(_, h)| h).collect();
    report.kept = newest_by(agreeing.iter().copied());
    agreeing
}

/// The largest head of each who saw any; of two of one size the one whose time is signed.
fn newest_by<'a>(heads: impl Iterator<Item = &'a Head>) -> Vec<KeptHead> {
    let mut newest: BTreeMap<&str, (u64, &Seen)> = BTreeMap::new();
    for head in heads {
        for seen in &head.seen {
            let rank = |size: u64, s: &Seen| (size, s.cosigned, s.at.is_some(), std::cmp::Reverse(s.at));
            let known = newest.entry(&seen.by).or_insert((head.size, seen));
            if rank(head.size, seen) > rank(known.0, known.1) {
                *known = (head.size, seen);
            }
        }
    }
    let head = |(by, (size, seen)): (&str, (u64, &Seen))| KeptHead {
        by: by.to_owned(),
        size,
        at: seen.at.map(|t| t.to_string()),
        cosigned: seen.cosigned,
    };
    newest.into_iter().map(head).collect()
}

/// Takes over what the entries say, and compares with them the files that follow from them. A log
/// that broke off tells of fewer agreements and checkpoints than there were.
fn take_read(directory: &Path, register: &Register, report: &mut Report, read: Read, is_complete: bool) -> Result<()> {
    for finding in read.findings {
        report.add(finding);
    }
    for finding in crate::documents::check(directory, &read.envelopes, is_complete)? {
        report.add(finding);
    }
    let files = check_kept_files(directory, register, &read.kept)?;
    for finding in files.findings {
        report.add(finding);
    }
    if let Some((version, _)) = read.register_seen
        && version > register.version
    {
        let detail = format!("it is version {}, the log tells of version {version}", register.version);
        report.add(of_file(FindingKind::OlderState, "trust/register.json", detail));
    }
    report.entries = read.counts;
    report.pruned = read.pruned;
    report.open_reads = read.open_reads;
    (report.sealed, report.erased) = read.sealed;
    report.count_signatures("checkpoint", files.signatures);
    for (kind, count) in read.checked {
        report.count_signatures(kind, count);
    }
    if is_complete {
        for origin in files.ahead {
            report.leave_unsaid(Phrase::new("unsaid.ahead", vec![origin.into()]));
        }
    }
    if read.open_reads > 0 {
        report.leave_unsaid(Phrase::new("unsaid.open_reads", vec![read.open_reads.into()]));
    }
    if report.sealed > 0 {
        report.leave_unsaid(Phrase::new("unsaid.sealed", vec![report.sealed.into(), report.erased.into()]));
    }
    if let Some((count, first)) = read.disputed {
        report.leave_unsaid(Phrase::new("unsaid.disputed", vec![count.into(), first.into()]));
    }
    if let Some(first) = read.undated.first {
        report.leave_unsaid(Phrase::new("unsaid.undated", vec![read.undated.count.into(), first.into()]));
    }
    if read.beyond > 0 {
        report.leave_unsaid(Phrase::new("unsaid.too_many", vec![read.beyond.into()]));
    }
    Ok(())
}

/// Exactly what may be said, and what the given files can't show.
fn conclude(report: &mut Report, heads: &Heads) {
    if report.is_ok() {
        report.say(Phrase::new("said.alone", Vec::new()));
        for by in report.pruned.clone() {
            let parts = vec![by.entries.into(), by.until.to_string().into(), by.rule.into()];
            report.say(Phrase::new("said.pruned", parts));
        }
        for head in report.kept.clone() {
            let (last, by): (Part, Part) = (head.size.saturating_sub(1).into(), head.by.into());
            report.say(match head.at {
                Some(at) => Phrase::new("said.kept", vec![last, at.into(), by]),
                None => Phrase::new("said.kept_undated", vec![last, by]),
            });
        }
        for closed in report.closed.clone() {
            say_closed(report, &closed);
        }
        if let Some(quorum) = quorum(&report.kept, &report.participant) {
            report.say(quorum);
        }
        if let Some(judged) = report.policy.clone() {
            say_judged(report, judged);
        }
    } else {
        report.say(Phrase::new("said.nothing", Vec::new()));
    }
    if report.kept.is_empty() {
        report.leave_unsaid(Phrase::new("unsaid.alone", Vec::new()));
    }
    if heads.unnamed > 0 && report.policy.is_none() {
        report.leave_unsaid(Phrase::new("unsaid.unnamed", vec![heads.unnamed.into()]));
    }
    for silent in &heads.silent {
        report.leave_unsaid(Phrase::new("unsaid.nothing_given", vec![silent.as_str().into()]));
    }
    for partner in &heads.doubtful {
        report.leave_unsaid(Phrase::new("unsaid.partner", vec![partner.as_str().into()]));
    }
    if !report.pruned.is_empty() {
        report.leave_unsaid(Phrase::new("unsaid.pruned", Vec::new()));
    }
    for key in ["unsaid.later", "unsaid.reads", "unsaid.replay", "unsaid.streams", "unsaid.key_time"] {
        report.leave_unsaid(Phrase::new(key, Vec::new()));
    }
}

/// What is known of a log that was closed.
fn say_closed(report: &mut Report, closed: &Closed) {
    let origin = || Part::from(closed.origin.as_str());
    let size: Part = closed.size.into();
    report.say(if closed.held_by.is_empty() {
        Phrase::new("said.succession", vec![origin(), size])
    } else {
        let by = Part::Names(closed.held_by.clone());
        Phrase::new("said.succession_lost", vec![origin(), size, closed.lost.into(), by])
    });
    if !closed.contradicted_by.is_empty() {
        let by = Part::Names(closed.contradicted_by.clone());
        report.say(Phrase::new("said.succession_contradicted", vec![origin(), by]));
    }
    for Holder { by, size } in &closed.shown_later {
        let by = by.as_str().into();
        report.say(Phrase::new("said.succession_later", vec![origin(), by, (*size).into()]));
    }
    report.leave_unsaid(Phrase::new("unsaid.succession", vec![origin()]));
    if !closed.silent.is_empty() {
        let silent = Part::Names(closed.silent.clone());
        report.leave_unsaid(Phrase::new("unsaid.succession_silent", vec![origin(), silent]));
    }
}

/// What a policy says, exactly.
fn say_judged(report: &mut Report, judged: Judged) {
    match (judged.quorum, judged.size, judged.at) {
        ("met", Some(size), Some(at)) => {
            let by = judged.witnesses.into_iter().filter(|w| w.size.is_some_and(|seen| seen >= size));
            let names = by.map(|w| w.name).collect();
            report.say(Phrase::new("said.final", vec![size.saturating_sub(1).into(), at.into(), Part::Names(names)]));
        }
        ("none", ..) => report.say(Phrase::new("said.final_unasked", Vec::new())),
        ("another-log", ..) => report.leave_unsaid(Phrase::new("unsaid.final_another", Vec::new())),
        _ => report.leave_unsaid(Phrase::new("unsaid.final", Vec::new())),
    }
}

/// What two or more others say together, where each signed the time at which it saw the log.
fn quorum(kept: &[KeptHead], owner: &str) -> Option<Phrase> {
    let others: Vec<&KeptHead> = kept.iter().filter(|h| h.cosigned && h.by != owner).collect();
    let times: Vec<&String> = others.iter().filter_map(|h| h.at.as_ref()).collect();
    if others.len() < 2 || times.len() < others.len() {
        return None;
    }
    let last = others.iter().map(|h| h.size).min()?.saturating_sub(1);
    let (first, latest) = (times.iter().min()?, times.iter().max()?);
    let at = if first == latest { (*first).clone() } else { format!("{first} – {latest}") };
    let names = others.iter().map(|h| h.by.clone()).collect();
    Some(Phrase::new("said.quorum", vec![Part::Names(names), last.into(), at.into()]))
}
