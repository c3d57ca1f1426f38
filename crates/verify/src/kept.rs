//! Heads of this log that others have seen: those that came back cosigned, and those in the files
//! that were given to compare with.

use crate::directory::{names, read, whose};
use crate::limits::{CLOCKS_APART_MS_MAX, FILES_MAX, HEADS_PER_PARTNER_MAX};
use crate::register::{Register, log_verifiers, log_verifiers_of};
use crate::report::of_file;
use perron_log::limits::NOTE_BYTES_MAX;
use perron_log::note::NoteError;
use perron_log::{Checkpoint, Finding, FindingKind, LeafView, OpenedCheckpoint, Verifier, VerifyOptions};
use perron_model::entry::{AttachmentKind, Body, Entry};
use perron_model::participant::{KeyAuthorisation, KeyUse, Participant};
use perron_model::{Digest, Error, ErrorCode, ParticipantId, Result, Timestamp};
use std::collections::{BTreeSet, VecDeque};
use std::path::Path;

/// How the name of a file begins whose head a witness over HTTPS cosigned; the fingerprint of its key
/// follows. No participant's name has a plus.
const WITNESS_FILE: &str = "vkey+";

/// A head of this log with who has seen it; its log signature verified.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// The file that holds it.
    pub label: String,
    /// The signed note.
    pub note: String,
    /// Entries that it covers.
    pub size: u64,
    /// Root of their tree.
    pub root: Digest,
    /// Who has seen it.
    pub seen: Vec<Seen>,
    /// Others who hold it, of those that were given to compare with: in whose directory it lies, and who
    /// cosigned it.
    pub holders: BTreeSet<String>,
}

impl Head {
    fn of(label: String, note: String, opened: &OpenedCheckpoint, seen: Vec<Seen>) -> Head {
        let Checkpoint { size, root, .. } = &opened.checkpoint;
        Head { label, note, size: *size, root: Digest::from_bytes(root.0), seen, holders: BTreeSet::new() }
    }

    /// The same of a file that somebody gave: held by whoever cosigned it, and by whose directory it is in.
    /// Its owner's own word isn't another's.
    fn given(self, directory: Option<&str>, owner: &ParticipantId) -> Head {
        let cosigned = self.seen.iter().filter(|seen| seen.cosigned).map(|seen| seen.by.as_str());
        let holders = cosigned.chain(directory).filter(|by| *by != owner.as_str()).map(str::to_owned).collect();
        Head { holders, ..self }
    }
}

/// Someone who has seen a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Who.
    pub by: String,
    /// When, by their clock, where it is known.
    pub at: Option<Timestamp>,
    /// Is that a time they signed?
    pub cosigned: bool,
}

/// All heads that were found, and what was wrong with others.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    pub list: Vec<Head>,
    pub findings: Vec<Finding>,
    /// Cosignatures that were checked.
    pub cosignatures: u64,
    /// Files of witnesses that no register names: their heads are compared, their lines are a policy's
    /// to judge.
    pub unnamed: u64,
    /// Given files and directories without a head of this log.
    pub silent: Vec<String>,
    /// Other organisations whose own log doesn't verify.
    pub doubtful: Vec<String>,
}

/// By what heads of the log under verification are opened.
pub(crate) struct Opener<'a> {
    register: &'a Register,
    owner: &'a ParticipantId,
    origin: &'a str,
    keys: Vec<Verifier>,
    witnesses: Vec<(ParticipantId, Verifier)>,
    cosigners: Vec<Verifier>,
}

/// Who cosigned a head, and whose key wasn't in force at the time that they signed.
#[derive(Debug, Default)]
pub(crate) struct Cosigners {
    pub seen: Vec<Seen>,
    pub out_of_time: Vec<String>,
}

impl<'a> Opener<'a> {
    /// Of a log of this origin, in force or closed.
    pub fn new(register: &'a Register, owner: &'a Participant, origin: &'a str) -> Opener<'a> {
        let witnesses = register.witnesses();
        let cosigners = witnesses.iter().map(|(_, v)| v.clone()).collect();
        Opener { register, owner: &owner.id, origin, keys: log_verifiers_of(owner, origin), witnesses, cosigners }
    }

    /// Origin of the log under verification.
    pub fn origin(&self) -> &str {
        self.origin
    }

    /// The keys of the log under verification.
    pub fn log_keys(&self) -> &[Verifier] {
        &self.keys
    }

    fn open(&self, note: &str) -> Result<OpenedCheckpoint, NoteError> {
        Checkpoint::open(note, self.origin, &self.keys, &self.cosigners)
    }

    /// Whoever cosigned an opened head, with the time that they signed.
    fn cosigners_of(&self, opened: &OpenedCheckpoint) -> Cosigners {
        let mut cosigners = Cosigners::default();
        for line in &opened.verified {
            let by = self.witnesses.iter().find(|(_, v)| v.name() == line.name && v.key_id() == line.key_id);
            let Some((who, verifier)) = by else { continue };
            let at = line.time_unix_s.and_then(|s| i64::try_from(s).ok()?.checked_mul(1000));
            let at = at.and_then(|ms| Timestamp::from_millis(ms).ok());
            if at.is_none_or(|at| self.had_in_force(who, verifier, at)) {
                cosigners.seen.push(Seen { by: who.to_string(), at, cosigned: true });
            } else {
                cosigners.out_of_time.push(who.to_string());
            }
        }
        cosigners
    }

    /// Was this witness key in force at that time? Clocks may be apart.
    fn had_in_force(&self, who: &ParticipantId, verifier: &Verifier, at: Timestamp) -> bool {
        let (early, late) = (at.plus_millis(-CLOCKS_APART_MS_MAX), at.plus_millis(CLOCKS_APART_MS_MAX));
        let Some(who) = self.register.participant(who.as_str()) else { return false };
        let mut keys = who.keys.iter();
        keys.any(|k| {
            let is_it = k.key_use == KeyUse::Witness && *k.key.as_bytes() == verifier.public_key();
            let has_begun = who.answers_for(k) == KeyAuthorisation::Enrolment || k.from <= late;
            is_it && has_begun && k.until.is_none_or(|until| early < until)
        })
    }
}

impl Heads {
    /// `cosigned/` under a place of the directory, `trust` or the folder of a closed log: our own heads as
    /// others cosigned them; and `dated/`, those before that prove what was signed by keys that have ended
    /// since.
    pub fn take_cosigned(&mut self, directory: &Path, place: &str, opener: &Opener<'_>) -> Result<()> {
        self.take_folder(directory, &format!("{place}/cosigned"), false, opener)?;
        self.take_folder(directory, &format!("{place}/dated"), true, opener)
    }

    fn take_folder(&mut self, directory: &Path, of: &str, is_dated: bool, opener: &Opener<'_>) -> Result<()> {
        let folder = directory.join(of);
        for name in names(&folder, FILES_MAX)? {
            let Some(who) = name.strip_suffix(".checkpoint") else { continue };
            // A plus and the time follow the name of who cosigned.
            let who = if is_dated { who.rsplit_once('+').map_or(who, |(who, _)| who) } else { who };
            let label = format!("{of}/{name}");
            let Some(note) = read_note(&folder.join(&name))? else { continue };
            match opener.open(&note) {
                Ok(opened) => {
                    let seen = self.cosigned(&label, opener.cosigners_of(&opened));
                    let witness = who.strip_prefix(WITNESS_FILE);
                    self.unnamed = self.unnamed.saturating_add(u64::from(witness.is_some()));
                    let is_theirs = witness.map_or_else(
                        || seen.iter().any(|s| s.by == who),
                        |fingerprint| has_line_of(&opened, fingerprint),
                    );
                    if is_theirs {
                        self.list.push(Head::of(label, note, &opened, seen));
                    } else {
                        let detail = format!("no cosignature of `{who}` is on it");
                        self.findings.push(of_file(FindingKind::Signature, label, detail));
                    }
                }
                // A head of an earlier generation of this log.
                Err(NoteError::OtherOrigin { .. }) => {}
                Err(error) => self.findings.push(unusable(label, &error)),
            }
        }
        Ok(())
    }

    /// A file or an organisation's directory that was given to compare with.
    pub fn take_given(&mut self, given: &Path, opener: &Opener<'_>) -> Result<()> {
        let label = given.display().to_string();
        let meta = std::fs::metadata(given)
            .map_err(|e| Error::new(ErrorCode::ConfigInvalid, format!("`{label}` can't be read: {e}")))?;
        let before = self.list.len();
        if meta.is_dir() {
            self.take_partner(given, &label, opener)?;
        } else {
            let name = given.file_name().map_or_else(|| label.clone(), |n| n.to_string_lossy().into_owned());
            self.take_note(given, &label, &name, None, opener)?;
        }
        if self.list.len() == before {
            self.silent.push(label);
        }
        Ok(())
    }

    fn take_note(
        &mut self,
        file: &Path,
        label: &str,
        by: &str,
        directory: Option<&str>,
        opener: &Opener<'_>,
    ) -> Result<()> {
        let Some(note) = read_note(file)? else { return Ok(()) };
        match opener.open(&note) {
            Ok(opened) => {
                let mut seen = self.cosigned(label, opener.cosigners_of(&opened));
                if seen.is_empty() {
                    seen.push(Seen { by: by.to_owned(), at: None, cosigned: false });
                }
                self.list.push(Head::of(label.to_owned(), note, &opened, seen).given(directory, opener.owner));
            }
            Err(NoteError::OtherOrigin { .. }) => {}
            Err(error) => self.findings.push(unusable(label.to_owned(), &error)),
        }
        Ok(())
    }

    /// Another organisation's directory: the checkpoint of this log in its `trust/kept/`, and
    /// each that its own log tells of.
    fn take_partner(&mut self, directory: &Path, label: &str, opener: &Opener<'_>) -> Result<()> {
        let partner = whose(directory)?;
        let by = partner.participant.to_string();
        self.take_logged(directory, label, &by, opener);
        let name = format!("{}.checkpoint", opener.origin.replace('/', "_"));
        let (file, label) = (directory.join("trust/kept").join(&name), format!("{label}/trust/kept/{name}"));
        self.take_note(&file, &label, &by, Some(&by), opener)
    }

    /// The heads of this log that a partner's own log tells of, with their times by its clock.
    fn take_logged(&mut self, directory: &Path, label: &str, by: &str, opener: &Opener<'_>) {
        let Some(partner) = opener.register.participant(by) else { return };
        let mut heads: VecDeque<(u64, Timestamp, String)> = VecDeque::new();
        let mut visitor = |view: &LeafView<'_>| {
            if let Some(head) = kept_in(view, opener.origin) {
                if heads.len() >= HEADS_PER_PARTNER_MAX {
                    heads.pop_front();
                }
                heads.push_back(head);
            }
            Vec::new()
        };
        let options =
            VerifyOptions { origin: partner.log_origin.clone(), keys: log_verifiers(partner), kept: Vec::new() };
        let verified = perron_log::verify_log_dir(&directory.join("log"), &options, &mut visitor);
        if !verified.is_ok_and(|report| report.outcome.is_pass()) {
            self.doubtful.push(by.to_owned());
            return;
        }
        for (index, at, note) in heads {
            let Ok(opened) = opener.open(&note) else { continue };
            let seen = vec![Seen { by: by.to_owned(), at: Some(at), cosigned: false }];
            let label = format!("{label}/log, entry {index}");
            self.list.push(Head::of(label, note, &opened, seen).given(Some(by), opener.owner));
        }
    }

    /// Counts the cosignatures of a head, and finds those by keys that weren't in force.
    fn cosigned(&mut self, label: &str, cosigners: Cosigners) -> Vec<Seen> {
        self.count(&cosigners.seen);
        for who in cosigners.out_of_time {
            let detail =
                format!("`{who}` cosigned it by a witness key that was not in force at the time that it tells");
            self.findings.push(of_file(FindingKind::KeyNotInForce, label, detail));
        }
        cosigners.seen
    }

    fn count(&mut self, seen: &[Seen]) {
        let cosigned = seen.iter().filter(|s| s.cosigned).count();
        self.cosignatures = self.cosignatures.saturating_add(u64::try_from(cosigned).unwrap_or(u64::MAX));
    }
}

/// The checkpoint of a log that an entry tells of: the entry's index, time, and the note.
fn kept_in(view: &LeafView<'_>, origin: &str) -> Option<(u64, Timestamp, String)> {
    let entry = Entry::from_bytes(view.leaf?).ok()?;
    let Body::CheckpointKept(kept) = &entry.body else { return None };
    if kept.origin != origin {
        return None;
    }
    let (_, bytes) = view.attachments().find(|(kind, _)| *kind == AttachmentKind::Checkpoint as u16)?;
    Some((view.index, entry.time, std::str::from_utf8(bytes).ok()?.to_owned()))
}

/// Reads a note; a text that is none is found when it is opened.
pub(crate) fn read_note(file: &Path) -> Result<Option<String>> {
    let bytes_max = u64::try_from(NOTE_BYTES_MAX).unwrap_or(u64::MAX);
    Ok(read(file, bytes_max)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
}

/// Whether there is a line by a key of this fingerprint; of the key itself, only its id is known.
fn has_line_of(opened: &OpenedCheckpoint, fingerprint: &str) -> bool {
    let is_by = |key_id: u32| fingerprint.get(..8) == Some(format!("{key_id:08x}").as_str());
    opened.note.signatures.iter().any(|line| is_by(line.key_id))
}

fn unusable(label: String, error: &NoteError) -> Finding {
    let kind = match error {
        NoteError::Malformed(_) | NoteError::NotACheckpoint(_) | NoteError::BadName(_) => FindingKind::Encoding,
        _ => FindingKind::Signature,
    };
    of_file(kind, label, format!("it can't be used as a checkpoint of this log: {error}"))
}
