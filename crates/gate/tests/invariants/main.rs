//! Invariants 1 to 4 of `docs/ARCHITECTURE.md`, each with the tests of its name.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod grounds;
mod log;
mod ports;

use perron_gate::{AgreementInForce, Denied};
use perron_model::decision::{AccessInput, Verdict};
use perron_model::policy::{Dimension, Granularity, Measure, MeasureFunction, ReleaseSpec, Terms, View};
use perron_model::{Digest, ErrorCode, canonical};
use ports::{Members, Mode, World, agreement_id, leaf, member, members, request, run, world, world_of};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

fn set(world: &World, mode: Mode) {
    *world.policy.0.lock().unwrap() = mode;
}

fn recorded_input(world: &World) -> AccessInput {
    canonical::from_bytes(&world.ledger.last().input, usize::MAX).unwrap()
}

/// The refusal, and that it is an entry with the same reason.
fn refused(world: &World, denied: Denied) -> (ErrorCode, String) {
    let recorded = denied.recorded.expect("a refusal has its entry");
    assert_eq!(recorded.leaf, leaf(world.ledger.len() as u64 - 1));
    let Verdict::Refuse(reasons) = world.ledger.last().verdict else { panic!("the entry is a permit") };
    let clause = denied.clause.expect("a refusal names its clause");
    assert_eq!((reasons[0].error_code(), reasons[0].clause.as_str()), (denied.error.code, clause.as_str()));
    assert_eq!(world.ledger.permits(), 0);
    (denied.error.code, clause)
}

/// Invariant 1. That grants can't be made elsewhere is shown by the `compile_fail` examples of
/// `perron_gate::AccessGrant`, `SchemaGrant`, `ReleaseGrant`, `LogGrant` and `LogSchemaGrant`.
mod one_gate {
    use super::*;

    #[test]
    fn grants_what_the_agreement_gives_and_no_more() {
        let world = world(None);
        let grant = run(world.gate.admit(request(1))).unwrap();
        let agreement = world.agreements.0.lock().unwrap().get(&agreement_id()).cloned().unwrap();
        assert_eq!(grant.agreement(), agreement.id);
        assert_eq!(grant.consumer(), &member("intercommunale"));
        assert_eq!(grant.snapshot(), agreement.snapshot.as_ref().unwrap());
        assert_eq!(grant.view().as_ref(), &agreement.terms.view);
        assert_eq!(grant.dataset().id, agreement.dataset.id);
        assert!(grant.row_view().is_some());
        assert_eq!(grant.stop().reason(), None);
        let copy = grant.stop().clone();
        copy.stop(ErrorCode::AgreementRevoked);
        copy.stop(ErrorCode::RowsExceeded);
        assert_eq!(grant.stop().reason(), Some(ErrorCode::AgreementRevoked));
    }
}

/// Invariant 2.
mod logged_first {
    use super::*;

    #[test]
    fn a_grant_waits_until_its_entry_is_durable() {
        let world = world(None);
        world.ledger.disk.lock().unwrap().held = true;
        let mut admission = pin!(world.gate.admit(request(1)));
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            assert!(admission.as_mut().poll(&mut context).is_pending());
        }
        assert_eq!(world.ledger.permits(), 1);
        world.ledger.release();
        let Poll::Ready(Ok(grant)) = admission.as_mut().poll(&mut context) else { panic!("no grant") };
        assert_eq!(grant.decision(), leaf(0));
    }

    #[test]
    fn no_grant_when_the_log_cannot_be_written() {
        let world = world(None);
        world.ledger.disk.lock().unwrap().full = true;
        let denied = run(world.gate.admit(request(1))).unwrap_err();
        assert_eq!((denied.error.code, denied.recorded), (ErrorCode::LogUnavailable, None));
        // Neither is a refusal told as if it had been written.
        set(&world, Mode::Fail);
        let denied = run(world.gate.admit(request(2))).unwrap_err();
        assert_eq!((denied.error.code, denied.recorded), (ErrorCode::LogUnavailable, None));
        assert_eq!(world.ledger.len(), 0);
        // The turn was given back: the next request is decided.
        world.ledger.disk.lock().unwrap().full = false;
        set(&world, Mode::Decide);
        assert!(run(world.gate.admit(request(3))).is_ok());
    }

    #[test]
    fn a_request_is_answered_once() {
        let world = world(None);
        assert!(run(world.gate.admit(request(1))).is_ok());
        let denied = run(world.gate.admit(request(1))).unwrap_err();
        assert_eq!(denied.error.code, ErrorCode::RequestRepeated);
        assert_eq!(world.ledger.permits(), 1);
    }

    #[test]
    fn an_entry_holds_what_the_decision_was_made_from() {
        let world = world(Some(5));
        run(world.gate.admit(request(1))).unwrap();
        let record = world.ledger.last();
        let input = recorded_input(&world);
        assert_eq!(input.request.purpose, ports::PURPOSE);
        assert_eq!((input.state.uses, record.uses), (0, 1));
        assert_eq!((record.register, record.chained), (7, true));
        assert_eq!(record.module, Digest::of(b"module"));
        assert_eq!(
            record.snapshot,
            world.agreements.0.lock().unwrap()[&agreement_id()].snapshot.as_ref().map(|s| s.digest)
        );
        assert_eq!(record.legal_basis.as_deref(), Some("https://w3id.org/dpv#PublicInterest"));
    }
}

/// Invariant 3.
mod no_access_without_a_ground {
    use super::*;

    #[test]
    fn no_agreement_in_force() {
        type Change = fn(&mut AgreementInForce);
        let cases: [(Change, ErrorCode); 5] = [
            (|a| a.finalized = false, ErrorCode::AgreementNotInForce),
            (|a| a.revoked = true, ErrorCode::AgreementRevoked),
            (|a| a.suspended = true, ErrorCode::AgreementSuspended),
            (|a| a.amended = true, ErrorCode::AgreementAmended),
            (|a| a.consumer = member("third"), ErrorCode::AssigneeMismatch),
        ];
        for (change, code) in cases {
            let world = world(None);
            world.agreements.change(change);
            let denied = run(world.gate.admit(request(1))).unwrap_err();
            assert_eq!(refused(&world, denied).0, code);
            assert!(world.ledger.last().chained);
            assert_eq!(world.ledger.last().snapshot, None);
            assert!(run(async { world.gate.admit_schema(&member("intercommunale"), &agreement_id()) }).is_err());
        }
    }

    #[test]
    fn an_agreement_that_is_not_known() {
        let world = world(None);
        set(&world, Mode::Permit);
        let mut unknown = request(1);
        unknown.request.agreement = Digest::of(b"another");
        let denied = run(world.gate.admit(unknown)).unwrap_err();
        assert_eq!(refused(&world, denied), (ErrorCode::AgreementNotInForce, "agreement".to_owned()));
        let record = world.ledger.last();
        assert_eq!((record.chained, record.legal_basis, record.input.len()), (false, None, 0));
        assert!(world.gate.admit_schema(&member("intercommunale"), &Digest::of(b"another")).is_err());
        assert!(world.gate.admit_release(&Digest::of(b"another")).is_err());
    }

    #[test]
    fn nor_a_schema() {
        let world = world(None);
        let granted = world.gate.admit_schema(&member("intercommunale"), &agreement_id()).unwrap();
        assert_eq!(granted.agreement(), agreement_id());
        // Another member learns as little about an agreement that exists as about one that doesn't.
        let other = world.gate.admit_schema(&member("third"), &agreement_id()).unwrap_err();
        let absent = world.gate.admit_schema(&member("third"), &Digest::of(b"another")).unwrap_err();
        assert_eq!(other.error, absent.error);
        let suspended = world.gate.admit_schema(&member("suspended"), &agreement_id()).unwrap_err();
        assert_eq!(suspended.error.code, ErrorCode::ParticipantSuspended);
        let stranger = world.gate.admit_schema(&member("stranger"), &agreement_id()).unwrap_err();
        assert_eq!(stranger.error.code, ErrorCode::ParticipantRevoked);
        let stale = world_of(None, Members { stale: vec![member("intercommunale")], ..members() });
        let denied = stale.gate.admit_schema(&member("intercommunale"), &agreement_id()).unwrap_err();
        assert_eq!(denied.error.code, ErrorCode::RegisterStale);
    }

    #[test]
    fn nor_a_release() {
        let world = world(None);
        assert_eq!(world.gate.admit_release(&agreement_id()).unwrap_err().error.code, ErrorCode::TermInvalid);
        let spec = ReleaseSpec {
            dimensions: vec![Dimension { column: "sector".to_owned(), granularity: Granularity::Value }],
            measures: vec![Measure {
                function: MeasureFunction::Subjects,
                column: "household".to_owned(),
                name: "households".to_owned(),
            }],
            floor: 10,
            protection: perron_model::policy::Protection::default(),
        };
        let view = View::Aggregates(spec.clone());
        world.agreements.change(|a| a.terms = Arc::new(Terms { view, ..a.terms.as_ref().clone() }));
        assert_eq!(world.gate.admit_release(&agreement_id()).unwrap().spec(), &spec);
        world.agreements.change(|a| a.suspended = true);
        assert_eq!(world.gate.admit_release(&agreement_id()).unwrap_err().error.code, ErrorCode::AgreementSuspended);
        world.agreements.change(|a| a.revoked = true);
        assert_eq!(world.gate.admit_release(&agreement_id()).unwrap_err().error.code, ErrorCode::AgreementRevoked);
        world.agreements.change(|a| (a.revoked, a.suspended, a.finalized) = (false, false, false));
        assert_eq!(world.gate.admit_release(&agreement_id()).unwrap_err().error.code, ErrorCode::AgreementNotInForce);
        world.agreements.change(|a| (a.snapshot, a.finalized) = (None, true));
        assert_eq!(world.gate.admit_release(&agreement_id()).unwrap_err().error.code, ErrorCode::NotFound);
    }
}

/// Invariant 4.
mod deny_by_default {
    use super::*;

    #[test]
    fn an_evaluation_that_fails_is_a_refusal_with_its_entry() {
        for mode in [Mode::Fail, Mode::Mute, Mode::Babble] {
            let world = world(None);
            set(&world, mode);
            let denied = run(world.gate.admit(request(1))).unwrap_err();
            assert_eq!(refused(&world, denied).0, ErrorCode::EvaluationFailed);
            assert_eq!(recorded_input(&world).request.issuer, member("intercommunale"));
        }
    }

    #[test]
    fn a_permit_for_a_set_without_a_snapshot_is_a_refusal() {
        let world = world(None);
        set(&world, Mode::Permit);
        world.agreements.change(|a| a.snapshot = None);
        let denied = run(world.gate.admit(request(1))).unwrap_err();
        assert_eq!(refused(&world, denied), (ErrorCode::NotFound, "dataset".to_owned()));
    }

    #[test]
    fn what_the_agreement_does_not_name() {
        let world = world(None);
        let mut other = request(1);
        other.request.purpose = "https://w3id.org/dpv#Marketing".to_owned();
        let denied = run(world.gate.admit(other)).unwrap_err();
        assert_eq!(refused(&world, denied), (ErrorCode::PurposeNotAllowed, "purposes".to_owned()));
        let mut other = request(2);
        other.request.action = "http://www.w3.org/ns/odrl/2/distribute".to_owned();
        let denied = run(world.gate.admit(other)).unwrap_err();
        assert_eq!(refused(&world, denied), (ErrorCode::ActionNotAllowed, "actions".to_owned()));
    }

    #[test]
    fn refusals_over_the_rate_are_counted_not_entered() {
        let world = world(Some(0));
        world.ledger.refusals_max.store(3, std::sync::atomic::Ordering::SeqCst);
        for number in 0..10 {
            let denied = run(world.gate.admit(request(number))).unwrap_err();
            assert_eq!(denied.error.code, ErrorCode::UsesExhausted);
            assert_eq!(denied.recorded.is_some(), number < 3);
        }
        assert_eq!(world.ledger.len(), 3);
        let summaries = world.ledger.log.lock().unwrap().summaries.clone();
        assert_eq!(summaries, BTreeMap::from([((member("intercommunale"), ErrorCode::UsesExhausted), 7)]));
    }
}

/// A running read is looked at again.
mod recheck {
    use super::*;

    #[test]
    fn a_read_ends_when_its_policy_would_refuse_it() {
        let world = world(Some(1));
        let facts = |a: &mut AgreementInForce, open: bool| {
            a.known.facts.insert("open".to_owned(), perron_model::policy::Scalar::Boolean(open));
        };
        world.agreements.change(|a| {
            ports::ask_for_fact(a, "open");
            facts(a, true);
        });
        let grant = run(world.gate.admit(request(1))).unwrap();
        let ground = grant.ground().unwrap();
        assert_eq!(ground.agreement(), agreement_id());
        // The use that it is was charged: it is not judged a second time, nor charged again.
        assert_eq!(run(world.gate.recheck(ground)), None);
        assert_eq!((world.ledger.permits(), world.ledger.len()), (1, 1));
        world.agreements.change(|a| facts(a, false));
        assert_eq!(run(world.gate.recheck(ground)), Some(ErrorCode::ConstraintUnsatisfied));
        world.agreements.change(|a| (facts(a, true), a.revoked = true).1);
        assert_eq!(run(world.gate.recheck(ground)), Some(ErrorCode::AgreementRevoked));
        for mode in [Mode::Fail, Mode::Mute, Mode::Babble] {
            set(&world, mode);
            assert_eq!(run(world.gate.recheck(ground)), Some(ErrorCode::EvaluationFailed));
        }
        world.agreements.0.lock().unwrap().clear();
        assert_eq!(run(world.gate.recheck(ground)), Some(ErrorCode::AgreementNotInForce));
        assert_eq!(world.ledger.len(), 1);
    }

    /// A plain agreement's read ends at `until`, and need not be looked at again.
    #[test]
    fn nothing_is_looked_at_again_that_cannot_change() {
        let world = world(None);
        assert!(run(world.gate.admit(request(1))).unwrap().ground().is_none());
    }
}

/// Order is made in the turn.
mod turns {
    use super::*;

    /// Uses are exact whatever is asked at the same time (an n-times counter that isn't gave 6 for 2
    /// in another connector).
    #[test]
    fn uses_are_exact_under_concurrent_requests() {
        const REQUESTS: u64 = 1_000;
        const THREADS: u64 = 16;
        let world = world(Some(10));
        let granted: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let gate = &world.gate;
                    scope.spawn(move || {
                        (0..REQUESTS)
                            .filter(|number| number % THREADS == thread)
                            .filter(|number| run(gate.admit(request(*number))).is_ok())
                            .count()
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!((granted, world.ledger.permits()), (10, 10));
        let log = world.ledger.log.lock().unwrap();
        let uses: Vec<u64> = log.records.iter().filter(|r| r.verdict == Verdict::Permit).map(|r| r.uses).collect();
        assert_eq!(uses, (1..=10).collect::<Vec<u64>>());
        // The order of entries is that of their times.
        let times: Vec<_> = log
            .records
            .iter()
            .map(|r| canonical::from_bytes::<AccessInput>(&r.input, usize::MAX).unwrap().now)
            .collect();
        assert!(times.is_sorted());
    }

    /// A revocation that came while a request waited for its turn is seen.
    #[test]
    fn an_agreement_is_looked_up_within_the_turn() {
        use perron_gate::Ledger;
        let world = world(None);
        let turn = run(world.ledger.turn(&agreement_id()));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| run(world.gate.admit(request(1))));
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
            while world.ledger.waited.load(std::sync::atomic::Ordering::Acquire) == 0 {
                assert!(std::time::Instant::now() < deadline, "the request doesn't wait for its turn");
                std::thread::yield_now();
            }
            assert_eq!(world.ledger.len(), 0);
            world.agreements.change(|a| a.revoked = true);
            drop(turn);
            let denied = waiting.join().unwrap().unwrap_err();
            assert_eq!(denied.error.code, ErrorCode::AgreementRevoked);
        });
    }
}
