//! Questions of an auditor, each against entries that answer it and others.

use super::*;
use perron_model::Digest;
use perron_model::agreement::{AgreementKind, LegalBasis, Offer};
use perron_model::dataset::Regime;
use perron_model::entry::{ChainPosition, Decision, ENTRY_VERSION, PlanRefusal, StaffRefusal, Stop};

fn entry(body: Body, chain: Option<Digest>, ms: i64) -> Entry {
    let chain = chain.map(|agreement| ChainPosition { agreement, number: 1, previous: None });
    Entry {
        version: ENTRY_VERSION,
        index: 1,
        time: Timestamp::from_millis(ms).unwrap(),
        previous: None,
        blind: [7; 16].into(),
        chain,
        trace: None,
        on_behalf_of: None,
        processing_activity: None,
        body,
    }
}

fn decision(permitted: bool) -> Body {
    Body::Decision(Decision {
        request: Digest::of(b"request"),
        permitted,
        reasons: Vec::new(),
        clauses: Vec::new(),
        module: Digest::of(b"module"),
        input: Some(Digest::of(b"input")),
        snapshot: None,
        uses: 1,
        register: 1,
        consumer: "inter".into(),
        purpose: "dpv:Planning".into(),
        legal_basis: None,
        user: "anna".into(),
        beside: None,
        reserved: None,
        volume: None,
        attached: None,
        sealed: None,
    })
}

fn payload() -> AgreementPayload {
    AgreementPayload {
        kind: AgreementKind::V1,
        space: "essai".to_owned().try_into().unwrap(),
        negotiation: "n".into(),
        provider: ParticipantId::parse("commune").unwrap(),
        consumer: ParticipantId::parse("inter").unwrap(),
        offer: Offer {
            id: DatasetId::parse("offer").unwrap(),
            dataset: DatasetId::parse("water").unwrap(),
            description: Digest::of(b"d"),
            policy: serde_json::json!({"permission": [{"constraint": [
                {"leftOperand": "perron:columns", "operator": "isAnyOf", "rightOperand": ["meter", "litres"]},
                {"leftOperand": "perron:column/nis", "operator": "eq", "rightOperand": "63049"},
            ]}]}),
            legal_basis: LegalBasis { term: "dpv:PublicTask".into(), text: "law".into() },
            regime: Regime::PublicTask,
            amends: None,
        },
        timestamp: Timestamp::EPOCH,
    }
}

#[test]
fn each_part_of_a_question_lets_through_what_it_asks_for_and_nothing_else() {
    let (chain, agreed) = (Digest::of(b"agreement"), payload());
    let commune = |id: &ParticipantId| (id.as_str() == "commune").then(|| "61072".to_owned());
    let about = Agreed { payload: &agreed, commune: &commune };
    let read = entry(decision(true), Some(chain), 5_000);
    let staff = entry(
        Body::StaffRefusal(StaffRefusal {
            user: "bea".into(),
            action: "query".into(),
            reason: "purpose_not_granted".into(),
            purpose: Some("dpv:Marketing".into()),
        }),
        None,
        9_000,
    );
    let q = Question::default;
    let time = |ms| Some(Timestamp::from_millis(ms).unwrap());
    // Each asks for the read; the refusal of staff answers none of them.
    let questions = [
        Question { organisation: Some(ParticipantId::parse("inter").unwrap()), ..q() },
        Question { organisation: Some(ParticipantId::parse("commune").unwrap()), ..q() },
        Question { user: Some("anna".into()), ..q() },
        Question { agreement: Some(chain), ..q() },
        Question { purpose: Some("dpv:Planning".into()), ..q() },
        Question { legal_basis: Some("dpv:PublicTask".into()), ..q() },
        Question { dataset: Some(DatasetId::parse("water").unwrap()), ..q() },
        Question { column: Some("litres".into()), ..q() },
        Question { place: Some("63049".into()), column: Some("meter".into()), ..q() },
        Question { place: Some("61072".into()), ..q() },
        Question { kinds: vec!["outcome".into(), "permit".into()], ..q() },
        Question { until: time(9_000), ..q() },
        Question { refused: Some(false), ..q() },
    ];
    for question in &questions {
        assert!(question.fits(&read, "permit", Some(&about)), "{question:?}");
        assert!(!question.fits(&staff, "staff-refusal", None), "{question:?}");
    }
    for question in [
        Question { since: time(5_001), ..q() },
        Question { refused: Some(true), ..q() },
        Question { user: Some("bea".into()), purpose: Some("dpv:Marketing".into()), ..q() },
    ] {
        assert!(!question.fits(&read, "permit", Some(&about)), "{question:?}");
        assert!(question.fits(&staff, "staff-refusal", None), "{question:?}");
    }
    for question in [
        Question { column: Some("nis".into()), ..q() },
        Question { place: Some("6304".into()), ..q() },
        Question { place: Some("litres".into()), ..q() },
    ] {
        assert!(!question.fits(&read, "permit", Some(&about)), "{question:?}");
    }
    assert!(q().fits(&read, "permit", Some(&about)) && q().fits(&staff, "staff-refusal", None));
    assert!(Question { since: time(5_000), ..q() }.fits(&read, "permit", None));
}

#[test]
fn a_question_asks_for_all_its_parts_at_once() {
    let read = entry(decision(true), None, 5_000);
    let other = Question { user: Some("anna".into()), purpose: Some("dpv:Marketing".into()), ..Question::default() };
    assert!(!other.fits(&read, "permit", None));
}

#[test]
fn refusals_are_those_of_the_gate_of_planning_and_of_staff() {
    let refused = |body, kind: &str| {
        Question { refused: Some(true), ..Question::default() }.fits(&entry(body, None, 1), kind, None)
    };
    assert!(refused(decision(false), "refusal"));
    assert!(!refused(decision(true), "permit"));
    let planning = PlanRefusal {
        peer: "inter".into(),
        reason: "column_not_granted".into(),
        clause: None,
        statement: Digest::of(b"s"),
    };
    assert!(refused(Body::PlanRefusal(planning), "plan-refusal"));
    assert!(!refused(Body::Stop(Stop { reason: "signal".into() }), "stop"));
}
