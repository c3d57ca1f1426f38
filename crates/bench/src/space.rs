//! A data space to measure in: an authority, a provider with one set under three policies, and a
//! consumer with agreements and a user. All of it by the program's command line.

use crate::failed;
use crate::processes::Processes;
use perron::source::{CsvFormat, Encoding, SourceFormat};
use perron_model::{AgreementId, Result};
use serde_json::{Value as Json, json};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

/// Name of the data space.
const SPACE: &str = "bench";
/// Names of the two members.
pub const PROVIDER: &str = "provider";
pub const CONSUMER: &str = "consumer";
/// Purpose that all policies allow.
pub const PURPOSE: &str = "https://w3id.org/dpv#ImprovePublicServices";
pub(crate) const LEGAL_BASIS: &str = "https://w3id.org/dpv#PublicInterest";
/// The set.
pub const SET: &str = "readings";
/// One row in so many is of a commune that the policies leave out.
const FILTERED_EVERY: usize = 8;

/// The agreements of a space.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// A row filter and a dropped column.
    pub rows: AgreementId,
    /// The same with a keyed hash.
    pub hashed: AgreementId,
    /// The same rows, for the consumer's own users.
    pub relayed: AgreementId,
    /// The same rows, under a policy of twenty rules.
    pub twenty: AgreementId,
}

/// A space that runs.
pub struct Space {
    /// Its processes.
    pub processes: Processes,
    /// The authority's directory.
    pub authority: PathBuf,
    /// The provider's directory.
    pub provider: PathBuf,
    /// The consumer's directory.
    pub consumer: PathBuf,
    /// Agreements between both.
    pub terms: Terms,
    /// Token of the consumer's user.
    pub token: String,
}

impl Space {
    /// Sets up a space below `directory`, with a set of `rows` readings made from those in `data`.
    pub fn set_up(program: &Path, directory: &Path, data: &Path, rows: usize) -> Result<Space> {
        let mut processes = Processes::of(program)?;
        let [authority, provider, consumer] = ["authority", PROVIDER, CONSUMER].map(|name| directory.join(name));
        enrol(&mut processes, directory, [&authority, &provider, &consumer])?;
        publish(&processes, directory, &provider, data, rows)?;
        let [rows, hashed, relayed, twenty] =
            ["plain", "hashed", "relayed", "twenty"].map(|offer| negotiate(&processes, &consumer, offer));
        let terms = Terms { rows: rows?, hashed: hashed?, relayed: relayed?, twenty: twenty? };
        let token = user(&processes, &consumer, &terms)?;
        Ok(Space { processes, authority, provider, consumer, terms, token })
    }
}

pub(crate) fn path(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| failed("the directory's name is not UTF-8"))
}

pub(crate) fn text(value: &Json, name: &str) -> Result<String> {
    value.get(name).and_then(Json::as_str).map(str::to_owned).ok_or_else(|| failed(format!("no `{name}`: {value}")))
}

/// A loopback address that is free now.
pub fn free_address() -> Result<SocketAddr> {
    let free = TcpListener::bind(("127.0.0.1", 0)).and_then(|l| l.local_addr());
    free.map_err(|e| failed(format!("no loopback port is free: {e}")))
}

pub(crate) fn enrol(processes: &mut Processes, directory: &Path, members: [&Path; 3]) -> Result<()> {
    let [authority, provider, consumer] = members;
    let listen = free_address()?.to_string();
    let made = processes.run(&[
        "authority",
        "init",
        "--dir",
        path(authority)?,
        "--name",
        "authority",
        "--title",
        "Authority",
        "--enterprise",
        "0316.380.841",
        "--space",
        SPACE,
        "--listen",
        &listen,
    ])?;
    let thumbprint = text(made.get("parts").unwrap_or(&Json::Null), "thumbprint")?;
    processes.start(authority)?;
    for (member, name, enterprise) in [(provider, PROVIDER, "0207.402.925"), (consumer, CONSUMER, "0202.239.951")] {
        let (dir, endpoint, flight) = (path(member)?, free_address()?.to_string(), free_address()?.to_string());
        processes.run(&[
            "init",
            "--dir",
            dir,
            "--name",
            name,
            "--title",
            name,
            "--enterprise",
            enterprise,
            "--space",
            SPACE,
            "--endpoint",
            &endpoint,
        ])?;
        let (request, answer) = (member.join("request.jws"), directory.join(format!("{name}.answer.jws")));
        processes.run(&["authority", "enrol", "--dir", path(authority)?, path(&request)?, "--out", path(&answer)?])?;
        processes.run(&[
            "join",
            "--dir",
            dir,
            path(&answer)?,
            "--authority",
            &thumbprint,
            "--listen",
            &endpoint,
            "--flight",
            &flight,
        ])?;
        processes.start(member)?;
    }
    Ok(())
}

fn publish(processes: &Processes, directory: &Path, provider: &Path, data: &Path, rows: usize) -> Result<()> {
    let wrong = |e: std::io::Error| failed(format!("a file of the set: {e}"));
    let (description, readings) = (directory.join("set.toml"), directory.join("readings.csv"));
    std::fs::write(&description, self::description()?).map_err(wrong)?;
    write_readings(&data.join("data/building_water_hours_2015.csv"), &readings, rows).map_err(wrong)?;
    let dir = path(provider)?;
    processes.run(&["dataset", "add", "--dir", dir, "--description", path(&description)?, path(&readings)?])?;
    let offers =
        [("plain", policy_of(false)), ("hashed", policy_of(true)), ("relayed", policy_of(false)), ("twenty", twenty())];
    for (offer, terms) in offers {
        let policy = directory.join(format!("{offer}.json"));
        std::fs::write(&policy, terms.to_string()).map_err(wrong)?;
        processes.run(&[
            "offer",
            "add",
            "--dir",
            dir,
            offer,
            "--dataset",
            SET,
            "--policy",
            path(&policy)?,
            "--legal-basis",
            LEGAL_BASIS,
            "--legal-text",
            "A law",
            "--automatic",
        ])?;
    }
    Ok(())
}

/// The demonstration's readings again and again, each time a day later, until there are enough.
/// One in eight gets another commune, so that the row filter has rows to leave out.
pub fn write_readings(from: &Path, to: &Path, rows: usize) -> std::io::Result<()> {
    let mut readings = Vec::new();
    for line in BufReader::new(std::fs::File::open(from)?).split(b'\n').skip(1) {
        // The file is in windows-1252; the buildings' names, which aren't ASCII, are replaced.
        let line = String::from_utf8_lossy(&line?).into_owned();
        let words: Vec<&str> = line.trim().split(';').collect();
        if let [_, _, meter, start, litres, minutes] = words.as_slice()
            && !litres.is_empty()
        {
            let (_, hour) = start.split_at(start.len().saturating_sub(5));
            readings.push(((*meter).to_owned(), hour.to_owned(), litres.replace(',', "."), (*minutes).to_owned()));
        }
    }
    let mut out = BufWriter::new(std::fs::File::create(to)?);
    writeln!(out, "nis,meter,start,litres,minutes")?;
    for (number, (meter, hour, litres, minutes)) in readings.iter().cycle().take(rows).enumerate() {
        let nis = if number % FILTERED_EVERY == 0 { "63001" } else { "63049" };
        let day = number / readings.len().max(1);
        let (year, month, day) = (2015 + day / 336 % 80, 1 + day / 28 % 12, 1 + day % 28);
        writeln!(out, "{nis},{meter},{year}-{month:02}-{day:02} {hour},{litres},{minutes}")?;
    }
    out.flush()
}

/// The set's description, as JSON.
pub const DESCRIBED: &str = r#"{
  "id": "readings",
  "title": "Hourly readings of water",
  "description": "The demonstration's readings, repeated: a set to measure with.",
  "theme": "http://publications.europa.eu/resource/authority/data-theme/ENVI",
  "owner": "Nobody",
  "regime": "public-task",
  "subject_key": { "declared": "none" },
  "visibility": { "to": "members" },
  "columns": [
    { "name": "nis", "type": "text", "meaning": "Commune", "unit": "", "protection": "none" },
    { "name": "meter", "type": "text", "meaning": "Meter", "unit": "", "protection": "commercial" },
    { "name": "start", "type": "timestamp", "meaning": "Begin of the hour", "unit": "", "protection": "none" },
    { "name": "litres", "type": "number", "meaning": "Water in the hour", "unit": "l", "protection": "commercial" },
    { "name": "minutes", "type": "integer", "meaning": "Minutes read", "unit": "min", "protection": "none" }
  ]
}"#;

/// How the set's file is written.
pub fn format() -> CsvFormat {
    CsvFormat {
        separator: ',',
        encoding: Encoding::Utf8,
        decimal: '.',
        thousands: None,
        date: "%Y-%m-%d".to_owned(),
        timestamp: "%Y-%m-%d %H:%M".to_owned(),
        time_zone: "UTC".to_owned(),
    }
}

/// As the command line reads it: TOML, in which texts and lists are written as in JSON.
fn description() -> Result<String> {
    let dataset: Json = serde_json::from_str(DESCRIBED).map_err(failed)?;
    let format = serde_json::to_value(SourceFormat::Csv(format())).map_err(failed)?;
    Ok(format!("dataset = {}\nformat = {}\n", toml(&dataset), toml(&format)))
}

/// A JSON value as TOML writes it inline.
pub(crate) fn toml(value: &Json) -> String {
    let joined = |parts: Vec<String>| parts.join(", ");
    match value {
        Json::Object(members) => {
            let members = members.iter().filter(|(_, v)| !v.is_null());
            format!("{{ {} }}", joined(members.map(|(k, v)| format!("{k} = {}", toml(v))).collect()))
        }
        Json::Array(items) => format!("[{}]", joined(items.iter().map(toml).collect())),
        other => other.to_string(),
    }
}

fn term(left: &str, operator: &str, right: Json) -> Json {
    json!({"leftOperand": left, "operator": operator, "rightOperand": right})
}

/// A filter on `nis`, without the column `minutes`.
fn view() -> Vec<Json> {
    vec![
        term("perron:legalBasis", "eq", json!(LEGAL_BASIS)),
        term("perron:column/nis", "eq", json!("63049")),
        term("perron:columns", "isAnyOf", json!(["nis", "meter", "start", "litres"])),
    ]
}

/// A policy that gives that view; `meter` as a keyed hash if asked.
pub fn policy_of(hashed: bool) -> Json {
    let mut constraint = view();
    constraint.push(term("purpose", "isAnyOf", json!([PURPOSE])));
    if hashed {
        constraint.push(term("perron:keyedHash", "isAllOf", json!(["meter"])));
    }
    document(vec![json!({"action": "read", "constraint": constraint})], Vec::new())
}

/// The same view under twenty rules: fourteen permissions, each for another purpose and time, of
/// which the last one permits a read for [`PURPOSE`], and six prohibitions that are set aside.
pub fn twenty() -> Json {
    let at = |year: i32| json!({"@value": format!("{year}-01-01T00:00:00Z"), "@type": "xsd:dateTime"});
    let permission = (0..14).map(|number| {
        let purpose = if number == 13 { PURPOSE.to_owned() } else { format!("https://w3id.org/dpv#Purpose{number}") };
        let mut constraint = view();
        constraint.push(term("purpose", "isAnyOf", json!([purpose])));
        constraint.push(term("dateTime", "gteq", at(2000 + number)));
        constraint.push(term("dateTime", "lt", at(2100 + number)));
        constraint.push(term("count", "lteq", json!(1_000_000_000)));
        json!({"action": "read", "constraint": constraint})
    });
    let prohibition = (0..6).map(|number| {
        let constraint = [
            term("purpose", "isAnyOf", json!([format!("https://w3id.org/dpv#Unwanted{number}")])),
            term("dateTime", "gteq", at(2020 + number)),
        ];
        json!({"action": "read", "constraint": constraint})
    });
    document(permission.collect(), prohibition.collect())
}

fn document(permission: Vec<Json>, prohibition: Vec<Json>) -> Json {
    let mut policy = json!({
        "@context": [
            "https://w3id.org/dspace/2025/1/context.jsonld",
            {"perron": "https://w3id.org/perron/odrl/v1/", "xsd": "http://www.w3.org/2001/XMLSchema#"}
        ],
        "@type": "Offer",
        "profile": "https://w3id.org/perron/odrl/v1/",
        "permission": permission
    });
    if !prohibition.is_empty()
        && let Some(members) = policy.as_object_mut()
    {
        members.insert("prohibition".to_owned(), Json::Array(prohibition));
    }
    policy
}

pub(crate) fn negotiate(processes: &Processes, consumer: &Path, offer: &str) -> Result<AgreementId> {
    let dir = path(consumer)?;
    let asked = processes.run(&["negotiation", "request", "--dir", dir, PROVIDER, offer])?;
    let pid = text(&asked, "negotiation")?;
    let done = processes.run(&["negotiation", "wait", "--dir", dir, &pid, "--seconds", "30"])?;
    AgreementId::parse(&text(&done, "agreement")?)
}

fn user(processes: &Processes, consumer: &Path, terms: &Terms) -> Result<String> {
    let [rows, hashed, relayed] = [terms.rows, terms.hashed, terms.relayed].map(|a| a.to_string());
    let made = processes.run(&[
        "user",
        "add",
        "--dir",
        path(consumer)?,
        "reader",
        "--role",
        "analyst",
        "--purpose",
        PURPOSE,
        "--agreement",
        &rows,
        "--agreement",
        &hashed,
        "--agreement",
        &relayed,
        "--token",
    ])?;
    text(&made, "token")
}
