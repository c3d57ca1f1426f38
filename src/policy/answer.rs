//! Reading a module's answer: strictly, so that whatever isn't expected is an error.

use perron_model::decision::{Refused, Verdict};
use perron_model::limits::{PLACE_BYTES_MAX, REFUSALS_MAX};
use perron_model::report::Report;
use perron_model::{Error, ErrorCode, Result};
use serde::Deserialize;

/// What OPA's `opa_eval` gives: one binding a result (OPA wasm ABI 1.2).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Answer {
    result: Decision,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Decision {
    permit: bool,
    refused: Vec<Refused>,
}

/// The verdict of exactly one well-formed answer: a permit without reasons, or a refusal with at
/// least one, each with a code of the one table.
pub(super) fn verdict(answers: Vec<Answer>) -> Result<Verdict> {
    let [Answer { result }] = <[Answer; 1]>::try_from(answers).map_err(|_| unexpected("not exactly one answer"))?;
    let Decision { permit, refused } = result;
    match (permit, refused.is_empty()) {
        (true, true) => Ok(Verdict::Permit),
        (true, false) => Err(unexpected("a permit with reasons")),
        (false, true) => Err(unexpected("a refusal without a reason")),
        (false, false) => {
            if refused.len() > REFUSALS_MAX || !refused.iter().all(well_formed) {
                return Err(unexpected("a reason that is not one of the table"));
            }
            Ok(Verdict::Refuse(refused))
        }
    }
}

/// What the report's entrypoint gives.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ReportAnswer {
    result: Report,
}

/// The report of exactly one well-formed answer.
pub(super) fn report(answers: Vec<ReportAnswer>) -> Result<Report> {
    let [ReportAnswer { result }] =
        <[ReportAnswer; 1]>::try_from(answers).map_err(|_| unexpected("not exactly one report"))?;
    Ok(result)
}

fn well_formed(reason: &Refused) -> bool {
    ErrorCode::parse(&reason.code).is_some() && !reason.clause.is_empty() && reason.clause.len() <= PLACE_BYTES_MAX
}

fn unexpected(what: &str) -> Error {
    Error::new(ErrorCode::EvaluationFailed, format!("the policy gave {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Verdict> {
        verdict(serde_json::from_str(text).map_err(|_| unexpected("garbage"))?)
    }

    #[test]
    fn reads_a_permit_and_a_refusal() {
        assert_eq!(read(r#"[{"result":{"permit":true,"refused":[]}}]"#), Ok(Verdict::Permit));
        let refusal = read(r#"[{"result":{"permit":false,"refused":[{"code":"role_missing","clause":"roles"}]}}]"#);
        assert!(matches!(refusal, Ok(Verdict::Refuse(reasons)) if reasons.len() == 1));
    }

    #[test]
    fn anything_else_is_an_error() {
        for text in [
            "",
            "null",
            "{}",
            "[]",
            "[{}]",
            r#"[{"result":null}]"#,
            r#"[{"result":true}]"#,
            r#"[{"result":{"permit":true}}]"#,
            r#"[{"result":{"permit":"true","refused":[]}}]"#,
            r#"[{"result":{"permit":1,"refused":[]}}]"#,
            r#"[{"result":{"permit":true,"refused":[],"more":1}}]"#,
            r#"[{"result":{"permit":true,"refused":[]},"more":1}]"#,
            r#"[{"result":{"permit":true,"permit":true,"refused":[]}}]"#,
            r#"[{"result":{"permit":true,"refused":[]}},{"result":{"permit":true,"refused":[]}}]"#,
            r#"[{"result":{"permit":true,"refused":[{"code":"role_missing","clause":"roles"}]}}]"#,
            r#"[{"result":{"permit":false,"refused":[]}}]"#,
            r#"[{"result":{"permit":false,"refused":[{"code":"no_such_code","clause":"roles"}]}}]"#,
            r#"[{"result":{"permit":false,"refused":[{"code":"role_missing","clause":""}]}}]"#,
            r#"[{"result":{"permit":false,"refused":[{"code":"role_missing"}]}}]"#,
            r#"[{"result":{"permit":false,"refused":["role_missing"]}}]"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        let many = r#"{"code":"role_missing","clause":"roles"},"#.repeat(REFUSALS_MAX + 1);
        let text = format!(r#"[{{"result":{{"permit":false,"refused":[{}]}}}}]"#, many.trim_end_matches(','));
        assert!(read(&text).is_err());
    }
}
