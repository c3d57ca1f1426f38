//! Opening a log: what was durable is found, made durable again, and what is
//! derived is rebuilt; or the log is refused without touching it.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};

use crate::checkpoint::Checkpoint;
use crate::error::LogError;
use crate::files::{FileLayer, read_file, read_file_if_any};
use crate::keys::{KeyKind, Verifier};
use crate::layout::Layout;
use crate::limits::{COPY_BYTES_STEP, LOG_KEYS_MAX, NOTE_BYTES_MAX, RECORD_BYTES_MAX, SEGMENT_BYTES_MIN, TILE_WIDTH};
use crate::merkle::Hash;
use crate::note::{NoteSigner, check_name};
use crate::placing::TEMPORARY_PREFIX;
use crate::quarantine::quarantine_name;
use crate::reader::{Durable, LogReader, Shared};
use crate::scan::{Published, Scan, ScanContext, Torn, scan};
use crate::segment::FILE_HEADER_BYTES_MAX;
use crate::tile::{FULL_WIDTH, TileKind, TileName, kinds};
use crate::walk::{Found, walk};
use crate::writer::{Log, LogSettings, OpenSegment};

/// What opening found and did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// Leaves of the log.
    pub size: u64,
    /// Leaf from which the segments were read; what is before was taken from
    /// the published tiles, which lead to the published root.
    pub scanned_from: u64,
    /// A torn last record, now in quarantine. The owner asks witnesses and
    /// partners for their heads, and appends an entry that says so.
    pub torn: Option<TornTail>,
    /// Bytes after the published checkpoint that were written again in place
    /// and synced.
    pub rewritten_bytes: u64,
    /// Derived files that lagged and were made again.
    pub files_rebuilt: u64,
    /// Tiles of other sizes than the published one, left by an interrupted
    /// publication, that were removed.
    pub tiles_removed: u64,
}

/// Bytes that were moved away from the end of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The segment file.
    pub segment: PathBuf,
    /// Where they began, in bytes.
    pub offset: u64,
    /// How many they are.
    pub length: u64,
    /// Their SHA-256.
    pub digest: Hash,
    /// The file that holds them now.
    pub quarantined: PathBuf,
}

/// What a log holds, read without changing anything: so that witnesses and
/// partners can be asked for their heads of it before a torn record is moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// The newest whole batch's checkpoint.
    pub checkpoint: Checkpoint,
    /// Bytes at the end that are no whole record: segment, offset, length.
    pub torn: Option<(PathBuf, u64, u64)>,
    /// The newest leaf; none of an empty log.
    pub newest: Option<Vec<u8>>,
}

/// What lies under `log/` before it is opened.
#[derive(Default)]
struct Inventory {
    first_leaves: Vec<u64>,
    tiles: Vec<TileName>,
}

/// What a log's checkpoint file and its tiles say of its end.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Derived {
    /// Where they lead the segments, entries are gone.
    Binds,
    /// Nothing: they are made anew of what the segments hold.
    MadeAnew,
}

pub(crate) fn open(
    files: Arc<dyn FileLayer>,
    layout: Layout,
    settings: LogSettings,
    known_heads: &[Checkpoint],
    derived: Derived,
) -> Result<(Log, Recovered), LogError> {
    check_settings(&settings)?;
    let keys = settings.known_keys();
    let inventory = take_inventory(&*files, &layout)?;
    let published = match derived {
        Derived::Binds => read_published(&*files, &layout, &settings.origin, &keys)?,
        Derived::MadeAnew => None,
    };
    let context = ScanContext {
        files: &*files,
        layout: &layout,
        origin: &settings.origin,
        generation: settings.generation,
        keys: &keys,
        published: published.as_ref(),
    };
    let mut scan = scan(&context, &inventory.first_leaves)?;
    if derived == Derived::Binds {
        refuse_lost_tail(&scan, &inventory, published.as_ref(), known_heads, &settings)?;
    }

    let published_size = published.as_ref().map_or(0, |head| head.size);
    let shared = share(files, layout, &settings, &mut scan, published_size)?;
    refuse_forks(&shared, known_heads, &settings.origin)?;

    // From here on files are changed.
    make_dirs(&shared)?;
    let torn = scan.torn.take().map(|torn| quarantine(&shared, &torn)).transpose()?;
    drop_stale_header(&shared, &settings, &mut scan)?;
    let rewritten_bytes = rewrite_tail(&shared, scan.synced_to)?;
    let file = reopen_last(&shared, &settings, &scan)?;
    let size = scan.frontier.size();
    let (files_rebuilt, tiles_removed) = match mend_derived(&shared, &inventory, published_size, size) {
        // What is derived can wait: entries that explain a full disk can't.
        Err(LogError::NoSpace) => (0, 0),
        mended => mended?,
    };
    let recovered =
        Recovered { size, scanned_from: scan.scanned_from, torn, rewritten_bytes, files_rebuilt, tiles_removed };
    let log = Log {
        shared,
        settings,
        frontier: scan.frontier,
        next_batch: scan.next_batch,
        previous: scan.previous,
        previous_before_header: scan.previous_before_header,
        next_segment: scan.next_segment,
        file,
        spare: Vec::new(),
        is_poisoned: false,
    };
    Ok((log, recovered))
}

pub(crate) fn survey(
    files: Arc<dyn FileLayer>,
    layout: Layout,
    settings: &LogSettings,
    known_heads: &[Checkpoint],
) -> Result<Survey, LogError> {
    let (reader, torn) = look(files, layout, settings, known_heads)?;
    let checkpoint = reader.checkpoint();
    let newest = checkpoint.size.checked_sub(1).map(|last| reader.leaf(last)).transpose()?;
    Ok(Survey { checkpoint, torn: torn.map(|torn| (torn.path, torn.offset, torn.length)), newest })
}

pub(crate) fn read(
    files: Arc<dyn FileLayer>,
    layout: Layout,
    settings: &LogSettings,
    known_heads: &[Checkpoint],
) -> Result<LogReader, LogError> {
    look(files, layout, settings, known_heads).map(|(reader, _)| reader)
}

/// What is whole in a log, and the bytes at its end that aren't. Nothing is changed.
fn look(
    files: Arc<dyn FileLayer>,
    layout: Layout,
    settings: &LogSettings,
    known_heads: &[Checkpoint],
) -> Result<(LogReader, Option<Torn>), LogError> {
    check_settings(settings)?;
    let keys = settings.known_keys();
    let inventory = take_inventory(&*files, &layout)?;
    let published = read_published(&*files, &layout, &settings.origin, &keys)?;
    let context = ScanContext {
        files: &*files,
        layout: &layout,
        origin: &settings.origin,
        generation: settings.generation,
        keys: &keys,
        published: published.as_ref(),
    };
    let mut scan = scan(&context, &inventory.first_leaves)?;
    refuse_lost_tail(&scan, &inventory, published.as_ref(), known_heads, settings)?;
    let torn = scan.torn.take();
    let shared = share(files, layout, settings, &mut scan, published.as_ref().map_or(0, |head| head.size))?;
    refuse_forks(&shared, known_heads, &settings.origin)?;
    Ok((LogReader { shared }, torn))
}

pub(crate) fn check_settings(settings: &LogSettings) -> Result<(), LogError> {
    let refuse = |why: &str| Err(LogError::Settings(why.to_owned()));
    check_name(&settings.origin)?;
    if !settings.origin.ends_with(&format!("/{}", settings.generation)) {
        return refuse("the origin does not end in its generation");
    }
    if settings.signers.is_empty() || settings.signers.len() > LOG_KEYS_MAX {
        return refuse("a log has one to four keys in force");
    }
    let mut fingerprints = settings.fingerprints();
    fingerprints.sort_unstable();
    fingerprints.dedup();
    if fingerprints.len() != settings.signers.len() {
        return refuse("a log key is named twice");
    }
    if settings.known_keys().iter().any(|key| key.kind() != KeyKind::Ed25519) {
        return refuse("a log key is not of the type that signs checkpoints");
    }
    if settings.segment_bytes < SEGMENT_BYTES_MIN {
        return refuse("segments would be too small");
    }
    Ok(())
}

fn take_inventory(files: &dyn FileLayer, layout: &Layout) -> Result<Inventory, LogError> {
    let mut inventory = Inventory::default();
    walk(files, layout.log_dir(), &mut |found| match found {
        Found::Segment(first_leaf) => inventory.first_leaves.push(first_leaf),
        Found::Tile(name) => inventory.tiles.push(name),
        Found::Checkpoint | Found::Stray(_) => {}
    })
    .map_err(LogError::io(layout.log_dir()))?;
    inventory.first_leaves.sort_unstable();
    inventory.tiles.sort_unstable();
    Ok(inventory)
}

fn read_published(
    files: &dyn FileLayer,
    layout: &Layout,
    origin: &str,
    keys: &[Verifier],
) -> Result<Option<Published>, LogError> {
    let path = layout.checkpoint();
    let bytes = read_file_if_any(files, &path, NOTE_BYTES_MAX).map_err(LogError::io(&path))?;
    let Some(bytes) = bytes else { return Ok(None) };
    let damaged = |detail: String| LogError::damaged(&path, 0, detail);
    let note = String::from_utf8(bytes).map_err(|_| damaged("not UTF-8".to_owned()))?;
    let opened = Checkpoint::open(&note, origin, keys, &[]).map_err(|error| damaged(error.to_string()))?;
    let Checkpoint { size, root, .. } = opened.checkpoint;
    Ok(Some(Published { size, root, note }))
}

/// Anything that leads the segments has seen entries that are gone.
fn refuse_lost_tail(
    scan: &Scan,
    inventory: &Inventory,
    published: Option<&Published>,
    known_heads: &[Checkpoint],
    settings: &LogSettings,
) -> Result<(), LogError> {
    let held = scan.frontier.size();
    let beside = (settings.seen > 0).then(|| ("what is kept beside the log".to_owned(), settings.seen));
    let checkpoint = published.map(|head| ("the checkpoint file".to_owned(), head.size));
    let tiles = inventory
        .tiles
        .iter()
        .map(|name| (name.path(), name.end_size().unwrap_or(u64::MAX)))
        .max_by_key(|(_, seen)| *seen);
    let of_ours = known_heads.iter().filter(|head| head.origin == settings.origin);
    let heads = of_ours.map(|head| ("a kept checkpoint".to_owned(), head.size));
    let largest = checkpoint.into_iter().chain(tiles).chain(heads).chain(beside).max_by_key(|(_, seen)| *seen);
    match largest {
        Some((seen_by, seen)) if seen > held => Err(LogError::TailLost { seen_by, seen, held }),
        _ => Ok(()),
    }
}

fn share(
    files: Arc<dyn FileLayer>,
    layout: Layout,
    settings: &LogSettings,
    scan: &mut Scan,
    published: u64,
) -> Result<Arc<Shared>, LogError> {
    let checkpoint = Checkpoint::new(&settings.origin, scan.frontier.size(), scan.frontier.root());
    let note = if let Some(note) = scan.last_note.take() {
        note
    } else {
        let signers: Vec<&dyn NoteSigner> = settings.signers.iter().map(|signer| &**signer).collect();
        checkpoint.sign(&signers)?.to_string()
    };
    let durable = Durable {
        tree: std::mem::take(&mut scan.tree),
        checkpoint,
        note,
        segments: std::mem::take(&mut scan.segments),
        published,
        edition: 0,
    };
    let publishing = Mutex::new(());
    Ok(Arc::new(Shared { files, layout, durable: RwLock::new(durable), publishing }))
}

fn refuse_forks(shared: &Arc<Shared>, known_heads: &[Checkpoint], origin: &str) -> Result<(), LogError> {
    let reader = LogReader { shared: shared.clone() };
    for head in known_heads.iter().filter(|head| head.origin == origin) {
        if reader.root_at(head.size)? != head.root {
            return Err(LogError::Forked { size: head.size });
        }
    }
    Ok(())
}

fn make_dirs(shared: &Shared) -> Result<(), LogError> {
    let layout = &shared.layout;
    let segments = layout.segment_dir();
    let dirs = [layout.log_dir(), segments.as_path(), layout.quarantine_dir(), layout.temporary_dir()];
    for dir in dirs {
        shared.files.create_dirs(dir).map_err(LogError::io(dir))?;
    }
    // A folder that was there may be of a life that ended before its name was durable.
    let parents: BTreeSet<&Path> = dirs.iter().filter_map(|dir| dir.parent()).collect();
    for parent in parents.into_iter().filter(|parent| !parent.as_os_str().is_empty()) {
        shared.files.sync_dir(parent).map_err(LogError::io(parent))?;
    }
    let temporary = layout.temporary_dir();
    for entry in shared.files.list(temporary).map_err(LogError::io(temporary))? {
        let is_ours = entry.name.to_str().is_some_and(|name| name.starts_with(TEMPORARY_PREFIX));
        if is_ours {
            let path = temporary.join(&entry.name);
            shared.files.remove(&path).map_err(LogError::io(&path))?;
        }
    }
    // The name of the last segment may not be durable yet.
    shared.files.sync_dir(&segments).map_err(LogError::io(&segments))
}

/// Moves torn bytes away: the copy is durable before they are cut off.
fn quarantine(shared: &Shared, torn: &Torn) -> Result<TornTail, LogError> {
    let files = &shared.files;
    let length = usize::try_from(torn.length)
        .ok()
        .filter(|length| *length <= RECORD_BYTES_MAX.max(FILE_HEADER_BYTES_MAX))
        .ok_or_else(|| LogError::damaged(&torn.path, torn.offset, "too long for a tear"))?;
    let mut bytes = vec![0; length];
    let read = files
        .open_read(&torn.path)
        .and_then(|file| file.read_at(torn.offset, &mut bytes))
        .map_err(LogError::io(&torn.path))?;
    bytes.truncate(read);
    let digest = Hash::of(&bytes);
    let dir = shared.layout.quarantine_dir();
    let quarantined = dir.join(quarantine_name(&torn.path, torn.offset, &digest));
    remove_if_any(&**files, &quarantined)?;
    files
        .create(&quarantined)
        .and_then(|mut copy| {
            copy.write_at(0, &bytes)?;
            copy.sync_data()
        })
        .and_then(|()| files.sync_dir(dir))
        .map_err(LogError::io(&quarantined))?;
    cut(shared, &torn.path, torn.offset)?;
    let (segment, offset, length) = (torn.path.clone(), torn.offset, torn.length);
    Ok(TornTail { segment, offset, length, digest, quarantined })
}

/// Cuts a segment at an offset; at 0, where not even its header is whole, the
/// file goes.
fn cut(shared: &Shared, path: &Path, offset: u64) -> Result<(), LogError> {
    let files = &shared.files;
    if offset == 0 {
        let dir = shared.layout.segment_dir();
        return files.remove(path).and_then(|()| files.sync_dir(&dir)).map_err(LogError::io(path));
    }
    files
        .open_write(path)
        .and_then(|mut file| {
            file.truncate(offset)?;
            file.sync_data()
        })
        .map_err(LogError::io(path))
}

fn remove_if_any(files: &dyn FileLayer, path: &Path) -> Result<(), LogError> {
    match files.remove(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(LogError::io(path)(error)),
        _ => Ok(()),
    }
}

/// A last file with a header and no record, made under other keys than those
/// in force now: it holds nothing, and its name is needed for its successor.
fn drop_stale_header(shared: &Shared, settings: &LogSettings, scan: &mut Scan) -> Result<(), LogError> {
    let mut durable = shared.write();
    let is_stale = scan.last_keys != settings.fingerprints()
        && durable.segments.last().is_some_and(|last| last.first_leaf == scan.frontier.size());
    let Some(last) = durable.segments.pop_if(|_| is_stale) else { return Ok(()) };
    scan.previous = scan.previous_before_header;
    scan.next_segment -= 1;
    cut(shared, &last.path, 0)
}

/// After a kill, bytes may be in the page cache only, and a sync that failed
/// then isn't tried again by the system: so they are written again in place.
fn rewrite_tail(shared: &Shared, synced_to: Option<(u64, u64)>) -> Result<u64, LogError> {
    let segments = shared.read().segments.clone();
    let mut rewritten = 0;
    for segment in segments {
        let from = match synced_to {
            Some((first_leaf, _)) if segment.first_leaf < first_leaf => continue,
            Some((first_leaf, offset)) if segment.first_leaf == first_leaf => offset,
            _ => 0,
        };
        let io = |error| LogError::io(&segment.path)(error);
        let source = shared.files.open_read(&segment.path).map_err(io)?;
        let mut target = shared.files.open_write(&segment.path).map_err(io)?;
        let mut buffer = vec![0; COPY_BYTES_STEP];
        let mut offset = from;
        while offset < segment.durable_bytes {
            let left = usize::try_from(segment.durable_bytes - offset).unwrap_or(usize::MAX);
            let step = buffer.get_mut(..left.min(COPY_BYTES_STEP)).unwrap_or_default();
            let read = source.read_at(offset, step).map_err(io)?;
            let bytes = step.get(..read).filter(|bytes| !bytes.is_empty());
            let bytes =
                bytes.ok_or_else(|| LogError::damaged(&segment.path, offset, "it became shorter while it was read"))?;
            target.write_at(offset, bytes).map_err(io)?;
            offset += read as u64;
        }
        target.sync_data().map_err(io)?;
        rewritten += offset.saturating_sub(from);
    }
    Ok(rewritten)
}

fn reopen_last(shared: &Shared, settings: &LogSettings, scan: &Scan) -> Result<Option<OpenSegment>, LogError> {
    // Other keys in force: the next append begins a file that names them.
    if scan.last_keys != settings.fingerprints() {
        return Ok(None);
    }
    let last = shared.read().segments.last().cloned();
    last.map(|last| {
        let file = shared.files.open_write(&last.path).map_err(LogError::io(&last.path))?;
        Ok(OpenSegment { file, durable_bytes: last.durable_bytes })
    })
    .transpose()
}

/// Publishes what the segments hold and removes what belongs to other trees;
/// gives how many files were written and removed.
fn mend_derived(shared: &Shared, inventory: &Inventory, published: u64, size: u64) -> Result<(u64, u64), LogError> {
    let rebuilt = shared.publish_from(published)? + rebuild(shared, inventory, published)?;
    let mut removed = 0;
    for name in inventory.tiles.iter().filter(|name| !name.belongs_to(size)) {
        shared.remove_tile(name)?;
        removed += 1;
    }
    Ok((rebuilt, removed))
}

/// Makes full tiles again that are missing although the checkpoint that was
/// published covers them; but bundles of which entries were pruned are gone
/// for good.
fn rebuild(shared: &Shared, inventory: &Inventory, published: u64) -> Result<u64, LogError> {
    let held_of = |kind| {
        let tiles = inventory.tiles.iter().filter(move |name| name.kind == kind && name.width == FULL_WIDTH);
        tiles.filter(move |name| name.belongs_to(published)).map(|name| name.index)
    };
    let full_of = |kind: TileKind| kind.items(published) / TILE_WIDTH as u64;
    let hashes = kinds(published).into_iter().filter(|kind| *kind != TileKind::Entries);
    if hashes.into_iter().any(|kind| (held_of(kind).count() as u64) < full_of(kind)) {
        return shared.publish_from(0);
    }
    // Names are in order, so those that lie between two that are there are missing.
    let mut next = 0;
    let mut missing = Vec::new();
    for index in held_of(TileKind::Entries).chain([full_of(TileKind::Entries)]) {
        if index > next {
            missing.push(next..index);
        }
        next = index.saturating_add(1);
    }
    shared.write_missing_bundles(missing)
}

/// Reads the checkpoint file as it is, for owners that serve it.
///
/// # Errors
/// [`LogError::Io`].
pub fn read_checkpoint_file(files: &dyn FileLayer, layout: &Layout) -> Result<Vec<u8>, LogError> {
    let path = layout.checkpoint();
    read_file(files, &path, NOTE_BYTES_MAX).map_err(LogError::io(&path))
}
