//! A commune that provides, an intercommunale that consumes, and a third that witnesses: their
//! logs and directories after a few reads.

use crate::support::*;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use perron_log::merkle::{Frontier, leaf_hash};
use perron_log::{Checkpoint, Log};
use perron_model::entry::{self, AttachmentKind, Body, OutcomeStatus};
use perron_model::negotiation::{Message, NegotiationMessage};
use perron_model::participant::KeyUse;
use perron_model::request::{REQUEST_TYP, ReadRequest, Receipt};
use perron_model::{Digest, canonical};
use std::path::PathBuf;

pub struct World {
    pub root: tempfile::TempDir,
    pub ville: Party,
    pub inter: Party,
    pub tiers: Party,
    pub space: Space,
    pub deal: Deal,
    pub provider: Book,
    pub consumer: Book,
    /// The provider's notes after each batch.
    pub notes: Vec<String>,
}

pub struct Asked {
    pub jws: String,
    pub claims: ReadRequest,
}

impl Asked {
    pub fn digest(&self) -> Digest {
        Digest::of(self.jws.as_bytes())
    }
}

pub const PROVIDER_PID: &str = "p-1";
pub const CONSUMER_PID: &str = "c-1";
/// Entries of one batch of the logs.
pub const BATCH: usize = 3;

pub fn ask(by: &Party, provider: &Party, agreement: Digest, number: u64) -> Asked {
    let claims = ReadRequest {
        id: format!("r-{number}"),
        issuer: by.id(),
        provider: provider.id(),
        agreement,
        action: "http://www.w3.org/ns/odrl/2/read".to_owned(),
        purpose: "https://w3id.org/dpv#ServiceProvision".to_owned(),
        statement: Digest::of(&number.to_be_bytes()),
        user: "pseudonym".to_owned(),
        grant: "grant".to_owned(),
        nonce: format!("n-{number}"),
        time: time(50),
        trace: None,
        roles: None,
        seen: None,
        acknowledged: Vec::new(),
    };
    signed(by, claims)
}

/// The claims, signed by who asks.
pub fn signed(by: &Party, claims: ReadRequest) -> Asked {
    let jws = compact(&by.key(KeyUse::Request), REQUEST_TYP, &canonical::to_bytes(&claims).unwrap());
    Asked { jws, claims }
}

pub fn input_of(asked: &Asked, uses: u64) -> Vec<u8> {
    let claims = &asked.claims;
    let input = serde_json::json!({
        "now_ms": time(60).millis(),
        "request": {"issuer": claims.issuer, "provider": claims.provider, "action": claims.action, "purpose": claims.purpose},
        "agreement": {"id": claims.agreement},
        "state": {"uses": uses},
    });
    let mut salted = vec![9; 16];
    salted.extend_from_slice(&canonical::to_bytes(&input).unwrap());
    salted
}

/// A decision with its attachments; `before` are the uses before it.
pub fn decide(book: &mut Book, asked: &Asked, before: u64, permitted: bool) -> Digest {
    let input = input_of(asked, before);
    let body = Body::Decision(entry::Decision {
        request: asked.digest(),
        permitted,
        reasons: if permitted { vec![] } else { vec!["purpose_not_allowed".to_owned()] },
        clauses: if permitted { vec![] } else { vec!["purposes".to_owned()] },
        module: Digest::of(b"module"),
        input: Some(Digest::of(&input)),
        snapshot: permitted.then(|| Digest::of(b"snapshot")),
        uses: if permitted { before + 1 } else { before },
        register: 1,
        consumer: asked.claims.issuer.to_string(),
        purpose: asked.claims.purpose.clone(),
        legal_basis: None,
        user: asked.claims.user.clone(),
        beside: None,
        reserved: None,
        volume: None,
        attached: None,
        sealed: None,
    });
    let attachments =
        vec![(AttachmentKind::Request, asked.jws.clone().into_bytes()), (AttachmentKind::EvaluationInput, input)];
    book.push(body, Some(asked.claims.agreement), attachments)
}

pub const SALT: [u8; 16] = [5; 16];

pub fn stream_root(messages: u64) -> Digest {
    let mut frontier = Frontier::new();
    for number in 0..messages {
        frontier.append(leaf_hash(&[&SALT[..], Digest::of(&number.to_be_bytes()).as_bytes()].concat()));
    }
    Digest::from_bytes(frontier.root().0)
}

pub fn end(book: &mut Book, agreement: Digest, decision: Digest, status: OutcomeStatus, uses: u64) -> Digest {
    let sent = if status == OutcomeStatus::Complete { 3 } else { 0 };
    let body = Body::Outcome(entry::Outcome {
        decision,
        status,
        reason: None,
        batches: sent,
        rows: sent * 10,
        bytes: sent * 100,
        messages: sent,
        stream_root: stream_root(sent),
        uses,
        volume: None,
    });
    book.push(body, Some(agreement), vec![])
}

pub fn start(book: &mut Book, party: &Party, space: &Space) {
    let body = entry::Start {
        program: "0".to_owned(),
        origin: party.origin().to_owned(),
        modules: Default::default(),
        engine: None,
    };
    book.push(Body::Start(body), None, vec![]);
    book.push(Body::RegisterSeen(entry::RegisterSeen { version: 1, digest: space.digest }), None, vec![]);
}

pub fn stop(book: &mut Book) {
    book.push(Body::Stop(entry::Stop { reason: "signal".to_owned() }), None, vec![]);
}

pub fn step(book: &mut Book, world: &Parties<'_>, side: &str, by: &str, message: Message, state: &str) {
    let text = serde_json::to_value(message).unwrap().as_str().unwrap().to_owned();
    let sent = NegotiationMessage {
        message_id: format!("m-{text}"),
        message,
        consumer_pid: CONSUMER_PID.to_owned(),
        provider_pid: (message != Message::Request).then(|| PROVIDER_PID.to_owned()),
        provider: world.provider.id(),
        consumer: world.consumer.id(),
        offer: matches!(message, Message::Request | Message::Offer).then(offer),
        agreement: match message {
            Message::Agree => Some(world.deal.half.clone()),
            Message::Verify => Some(world.deal.signed.clone()),
            _ => None,
        },
        reason: None,
    };
    let bytes = canonical::to_bytes(&sent).unwrap();
    let (id, other) = match side {
        "provider" => (PROVIDER_PID, world.consumer.id()),
        _ => (CONSUMER_PID, world.provider.id()),
    };
    let body = Body::Negotiation(entry::Negotiation {
        id: id.to_owned(),
        counterparty: other.to_string(),
        side: side.to_owned(),
        by: by.to_owned(),
        message: text,
        state: state.to_owned(),
        digest: Digest::of(&bytes),
        decided_by: None,
    });
    book.push(body, None, vec![(AttachmentKind::NegotiationMessage, bytes)]);
}

pub struct Parties<'a> {
    pub provider: &'a Party,
    pub consumer: &'a Party,
    pub deal: &'a Deal,
}

pub fn negotiate(book: &mut Book, parties: &Parties<'_>, side: &str) {
    step(book, parties, side, "consumer", Message::Request, "REQUESTED");
    step(book, parties, side, "provider", Message::Agree, "AGREED");
    step(book, parties, side, "consumer", Message::Verify, "VERIFIED");
    let other = if side == "provider" { parties.consumer.id() } else { parties.provider.id() };
    let body = Body::Agreement(entry::Agreement {
        agreement: parties.deal.id,
        envelope: Digest::of(&parties.deal.envelope),
        counterparty: other.to_string(),
        side: side.to_owned(),
        dataset: "water".to_owned(),
        legal_basis: offer().legal_basis.term,
        regime: "public-task".to_owned(),
        amends: None,
        uses: None,
        volume: None,
    });
    book.push(body, Some(parties.deal.id), vec![(AttachmentKind::Envelope, parties.deal.envelope.clone())]);
    step(book, parties, side, "provider", Message::Finalize, "FINALIZED");
}

pub fn administer(book: &mut Book) {
    let document = canonical::to_bytes(&serde_json::json!({"id": "water"})).unwrap();
    let body = entry::Administration {
        action: "dataset.add".to_owned(),
        actor: "operator".to_owned(),
        document: Digest::of(&document),
        sealed: None,
    };
    book.push(Body::Administration(body), None, vec![(AttachmentKind::Document, document)]);
}

pub fn keep(book: &mut Book, note: &str) {
    let head = checkpoint_of(note);
    let body = entry::CheckpointKept {
        origin: head.origin,
        size: head.size,
        root: Digest::from_bytes(head.root.0),
        key: None,
    };
    book.push(Body::CheckpointKept(body), None, vec![(AttachmentKind::Checkpoint, note.as_bytes().to_vec())]);
}

pub fn checkpoint_of(note: &str) -> Checkpoint {
    Checkpoint::parse_text(&perron_log::SignedNote::parse(note).unwrap().text).unwrap()
}

/// What the provider writes: an agreement, then `reads` reads, and some of everything else.
pub fn provider_book(ville: &Party, inter: &Party, tiers: &Party, space: &Space, deal: &Deal, reads: u64) -> Book {
    let mut book = Book::default();
    start(&mut book, ville, space);
    administer(&mut book);
    negotiate(&mut book, &Parties { provider: ville, consumer: inter, deal }, "provider");
    let grant = entry::SchemaGrant { peer: inter.id().to_string(), hour: 7 };
    book.push(Body::SchemaGrant(grant), Some(deal.id), vec![]);
    for number in 0..reads {
        let asked = ask(inter, ville, deal.id, number);
        let decision = decide(&mut book, &asked, number, true);
        end(&mut book, deal.id, decision, OutcomeStatus::Complete, number + 1);
    }
    decide(&mut book, &ask(inter, ville, deal.id, 1001), reads, false);
    let nothing = decide(&mut book, &ask(inter, ville, deal.id, 1002), reads, true);
    end(&mut book, deal.id, nothing, OutcomeStatus::NothingLeft, reads);
    // A stranger's request under an agreement that isn't known here: refused, in no chain.
    let asked = ask(tiers, ville, Digest::of(b"unknown"), 1003);
    decide(&mut book, &asked, 0, false);
    let line = book.lines.last_mut().unwrap();
    line.entry.chain = None;
    let Body::Decision(decision) = &mut line.entry.body else { unreachable!() };
    decision.input = Some(Digest::of(&[9; 16]));
    line.attachments[1].1 = vec![9; 16];
    let cut = decide(&mut book, &ask(inter, ville, deal.id, 1004), reads, true);
    start_again(&mut book, ville, space, deal, cut, reads + 1);
    let refused = entry::RefusalSummary {
        peer: "x".into(),
        reason: "malformed".into(),
        minute: 1,
        count: 4,
        root: Digest::of(b"r"),
    };
    book.push(Body::RefusalSummary(refused), None, vec![]);
    stop(&mut book);
    book
}

/// After a crash: the read that was left open gets its outcome, and the clock has gone back.
fn start_again(book: &mut Book, ville: &Party, space: &Space, deal: &Deal, open: Digest, uses: u64) {
    let from = book.lines.last().unwrap().entry.time;
    let jump = entry::ClockJump { from, to: from.plus_millis(-5_000) };
    book.push(Body::ClockJump(jump), None, vec![]);
    book.lines.last_mut().unwrap().entry.time = from.plus_millis(-5_000);
    end(book, deal.id, open, OutcomeStatus::UnknownAfterCrash, uses);
    start(book, ville, space);
}

/// What the consumer writes of the first read, with the provider's receipt.
pub fn consumer_book(ville: &Party, inter: &Party, space: &Space, deal: &Deal, log: &Log, provider: &Book) -> Book {
    let mut book = Book::default();
    start(&mut book, inter, space);
    negotiate(&mut book, &Parties { provider: ville, consumer: inter, deal }, "consumer");
    let asked = ask(inter, ville, deal.id, 0);
    let attached = vec![(AttachmentKind::Request, asked.jws.clone().into_bytes())];
    let intent = entry::Intent {
        request: asked.digest(),
        user: asked.claims.user.clone(),
        purpose: asked.claims.purpose.clone(),
        provider: ville.id().to_string(),
        sealed: None,
    };
    book.push(Body::Intent(intent.clone()), Some(deal.id), attached.clone());
    let decided = provider.find(|b| matches!(b, Body::Decision(_)));
    let proof = |index: usize| log.reader().receipt(index as u64, None).unwrap().to_string();
    let leaf = |index: usize| URL_SAFE_NO_PAD.encode(provider.lines[index].entry.to_bytes().unwrap());
    let receipt = Receipt {
        decision: leaf(decided),
        outcome: leaf(decided + 1),
        decision_proof: proof(decided),
        outcome_proof: proof(decided + 1),
        stream_salt: URL_SAFE_NO_PAD.encode(SALT),
    };
    let receipt = canonical::to_bytes(&receipt).unwrap();
    let received = entry::Received {
        receipt: Some(Digest::of(&receipt)),
        request: asked.digest(),
        decision: Some(provider.lines[decided].leaf()),
        outcome: Some(provider.lines[decided + 1].leaf()),
        rows: 30,
        messages: 3,
        stream_root: stream_root(3),
        refused: None,
    };
    let with_receipt = [attached, vec![(AttachmentKind::Receipt, receipt)]].concat();
    book.push(Body::Received(received), Some(deal.id), with_receipt);
    let asked = ask(inter, ville, deal.id, 1001);
    let attached = vec![(AttachmentKind::Request, asked.jws.clone().into_bytes())];
    book.push(Body::Intent(entry::Intent { request: asked.digest(), ..intent }), Some(deal.id), attached.clone());
    let refused = entry::Received {
        receipt: None,
        request: asked.digest(),
        decision: None,
        outcome: None,
        rows: 0,
        messages: 0,
        stream_root: stream_root(0),
        refused: Some("purpose_not_allowed".to_owned()),
    };
    book.push(Body::Received(refused), Some(deal.id), attached);
    book
}

impl World {
    pub fn new(reads: u64) -> World {
        let (ville, inter, tiers) = (Party::new(1, "ville"), Party::new(2, "inter"), Party::new(3, "tiers"));
        let space = Space::new(&[&ville, &inter, &tiers], 1);
        let deal = deal(&space, &ville, &inter, PROVIDER_PID);
        let root = tempfile::tempdir().unwrap();
        let provider = provider_book(&ville, &inter, &tiers, &space, &deal, reads);
        let mut world =
            World { root, ville, inter, tiers, space, deal, provider, consumer: Book::default(), notes: vec![] };
        world.write();
        world
    }

    pub fn dir(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn write(&mut self) {
        let ville = self.dir("ville");
        write_around(&ville, &self.ville, &self.space, &[&self.deal]);
        let (log, notes) = write_log(&ville, &self.ville, &self.provider.lines, BATCH);
        self.notes = notes;
        let mut consumer = consumer_book(&self.ville, &self.inter, &self.space, &self.deal, &log, &self.provider);
        // The consumer keeps two heads of the provider's log, and cosigns the second.
        keep(&mut consumer, &self.notes[2]);
        keep(&mut consumer, &self.notes[4]);
        stop(&mut consumer);
        self.consumer = consumer;
        let inter = self.dir("inter");
        write_around(&inter, &self.inter, &self.space, &[&self.deal]);
        write_log(&inter, &self.inter, &self.consumer.lines, BATCH);
        std::fs::write(inter.join("trust/kept/liege_ville_1.checkpoint"), &self.notes[4]).unwrap();
    }

    /// The provider's directory written anew with other lines.
    pub fn provider_with(&self, lines: &[Line]) -> PathBuf {
        self.party_with("ville-changed", &self.ville, lines)
    }

    /// The consumer's directory written anew with other lines.
    pub fn consumer_with(&self, lines: &[Line]) -> PathBuf {
        let dir = self.party_with("inter-changed", &self.inter, lines);
        let kept = self.dir("inter").join("trust/kept/liege_ville_1.checkpoint");
        std::fs::copy(kept, dir.join("trust/kept/liege_ville_1.checkpoint")).unwrap();
        dir
    }

    fn party_with(&self, name: &str, party: &Party, lines: &[Line]) -> PathBuf {
        let dir = self.dir(name);
        let _ = std::fs::remove_dir_all(&dir);
        write_around(&dir, party, &self.space, &[&self.deal]);
        write_log(&dir, party, lines, BATCH);
        dir
    }

    /// Puts the note of a batch, cosigned, where the provider keeps what others cosigned.
    pub fn cosign(&self, by: &Party, note: &str, seconds: u64) {
        let line = by.cosigner().cosign(&checkpoint_of(note), seconds).unwrap();
        let file = self.dir("ville").join(format!("trust/cosigned/{}.checkpoint", by.id()));
        std::fs::write(file, format!("{note}{line}\n")).unwrap();
    }
}
