use super::*;

fn name(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn told(what: &str, by: Side, act: Act) -> Told {
    Told { name: name(what), agreement: name("agreement"), by, time: Timestamp::EPOCH, act }
}

fn reason() -> String {
    "parce que".to_owned()
}

fn suspend(what: &str, by: Side) -> Told {
    told(what, by, Act::Suspend { reason: reason() })
}

fn resume(what: &str, by: Side, lifts: &[&str]) -> Told {
    told(what, by, Act::Resume { lifts: lifts.iter().map(|l| name(l)).collect() })
}

fn confirm(what: &str, by: Side, proposal: &str) -> Told {
    told(what, by, Act::Confirm { proposal: name(proposal) })
}

fn refuse(what: &str, by: Side, proposal: &str) -> Told {
    told(what, by, Act::Refuse { proposal: name(proposal), reason: reason() })
}

fn revoke(what: &str, by: Side) -> Told {
    told(what, by, Act::Revoke { reason: reason() })
}

fn life() -> Life {
    Life::new(name("agreement"))
}

use Side::{Consumer, Provider};

#[test]
fn a_suspension_ends_by_both_sides() {
    let mut life = life();
    life.take(suspend("s", Provider)).unwrap();
    assert_eq!(life.standing(), Standing::Suspended);
    life.take(resume("r", Provider, &["s"])).unwrap();
    assert_eq!(life.standing(), Standing::Suspended, "one side alone doesn't resume");
    assert_eq!(life.take(confirm("own", Provider, "r")).unwrap_err().code, ErrorCode::NotFound);
    assert_eq!(life.proposal_of(Provider).map(|t| t.name), Some(name("r")));
    life.take(refuse("no", Consumer, "r")).unwrap();
    assert_eq!(life.standing(), Standing::Suspended);
    assert!(life.proposal_of(Provider).is_none());
    assert_eq!(life.take(confirm("late", Consumer, "r")).unwrap_err().code, ErrorCode::TransitionIllegal);
    life.take(resume("r2", Consumer, &["s"])).unwrap();
    life.take(confirm("yes", Provider, "r2")).unwrap();
    assert_eq!(life.standing(), Standing::InForce);
    life.take(suspend("again", Consumer)).unwrap();
    assert_eq!(life.standing(), Standing::Suspended);
    assert!(life.proposal_of(Consumer).is_none());
}

#[test]
fn a_revocation_is_for_ever_and_of_all_versions() {
    let mut life = life();
    life.amend(&name("agreement"), name("second")).unwrap();
    assert_eq!(life.standing_of(&name("agreement")), Standing::Amended);
    assert_eq!(life.standing_of(&name("second")), Standing::InForce);
    assert_eq!(life.amend(&name("agreement"), name("third")).unwrap_err().code, ErrorCode::AgreementAmended);
    life.take(revoke("v", Consumer)).unwrap();
    for version in ["agreement", "second"] {
        assert_eq!(life.standing_of(&name(version)), Standing::Revoked);
    }
    life.take(suspend("s", Provider)).unwrap();
    life.take(resume("r", Provider, &["s"])).unwrap();
    life.take(confirm("c", Consumer, "r")).unwrap();
    assert_eq!(life.standing(), Standing::Revoked);
    assert_eq!(life.require_amendable(&name("second")).unwrap_err().code, ErrorCode::AgreementRevoked);
    // The other side finalized before it knew: what was revoked stays revoked.
    life.amend(&name("second"), name("third")).unwrap();
    assert_eq!(life.standing_of(&name("third")), Standing::Revoked);
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let mut life = life();
    life.take(suspend("s", Provider)).unwrap();
    let before = life.clone();
    assert_eq!(life.take(resume("r", Consumer, &["s", "unknown"])).unwrap_err().code, ErrorCode::NotFound);
    assert_eq!(life.take(confirm("c", Consumer, "s")).unwrap_err().code, ErrorCode::NotFound);
    assert_eq!(life.take(refuse("c", Consumer, "unknown")).unwrap_err().code, ErrorCode::NotFound);
    life.take(suspend("s", Provider)).unwrap();
    assert_eq!(life, before);
}

#[test]
fn notices_are_bounded_and_a_revocation_passes_the_bound() {
    let mut life = life();
    for number in 0..NOTICES_MAX {
        life.take(suspend(&number.to_string(), Provider)).unwrap();
    }
    assert_eq!(life.take(suspend("more", Consumer)).unwrap_err().code, ErrorCode::Overloaded);
    life.take(revoke("v", Consumer)).unwrap();
    life.take(revoke("v2", Provider)).unwrap();
    assert_eq!(life.take(revoke("v3", Provider)).unwrap_err().code, ErrorCode::Overloaded);
    assert_eq!(life.standing(), Standing::Revoked);
}

/// All orders in which two sides' notices can become known, each side's own in their order.
fn interleavings(a: &[Told], b: &[Told]) -> Vec<Vec<Told>> {
    match (a.split_first(), b.split_first()) {
        (None, _) => vec![b.to_vec()],
        (_, None) => vec![a.to_vec()],
        (Some((first_a, rest_a)), Some((first_b, rest_b))) => {
            let begin = |first: &Told, rest: Vec<Vec<Told>>| {
                rest.into_iter().map(|r| [vec![first.clone()], r].concat()).collect::<Vec<_>>()
            };
            [begin(first_a, interleavings(rest_a, b)), begin(first_b, interleavings(a, rest_b))].concat()
        }
    }
}

#[test]
fn notices_that_cross_lead_to_one_state() {
    let provider = [
        suspend("s1", Provider),
        resume("r1", Provider, &["s1"]),
        suspend("s3", Provider),
        confirm("c2", Provider, "r2"),
    ];
    let consumer = [suspend("s2", Consumer), confirm("c1", Consumer, "r1"), resume("r2", Consumer, &["s2"])];
    let mut played = 0;
    for order in interleavings(&provider, &consumer) {
        let mut life = life();
        // What answers comes after what it answers: the other orders can't happen.
        if order.into_iter().any(|t| life.take(t).is_err()) {
            continue;
        }
        played += 1;
        assert_eq!(life.standing(), Standing::Suspended, "only `s3` is left");
        assert_eq!(life.suspensions().into_iter().map(|t| t.name).collect::<Vec<_>>(), [name("s3")]);
    }
    assert!(played >= 3, "{played} orders");
}

fn fact(what: &str, ms: i64, by: Side, value: bool) -> Told {
    let act = Act::Fact { name: FactName::parse("crisis").unwrap(), value: FactValue::Boolean(value) };
    Told { time: Timestamp::from_millis(ms).unwrap(), ..told(what, by, act) }
}

#[test]
fn the_newest_of_a_fact_holds_in_whatever_order_it_is_told() {
    let [old, new] = [fact("f1", 1, Provider, true), fact("f2", 2, Provider, false)];
    for order in [[&old, &new, &old], [&new, &old, &new]] {
        let mut life = life();
        order.into_iter().for_each(|t| life.take(t.clone()).unwrap());
        assert_eq!(life.facts().values().map(|t| t.name).collect::<Vec<_>>(), [new.name]);
        assert!(!life.is_news(&old) && !life.is_news(&new));
        assert_eq!(life.standing(), Standing::InForce);
        assert_eq!(life.take(fact("f3", 3, Consumer, true)).unwrap_err().code, ErrorCode::TransitionIllegal);
    }
    for (text, value) in
        [("true", Some(FactValue::Boolean(true))), ("rouge", Some(FactValue::Text("rouge".to_owned()))), ("", None)]
    {
        assert_eq!(FactValue::parse(text).ok(), value, "{text}");
    }
}

#[test]
fn a_duty_is_fulfilled_once() {
    let fulfil = |what: &str, duty: &str| {
        told(what, Consumer, Act::Fulfil { duty: duty.to_owned(), evidence: "fait".to_owned(), file: None })
    };
    let mut life = life();
    life.take(fulfil("a", "permission[0].duty[0]")).unwrap();
    life.take(fulfil("a", "permission[0].duty[0]")).unwrap();
    assert_eq!(life.take(fulfil("b", "permission[0].duty[0]")).unwrap_err().code, ErrorCode::TransitionIllegal);
    life.take(fulfil("c", "obligation[0]")).unwrap();
    assert_eq!(life.fulfilments().count(), 2);
    assert!(life.fulfilled(&name("agreement"), "obligation[0]").is_some());
    // An amended policy has duties of its own.
    assert!(life.fulfilled(&name("second"), "obligation[0]").is_none());
    assert_eq!(life.told().len(), 0);
}

fn notice(act: Act) -> Notice {
    Notice {
        kind: NoticeKind::V1,
        space: SpaceId::parse("eau").unwrap(),
        id: "0190".to_owned(),
        agreement: name("agreement"),
        from: ParticipantId::parse("commune").unwrap(),
        to: ParticipantId::parse("inter").unwrap(),
        time: Timestamp::EPOCH,
        act,
    }
}

#[test]
fn a_notice_reads_back_in_one_spelling_and_within_its_bounds() {
    let good = notice(Act::Suspend { reason: reason() });
    let bytes = good.bytes().unwrap();
    assert_eq!(Notice::parse(&bytes).unwrap(), good);
    let text = String::from_utf8(bytes).unwrap();
    assert!(text.contains(r#""act":{"kind":"suspend","reason":"parce que"}"#), "{text}");
    for other in
        [text.replace(':', ": "), text.replace("suspend", "forget"), text.replace("\"act\":", "\"more\":1,\"act\":")]
    {
        assert!(Notice::parse(other.as_bytes()).is_err(), "{other}");
    }
    let long = "x".repeat(REASON_BYTES_MAX + 1);
    let twice = vec![name("s"), name("s")];
    for act in [
        Act::Suspend { reason: long },
        Act::Revoke { reason: " ".to_owned() },
        Act::Resume { lifts: Vec::new() },
        Act::Resume { lifts: twice },
    ] {
        assert!(notice(act.clone()).check().is_err(), "{act:?}");
    }
    let mut to_itself = notice(Act::Resume { lifts: vec![name("s")] });
    to_itself.to = to_itself.from.clone();
    assert!(to_itself.check().is_err());
}

#[test]
fn standings_read_back() {
    for standing in [Standing::InForce, Standing::Suspended, Standing::Amended, Standing::Revoked] {
        assert_eq!(Standing::parse(standing.name()).unwrap(), standing);
        assert_eq!(serde_json::to_value(standing).unwrap(), standing.name());
        assert_eq!(standing.refusal().is_none(), standing == Standing::InForce);
    }
    assert!(Standing::parse("gone").is_err());
}

fn text_fact(text: &str) -> Act {
    Act::Fact { name: FactName::parse("crisis").unwrap(), value: FactValue::Text(text.to_owned()) }
}

fn fulfil(what: &str, duty: &str) -> Told {
    told(what, Consumer, Act::Fulfil { duty: duty.to_owned(), evidence: "fait".to_owned(), file: None })
}

#[test]
fn each_part_of_a_notice_may_be_as_long_as_its_bound() {
    let x = |bytes: usize| "x".repeat(bytes);
    let lifts = |count: usize| Act::Resume { lifts: (0..count).map(|n| name(&n.to_string())).collect() };
    let duty = |duty: String| Act::Fulfil { duty, evidence: reason(), file: None };
    let evidence = |evidence: String| Act::Fulfil { duty: "obligation[0]".to_owned(), evidence, file: None };
    let cases = [
        (Act::Suspend { reason: x(REASON_BYTES_MAX) }, Act::Suspend { reason: x(REASON_BYTES_MAX + 1) }),
        (Act::Revoke { reason: x(1) }, Act::Revoke { reason: String::new() }),
        (
            Act::Refuse { proposal: name("r"), reason: x(1) },
            Act::Refuse { proposal: name("r"), reason: "\t".to_owned() },
        ),
        (evidence(x(REASON_BYTES_MAX)), evidence(x(REASON_BYTES_MAX + 1))),
        (duty(x(PLACE_BYTES_MAX)), duty(x(PLACE_BYTES_MAX + 1))),
        (duty(x(1)), duty(String::new())),
        (lifts(1), lifts(0)),
        (lifts(LIFTED_MAX), lifts(LIFTED_MAX + 1)),
        (text_fact(&x(FACT_BYTES_MAX)), text_fact(&x(FACT_BYTES_MAX + 1))),
        (text_fact(&x(1)), text_fact("")),
    ];
    for (good, bad) in cases {
        assert_eq!(notice(good.clone()).check(), Ok(notice(good)));
        assert_eq!(notice(bad.clone()).check().unwrap_err().code, ErrorCode::Malformed, "{bad:?}");
    }
    for (id, good) in [(0, false), (1, true), (64, true), (65, false)] {
        let named = Notice { id: x(id), ..notice(Act::Confirm { proposal: name("r") }) };
        assert_eq!(named.check().is_ok(), good, "{id}");
    }
}

#[test]
fn an_act_has_a_name_and_perhaps_words() {
    let cases = [
        (Act::Suspend { reason: reason() }, "suspend", Some("parce que")),
        (Act::Revoke { reason: reason() }, "revoke", Some("parce que")),
        (Act::Resume { lifts: vec![name("s")] }, "resume", None),
        (Act::Confirm { proposal: name("r") }, "confirm", None),
        (Act::Refuse { proposal: name("r"), reason: reason() }, "refuse", Some("parce que")),
        (text_fact("rouge"), "fact", None),
        (fulfil("f", "obligation[0]").act, "fulfil", Some("fait")),
    ];
    for (act, called, words) in cases {
        assert_eq!((act.name(), act.reason()), (called, words));
        assert_eq!(serde_json::to_value(&act).unwrap()["kind"], called);
    }
}

#[test]
fn a_fact_is_true_false_or_a_text_within_its_bound() {
    let long = "x".repeat(FACT_BYTES_MAX);
    assert_eq!(FactValue::parse(&long), Ok(FactValue::Text(long.clone())));
    assert!(FactValue::parse(&format!("{long}x")).is_err());
    assert_eq!(FactValue::parse("false"), Ok(FactValue::Boolean(false)));
    assert_eq!(FactValue::parse("False"), Ok(FactValue::Text("False".to_owned())));
}

#[test]
fn a_notice_is_read_from_its_signed_form() {
    let said = notice(Act::Confirm { proposal: name("r") });
    let bytes = said.bytes().unwrap();
    assert_eq!(said.name(), Ok(Digest::of(&bytes)));
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&bytes);
    assert_eq!(Notice::of_compact(&format!("header.{payload}.signature")), Ok(said));
    for bad in ["", "header", "header.!.signature", "header..signature"] {
        assert!(Notice::of_compact(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_life_has_its_versions_in_order() {
    let mut life = life();
    life.amend(&name("agreement"), name("second")).unwrap();
    assert_eq!((life.first(), life.current()), (Some(name("agreement")), Some(name("second"))));
    assert_eq!(life.versions(), [name("agreement"), name("second")]);
    // What was done before is no news, whatever it names.
    let before = life.clone();
    life.amend(&name("unknown"), name("second")).unwrap();
    assert_eq!(life, before);
    life.take(suspend("s", Provider)).unwrap();
    assert_eq!(life.told(), [suspend("s", Provider)]);
    assert_eq!(life.standing_of(&name("agreement")), Standing::Amended);
    assert_eq!(life.standing_of(&name("second")), Standing::Suspended);
    assert_eq!(life.require_amendable(&name("second")), Ok(()));
    assert_eq!(life.require_amendable(&name("agreement")).unwrap_err().code, ErrorCode::AgreementAmended);
}

#[test]
fn versions_are_bounded() {
    let mut life = life();
    let version = |number: usize| if number == 1 { name("agreement") } else { name(&number.to_string()) };
    for number in 1..VERSIONS_MAX {
        life.amend(&version(number), version(number + 1)).unwrap();
    }
    assert_eq!(life.versions().len(), VERSIONS_MAX);
    let error = life.amend(&version(VERSIONS_MAX), version(VERSIONS_MAX + 1)).unwrap_err();
    assert_eq!((error.code, life.versions().len()), (ErrorCode::Overloaded, VERSIONS_MAX));
}

#[test]
fn what_was_told_is_known_by_its_name() {
    let mut life = life();
    let fact = fact("f", 1, Provider, true);
    for told in [suspend("s", Provider), fact.clone(), fulfil("d", "obligation[0]")] {
        assert!(!life.knows(&told.name) && life.is_news(&told));
        life.take(told.clone()).unwrap();
        assert!(life.knows(&told.name) && !life.is_news(&told));
    }
    assert!(!life.knows(&name("other")));
    // Of the same moment as one that is known: which of the two came first isn't to be told.
    let same = Told { name: name("same"), ..fact.clone() };
    assert!(!life.is_news(&same));
    assert!(life.is_news(&Told { time: Timestamp::from_millis(2).unwrap(), ..same }));
    assert_eq!(life.facts().get(&FactName::parse("crisis").unwrap()), Some(&fact));
    assert_eq!(life.fulfilments().map(|t| t.name).collect::<Vec<_>>(), [name("d")]);
    assert_eq!(life.fulfilled(&name("agreement"), "obligation[0]"), Some(&fulfil("d", "obligation[0]")));
    assert!(life.fulfilled(&name("agreement"), "obligation[1]").is_none());
}

#[test]
fn facts_and_duties_are_bounded() {
    let mut life = life();
    let of = |what: &str, fact: usize, ms: i64| {
        let act = Act::Fact { name: FactName::parse(&format!("f{fact}")).unwrap(), value: FactValue::Boolean(true) };
        Told { time: Timestamp::from_millis(ms).unwrap(), ..told(what, Provider, act) }
    };
    for number in 0..FACTS_MAX {
        life.take(of(&number.to_string(), number, 1)).unwrap();
    }
    assert_eq!(life.take(of("more", FACTS_MAX, 1)).unwrap_err().code, ErrorCode::Overloaded);
    life.take(of("newer", 0, 2)).unwrap();
    assert_eq!(life.facts().len(), FACTS_MAX);
    for number in 0..POLICY_TERMS_MAX {
        life.take(fulfil(&format!("d{number}"), &format!("obligation[{number}]"))).unwrap();
    }
    assert_eq!(life.take(fulfil("more", "obligation[200]")).unwrap_err().code, ErrorCode::Overloaded);
    assert_eq!(life.fulfilments().count(), POLICY_TERMS_MAX);
}

#[test]
fn a_proposal_is_open_while_it_would_lift_something_and_has_no_answer() {
    let mut life = life();
    for told in [suspend("s1", Provider), suspend("s2", Provider), resume("r1", Provider, &["s1"])] {
        life.take(told).unwrap();
    }
    let open = |life: &Life, by| life.proposal_of(by).map(|t| t.name);
    assert_eq!((open(&life, Provider), open(&life, Consumer)), (Some(name("r1")), None));
    life.take(resume("r2", Consumer, &["s1", "s2"])).unwrap();
    life.take(resume("r3", Provider, &["s1"])).unwrap();
    assert_eq!((open(&life, Provider), open(&life, Consumer)), (Some(name("r3")), Some(name("r2"))));
    life.take(refuse("no", Consumer, "r3")).unwrap();
    assert_eq!(open(&life, Provider), Some(name("r1")));
    life.take(confirm("yes", Provider, "r2")).unwrap();
    assert_eq!((open(&life, Provider), open(&life, Consumer)), (None, None), "nothing is left to lift");
    assert_eq!((life.suspensions(), life.standing()), (Vec::new(), Standing::InForce));
}

#[test]
fn only_a_confirmed_proposal_lifts_and_only_what_it_names() {
    let mut life = life();
    for told in [
        suspend("s1", Provider),
        suspend("s2", Consumer),
        resume("r1", Provider, &["s1"]),
        resume("r2", Provider, &["s2"]),
        confirm("c1", Consumer, "r1"),
        refuse("n2", Consumer, "r2"),
    ] {
        life.take(told).unwrap();
    }
    assert_eq!(life.suspensions(), [&suspend("s2", Consumer)]);
    assert_eq!(life.standing().to_string(), "suspended");
    assert_eq!(Standing::parse("in-force"), Ok(Standing::InForce));
}

fn erase(what: &str, by: Side, second: i64) -> Told {
    let act = Act::Erase {
        erasure: name(what),
        first: 3,
        last: 9,
        values: 2,
        ground: Ground::NoLongerNecessary,
        until: Timestamp::EPOCH,
    };
    Told { time: Timestamp::from_millis(second * 1_000).unwrap(), ..told(what, by, act) }
}

#[test]
fn an_erasure_moves_no_state_and_the_newest_are_remembered() {
    let mut life = life();
    life.take(revoke("end", Consumer)).unwrap();
    let most = i64::try_from(ERASURES_TOLD_MAX).unwrap();
    for second in 0..most {
        life.take(erase(&format!("ours {second}"), Provider, second)).unwrap();
    }
    life.take(erase("theirs", Consumer, 0)).unwrap();
    assert_eq!((life.standing(), life.erasures().len()), (Standing::Revoked, ERASURES_TOLD_MAX + 1));
    assert!(!life.is_news(&erase("ours 0", Provider, 0)), "the same again");
    // One more, and the oldest of that side is forgotten; it is no news if it comes again.
    life.take(erase("one more", Provider, most)).unwrap();
    assert_eq!(life.erasures().len(), ERASURES_TOLD_MAX + 1);
    assert!(!life.knows(&name("ours 0")) && life.knows(&name("ours 1")) && life.knows(&name("theirs")));
    assert!(!life.is_news(&erase("ours 0", Provider, 0)));
    assert!(life.is_news(&erase("new", Provider, most)) && life.is_news(&erase("new", Consumer, 0)));
    // What was kept before there were erasures is read as ever.
    let kept = serde_json::to_value(super::Life::new(name("agreement"))).unwrap();
    assert!(kept.get("erased").is_none());
    assert_eq!(serde_json::from_value::<Life>(serde_json::to_value(&life).unwrap()).unwrap(), life);
}

#[test]
fn an_erasure_is_of_entries_in_their_order() {
    let notice = |first, last, values| {
        let act =
            Act::Erase { erasure: name("x"), first, last, values, ground: Ground::Unlawful, until: Timestamp::EPOCH };
        Notice {
            kind: NoticeKind::V1,
            space: SpaceId::parse("essai").unwrap(),
            id: "1".to_owned(),
            agreement: name("agreement"),
            from: ParticipantId::parse("a").unwrap(),
            to: ParticipantId::parse("b").unwrap(),
            time: Timestamp::EPOCH,
            act,
        }
    };
    let good = notice(3, 9, 7);
    assert_eq!(Notice::parse(&good.bytes().unwrap()).unwrap(), good);
    assert!(std::str::from_utf8(&good.bytes().unwrap()).unwrap().contains("\"ground\":\"A17-1-d\""));
    for bad in [notice(9, 3, 1), notice(3, 9, 0), notice(3, 9, 8)] {
        assert!(bad.check().is_err());
    }
}
