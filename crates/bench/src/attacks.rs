//! Attacks on released tables, as programs: against a provider's public endpoint, where a real
//! process serves Flight SQL over mutual TLS; against the same released tables given as files; and
//! against the same groups without any protection, which shows that the attacks work.
//!
//! Each try is about one household in one month. The attacker is the consumer itself, with its
//! keys and a connector of its own making (`asking`). They know everything about everybody but
//! water, hold all tables (so pool what several consumers got), and in the end say a number of
//! litres. *Learned* is who comes within one per cent of the truth.

use crate::failed;
use crate::ground::{Draws, Ground, Household, KINDS, MONTHS, MOVED_IN, SECTORS, TABLES, Table};
use crate::oracle::{Attacker, Cond, Oracle, Sums, differing, read, unprotected};
use perron_model::Result;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

/// How near to the truth is learned.
const NEAR: f64 = 0.01;
/// Questions that mean the same, of one averaging try.
const VARIATIONS: usize = 8;

/// Of whom something was learned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Count {
    /// Households.
    pub individuals: usize,
    /// Tries that learned something.
    pub tries: usize,
}

/// What an attack learned, in so many tries.
#[derive(Clone, Debug, Serialize)]
pub struct Learned {
    pub attack: &'static str,
    pub tries: usize,
    /// Households that the tries were about.
    pub targets: usize,
    /// From the endpoint.
    pub endpoint: Count,
    /// From the released tables as files.
    pub file: Count,
    /// From the same groups without protection.
    pub unprotected: Count,
    /// Tries that learned from the endpoint what the same try didn't learn from the file.
    pub beyond: usize,
}

impl Learned {
    /// Did the endpoint teach more than the file?
    pub fn more(&self) -> bool {
        let Learned { endpoint, file, beyond, .. } = self;
        *beyond > 0 || endpoint.individuals > file.individuals || endpoint.tries > file.tries
    }
}

impl fmt::Display for Learned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Learned { attack, tries, targets, endpoint, file, unprotected, .. } = self;
        let (e, t, u) = (endpoint.individuals, file.individuals, unprotected.individuals);
        write!(f, "{attack}: {tries} tries after {targets} individuals. Learned from the endpoint: {e} individuals")?;
        write!(f, " ({} tries); from the table as a file: {t} ({})", endpoint.tries, file.tries)?;
        write!(f, "; from the groups without protection: {u} ({})", unprotected.tries)
    }
}

/// What was seen of all attacks.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub learned: Vec<Learned>,
    /// Different questions of all attacks.
    pub questions: usize,
    /// How many of them the endpoint answered; the others were refused.
    pub answered: usize,
    /// How many it answered, or refused, otherwise than the file.
    pub differing: usize,
}

/// One household in one month.
struct Target<'a> {
    household: &'a Household,
    month: usize,
}

impl Target<'_> {
    fn truth(&self) -> f64 {
        self.household.litres.get(self.month).map_or(0.0, |l| *l as f64)
    }
    fn learned(&self, guess: Option<f64>) -> bool {
        guess.is_some_and(|g| (g - self.truth()).abs() <= NEAR * self.truth())
    }
}

/// The guess from sums that hold the target: all of them where they hold nobody else, else the
/// mean of those whom they hold.
fn guess(found: Option<Sums>) -> Option<f64> {
    found.filter(|s| s.households >= 0.5).map(|s| s.litres / s.households.round())
}

/// Denning's general tracker: what a question about the target alone would say, from questions
/// about large sets: q(C) = q(C or T) + q(C or not T) - q(T) - q(not T).
async fn tracker(attacker: &mut Attacker, target: &Target<'_>, draws: &mut Draws) -> Option<f64> {
    let household = target.household;
    let named = Cond::And(vec![Cond::Name(household.name.clone()), Cond::Month(target.month)]);
    if let Some(found) = attacker.ask(Table::Kinds, &named).await {
        return guess(Some(found));
    }
    let table = Table::Kinds;
    let alone = Cond::And(vec![Cond::Sector(household.sector), Cond::Kind(household.kind), Cond::Month(target.month)]);
    let tracker = Cond::SectorBelow(1 + draws.below(SECTORS - 1));
    let not = Cond::Not(Box::new(tracker.clone()));
    let either = |a: &Cond, b: &Cond| Cond::Or(vec![a.clone(), b.clone()]);
    let with = attacker.ask(table, &either(&alone, &tracker)).await?;
    let without = attacker.ask(table, &either(&alone, &not)).await?;
    let (of, rest) = (attacker.ask(table, &tracker).await?, attacker.ask(table, &not).await?);
    guess(Some(with.plus(without, 1.0).plus(of, -1.0).plus(rest, -1.0)))
}

/// Differences of cells that hold the target and cells that don't: totals less their parts, one
/// table less another, a later one less an earlier one. The smallest set that holds the target is
/// what the guess is made from.
async fn differencing(attacker: &mut Attacker, target: &Target<'_>, _: &mut Draws) -> Option<f64> {
    let household = target.household;
    let at = Cond::Month(target.month);
    let and = |all: Vec<Cond>| Cond::And([all, vec![at.clone()]].concat());
    let mut found = Vec::new();
    // The month's total less all other sectors.
    let total = attacker.ask(Table::Sectors, &and(vec![Cond::Summed(1)])).await?;
    let others = and(vec![Cond::Summed(0), Cond::Not(Box::new(Cond::Sector(household.sector)))]);
    let others = attacker.ask(Table::Sectors, &others).await?;
    if total.rows > 0.0 {
        found.push(total.plus(others, -1.0));
    }
    // The sector less its other kinds, and its kind itself.
    let own = attacker.ask(Table::Sectors, &and(vec![Cond::Summed(0), Cond::Sector(household.sector)])).await?;
    let mut kinds = Sums::default();
    for kind in (0..KINDS).filter(|k| *k != household.kind) {
        let one = attacker.ask(Table::Kinds, &and(vec![Cond::Sector(household.sector), Cond::Kind(kind)])).await?;
        kinds = kinds.plus(one, 1.0);
    }
    if own.rows > 0.0 {
        found.push(own.plus(kinds, -1.0));
        found.push(own);
    }
    let cell = and(vec![Cond::Sector(household.sector), Cond::Kind(household.kind)]);
    found.push(attacker.ask(Table::Kinds, &cell).await?);
    // The sector in the later table, less the same in the earlier one: who moved in.
    let late = attacker.ask(Table::Late, &and(vec![Cond::Sector(household.sector)])).await?;
    if late.rows > 0.0 && own.rows > 0.0 && household.moved_in {
        found.push(late.plus(own, -1.0));
    }
    let holding = found.into_iter().filter(|s| s.households > 0.5 && s.litres > 0.0);
    guess(holding.min_by(|a, b| a.households.total_cmp(&b.households)))
}

/// The averaging attack on noise (as on Diffix): the same question in many spellings, averaged;
/// then all other households, whom this attacker knows to the litre, are taken off.
async fn averaging(
    attacker: &mut Attacker,
    target: &Target<'_>,
    draws: &mut Draws,
    population: &[Household],
) -> Option<f64> {
    let household = target.household;
    let group = Cond::And(vec![Cond::Sector(household.sector), Cond::Month(target.month)]);
    let mut answers = Vec::new();
    for _ in 0..VARIATIONS {
        // Always true, and never the same.
        let (a, b) = (SECTORS + draws.below(900), SECTORS + draws.below(900));
        let none = |s: usize| Cond::Not(Box::new(Cond::Sector(s)));
        let spelled = Cond::And(vec![group.clone(), none(a), Cond::Or(vec![none(b), Cond::Sector(b)])]);
        let answer = attacker.ask(Table::Noisy, &spelled).await?;
        if answer.rows > 0.0 {
            answers.push(answer.litres);
        }
    }
    if answers.is_empty() {
        return None;
    }
    let mean = answers.iter().sum::<f64>() / answers.len() as f64;
    let others = population
        .iter()
        .filter(|h| h.sector == household.sector && h.name != household.name && !h.moved_in)
        .filter_map(|h| h.litres.get(target.month))
        .sum::<i64>();
    Some(mean - others as f64)
}

/// Whom a try is about. The attacker knows who is in which group, and takes of some households
/// the one with the fewest beside it; differences are after those who moved in, every other time.
fn chosen<'a>(population: &'a [Household], attack: usize, draws: &mut Draws) -> Option<&'a Household> {
    let from = if attack == 1 && draws.below(2) == 0 { population.len().saturating_sub(MOVED_IN) } else { 0 };
    let peers = |h: &Household| population.iter().filter(|o| o.sector == h.sector && o.kind == h.kind).count();
    let some: Vec<&Household> =
        (0..4).filter_map(|_| population.get(from + draws.below(population.len().saturating_sub(from)))).collect();
    some.into_iter().min_by_key(|h| peers(h))
}

/// Names of the attacks, in their order.
const ATTACKS: [&str; 3] = ["tracker", "differencing", "averaging"];

/// The tries of one attack, each with its household and whether it learned.
type Tries = Vec<(String, bool)>;

/// What an attacker learns with each attack.
async fn learned(attacker: &mut Attacker, population: &[Household], tries: usize, seed: u64) -> [Tries; 3] {
    let mut all: [Tries; 3] = Default::default();
    for (attack, tried) in all.iter_mut().enumerate() {
        // Each attacker has the same targets and asks the same.
        let mut draws = Draws(seed ^ ((attack as u64 + 1) << 40));
        for _ in 0..tries {
            let Some(household) = chosen(population, attack, &mut draws) else { continue };
            let target = Target { household, month: draws.below(MONTHS) };
            let guess = match attack {
                0 => tracker(attacker, &target, &mut draws).await,
                1 => differencing(attacker, &target, &mut draws).await,
                _ => averaging(attacker, &target, &mut draws, population).await,
            };
            tried.push((household.name.clone(), target.learned(guess)));
        }
    }
    all
}

fn count(tries: &Tries) -> Count {
    let learned = || tries.iter().filter(|(_, learned)| *learned);
    let individuals: BTreeSet<&String> = learned().map(|(name, _)| name).collect();
    Count { individuals: individuals.len(), tries: learned().count() }
}

/// Sets up the ground and runs each attack against endpoint, file, and groups without protection.
pub async fn run(program: &Path, directory: &Path, tries: usize, seed: u64) -> Result<Report> {
    let (program, directory) = (program.to_owned(), directory.to_owned());
    let ground = tokio::task::spawn_blocking(move || Ground::set_up(&program, &directory, seed));
    // The processes serve as long as this lives.
    let Ground { processes: _processes, provider, asking, population, agreements } = ground.await.map_err(failed)??;
    let mut files = BTreeMap::new();
    for (table, agreement) in &agreements {
        files.insert(*table, read(&provider.join("released").join(agreement.to_string()), *table)?);
    }
    let raw = TABLES.iter().map(|t| (*t, unprotected(&population, *t))).collect();
    let oracles = [Oracle::Endpoint(Box::new(asking), agreements), Oracle::Rows(files), Oracle::Rows(raw)];
    Ok(played(oracles, &population, tries, seed).await)
}

/// Plays each attack against endpoint, file, and groups without protection.
async fn played(oracles: [Oracle; 3], population: &[Household], tries: usize, seed: u64) -> Report {
    let mut attackers = oracles.map(Attacker::of);
    let mut seen: Vec<[Tries; 3]> = Vec::new();
    for attacker in &mut attackers {
        seen.push(learned(attacker, population, tries, seed).await);
    }
    let [endpoint, file, _] = &attackers;
    let of = |oracle: usize, attack: usize| seen.get(oracle).and_then(|s| s.get(attack)).cloned().unwrap_or_default();
    let told = |(attack, name): (usize, &&'static str)| {
        let [here, there, raw] = [0, 1, 2].map(|oracle| of(oracle, attack));
        Learned {
            attack: name,
            tries: here.len(),
            targets: here.iter().map(|(name, _)| name).collect::<BTreeSet<_>>().len(),
            endpoint: count(&here),
            file: count(&there),
            unprotected: count(&raw),
            beyond: here.iter().zip(&there).filter(|((_, here), (_, there))| *here && !there).count(),
        }
    };
    Report {
        learned: ATTACKS.iter().enumerate().map(told).collect(),
        questions: endpoint.kept.len(),
        answered: endpoint.kept.values().flatten().count(),
        differing: differing(&endpoint.kept, &file.kept),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ground::{FLOOR, Row, population};

    /// Of a table as its raw groups are; small ones only where `small` says so.
    fn rows(population: &[Household], small: bool) -> Oracle {
        let given = |row: &Row| small || (row.households >= FLOOR as f64 && row.sector.is_some());
        Oracle::Rows(TABLES.map(|t| (t, unprotected(population, t).into_iter().filter(given).collect())).into())
    }

    #[tokio::test]
    async fn an_endpoint_that_gives_more_than_the_file_is_found_out() {
        let people = population(&mut Draws(1));
        let found = played([true, false, true].map(|small| rows(&people, small)), &people, 60, 1).await;
        let [tracker, differencing, _] = found.learned.as_slice() else { panic!("{found:?}") };
        assert!(tracker.more() && tracker.beyond > 0, "{tracker}");
        assert!(differencing.more() && differencing.beyond > 0, "{differencing}");
        assert!(found.differing > 0 && found.differing < found.questions, "{found:?}");
    }

    #[tokio::test]
    async fn the_same_table_teaches_the_same() {
        let people = population(&mut Draws(2));
        let found = played([false, false, true].map(|small| rows(&people, small)), &people, 20, 2).await;
        assert!(found.learned.iter().all(|l| !l.more() && l.unprotected.tries > l.file.tries), "{found:?}");
        assert_eq!(found.differing, 0);
    }
}
