//! The Merkle log: segments, tree, notes, tiles, receipts, proofs, recovery
//! and verification, over ports for the file layer and the log keys.
//!
//! A leaf is opaque bytes here. The crate is synchronous: no sockets, no
//! clock, no policies. What an entry means is the caller's.
#![forbid(unsafe_code)]

pub mod checkpoint;
pub mod cosignature;
pub mod error;
pub mod extent;
pub mod files;
pub mod findings;
pub mod keys;
pub mod layout;
pub mod limits;
pub mod merkle;
pub mod note;
mod placing;
pub mod policy;
pub mod proof;
pub mod prune;
pub mod publish;
mod quarantine;
pub mod reader;
pub mod recover;
mod scan;
pub mod scrub;
pub mod segment;
pub mod sim;
pub mod submission;
pub mod tile;
mod tree;
pub mod verify;
mod verify_notes;
mod verify_segments;
mod verify_tiles;
mod walk;
pub mod writer;

pub use checkpoint::{Checkpoint, OpenedCheckpoint};
pub use cosignature::Cosigner;
pub use error::LogError;
pub use extent::{Extent, SegmentExtent};
pub use files::{FileLayer, OsFiles};
pub use findings::{Finding, FindingKind, Outcome};
pub use keys::{KeyKind, Signer, Verifier};
pub use layout::Layout;
pub use merkle::Hash;
pub use note::{NoteError, NoteSigner, SignedNote};
pub use policy::{Cosigned, Policy, Verdict};
pub use proof::TlogProof;
pub use prune::{Pruned, Pruner};
pub use publish::Publisher;
pub use reader::{LogReader, Stored, StoredEntry};
pub use recover::{Recovered, Survey, TornTail};
pub use scrub::{Scrub, Step};
pub use segment::{Attachment, NewEntry};
pub use submission::Submission;
pub use verify::{LeafView, Report, VerifyError, VerifyOptions, verify_log_dir, verify_log_files, verify_tiles_dir};
pub use writer::{Committed, Log, LogSettings};
