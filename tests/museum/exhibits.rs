//! The exhibits of the museum, as data; read by the tests of the engine and by those of the wire.

use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::Path;

/// One attack.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exhibit {
    /// Its name, which no other has.
    pub name: String,
    /// What it would have told.
    pub leaks: String,
    /// The statement; `{{name}}` stands for each of `names`, `{{repeat}}` for the repeated text.
    #[serde(default)]
    sql: Option<String>,
    /// Statements of which the answers together tell, in place of `sql`.
    #[serde(default)]
    probes: Vec<String>,
    #[serde(default)]
    repeat: Option<Repeat>,
    /// Names put into the statement one after the other.
    #[serde(default)]
    pub names: Vec<String>,
    /// What is expected.
    #[serde(default)]
    pub expect: Expect,
    /// The error's code; of `same` without one, an answer without error.
    #[serde(default)]
    pub code: Option<String>,
    /// `refused` with whichever code.
    #[serde(default)]
    pub any_code: bool,
    /// `same`, whether an answer or an error.
    #[serde(default)]
    pub any: bool,
    /// The order of the rows belongs to the answer.
    #[serde(default)]
    pub ordered: bool,
    /// Over the whole set without a view the answer is the same: nothing would have shown.
    #[serde(default)]
    pub harmless: bool,
    /// Also over the wire?
    #[serde(default = "yes")]
    pub wire: bool,
}

/// What is expected of an exhibit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expect {
    /// What the physically filtered copy answers.
    #[default]
    Same,
    /// A refusal before a row is read.
    Refused,
    /// The same refusal for each of the names, but for the name in its text.
    Alike,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Repeat {
    text: String,
    times: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Room {
    exhibit: Vec<Exhibit>,
}

fn yes() -> bool {
    true
}

impl Exhibit {
    /// Its statements, without the names.
    pub fn statements(&self) -> Vec<String> {
        let repeated = self.repeat.as_ref().map(|r| r.text.repeat(r.times)).unwrap_or_default();
        self.sql.iter().chain(&self.probes).map(|sql| sql.replace("{{repeat}}", &repeated)).collect()
    }
}

/// Folder of the museum.
pub fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/museum")
}

/// All exhibits, in the order of their files.
pub fn exhibits() -> Vec<Exhibit> {
    let rooms = [
        "aggregates",
        "conditional",
        "exhaustion",
        "joins",
        "metadata",
        "names",
        "order",
        "raising",
        "subqueries",
        "windows",
    ];
    let mut all = Vec::new();
    for room in rooms {
        let text = std::fs::read_to_string(folder().join(format!("{room}.toml"))).unwrap();
        let room: Room = toml::from_str(&text).unwrap_or_else(|e| panic!("{room}: {e}"));
        all.extend(room.exhibit);
    }
    let mut names = BTreeSet::new();
    for exhibit in &all {
        assert!(names.insert(&exhibit.name), "two exhibits are called {}", exhibit.name);
        assert!(!exhibit.statements().is_empty() && !exhibit.leaks.is_empty(), "{}", exhibit.name);
        assert_eq!(exhibit.expect == Expect::Alike, exhibit.names.len() > 1, "{}", exhibit.name);
        assert_eq!(exhibit.expect == Expect::Refused, exhibit.any_code || exhibit.code.is_some() && !same(exhibit));
    }
    all
}

fn same(exhibit: &Exhibit) -> bool {
    exhibit.expect == Expect::Same
}

/// The lines of the set, the header first, each cut into its values.
pub fn lines() -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(folder().join("readings.csv")).unwrap();
    text.lines().map(|line| line.split(',').map(str::to_owned).collect()).collect()
}

/// The lines that the view gives, by the filter of the policy, told in Rust: the districts centre
/// and gare, with consent.
pub fn permitted() -> Vec<Vec<String>> {
    let mut lines = lines().into_iter();
    let header = lines.next().unwrap();
    let at = |name: &str| header.iter().position(|h| h == name).unwrap();
    let (district, consent) = (at("district"), at("consent"));
    lines.filter(|l| (l[district] == "centre" || l[district] == "gare") && l[consent] == "true").collect()
}

/// Columns that the view gives, in its order.
pub const GIVEN: [&str; 10] =
    ["household", "district", "litres", "divisor", "code", "day", "share", "read_at", "ok", "note"];
