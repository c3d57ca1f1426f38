//! Entries of the log: deterministic CBOR (RFC 8949, 4.2.1) with integer keys.
//!
//! Number, time, previous hash and chain position are set by the writer. Each entry carries 16
//! random bytes, for proofs hand out neighbours' hashes and a plain entry would be guessable.

mod bodies;
mod by_name;
mod reads;

pub use bodies::*;
pub use reads::*;

use crate::error::{Error, Result};
use crate::id::Digest;
use crate::time::Timestamp;
use minicbor::{Decode, Encode};

/// Format version of entries.
pub const ENTRY_VERSION: u8 = 1;

/// Sixteen bytes that make a leaf unguessable.
pub type Blind = minicbor::bytes::ByteArray<16>;

/// What every entry has, around its body.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
#[cbor(map)]
pub struct Entry {
    /// Format version.
    #[n(0)]
    pub version: u8,
    /// Position in the log, from 0.
    #[n(1)]
    pub index: u64,
    /// When it was written; never decreases but after a `clock jump`.
    #[n(2)]
    pub time: Timestamp,
    /// Leaf hash of the entry before; none for the first of a generation.
    #[n(3)]
    pub previous: Option<Digest>,
    /// Sixteen random bytes.
    #[n(4)]
    pub blind: Blind,
    /// Position in an agreement's chain, for entries that belong to one.
    #[n(5)]
    pub chain: Option<ChainPosition>,
    /// W3C trace id (16 bytes), where the act had one.
    #[n(6)]
    pub trace: Option<minicbor::bytes::ByteVec>,
    /// Participant on whose behalf another acted (delegation chain); room for mandates.
    #[n(7)]
    pub on_behalf_of: Option<Vec<String>>,
    /// Processing activity (GDPR Art. 30), where the owner named one.
    #[n(8)]
    pub processing_activity: Option<String>,
    /// What happened.
    #[n(9)]
    pub body: Body,
}

/// Position in the chain of an agreement's entries.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct ChainPosition {
    /// The agreement.
    #[n(0)]
    pub agreement: Digest,
    /// Number in the chain, from 0.
    #[n(1)]
    pub number: u64,
    /// Leaf hash of the chain's previous entry; none for number 0.
    #[n(2)]
    pub previous: Option<Digest>,
}

/// What happened. The number of each kind is for ever.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Body {
    /// The process began to serve.
    #[n(1)]
    Start(#[n(0)] Start),
    /// The process ended in order.
    #[n(2)]
    Stop(#[n(0)] Stop),
    /// Bytes of an unfinished record were moved aside.
    #[n(3)]
    Recovery(#[n(0)] Recovery),
    /// The clock went back.
    #[n(4)]
    ClockJump(#[n(0)] ClockJump),
    /// A step of a negotiation.
    #[n(10)]
    Negotiation(#[n(0)] Negotiation),
    /// An agreement is in force; its envelope is attached.
    #[n(11)]
    Agreement(#[n(0)] Agreement),
    /// What one party of an agreement told the other; the signed notice is attached.
    #[n(12)]
    Notice(#[n(0)] Notice),
    /// The consumer's intent to read, before the request leaves.
    #[n(20)]
    Intent(#[n(0)] Intent),
    /// The provider's decision about a read.
    #[n(21)]
    Decision(#[n(0)] Decision),
    /// How a permitted read ended.
    #[n(22)]
    Outcome(#[n(0)] Outcome),
    /// The consumer's record of what it received.
    #[n(23)]
    Received(#[n(0)] Received),
    /// A table was released.
    #[n(24)]
    Release(#[n(0)] Release),
    /// A peer may see a view's schema for an hour.
    #[n(25)]
    SchemaGrant(#[n(0)] SchemaGrant),
    /// A statement was refused before its execution: nothing of it ran.
    #[n(26)]
    PlanRefusal(#[n(0)] PlanRefusal),
    /// Refusals too many or too broken for an entry each.
    #[n(30)]
    RefusalSummary(#[n(0)] RefusalSummary),
    /// A partner's checkpoint was checked, kept and cosigned.
    #[n(31)]
    CheckpointKept(#[n(0)] CheckpointKept),
    /// A user of the organisation was refused by its own rules.
    #[n(32)]
    StaffRefusal(#[n(0)] StaffRefusal),
    /// An agreement's chain up to this entry was made out for its other party.
    #[n(33)]
    Extract(#[n(0)] Extract),
    /// The other party's chain of an agreement was matched with ours, or couldn't be had.
    #[n(34)]
    Reconciled(#[n(0)] Reconciled),
    /// A user of the organisation asked its own log by a statement: what was decided about it.
    #[n(35)]
    LogQuery(#[n(0)] LogQuery),
    /// An act of administration.
    #[n(40)]
    Administration(#[n(0)] Administration),
    /// A register version was taken into use.
    #[n(41)]
    RegisterSeen(#[n(0)] RegisterSeen),
    /// This log takes the place of one that lost entries; the first entry of its generation.
    #[n(42)]
    Succession(#[n(0)] Succession),
    /// Sealed values were erased: their keys are destroyed after this entry is durable.
    #[n(44)]
    Erased(#[n(0)] Erased),
    /// Entries about single reads are pruned by a signed rule; which ones is attached.
    #[n(45)]
    Pruned(#[n(0)] Pruned),
}

/// What an attachment of an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum AttachmentKind {
    /// A signed read request, as received.
    Request = 1,
    /// An agreement's envelope.
    Envelope = 2,
    /// 16 bytes of salt, then the canonical JSON of an evaluation's input.
    EvaluationInput = 3,
    /// A checkpoint note that was kept.
    Checkpoint = 4,
    /// A message of a negotiation.
    NegotiationMessage = 5,
    /// The canonical document of an administrative change.
    Document = 6,
    /// A register version: its compact JWS.
    Register = 7,
    /// A read's receipt, as its provider gave it (`request::Receipt`, JSON).
    Receipt = 8,
    /// What travelled beside a read request (`request::Beside`, canonical JSON).
    Beside = 9,
    /// A signed notice about an agreement, as sent or received (compact JWS).
    Notice = 10,
    /// A value that can be erased, encrypted (`sealed`).
    Sealed = 11,
}

impl AttachmentKind {
    /// The kind of a number on disk.
    pub const fn from_u16(kind: u16) -> Option<AttachmentKind> {
        Some(match kind {
            1 => AttachmentKind::Request,
            2 => AttachmentKind::Envelope,
            3 => AttachmentKind::EvaluationInput,
            4 => AttachmentKind::Checkpoint,
            5 => AttachmentKind::NegotiationMessage,
            6 => AttachmentKind::Document,
            7 => AttachmentKind::Register,
            8 => AttachmentKind::Receipt,
            9 => AttachmentKind::Beside,
            10 => AttachmentKind::Notice,
            11 => AttachmentKind::Sealed,
            _ => return None,
        })
    }
}

impl Body {
    /// Is a sealed value attached to the entry?
    pub const fn is_sealed(&self) -> bool {
        match self {
            Body::Intent(intent) => intent.sealed.is_some(),
            Body::Decision(decision) => decision.sealed.is_some(),
            Body::Administration(act) => act.sealed.is_some(),
            _ => false,
        }
    }
}

impl Entry {
    /// The entry's bytes: a leaf of the log.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        minicbor::to_vec(self).map_err(|e| Error::malformed(format!("an entry can't be encoded: {e}")))
    }

    /// Reads a leaf; any bytes but the canonical ones are refused.
    pub fn from_bytes(bytes: &[u8]) -> Result<Entry> {
        let entry: Entry = minicbor::decode(bytes).map_err(|e| Error::malformed(format!("not an entry: {e}")))?;
        if entry.version != ENTRY_VERSION {
            return Err(Error::malformed(format!("an entry of version {} is not known", entry.version)));
        }
        if entry.to_bytes()? == bytes {
            Ok(entry)
        } else {
            Err(Error::malformed("an entry is not in its canonical encoding"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_reads_back_and_every_other_spelling_is_refused() {
        let entry = Entry {
            version: ENTRY_VERSION,
            index: 7,
            time: Timestamp::from_millis(1_790_000_000_000).unwrap(),
            previous: Some(Digest::of(b"p")),
            blind: [9; 16].into(),
            chain: None,
            trace: None,
            on_behalf_of: None,
            processing_activity: None,
            body: Body::Stop(Stop { reason: "signal".into() }),
        };
        let bytes = entry.to_bytes().unwrap();
        assert_eq!(Entry::from_bytes(&bytes).unwrap(), entry);
        for at in 0..bytes.len() {
            let mut other = bytes.clone();
            other[at] ^= 0x20;
            if let Ok(read) = Entry::from_bytes(&other) {
                assert_ne!(read, entry);
            }
        }
        let mut longer = bytes.clone();
        longer.push(0);
        assert!(Entry::from_bytes(&longer).is_err());
    }

    #[test]
    fn an_entry_of_another_version_is_refused() {
        let body = Body::Stop(Stop { reason: "signal".into() });
        let entry = Entry {
            version: ENTRY_VERSION + 1,
            index: 0,
            time: Timestamp::EPOCH,
            previous: None,
            blind: [0; 16].into(),
            chain: None,
            trace: None,
            on_behalf_of: None,
            processing_activity: None,
            body,
        };
        let error = Entry::from_bytes(&entry.to_bytes().unwrap()).unwrap_err();
        assert!(error.detail.contains("version 2 is not known"), "{error}");
    }

    /// The figure for a decision in the tree: a permit in a log of ten million entries, with
    /// all that a read's has, a trace too.
    #[test]
    fn a_decision_takes_at_most_450_bytes_in_the_tree() {
        let digest = Digest::of(b"any");
        let decision = Decision {
            request: digest,
            permitted: true,
            reasons: Vec::new(),
            clauses: Vec::new(),
            module: digest,
            input: None,
            snapshot: Some(digest),
            uses: 10_000,
            register: 1_000,
            consumer: "intercommunale".into(),
            purpose: "https://w3id.org/dpv#PublicBenefit".into(),
            legal_basis: Some("https://w3id.org/dpv#PublicInterest".into()),
            user: "aQEHJssqiiDhCrgs3d-sUQ".into(),
            beside: None,
            reserved: None,
            volume: None,
            attached: Some(digest),
            sealed: Some(true),
        };
        let mut entry = Entry {
            version: ENTRY_VERSION,
            index: 10_000_000,
            time: Timestamp::from_millis(1_790_000_000_000).unwrap(),
            previous: Some(digest),
            blind: [9; 16].into(),
            chain: Some(ChainPosition { agreement: digest, number: 10_000, previous: Some(digest) }),
            trace: Some(vec![1; 16].into()),
            on_behalf_of: None,
            processing_activity: None,
            body: Body::Decision(decision),
        };
        let bytes = entry.to_bytes().unwrap();
        assert_eq!(Entry::from_bytes(&bytes).unwrap(), entry);
        assert!(bytes.len() <= 450, "{}", bytes.len());
        // As earlier entries bind what is attached, which are read for ever.
        let Body::Decision(decision) = &mut entry.body else { unreachable!() };
        (decision.input, decision.beside, decision.attached, decision.sealed) =
            (Some(digest), Some(digest), None, None);
        assert_eq!(Entry::from_bytes(&entry.to_bytes().unwrap()).unwrap(), entry);
    }

    #[test]
    fn one_digest_binds_attachments_with_their_kinds() {
        let parts = [(AttachmentKind::EvaluationInput, b"i".as_slice()), (AttachmentKind::Sealed, b"s")];
        let mut listed = vec![0, 3];
        listed.extend(Digest::of(b"i").as_bytes());
        listed.extend([0, 11]);
        listed.extend(Digest::of(b"s").as_bytes());
        assert_eq!(digest_of_parts(parts), Digest::of(&listed));
        assert_eq!(digest_of_parts(parts.into_iter().rev()), Digest::of(&listed), "in the order of their kinds");
        assert_ne!(digest_of_parts([(AttachmentKind::Beside, b"i".as_slice()), parts[1]]), Digest::of(&listed));
        assert_ne!(digest_of_parts([parts[0]]), Digest::of(&listed));
    }

    /// The numbers lie on disks: they are for ever.
    #[test]
    fn attachments_keep_their_numbers() {
        use AttachmentKind as K;
        let kinds = [
            K::Request,
            K::Envelope,
            K::EvaluationInput,
            K::Checkpoint,
            K::NegotiationMessage,
            K::Document,
            K::Register,
            K::Receipt,
            K::Beside,
            K::Notice,
            K::Sealed,
        ];
        for (number, kind) in (1_u16..).zip(kinds) {
            assert_eq!((AttachmentKind::from_u16(number), kind as u16), (Some(kind), number));
        }
        assert_eq!([0, 12, u16::MAX].map(AttachmentKind::from_u16), [None; 3]);
    }
}
