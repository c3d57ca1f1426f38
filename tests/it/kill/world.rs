//! Three organisations, set up by the program's own commands.

use crate::kill::process::{Process, perron};
use serde_json::Value as Json;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

const SPACE: &str = "eaux-ardennes";
pub const PURPOSE: &str = "https://w3id.org/dpv#ImprovePublicServices";
const LEGAL_BASIS: &str = "https://w3id.org/dpv#PublicInterest";
pub const TABLE: &str = "building_water";
pub const OFFER: &str = "all_buildings";
/// Rows of the set that a statement may ask for.
pub const ROWS: u64 = 4_000;

/// Whose directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    Authority,
    Provider,
    Consumer,
}

impl Who {
    /// The directory's name, which is the participant's.
    pub const fn name(self) -> &'static str {
        match self {
            Who::Authority => "autorite",
            Who::Provider => "commune",
            Who::Consumer => "inter",
        }
    }
}

/// A user of the consumer's, with a token of their own.
#[derive(Clone, Debug)]
pub struct Reader {
    pub name: String,
    pub token: String,
    pub agreement: String,
}

/// Where everything is.
#[derive(Clone, Debug)]
pub struct World {
    pub root: PathBuf,
    pub flight: String,
}

/// Runs a command in a directory; its answer, or what it printed.
pub fn command(directory: &Path, words: &[&str]) -> Result<Json, String> {
    let out = perron().arg("--json").args(words).arg("--dir").arg(directory).output().unwrap();
    if !out.status.success() {
        return Err(format!("{words:?}: {}", String::from_utf8_lossy(&out.stderr)));
    }
    let lines: Vec<Json> = out.stdout.split(|b| *b == b'\n').filter_map(|l| serde_json::from_slice(l).ok()).collect();
    match <[Json; 1]>::try_from(lines) {
        Ok([one]) => Ok(one),
        Err(many) => Ok(Json::Array(many)),
    }
}

pub fn text(value: &Json, name: &str) -> String {
    value.get(name).and_then(Json::as_str).unwrap_or_else(|| panic!("no `{name}`: {value}")).to_owned()
}

fn free() -> String {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().to_string()
}

impl World {
    pub fn dir(&self, who: Who) -> PathBuf {
        self.root.join(who.name())
    }

    pub fn of(&self, who: Who, words: &[&str]) -> Result<Json, String> {
        command(&self.dir(who), words)
    }

    fn done(&self, who: Who, words: &[&str]) -> Json {
        self.of(who, words).unwrap_or_else(|e| panic!("{e}"))
    }

    /// Enrols all three; gives them running.
    pub fn enrol(root: &Path) -> (World, [Process; 3]) {
        let world = World { root: root.to_owned(), flight: free() };
        let started = |who: Who| Process::start(who.name(), &world.dir(who), None).unwrap_or_else(|e| panic!("{e}"));
        let authority = free();
        let words = [
            "authority",
            "init",
            "--name",
            "autorite",
            "--title",
            "Autorité (essai)",
            "--enterprise",
            "0316.380.841",
            "--space",
            SPACE,
            "--listen",
            &authority,
        ];
        let made = world.done(Who::Authority, &words);
        let thumbprint = text(&made["parts"], "thumbprint");
        let running = started(Who::Authority);
        let mut members = Vec::new();
        for (who, enterprise, flight) in
            [(Who::Provider, "0207.402.925", free()), (Who::Consumer, "0202.239.951", world.flight.clone())]
        {
            let endpoint = free();
            let words = [
                "init",
                "--name",
                who.name(),
                "--title",
                who.name(),
                "--enterprise",
                enterprise,
                "--space",
                SPACE,
                "--endpoint",
                &endpoint,
            ];
            world.done(who, &words);
            let request = world.dir(who).join("request.jws").display().to_string();
            let answer = world.root.join(format!("{}.jws", who.name())).display().to_string();
            world.done(Who::Authority, &["authority", "enrol", &request, "--out", &answer]);
            let words = ["join", &answer, "--authority", &thumbprint, "--listen", &endpoint, "--flight", &flight];
            world.done(who, &words);
            members.push(started(who));
        }
        let consumer = members.pop().unwrap();
        let provider = members.pop().unwrap();
        (world, [running, provider, consumer])
    }

    /// The provider publishes a set and an offer whose requests are agreed at once.
    pub fn publish(&self) {
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo");
        let at = |name: &str| demo.join(name).display().to_string();
        let description = at("sets/building_water.toml");
        let csv = at("data/building_water_hours_2015.csv");
        let published = self.done(Who::Provider, &["dataset", "add", "--description", &description, &csv]);
        assert!(published["rows"].as_u64().unwrap() >= ROWS, "{published}");
        // The demonstration's policy, for all rows and for as many uses as a campaign needs.
        let mut policy: Json =
            serde_json::from_slice(&std::fs::read(at("policies/own_buildings.json")).unwrap()).unwrap();
        let terms = policy["permission"][0]["constraint"].as_array_mut().unwrap();
        terms.retain(|t| t["leftOperand"] != "perron:column/nis");
        for term in terms.iter_mut().filter(|t| t["leftOperand"] == "count") {
            term["rightOperand"]["@value"] = "100000000".into();
        }
        let file = self.root.join("policy.json");
        std::fs::write(&file, serde_json::to_vec(&policy).unwrap()).unwrap();
        let file = file.display().to_string();
        let words = [
            "offer",
            "add",
            OFFER,
            "--dataset",
            TABLE,
            "--policy",
            &file,
            "--legal-basis",
            LEGAL_BASIS,
            "--legal-text",
            "Convention (essai)",
            "--automatic",
        ];
        self.done(Who::Provider, &words);
    }

    /// Begins a negotiation; the consumer's number of it.
    pub fn ask(&self) -> Result<String, String> {
        self.of(Who::Consumer, &["negotiation", "request", Who::Provider.name(), OFFER])
            .map(|asked| text(&asked, "negotiation"))
    }

    /// Waits until a negotiation has come to its agreement.
    pub fn agreed(&self, negotiation: &str) -> Result<String, String> {
        let done = self.of(Who::Consumer, &["negotiation", "wait", negotiation, "--seconds", "60"])?;
        if text(&done, "state") == "FINALIZED" { Ok(text(&done, "agreement")) } else { Err(done.to_string()) }
    }

    /// Users of the consumer's, so many for each agreement; each with a token of their own, so that
    /// the log tells whose read an entry is about.
    pub fn readers(&self, agreements: &[String], each: usize) -> Vec<Reader> {
        let mut readers = Vec::new();
        for agreement in agreements {
            for _ in 0..each {
                let name = format!("reader-{:03}", readers.len());
                let words = [
                    "user",
                    "add",
                    &name,
                    "--role",
                    "analyst",
                    "--purpose",
                    PURPOSE,
                    "--agreement",
                    agreement,
                    "--token",
                ];
                let made = self.done(Who::Consumer, &words);
                readers.push(Reader { token: text(&made, "token"), agreement: agreement.clone(), name });
            }
        }
        readers
    }

    /// Pseudonyms of the consumer's users towards the provider: theirs in both logs.
    pub fn pseudonyms(&self) -> Vec<(String, String)> {
        let users: Json =
            serde_json::from_slice(&std::fs::read(self.dir(Who::Consumer).join("users.json")).unwrap()).unwrap();
        let of = |user: &Json| {
            Some((text(user, "name"), user["pseudonyms"].get(Who::Provider.name())?.as_str()?.to_owned()))
        };
        users.as_array().unwrap().iter().filter_map(of).collect()
    }
}
