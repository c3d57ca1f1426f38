//! The use cases: catalogue, negotiation, agreement, reads, users. No wire format is spoken here.

pub mod audit;
pub mod authority;
pub mod catalogue;
pub mod collections;
pub mod consumption;
pub mod duties;
pub mod erasure;
pub mod facts;
pub mod negotiation;
pub mod node;
pub mod notices;
pub mod partners;
pub mod peers;
pub mod ports;
pub mod reads;
mod receiving;
mod reconciling;
pub mod retention;
pub mod rotation;
mod scrubbing;
mod settling;
pub mod state;
pub mod streaming;
pub mod succession;
pub mod tally;
pub mod tasks;
pub mod users;
pub mod watching;
pub mod witness;
pub mod witnessing;

pub use audit::{
    AgreementPage, Begun, EvidenceFile, ExtractBegun, ExtractPage, Folder, FolderAnswer, FolderDocument, FolderScope,
    KINDS, LogStatement, Looking, Page, ProvenLeaf, Question, WhoAnswer, Witnessed, describe,
};
pub use node::{MODULES, Node};
pub use reconciling::Matched;
