//! `perron restore`: brings a backup back, and lets its log go on only if nobody holds more of it.
//!
//! Killed at any point it can be run again: what was brought back, the next log that was begun and
//! what the authority confirmed are found where they lie.

use crate::cli::Output;
use crate::cli::args::RestoreArgs;
use crate::cli::backup::{self, KEYS};
use crate::cli::following::Member;
use crate::cli::serve::{Prepared, lock, prepare};
use crate::connector::authority::{Authority, REGISTER_FILE};
use crate::connector::node::Parts;
use crate::connector::rotation::Registrar;
use crate::connector::succession::{self, BACKUP_FILE, Elsewhere, Places};
use crate::connector::witness::{Kept, SUPERSEDED};
use crate::files::{io_error, sync_directory, write_file};
use crate::ledger::{Begun, Closing, SystemClock, generation_dir};
use crate::settings::Config;
use crate::trust::register::VerifiedRegister;
use crate::trust::tls::install_provider;
use crate::vault;
use perron_gate::Clock;
use perron_model::limits::{HEADS_ASKED_MS_MAX, REGISTER_BYTES_MAX};
use perron_model::participant::Participant;
use perron_model::succession::{HeldHead, generation_of, next_origin};
use perron_model::{Digest, Error, ErrorCode, Result};
use serde_json::json;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

/// Ending of a directory that isn't whole yet.
const UNFINISHED: &str = "restoring";

pub fn run(args: &RestoreArgs, output: &Output) -> Result<()> {
    install_provider();
    if let Some(backup) = &args.backup {
        bring_back(&args.dir.dir, backup, args.keys.as_deref())?;
    }
    let directory =
        args.dir.dir.canonicalize().map_err(|_| Error::new(ErrorCode::ConfigInvalid, "the directory doesn't exist"))?;
    let config = Config::load(&directory)?;
    let _lock = lock(&directory)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|_| Error::new(ErrorCode::Internal, "no runtime can be started"))?;
    let told = runtime.block_on(restore(&directory, &config, args))?;
    runtime.shutdown_timeout(Duration::from_secs(2));
    told.print(output);
    Ok(())
}

/// Copies a backup into its place, which must be empty; one that is there already is left.
fn bring_back(directory: &Path, from: &Path, keys: Option<&Path>) -> Result<()> {
    let told = std::fs::read(from.join(BACKUP_FILE))
        .map_err(|_| Error::new(ErrorCode::NotFound, format!("`{}` holds no `{BACKUP_FILE}`", from.display())))?;
    let (target, building) = backup::places(directory, UNFINISHED)?;
    if std::fs::read(target.join(BACKUP_FILE)).is_ok_and(|there| there == told) {
        return Ok(());
    }
    if std::fs::read_dir(&target).is_ok_and(|mut entries| entries.next().is_some()) {
        let detail = format!("`{}` isn't empty: move it away first", directory.display());
        return Err(Error::new(ErrorCode::AlreadyExists, detail));
    }
    backup::clear(&building)?;
    backup::copy_tree(from, &building, &[])?;
    match keys {
        Some(keys) => {
            let of_vault = vault::take_keys(keys, &building.join(vault::FOLDER))?;
            let of_vault: Vec<&str> = of_vault.iter().map(String::as_str).collect();
            backup::copy_tree(keys, &building.join(KEYS), &of_vault)?;
            // As in a directory, where the vault lies beside the private keys.
            if let Some(beside) = keys.parent() {
                vault::take_keys(&beside.join(vault::FOLDER), &building.join(vault::FOLDER))?;
            }
        }
        None if building.join(KEYS).is_dir() => {}
        None => {
            let detail = "the backup holds no private keys; name the directory that does (`--keys`)";
            return Err(Error::new(ErrorCode::KeyInvalid, detail));
        }
    }
    vault::require_key(&building.join(vault::FOLDER))?;
    backup::require_verified(&building)?;
    match std::fs::remove_dir(&target) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(io_error(&e)),
        _ => {}
    }
    backup::put(&building, &target)
}

/// What a restore came to.
struct Told {
    origin: String,
    size: u64,
    elsewhere: Elsewhere,
    // Entries that are lost; none where the same log goes on.
    lost: Option<u64>,
}

impl Told {
    fn print(&self, output: &Output) {
        let silent = &self.elsewhere.silent;
        if output.json {
            let next = self.lost.is_some();
            return output.answer(&json!({"origin": self.origin, "entries": self.size, "next_generation": next, "lost": self.lost, "asked": self.elsewhere.asked, "silent": silent}));
        }
        let entries = self.size.to_string();
        match self.lost {
            None => {
                output.say("restore.goes_on", &[("entries", &entries), ("asked", &self.elsewhere.asked.join(", "))])
            }
            Some(lost) => {
                let lost = lost.to_string();
                output.say("restore.next", &[("origin", &self.origin), ("entries", &entries), ("lost", &lost)]);
            }
        }
        if !silent.is_empty() {
            output.say("restore.silent", &[("silent", &silent.join(", "))]);
        }
    }
}

async fn restore(directory: &Path, config: &Config, args: &RestoreArgs) -> Result<Told> {
    let prepared = prepare(directory, config)?;
    let places = Places::of(directory);
    if places.is_unfinished() && !places.has_next() {
        // The logs are in their places, or the next one was never begun: only the mark is left.
        places.finish()?;
    }
    let is_newest = newest_register(&prepared).await;
    take_register(&prepared, directory, args.register.as_deref())?;
    let (parts, own) = (&prepared.parts, own(&prepared)?);
    let begun = if places.has_next() { begun(parts, &places, &own)? } else { None };
    if let Some(begun) = begun.as_ref().filter(|begun| is_confirmed(&own, begun)) {
        return end(directory, &places, begun, Elsewhere::default());
    }
    require_log_in_force(directory, &own)?;
    let closing = closing(directory, parts, &own, args.next_generation)?;
    let (size, elsewhere) = (closing.reader().size(), succession::ask(parts, &prepared.asked, &closing).await?);
    require_not_closed(directory, &own, &elsewhere)?;
    let others = require_nobody_holds_more(directory, size, &elsewhere);
    if !args.next_generation || (others.is_ok() && elsewhere.silent.is_empty()) {
        others?;
        require_newest(is_newest)?;
        places.forget_next()?;
        forget_backup(directory)?;
        return Ok(Told { origin: own.log_origin, size, elsewhere, lost: None });
    }
    let is_of_this = |begun: &Begun| {
        let root = Digest::from_bytes(closing.reader().root().0);
        begun.body.size == size && begun.body.root == root && begun.body.held >= elsewhere.held(size)
    };
    let begun = match begun {
        Some(begun) if is_of_this(&begun) => begun,
        begun => {
            require_known(begun.as_ref(), is_newest)?;
            places.forget_next()?;
            succession::begin(parts, &closing, elsewhere.clone(), backup_of(directory)?, SystemClock.now()).await?;
            let identity = parts.identity_of(&next_origin(&own.log_origin)?)?;
            let damaged = || Error::new(ErrorCode::LogDamaged, "the next log can't be read");
            Begun::read(&places.next(), identity)?.ok_or_else(damaged)?
        }
    };
    drop(closing);
    let (request, text) = succession::request(parts, &begun, SystemClock.now())?;
    let register = confirmed(&prepared, directory, config, text).await?;
    succession::confirm(parts, &request, &register)?;
    end(directory, &places, &begun, elsewhere)
}

/// The log at its end. One that lost entries which its own checkpoint covers is closed at what is left,
/// where the next one is asked for; the checkpoint is kept as a head that was shown.
fn closing(directory: &Path, parts: &Parts, own: &Participant, next_generation: bool) -> Result<Closing> {
    let opened = Closing::open(directory, &parts.generations()?, parts.identity()?);
    let lost = match opened {
        Err(error) if error.code == ErrorCode::LogTailLost && next_generation => error,
        opened => return opened,
    };
    let kept = Kept::open(&directory.join("trust"))?;
    let mut heads = kept.superseding();
    if let Some((size, note)) = succession::own_head(directory, own)? {
        heads.retain(|head| head.by != own.id.as_str());
        heads.push(HeldHead { by: own.id.to_string(), size, note: Some(note) });
    }
    kept.note_superseded(&lost.detail, &heads, SystemClock.now())?;
    Closing::open_without_end(directory, &parts.generations()?, parts.identity()?)
}

/// A log goes on only if it is known to be the one in force: the register of a backup is an older one.
fn require_newest(is_newest: bool) -> Result<()> {
    if is_newest {
        return Ok(());
    }
    let detail = "whether this log is still the one in force isn't known: the authority can't be asked";
    Err(Error::new(ErrorCode::PeerUnavailable, detail))
}

/// A next log that was begun isn't forgotten while it may have been confirmed: then it is the one,
/// whatever else was found since.
fn require_known(begun: Option<&Begun>, is_newest: bool) -> Result<()> {
    if begun.is_none() || is_newest {
        return Ok(());
    }
    let detail = "whether the authority confirmed the next log that was begun isn't known";
    Err(Error::new(ErrorCode::PeerUnavailable, detail))
}

/// Puts the logs in their places.
fn end(directory: &Path, places: &Places, begun: &Begun, elsewhere: Elsewhere) -> Result<Told> {
    places.change(&begun.body.origin)?;
    forget_backup(directory)?;
    let origin = next_origin(&begun.body.origin)?;
    Ok(Told { origin, size: begun.body.size, elsewhere, lost: Some(begun.body.lost) })
}

fn own(prepared: &Prepared) -> Result<Participant> {
    let me = &prepared.parts.settings.participant;
    let own = prepared.register.load().participant(me).cloned();
    own.ok_or_else(|| Error::new(ErrorCode::ParticipantUnknown, format!("`{me}` is not in the register")))
}

/// The next log that an earlier run began: of the log in force, or, once the register names it, itself.
fn begun(parts: &Parts, places: &Places, own: &Participant) -> Result<Option<Begun>> {
    let next = parts.identity_of(&next_origin(&own.log_origin)?)?;
    match Begun::read(&places.next(), next) {
        Err(error) if own.closed_logs.is_empty() => Err(error),
        Err(_) => Begun::read(&places.next(), parts.identity()?),
        read => read,
    }
}

/// Does the register name this next log?
fn is_confirmed(own: &Participant, begun: &Begun) -> bool {
    own.closed_logs.last().is_some_and(|log| log.origin == begun.body.origin && log.genesis == begun.leaf)
}

/// What was brought back must be of the log that the register names.
fn require_log_in_force(directory: &Path, own: &Participant) -> Result<()> {
    let Some(closed) = own.closed_logs.last() else { return Ok(()) };
    if generation_dir(directory, generation_of(&closed.origin)?).join("log").exists() {
        return Ok(());
    }
    let detail =
        format!("this is of the log `{}`, which is closed: bring back one of `{}`", closed.origin, own.log_origin);
    Err(Error::new(ErrorCode::OwnLogForked, detail))
}

/// Whoever keeps a head of a later log shows that this one was closed, whatever the register here says.
fn require_not_closed(directory: &Path, own: &Participant, elsewhere: &Elsewhere) -> Result<()> {
    let Some((origin, by)) = &elsewhere.later else { return Ok(()) };
    let detail =
        format!("this is of `{}`, and `{by}` keeps a checkpoint of `{origin}`: bring back one of that", own.log_origin);
    superseded(directory, &detail, elsewhere)?;
    Err(Error::new(ErrorCode::OwnLogForked, detail))
}

/// Notes what others showed: they may be away when this is run again.
fn superseded(directory: &Path, detail: &str, elsewhere: &Elsewhere) -> Result<()> {
    Kept::open(&directory.join("trust"))?.note_superseded(detail, &elsewhere.heads, SystemClock.now())
}

fn require_nobody_holds_more(directory: &Path, size: u64, elsewhere: &Elsewhere) -> Result<()> {
    if !elsewhere.heads.is_empty() {
        let shown = |head: &HeldHead| format!("`{}` holds {}", head.by, head.size);
        let heads: Vec<String> = elsewhere.heads.iter().map(shown).collect();
        let detail = format!("{size} entries were brought back, and {}", heads.join(", "));
        superseded(directory, &detail, elsewhere)?;
        return Err(Error::new(ErrorCode::OwnLogForked, detail));
    }
    if directory.join("trust").join(SUPERSEDED).exists() {
        let detail = format!("somebody showed before that they hold more (`trust/{SUPERSEDED}`)");
        return Err(Error::new(ErrorCode::OwnLogForked, detail));
    }
    Ok(())
}

fn backup_of(directory: &Path) -> Result<Option<Digest>> {
    match std::fs::read(directory.join(BACKUP_FILE)) {
        Ok(bytes) => Ok(Some(Digest::of(&bytes))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(io_error(&e)),
    }
}

fn forget_backup(directory: &Path) -> Result<()> {
    match std::fs::remove_file(directory.join(BACKUP_FILE)) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(io_error(&e)),
        _ => sync_directory(directory).map_err(|e| io_error(&e)),
    }
}

/// Takes the authority's newest register, where it can be reached in time: a backup has an older one.
async fn newest_register(prepared: &Prepared) -> bool {
    let Some(follower) = prepared.follower.clone() else { return true };
    let member = Member(follower);
    match tokio::time::timeout(Duration::from_millis(HEADS_ASKED_MS_MAX), member.refresh()).await {
        Ok(Ok(())) => return true,
        Ok(Err(error)) => tracing::warn!(code = error.code.as_str(), "no newer register: {}", error.detail),
        Err(_) => tracing::warn!("no newer register: no answer in time"),
    }
    false
}

/// An authority goes on from the newest register that a member holds: from the older one of a backup it
/// would sign other versions than those that members have seen, without what was changed in between.
fn take_register(prepared: &Prepared, directory: &Path, from: Option<&Path>) -> Result<()> {
    if !prepared.keys.set().is_authority() {
        let needless = || Error::malformed("a member's register comes from its authority, and not from a file");
        return if from.is_none() { Ok(()) } else { Err(needless()) };
    }
    let Some(from) = from else {
        let detail = "members may hold a newer register than the one that was brought back: name the newest that any \
                      of them has, a copy of its `trust/register.json` (`--register`), and the one brought back where \
                      nobody has a newer one";
        return Err(Error::new(ErrorCode::RestoreUnfinished, detail));
    };
    let unreadable = |_| Error::new(ErrorCode::NotFound, format!("`{}` can't be read", from.display()));
    let mut bytes = Vec::new();
    let file = std::fs::File::open(from).map_err(unreadable)?;
    file.take(REGISTER_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    let Some(newer) = newer(&prepared.register.load(), &bytes)? else { return Ok(()) };
    write_file(&directory.join("trust").join(REGISTER_FILE), &bytes)?;
    prepared.register.replace(newer).map(|_| ())
}

/// The register of these bytes, if it is newer than this one; one of them must follow the other.
fn newer(current: &VerifiedRegister, bytes: &[u8]) -> Result<Option<VerifiedRegister>> {
    let given = VerifiedRegister::verify_bytes(bytes, current.authority(), None)?;
    if given.version() > current.version() {
        return VerifiedRegister::verify_bytes(bytes, current.authority(), Some(current)).map(Some);
    }
    // So it is when a run that signed the next version is made again.
    VerifiedRegister::verify(&current.signed(), current.authority(), Some(&given)).map(|_| None)
}

/// The register in which the authority names the next log; an authority names its own.
async fn confirmed(prepared: &Prepared, directory: &Path, config: &Config, text: String) -> Result<Vec<u8>> {
    if let Some(authority) = &config.authority {
        return prepared.peers.succeed(&authority.participant, text).await;
    }
    let (me, register) = (&config.participant, prepared.register.clone());
    let authority = Authority::open(directory, &config.space, me, prepared.keys.set().clone(), register)?;
    authority.succeed(me, &text, None, SystemClock.now())?;
    authority.signed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::keys::SigningKey;
    use crate::trust::testing::{World, at, id};
    use perron_model::canonical;
    use perron_model::participant::Status;
    use perron_model::register::SignedRegister;

    #[test]
    fn the_newer_of_two_registers_is_gone_on_from_where_one_follows_the_other() {
        let mut world = World::new(&["huy", "seraing"]);
        let key = SigningKey::from_seed(&world.authority_key().seed());
        let copy = world.verified();
        let mut behind = world.register.clone();
        world.register.set_status(&id("seraing"), Status::Suspended, at(10), &key).unwrap();
        let held = world.register.resign(at(20), &key).unwrap();
        let bytes = |signed: &SignedRegister| canonical::to_bytes(signed).unwrap();
        let taken = newer(&copy, &bytes(&held)).unwrap().unwrap();
        assert_eq!(taken.version(), copy.version() + 2);
        assert_eq!(taken.participant(&id("seraing")).unwrap().status, Status::Suspended);
        // The same, and an older one, leave what is there.
        assert!(newer(&copy, &bytes(&copy.signed())).unwrap().is_none());
        assert!(newer(&taken, &bytes(&copy.signed())).unwrap().is_none());
        // What was signed from behind what members hold follows nothing of theirs, and isn't followed.
        let other = behind.resign(at(30), &key).unwrap();
        let forked = VerifiedRegister::verify(&other, &key.public(), None).unwrap();
        for (current, given) in [(&forked, bytes(&held)), (&taken, bytes(&other))] {
            assert_eq!(newer(current, &given).unwrap_err().code, ErrorCode::RegisterInvalid);
        }
        let stranger = World::new(&["huy"]).verified();
        assert!(newer(&copy, &bytes(&stranger.signed())).is_err());
        assert!(newer(&copy, b"{}").is_err());
    }

    #[test]
    fn what_others_showed_is_remembered_when_they_are_away() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("trust")).unwrap();
        let nobody = Elsewhere::default();
        require_nobody_holds_more(folder.path(), 50, &nobody).unwrap();
        let head = HeldHead { by: "inter".to_owned(), size: 57, note: None };
        let shown = Elsewhere { heads: vec![head], ..Elsewhere::default() };
        for elsewhere in [shown, nobody] {
            let refused = require_nobody_holds_more(folder.path(), 50, &elsewhere).unwrap_err();
            assert_eq!(refused.code, ErrorCode::OwnLogForked);
        }
    }

    #[test]
    fn a_log_of_which_somebody_keeps_the_next_one_does_not_go_on() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("trust")).unwrap();
        let register = World::new(&["huy"]).verified();
        let own = register.participant(&id("huy")).unwrap();
        require_not_closed(folder.path(), own, &Elsewhere::default()).unwrap();
        let later = Some(("liege/huy/2".to_owned(), "seraing".to_owned()));
        let refused = require_not_closed(folder.path(), own, &Elsewhere { later, ..Elsewhere::default() }).unwrap_err();
        assert_eq!(refused.code, ErrorCode::OwnLogForked);
        assert!(folder.path().join("trust").join(SUPERSEDED).exists());
        assert_eq!(require_newest(false).unwrap_err().code, ErrorCode::PeerUnavailable);
        require_newest(true).unwrap();
    }
}
