//! The fold keeps in memory what moves, and finds the rest in the store.

use super::*;
use crate::connector::ports::AgreementsPort;
use crate::ledger::SystemClock;
use crate::query::testing::Bench;
use crate::trust::envelope::{sign_as_consumer, sign_as_provider};
use crate::trust::keys::KeySet;
use perron_gate::Agreements as _;
use perron_model::agreement::{AgreementKind, AgreementPayload, JwsJson, LegalBasis};
use perron_model::dataset::{Dataset, Regime};
use perron_model::entry::{Agreement, ENTRY_VERSION, Negotiation as Step};
use perron_model::id::SpaceId;
use perron_model::negotiation::{Message, Side, State as Phase};
use perron_model::participant::KeyUse;
use perron_model::{Timestamp, canonical};
use serde_json::json;

fn member(name: &str) -> ParticipantId {
    ParticipantId::parse(name).unwrap()
}

fn entry(index: u64, body: Body) -> Entry {
    Entry {
        version: ENTRY_VERSION,
        index,
        time: Timestamp::EPOCH,
        previous: None,
        blind: [0; 16].into(),
        chain: None,
        trace: None,
        on_behalf_of: None,
        processing_activity: None,
        body,
    }
}

fn described(column: &str) -> Dataset {
    serde_json::from_value(json!({
        "id": "water", "title": "Water", "description": "Readings", "owner": "The commune",
        "theme": "http://publications.europa.eu/resource/authority/data-theme/ENVI",
        "regime": "public-task", "subject_key": {"declared": "none"}, "visibility": {"to": "members"},
        "columns": [{"name": column, "type": "text", "meaning": "A column", "unit": "", "protection": "none"}]
    }))
    .unwrap()
}

fn offer() -> Offer {
    Offer {
        id: DatasetId::parse("plain").unwrap(),
        dataset: DatasetId::parse("water").unwrap(),
        description: Digest::of(b"description"),
        policy: json!({
            "@type": "Offer",
            "profile": "https://w3id.org/perron/odrl/v1/",
            "permission": [{"action": "read", "constraint": [
                {"leftOperand": "purpose", "operator": "isAnyOf", "rightOperand": ["https://w3id.org/dpv#ImprovePublicServices"]},
                {"leftOperand": "perron:columns", "operator": "isAnyOf", "rightOperand": ["meter"]}
            ]}]
        }),
        legal_basis: LegalBasis { term: "https://w3id.org/dpv#PublicInterest".into(), text: "A law".into() },
        regime: Regime::PublicTask,
        amends: None,
    }
}

/// A provider's negotiation as far as it is told, entry by entry.
struct Provider {
    directory: tempfile::TempDir,
    state: State,
    index: u64,
}

impl Provider {
    fn new() -> Provider {
        let directory = tempfile::tempdir().unwrap();
        let state = State::open(Store::open(directory.path()).unwrap()).unwrap();
        Provider { directory, state, index: 0 }
    }

    fn again(self) -> Provider {
        let Provider { directory, state, index } = self;
        state.store.flush().unwrap();
        drop(state);
        let state = State::open(Store::open_again(directory.path())).unwrap();
        Provider { directory, state, index }
    }

    fn applied(&mut self, body: Body, kind: AttachmentKind, bytes: Vec<u8>) {
        self.index += 1;
        self.state.applied(&entry(self.index, body), Digest::of(b"leaf"), &[(kind, bytes)]);
    }

    /// One step of the negotiation `pid`, which the other side calls `theirs`.
    fn step(&mut self, pid: &str, theirs: &str, kind: Message, state: Phase, agreement: Option<JwsJson>) {
        let by = if matches!(kind, Message::Agree | Message::Finalize) { "provider" } else { "consumer" };
        let message = NegotiationMessage {
            message_id: format!("{pid}-{state}"),
            message: kind,
            consumer_pid: theirs.to_owned(),
            provider_pid: Some(pid.to_owned()),
            provider: member("commune"),
            consumer: member("inter"),
            offer: (kind == Message::Request).then(offer),
            agreement,
            reason: None,
        };
        let bytes = canonical::to_bytes(&message).unwrap();
        let body = Body::Negotiation(Step {
            id: pid.to_owned(),
            counterparty: "inter".to_owned(),
            side: "provider".to_owned(),
            by: by.to_owned(),
            message: json!(kind).as_str().unwrap().to_owned(),
            state: state.to_string(),
            digest: Digest::of(&bytes),
            decided_by: None,
        });
        self.applied(body, AttachmentKind::NegotiationMessage, bytes);
        if by == "provider" {
            self.state.delivered(pid, &message.message_id, "").unwrap();
        }
    }

    /// The whole of it; the agreement's name.
    fn conclude(&mut self, pid: &str, theirs: &str) -> AgreementId {
        let payload = AgreementPayload {
            kind: AgreementKind::V1,
            space: SpaceId::parse("space").unwrap(),
            negotiation: pid.to_owned(),
            provider: member("commune"),
            consumer: member("inter"),
            offer: offer(),
            timestamp: Timestamp::EPOCH,
        };
        let [ours, others] = [(); 2].map(|()| KeySet::generate(false).unwrap());
        let half = sign_as_provider(&payload, ours.signing_key(KeyUse::Agreement).unwrap()).unwrap();
        let both = sign_as_consumer(half.clone(), others.signing_key(KeyUse::Agreement).unwrap()).unwrap();
        let id = payload.id().unwrap();
        self.step(pid, theirs, Message::Request, Phase::Requested, None);
        self.step(pid, theirs, Message::Agree, Phase::Agreed, Some(half));
        self.step(pid, theirs, Message::Verify, Phase::Verified, Some(both.clone()));
        let envelope = Envelope { agreement: both, provider_entry: String::new(), consumer_entry: String::new() };
        let body = Body::Agreement(Agreement {
            agreement: id,
            envelope: Digest::of(b"envelope"),
            counterparty: "inter".to_owned(),
            side: "provider".to_owned(),
            dataset: "water".to_owned(),
            legal_basis: String::new(),
            regime: "public-task".to_owned(),
            amends: None,
            uses: None,
            volume: None,
        });
        self.applied(body, AttachmentKind::Envelope, canonical::to_bytes(&envelope).unwrap());
        self.step(pid, theirs, Message::Finalize, Phase::Finalized, None);
        id
    }

    fn moving(&self) -> Vec<String> {
        self.state.read().moving.keys().cloned().collect()
    }

    /// Both negotiations are found by either side's number, and the agreement by its name.
    fn finds(&self, id: &AgreementId) {
        for (pid, theirs) in [("ended", "their-ended"), ("open", "their-open")] {
            assert_eq!(self.state.negotiation(pid).unwrap().unwrap().pid, pid);
            let by_theirs = |side, peer| self.state.negotiation_of(side, &member(peer), theirs).unwrap();
            assert_eq!(by_theirs(Side::Provider, "inter").unwrap().pid, pid);
            // The number is the other side's: another's, or one that it has as provider, is another.
            assert!(by_theirs(Side::Consumer, "inter").is_none() && by_theirs(Side::Provider, "other").is_none());
        }
        assert!(self.state.negotiation("unknown").unwrap().is_none());
        assert_eq!(self.state.negotiations().unwrap().len(), 2);
        assert_eq!(self.state.agreement(id).unwrap().payload.negotiation, "ended");
        assert_eq!(self.state.agreements().unwrap().len(), 1);
        assert!(self.state.agreement(&Digest::of(b"unknown")).is_none());
    }
}

#[test]
fn what_has_ended_is_found_in_the_store() {
    let mut provider = Provider::new();
    let id = provider.conclude("ended", "their-ended");
    provider.step("open", "their-open", Message::Request, Phase::Requested, None);
    assert_eq!(provider.moving(), ["open"]);
    provider.finds(&id);
    let provider = provider.again();
    assert_eq!(provider.moving(), ["open"]);
    provider.finds(&id);
    let waiting: Vec<String> = provider.state.negotiations_to_move().into_iter().map(|n| n.pid).collect();
    assert_eq!(waiting, ["open"]);
}

#[test]
fn an_ended_negotiation_moves_while_its_last_message_is_on_its_way() {
    let mut provider = Provider::new();
    provider.conclude("ended", "their-ended");
    // The end is told again, and not yet delivered.
    let found = provider.state.negotiation("ended").unwrap().unwrap();
    assert!(found.outgoing.is_none() && found.state == Phase::Finalized);
    provider.step("open", "their-open", Message::Request, Phase::Requested, None);
    let message_id = {
        let mut memory = provider.state.memory.write().unwrap();
        let mut open = memory.moving["open"].clone();
        open.state = Phase::Terminated;
        let message = NegotiationMessage {
            message_id: "last".to_owned(),
            message: Message::Terminate,
            consumer_pid: "their-open".to_owned(),
            provider_pid: Some("open".to_owned()),
            provider: member("commune"),
            consumer: member("inter"),
            offer: None,
            agreement: None,
            reason: None,
        };
        open.outgoing = Some(message);
        provider.state.keep_negotiation(&mut memory, open).unwrap();
        "last"
    };
    let provider = provider.again();
    assert_eq!(provider.moving(), ["open"]);
    provider.state.delivered("open", message_id, "").unwrap();
    assert!(provider.moving().is_empty());
    assert!(provider.again().moving().is_empty());
}

#[test]
fn a_store_of_before_the_marks_is_given_them() {
    let mut provider = Provider::new();
    let id = provider.conclude("ended", "their-ended");
    provider.step("open", "their-open", Message::Request, Phase::Requested, None);
    for tree in [MOVING, THEIRS] {
        let gone = provider.state.store.keys(tree).unwrap().into_iter().map(|key| Change::Remove { tree, key });
        provider.state.store.apply(gone.collect()).unwrap();
    }
    let provider = provider.again();
    assert_eq!(provider.moving(), ["open"]);
    provider.finds(&id);
}

#[test]
fn a_set_described_anew_is_looked_at_anew() {
    let bench = Bench::new();
    let mut provider = Provider::new();
    let id = provider.conclude("ended", "their-ended");
    let Provider { directory: _directory, state, .. } = provider;
    let port = AgreementsPort::new(Arc::new(state), bench.sets.clone(), Arc::new(SystemClock));
    assert!(port.agreement(&id).is_none(), "the set isn't published");
    bench.publish(&described("meter"), "meter\na\n");
    let in_force = port.agreement(&id).unwrap();
    assert_eq!((in_force.consumer, in_force.agreed_at), (member("inter"), Timestamp::EPOCH));
    assert!(port.agreement(&id).is_some());
    // The policy gives a column that there isn't any more.
    bench.sets.withdraw(&DatasetId::parse("water").unwrap()).unwrap();
    assert!(port.agreement(&id).is_none());
    bench.publish(&described("counter"), "counter\na\n");
    assert!(port.agreement(&id).is_none());
    bench.sets.withdraw(&DatasetId::parse("water").unwrap()).unwrap();
    bench.publish(&described("meter"), "meter\nb\n");
    assert!(port.agreement(&id).is_some());
}
