use super::*;
use crate::connector::{FolderDocument, FolderScope, ProvenLeaf};
use perron_log::Hash;
use perron_log::merkle::leaf_hash;
use perron_model::agreement::{AgreementKind, Envelope, JwsJson, LegalBasis, Offer};
use perron_model::dataset::Regime;
use perron_model::entry::{
    Administration, Agreement, Body, ChainPosition, Decision, Entry, Outcome, OutcomeStatus, PlanRefusal,
};
use perron_model::id::{DatasetId, SpaceId};
use perron_model::negotiation::Side;
use perron_model::participant::PublicKey;
use perron_model::{Digest, Timestamp};

/// A text that would be markup, a script and an attribute's end.
const HOSTILE: &str = "\"><script>alert('x')</script><b>&amp;";

fn proven(index: u64, body: Body, chain: Option<ChainPosition>) -> (ProvenLeaf, Hash) {
    let time = Timestamp::from_millis(1_780_000_000_000 + i64::try_from(index).unwrap() * 3_600_000).unwrap();
    let entry = Entry {
        version: 1,
        index,
        time,
        previous: None,
        blind: [7; 16].into(),
        chain,
        trace: None,
        on_behalf_of: None,
        processing_activity: None,
        body,
    };
    let leaf = entry.to_bytes().unwrap();
    (ProvenLeaf { index, leaf: STANDARD.encode(&leaf), proof: Vec::new(), signed: None }, leaf_hash(&leaf))
}

fn decision(permitted: bool, user: &str) -> Decision {
    Decision {
        request: Digest::of(user.as_bytes()),
        permitted,
        reasons: if permitted { Vec::new() } else { vec!["purpose_not_allowed".to_owned(), "prohibited".to_owned()] },
        clauses: if permitted { Vec::new() } else { vec!["permission[0]".to_owned(), "prohibition[0]".to_owned()] },
        module: Digest::of(b"module"),
        input: Some(Digest::of(b"input")),
        snapshot: None,
        uses: 1,
        register: 1,
        consumer: "inter".to_owned(),
        purpose: format!("https://w3id.org/dpv#{HOSTILE}"),
        legal_basis: None,
        user: user.to_owned(),
        beside: None,
        reserved: None,
        volume: None,
        attached: None,
        sealed: None,
    }
}

fn outcome(decision: Hash) -> Outcome {
    Outcome {
        decision: Digest::from_bytes(decision.0),
        status: OutcomeStatus::Complete,
        reason: None,
        batches: 1,
        rows: 1_234,
        bytes: 56_789,
        messages: 2,
        stream_root: Digest::of(b"root"),
        uses: 1,
        volume: None,
    }
}

fn entries(agreement: Digest) -> Vec<ProvenLeaf> {
    let mut number = 0;
    let mut chain = || {
        number += 1;
        Some(ChainPosition { agreement, number: number - 1, previous: None })
    };
    let began = Agreement {
        agreement,
        envelope: Digest::of(b"envelope"),
        counterparty: "inter".to_owned(),
        side: "provider".to_owned(),
        dataset: "water".to_owned(),
        legal_basis: "https://w3id.org/dpv#PublicInterest".to_owned(),
        regime: "public-task".to_owned(),
        amends: None,
        uses: None,
        volume: None,
    };
    let refused = PlanRefusal {
        peer: "inter".to_owned(),
        reason: "column_not_granted".to_owned(),
        clause: None,
        statement: Digest::of(b"statement"),
    };
    let began = proven(10, Body::Agreement(began), chain()).0;
    let (permit, placed) = proven(12, Body::Decision(decision(true, "u1")), chain());
    vec![
        began,
        permit,
        proven(13, Body::Outcome(outcome(placed)), chain()).0,
        proven(15, Body::Decision(decision(false, HOSTILE)), chain()).0,
        proven(16, Body::PlanRefusal(refused), chain()).0,
    ]
}

fn folder() -> Folder {
    let participant = ParticipantId::parse("commune").unwrap();
    let payload = AgreementPayload {
        kind: AgreementKind::V1,
        space: SpaceId::parse("eaux").unwrap(),
        negotiation: "1".to_owned(),
        provider: participant.clone(),
        consumer: ParticipantId::parse("inter").unwrap(),
        offer: Offer {
            id: DatasetId::parse("offer").unwrap(),
            dataset: DatasetId::parse("water").unwrap(),
            description: Digest::of(b"description"),
            policy: json!({"permission": [{"action": "read"}], "note": HOSTILE}),
            legal_basis: LegalBasis {
                term: "https://w3id.org/dpv#PublicInterest".to_owned(),
                text: HOSTILE.to_owned(),
            },
            regime: Regime::PublicTask,
            amends: None,
        },
        timestamp: Timestamp::EPOCH,
    };
    let agreement = payload.id().unwrap();
    let member = |id: &str, name: &str| {
        let times = json!({"valid_from": "2026-01-01T00:00:00.000Z", "valid_until": "2036-01-01T00:00:00.000Z"});
        let entry = json!({"space": "eaux", "version": 1, "participant": {"id": id, "name": name, "enterprise": "0202.239.951", "jurisdiction": "BE", "roles": ["provider"], "keys": [], "log_origin": format!("a/{id}/1"), "status": "active", "valid_from": times["valid_from"], "valid_until": times["valid_until"]}});
        format!("h.{}.s", URL_SAFE_NO_PAD.encode(entry.to_string()))
    };
    let scope = FolderScope { agreement, since: None, until: None };
    let document = FolderDocument { scope, chain: 5, head: Digest::of(b"head"), first: 0, entries: 5 };
    let document = String::from_utf8(canonical::to_bytes(&document).unwrap()).unwrap();
    let act = Administration {
        action: "audit.folder".to_owned(),
        actor: "operator".to_owned(),
        document: Digest::of(document.as_bytes()),
        sealed: None,
    };
    Folder {
        participant,
        space: payload.space.clone(),
        authority: PublicKey::from_bytes([1; 32]),
        made: Timestamp::EPOCH,
        side: Side::Provider,
        checkpoint: "a/commune/1\n18\nroot\n\n— a/commune/1 x\n".to_owned(),
        witnessed: Vec::new(),
        envelope: Envelope {
            agreement: JwsJson { payload: URL_SAFE_NO_PAD.encode(payload.bytes().unwrap()), signatures: Vec::new() },
            provider_entry: String::new(),
            consumer_entry: String::new(),
        },
        register: vec![member("commune", "Commune"), member("inter", HOSTILE)],
        entries: entries(agreement),
        given: proven(17, Body::Administration(act), None).0,
        document,
    }
}

fn page() -> String {
    let table = json!({"terms": [{"at": "permission[0].action", "term": "odrl:read", "stated": HOSTILE, "meaning": HOSTILE, "by": "gate", "label": "enforced"}]});
    render(&folder(), &Term::of(&table, &table), Lang::Fr).unwrap()
}

/// What stands in an element of this mark.
fn shown<'a>(page: &'a str, mark: &str) -> &'a str {
    let (_, rest) = page.split_once(mark).unwrap_or_else(|| panic!("no `{mark}`"));
    rest.split_once('>').unwrap().1.split_once('<').unwrap().0
}

#[test]
fn numbers_are_those_of_the_entries() {
    let page = page();
    for (total, number) in [("permitted", "1"), ("refused", "2"), ("whole", "1"), ("cut", "0"), ("entries", "5")] {
        assert_eq!(shown(&page, &format!("data-total=\"{total}\"")), number, "{total}");
    }
    assert_eq!(shown(&page, "data-total=\"rows\""), "1\u{202f}234");
    assert_eq!(shown(&page, "data-total=\"bytes\""), "56\u{202f}789");
    // The outcome's rows are those of the user who asked.
    let (_, users) = page.split_once("data-group=\"user\"").unwrap();
    let (_, first) = users.split_once("<tr data-key=\"u1\">").unwrap();
    assert!(first.split_once("</tr>").unwrap().0.contains("1\u{202f}234"), "{first}");
    // A refusal of two reasons counts for each.
    let (_, reasons) = page.split_once("data-group=\"reason\"").unwrap();
    let reasons = reasons.split_once("</table>").unwrap().0;
    assert_eq!(reasons.matches("<tr data-key=").count(), 3, "{reasons}");
}

#[test]
fn each_number_leads_to_its_entries() {
    let page = page();
    let permitted = page.split_once("data-total=\"permitted\"").unwrap().0.rsplit_once("href=").unwrap().1;
    assert!(permitted.starts_with("\"#e12\""), "{permitted}");
    for index in [10, 12, 13, 15, 16] {
        assert_eq!(page.matches(&format!("<li id=\"e{index}\"")).count(), 1, "{index}");
    }
    assert_eq!(page.matches("<code class=\"leaf\">").count(), 5);
}

#[test]
fn texts_of_others_are_texts() {
    let page = page();
    assert!(!page.contains("<script>alert") && !page.contains("<b>&"), "markup of somebody else's");
    assert_eq!(page.matches("<script").count(), 2, "a script for the data and one that runs");
    let escaped = page.matches("&quot;&gt;&lt;script&gt;").count();
    assert!(escaped > 10, "{escaped} escaped texts");
    let data = page.split_once("id=\"data\">").unwrap().1.split_once("</script>").unwrap().0;
    let data: Json = serde_json::from_str(data).unwrap();
    assert_eq!(data["document"], folder().document);
}

#[test]
fn what_runs_is_what_the_policy_of_content_names() {
    let page = page();
    let (_, policy) = page.split_once("Content-Security-Policy\" content=\"").unwrap();
    let policy = policy.split_once('"').unwrap().0.replace("&#x27;", "'").replace("&#x2f;", "/");
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text.as_bytes())));
    let between = |begin: &str, end: &str| page.split_once(begin).unwrap().1.split_once(end).unwrap().0;
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    assert!(policy.contains(&hash(between("<style>", "</style>"))), "{policy}");
    assert!(policy.contains(&hash(between("<script>", "</script>"))), "{policy}");
    for fetched in ["http:", "https:", "src=", "@import", "url("] {
        let markup = page.split_once("id=\"data\"").unwrap().0;
        let found = markup.matches(fetched).count();
        // Policies and purposes are named by addresses; nothing is fetched from them.
        assert!(found == 0 || fetched.starts_with("http"), "{fetched}");
    }
}
