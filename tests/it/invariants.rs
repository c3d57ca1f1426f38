//! Invariants of docs/ARCHITECTURE.md that a whole run shows.

use crate::played::{copy, files, played};
use perron::policy::{Replayed, Replayer};
use perron::trust::keys::KeySet;
use perron_log::{Layout, Log, LogSettings, OsFiles, Signer};
use perron_model::ErrorCode;
use perron_model::entry::{AttachmentKind, Body, Entry, digest_of_parts};
use perron_model::participant::KeyUse;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

/// The log of an organisation, opened in a copy of its directory.
fn log(who: &str) -> (tempfile::TempDir, Log) {
    let work = tempfile::tempdir().unwrap();
    for part in ["log", "keys"] {
        copy(&played().join(who).join(part), &work.path().join(part));
    }
    let note = std::fs::read_to_string(work.path().join("log/checkpoint")).unwrap();
    let origin = note.lines().next().unwrap().to_owned();
    let seed = KeySet::load(&work.path().join("keys")).unwrap().signing_key(KeyUse::Log).unwrap().seed();
    let settings = LogSettings::new(&origin, 1, Box::new(Signer::from_seed(&origin, &seed).unwrap()));
    let (log, _) = Log::open(Arc::new(OsFiles), Layout::new(work.path()), settings, &[]).unwrap();
    (work, log)
}

#[tokio::test]
async fn same_answer_again() {
    let mut replayed = BTreeSet::new();
    for who in ["commune", "inter"] {
        // By the program's own modules, and by those that the directory kept.
        let mut replayer = Replayer::new(&played().join(who).join("modules")).unwrap();
        let (_work, log) = log(who);
        for index in 0..log.size() {
            let Body::Decision(decision) = Entry::from_bytes(&log.leaf(index).unwrap()).unwrap().body else { continue };
            let attached = log.attachments(index).unwrap();
            let of_kind = |kind: AttachmentKind| {
                let bytes = attached.iter().find(|a| a.kind == kind as u16).map(|a| a.bytes.as_slice());
                bytes.map(|bytes| (kind, bytes))
            };
            let parts = [AttachmentKind::EvaluationInput, AttachmentKind::Beside, AttachmentKind::Sealed];
            let bound = digest_of_parts(parts.into_iter().filter_map(of_kind));
            assert_eq!((Some(bound), &decision.input), (decision.attached, &None));
            let (salt, input) = of_kind(AttachmentKind::EvaluationInput).unwrap().1.split_at(16);
            let again = replayer.decide(&decision, &[salt, input].concat()).await.unwrap();
            assert_eq!(again, Replayed::Same, "entry {index} of {who}");
            replayed.insert(decision.permitted);
        }
    }
    assert_eq!(replayed.len(), 2, "a permit and a refusal were replayed");
}

#[test]
fn nothing_guessable_in_the_log() {
    let mut blinds = BTreeSet::new();
    for who in ["commune", "inter"] {
        let (_work, log) = log(who);
        for index in 0..log.size() {
            let leaf = log.leaf(index).unwrap();
            let blind = Entry::from_bytes(&leaf).unwrap().blind;
            assert_ne!(blind, [0; 16].into());
            assert!(blinds.insert(blind.to_vec()), "entry {index} of {who} has a blind of another");
        }
    }
    // Users and statements stand nowhere in it, not even beside the tree.
    let secrets = ["anne", "bruno", "chloe", "household, litres", "start_local AT TIME ZONE", "SELECT "];
    for who in ["commune", "inter"] {
        for file in files(&played().join(who).join("log")) {
            let bytes = std::fs::read(&file).unwrap();
            for secret in secrets {
                assert!(!holds(&bytes, secret.as_bytes()), "`{secret}` in {}", file.display());
            }
        }
    }
}

#[test]
fn an_organisation_sees_itself_only() {
    let token = |name: &str| std::fs::read_to_string(played().join(format!("{name}.token"))).unwrap();
    let (anne, bruno) = (token("anne"), token("bruno"));
    // What is one side's own: its users, its private data, its private keys.
    let secret = |who: &str, file: &str| std::fs::read(played().join(who).join("keys").join(file)).unwrap();
    let key_file = |who: &str| {
        files(&played().join(who).join("keys"))
            .into_iter()
            .find(|f| f.to_string_lossy().contains("request"))
            .unwrap()
            .file_name()
            .unwrap()
            .to_string_lossy()
            .into_owned()
    };
    let commune_key = secret("commune", &key_file("commune"));
    let inter_key = secret("inter", &key_file("inter"));
    for (who, foreign) in [
        ("inter", vec![b"anne".to_vec(), anne.into_bytes(), b"541000000".to_vec(), commune_key]),
        ("commune", vec![b"bruno".to_vec(), bruno.into_bytes(), inter_key]),
        ("authority", vec![b"anne".to_vec(), b"bruno".to_vec(), b"541000000".to_vec(), b"household".to_vec()]),
    ] {
        for file in files(&played().join(who)) {
            let bytes = std::fs::read(&file).unwrap();
            for word in &foreign {
                assert!(!holds(&bytes, word), "`{}` in {}", String::from_utf8_lossy(word), file.display());
            }
        }
    }
}

/// Letters that base64 of a digest has at the least.
const DIGEST_LETTERS: usize = 42;

/// Do the bytes say this? Among the letters of digests and signatures a short word stands by chance.
fn holds(bytes: &[u8], word: &[u8]) -> bool {
    let is_letter = |byte: &&u8| byte.is_ascii_alphanumeric() || b"-_+/".contains(*byte);
    let is_chance = |at: usize| {
        let before = bytes[..at].iter().rev().take_while(is_letter).count();
        let after = bytes[at + word.len()..].iter().take_while(is_letter).count();
        word.len() < 8 && before + word.len() + after >= DIGEST_LETTERS
    };
    bytes.windows(word.len()).enumerate().any(|(at, found)| found == word && !is_chance(at))
}

#[test]
fn a_word_is_found_but_for_chance() {
    let digest = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";
    let amid = digest.replace("TImW", "anne");
    for (text, is_said) in [("{\"user\":\"anne\"}", true), ("dannea", true), (amid.as_str(), false), (digest, false)] {
        assert_eq!(holds(text.as_bytes(), b"anne"), is_said, "{text}");
    }
    assert!(holds(format!("{digest}{digest}").as_bytes(), digest.as_bytes()));
}

#[test]
fn bounded() {
    use perron_model::limits::{DOCUMENT_BYTES_MAX, POLICY_BYTES_MAX, POLICY_DEPTH_MAX};
    let big = vec![b' '; POLICY_BYTES_MAX + 1];
    assert_eq!(perron_model::policy::odrl::read(&big).unwrap_err().code, ErrorCode::TooLarge);
    let deep = format!("{}{}", "[".repeat(POLICY_DEPTH_MAX + 1), "]".repeat(POLICY_DEPTH_MAX + 1));
    assert!(perron_model::policy::odrl::read(deep.as_bytes()).is_err());
    let document = vec![b' '; DOCUMENT_BYTES_MAX + 1];
    assert_eq!(perron_model::agreement::AgreementPayload::parse(&document).unwrap_err().code, ErrorCode::TooLarge);
    // No bound stands in the code without a name: a number of its own beside a `take` or a
    // capacity of a queue would be one.
    for path in files(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))) {
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("unbounded_channel"), "an unbounded queue in {}", path.display());
        for line in text.lines().filter(|l| l.contains("mpsc::channel(")) {
            let (_, after) = line.split_once("mpsc::channel(").unwrap();
            assert!(
                !after.starts_with(|c: char| c.is_ascii_digit()),
                "a queue without a named bound in {}",
                path.display()
            );
        }
    }
}
