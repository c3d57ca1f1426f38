//! Cases for the differential test of the policies: generated agreements, requests and states, each
//! with the answer of the wasm module that the gate loads. `tools/regorus` evaluates the same Rego
//! over them and compares.

use crate::failed;
use perron::policy::Policies;
use perron_gate::Policy as _;
use perron_model::decision::{AccessInput, AgreementFacts, DutyState, PartyFacts, RequestFacts, StateFacts, Verdict};
use perron_model::participant::Status;
use perron_model::policy::rule::{Duty, Logic, NUMBER_MAX};
use perron_model::policy::{Constraint, Left, Numbering, Rule, Rules, Scalar, Test};
use perron_model::{Digest, ParticipantId, Result, Timestamp};
use serde_json::json;
use std::collections::BTreeMap;
use std::io::Write;
use std::sync::Arc;

/// Numbers from a seed (xorshift64*): the same cases for the same seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
    /// True in `percent` of a hundred.
    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        let index = usize::try_from(self.below(of.len() as u64)).unwrap_or(0);
        of.get(index).copied().unwrap_or_default()
    }
}

const ODRL: &str = "http://www.w3.org/ns/odrl/2/";
/// Reasons that the module `access` gives, each of which the cases have to try.
pub const REASONS: [&str; 21] = [
    "register_stale",
    "participant_revoked",
    "participant_suspended",
    "agreement_not_in_force",
    "agreement_revoked",
    "agreement_suspended",
    "agreement_amended",
    "assignee_mismatch",
    "prohibited",
    "action_not_allowed",
    "permission_missing",
    "agreement_not_started",
    "agreement_expired",
    "purpose_not_allowed",
    "constraint_unsatisfied",
    "state_unknown",
    "duty_unfulfilled",
    "uses_exhausted",
    "volume_exhausted",
    "rate_exceeded",
    "acknowledgement_missing",
];

const NOW_MS: i64 = 1_795_600_800_000;
const TEXTS: [&str; 3] = ["a", "b", "c"];

/// How many cases of which kind there were.
#[derive(Debug, Default)]
pub struct Counts {
    /// Permits.
    pub permits: u64,
    /// Refusals.
    pub refusals: u64,
    /// Refusals that give a reason, by its code.
    pub reasons: BTreeMap<String, u64>,
}

fn text(value: &str) -> Scalar {
    Scalar::Text(value.to_owned())
}

fn constraint(dice: &mut Dice, at: &str, depth: usize) -> Constraint {
    if depth > 0 && dice.chance(25) {
        let operator = match dice.below(4) {
            0 => Logic::And,
            1 => Logic::Or,
            2 => Logic::Xone,
            _ => Logic::AndSequence,
        };
        let of = (0..=dice.below(2)).map(|i| constraint(dice, &format!("{at}.of[{i}]"), depth - 1)).collect();
        return Constraint::Logical { at: at.to_owned(), operator, of };
    }
    let (left, test) = match dice.below(11) {
        0 => (Left::DateTime, number(dice, NOW_MS)),
        1 => (Left::ElapsedTime, number(dice, 1_000)),
        2 => (Left::Count, number(dice, 5)),
        3 => (Left::Rate, number(dice, 5)),
        4 => (Left::Volume, number(dice, 5)),
        5 => (Left::Fact("open".to_owned()), set(dice, vec![Scalar::Boolean(true)])),
        other => {
            let left = match other {
                6 => Left::Purpose,
                7 => Left::LegalBasis,
                8 => Left::Spatial,
                9 => Left::Recipient,
                _ => Left::UserRole,
            };
            let values = TEXTS.iter().filter(|_| dice.chance(75)).map(|t| text(t)).chain([text("d")]).collect();
            (left, set(dice, values))
        }
    };
    Constraint::Test { at: at.to_owned(), left, test }
}

/// A test of a number that lies about `near`.
fn number(dice: &mut Dice, near: i64) -> Test {
    let edge = near + i64::try_from(dice.below(7)).unwrap_or(0) - 2;
    match dice.below(8) {
        0 => Test::Range { min: edge, max: NUMBER_MAX },
        1 => Test::Differs(edge),
        2 => Test::Range { min: edge, max: edge },
        _ => Test::Range { min: -NUMBER_MAX, max: edge },
    }
}

fn set(dice: &mut Dice, values: Vec<Scalar>) -> Test {
    match dice.below(10) {
        0 => Test::None(values),
        1 => Test::Every(values.into_iter().take(1).collect()),
        _ => Test::Any(values),
    }
}

fn rule(dice: &mut Dice, numbering: &mut Numbering, at: &str, permission: bool) -> Result<Rule> {
    let usual = if permission { 85 } else { 45 };
    let action =
        if dice.chance(usual) { dice.one(&["use", "read"]) } else { dice.one(&["sell", "distribute", "aggregate"]) };
    let mut rule = Rule::new(at, &format!("{ODRL}{action}"));
    if dice.chance(20) {
        dice.one(&["a", "group", "z"]).clone_into(&mut rule.assignee);
    }
    if dice.chance(20) {
        dice.one(&["set", "sets", "z"]).clone_into(&mut rule.target);
    }
    let fewest = u64::from(!permission);
    for index in 0..fewest + dice.below(3) {
        let constraint = constraint(dice, &format!("{at}.constraint[{index}]"), 3);
        numbering.add(&mut rule, constraint)?;
    }
    if permission && dice.chance(10) {
        rule.duties.push(duty(&format!("{at}.duty[0]")));
    }
    Ok(rule)
}

fn duty(at: &str) -> Duty {
    Duty { at: at.to_owned(), action: format!("{ODRL}inform"), assignee: None, before_ms: None, within_ms: None }
}

fn case(dice: &mut Dice) -> Result<AccessInput> {
    let mut numbering = Numbering::default();
    let mut rules = Rules::default();
    for index in 0..=dice.below(3) {
        rules.permissions.push(rule(dice, &mut numbering, &format!("permission[{index}]"), true)?);
    }
    for index in 0..dice.below(3) {
        rules.prohibitions.push(rule(dice, &mut numbering, &format!("prohibition[{index}]"), false)?);
    }
    if dice.chance(10) {
        rules.obligations.push(duty("obligation[0]"));
    }
    let duties = rules.duties().filter_map(|d| {
        let state = match dice.below(4) {
            0 => DutyState::Violated,
            1 => DutyState::NotSet,
            _ => DutyState::Fulfilled,
        };
        dice.chance(85).then(|| (d.at.clone(), state))
    });
    let duties: BTreeMap<String, DutyState> = duties.collect();
    let party = |name: &str| ParticipantId::parse(name);
    let status = |dice: &mut Dice| match dice.below(200) {
        0 => Status::Revoked,
        1 => Status::Suspended,
        _ => Status::Active,
    };
    let known = |dice: &mut Dice| dice.chance(90).then(|| dice.below(8));
    Ok(AccessInput {
        now: Timestamp::from_millis(NOW_MS)?,
        request: RequestFacts {
            issuer: party(if dice.chance(99) { "a" } else { "b" })?,
            issuer_of: if dice.chance(50) { vec!["group".to_owned()] } else { Vec::new() },
            provider: party(if dice.chance(99) { "p" } else { "q" })?,
            action: format!("{ODRL}{}", if dice.chance(95) { "read" } else { dice.one(&["move", "write", "sell"]) }),
            purpose: dice.one(&TEXTS).to_owned(),
            target: "set".to_owned(),
            target_of: if dice.chance(50) { vec!["sets".to_owned()] } else { Vec::new() },
            roles: dice.chance(80).then(|| vec![dice.one(&TEXTS).to_owned(), dice.one(&TEXTS).to_owned()]),
        },
        agreement: AgreementFacts {
            id: Digest::of(b"agreement"),
            provider: party("p")?,
            consumer: party("a")?,
            finalized: dice.chance(99),
            agreed_at: Timestamp::from_millis(NOW_MS - 1_000)?,
            revoked: dice.chance(1),
            suspended: dice.chance(1),
            amended: dice.chance(1),
            legal_basis: dice.one(&TEXTS).to_owned(),
            rules: Arc::new(rules),
        },
        parties: PartyFacts {
            provider: status(dice),
            consumer: status(dice),
            consumer_jurisdiction: dice.chance(95).then(|| dice.one(&TEXTS).to_owned()),
            register_fresh: dice.chance(99),
        },
        state: StateFacts {
            uses: dice.below(8),
            uses_last_hour: known(dice),
            volume_bytes: known(dice),
            unacknowledged: if dice.chance(99) { 0 } else { 100 },
            unacknowledged_ms: 0,
            duties,
            facts: if dice.chance(80) {
                BTreeMap::from([("open".to_owned(), Scalar::Boolean(dice.chance(80)))])
            } else {
                BTreeMap::new()
            },
        },
    })
}

/// Writes `cases` cases from `seed`, one a line with its answer, and counts them.
pub async fn write(cases: u64, seed: u64, to: &mut (dyn Write + Send)) -> Result<Counts> {
    let policies = Policies::load_uncached()?;
    let (mut dice, mut counts) = (Dice(seed.max(1)), Counts::default());
    for _ in 0..cases {
        let input = case(&mut dice)?;
        let verdict = policies.access(&input).await?.verdict;
        let answer = match &verdict {
            Verdict::Permit => {
                counts.permits += 1;
                json!({"permit": true, "refused": []})
            }
            Verdict::Refuse(reasons) => {
                counts.refusals += 1;
                let codes: std::collections::BTreeSet<&String> = reasons.iter().map(|r| &r.code).collect();
                for code in codes {
                    *counts.reasons.entry(code.clone()).or_default() += 1;
                }
                json!({"permit": false, "refused": reasons})
            }
        };
        let line = serde_json::to_string(&json!({"input": input, "answer": answer})).map_err(failed)?;
        writeln!(to, "{line}").map_err(failed)?;
    }
    Ok(counts)
}
