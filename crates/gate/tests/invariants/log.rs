//! Invariants 1 to 4 for statements over one's own log: the ground is a role.

use crate::ports::{DURABLE, Mode, World, leaf, log_request, member, run, world};
use perron_gate::{ASK_LOG, Denied};
use perron_model::decision::{StaffInput, Verdict};
use perron_model::{Digest, Error, ErrorCode, canonical};
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

/// The refusal, and that it is an entry with the same reason.
fn refused(world: &World, denied: Denied) -> (ErrorCode, String) {
    let records = world.ledger.log_queries();
    let Verdict::Refuse(reasons) = &records.last().unwrap().verdict else { panic!("the entry is a permit") };
    assert_eq!(denied.recorded.unwrap().leaf, leaf(DURABLE + records.len() as u64 - 1));
    let clause = denied.clause.unwrap();
    assert_eq!((reasons[0].error_code(), &reasons[0].clause), (denied.error.code, &clause));
    (denied.error.code, clause)
}

mod one_gate {
    use super::*;

    #[test]
    fn a_grant_of_the_log_shows_what_was_durable_and_no_more() {
        let world = world(None);
        let grant = run(world.gate.admit_log(log_request("auditor"))).unwrap();
        assert_eq!((grant.entries(), grant.decision(), grant.stop().reason()), (DURABLE, leaf(DURABLE), None));
        let record = world.ledger.log_queries().pop().unwrap();
        assert_eq!((record.entries, record.module, &record.verdict), (DURABLE, Digest::of(b"staff"), &Verdict::Permit));
    }

    #[test]
    fn to_plan_is_permitted_to_who_may_ask_and_leaves_no_entry() {
        let world = world(None);
        let grant = run(world.gate.admit_log_schema(log_request("auditor"))).unwrap();
        assert_eq!(grant.statement(), log_request("auditor").statement);
        assert!(world.ledger.log_queries().is_empty());
    }
}

mod logged_first {
    use super::*;

    #[test]
    fn a_grant_of_the_log_waits_until_its_entry_is_durable() {
        let world = world(None);
        world.ledger.disk.lock().unwrap().held = true;
        let mut admission = pin!(world.gate.admit_log(log_request("auditor")));
        let mut context = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            assert!(admission.as_mut().poll(&mut context).is_pending());
        }
        assert_eq!(world.ledger.log_queries().len(), 1);
        world.ledger.release();
        assert!(matches!(admission.as_mut().poll(&mut context), Poll::Ready(Ok(_))));
    }

    #[test]
    fn no_grant_of_the_log_when_it_cannot_be_written() {
        let world = world(None);
        world.ledger.disk.lock().unwrap().full = true;
        for role in ["auditor", "analyst"] {
            let denied = run(world.gate.admit_log(log_request(role))).unwrap_err();
            assert_eq!((denied.error.code, denied.recorded), (ErrorCode::LogUnavailable, None));
        }
        assert!(world.ledger.log_queries().is_empty());
    }

    #[test]
    fn a_statement_that_asks_for_more_is_an_entry() {
        let world = world(None);
        let grant = run(world.gate.admit_log_schema(log_request("auditor"))).unwrap();
        let error = Error::new(ErrorCode::TableNotGranted, "table `readings`");
        let denied = run(world.gate.refuse_log_statement(grant, error));
        assert_eq!(denied.error.detail, "table `readings`");
        assert_eq!(refused(&world, denied), (ErrorCode::TableNotGranted, "statement".to_owned()));
    }

    #[test]
    fn refusals_past_the_rate_are_counted() {
        let world = world(None);
        world.ledger.refusals_max.store(1, Ordering::SeqCst);
        let first = run(world.gate.admit_log(log_request("analyst"))).unwrap_err();
        let second = run(world.gate.admit_log(log_request("analyst"))).unwrap_err();
        assert!(first.recorded.is_some() && second.recorded.is_none());
        assert_eq!((first.error.code, second.error.code), (ErrorCode::RoleMissing, ErrorCode::RoleMissing));
        let summaries = world.ledger.log.lock().unwrap().summaries.clone();
        assert_eq!(summaries.get(&(member("commune"), ErrorCode::RoleMissing)), Some(&1));
    }
}

mod no_access_without_a_ground {
    use super::*;

    #[test]
    fn a_role_that_does_not_read_the_log() {
        for role in ["analyst", "data-officer", "approver", "operator", "buyer", ""] {
            let world = world(None);
            let denied = run(world.gate.admit_log(log_request(role))).unwrap_err();
            assert_eq!(refused(&world, denied), (ErrorCode::RoleMissing, "roles".to_owned()), "{role}");
            let denied = run(world.gate.admit_log_schema(log_request(role))).unwrap_err();
            assert_eq!(refused(&world, denied).0, ErrorCode::RoleMissing, "{role}");
            assert_eq!(world.ledger.log_queries().len(), 2);
        }
    }

    #[test]
    fn the_entry_holds_what_the_decision_was_made_from() {
        let world = world(None);
        run(world.gate.admit_log(log_request("auditor"))).unwrap();
        let record = world.ledger.log_queries().pop().unwrap();
        let input: StaffInput = canonical::from_bytes(&record.input, usize::MAX).unwrap();
        assert_eq!((input.action.as_str(), input.roles), (ASK_LOG, vec!["auditor".to_owned()]));
        assert!(input.granted_agreements.is_empty() && input.granted_purposes.is_empty());
        assert_eq!(record.request.statement, log_request("auditor").statement);
    }
}

mod deny_by_default {
    use super::*;

    #[test]
    fn no_evaluation_is_a_refusal() {
        for mode in [Mode::Fail, Mode::Mute, Mode::Babble] {
            let world = world(None);
            *world.policy.0.lock().unwrap() = mode;
            let denied = run(world.gate.admit_log(log_request("auditor"))).unwrap_err();
            assert_eq!(refused(&world, denied).0, ErrorCode::EvaluationFailed);
        }
    }
}
