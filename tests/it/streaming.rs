//! Entries of the log to a collector of another make (rsyslog), over TLS: each arrives, in order,
//! whoever is killed meanwhile.

use crate::world::{PROVIDER, World, address, output, wait_until};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Name in the collector's certificate.
const NAME: &str = "siem.test";

/// Parameters of a certificate of that name; OpenSSL takes one of the same name as its issuer for
/// self-signed.
fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// An authority of its own, and a certificate of it for the collector.
fn certify(world: &World) {
    let key = KeyPair::generate().unwrap();
    let mut params = named("authority.test");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = params.self_signed(&key).unwrap();
    let issuer = Issuer::new(params, key);
    let own = KeyPair::generate().unwrap();
    let certificate = named(NAME).signed_by(&own, &issuer).unwrap();
    // And one that the connector shows.
    let shown = KeyPair::generate().unwrap();
    let client = named("connector.test").signed_by(&shown, &issuer).unwrap();
    world.write("client.pem", client.pem());
    let key = world.write("client.key", shown.serialize_pem());
    std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o600)).unwrap();
    world.write("siem-ca.pem", root.pem());
    world.write("siem.pem", certificate.pem());
    world.write("siem.key", own.serialize_pem());
}

/// `rsyslogd` as a process of ours: one file of what came, written before anything else is read.
struct Collector {
    program: PathBuf,
    folder: String,
    listens: SocketAddr,
    running: Option<Child>,
}

impl Collector {
    fn new(world: &World) -> Option<Collector> {
        let program = std::env::var_os("PERRON_RSYSLOGD").filter(|program| !program.is_empty());
        let Some(program) = program else {
            assert!(std::env::var_os("CI").is_none(), "PERRON_RSYSLOGD isn't set: run `make test`");
            eprintln!("not run, for PERRON_RSYSLOGD isn't set");
            return None;
        };
        certify(world);
        let listens = address();
        let file = |name: &str| world.path(name);
        let (ip, port) = (listens.ip(), listens.port());
        let (ca, certificate, key, out) = (file("siem-ca.pem"), file("siem.pem"), file("siem.key"), file("siem.log"));
        std::fs::create_dir_all(file("siem")).unwrap();
        let work = file("siem");
        world.write(
            "siem.conf",
            format!(
                "global(workDirectory=\"{work}\" maxMessageSize=\"256k\" defaultNetstreamDriver=\"ossl\"\n\
                 \x20 defaultNetstreamDriverCAFile=\"{ca}\" defaultNetstreamDriverCertFile=\"{certificate}\" defaultNetstreamDriverKeyFile=\"{key}\")\n\
                 main_queue(queue.type=\"direct\")\n\
                 module(load=\"imtcp\" streamDriver.name=\"ossl\" streamDriver.mode=\"1\" streamDriver.authMode=\"x509/certvalid\")\n\
                 template(name=\"raw\" type=\"string\" string=\"%rawmsg%\\n\")\n\
                 ruleset(name=\"all\" queue.type=\"direct\") {{\n\
                 \x20 action(type=\"omfile\" file=\"{out}\" template=\"raw\" asyncWriting=\"off\" flushOnTXEnd=\"on\" ioBufferSize=\"1m\")\n\
                 }}\n\
                 input(type=\"imtcp\" address=\"{ip}\" port=\"{port}\" ruleset=\"all\")\n"
            ),
        );
        let folder = world.dir("siem").parent().unwrap().display().to_string();
        Some(Collector { program: program.into(), folder, listens, running: None })
    }

    fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    fn start(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.file("siem.stderr")).unwrap();
        // A file of its own at each start: what a killed one left says that it still runs.
        let _ = std::fs::remove_file(self.file("siem.pid"));
        let child = Command::new(&self.program)
            .args(["-n", "-f", &self.file("siem.conf"), "-i", &self.file("siem.pid")])
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.running = Some(child);
    }

    fn kill(&mut self) {
        let mut child = self.running.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// What arrived: entry numbers with their leaf hashes, in the order of their arrival.
    fn arrived(&self) -> Vec<(u64, String)> {
        let bytes = std::fs::read(self.file("siem.log")).unwrap_or_default();
        let text = String::from_utf8(bytes).unwrap();
        // A collector that was killed may have written half a line; what came next stands behind it.
        let whole = |line: &str| {
            let (_, message) = line.rsplit_once("[perron@32473 ")?;
            let (parameters, json) = message.split_once("] ")?;
            let event: Json = serde_json::from_str(json).ok()?;
            let value =
                |name: &str| Some(parameters.split_once(&format!("{name}=\""))?.1.split_once('"')?.0.to_owned());
            let (index, leaf) = (value("index")?.parse().ok()?, value("leaf")?);
            assert_eq!(event["metadata"]["uid"], format!("{index}:{leaf}"));
            Some((index, leaf))
        };
        text.lines().filter_map(whole).collect()
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        if let Some(child) = &mut self.running {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            eprintln!("{}", std::fs::read_to_string(self.file("siem.stderr")).unwrap_or_default());
        }
    }
}

/// Starts the provider with a collector in its configuration.
fn configure(world: &mut World, collector: &Collector, name: &str) {
    world.stop(PROVIDER);
    let file = world.dir(PROVIDER).join("perron.toml");
    let mut config: toml::Table = toml::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let mut syslog = toml::Table::new();
    let (listens, of) = (collector.listens.to_string(), |name: &str| collector.file(name));
    let settings = [
        ("address", listens),
        ("server_name", name.to_owned()),
        ("ca", of("siem-ca.pem")),
        ("certificate", of("client.pem")),
        ("key", of("client.key")),
    ];
    for (key, value) in settings {
        syslog.insert(key.to_owned(), toml::Value::String(value));
    }
    config.insert("syslog".to_owned(), toml::Value::Table(syslog));
    std::fs::write(&file, toml::to_string(&config).unwrap()).unwrap();
    world.start(PROVIDER);
}

fn stream(world: &World) -> Json {
    world.of(PROVIDER, &["status"], &[]).unwrap()["stream"].clone()
}

/// What `perron doctor` finds of it: state and code.
fn found(world: &World) -> (String, String) {
    let out = output(&["--json", "doctor", "--dir", &world.path(PROVIDER)], &[]);
    let lines = String::from_utf8(out.stdout).unwrap();
    let mut lines = lines.lines().map(|l| serde_json::from_str::<Json>(l).unwrap());
    let line = lines.find(|l| l["check"] == "stream").unwrap();
    (line["state"].as_str().unwrap().to_owned(), line["code"].as_str().unwrap().to_owned())
}

/// Leaf hashes of the log, by an export.
fn leaves(world: &World) -> BTreeMap<u64, String> {
    let out = output(&["audit", "export", "--dir", &world.path(PROVIDER), "--format", "jsonl"], &[]);
    let line = |l: &str| {
        let entry: Json = serde_json::from_str(l).unwrap();
        (entry["index"].as_u64().unwrap(), entry["leaf"].as_str().unwrap().to_owned())
    };
    String::from_utf8(out.stdout).unwrap().lines().map(line).collect()
}

#[test]
fn every_entry_arrives_in_order_whoever_is_killed() {
    let mut world = World::new();
    let Some(mut collector) = Collector::new(&world) else { return };
    let agreement = world.agree("2099-01-01T00:00:00Z");
    // Nobody is there yet: the log is written all the same, and what is behind is told.
    configure(&mut world, &collector, NAME);
    wait_until("the stream tells its trouble", || stream(&world)["trouble"]["code"] == "peer_unavailable");
    assert!(stream(&world)["behind"].as_u64().unwrap() > 0);
    assert_eq!(found(&world), ("warning".to_owned(), "stream_waits".to_owned()));
    let ask = |world: &World| world.query(&agreement, "SELECT count(*) FROM data").unwrap();
    ask(&world);
    collector.start();
    wait_until("the collector has something", || !collector.arrived().is_empty());
    // The collector is killed while entries come, and comes back.
    for round in 0..3 {
        ask(&world);
        let before = collector.arrived().len();
        wait_until("more arrives", || collector.arrived().len() > before);
        ask(&world);
        collector.kill();
        ask(&world);
        collector.start();
        if round == 1 {
            // So is the connector.
            ask(&world);
            world.kill(PROVIDER);
            world.start(PROVIDER);
        }
    }
    ask(&world);
    wait_until("the collector has all", || stream(&world)["behind"] == 0);
    assert_eq!(found(&world), ("ok".to_owned(), "ok".to_owned()));
    let next = stream(&world)["next"].as_u64().unwrap();
    // In this order: an export is an entry, which arrives too.
    let arrived = collector.arrived();
    let leaves = leaves(&world);
    let mut expected = 0;
    for (index, leaf) in &arrived {
        assert_eq!(leaves.get(index), Some(leaf), "entry {index}");
        // Again, or the next one: never one before its turn.
        assert!(*index <= expected, "entry {index} came when {expected} was next");
        expected = expected.max(index + 1);
    }
    assert!(expected >= next, "{expected} of {next} arrived");
    // The log says where its entries go, at each start.
    let streams = world.entries(PROVIDER).into_iter().filter(|e| e["facts"]["action"] == "audit.stream").count();
    assert_eq!(streams, 2);
    world.stop(PROVIDER);
    world.verify(PROVIDER);
}

#[test]
fn another_behind_the_collectors_name_gets_nothing() {
    let mut world = World::new();
    let Some(mut collector) = Collector::new(&world) else { return };
    collector.start();
    configure(&mut world, &collector, "another.test");
    wait_until("the stream tells its trouble", || stream(&world)["trouble"]["code"] == "unauthenticated");
    assert_eq!(stream(&world)["next"], 0);
    assert!(collector.arrived().is_empty());
    world.stop(PROVIDER);
}
