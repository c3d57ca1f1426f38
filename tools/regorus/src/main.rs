//! `perron-regorus POLICIES < CASES`: evaluates `access.rego` with `odrl.rego` of the directory in
//! regorus, another implementation of Rego, over cases (one a line: `{"input", "answer"}`), and
//! compares with the answers, which are of the wasm module that the gate loads.
//!
//! `perron-regorus POLICIES time COUNT < INPUT`: the answer to one input, and what each of so many
//! evaluations took, in microseconds, from the input's JSON to the answer's.

#![forbid(unsafe_code)]

use regorus::{Engine, Value};
use serde_json::{Value as Json, json};
use std::error::Error;
use std::io::BufRead;
use std::process::ExitCode;
use std::time::Instant;

/// Differences that are shown; all are counted.
const SHOWN_MAX: u64 = 5;
const USAGE: &str = "usage: perron-regorus POLICIES [time COUNT] < CASES";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        [policies] => engine(policies).and_then(compare),
        [policies, "time", count] => engine(policies).and_then(|engine| time(engine, count.parse()?)),
        _ => Err(USAGE.into()),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn engine(directory: &str) -> Result<Engine, Box<dyn Error>> {
    let mut engine = Engine::new();
    for module in ["odrl.rego", "access.rego"] {
        let text = std::fs::read_to_string(format!("{directory}/{module}"))?;
        engine.add_policy(module.to_owned(), text)?;
    }
    Ok(engine)
}

/// From JSON to JSON.
fn decide(engine: &mut Engine, input: &str) -> Result<String, Box<dyn Error>> {
    engine.set_input(Value::from_json_str(input)?);
    Ok(engine.eval_rule("data.perron.access.decision".to_owned())?.to_json_str()?)
}

fn compare(mut engine: Engine) -> Result<bool, Box<dyn Error>> {
    let (mut cases, mut differences) = (0, 0);
    for line in std::io::stdin().lock().lines() {
        let case: Json = serde_json::from_str(&line?)?;
        let (input, expected) = (&case["input"], &case["answer"]);
        let answer: Json = serde_json::from_str(&decide(&mut engine, &input.to_string())?)?;
        cases += 1;
        if answer != *expected {
            differences += 1;
            if differences <= SHOWN_MAX {
                eprintln!("regorus {answer}\nwasm    {expected}\ninput   {input}");
            }
        }
    }
    if differences == 0 {
        println!("{cases} cases, no difference");
    } else {
        eprintln!("{cases} cases, {differences} differences");
    }
    Ok(differences == 0)
}

fn time(mut engine: Engine, count: usize) -> Result<bool, Box<dyn Error>> {
    let mut input = String::new();
    std::io::stdin().lock().read_line(&mut input)?;
    let mut answer: Json = serde_json::from_str(&decide(&mut engine, &input)?)?;
    let mut micros = Vec::with_capacity(count);
    for _ in 0..count {
        let begun = Instant::now();
        answer = serde_json::from_str(&decide(&mut engine, &input)?)?;
        micros.push(begun.elapsed().as_secs_f64() * 1e6);
    }
    println!("{}", json!({"answer": answer, "micros": micros}));
    Ok(true)
}
