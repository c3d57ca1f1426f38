//! Each module matters: with one deleted, or with its deny rules emptied, the gate notices, and the
//! cases of the ODRL test suite fail.
//!
//! `policies/variants.sh DIRECTORY` builds them (it needs OPA), and shows that the modules' own tests
//! fail with each; `make test` does, and hands the directory over in `PERRON_POLICY_VARIANTS`.

use super::pool::Pool;
use super::tests::{good, staff};
use super::*;
use perron_gate::Policy as _;
use perron_model::participant::Status;

/// Requests that are refused, each for another reason, and one that is permitted.
fn accesses() -> Vec<AccessInput> {
    let mut all = vec![good()];
    let mut with = |change: fn(&mut AccessInput)| {
        let mut input = good();
        change(&mut input);
        all.push(input);
    };
    with(|i| i.parties.register_fresh = false);
    with(|i| i.parties.consumer = Status::Suspended);
    with(|i| i.agreement.revoked = true);
    with(|i| i.request.purpose = "https://w3id.org/dpv#Marketing".to_owned());
    with(|i| i.state.uses = 10);
    with(|i| i.state.unacknowledged = 100);
    all
}

/// The variants, by the module that they are of.
fn variants(module: &str) -> Option<Vec<(String, Vec<u8>)>> {
    let Some(directory) = std::env::var_os("PERRON_POLICY_VARIANTS") else {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "PERRON_POLICY_VARIANTS names no directory");
        println!("not run: PERRON_POLICY_VARIANTS names no directory");
        return None;
    };
    let mut found: Vec<_> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_stem().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()))
        .filter(|(name, _)| name.starts_with(&format!("{module}-")))
        .collect();
    found.sort();
    Some(found)
}

/// What a variant answers: nothing where it can't be loaded or fails, which is a refusal.
async fn answers<I: Serialize + Sync>(
    wasm: &[u8],
    entrypoints: &'static [&'static str],
    inputs: &[I],
) -> Vec<Option<Verdict>> {
    let engine = engine(None).unwrap();
    let Ok(pool) = Pool::new(&engine, "variant", entrypoints, wasm, Bounds::default()) else {
        return inputs.iter().map(|_| None).collect();
    };
    let mut answers = Vec::new();
    for input in inputs {
        answers.push(pool.decide(input).await.ok());
    }
    answers
}

fn compare(name: &str, right: &[Verdict], variant: &[Option<Verdict>]) {
    let differs = right.iter().zip(variant).any(|(right, other)| Some(right) != other.as_ref());
    assert!(differs, "the gate doesn't notice `{name}`");
}

#[tokio::test]
async fn the_gate_notices_a_module_that_is_gone_or_denies_nothing() {
    let Some(found) = variants("access") else { return };
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    let expected = ["access-emptied-access", "access-emptied-odrl", "access-without-access", "access-without-odrl"];
    assert_eq!(names, expected);
    let policies = Policies::load_uncached().unwrap();
    let inputs = accesses();
    let mut right = Vec::new();
    for input in &inputs {
        right.push(policies.access(input).await.unwrap().verdict);
    }
    assert!(right.iter().skip(1).all(|verdict| *verdict != Verdict::Permit));
    for (name, wasm) in &found {
        compare(name, &right, &answers(wasm, ACCESS_ENTRYPOINTS, &inputs).await);
    }
    let Some(cases) = suite_tests::inputs() else { return };
    let engine = engine(None).unwrap();
    let right = Pool::new(&engine, "access", ACCESS_ENTRYPOINTS, ACCESS, Bounds::default()).unwrap();
    for (name, wasm) in &found {
        // What can't be loaded fails every case.
        let Ok(pool) = Pool::new(&engine, "variant", ACCESS_ENTRYPOINTS, wasm, Bounds::default()) else { continue };
        let failed = suite_tests::failures(&right, &pool, &cases).await;
        assert!(!failed.is_empty(), "the suite doesn't notice `{name}`");
        println!("{name}: {} of {} requests of the suite fail", failed.len(), cases.len());
    }
}

#[tokio::test]
async fn staff_notices_its_module_that_is_gone_or_denies_nothing() {
    let Some(found) = variants("staff") else { return };
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["staff-emptied-staff", "staff-without-staff"]);
    let policies = Policies::load_uncached().unwrap();
    let inputs = [staff(&["analyst"], "query"), staff(&[], "query")];
    let right = [policies.staff(&inputs[0]).await.unwrap(), policies.staff(&inputs[1]).await.unwrap()];
    assert_ne!(right[0], right[1]);
    for (name, wasm) in &found {
        compare(name, &right, &answers(wasm, &["perron/staff/decision"], &inputs).await);
    }
}
