//! A data space of real processes: an authority, a provider and a consumer, each `perron serve` in
//! a directory of its own, set up and spoken to by the command line; the wire is in `wire`.

pub mod wire;

use serde_json::Value as Json;
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long a condition is waited for at the most.
const PATIENCE: Duration = Duration::from_secs(30);

pub const SPACE: &str = "essai";
pub const PURPOSE: &str = "https://w3id.org/dpv#ImprovePublicServices";
/// Rows of the provider's set.
pub const ROWS: usize = 3_000;

/// An organisation's directory, named as its participant.
pub const AUTHORITY: &str = "autorite";
pub const PROVIDER: &str = "commune";
pub const CONSUMER: &str = "inter";

/// What a command printed on stderr when it was refused.
#[derive(Clone, Debug)]
pub struct Refused {
    pub code: String,
    pub detail: String,
    pub advice: String,
    pub exit: Option<i32>,
    pub stderr: String,
}

pub struct World {
    folder: tempfile::TempDir,
    running: Vec<(String, Child)>,
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_perron"));
    command
        .env_remove("PERRON_DIR")
        .env_remove("PERRON_LANG")
        .env_remove("PERRON_TRACE")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::null());
    command
}

/// An address of this test alone: each has a loopback address of its own, so no port is taken by
/// another test between its choice and its use.
pub fn address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (pid, n) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let ip = std::net::Ipv4Addr::from(0x7F40_0000 | ((pid & 0xFF) << 12) | ((n & 0xFFF) + 1));
    TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap()
}

/// What a command answered: one object, or an array of one a line.
pub fn answered(output: &Output) -> Result<Json, Refused> {
    if !output.status.success() {
        return Err(refused(output));
    }
    let text = std::str::from_utf8(&output.stdout).unwrap();
    let mut lines: Vec<Json> = text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
    Ok(if lines.len() == 1 { lines.remove(0) } else { Json::Array(lines) })
}

/// The error that a command printed, as JSON or in words.
pub fn refused(output: &Output) -> Refused {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!stderr.contains("panicked"), "{stderr}");
    let line =
        stderr.lines().rev().find_map(|l| serde_json::from_str::<Json>(l).ok().filter(|v| v["error"].is_object()));
    let line = line.unwrap_or_else(|| panic!("no error with a code on stderr: {stderr}"));
    let field = |name: &str| line["error"][name].as_str().unwrap_or_default().to_owned();
    Refused {
        code: field("code"),
        detail: field("detail"),
        advice: field("advice"),
        exit: output.status.code(),
        stderr,
    }
}

/// Waits for a condition, with a deadline.
pub fn wait_until(what: &str, condition: impl FnMut() -> bool) {
    wait_within(what, PATIENCE, Duration::from_millis(20), condition);
}

/// Waits for a condition that may take long, and looks less often.
pub fn wait_within(what: &str, deadline: Duration, pause: Duration, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < deadline, "waited in vain: {what}");
        std::thread::sleep(pause);
    }
}

/// Runs the program with these arguments.
pub fn perron(args: &[&str]) -> Result<Json, Refused> {
    answered(&command().arg("--json").args(args).output().unwrap())
}

/// Begins to run the program with these arguments; nobody reads what it prints.
pub fn spawn(args: &[&str]) -> Child {
    command().args(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Runs the program with these arguments and variables; gives all that it printed.
pub fn output(args: &[&str], variables: &[(&str, &str)]) -> Output {
    command().args(args).envs(variables.iter().copied()).output().unwrap()
}

/// Does a process listen for SIGTERM (15), by the mask of the signals that it catches (proc(5))?
fn ends_in_order(process: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap() & (1 << 14) != 0
}

impl World {
    /// Founds a data space with a provider and a consumer, and starts all three.
    pub fn new() -> World {
        World::found(true)
    }

    /// As `new`, with a consumer that tells the register no endpoint: it can't be dialled.
    pub fn one_sided() -> World {
        World::found(false)
    }

    fn found(is_consumer_dialable: bool) -> World {
        let folder = tempfile::tempdir().unwrap();
        let mut world = World { folder, running: Vec::new() };
        let listen = address().to_string();
        let founded = world.of(
            AUTHORITY,
            &["authority", "init"],
            &[
                "--space",
                SPACE,
                "--name",
                AUTHORITY,
                "--title",
                "A",
                "--enterprise",
                "0900.000.147",
                "--listen",
                &listen,
            ],
        );
        let thumbprint = founded.unwrap()["parts"]["thumbprint"].as_str().unwrap().to_owned();
        world.start(AUTHORITY);
        let members =
            [(PROVIDER, "0900.000.246"), (CONSUMER, "0900.000.345")].map(|(n, e)| (n, e, address().to_string()));
        for (name, enterprise, endpoint) in &members {
            let facts =
                ["--space", SPACE, "--name", name, "--title", "B", "--enterprise", enterprise, "--endpoint", endpoint];
            let shown = if *name == CONSUMER && !is_consumer_dialable { &facts[..8] } else { &facts[..] };
            world.of(name, &["init"], shown).unwrap();
            let (request, answer) = (world.path(&format!("{name}/request.jws")), world.path(&format!("{name}.answer")));
            world.of(AUTHORITY, &["authority", "enrol"], &[&request, "--out", &answer]).unwrap();
        }
        for (name, _, endpoint) in &members {
            let answer = world.path(&format!("{name}.answer"));
            let flight = address().to_string();
            world
                .of(name, &["join"], &[&answer, "--authority", &thumbprint, "--listen", endpoint, "--flight", &flight])
                .unwrap();
            world.start(name);
        }
        world
    }

    pub fn dir(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn path(&self, name: &str) -> String {
        self.dir(name).display().to_string()
    }

    /// Writes a file beside the directories; gives its path.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        std::fs::write(self.dir(name), text).unwrap();
        self.path(name)
    }

    /// Runs a command in an organisation's directory.
    pub fn of(&self, name: &str, verb: &[&str], args: &[&str]) -> Result<Json, Refused> {
        let dir = self.path(name);
        let mut all = verb.to_vec();
        all.extend(["--dir", &dir]);
        all.extend(args);
        perron(&all)
    }

    /// Starts an organisation's process; returns once it serves.
    pub fn start(&mut self, name: &str) {
        self.start_with(name, &[]).unwrap();
    }

    /// As `start`, with variables of the environment; a process that doesn't serve tells why.
    pub fn start_with(&mut self, name: &str, variables: &[(&str, &str)]) -> Result<(), Refused> {
        let log = std::fs::File::options().create(true).append(true).open(self.log(name)).unwrap();
        let before = log.metadata().unwrap().len();
        let mut child = command()
            .args(["--json", "serve", "--dir"])
            .arg(self.dir(name))
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line.contains("\"serving\"") {
            assert!(ends_in_order(child.id()), "{name} says that it serves, and a stop would be a kill");
            self.running.push((name.to_owned(), child));
            return Ok(());
        }
        let status = child.wait().unwrap();
        let text = std::fs::read(self.log(name)).unwrap();
        let stderr = text.get(usize::try_from(before).unwrap()..).unwrap().to_vec();
        Err(refused(&Output { status, stdout: Vec::new(), stderr }))
    }

    /// What an organisation's processes wrote on stderr.
    pub fn log(&self, name: &str) -> PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }

    pub fn logged(&self, name: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log(name)).unwrap()).into_owned()
    }

    fn take(&mut self, name: &str) -> Child {
        let at = self.running.iter().position(|(n, _)| n == name).unwrap();
        self.running.remove(at).1
    }

    /// Ends a process as an operator does.
    pub fn stop(&mut self, name: &str) {
        let mut child = self.take(name);
        assert!(Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap().success());
        let status = child.wait().unwrap();
        assert!(status.success(), "{name}: {status}: {}", self.logged(name));
    }

    /// Ends a process as a crash does.
    pub fn kill(&mut self, name: &str) {
        let mut child = self.take(name);
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Stops a process in its tracks, or lets it go on.
    pub fn signal(&self, name: &str, signal: &str) {
        let (_, child) = self.running.iter().find(|(n, _)| n == name).unwrap();
        assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
    }

    /// Waits for a process that ends by itself; gives its exit code and its error.
    pub fn ended(&mut self, name: &str) -> Refused {
        let mut child = self.take(name);
        let mut status = None;
        wait_until("the process ends by itself", || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        let stderr = std::fs::read(self.log(name)).unwrap();
        refused(&Output { status: status.unwrap(), stdout: Vec::new(), stderr })
    }

    pub fn runs(&mut self, name: &str) -> bool {
        self.running.iter_mut().any(|(n, c)| n == name && c.try_wait().unwrap().is_none())
    }

    /// The provider publishes a set of `ROWS` rows; the consumer gets an agreement over it that
    /// ends at `end`, and a user who may read under it. Gives the agreement's name.
    pub fn agree(&self, end: &str) -> String {
        self.publish("releves").unwrap();
        let agreement = self.agree_on("releves", "offre", &policy(end));
        self.allow(&[&agreement]);
        agreement
    }

    /// The consumer gets an agreement over a set that the provider has, by an offer of this policy.
    pub fn agree_on(&self, set: &str, offer: &str, policy: &str) -> String {
        let policy = self.write(&format!("{offer}.json"), policy);
        let added = [offer, "--dataset", set, "--policy", &policy, "--automatic", "--legal-text", "essai"];
        let basis = ["--legal-basis", "https://w3id.org/dpv#PublicInterest"];
        self.of(PROVIDER, &["offer", "add"], &[&added[..], &basis[..]].concat()).unwrap();
        wait_until("the offer is shown", || {
            self.of(CONSUMER, &["catalogue"], &[PROVIDER]).is_ok_and(|shown| shown.to_string().contains(offer))
        });
        self.negotiate(offer)
    }

    /// Another agreement over the offer that `agree` published, for the same user.
    pub fn agree_again(&self) -> String {
        let agreement = self.negotiate("offre");
        self.allow(&[&agreement]);
        agreement
    }

    fn negotiate(&self, offer: &str) -> String {
        let asked = self.of(CONSUMER, &["negotiation", "request"], &[PROVIDER, offer]).unwrap();
        let number = asked["negotiation"].as_str().unwrap();
        let done = self.of(CONSUMER, &["negotiation", "wait"], &[number, "--seconds", "30"]).unwrap();
        done["agreement"].as_str().unwrap_or_else(|| panic!("no agreement: {done}")).to_owned()
    }

    /// The user of these tests may read under these agreements.
    pub fn allow(&self, agreements: &[&str]) {
        let uid = std::fs::metadata(self.dir(CONSUMER)).unwrap().uid().to_string();
        let mut user = vec!["anne", "--role", "analyst", "--purpose", PURPOSE, "--uid", &uid];
        agreements.iter().for_each(|agreement| user.extend(["--agreement", agreement]));
        self.of(CONSUMER, &["user", "add"], &user).unwrap();
    }

    /// Publishes the set under a name.
    pub fn publish(&self, id: &str) -> Result<Json, Refused> {
        let mut csv = String::from("n;nom;valeur\n");
        for n in 0..ROWS {
            csv.push_str(&format!("{n};compteur {n};{n},5\n"));
        }
        let (description, file) =
            (self.write(&format!("{id}.toml"), description(id)), self.write(&format!("{id}.csv"), csv));
        self.of(PROVIDER, &["dataset", "add"], &["--description", &description, &file])
    }

    /// Runs a statement as the consumer's user.
    pub fn query(&self, agreement: &str, sql: &str) -> Result<Json, Refused> {
        self.of(CONSUMER, &["query"], &["--agreement", agreement, "--purpose", PURPOSE, sql])
    }

    /// Entries of a running process's log.
    pub fn entries(&self, name: &str) -> Vec<Json> {
        match self.of(name, &["audit", "list"], &[]).unwrap() {
            Json::Array(entries) => entries,
            one => vec![one],
        }
    }

    /// The auditor's reading of a stopped directory.
    pub fn verify(&self, name: &str) {
        let report = perron(&["audit", "verify", &self.path(name)]);
        assert!(report.is_ok(), "{report:?}");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for (name, child) in &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
            // Seen only if the test fails.
            let text = std::fs::read(self.folder.path().join(format!("{name}.log"))).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            let last: Vec<&str> = text.lines().rev().take(6).collect();
            last.iter().rev().for_each(|line| eprintln!("{name}: {line}"));
        }
    }
}

/// A description of the set, as `dataset add` takes it.
pub fn description(id: &str) -> String {
    let column = |name: &str, kind: &str| {
        format!("[[dataset.columns]]\nname = \"{name}\"\ntype = \"{kind}\"\nmeaning = \"x\"\nprotection = \"none\"\n\n")
    };
    format!(
        "[dataset]\nid = \"{id}\"\ntitle = \"Relevés\"\ndescription = \"Essai\"\ntheme = \"ENVI\"\nowner = \"Commune\"\n\
         subject_key = {{ declared = \"none\" }}\nregime = \"public-task\"\nvisibility = {{ to = \"members\" }}\n\n{}{}{}\
         [format]\nkind = \"csv\"\nseparator = \";\"\nencoding = \"utf-8\"\ndecimal = \",\"\ndate = \"%d/%m/%Y\"\n\
         time_zone = \"Europe/Brussels\"\n",
        column("n", "integer"),
        column("nom", "text"),
        column("valeur", "number"),
    )
}

/// A policy over the set that ends at `end` (RFC 3339).
pub fn policy(end: &str) -> String {
    policy_for(end, 1000)
}

/// As `policy`, for so many uses.
pub fn policy_for(end: &str, uses: u64) -> String {
    let profile = "https://w3id.org/perron/odrl/v1/";
    let constraint = |operand: &str, operator: &str, value: Json| serde_json::json!({"leftOperand": operand, "operator": operator, "rightOperand": value});
    let typed = |kind: &str, value: &str| serde_json::json!({"@type": kind, "@value": value});
    serde_json::json!({
        "@context": ["https://w3id.org/dspace/2025/1/context.jsonld", {"perron": profile, "xsd": "http://www.w3.org/2001/XMLSchema#"}],
        "@type": "Offer",
        "profile": profile,
        "permission": [{"action": "read", "constraint": [
            constraint("purpose", "eq", PURPOSE.into()),
            constraint("perron:legalBasis", "eq", "https://w3id.org/dpv#PublicInterest".into()),
            constraint("dateTime", "lt", typed("xsd:dateTime", end)),
            constraint("count", "lteq", typed("xsd:integer", &uses.to_string())),
            constraint("perron:columns", "isAnyOf", serde_json::json!(["n", "nom", "valeur"])),
        ]}]
    })
    .to_string()
}
