//! The one writer: a batch is one record, one write, one flush.

use std::sync::Arc;

use crate::checkpoint::Checkpoint;
use crate::error::{LogError, is_no_space};
use crate::files::{FileLayer, WriteAt};
use crate::keys::Verifier;
use crate::layout::Layout;
use crate::limits::{
    BATCH_ATTACHMENTS_MAX, BATCH_LEAVES_MAX, LEAF_BYTES_MAX, RECORD_BYTES_MAX, SEGMENT_BYTES_MAX, SPARE_BYTES_MAX,
    TREE_LEAVES_MAX,
};
use crate::merkle::{Frontier, Hash, leaf_hash};
use crate::note::NoteSigner;
use crate::prune::Pruner;
use crate::publish::Publisher;
use crate::quarantine::quarantined;
use crate::reader::{LogReader, SegmentMeta, Shared};
use crate::recover::{self, Derived, Recovered, Survey, TornTail};
use crate::segment::{Attachment, FileHeader, NewEntry, encode_record, record_bytes};

/// Who writes the log, and how.
pub struct LogSettings {
    /// `<authority>/<participant>/<generation>`, fixed at enrolment.
    pub origin: String,
    /// The generation, which is also the last part of the origin.
    pub generation: u64,
    /// The log keys in force, in the order of their signature lines; each
    /// signs each checkpoint. Two during a rotation.
    pub signers: Vec<Box<dyn NoteSigner>>,
    /// Keys that signed before and no longer do: their notes are still ours.
    pub former_keys: Vec<Verifier>,
    /// Size in bytes at which a new segment file is begun.
    pub segment_bytes: u64,
    /// Entries of it that what is kept beside the log has seen: a log that
    /// holds fewer has lost some.
    pub seen: u64,
}

/// A batch that is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Index of the batch's first leaf.
    pub first_index: u64,
    /// The leaves' hashes, in order.
    pub leaf_hashes: Vec<Hash>,
    /// The tree after the batch.
    pub checkpoint: Checkpoint,
    /// That checkpoint as signed.
    pub note: String,
}

/// The log, open for writing. There is one a directory: the caller holds its
/// lock.
pub struct Log {
    pub(crate) shared: Arc<Shared>,
    pub(crate) settings: LogSettings,
    pub(crate) frontier: Frontier,
    pub(crate) next_batch: u64,
    // Digest of the last record, which the next one names.
    pub(crate) previous: Hash,
    // The same before the header of the newest file, which may have to go again.
    pub(crate) previous_before_header: Hash,
    pub(crate) next_segment: u64,
    // The file being appended to; none before the first append, and when the
    // next append has to begin a new file.
    pub(crate) file: Option<OpenSegment>,
    // Memory of the newest record, for the next: pages that are given back and taken again for each
    // batch cost more than what is written in them.
    pub(crate) spare: Vec<u8>,
    pub(crate) is_poisoned: bool,
}

/// The segment file being appended to.
pub(crate) struct OpenSegment {
    pub(crate) file: Box<dyn WriteAt>,
    pub(crate) durable_bytes: u64,
}

// === impl LogSettings ===

impl LogSettings {
    /// Settings with one key, no former keys and segments of 256 MiB; nothing
    /// was seen of it.
    #[must_use]
    pub fn new(origin: &str, generation: u64, signer: Box<dyn NoteSigner>) -> Self {
        Self {
            origin: origin.to_owned(),
            generation,
            signers: vec![signer],
            former_keys: Vec::new(),
            segment_bytes: SEGMENT_BYTES_MAX,
            seen: 0,
        }
    }

    pub(crate) fn fingerprints(&self) -> Vec<Hash> {
        self.signers.iter().map(|signer| signer.verifier().fingerprint()).collect()
    }

    /// Keys whose notes are ours: those in force, then the former.
    pub(crate) fn known_keys(&self) -> Vec<Verifier> {
        let current = self.signers.iter().map(|signer| signer.verifier().clone());
        current.chain(self.former_keys.iter().cloned()).collect()
    }
}

// === impl Log ===

impl Log {
    /// Opens or begins a log. The caller has locked the data directory.
    ///
    /// `known_heads` are checkpoints of this origin that anything else here
    /// has seen (the store, cosigned heads, partners asked before opening);
    /// those of other origins are ignored. See [`Recovered`] for what is done
    /// to the files.
    ///
    /// # Errors
    /// [`LogError::TailLost`] when a head, tile or checkpoint leads the
    /// segments, [`LogError::Forked`] when a head contradicts them,
    /// [`LogError::Damaged`] when durable bytes aren't what was written: in
    /// all three nothing was changed on disk.
    pub fn open(
        files: Arc<dyn FileLayer>,
        layout: Layout,
        settings: LogSettings,
        known_heads: &[Checkpoint],
    ) -> Result<(Self, Recovered), LogError> {
        recover::open(files, layout, settings, known_heads, Derived::Binds)
    }

    /// Opens a log whose end is gone, so that it can be closed at what is left: its checkpoint file and its
    /// tiles are made anew of the segments. Whoever calls it has kept the checkpoint, which proves what
    /// was lost.
    ///
    /// # Errors
    /// As [`Log::open`], but for what those files say.
    pub fn open_without_end(
        files: Arc<dyn FileLayer>,
        layout: Layout,
        settings: LogSettings,
    ) -> Result<(Self, Recovered), LogError> {
        recover::open(files, layout, settings, &[], Derived::MadeAnew)
    }

    /// Reads what a log holds without changing anything. Where the last record
    /// is torn, the owner asks reachable witnesses and partners for their head
    /// of this log, and opens it with those as known heads. No process may be writing.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn survey(
        files: Arc<dyn FileLayer>,
        layout: Layout,
        settings: &LogSettings,
        known_heads: &[Checkpoint],
    ) -> Result<Survey, LogError> {
        recover::survey(files, layout, settings, known_heads)
    }

    /// Reads a log that nobody writes any more, or not now, without changing anything; of a torn
    /// last record nothing is seen.
    ///
    /// # Errors
    /// As [`Log::open`].
    pub fn read(
        files: Arc<dyn FileLayer>,
        layout: Layout,
        settings: &LogSettings,
        known_heads: &[Checkpoint],
    ) -> Result<LogReader, LogError> {
        recover::read(files, layout, settings, known_heads)
    }

    /// Appends a batch: returns once record and signed checkpoint are durable.
    ///
    /// # Errors
    /// [`LogError::BatchRefused`] past the bounds of a batch (nothing was
    /// written); [`LogError::NoSpace`] on a full disk (the log is as before
    /// and goes on once there is room); anything else from the file system
    /// poisons the writer, and later calls give [`LogError::Poisoned`].
    pub fn append(&mut self, entries: &[NewEntry]) -> Result<Committed, LogError> {
        if self.is_poisoned {
            return Err(LogError::Poisoned);
        }
        check_bounds(entries)?;
        let leaf_hashes: Vec<Hash> = entries.iter().map(|entry| leaf_hash(&entry.leaf)).collect();
        let mut frontier = self.frontier.clone();
        let first_index = frontier.size();
        for hash in &leaf_hashes {
            frontier.append(*hash);
        }
        if frontier.size() > TREE_LEAVES_MAX {
            return Err(LogError::BatchRefused("the tree is full"));
        }
        let checkpoint = Checkpoint::new(&self.settings.origin, frontier.size(), frontier.root());
        let signers: Vec<&dyn NoteSigner> = self.settings.signers.iter().map(|signer| &**signer).collect();
        let note = checkpoint.sign(&signers)?.to_string();
        let bytes = record_bytes(entries, note.len());
        if bytes > RECORD_BYTES_MAX {
            return Err(LogError::BatchRefused("more than 16 MiB"));
        }
        self.begin_segment_if_due(bytes as u64)?;
        let spare = std::mem::take(&mut self.spare);
        let record = encode_record(spare, self.next_batch, first_index, self.previous, entries, &note)
            .map_err(|error| LogError::BatchRefused(error.0))?;
        let offset = self.write_durably(&record.bytes)?;

        self.frontier = frontier;
        self.next_batch += 1;
        self.previous = record.digest;
        let committed = Committed { first_index, leaf_hashes, checkpoint, note };
        self.show(&committed, offset, record.bytes.len() as u64);
        if record.bytes.capacity() <= SPARE_BYTES_MAX {
            self.spare = record.bytes;
        }
        Ok(committed)
    }

    /// One write and one flush at the durable end; gives the offset.
    fn write_durably(&mut self, bytes: &[u8]) -> Result<u64, LogError> {
        // Poisoned until proven otherwise, so that no early return forgets it.
        self.is_poisoned = true;
        let Some(open) = &mut self.file else { return Err(LogError::Poisoned) };
        let offset = open.durable_bytes;
        let written = open.file.write_at(offset, bytes).and_then(|()| open.file.sync_data());
        if let Err(source) = written {
            let path = self.shared.layout.segment_dir();
            if !is_no_space(&source) {
                return Err(LogError::Io { path, source });
            }
            open.file.truncate(offset).and_then(|()| open.file.sync_data()).map_err(LogError::io(&path))?;
            self.is_poisoned = false;
            return Err(LogError::NoSpace);
        }
        open.durable_bytes = offset + bytes.len() as u64;
        self.is_poisoned = false;
        Ok(offset)
    }

    /// Lets readers see the batch: only now, after the flush.
    fn show(&self, committed: &Committed, offset: u64, bytes: u64) {
        let mut durable = self.shared.write();
        committed.leaf_hashes.iter().for_each(|hash| durable.tree.append(*hash));
        durable.checkpoint = committed.checkpoint.clone();
        durable.note.clone_from(&committed.note);
        if let Some(segment) = durable.segments.last_mut() {
            segment.note_record(committed.first_index, offset);
            segment.durable_bytes = offset + bytes;
        }
    }

    fn begin_segment_if_due(&mut self, record_bytes: u64) -> Result<(), LogError> {
        let is_due = self
            .file
            .as_ref()
            .is_none_or(|open| open.durable_bytes.saturating_add(record_bytes) > self.settings.segment_bytes);
        // A file with only its header is never due, however long the record.
        let is_empty = self
            .shared
            .read()
            .segments
            .last()
            .is_some_and(|segment| self.file.is_some() && segment.first_leaf == self.frontier.size());
        if is_due && !is_empty { self.begin_segment() } else { Ok(()) }
    }

    /// Makes a new file with its header; both file and name are durable before
    /// anything in it is acknowledged.
    fn begin_segment(&mut self) -> Result<(), LogError> {
        let header = FileHeader {
            origin: self.settings.origin.clone(),
            generation: self.settings.generation,
            segment: self.next_segment,
            first_leaf: self.frontier.size(),
            previous: self.previous,
            keys: self.settings.fingerprints(),
        };
        let record = header.encode().map_err(|error| LogError::Settings(error.to_string()))?;
        let files = &self.shared.files;
        let (dir, path) = (self.shared.layout.segment_dir(), self.shared.layout.segment(header.first_leaf));
        self.is_poisoned = true;
        let mut file = match files.create(&path) {
            Ok(file) => file,
            Err(source) if is_no_space(&source) => {
                self.is_poisoned = false;
                return Err(LogError::NoSpace);
            }
            Err(source) => return Err(LogError::Io { path, source }),
        };
        let written =
            file.write_at(0, &record.bytes).and_then(|()| file.sync_data()).and_then(|()| files.sync_dir(&dir));
        if let Err(source) = written {
            if !is_no_space(&source) {
                return Err(LogError::Io { path, source });
            }
            files.remove(&path).and_then(|()| files.sync_dir(&dir)).map_err(LogError::io(&path))?;
            self.is_poisoned = false;
            return Err(LogError::NoSpace);
        }
        self.is_poisoned = false;
        self.previous_before_header = std::mem::replace(&mut self.previous, record.digest);
        self.next_segment += 1;
        let durable_bytes = record.bytes.len() as u64;
        self.file = Some(OpenSegment { file, durable_bytes });
        let meta = SegmentMeta { first_leaf: header.first_leaf, path, durable_bytes, index: Some(Vec::new()) };
        self.shared.write().segments.push(meta);
        Ok(())
    }

    /// Closes the segment that is being written, unless it holds nothing yet:
    /// the next entry begins another, and what is in closed ones can be pruned.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub fn roll(&mut self) -> Result<(), LogError> {
        if self.is_poisoned {
            return Err(LogError::Poisoned);
        }
        let holds_some = self.shared.read().segments.last().is_some_and(|last| last.first_leaf < self.frontier.size());
        if holds_some { self.begin_segment() } else { Ok(()) }
    }

    /// Torn bytes that lie in quarantine, of this start and of earlier ones, the
    /// newest so many: a start that ended before it told of them left them to
    /// the next.
    ///
    /// # Errors
    /// As the file system says.
    pub fn quarantined(&self) -> Result<Vec<TornTail>, LogError> {
        quarantined(&self.shared)
    }

    /// A handle that prunes closed segments, from another thread while this
    /// one appends.
    #[must_use]
    pub fn pruner(&self) -> Pruner {
        Pruner::new(self.shared.clone())
    }

    /// Puts these keys in force: from the next batch on each of them signs, in this order, and that
    /// batch begins a file whose header lists them. The keys before become former ones, whose notes
    /// stay ours. Nothing is written where they are those in force already.
    ///
    /// # Errors
    /// [`LogError::Settings`] for keys that no log can have: nothing has changed then. Anything from
    /// the file system poisons the writer.
    pub fn change_keys(&mut self, signers: Vec<Box<dyn NoteSigner>>) -> Result<(), LogError> {
        if self.is_poisoned {
            return Err(LogError::Poisoned);
        }
        let (before, fingerprints) = (self.settings.known_keys(), self.settings.fingerprints());
        let is_signing = |key: &Verifier| signers.iter().any(|signer| signer.verifier() == key);
        let next = LogSettings {
            origin: self.settings.origin.clone(),
            generation: self.settings.generation,
            former_keys: before.into_iter().filter(|key| !is_signing(key)).collect(),
            signers,
            segment_bytes: self.settings.segment_bytes,
            seen: self.settings.seen,
        };
        recover::check_settings(&next)?;
        if next.fingerprints() != fingerprints {
            self.drop_empty_segment()?;
            self.file = None;
        }
        self.settings = next;
        Ok(())
    }

    /// A newest file with a header and no record, left where the disk was full, lists keys that no
    /// longer are in force and has the name of its successor.
    fn drop_empty_segment(&mut self) -> Result<(), LogError> {
        let size = self.frontier.size();
        let Some(last) = self.shared.write().segments.pop_if(|last| last.first_leaf == size) else { return Ok(()) };
        self.is_poisoned = true;
        let (files, dir) = (&self.shared.files, self.shared.layout.segment_dir());
        files.remove(&last.path).and_then(|()| files.sync_dir(&dir)).map_err(LogError::io(&last.path))?;
        self.previous = self.previous_before_header;
        self.next_segment -= 1;
        self.is_poisoned = false;
        Ok(())
    }

    /// Writes what is derived: tiles and the `checkpoint` file. The owner
    /// calls it at most once a second, and at stop.
    ///
    /// # Errors
    /// [`LogError`]; the log itself isn't concerned.
    pub fn publish(&self) -> Result<(), LogError> {
        self.publisher().publish()
    }

    /// A handle that publishes from another thread, while this one appends.
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        Publisher::new(self.shared.clone())
    }

    /// A cloneable handle for reading.
    #[must_use]
    pub fn reader(&self) -> LogReader {
        LogReader { shared: self.shared.clone() }
    }

    /// Whether an earlier failure stopped the writer for good.
    #[must_use]
    pub const fn is_poisoned(&self) -> bool {
        self.is_poisoned
    }

    /// Durable leaves.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.frontier.size()
    }

    /// Root of the tree.
    #[must_use]
    pub fn root(&self) -> Hash {
        self.frontier.root()
    }

    /// The newest durable checkpoint as signed; for an empty log that of the
    /// empty tree (the genesis checkpoint that stands in the register).
    #[must_use]
    pub fn last_note(&self) -> String {
        self.reader().last_note()
    }

    /// See [`LogReader::leaf`].
    ///
    /// # Errors
    /// As [`LogReader::leaf`].
    pub fn leaf(&self, index: u64) -> Result<Vec<u8>, LogError> {
        self.reader().leaf(index)
    }

    /// See [`LogReader::attachments`].
    ///
    /// # Errors
    /// As [`LogReader::attachments`].
    pub fn attachments(&self, index: u64) -> Result<Vec<Attachment>, LogError> {
        self.reader().attachments(index)
    }

    /// See [`LogReader::inclusion_proof`].
    ///
    /// # Errors
    /// As [`LogReader::inclusion_proof`].
    pub fn inclusion_proof(&self, index: u64, size: u64) -> Result<Vec<Hash>, LogError> {
        self.reader().inclusion_proof(index, size)
    }

    /// See [`LogReader::consistency_proof`].
    ///
    /// # Errors
    /// As [`LogReader::consistency_proof`].
    pub fn consistency_proof(&self, old: u64, new: u64) -> Result<Vec<Hash>, LogError> {
        self.reader().consistency_proof(old, new)
    }
}

impl std::fmt::Debug for Log {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Log({}, {} leaves)", self.settings.origin, self.size())
    }
}

fn check_bounds(entries: &[NewEntry]) -> Result<(), LogError> {
    if entries.is_empty() {
        return Err(LogError::BatchRefused("no entry"));
    }
    if entries.len() > BATCH_LEAVES_MAX {
        return Err(LogError::BatchRefused("more than 65,536 leaves"));
    }
    if entries.iter().any(|entry| entry.leaf.len() > LEAF_BYTES_MAX) {
        return Err(LogError::BatchRefused("a leaf of more than 65,535 bytes"));
    }
    let attachments: usize = entries.iter().map(|entry| entry.attachments.len()).sum();
    if attachments > BATCH_ATTACHMENTS_MAX {
        return Err(LogError::BatchRefused("more than 65,536 attachments"));
    }
    Ok(())
}
