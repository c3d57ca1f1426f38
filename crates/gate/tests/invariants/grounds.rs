//! What a decision, a grant and a refusal are made from, part by part.

use super::{recorded_input, refused, set};
use crate::ports::{self, Members, Mode, agreement_id, member, members, request, run, world, world_of};
use perron_gate::{AgreementInForce, Stop};
use perron_model::decision::DutyState;
use perron_model::policy::{Constraint, Left, Numbering, Scalar, Terms, Test, View};
use perron_model::{ErrorCode, Timestamp};
use std::sync::Arc;

/// Has the agreement's permission end after `ms`, or count volume up to `ms` bytes.
fn bounded(agreement: &mut AgreementInForce, left: Left, max: i64) {
    let mut rules = agreement.terms.rules.as_ref().clone();
    let bound = Constraint::Test { at: left.key(), left, test: Test::Range { min: 0, max } };
    Numbering::default().add(&mut rules.permissions[0], bound).unwrap();
    agreement.terms = Arc::new(Terms { rules: Arc::new(rules), view: agreement.terms.view.clone() });
}

#[test]
fn a_grant_says_how_much_may_leave_and_until_when() {
    let world = world(None);
    set(&world, Mode::Permit);
    let plain = run(world.gate.admit(request(1))).unwrap();
    assert_eq!((plain.reserved(), plain.until()), (None, None));
    world.agreements.change(|a| bounded(a, Left::DateTime, 1_900_000_000_000));
    world.agreements.change(|a| bounded(a, Left::Volume, 5_000));
    let bounded = run(world.gate.admit(request(2))).unwrap();
    assert_eq!(bounded.reserved(), Some(5_000));
    assert_eq!(world.ledger.last().reserved, Some(5_000));
    assert_eq!(bounded.until(), Timestamp::from_millis(1_900_000_000_001).ok());
}

#[test]
fn a_signal_is_itself_and_its_copies() {
    let (one, other) = (Stop::new(), Stop::new());
    assert!(one.is(&one.clone()));
    assert!(!one.is(&other));
    for code in ErrorCode::ALL {
        let stop = Stop::new();
        stop.stop(*code);
        assert_eq!(stop.reason(), Some(*code));
    }
    assert_eq!(other.reason(), None);
}

#[test]
fn grants_tell_the_set_and_the_view_of_the_agreement() {
    let world = world(None);
    let agreement = world.agreements.0.lock().unwrap()[&agreement_id()].clone();
    let schema = world.gate.admit_schema(&member("intercommunale"), &agreement_id()).unwrap();
    assert_eq!((schema.dataset(), schema.view().as_ref()), (&agreement.dataset, &agreement.terms.view));
    let View::Rows(rows) = &agreement.terms.view else { panic!("not rows") };
    let grant = run(world.gate.admit(request(1))).unwrap();
    assert_eq!((grant.dataset(), grant.row_view()), (&agreement.dataset, Some(rows)));
}

#[test]
fn a_decision_is_made_from_all_that_is_known() {
    let world = world(None);
    world.agreements.change(|a| {
        a.known.collections = vec!["urn:planners".to_owned()];
        a.known.duties = [("obligation[0]".to_owned(), DutyState::Fulfilled)].into();
        a.known.facts = [("open".to_owned(), Scalar::Boolean(true))].into();
        a.known.consumer_of = vec!["urn:planners".to_owned()];
        a.known.dataset_of = vec!["urn:water".to_owned()];
    });
    run(world.gate.admit(request(1))).unwrap();
    let known = world.agreements.0.lock().unwrap()[&agreement_id()].known.clone();
    let input = recorded_input(&world);
    let state = input.state;
    assert_eq!((state.collections, state.duties, state.facts), (known.collections, known.duties, known.facts));
    assert_eq!((input.request.issuer_of, input.request.target_of), (known.consumer_of, known.dataset_of));
    assert_eq!(input.request.target, "building_water");
    assert_eq!(input.parties.consumer_jurisdiction.as_deref(), Some("BE"));
}

/// Either party's register entry past its time of use is enough.
#[test]
fn a_register_past_its_time_for_either_party_refuses() {
    for party in ["commune", "intercommunale"] {
        let world = world_of(None, Members { stale: vec![member(party)], ..members() });
        let denied = run(world.gate.admit(request(1))).unwrap_err();
        assert_eq!(refused(&world, denied), (ErrorCode::RegisterStale, "register".to_owned()), "{party}");
    }
}

#[test]
fn nothing_is_decided_by_a_clock_that_is_behind() {
    let ground = {
        let world = world(None);
        world.agreements.change(|a| {
            ports::ask_for_fact(a, "open");
            a.known.facts = [("open".to_owned(), Scalar::Boolean(true))].into();
        });
        run(world.gate.admit(request(1))).unwrap().ground().cloned().unwrap()
    };
    let world = world_of(None, Members { clock_behind: true, ..members() });
    set(&world, Mode::Permit);
    let denied = run(world.gate.admit(request(1))).unwrap_err();
    assert_eq!(refused(&world, denied), (ErrorCode::ClockJump, "clock".to_owned()));
    assert_eq!(run(world.gate.recheck(&ground)), Some(ErrorCode::ClockJump));
    let denied = world.gate.admit_schema(&member("intercommunale"), &agreement_id()).unwrap_err();
    assert_eq!(denied.error.code, ErrorCode::ClockJump);
}

/// The caller learns of an agreement that it has where it refused, and of another nothing.
#[test]
fn a_refusal_tells_the_agreement_and_the_clause() {
    let world = world(Some(0));
    let denied = run(world.gate.admit(request(1))).unwrap_err();
    let short = agreement_id().short();
    assert_eq!(denied.error.detail, format!("refused under agreement {short} at `uses_max`: uses_exhausted"));
    let mut unknown = request(2);
    unknown.request.agreement = perron_model::Digest::of(b"another");
    let denied = run(world.gate.admit(unknown)).unwrap_err();
    assert_eq!(denied.error.detail, "no agreement of this name is in force");
}

/// A schema is for the consumer of an agreement that is finalized: neither alone is enough.
#[test]
fn a_schema_is_for_the_consumer_of_a_finalized_agreement() {
    let world = world(None);
    world.agreements.change(|a| a.finalized = false);
    let denied = world.gate.admit_schema(&member("intercommunale"), &agreement_id()).unwrap_err();
    assert_eq!(denied.error.code, ErrorCode::AgreementNotInForce);
    world.agreements.change(|a| a.finalized = true);
    type Change = fn(&mut AgreementInForce);
    let cases: [(Change, ErrorCode); 3] = [
        (|a| a.amended = true, ErrorCode::AgreementAmended),
        (|a| a.suspended = true, ErrorCode::AgreementSuspended),
        (|a| a.revoked = true, ErrorCode::AgreementRevoked),
    ];
    for (change, code) in cases {
        world.agreements.change(change);
        let denied = world.gate.admit_schema(&member("intercommunale"), &agreement_id()).unwrap_err();
        assert_eq!(denied.error.code, code);
    }
}
