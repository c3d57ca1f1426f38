//! Killing processes under load: what was acknowledged is there, no row is without its entry, and
//! both sides come to the same.
//!
//! An authority, a provider and a consumer are processes of their own; readers keep at least
//! `IN_FLIGHT_MIN` requests in flight while negotiations go on. A seed chooses who is killed, and
//! by which phase of the trace; the process is killed when its trace says that the phase began.
//!
//! The class of a kill is told by the trace up to its end: the phase aimed at, where the trace
//! left it open; else the newest that it left open. A kill that left none open belongs to no class
//! and doesn't count as a point.
//!
//! `PERRON_KILLS` points (24; `make soak` takes 200), from the seed `PERRON_KILL_SEED`.

mod alone;
mod checks;
mod layer;
mod ledgers;
mod load;
pub mod process;
mod random;
mod unsynced;
mod world;

use checks::Both;
use ledgers::{Mark, Tail};
use load::{Attempt, HUNG, Load};
use process::{Aim, CLASSES, Class, Process, until};
use random::Random;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};
use unsynced::{Dropped, Layer};
use world::{Reader, Who, World};

/// Requests in flight at each kill.
const IN_FLIGHT_MIN: usize = 64;
/// Agreements under which readers read, and readers under each.
const AGREEMENTS: usize = 6;
const READERS_EACH: usize = 14;
/// Loops of negotiations beside the readers.
const NEGOTIATORS: usize = 2;
/// Kills between two full comparisons of both sides; the last is always followed by one.
const COMPARED_EVERY: usize = 6;
/// Longest wait for a point, for a start, and for both sides to come to the same.
const POINT: Duration = Duration::from_secs(120);
const CONVERGENCE: Duration = Duration::from_secs(120);
/// Fewest kills of each class: of a run as CI makes it, and of one of `make soak`.
const EACH_MIN: usize = 4;
const EACH_MIN_OF_200: usize = 20;
/// Kills without a class that are borne for one that has one.
const WITHOUT_MAX: usize = 3;

/// One campaign at a time: two would share the processors that the points need.
static ONE: Mutex<()> = Mutex::new(());

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Provider,
    Consumer,
    Both,
}

/// A point: who, and when.
#[derive(Clone, Copy, Debug)]
struct Point {
    number: usize,
    /// Whose trace it is taken from.
    first: Who,
    victim: Victim,
    class: Class,
    skip: usize,
    /// Answers that have come since the last start.
    completed: usize,
}

fn of_environment(name: &str, otherwise: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is a number, not `{text}`")),
        Err(_) => otherwise,
    }
}

struct Campaign {
    work: PathBuf,
    world: World,
    load: Option<Load>,
    running: BTreeMap<Who, Process>,
    tails: BTreeMap<Who, (Tail, Mark)>,
    layer: Option<Layer>,
    seed: u64,
    lives: usize,
    checked: usize,
    classes: BTreeMap<Class, usize>,
    without: usize,
    victims: BTreeMap<&'static str, usize>,
    dropped: Vec<Dropped>,
    rebuilt: usize,
    pseudonyms: HashMap<usize, String>,
}

impl Campaign {
    /// Sets the world up and starts it again, above the layer if there is one.
    fn begin(work: &Path, layer: Option<Layer>, seed: u64) -> Campaign {
        let (world, processes) = World::enrol(work);
        world.publish();
        let asked: Vec<String> = (0..AGREEMENTS).map(|_| world.ask().unwrap()).collect();
        let agreements: Vec<String> = asked.iter().map(|n| world.agreed(n).unwrap()).collect();
        let readers = world.readers(&agreements, READERS_EACH);
        let mut campaign = Campaign {
            work: work.to_owned(),
            world,
            load: None,
            running: BTreeMap::new(),
            tails: BTreeMap::new(),
            layer,
            seed,
            lives: 0,
            checked: 0,
            classes: BTreeMap::new(),
            without: 0,
            victims: BTreeMap::new(),
            dropped: Vec::new(),
            rebuilt: 0,
            pseudonyms: HashMap::new(),
        };
        let [authority, provider, consumer] = processes;
        campaign.running.insert(Who::Authority, authority);
        drop(provider.stop());
        drop(consumer.stop());
        // What is made anew at need is so in the lives that are cut.
        for who in [Who::Provider, Who::Consumer] {
            std::fs::remove_dir_all(campaign.world.dir(who).join("cache")).unwrap();
        }
        // From here on the layer sees everything; what came before is on the disk.
        assert!(Command::new("sync").status().unwrap().success());
        for who in [Who::Provider, Who::Consumer] {
            campaign.start(who);
        }
        campaign.load(readers);
        campaign
    }

    fn load(&mut self, readers: Vec<Reader>) {
        let load = Load::new(&self.world, readers, NEGOTIATORS);
        // Users get their pseudonyms at their first reads.
        load.resume();
        until(POINT, || {
            if load.completed() > load.readers.len() { Ok(()) } else { Err(format!("{} reads", load.completed())) }
        })
        .unwrap_or_else(|e| panic!("the load doesn't run: {e}; {:?}", load.seen.attempts.lock().unwrap().last()));
        load.pause().unwrap();
        self.load = Some(load);
    }

    fn seen(&self) -> &Load {
        self.load.as_ref().expect("the load")
    }

    /// Starts a process; one whose store can't be read says so, and gets it made anew.
    fn start(&mut self, who: Who) {
        let directory = self.world.dir(who);
        let mut tries = 0;
        let process = loop {
            self.lives += 1;
            let life = self.layer.as_ref().map(|l| l.life(&directory, &self.work, self.lives));
            match Process::start(who.name(), &directory, self.layer.as_ref().zip(life)) {
                Ok(process) => break process,
                Err(words) if words.contains("store rebuild") && tries == 0 => {
                    tries += 1;
                    self.rebuilt += 1;
                    eprintln!("{}'s store is made anew", who.name());
                    self.world.of(who, &["store", "rebuild"]).unwrap();
                }
                Err(words) => panic!("{} doesn't start again:\n{words}", who.name()),
            }
        };
        self.running.insert(who, process);
        // What a started process serves from is durable: from here on the log is followed.
        let tail = self.tails.remove(&who).map(|(mut tail, mark)| {
            tail.back_to(mark);
            tail
        });
        let mut tail = tail.unwrap_or_else(|| Tail::new(&directory));
        tail.follow();
        let mark = tail.mark();
        self.tails.insert(who, (tail, mark));
    }

    /// The next point: what is rarest so far is aimed at, all else is the seed's choice.
    fn point(&self, number: usize) -> (Point, Random) {
        let mut random = Random::of(self.seed, u64::try_from(number).unwrap());
        let count = |c: &Class| self.classes.get(c).copied().unwrap_or_default();
        let fewest = CLASSES.iter().map(count).min().unwrap();
        let rare: Vec<Class> = CLASSES.into_iter().filter(|c| count(c) == fewest).collect();
        let class = rare[random.below(rare.len())];
        let victim = [Victim::Provider, Victim::Consumer, Victim::Both][random.below(3)];
        let first = match victim {
            Victim::Provider => Who::Provider,
            Victim::Consumer => Who::Consumer,
            Victim::Both => [Who::Provider, Who::Consumer][random.below(2)],
        };
        let skip = random.below(if class == Class::Negotiation { 4 } else { 24 });
        let completed = random.below(80);
        (Point { number, first, victim, class, skip, completed }, random)
    }

    /// Runs the load up to the point, kills, and starts again.
    fn kill(&mut self, point: Point, random: &mut Random) {
        let load = self.seen();
        load.resume();
        let ready = || {
            let (completed, in_flight) = (load.completed(), load.in_flight());
            if completed >= point.completed && in_flight >= IN_FLIGHT_MIN {
                Ok(())
            } else {
                Err(format!("{completed} answers, {in_flight} in flight; last errors: {:?}", load.errors(3)))
            }
        };
        until(POINT, ready).unwrap_or_else(|e| panic!("the load doesn't come to the point: {e}"));
        let first = &self.running[&point.first];
        first.aim(Aim {
            class: point.class,
            skip: point.skip,
            in_flight: load.seen.in_flight.clone(),
            in_flight_min: IN_FLIGHT_MIN,
            fired: load.seen.fired.clone(),
        });
        assert!(
            first.wait_hit(Instant::now() + POINT),
            "the trace never said that a {:?} began; {} in flight; last errors: {:?}",
            point.class,
            load.in_flight(),
            load.errors(3)
        );
        let mut killed = vec![point.first];
        if point.victim == Victim::Both {
            let other = if point.first == Who::Provider { Who::Consumer } else { Who::Provider };
            self.running[&other].kill(load.in_flight());
            killed.push(other);
        }
        for (at, who) in killed.iter().enumerate() {
            let buried = self.running.remove(who).expect("a running process").buried();
            if at == 0 {
                assert!(buried.in_flight >= IN_FLIGHT_MIN, "{} in flight", buried.in_flight);
                self.classify(point, &buried.open, buried.in_flight);
            }
            if let Some(life) = buried.life {
                self.dropped.push(life.end(random));
            }
        }
        for who in killed {
            self.start(who);
        }
        self.seen().pause().unwrap_or_else(|e| panic!("{e}"));
    }

    fn classify(&mut self, point: Point, open: &[Class], in_flight: usize) {
        let class = if open.contains(&point.class) { Some(point.class) } else { open.last().copied() };
        match class {
            Some(class) => *self.classes.entry(class).or_default() += 1,
            None => self.without += 1,
        }
        let victim = match point.victim {
            Victim::Provider => "provider",
            Victim::Consumer => "consumer",
            Victim::Both => "both",
        };
        *self.victims.entry(victim).or_default() += 1;
        let of = |c: Class| open.iter().filter(|o| **o == c).count();
        println!(
            "kill {:>3}: {victim} ({}), aimed at {:?}, {class:?}; open: {} negotiation, {} flush, {} stream; {in_flight} in flight",
            point.number,
            point.first.name(),
            point.class,
            of(Class::Negotiation),
            of(Class::Flush),
            of(Class::Stream)
        );
    }

    fn follow(&mut self) {
        for (tail, _) in self.tails.values_mut() {
            tail.follow();
        }
    }

    fn both(&self) -> Both {
        Both::of(&self.tails[&Who::Provider].0, &self.tails[&Who::Consumer].0)
    }

    /// What was acknowledged since the last look is there, and every row has its entry.
    fn look(&mut self) -> Result<(), String> {
        self.follow();
        let names: HashMap<String, String> = self.world.pseudonyms().into_iter().collect();
        let load = self.load.as_ref().expect("the load");
        for (at, reader) in load.readers.iter().enumerate() {
            if let Some(known) = names.get(&reader.name) {
                let before = self.pseudonyms.insert(at, known.clone());
                assert!(before.is_none_or(|b| b == *known), "{} got another pseudonym", reader.name);
            }
        }
        let attempts: Vec<Attempt> = load.seen.attempts.lock().unwrap()[self.checked..].to_vec();
        if let Some(hung) = attempts.iter().find(|a| a.error.as_deref() == Some(HUNG)) {
            return Err(format!("a read never ended: {hung:?}"));
        }
        self.both().hold(&attempts, &self.pseudonyms)?;
        checks::counted(&self.tails[&Who::Provider].0)?;
        self.checked += attempts.len();
        Ok(())
    }

    /// Both sides come to the same: of reads, acknowledgements, agreements, negotiations.
    fn converge(&mut self) -> Result<(), String> {
        until(CONVERGENCE, || {
            self.follow();
            self.both().converged()
        })?;
        // What is acknowledged is so by the next read.
        for attempt in self.seen().read_once_each() {
            if attempt.error.is_some() {
                return Err(format!("a read after all came back: {attempt:?}"));
            }
        }
        self.look()?;
        self.both().acknowledged()?;
        until(CONVERGENCE, || {
            self.follow();
            checks::agree(&self.world, &self.tails[&Who::Provider].0, &self.tails[&Who::Consumer].0)
        })?;
        self.kept()
    }

    /// What the command line acknowledged of negotiations is there.
    fn kept(&self) -> Result<(), String> {
        let listed = self.world.of(Who::Consumer, &["negotiation", "list"])?;
        let known: HashMap<&str, Option<&str>> = listed
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|n| Some((n["negotiation"].as_str()?, n["agreement"].as_str())))
            .collect();
        for asked in self.seen().seen.asked.lock().unwrap().values() {
            match known.get(asked.negotiation.as_str()) {
                None => return Err(format!("an acknowledged negotiation is missing: {asked:?}")),
                Some(agreement) if asked.agreement.is_some() && *agreement != asked.agreement.as_deref() => {
                    return Err(format!("an acknowledged agreement is missing: {asked:?}"));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Ends all processes in order; the auditor's program finds nothing in either directory, with
    /// what the other kept of it, and reading it all anew says the same as following it did.
    fn end(mut self) -> Result<(), String> {
        self.converge()?;
        drop(self.load.take());
        for who in [Who::Consumer, Who::Provider, Who::Authority] {
            drop(self.running.remove(&who).expect("a running process").stop());
        }
        for (own, other) in [(Who::Provider, Who::Consumer), (Who::Consumer, Who::Provider)] {
            let (dir, other) = (self.world.dir(own), self.world.dir(other));
            let report = perron_verify::verify(&dir, &[other]).map_err(|e| e.to_string())?;
            if !report.is_ok() || !report.findings.is_empty() {
                return Err(format!("{}: {:?}", own.name(), report.findings));
            }
            if report.checkpoints_compared == 0 {
                return Err(format!("nothing that others kept of {} was compared", own.name()));
            }
            let mut anew = Tail::new(&dir);
            anew.follow();
            if anew.facts.len() < self.tails[&own].0.facts.len() {
                return Err(format!("{} has fewer entries than were followed", own.name()));
            }
        }
        Ok(())
    }
}

fn play(layered: bool, points: usize) {
    let _one = ONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let seed = of_environment("PERRON_KILL_SEED", 20_261_124);
    let work = Work(Some(tempfile::tempdir().unwrap()));
    let layer = layered.then(|| Layer::compile(work.path()));
    println!("{points} kills from the seed {seed}");
    let begun = Instant::now();
    let mut campaign = Campaign::begin(work.path(), layer, seed);
    println!("set up in {:.1} s", begun.elapsed().as_secs_f64());
    let mut number = 0;
    while campaign.classes.values().sum::<usize>() < points {
        assert!(campaign.without <= points * WITHOUT_MAX, "{} kills without a class", campaign.without);
        let (point, mut random) = campaign.point(number);
        let told = Told(seed, point);
        campaign.kill(point, &mut random);
        campaign.look().unwrap_or_else(|e| panic!("seed {seed}, {point:?}: {e}"));
        number += 1;
        if number.is_multiple_of(COMPARED_EVERY) {
            campaign.converge().unwrap_or_else(|e| panic!("seed {seed}, after {point:?}: {e}"));
        }
        std::mem::forget(told);
    }
    campaign.report(begun);
    let (classes, each) =
        (campaign.classes.clone(), if points >= 200 { EACH_MIN_OF_200 } else { EACH_MIN.min(points / 4) });
    campaign.end().unwrap_or_else(|e| panic!("seed {seed}, at the end: {e}"));
    for class in CLASSES {
        let got = classes.get(&class).copied().unwrap_or_default();
        assert!(got >= each, "seed {seed}: only {got} kills of the class {class:?}: {classes:?}");
    }
}

/// The directories of a campaign; a failure leaves them to be looked at.
struct Work(Option<tempfile::TempDir>);

impl Work {
    fn path(&self) -> &Path {
        self.0.as_ref().expect("the directories").path()
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if let Some(directories) = self.0.take()
            && std::thread::panicking()
        {
            eprintln!("the directories are left in {}", directories.keep().display());
        }
    }
}

/// Says where a panic came from, whatever panicked.
struct Told(u64, Point);

impl Drop for Told {
    fn drop(&mut self) {
        eprintln!("PERRON_KILL_SEED={} at {:?}", self.0, self.1);
    }
}

impl Campaign {
    fn report(&self, begun: Instant) {
        let attempts = self.seen().seen.attempts.lock().unwrap();
        let complete = attempts.iter().filter(|a| a.error.is_none()).count();
        let partial = attempts.iter().filter(|a| a.error.is_some() && a.rows > 0).count();
        println!(
            "classes {:?}, without {}; victims {:?}; {complete} answers, {} broken reads ({partial} after rows) of {} readers; {} negotiations; {} entries at the provider, {} at the consumer; torn tails {} and {}; {:.0} s",
            self.classes,
            self.without,
            self.victims,
            attempts.len() - complete,
            self.seen().readers.len(),
            self.seen().seen.asked.lock().unwrap().len(),
            self.tails[&Who::Provider].0.facts.len(),
            self.tails[&Who::Consumer].0.facts.len(),
            checks::recoveries(&self.tails[&Who::Provider].0),
            checks::recoveries(&self.tails[&Who::Consumer].0),
            begun.elapsed().as_secs_f64(),
        );
        let mut errors: BTreeMap<String, usize> = BTreeMap::new();
        for attempt in attempts.iter() {
            if let Some(error) = &attempt.error {
                *errors.entry(error.chars().take(160).collect()).or_default() += 1;
            }
        }
        for (error, count) in errors {
            println!("  {count} × {error}");
        }
        if self.layer.is_some() {
            let (lives, undone) = (self.dropped.len(), self.dropped.iter().map(|d| d.undone).sum::<usize>());
            let (unsynced, bytes) = (
                self.dropped.iter().map(|d| d.unsynced).sum::<usize>(),
                self.dropped.iter().map(|d| d.bytes).sum::<u64>(),
            );
            println!(
                "  {lives} lives ended: {undone} of {unsynced} unsynced changes taken back, {bytes} bytes; {} stores made anew",
                self.rebuilt
            );
        }
    }
}

fn points() -> usize {
    usize::try_from(of_environment("PERRON_KILLS", 24)).unwrap()
}

/// Invariant 6, across SIGKILL.
#[test]
fn killed_at_any_point_nothing_acknowledged_is_missing() {
    play(false, points());
}

/// Invariant 6, across a loss of power: what was not synced is gone.
#[test]
fn without_what_was_not_synced_nothing_acknowledged_is_missing() {
    play(true, points());
}
