//! `perron-regorus POLICIES < CASES`: evaluates `access.rego` with `odrl.rego` of the directory in
//! regorus, another implementation of Rego, over cases (one a line: `{"input", "answer"}`), and
//! compares with the answers, which are of the wasm module that the gate loads.

#![forbid(unsafe_code)]

use regorus::{Engine, Value};
use std::error::Error;
use std::io::BufRead;
use std::process::ExitCode;

/// Differences that are shown; all are counted.
const SHOWN_MAX: u64 = 5;

fn main() -> ExitCode {
    match compare() {
        Ok((cases, 0)) => {
            println!("{cases} cases, no difference");
            ExitCode::SUCCESS
        }
        Ok((cases, differences)) => {
            eprintln!("{cases} cases, {differences} differences");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn compare() -> Result<(u64, u64), Box<dyn Error>> {
    let directory = std::env::args().nth(1).ok_or("usage: perron-regorus POLICIES < CASES")?;
    let mut engine = Engine::new();
    for module in ["odrl.rego", "access.rego"] {
        let text = std::fs::read_to_string(format!("{directory}/{module}"))?;
        engine.add_policy(module.to_owned(), text)?;
    }
    let (mut cases, mut differences) = (0, 0);
    for line in std::io::stdin().lock().lines() {
        let case: serde_json::Value = serde_json::from_str(&line?)?;
        let (input, expected) = (&case["input"], &case["answer"]);
        engine.set_input(Value::from_json_str(&input.to_string())?);
        let answer = engine.eval_rule("data.perron.access.decision".to_owned())?;
        let answer: serde_json::Value = serde_json::from_str(&answer.to_json_str()?)?;
        cases += 1;
        if answer != *expected {
            differences += 1;
            if differences <= SHOWN_MAX {
                eprintln!("regorus {answer}\nwasm    {expected}\ninput   {input}");
            }
        }
    }
    Ok((cases, differences))
}
