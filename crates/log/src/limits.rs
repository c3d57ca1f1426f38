//! Every bound of the log, named with its unit, and how the bounds relate.

/// Memory of a record that is kept for the next one, in bytes at the most.
pub const SPARE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Longest leaf in bytes: an entry bundle prefixes each entry with a `u16`
/// (C2SP tlog-tiles, "Log entries").
pub const LEAF_BYTES_MAX: usize = 65_535;

/// Most leaves in one batch (one record, one flush, one signed checkpoint).
pub const BATCH_LEAVES_MAX: usize = 65_536;

/// Most attachments in one batch.
pub const BATCH_ATTACHMENTS_MAX: usize = 65_536;

/// Longest record in bytes, header and trailer included.
pub const RECORD_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Longest pruned record in bytes: of a record that may be as long as any, each leaf may become a
/// mark and a hash, and the digest of the record is added.
pub const PRUNED_RECORD_BYTES_MAX: usize = RECORD_BYTES_MAX + BATCH_LEAVES_MAX * (1 + HASH_BYTES) + HASH_BYTES;

/// Most ranges of leaves that are pruned in one call.
pub const PRUNE_RANGES_MAX: usize = 65_536;

/// Size in bytes at which a new segment file is begun.
pub const SEGMENT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Smallest roll size that may be configured, in bytes (tests roll often).
pub const SEGMENT_BYTES_MIN: u64 = 1024;

/// Hashes in a full tile, entries in a full bundle (C2SP tlog-tiles).
pub const TILE_WIDTH: usize = 256;

/// log2 of [`TILE_WIDTH`]: tree levels spanned by one tile.
pub const TILE_HEIGHT: u32 = 8;

/// Bytes of a full hash tile.
pub const TILE_BYTES: usize = TILE_WIDTH * HASH_BYTES;

/// Highest tile level that a path may name (C2SP tlog-tiles).
pub const TILE_LEVEL_MAX: u8 = 63;

/// Longest full entry bundle in bytes.
pub const BUNDLE_BYTES_MAX: usize = TILE_WIDTH * (2 + LEAF_BYTES_MAX);

/// Bytes of a SHA-256 digest.
pub const HASH_BYTES: usize = 32;

/// Longest proof in hashes: a tree of 2^63 leaves has 63 levels, and a
/// consistency proof adds one.
pub const PROOF_HASHES_MAX: usize = 64;

/// Longest signed note in bytes: 100 signatures of nearly 5 kB (ML-DSA), a
/// short text.
pub const NOTE_BYTES_MAX: usize = 512 * 1024;

/// Most signature lines in a note; C2SP signed-note asks for at least 16.
pub const NOTE_SIGNATURES_MAX: usize = 100;

/// Longest key name or origin in bytes: both fit the `u8` length of
/// `cosigned_message` (C2SP tlog-cosignature).
pub const NAME_BYTES_MAX: usize = 255;

/// Most extension lines in a checkpoint that we read; we write none.
pub const CHECKPOINT_EXTENSIONS_MAX: usize = 16;

/// Most log keys in force at once (two during a rotation; one to spare for
/// another algorithm).
pub const LOG_KEYS_MAX: usize = 4;

/// Longest receipt in bytes, extra data included (C2SP tlog-proof).
pub const RECEIPT_BYTES_MAX: usize = NOTE_BYTES_MAX + 256 * 1024;

/// Leaves between two points of a segment's sparse index.
pub const INDEX_LEAVES_STEP: u64 = 256;

/// Bytes between two points of a segment's sparse index.
pub const INDEX_BYTES_STEP: u64 = 1024 * 1024;

/// Files that are written before they are synced together and put in place.
pub const FILES_PLACED_AT_ONCE: usize = 64;

/// Leaf hashes held in memory behind the newest leaf; older ones are read from
/// tiles, or from segments where a tile isn't published yet.
pub const TAIL_HASHES_MAX: usize = 64 * 1024;

/// Bytes of one step when the tail of a segment is rewritten or moved.
pub const COPY_BYTES_STEP: usize = 1024 * 1024;

/// Torn ends in quarantine that a start looks at, the newest ones.
pub const QUARANTINED_MAX: usize = 100;

/// Findings kept in one verification report; more are counted, not kept.
pub const FINDINGS_MAX: usize = 1_000;

/// Kept checkpoints that one verification compares.
pub const KEPT_CHECKPOINTS_MAX: usize = 100_000;

/// Notes whose signatures a thread checks at a time.
pub const SIGNATURES_A_PART: usize = 32;

/// Such parts that wait for a thread before the one who reads waits for them.
pub const VERIFY_PARTS_WAITING_MAX: usize = 64;

/// Files and folders that a walk below `log/` visits before it gives up.
pub const WALK_ENTRIES_MAX: usize = 10_000_000;

/// Most threads that check signatures.
pub const VERIFY_THREADS_MAX: usize = 16;

/// Most consistency proof lines of a submission to a witness (C2SP tlog-witness).
pub const SUBMISSION_HASHES_MAX: usize = 63;

/// Longest policy of witnesses in bytes (C2SP tlog-policy).
pub const POLICY_BYTES_MAX: usize = 64 * 1024;

/// Most logs of a policy; C2SP tlog-policy asks for at least 32 of each.
pub const POLICY_LOGS_MAX: usize = 256;

/// Most witnesses of a policy.
pub const POLICY_WITNESSES_MAX: usize = 256;

/// Most groups of a policy.
pub const POLICY_GROUPS_MAX: usize = 256;

/// Most cosignatures that one judgement by a policy takes.
pub const POLICY_COSIGNATURES_MAX: usize = 100_000;

/// Largest tree that we read or write, in leaves: keeps every shift and sum
/// below inside a `u64`.
pub const TREE_LEAVES_MAX: u64 = 1 << 62;

const _: () = assert!(TAIL_HASHES_MAX >= 2 * TILE_WIDTH);
const _: () = assert!(LEAF_BYTES_MAX <= u16::MAX as usize);
const _: () = assert!(LEAF_BYTES_MAX + 2 < RECORD_BYTES_MAX);
const _: () = assert!(RECORD_BYTES_MAX <= u32::MAX as usize);
const _: () = assert!(PRUNED_RECORD_BYTES_MAX <= u32::MAX as usize);
const _: () = assert!((RECORD_BYTES_MAX as u64) < SEGMENT_BYTES_MAX);
const _: () = assert!(SEGMENT_BYTES_MIN < SEGMENT_BYTES_MAX);
const _: () = assert!(1 << TILE_HEIGHT == TILE_WIDTH);
const _: () = assert!(NOTE_SIGNATURES_MAX >= 16);
const _: () = assert!(LOG_KEYS_MAX < NOTE_SIGNATURES_MAX);
const _: () = assert!(NOTE_BYTES_MAX < RECORD_BYTES_MAX);
const _: () = assert!(BATCH_LEAVES_MAX <= u32::MAX as usize);
const _: () = assert!(BATCH_ATTACHMENTS_MAX <= u32::MAX as usize);
const _: () = assert!(PROOF_HASHES_MAX >= 64);
const _: () = assert!(NAME_BYTES_MAX <= u8::MAX as usize);
const _: () = assert!(POLICY_LOGS_MAX >= 32 && POLICY_WITNESSES_MAX >= 32 && POLICY_GROUPS_MAX >= 32);
