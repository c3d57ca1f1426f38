//! What has to hold after a kill: of what was acknowledged, of each row, and of both sides.

use crate::kill::ledgers::{Fact, Tail};
use crate::kill::load::Attempt;
use crate::kill::world::{Who, World, text};
use perron_model::Digest;
use perron_model::entry::OutcomeStatus;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Both logs, by request.
pub struct Both {
    /// Requests of each user of the consumer's, with their time, in the order of the log.
    intents: HashMap<String, Vec<(i64, Digest)>>,
    received: HashMap<Digest, Vec<Received>>,
    decisions: HashMap<Digest, Decision>,
    outcomes: HashMap<Digest, (OutcomeStatus, u64)>,
    /// Decisions that a later request acknowledged.
    acknowledged: HashSet<Digest>,
}

struct Received {
    decision: Option<Digest>,
    rows: u64,
    refused: Option<String>,
}

struct Decision {
    leaf: Digest,
    agreement: Digest,
    permitted: bool,
}

/// What went wrong, at most so many of a kind.
fn some(wrong: &[String]) -> String {
    let shown = wrong.iter().take(8).cloned().collect::<Vec<_>>().join("\n  ");
    format!("{} findings:\n  {shown}", wrong.len())
}

impl Both {
    /// Of what was read so far.
    pub fn of(provider: &Tail, consumer: &Tail) -> Both {
        let mut both = Both {
            intents: HashMap::new(),
            received: HashMap::new(),
            decisions: HashMap::new(),
            outcomes: HashMap::new(),
            acknowledged: HashSet::new(),
        };
        for fact in &provider.facts {
            match fact {
                Fact::Decision { leaf, agreement, request, permitted, acknowledged, .. } => {
                    let decision = Decision { leaf: *leaf, agreement: *agreement, permitted: *permitted };
                    assert!(both.decisions.insert(*request, decision).is_none(), "{request:?} was decided twice");
                    both.acknowledged.extend(acknowledged);
                }
                Fact::Outcome { decision, status, rows, .. } => {
                    let known = both.outcomes.insert(*decision, (*status, *rows));
                    assert!(known.is_none(), "the decision {decision:?} has two outcomes");
                }
                _ => {}
            }
        }
        for fact in &consumer.facts {
            match fact {
                Fact::Intent { request, user, time } => {
                    both.intents.entry(user.clone()).or_default().push((*time, *request));
                }
                Fact::Received { request, decision, rows, refused } => {
                    let received = Received { decision: *decision, rows: *rows, refused: refused.clone() };
                    both.received.entry(*request).or_default().push(received);
                }
                _ => {}
            }
        }
        both
    }

    /// Nothing acknowledged is missing, and no row is left without a durable entry: every read
    /// that gave its reader a row is in both logs; every answer that came to its end has its
    /// outcome in the one and its receipt in the other, about as many rows as came.
    pub fn hold(&self, attempts: &[Attempt], pseudonyms: &HashMap<usize, String>) -> Result<(), String> {
        let mut wrong = Vec::new();
        for attempt in attempts {
            let complete = attempt.error.is_none();
            if attempt.rows == 0 && !complete {
                continue;
            }
            if let Err(what) = self.holds(attempt, complete, pseudonyms.get(&attempt.reader)) {
                wrong.push(format!("{what}: {attempt:?}"));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(some(&wrong)) }
    }

    fn holds(&self, attempt: &Attempt, complete: bool, user: Option<&String>) -> Result<(), &'static str> {
        // A reader does one thing after the other: within the time of a read there is one intent.
        let intents = user.and_then(|u| self.intents.get(u)).ok_or("no intent of this user")?;
        let first = intents.partition_point(|(time, _)| *time < attempt.began);
        let (_, request) =
            intents.get(first).filter(|(time, _)| *time <= attempt.ended).ok_or("no intent of the read")?;
        let decision = self.decisions.get(request).ok_or("rows without a decision at the provider")?;
        if !decision.permitted {
            return Err("rows of a refused read");
        }
        if !complete {
            return Ok(());
        }
        if attempt.rows != attempt.wanted {
            return Err("fewer rows than asked for");
        }
        match self.outcomes.get(&decision.leaf) {
            Some((OutcomeStatus::Complete, rows)) if *rows == attempt.rows => {}
            Some(_) => return Err("the provider's outcome is another"),
            None => return Err("an acknowledged read has no outcome"),
        }
        let received = self.received.get(request).ok_or("an acknowledged read has no entry at the consumer")?;
        if received.iter().any(|r| r.refused.is_none() && r.rows == attempt.rows && r.decision == Some(decision.leaf)) {
            Ok(())
        } else {
            Err("the consumer's entry is another")
        }
    }

    /// Both sides know the same of each read.
    pub fn converged(&self) -> Result<(), String> {
        let mut wrong = Vec::new();
        let intents: HashSet<&Digest> = self.intents.values().flatten().map(|(_, r)| r).collect();
        for request in &intents {
            let received = self.received.get(*request);
            match (received, self.decisions.get(*request)) {
                (None, _) => wrong.push(format!("the consumer's intent {request:?} has no end")),
                (Some(received), Some(decision)) if decision.permitted => {
                    if !received.iter().any(|r| r.decision == Some(decision.leaf)) {
                        wrong.push(format!("the consumer doesn't know the decision about {request:?}"));
                    }
                }
                (Some(_), _) => {}
            }
        }
        for (request, decision) in &self.decisions {
            if !intents.contains(request) {
                wrong.push(format!("the provider decided about {request:?}, which the consumer never meant"));
            }
            if decision.permitted && !self.outcomes.contains_key(&decision.leaf) {
                wrong.push(format!("the permit of {request:?} has no outcome"));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(some(&wrong)) }
    }

    /// Every read whose rows left is acknowledged, but for the newest under each agreement: the
    /// next one would carry it.
    pub fn acknowledged(&self) -> Result<(), String> {
        let mut open: BTreeMap<Digest, usize> = BTreeMap::new();
        for decision in self.decisions.values().filter(|d| d.permitted) {
            let leaves_none = matches!(
                self.outcomes.get(&decision.leaf),
                Some((OutcomeStatus::NothingLeft | OutcomeStatus::UnknownAfterCrash, _))
            );
            if !leaves_none && !self.acknowledged.contains(&decision.leaf) {
                *open.entry(decision.agreement).or_default() += 1;
            }
        }
        let wrong: Vec<String> = open
            .into_iter()
            .filter(|(_, left)| *left > 1)
            .map(|(agreement, left)| format!("{left} reads under {agreement:?} are not acknowledged"))
            .collect();
        if wrong.is_empty() { Ok(()) } else { Err(some(&wrong)) }
    }
}

/// The totals that the provider's entries carry are what its entries add up to; gives them.
pub fn counted(provider: &Tail) -> Result<BTreeMap<Digest, u64>, String> {
    let mut uses: BTreeMap<Digest, u64> = BTreeMap::new();
    for fact in &provider.facts {
        let (agreement, said) = match fact {
            Fact::Decision { agreement, permitted, uses: said, .. } => {
                let total = uses.entry(*agreement).or_default();
                *total += u64::from(*permitted);
                (agreement, *said)
            }
            Fact::Outcome { agreement, status, uses: said, .. } => {
                let total = uses.entry(*agreement).or_default();
                *total -= u64::from(*status == OutcomeStatus::NothingLeft);
                (agreement, *said)
            }
            _ => continue,
        };
        if uses[agreement] != said {
            return Err(format!("{} uses are {} by the entries: {fact:?}", said, uses[agreement]));
        }
    }
    Ok(uses)
}

/// Agreements of a log.
pub fn agreements(log: &Tail) -> BTreeSet<Digest> {
    let of = |f: &Fact| if let Fact::Agreement { agreement } = f { Some(*agreement) } else { None };
    log.facts.iter().filter_map(of).collect()
}

/// Unfinished records that starts had to move aside.
pub fn recoveries(log: &Tail) -> usize {
    log.facts.iter().filter(|f| matches!(f, Fact::Recovery)).count()
}

/// Negotiations of a log, with their newest state.
fn logged(log: &Tail) -> BTreeMap<String, String> {
    let of = |f: &Fact| if let Fact::Negotiation { id, state } = f { Some((id.clone(), state.clone())) } else { None };
    log.facts.iter().filter_map(of).collect()
}

/// What the running processes say of agreements and negotiations is what their logs say, and the
/// same on both sides; every negotiation has ended.
pub fn agree(world: &World, provider: &Tail, consumer: &Tail) -> Result<(), String> {
    let listed = |who: Who, noun: &str| -> Result<Vec<Json>, String> {
        Ok(match world.of(who, &[noun, "list"])? {
            Json::Array(items) => items,
            one => vec![one],
        })
    };
    let names = |items: &[Json]| -> BTreeSet<String> { items.iter().map(|a| text(a, "agreement")).collect() };
    let (at_provider, at_consumer) = (listed(Who::Provider, "agreement")?, listed(Who::Consumer, "agreement")?);
    let (here, there) = (names(&at_provider), names(&at_consumer));
    if let Some(alone) = here.symmetric_difference(&there).next() {
        let of = |who| -> Result<Vec<String>, String> {
            let items = listed(who, "negotiation")?.into_iter().filter(|n| n["agreement"] == alone.as_str());
            Ok(items
                .map(|n| format!("{} {}, undelivered: {}", n["negotiation"], n["state"], n["undelivered"]))
                .collect())
        };
        return Err(format!(
            "the agreement {alone} is in force on one side alone; provider: {:?}, consumer: {:?}",
            of(Who::Provider)?,
            of(Who::Consumer)?
        ));
    }
    for (log, who) in [(provider, "provider"), (consumer, "consumer")] {
        let logged: BTreeSet<String> = agreements(log).iter().map(Digest::to_string).collect();
        if logged != here {
            return Err(format!("the {who}'s log has {} agreements, its process {}", logged.len(), here.len()));
        }
    }
    let uses = counted(provider)?;
    for agreement in &at_provider {
        let name = text(agreement, "agreement");
        let by_log = uses.iter().find(|(id, _)| id.to_string() == name).map_or(0, |(_, n)| *n);
        if agreement["uses"].as_u64() != Some(by_log) {
            return Err(format!("{name}: {} uses by the process, {by_log} by the log", agreement["uses"]));
        }
    }
    negotiated(&listed(Who::Provider, "negotiation")?, &listed(Who::Consumer, "negotiation")?, provider, consumer)
}

fn negotiated(at_provider: &[Json], at_consumer: &[Json], provider: &Tail, consumer: &Tail) -> Result<(), String> {
    let by_agreement = |items: &[Json]| -> BTreeMap<String, String> {
        items.iter().filter_map(|n| Some((n["agreement"].as_str()?.to_owned(), text(n, "state")))).collect()
    };
    for (items, log) in [(at_provider, logged(provider)), (at_consumer, logged(consumer))] {
        let said: BTreeMap<String, String> = items.iter().map(|n| (text(n, "negotiation"), text(n, "state"))).collect();
        if said != log {
            let differ = log.iter().find(|(id, state)| said.get(*id) != Some(state));
            return Err(format!("the process has {} negotiations, its log {}: {differ:?}", said.len(), log.len()));
        }
        for n in items {
            let state = text(n, "state");
            if (state != "FINALIZED" && state != "TERMINATED") || n["undelivered"] == true {
                return Err(format!("a negotiation goes on: {n}").chars().take(600).collect());
            }
        }
    }
    let (here, there) = (by_agreement(at_provider), by_agreement(at_consumer));
    if here != there || at_provider.len() != at_consumer.len() {
        let differ = here.iter().find(|(id, state)| there.get(*id) != Some(state));
        return Err(format!(
            "{} negotiations at the provider, {} at the consumer; {differ:?}",
            at_provider.len(),
            at_consumer.len()
        ));
    }
    Ok(())
}

/// The test of the checks: each thing that is taken away is missed.
mod sharp {
    use super::*;
    use perron_model::AgreementId;

    fn digest(name: &str) -> Digest {
        Digest::of(name.as_bytes())
    }

    fn log(facts: Vec<Fact>) -> Tail {
        let mut tail = Tail::new(std::path::Path::new("/nowhere"));
        tail.facts = facts;
        tail
    }

    fn provider() -> Vec<Fact> {
        let agreement: AgreementId = digest("agreement");
        let decision = |name: &str, uses, acknowledged| Fact::Decision {
            leaf: digest(&format!("decision {name}")),
            agreement,
            request: digest(name),
            permitted: true,
            uses,
            acknowledged,
        };
        let outcome = |name: &str, uses| Fact::Outcome {
            agreement,
            decision: digest(&format!("decision {name}")),
            status: OutcomeStatus::Complete,
            rows: 7,
            uses,
        };
        vec![
            decision("a", 1, vec![]),
            outcome("a", 1),
            decision("b", 2, vec![digest("decision a")]),
            outcome("b", 2),
            decision("c", 3, vec![digest("decision b")]),
            outcome("c", 3),
        ]
    }

    fn consumer() -> Vec<Fact> {
        let of = |(at, name): (i64, &str)| {
            let request = digest(name);
            let decision = Some(digest(&format!("decision {name}")));
            [
                Fact::Intent { request, user: "pseudonym".into(), time: 10 * at },
                Fact::Received { request, decision, rows: 7, refused: None },
            ]
        };
        [(1, "a"), (2, "b"), (3, "c")].into_iter().flat_map(of).collect()
    }

    fn attempts() -> Vec<Attempt> {
        let of = |at: i64| Attempt { reader: 0, began: 10 * at, ended: 10 * at + 5, wanted: 7, rows: 7, error: None };
        (1..=3).map(of).collect()
    }

    fn judged(provider: Vec<Fact>, consumer: Vec<Fact>) -> Result<(), String> {
        let (provider, consumer) = (log(provider), log(consumer));
        let both = Both::of(&provider, &consumer);
        both.hold(&attempts(), &HashMap::from([(0, "pseudonym".to_owned())]))?;
        both.converged()?;
        both.acknowledged()?;
        counted(&provider).map(|_| ())
    }

    #[test]
    fn whatever_is_missing_is_found() {
        judged(provider(), consumer()).unwrap();
        let (at_provider, at_consumer) = (provider().len(), consumer().len());
        for missing in 0..at_provider {
            let mut less = provider();
            less.remove(missing);
            assert!(judged(less, consumer()).is_err(), "{missing} of the provider's");
        }
        for missing in 0..at_consumer {
            let mut less = consumer();
            less.remove(missing);
            assert!(judged(provider(), less).is_err(), "{missing} of the consumer's");
        }
        // Rows of a read that broke off need their entry too; its outcome may be another.
        let broken = Attempt { error: Some("broken".into()), rows: 1, ..attempts()[0].clone() };
        let users = HashMap::from([(0, "pseudonym".to_owned())]);
        let hold = |provider: &[Fact]| {
            Both::of(&log(provider.to_vec()), &log(consumer())).hold(std::slice::from_ref(&broken), &users)
        };
        hold(&provider()[..1]).unwrap();
        hold(&[]).unwrap_err();
        // Two reads that no later one acknowledges: the newest alone may be so.
        let mut silent = provider();
        for fact in &mut silent {
            if let Fact::Decision { acknowledged, .. } = fact {
                acknowledged.retain(|a| *a != digest("decision b"));
            }
        }
        assert!(judged(silent, consumer()).is_err());
    }
}
