//! Our witness and our log over HTTPS: the statuses of the protocol, and who may read what.

use super::wire::{Client, server_name, tunnel};
use super::{configure, keys, program, table, text};
use crate::world::wire::runtime;
use crate::world::{AUTHORITY, CONSUMER, PROVIDER, World, address, wait_until};
use perron_log::merkle::{HashSource, MerkleError, leaf_hash, node_hash, prove_consistency, root};
use perron_log::note::NoteSigner;
use perron_log::tile::{decode_bundle, decode_hashes};
use perron_log::{Checkpoint, Hash, NoteError, Signer, Submission, Verifier};
use perron_model::limits::SUBMISSION_BYTES_MAX;
use serde_json::Value as Json;
use std::net::SocketAddr;
use std::process::Command;

/// A log of somebody else; another name is another history.
struct Leaves(&'static str);

impl HashSource for Leaves {
    fn node(&self, level: u32, index: u64) -> Result<Hash, MerkleError> {
        match level.checked_sub(1) {
            None => Ok(leaf_hash(format!("{} {index}", self.0).as_bytes())),
            Some(below) => Ok(node_hash(&self.node(below, 2 * index)?, &self.node(below, 2 * index + 1)?)),
        }
    }
}

const ORIGIN: &str = "elsewhere.example/log";

fn signer(seed: u8) -> Signer {
    Signer::from_seed(ORIGIN, &[seed; 32]).unwrap()
}

fn submission(leaves: &Leaves, old: u64, size: u64, by: &Signer) -> Submission {
    let checkpoint = Checkpoint::new(ORIGIN, size, root(leaves, size).unwrap()).sign(&[by]).unwrap().to_string();
    let proof = if old == 0 || old >= size { Vec::new() } else { prove_consistency(leaves, old, size).unwrap() };
    Submission { old_size: old, proof, checkpoint }
}

/// The provider with a listener for HTTPS, as witness of an outsider's log too.
fn serve(world: &mut World, origin: &str, vkey: &str) -> SocketAddr {
    let at = address();
    world.stop(PROVIDER);
    let log = toml::Value::Array(vec![table([("origin", text(origin)), ("vkey", text(vkey))])]);
    configure(world, PROVIDER, |config| {
        config.insert("http".to_owned(), table([("listen", text(at.to_string())), ("log", log)]));
    });
    world.start(PROVIDER);
    at
}

fn cosignature(text: &str, lines: &str, log: &Verifier, witness: &[Verifier]) -> Result<u64, NoteError> {
    let opened = Checkpoint::open(&format!("{text}{lines}"), log.name(), std::slice::from_ref(log), witness)?;
    let line = opened.verified.iter().find(|line| line.name == witness[0].name()).unwrap();
    assert!(line.time_unix_s.unwrap() > 1_700_000_000);
    Ok(opened.checkpoint.size)
}

fn kept(world: &World, origin: &str) -> Vec<Json> {
    let of = |e: &Json| e["kind"] == "checkpoint-kept" && e["facts"]["origin"] == origin;
    world.entries(PROVIDER).into_iter().filter(of).collect()
}

#[test]
fn submissions_get_the_statuses_of_the_protocol() {
    let mut world = World::new();
    let log = signer(7).verifier().clone();
    let at = serve(&mut world, ORIGIN, &log.to_vkey());
    let (_, witness) = keys(&world, PROVIDER);
    let client = Client::new(&world, at, None);
    let (ours, other) = (Leaves("a"), Leaves("b"));
    let good = |old, size| submission(&ours, old, size, &signer(7));
    runtime().block_on(async {
        // What isn't well-formed, of a log that nobody named, or not by its key.
        let client = &client;
        let status = |body: String| async move { client.submit(body).await.status.as_u16() };
        for (body, expected) in [
            (String::new(), 400),
            ("old 0\n\nno checkpoint\n".to_owned(), 404),
            (good(0, 3).to_string().replace("old 0", "old 00"), 400),
            (good(0, 3).to_string().trim_end().to_owned(), 400),
            (good(5, 3).to_string(), 400),
            (good(0, 3).to_string().replace(ORIGIN, "elsewhere.example/other"), 404),
            (submission(&ours, 0, 3, &signer(8)).to_string(), 403),
            (good(0, 3).to_string().replace("\n3\n", "\n4\n"), 403),
            ("x".repeat(SUBMISSION_BYTES_MAX + 1), 413),
        ] {
            let begin: String = body.chars().take(60).collect();
            assert_eq!(status(body).await, expected, "{begin:?}");
        }
        assert_eq!(client.get("/add-checkpoint", None).await.status, 405);
        assert_eq!(client.get("/elsewhere", None).await.status, 404);
        // The first one, then one that extends it, then the same again.
        let first = good(0, 3);
        let answer = client.submit(first.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(cosignature(&first.checkpoint, &answer.text(), &log, &witness).unwrap(), 3);
        let held = client.submit(good(0, 9).to_string()).await;
        assert_eq!((held.status.as_u16(), held.header("content-type")), (409, "text/x.tlog.size"));
        assert_eq!(held.text(), "3\n");
        for wrong in [
            submission(&other, 3, 9, &signer(7)),
            submission(&other, 3, 3, &signer(7)),
            Submission { proof: good(2, 9).proof, ..good(3, 9) },
            Submission { proof: Vec::new(), ..good(3, 9) },
            Submission { proof: good(2, 9).proof, ..good(3, 3) },
        ] {
            assert_eq!(status(wrong.to_string()).await, 422, "{wrong}");
        }
        let next = good(3, 9);
        for _ in 0..2 {
            let answer = client.submit(next.to_string()).await;
            match answer.status.as_u16() {
                200 => assert_eq!(cosignature(&next.checkpoint, &answer.text(), &log, &witness).unwrap(), 9),
                409 => assert_eq!(answer.text(), "9\n"),
                other => panic!("{other}: {}", answer.text()),
            }
        }
        let again = client.submit(good(9, 9).to_string()).await;
        assert_eq!(again.status, 200);
    });
    // Each was kept and logged once; the entry says by which key.
    let kept = kept(&world, ORIGIN);
    assert_eq!(kept.iter().map(|e| e["facts"]["size"].as_u64().unwrap()).collect::<Vec<_>>(), [3, 9]);
    assert!(kept.iter().all(|e| e["facts"]["key"] == log.to_vkey()), "{kept:?}");
    world.stop(PROVIDER);
    world.verify(PROVIDER);
    // What was kept outlives the process.
    world.start(PROVIDER);
    let held = runtime().block_on(client.submit(good(0, 12).to_string()));
    assert_eq!((held.status.as_u16(), held.text().as_str()), (409, "9\n"));
    world.stop(PROVIDER);
}

/// An empty log, and the head of a participant's log, which no configuration names.
#[test]
fn a_participants_log_and_an_empty_one_are_cosigned() {
    let mut world = World::new();
    let log = signer(7).verifier().clone();
    let at = serve(&mut world, ORIGIN, &log.to_vkey());
    let (_, witness) = keys(&world, PROVIDER);
    let (theirs, _) = keys(&world, CONSUMER);
    world.stop(CONSUMER);
    let checkpoint = std::fs::read_to_string(world.dir(CONSUMER).join("log/checkpoint")).unwrap();
    let client = Client::new(&world, at, Some(CONSUMER));
    runtime().block_on(async {
        let submission = Submission { old_size: 0, proof: Vec::new(), checkpoint: checkpoint.clone() };
        let answer = client.submit(submission.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        cosignature(&checkpoint, &answer.text(), &theirs[0], &witness).unwrap();
        let empty = submission_of_nothing(&signer(7), None);
        assert_eq!(client.submit(empty.to_string()).await.status, 200);
        let false_root = submission_of_nothing(&signer(7), Some(Hash([1; 32])));
        assert_eq!(client.submit(false_root.to_string()).await.status, 422);
        // Nobody is witness of their own log.
        let own = client.get("/checkpoint", None).await.text();
        let own = Submission { old_size: 0, proof: Vec::new(), checkpoint: own };
        assert_eq!(client.submit(own.to_string()).await.status, 404);
    });
    assert!(kept(&world, theirs[0].name()).iter().all(|e| e["facts"]["key"].is_null()));
    world.stop(PROVIDER);
    world.verify(PROVIDER);
}

fn submission_of_nothing(by: &Signer, root: Option<Hash>) -> Submission {
    let root = root.unwrap_or_else(perron_log::merkle::empty_root);
    let checkpoint = Checkpoint::new(ORIGIN, 0, root).sign(&[by]).unwrap().to_string();
    Submission { old_size: 0, proof: Vec::new(), checkpoint }
}

#[test]
fn the_log_is_read_by_those_entitled() {
    let mut world = World::new();
    let at = serve(&mut world, ORIGIN, &signer(7).verifier().to_vkey());
    let token = |name: &str, role: &str| {
        let added = world.of(PROVIDER, &["user", "add"], &[name, "--role", role, "--token"]).unwrap();
        added["token"].as_str().unwrap().to_owned()
    };
    let (auditor, analyst) = (token("bob", "auditor"), token("anne", "analyst"));
    let (log, _) = keys(&world, PROVIDER);
    let (nobody, partner) = (Client::new(&world, at, None), Client::new(&world, at, Some(CONSUMER)));
    let entries = |name: &str| {
        let of = |e: &Json| e["facts"]["action"] == name;
        world.entries(PROVIDER).into_iter().filter(of).count()
    };
    let head = runtime().block_on(async {
        for path in ["/checkpoint", "/tile/0/000", "/tile/entries/000"] {
            let refused = nobody.get(path, None).await;
            assert_eq!((refused.status.as_u16(), refused.header("www-authenticate")), (401, "Bearer"), "{path}");
            assert_eq!(nobody.get(path, Some("no such token")).await.status, 401, "{path}");
            assert_eq!(nobody.get(path, Some(&analyst)).await.status, 403, "{path}");
        }
        let answer = partner.get("/checkpoint", None).await;
        assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (200, "no-cache"));
        let opened = Checkpoint::open(&answer.text(), log[0].name(), &log, &[]).unwrap();
        let size = opened.checkpoint.size;
        assert!(size > 0 && size < 256, "{size}");
        let hashes = partner.get(&format!("/tile/0/000.p/{size}"), None).await;
        assert_eq!(hashes.status, 200);
        assert_eq!(hashes.header("content-type"), "application/octet-stream");
        assert!(hashes.header("cache-control").ends_with("immutable"));
        let hashes = decode_hashes(&hashes.body, u16::try_from(size).unwrap()).unwrap();
        let mut frontier = perron_log::merkle::Frontier::new();
        hashes.iter().for_each(|hash| frontier.append(*hash));
        assert_eq!(frontier.root(), opened.checkpoint.root);
        // Entries go to the organisation's own auditor.
        let path = format!("/tile/entries/000.p/{size}");
        assert_eq!(partner.get(&path, None).await.status, 403);
        let bundle = nobody.get(&path, Some(&auditor)).await;
        assert_eq!(bundle.status, 200, "{}", bundle.text());
        let leaves = decode_bundle(&bundle.body, u16::try_from(size).unwrap()).unwrap();
        assert!(leaves.iter().map(|leaf| leaf_hash(leaf)).eq(hashes.iter().copied()));
        // Nothing beyond what is durable, nor by another spelling.
        for path in ["/tile/0/000", "/tile/0/000.p/255", "/tile/1/000.p/1", "/tile/00/000.p/1", "/tile/0/0.p/1"] {
            assert_eq!(partner.get(path, None).await.status, 404, "{path}");
        }
        nobody.get(&path, Some(&auditor)).await;
        opened.checkpoint
    });
    assert_eq!(entries("audit.tiles"), 1, "one look an hour of a user is an entry");
    // Who was refused is in the log: a user by an entry each time, a participant in a sum.
    let of_kind = |world: &World, kind: &str| -> Vec<Json> {
        world.entries(PROVIDER).into_iter().filter(|e| e["kind"] == kind).collect()
    };
    let refused = of_kind(&world, "staff-refusal");
    assert_eq!(refused.len(), 3, "{refused:#?}");
    assert!(refused.iter().all(|e| e["facts"]["action"] == "audit.read"), "{refused:#?}");
    // A participant that is suspended reads nothing more.
    world.of(AUTHORITY, &["authority", "suspend"], &[CONSUMER]).unwrap();
    wait_until("the register is followed", || runtime().block_on(partner.get("/checkpoint", None)).status == 403);
    world.stop(PROVIDER);
    world.verify(PROVIDER);
    world.start(PROVIDER);
    let sums = of_kind(&world, "refusal-summary");
    let is_ours = |e: &&Json| e["facts"]["peer"] == CONSUMER && e["facts"]["reason"] == "role_missing";
    assert_eq!(sums.iter().filter(is_ours).count(), 1, "{sums:#?}");
    assert!(head.size > 0);
}

/// Whoever reads the log's tiles reads why hashes stand where entries stood: the rule as signed.
#[test]
fn the_retention_rule_is_read_by_those_entitled() {
    let mut world = World::new();
    let at = serve(&mut world, ORIGIN, &signer(7).verifier().to_vkey());
    let (nobody, partner) = (Client::new(&world, at, None), Client::new(&world, at, Some(CONSUMER)));
    let get = |client: &Client| runtime().block_on(client.get("/retention", None));
    assert_eq!((get(&nobody).status.as_u16(), get(&partner).status.as_u16()), (401, 404));
    world.of(PROVIDER, &["retention", "set"], &["--default-days", "365"]).unwrap();
    let answer = get(&partner);
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/jose"));
    let shown = world.of(PROVIDER, &["retention", "show"], &[]).unwrap();
    assert_eq!(answer.text(), shown["rule"]["signed"].as_str().unwrap());
    assert_eq!(get(&nobody).status, 401);
}

/// Tessera's own program appends to a log of its own and has it cosigned by our connector, which
/// knows neither.
#[test]
fn a_log_of_another_make_is_cosigned() {
    let Some(oneshot) = program("PERRON_TESSERA_ONESHOT") else { return };
    let mut world = World::new();
    let signer = signer(9);
    let log = signer.verifier().clone();
    let at = serve(&mut world, ORIGIN, &log.to_vkey());
    let (_, witness) = keys(&world, PROVIDER);
    let (proxy, url) = (tunnel(at), format!("https://{}:{}/", server_name(), at.port()));
    let policy = world.write("policy", format!("witness perron {} {url}\nquorum perron\n", witness[0].to_vkey()));
    let key = world.write("log.key", private_key(&log, &[9; 32]));
    let ca = world.dir(PROVIDER).join("trust/ca.pem");
    for round in 1..=3_u64 {
        let entries = world.dir(&format!("entries{round}"));
        std::fs::create_dir_all(&entries).unwrap();
        for n in 0..round {
            std::fs::write(entries.join(n.to_string()), format!("round {round}, entry {n}")).unwrap();
        }
        let ran = Command::new(&oneshot)
            .args(["--storage_dir", &world.path("tessera"), "--private_key", &key, "--witness_policy_file", &policy])
            .arg(format!("--entries={}/*", entries.display()))
            .env("SSL_CERT_FILE", &ca)
            .env("HTTPS_PROXY", format!("http://{proxy}"))
            .output()
            .unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let note = std::fs::read_to_string(world.dir("tessera").join("checkpoint")).unwrap();
        let size = cosignature(&note, "", &log, &witness).unwrap();
        assert_eq!(size, (1..=round).sum::<u64>());
    }
    let kept = kept(&world, ORIGIN);
    assert_eq!(kept.last().unwrap()["facts"]["size"], 6, "{kept:?}");
    world.stop(PROVIDER);
    world.verify(PROVIDER);
}

/// A log's private key as Go's `note` package reads it.
fn private_key(of: &Verifier, seed: &[u8; 32]) -> String {
    use base64::Engine;
    let blob = base64::engine::general_purpose::STANDARD.encode([&[1][..], seed].concat());
    format!("PRIVATE+KEY+{}+{:08x}+{blob}", of.name(), of.key_id())
}
