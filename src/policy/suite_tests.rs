//! The cases of SolidLab's ODRL test suite against a module: those that fail with it.
//!
//! That each report is the expected graph is tested where the program is (`tests/it/odrl_suite.rs`).
//! Here each case has to give the report that the right module gives, and three things more that a
//! module may get wrong while its reports look right: what is permitted is refused once the same
//! rules also prohibit it, the decision under a sound agreement is what the report says, and under a
//! revoked one it is a refusal that says so.

use super::answer::{report, verdict};
use super::instance::Bounds;
use super::pool::Pool;
use super::tests::good;
use super::*;
use perron_model::report::ReportInput;
use perron_odrl::{Evaluation, Mode, Policy, Request, World};
use serde_json::{Value as Json, json};

#[path = "../../tests/it/odrl_suite/cases.rs"]
#[allow(dead_code, reason = "the expected graphs are compared where the program is tested")]
mod cases;

/// What the module `access` is asked, by the number of the case. None where the cases aren't there.
pub(super) fn inputs() -> Option<Vec<(String, ReportInput)>> {
    let found = cases::cases(&cases::conformance("odrl")?);
    let of = |case: cases::Case| {
        let policy = Policy::turtle(&std::fs::read(&case.policy).unwrap()).unwrap();
        let (request, world) = (cases::rdf(&case.request), cases::rdf(&case.sotw));
        let (request, world) = (Request::read(&request).unwrap(), World::read(&world).unwrap());
        let inputs = Evaluation::new(&policy, &request, &world, Mode::Gate).inputs().unwrap();
        inputs.into_iter().map(move |input| (case.number.clone(), input))
    };
    Some(found.into_iter().flat_map(of).collect())
}

async fn reported(pool: &Pool, input: &ReportInput) -> Option<perron_model::report::Report> {
    report(pool.evaluate_apart(REPORT, input, Bounds::of_reports()).await.ok()?).ok()
}

/// The same rules, and each permission as a prohibition too.
fn mirrored(input: &ReportInput) -> ReportInput {
    let mut input = input.clone();
    let rules = Arc::make_mut(&mut input.agreement.rules);
    rules.prohibitions.extend(rules.permissions.iter().cloned());
    input
}

/// The input of a decision in the same state of the world, under an agreement that is sound. A
/// decision has a purpose and a legal basis: where the case states none, ones that no policy names.
fn decision(input: &ReportInput, revoked: bool) -> Json {
    let (mut access, report) = (json!(good()), json!(input));
    access["request"]["purpose"] = json!("urn:none");
    access["agreement"]["legal_basis"] = json!("urn:none");
    for part in ["request", "agreement", "parties"] {
        for absent in ["roles", "consumer_jurisdiction"] {
            access[part].as_object_mut().unwrap().remove(absent);
        }
        for (name, value) in report[part].as_object().unwrap() {
            access[part][name] = value.clone();
        }
    }
    access["now_ms"] = report["now_ms"].clone();
    access["state"] = report["state"].clone();
    access["agreement"]["consumer"] = report["request"]["issuer"].clone();
    access["agreement"]["revoked"] = json!(revoked);
    access
}

/// With the bounds of reports: two cases have a rule for each day of a year, which the gate's bounds
/// refuse.
async fn decided(pool: &Pool, input: &Json) -> Option<Verdict> {
    let answers = pool.evaluate_apart(ACCESS_ENTRYPOINTS[0], input, Bounds::of_reports()).await;
    verdict(answers.ok()?).ok()
}

fn is_revoked(decided: Option<Verdict>) -> bool {
    matches!(decided, Some(Verdict::Refuse(reasons)) if reasons[0].code == "agreement_revoked")
}

/// The cases that fail with a module, `right` being the one that the gate loads.
pub(super) async fn failures(right: &Pool, pool: &Pool, inputs: &[(String, ReportInput)]) -> Vec<String> {
    let mut failed = Vec::new();
    for (number, input) in inputs {
        let expected = reported(right, input).await.unwrap();
        let told = reported(pool, input).await;
        let prohibited = reported(pool, &mirrored(input)).await;
        let fits = told.as_ref() == Some(&expected)
            && prohibited.is_none_or(|report| !report.permit)
            && decided(pool, &decision(input, false)).await.is_some_and(|v| (v == Verdict::Permit) == expected.permit)
            && is_revoked(decided(pool, &decision(input, true)).await);
        if !fits {
            failed.push(number.clone());
        }
    }
    failed
}

#[tokio::test]
async fn every_case_holds_with_the_module_that_the_gate_loads() {
    let Some(inputs) = inputs() else { return };
    let pool = Pool::new(&engine(None).unwrap(), "access", ACCESS_ENTRYPOINTS, ACCESS, Bounds::default()).unwrap();
    let mut permitted = 0;
    for (_, input) in &inputs {
        permitted += usize::from(reported(&pool, input).await.unwrap().permit);
    }
    assert!(permitted >= 10 && permitted < inputs.len(), "{permitted} of {} are permitted", inputs.len());
    assert_eq!(failures(&pool, &pool, &inputs).await, Vec::<String>::new());
}
