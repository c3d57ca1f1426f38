//! The compiled modules as the process runs them.

use super::*;
use perron_gate::Policy as _;
use perron_model::canonical;
use perron_model::decision::{AgreementFacts, PartyFacts, Refused, RequestFacts, StateFacts};
use perron_model::entry::Decision;
use perron_model::limits;
use perron_model::participant::Status;
use perron_model::policy::{Constraint, Left, Numbering, Operator, Rule, Rules, Scalar, Test};
use perron_model::{Digest, ParticipantId, Timestamp};
use std::time::{Duration, Instant};

const USE: &str = "http://www.w3.org/ns/odrl/2/use";
const PURPOSE: &str = "https://w3id.org/dpv#ImprovePublicServices";
const BASIS: &str = "https://w3id.org/dpv#PublicInterest";

fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

fn member(name: &str) -> ParticipantId {
    ParticipantId::parse(name).unwrap()
}

/// One permission: for a purpose and a legal basis, in 2026, ten times.
fn permission() -> Rule {
    let (mut rule, mut numbering) = (Rule::new("permission[0]", USE), Numbering::default());
    let text = |text: &str| Test::Any(vec![Scalar::Text(text.to_owned())]);
    let number = |operator, number| Test::number(operator, number).unwrap();
    let tests = [
        (Left::Purpose, text(PURPOSE)),
        (Left::LegalBasis, text(BASIS)),
        (Left::DateTime, number(Operator::Gteq, at("2026-01-01T00:00:00Z").millis())),
        (Left::DateTime, number(Operator::Lt, at("2027-01-01T00:00:00Z").millis())),
        (Left::Count, number(Operator::Lteq, 10)),
    ];
    for (index, (left, test)) in tests.into_iter().enumerate() {
        let at = format!("permission[0].constraint[{index}]");
        numbering.add(&mut rule, Constraint::Test { at, left, test }).unwrap();
    }
    rule
}

pub(super) fn good() -> AccessInput {
    AccessInput {
        now: at("2026-11-23T10:00:00Z"),
        request: RequestFacts {
            issuer: member("intercommunale"),
            issuer_of: Vec::new(),
            provider: member("commune"),
            action: USE.to_owned(),
            purpose: PURPOSE.to_owned(),
            target: "building_water".to_owned(),
            target_of: Vec::new(),
            roles: None,
        },
        agreement: AgreementFacts {
            id: Digest::of(b"agreement"),
            provider: member("commune"),
            consumer: member("intercommunale"),
            finalized: true,
            agreed_at: at("2026-01-01T00:00:00Z"),
            revoked: false,
            suspended: false,
            amended: false,
            legal_basis: BASIS.to_owned(),
            rules: Arc::new(Rules { permissions: vec![permission()], ..Rules::default() }),
        },
        parties: PartyFacts {
            provider: Status::Active,
            consumer: Status::Active,
            consumer_jurisdiction: Some("BE".to_owned()),
            register_fresh: true,
        },
        state: StateFacts { uses: 9, ..StateFacts::default() },
    }
}

/// As many rules as a policy of the largest size can give: twenty permissions that all apply and a
/// hundred and eighty tests.
fn large() -> AccessInput {
    let mut input = good();
    let mut numbering = Numbering::default();
    let rules = (0..20).map(|number| {
        let mut rule = Rule::new(&format!("permission[{number}]"), USE);
        for index in 0..9 {
            let at = format!("permission[{number}].constraint[{index}]");
            let mut values: Vec<_> =
                (0..10).map(|i| Scalar::Text(format!("https://w3id.org/dpv#Purpose{i}"))).collect();
            values.push(Scalar::Text(PURPOSE.to_owned()));
            let test = Constraint::Test { at, left: Left::Purpose, test: Test::Any(values) };
            numbering.add(&mut rule, test).unwrap();
        }
        rule
    });
    input.agreement.rules = Arc::new(Rules { permissions: rules.collect(), ..Rules::default() });
    assert!(serde_json::to_vec(&input).unwrap().len() > limits::POLICY_BYTES_MAX);
    input
}

/// An agreement of twenty rules, as people write them: ten permissions, each for a purpose, in a
/// year, so many times; ten prohibitions, half of them about another action.
fn twenty() -> AccessInput {
    let mut input = good();
    let mut numbering = Numbering::default();
    let mut rules = Rules::default();
    for number in 0..10 {
        let mut rule = Rule::new(&format!("permission[{number}]"), USE);
        let purpose = if number == 7 { PURPOSE.to_owned() } else { format!("https://w3id.org/dpv#Purpose{number}") };
        let tests = [
            (Left::Purpose, Test::Any(vec![Scalar::Text(purpose)])),
            (Left::LegalBasis, Test::Any(vec![Scalar::Text(BASIS.to_owned())])),
            (Left::DateTime, Test::number(Operator::Gteq, at("2026-01-01T00:00:00Z").millis()).unwrap()),
            (Left::DateTime, Test::number(Operator::Lt, at("2027-01-01T00:00:00Z").millis()).unwrap()),
            (Left::Count, Test::number(Operator::Lteq, 10).unwrap()),
        ];
        for (index, (left, test)) in tests.into_iter().enumerate() {
            let at = format!("permission[{number}].constraint[{index}]");
            numbering.add(&mut rule, Constraint::Test { at, left, test }).unwrap();
        }
        rules.permissions.push(rule);
        let action = if number % 2 == 0 { USE } else { "http://www.w3.org/ns/odrl/2/distribute" };
        let mut rule = Rule::new(&format!("prohibition[{number}]"), action);
        let at = format!("prohibition[{number}].constraint[0]");
        let test = Test::Any(vec![Scalar::Text(format!("https://w3id.org/dpv#Marketing{number}"))]);
        numbering.add(&mut rule, Constraint::Test { at, left: Left::Purpose, test }).unwrap();
        rules.prohibitions.push(rule);
    }
    input.agreement.rules = Arc::new(rules);
    input
}

fn refusal(code: ErrorCode, clause: &str) -> Verdict {
    Verdict::Refuse(vec![Refused { code: code.as_str().to_owned(), clause: clause.to_owned() }])
}

#[tokio::test]
async fn permits_what_every_ground_allows() {
    let policies = Policies::load_uncached().unwrap();
    let evaluated = policies.access(&good()).await.unwrap();
    assert_eq!(evaluated.verdict, Verdict::Permit);
    assert_eq!(evaluated.module, Digest::of(ACCESS));
    let mut bare = good();
    bare.agreement.rules = Arc::new(Rules { permissions: vec![Rule::new("permission[0]", USE)], ..Rules::default() });
    assert_eq!(policies.access(&bare).await.unwrap().verdict, Verdict::Permit);
}

type Change = fn(&mut AccessInput);

#[tokio::test]
async fn each_cause_has_its_code_and_clause() {
    let policies = Policies::load_uncached().unwrap();
    let cases: &[(Change, ErrorCode, &str)] = &[
        (|i| i.parties.register_fresh = false, ErrorCode::RegisterStale, "register"),
        (|i| i.parties.consumer = Status::Revoked, ErrorCode::ParticipantRevoked, "parties.consumer"),
        (|i| i.parties.provider = Status::Revoked, ErrorCode::ParticipantRevoked, "parties.provider"),
        (|i| i.parties.consumer = Status::Suspended, ErrorCode::ParticipantSuspended, "parties.consumer"),
        (|i| i.parties.provider = Status::Suspended, ErrorCode::ParticipantSuspended, "parties.provider"),
        (|i| i.agreement.finalized = false, ErrorCode::AgreementNotInForce, "agreement"),
        (|i| i.request.provider = member("other"), ErrorCode::AgreementNotInForce, "provider"),
        (
            |i| i.agreement.legal_basis = "other".to_owned(),
            ErrorCode::AgreementNotInForce,
            "permission[0].constraint[1]",
        ),
        (|i| i.agreement.revoked = true, ErrorCode::AgreementRevoked, "agreement"),
        (|i| i.agreement.suspended = true, ErrorCode::AgreementSuspended, "agreement"),
        (|i| i.agreement.amended = true, ErrorCode::AgreementAmended, "agreement"),
        (|i| i.request.issuer = member("other"), ErrorCode::AssigneeMismatch, "assignee"),
        (|i| i.now = at("2025-12-31T23:59:59.999Z"), ErrorCode::AgreementNotStarted, "permission[0].constraint[2]"),
        (|i| i.now = at("2027-01-01T00:00:00.000Z"), ErrorCode::AgreementExpired, "permission[0].constraint[3]"),
        (|i| i.request.action = "distribute".to_owned(), ErrorCode::ActionNotAllowed, "permission"),
        (|i| i.request.purpose = "other".to_owned(), ErrorCode::PurposeNotAllowed, "permission[0].constraint[0]"),
        (|i| i.state.uses = 10, ErrorCode::UsesExhausted, "permission[0].constraint[4]"),
        (|i| i.state.unacknowledged = limits::UNACKNOWLEDGED_MAX, ErrorCode::AcknowledgementMissing, "acknowledgement"),
        (
            |i| i.state.unacknowledged_ms = limits::UNACKNOWLEDGED_MS_MAX,
            ErrorCode::AcknowledgementMissing,
            "acknowledgement",
        ),
    ];
    for (change, code, clause) in cases {
        let mut input = good();
        change(&mut input);
        assert_eq!(policies.access(&input).await.unwrap().verdict, refusal(*code, clause));
    }
}

/// The policy's constants are the model's: one below is permitted, the bound itself is not (above).
#[tokio::test]
async fn the_bounds_of_the_policy_are_those_of_the_model() {
    let policies = Policies::load_uncached().unwrap();
    let mut input = good();
    input.state.unacknowledged = limits::UNACKNOWLEDGED_MAX - 1;
    input.state.unacknowledged_ms = limits::UNACKNOWLEDGED_MS_MAX - 1;
    assert_eq!(policies.access(&input).await.unwrap().verdict, Verdict::Permit);
    let source = include_str!("../../policies/access.rego");
    for line in [
        format!("unacknowledged_max := {}\n", limits::UNACKNOWLEDGED_MAX),
        format!("unacknowledged_ms_max := {}\n", limits::UNACKNOWLEDGED_MS_MAX),
        format!("refusals_max := {}\n", limits::REFUSALS_MAX),
    ] {
        assert!(source.contains(&line), "{line}");
    }
}

/// The same module tells of each rule what it decides by; it does so of an input of its own too.
#[tokio::test]
async fn a_report_tells_of_each_rule() {
    use perron_model::report::{LeftValue, ReportAgreement, ReportInput, ReportRequest, Satisfaction};
    let policies = Policies::load_uncached().unwrap();
    let told = policies.report(&twenty()).await.unwrap();
    assert!(told.permit);
    let active: Vec<bool> = told.permissions.iter().map(|r| r.active).collect();
    assert_eq!(active.iter().position(|a| *a), Some(7));
    assert_eq!(active.iter().filter(|a| **a).count(), 1);
    assert!(told.prohibitions.iter().all(|r| !r.active));
    let purpose = &told.permissions[0].nodes[0];
    assert_eq!(purpose.state, Satisfaction::Unsatisfied);
    assert_eq!(purpose.left, Some(LeftValue::Set(vec![Scalar::Text(PURPOSE.to_owned())])));
    let mut owed = Rule::new("urn:rule", USE);
    owed.duties.push(perron_model::policy::Duty {
        at: "urn:duty".to_owned(),
        action: USE.to_owned(),
        assignee: None,
        before_ms: None,
        within_ms: None,
    });
    let rules = Arc::new(Rules { permissions: vec![owed], ..Rules::default() });
    for suite in [false, true] {
        let input = ReportInput {
            now: at("2026-11-23T10:00:00Z"),
            request: ReportRequest {
                issuer: "http://example.org/alice".to_owned(),
                action: USE.to_owned(),
                target: "http://example.org/x".to_owned(),
                ..ReportRequest::default()
            },
            agreement: ReportAgreement { rules: rules.clone(), ..ReportAgreement::default() },
            parties: perron_model::report::ReportParties::default(),
            state: StateFacts::default(),
            suite,
        };
        assert_eq!(policies.report(&input).await.unwrap().permit, suite);
    }
}

#[tokio::test]
async fn several_causes_come_in_a_fixed_order() {
    let policies = Policies::load_uncached().unwrap();
    let mut input = good();
    input.state.uses = 10;
    input.request.purpose = "other".to_owned();
    input.parties.register_fresh = false;
    let Verdict::Refuse(reasons) = policies.access(&input).await.unwrap().verdict else { panic!("a permit") };
    let codes: Vec<ErrorCode> = reasons.iter().map(Refused::error_code).collect();
    assert_eq!(codes, [ErrorCode::RegisterStale, ErrorCode::PurposeNotAllowed, ErrorCode::UsesExhausted]);
}

pub(super) fn staff(roles: &[&str], action: &str) -> StaffInput {
    StaffInput {
        roles: roles.iter().map(|r| (*r).to_owned()).collect(),
        action: action.to_owned(),
        agreement: Some(Digest::of(b"agreement")),
        purpose: Some(PURPOSE.to_owned()),
        granted_agreements: vec![Digest::of(b"agreement")],
        granted_purposes: vec![PURPOSE.to_owned()],
    }
}

#[tokio::test]
async fn staff_do_what_their_roles_allow() {
    let policies = Policies::load_uncached().unwrap();
    for (role, action) in [
        ("analyst", "query"),
        ("data-officer", "dataset.add"),
        ("approver", "negotiation.approve"),
        ("auditor", "audit.read"),
        ("operator", "user.add"),
        ("buyer", "status"),
    ] {
        assert_eq!(policies.staff(&staff(&[role], action)).await.unwrap(), Verdict::Permit, "{role} {action}");
        let none = policies.staff(&staff(&[], action)).await.unwrap();
        assert_eq!(none, refusal(ErrorCode::RoleMissing, "roles"), "{action}");
    }
    let mut input = staff(&["analyst"], "query");
    input.granted_agreements.clear();
    assert_eq!(policies.staff(&input).await.unwrap(), refusal(ErrorCode::AgreementNotGranted, "granted_agreements"));
    let mut input = staff(&["analyst"], "query");
    input.purpose = None;
    assert_eq!(policies.staff(&input).await.unwrap(), refusal(ErrorCode::PurposeNotGranted, "granted_purposes"));
    let unknown = policies.staff(&staff(&["data-officer"], "dataset.destroy")).await.unwrap();
    assert_eq!(unknown, refusal(ErrorCode::RoleMissing, "roles"));
}

/// The compiled modules are those of the digests that `policies/build.sh` wrote, and so are their
/// sources: whoever changes a policy without compiling it is told here, without OPA.
#[test]
fn the_compiled_modules_are_those_of_the_digests() {
    use sha2::{Digest as _, Sha256};
    let digests = include_str!("../../policies/compiled/DIGESTS");
    for (name, bytes) in [
        ("access.rego", include_bytes!("../../policies/access.rego").as_slice()),
        ("odrl.rego", include_bytes!("../../policies/odrl.rego").as_slice()),
        ("staff.rego", include_bytes!("../../policies/staff.rego").as_slice()),
        ("access.wasm", ACCESS),
        ("staff.wasm", STAFF),
    ] {
        let hex: String = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
        assert!(digests.contains(&format!("{hex}  {name}\n")), "{name}: make policies");
    }
    let policies = Policies::load_uncached().unwrap();
    assert_eq!(policies.digests().get("access"), Some(&Digest::of(ACCESS)));
    assert_eq!(policies.digests().get("staff"), Some(&Digest::of(STAFF)));
}

async fn fails(bounds: Bounds, input: &AccessInput) -> Policies {
    let policies = Policies::within(None, bounds).unwrap();
    let error = policies.access(input).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::EvaluationFailed);
    policies
}

#[tokio::test]
async fn work_time_and_memory_are_bounded() {
    let spent = fails(Bounds { fuel: 10_000, ..Bounds::default() }, &good()).await;
    assert_eq!(spent.0.access.idle(), 0);
    // The deadline is met in the middle of an evaluation: after the first yield.
    let late = fails(Bounds { time: Duration::ZERO, yield_fuel: 1_000, ..Bounds::default() }, &good()).await;
    assert_eq!(late.0.access.idle(), 0);
    fails(Bounds { memory_bytes: 64 * 1024, ..Bounds::default() }, &good()).await;
    let small = Bounds { memory_bytes: 256 * 1024, ..Bounds::default() };
    fails(small, &large()).await;
}

#[tokio::test]
async fn an_instance_that_failed_is_not_used_again() {
    let policies = Policies::load_uncached().unwrap();
    policies.warm().await.unwrap();
    assert_eq!((policies.0.access.idle(), policies.0.staff.idle()), (1, 1));
    // An input that isn't an object is evaluated and refused: the instance answered and goes back.
    assert_eq!(policies.0.access.decide(&"text").await.unwrap(), refusal(ErrorCode::EvaluationFailed, "input"));
    assert_eq!(policies.0.access.idle(), 1);
    // A caller who goes away in the middle takes the instance along.
    let input = good();
    let mut evaluation = Box::pin(policies.access(&input));
    let narrow = Policies::within(None, Bounds { yield_fuel: 1_000, ..Bounds::default() }).unwrap();
    narrow.warm().await.unwrap();
    let mut other = Box::pin(narrow.access(&input));
    assert!(futures::poll!(&mut other).is_pending());
    drop(other);
    assert_eq!(narrow.0.access.idle(), 0);
    assert!(futures::poll!(&mut evaluation).is_ready());
    assert_eq!(narrow.access(&input).await.unwrap().verdict, Verdict::Permit);
}

#[test]
fn a_cache_that_others_may_write_to_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let cache = directory.path().join("cache");
    std::fs::create_dir(&cache).unwrap();
    std::fs::set_permissions(&cache, PermissionsExt::from_mode(0o777)).unwrap();
    assert_eq!(Policies::load(&cache).err().map(|e| e.code), Some(ErrorCode::ConfigInvalid));
    std::fs::set_permissions(&cache, PermissionsExt::from_mode(0o700)).unwrap();
    assert!(Policies::load(&cache).is_ok());
}

#[test]
fn garbage_is_no_module() {
    let engine = engine(None).unwrap();
    for bytes in [b"".as_slice(), b"\0asm", b"\0asm\x01\0\0\0garbage"] {
        assert!(Pool::new(&engine, "garbage", &["perron/access/decision"], bytes, Bounds::default()).is_err());
    }
}

#[tokio::test]
async fn a_module_without_the_interface_or_the_entrypoint_is_refused() {
    let engine = engine(None).unwrap();
    let empty =
        Pool::new(&engine, "empty", &["perron/access/decision"], b"\0asm\x01\0\0\0", Bounds::default()).unwrap();
    assert_eq!(empty.decide(&good()).await.unwrap_err().code, ErrorCode::EvaluationFailed);
    let other = Pool::new(&engine, "staff", &["perron/access/decision"], STAFF, Bounds::default()).unwrap();
    assert_eq!(other.decide(&good()).await.unwrap_err().code, ErrorCode::EvaluationFailed);
}

/// A decision as the log tells of it, with what is attached to it.
fn recorded(input: &AccessInput, verdict: &Verdict, module: Digest) -> (Decision, Vec<u8>) {
    let attached = [&[7; 16][..], &canonical::to_bytes(input).unwrap()].concat();
    let refused = match verdict {
        Verdict::Permit => Vec::new(),
        Verdict::Refuse(refused) => refused.clone(),
    };
    let decision = Decision {
        request: Digest::of(b"request"),
        permitted: refused.is_empty(),
        reasons: refused.iter().map(|r| r.code.clone()).collect(),
        clauses: refused.iter().map(|r| r.clause.clone()).collect(),
        module,
        input: Some(Digest::of(&attached)),
        snapshot: None,
        uses: 0,
        register: 1,
        consumer: "inter".to_owned(),
        purpose: input.request.purpose.clone(),
        legal_basis: None,
        user: "u".to_owned(),
        beside: None,
        reserved: None,
        volume: None,
        attached: None,
        sealed: None,
    };
    (decision, attached)
}

#[tokio::test]
async fn a_recorded_input_gives_the_same_answer_again() {
    let policies = Policies::load_uncached().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut replayer = Replayer::new(folder.path()).unwrap();
    let mut refused = good();
    refused.state.uses = 10;
    for input in [good(), refused] {
        let first = policies.access(&input).await.unwrap();
        let (decision, attached) = recorded(&input, &first.verdict, first.module);
        assert_eq!(replayer.decide(&decision, &attached).await.unwrap(), Replayed::Same);
        // Told otherwise than it was decided.
        let mut turned = decision.clone();
        turned.permitted = !turned.permitted;
        let again = replayer.decide(&turned, &attached).await.unwrap();
        assert_eq!(again, Replayed::Otherwise(first.verdict.clone()));
        let mut elsewhere = decision.clone();
        elsewhere.clauses.iter_mut().for_each(|clause| clause.push('x'));
        let again = replayer.decide(&elsewhere, &attached).await.unwrap();
        let due = if decision.permitted { Replayed::Same } else { Replayed::Otherwise(first.verdict) };
        assert_eq!(again, due);
    }
    let (decision, attached) = recorded(&good(), &Verdict::Permit, policies.digests()["access"]);
    assert!(replayer.decide(&decision, b"short").await.is_err());
    assert!(replayer.decide(&decision, &[&attached[..16], b"{ }"].concat()).await.is_err());
    assert!(replayer.decide(&decision, &attached[..16]).await.is_err(), "a permit without an input");
    let early = Verdict::Refuse(vec![Refused { code: "agreement_not_in_force".into(), clause: "agreement".into() }]);
    let (early, _) = recorded(&good(), &early, Digest::of(b""));
    assert_eq!(replayer.decide(&early, &attached[..16]).await.unwrap(), Replayed::NotEvaluated);
    let again = replayer.decide(&decision, &[&attached[..16], b"{}"].concat()).await.unwrap();
    assert!(matches!(again, Replayed::Otherwise(Verdict::Refuse(_)) | Replayed::FailsNow(_)), "{again:?}");
    let nothing = Digest::of(b"");
    let failed = Verdict::Refuse(vec![Refused { code: "evaluation_failed".into(), clause: "evaluation".into() }]);
    let (failed, attached) = recorded(&good(), &failed, nothing);
    assert_eq!(replayer.decide(&failed, &attached).await.unwrap(), Replayed::FailedThen);
    // A permit that names no module isn't excused by that, nor a refusal for another reason.
    let (permit, attached) = recorded(&good(), &Verdict::Permit, nothing);
    assert_eq!(replayer.decide(&permit, &attached).await.unwrap(), Replayed::NoModule(nothing));
    let other = Decision { reasons: vec!["prohibited".into()], ..failed };
    assert_eq!(replayer.decide(&other, &attached).await.unwrap(), Replayed::NoModule(nothing));
}

/// By a module of the folder, which its digest names: here one that isn't the program's own.
#[tokio::test]
async fn a_module_that_was_kept_decides_again() {
    let folder = tempfile::tempdir().unwrap();
    // A custom section changes the digest and nothing else.
    let other = [ACCESS, &[0, 2, 1, b'x']].concat();
    let digest = Digest::of(&other);
    let (decision, attached) = recorded(&good(), &Verdict::Permit, digest);
    let decide = async || Replayer::new(folder.path()).unwrap().decide(&decision, &attached).await;
    assert_eq!(decide().await.unwrap(), Replayed::NoModule(digest));
    let file = folder.path().join(replay::file_name(&digest));
    std::fs::write(&file, ACCESS).unwrap();
    assert_eq!(decide().await.unwrap_err().code, ErrorCode::LogDamaged);
    std::fs::write(&file, &other).unwrap();
    assert_eq!(decide().await.unwrap(), Replayed::Same);

    let policies = Policies::load_uncached().unwrap();
    let kept = folder.path().join("kept");
    for _ in 0..2 {
        policies.keep(&kept).unwrap();
        let files = std::fs::read_dir(&kept).unwrap();
        let mut names: Vec<String> = files.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        let mut due: Vec<String> = policies.digests().values().map(|d| format!("{d}.wasm")).collect();
        due.sort();
        assert_eq!(names, due);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_at_a_time_are_all_answered() {
    let policies = Policies::load_uncached().unwrap();
    let tasks: Vec<_> = (0..200_u64)
        .map(|uses| {
            let policies = policies.clone();
            tokio::spawn(async move {
                let mut input = good();
                input.state.uses = uses % 20;
                (uses % 20 < 10, policies.access(&input).await.unwrap().verdict == Verdict::Permit)
            })
        })
        .collect();
    for task in tasks {
        let (expected, permitted) = task.await.unwrap();
        assert_eq!(expected, permitted);
    }
    assert!((1..=limits::EVALUATION_POOL).contains(&policies.0.access.idle()));
}

/// Modules whose machine code lies under a directory: what isn't of the cache's own statistics, and
/// is whole.
fn compiled(directory: &std::path::Path) -> usize {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let count = |entry: std::fs::DirEntry| match entry.path() {
        path if path.is_dir() => compiled(&path),
        path => usize::from(path.extension().is_none()),
    };
    entries.map(count).sum()
}

/// Prints what an evaluation takes (`cargo test -- --nocapture`); fails only far past the bound.
#[tokio::test]
async fn what_an_evaluation_takes() {
    let directory = tempfile::tempdir().unwrap();
    let start = Instant::now();
    Policies::load(&directory.path().join("cache")).unwrap();
    let cold = start.elapsed();
    // The cache's worker writes in its own time: each module's code.
    let written = async {
        while compiled(&directory.path().join("cache")) < 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), written).await.unwrap();
    let start = Instant::now();
    let policies = Policies::load(&directory.path().join("cache")).unwrap();
    let cached = start.elapsed();
    let start = Instant::now();
    policies.warm().await.unwrap();
    println!("load cold {cold:?}, from the cache {cached:?}, instances {:?}", start.elapsed());
    for (name, input) in [("usual", good()), ("of twenty rules", twenty()), ("largest", large())] {
        let mut times = Vec::new();
        for _ in 0..200 {
            let start = Instant::now();
            assert_eq!(policies.access(&input).await.unwrap().verdict, Verdict::Permit);
            times.push(start.elapsed());
        }
        times.sort();
        println!("{name} input: median {:?}, p99 {:?}", times[100], times[198]);
        let engine = engine(None).unwrap();
        let module = wasmtime::Module::new(&engine, ACCESS).unwrap();
        let mut instance =
            instance::Instance::new(&engine, &module, ACCESS_ENTRYPOINTS, Bounds::default()).await.unwrap();
        let _: Vec<answer::Answer> = instance.evaluate(ACCESS_ENTRYPOINTS[0], &input).await.unwrap();
        println!("{name} input: {} fuel", instance.fuel_taken());
        assert!(instance.fuel_taken() < instance::EVALUATION_FUEL_MAX / 5);
    }
}
