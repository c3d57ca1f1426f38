//! Two parties with real keys and a small register; the logs that their connectors would write.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer as _, SigningKey};
use perron_log::merkle::leaf_hash;
use perron_log::{Attachment, Layout, Log, LogSettings, NewEntry, OsFiles, Signer};
use perron_model::agreement::{
    AGREEMENT_TYP, AgreementKind, AgreementPayload, Envelope, JwsJson, JwsSignature, LegalBasis, Offer,
};
use perron_model::dataset::Regime;
use perron_model::entry::{AttachmentKind, Body, ChainPosition, ENTRY_VERSION, Entry};
use perron_model::participant::{
    EnterpriseNumber, KeyAuthorisation, KeyUse, Participant, PublicKey, RegisteredKey, Role, Status,
};
use perron_model::register::{
    EntryDigest, PARTICIPANT_TYP, ParticipantEntry, REGISTER_TYP, RegisterVersion, SignedRegister,
};
use perron_model::{DatasetId, Digest, ParticipantId, SpaceId, Timestamp, canonical};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

pub const T0: i64 = 1_790_000_000_000;

pub fn time(ms: i64) -> Timestamp {
    Timestamp::from_millis(T0 + ms).unwrap()
}

pub fn space() -> SpaceId {
    SpaceId::parse("liege").unwrap()
}

/// A party with its keys: seeds by number and use.
#[derive(Clone)]
pub struct Party {
    pub participant: Participant,
    number: u8,
    // Its log key has another one once it was changed.
    log_number: u8,
}

impl Party {
    pub fn new(number: u8, name: &str) -> Party {
        let uses = [KeyUse::Agreement, KeyUse::Request, KeyUse::Log, KeyUse::Witness];
        let keys = uses.map(|key_use| RegisteredKey {
            key_use,
            key: public(&key(number, key_use)),
            from: time(-1000),
            until: None,
            authorised_by: KeyAuthorisation::Enrolment,
            consent: None,
        });
        let participant = Participant {
            id: ParticipantId::parse(name).unwrap(),
            name: name.to_owned(),
            enterprise: EnterpriseNumber::parse("0440.966.354").unwrap(),
            nis: None,
            jurisdiction: "BE".to_owned(),
            roles: vec![Role::Provider, Role::Consumer],
            endpoint: None,
            keys: keys.to_vec(),
            log_origin: format!("liege/{name}/1"),
            closed_logs: Vec::new(),
            status: Status::Active,
            valid_from: time(-1000),
            valid_until: time(1_000_000_000),
        };
        Party { participant, number, log_number: number }
    }
    pub fn id(&self) -> ParticipantId {
        self.participant.id.clone()
    }
    pub fn origin(&self) -> &str {
        &self.participant.log_origin
    }
    pub fn key(&self, key_use: KeyUse) -> SigningKey {
        key(self.number, key_use)
    }
    pub fn log_signer(&self) -> Signer {
        Signer::from_seed(self.origin(), &key(self.log_number, KeyUse::Log).to_bytes()).unwrap()
    }
    /// A key ends, and another comes in its place, by the authority alone; a new log key signs from here on.
    pub fn change_key(&mut self, key_use: KeyUse, at: Timestamp) {
        let other = self.number + 10;
        for old in self.participant.keys.iter_mut().filter(|k| k.key_use == key_use) {
            old.until = Some(at);
        }
        self.participant.keys.push(RegisteredKey {
            key_use,
            key: public(&key(other, key_use)),
            from: at,
            until: None,
            authorised_by: KeyAuthorisation::AuthorityAlone,
            consent: None,
        });
        if key_use == KeyUse::Log {
            self.log_number = other;
        }
    }
    pub fn cosigner(&self) -> perron_log::Cosigner {
        let name = format!("liege/{}/witness", self.id());
        perron_log::Cosigner::from_seed(&name, &self.key(KeyUse::Witness).to_bytes()).unwrap()
    }
}

pub fn key(number: u8, key_use: KeyUse) -> SigningKey {
    SigningKey::from_bytes(&[number * 10 + key_use as u8; 32])
}

pub fn public(key: &SigningKey) -> PublicKey {
    PublicKey::from_bytes(key.verifying_key().to_bytes())
}

pub fn authority() -> SigningKey {
    SigningKey::from_bytes(&[200; 32])
}

fn protected(key: &SigningKey, typ: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"EdDSA","kid":"{}","typ":"{typ}"}}"#, public(key).thumbprint()))
}

pub fn compact(key: &SigningKey, typ: &str, payload: &[u8]) -> String {
    let input = format!("{}.{}", protected(key, typ), URL_SAFE_NO_PAD.encode(payload));
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(key.sign(input.as_bytes()).to_bytes()))
}

pub fn signature(key: &SigningKey, payload: &[u8]) -> JwsSignature {
    let protected = protected(key, AGREEMENT_TYP);
    let input = format!("{protected}.{}", URL_SAFE_NO_PAD.encode(payload));
    JwsSignature { protected, signature: URL_SAFE_NO_PAD.encode(key.sign(input.as_bytes()).to_bytes()) }
}

/// A register of these parties.
pub struct Space {
    pub signed: SignedRegister,
    pub digest: Digest,
    entries: HashMap<ParticipantId, String>,
}

impl Space {
    pub fn new(parties: &[&Party], version: u64) -> Space {
        let mut parties = parties.to_vec();
        parties.sort_by_key(|p| p.id());
        let entry = |p: &&Party| {
            let entry = ParticipantEntry { space: space(), version: 1, participant: p.participant.clone() };
            compact(&authority(), PARTICIPANT_TYP, &canonical::to_bytes(&entry).unwrap())
        };
        let entries: Vec<String> = parties.iter().map(entry).collect();
        let listed = parties.iter().zip(&entries);
        let register = RegisterVersion {
            space: space(),
            version,
            previous: (version > 1).then(|| Digest::of(b"before")),
            issued: time(-1000),
            use_before: time(86_400_000),
            entries: listed
                .clone()
                .map(|(p, e)| EntryDigest { participant: p.id(), digest: Digest::of(e.as_bytes()) })
                .collect(),
        };
        let by_id = listed.map(|(p, e)| (p.id(), e.clone())).collect();
        let register = compact(&authority(), REGISTER_TYP, &canonical::to_bytes(&register).unwrap());
        let digest = Digest::of(register.as_bytes());
        Space { signed: SignedRegister { register, entries }, digest, entries: by_id }
    }
    pub fn entry(&self, party: &Party) -> String {
        self.entries[&party.id()].clone()
    }
}

/// An agreement between two parties, at the stages of its signing.
pub struct Deal {
    pub id: Digest,
    pub half: JwsJson,
    pub signed: JwsJson,
    pub envelope: Vec<u8>,
}

pub fn offer() -> Offer {
    Offer {
        id: DatasetId::parse("water").unwrap(),
        dataset: DatasetId::parse("water").unwrap(),
        description: Digest::of(b"description"),
        policy: serde_json::json!({"@type": "Offer"}),
        legal_basis: LegalBasis { term: "https://w3id.org/dpv#PublicTask".to_owned(), text: "décret".to_owned() },
        regime: Regime::PublicTask,
        amends: None,
    }
}

pub fn deal(space_: &Space, provider: &Party, consumer: &Party, negotiation: &str) -> Deal {
    deal_over(offer(), space_, provider, consumer, negotiation)
}

pub fn deal_over(offer: Offer, space_: &Space, provider: &Party, consumer: &Party, negotiation: &str) -> Deal {
    let payload = AgreementPayload {
        kind: AgreementKind::V1,
        space: space(),
        negotiation: negotiation.to_owned(),
        provider: provider.id(),
        consumer: consumer.id(),
        offer,
        timestamp: time(10),
    };
    let bytes = payload.bytes().unwrap();
    let first = signature(&provider.key(KeyUse::Agreement), &bytes);
    let second = signature(&consumer.key(KeyUse::Agreement), &bytes);
    let half = JwsJson { payload: URL_SAFE_NO_PAD.encode(&bytes), signatures: vec![first.clone()] };
    let signed = JwsJson { signatures: vec![first, second], ..half.clone() };
    let envelope = Envelope {
        agreement: signed.clone(),
        provider_entry: space_.entry(provider),
        consumer_entry: space_.entry(consumer),
    };
    Deal { id: Digest::of(&bytes), half, signed, envelope: canonical::to_bytes(&envelope).unwrap() }
}

/// An entry with what is attached to it.
#[derive(Clone, Debug)]
pub struct Line {
    pub entry: Entry,
    pub attachments: Vec<(u16, Vec<u8>)>,
}

impl Line {
    pub fn leaf(&self) -> Digest {
        Digest::from_bytes(leaf_hash(&self.entry.to_bytes().unwrap()).0)
    }
    fn stored(&self) -> NewEntry {
        let attachments = self.attachments.iter().map(|(kind, bytes)| Attachment { kind: *kind, bytes: bytes.clone() });
        NewEntry { leaf: self.entry.to_bytes().unwrap(), attachments: attachments.collect() }
    }
}

/// The entries of a log, as its writer would make them.
#[derive(Clone, Default)]
pub struct Book {
    pub lines: Vec<Line>,
}

impl Book {
    /// Adds an entry; gives its leaf hash.
    pub fn push(&mut self, body: Body, chain: Option<Digest>, attachments: Vec<(AttachmentKind, Vec<u8>)>) -> Digest {
        let index = self.lines.len() as u64;
        let in_chain = |l: &&Line| l.entry.chain.as_ref().map(|c| c.agreement) == chain;
        let chain = chain.map(|agreement| {
            let newest = self.lines.iter().rev().find(in_chain);
            let number = newest.map_or(0, |l| l.entry.chain.as_ref().unwrap().number + 1);
            ChainPosition { agreement, number, previous: newest.map(Line::leaf) }
        });
        let entry = Entry {
            version: ENTRY_VERSION,
            index,
            time: time(100 + index as i64 * 10),
            previous: self.lines.last().map(Line::leaf),
            blind: (u128::from(index) + 1).to_be_bytes().into(),
            chain,
            trace: None,
            on_behalf_of: None,
            processing_activity: None,
            body,
        };
        let attachments = attachments.into_iter().map(|(kind, bytes)| (kind as u16, bytes)).collect();
        self.lines.push(Line { entry, attachments });
        self.lines.last().unwrap().leaf()
    }

    /// What an owner does who rewrites its history: everything that is derived is made anew, so
    /// that only what was changed can tell. An entry is known again by its blind.
    pub fn rechain(&mut self, before: &Book) {
        let old: HashMap<[u8; 16], Digest> = before.lines.iter().map(|l| (*l.entry.blind, l.leaf())).collect();
        let mut renamed: HashMap<Digest, Digest> = HashMap::new();
        let mut chains: HashMap<Digest, (u64, Digest)> = HashMap::new();
        let mut last = None;
        for (index, line) in self.lines.iter_mut().enumerate() {
            line.entry.index = index as u64;
            line.entry.previous = last;
            if let Some(chain) = &mut line.entry.chain {
                let before = chains.get(&chain.agreement).copied();
                chain.number = before.map_or(0, |(n, _)| n + 1);
                chain.previous = before.map(|(_, leaf)| leaf);
            }
            if let Body::Outcome(outcome) = &mut line.entry.body {
                outcome.decision = renamed.get(&outcome.decision).copied().unwrap_or(outcome.decision);
            }
            let leaf = line.leaf();
            if let Some(chain) = &line.entry.chain {
                chains.insert(chain.agreement, (chain.number, leaf));
            }
            renamed.insert(*old.get(&*line.entry.blind).unwrap_or(&leaf), leaf);
            last = Some(leaf);
        }
    }

    pub fn find(&self, matches: impl Fn(&Body) -> bool) -> usize {
        self.lines.iter().position(|l| matches(&l.entry.body)).unwrap()
    }
}

/// Writes the lines as a log of a party, a few to a batch, and publishes it; gives the note after
/// each batch.
pub fn write_log(data: &Path, party: &Party, lines: &[Line], batch: usize) -> (Log, Vec<String>) {
    let generation = perron_model::succession::generation_of(party.origin()).unwrap();
    let mut settings = LogSettings::new(party.origin(), generation, Box::new(party.log_signer()));
    settings.segment_bytes = 256 * 1024;
    let (mut log, _) = Log::open(Arc::new(OsFiles), Layout::new(data), settings, &[]).unwrap();
    let stored: Vec<NewEntry> = lines.iter().map(Line::stored).collect();
    let notes = stored.chunks(batch).map(|part| log.append(part).unwrap().note).collect();
    log.publish().unwrap();
    (log, notes)
}

/// Writes what lies around the log.
pub fn write_around(data: &Path, party: &Party, space_: &Space, deals: &[&Deal]) {
    std::fs::create_dir_all(data.join("trust/kept")).unwrap();
    std::fs::create_dir_all(data.join("trust/cosigned")).unwrap();
    std::fs::create_dir_all(data.join("documents")).unwrap();
    let config = format!("participant = \"{}\"\nspace = \"liege\"\n\n[listen]\npeers = \"127.0.0.1:1\"\n", party.id());
    std::fs::write(data.join("perron.toml"), config).unwrap();
    std::fs::write(data.join("trust/authority.key"), String::from(public(&authority()))).unwrap();
    std::fs::write(data.join("trust/register.json"), canonical::to_bytes(&space_.signed).unwrap()).unwrap();
    for deal in deals {
        std::fs::write(data.join(format!("documents/{}.json", deal.id)), &deal.envelope).unwrap();
    }
}
