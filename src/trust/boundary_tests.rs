//! What this room keeps to itself, read from the sources; and that no input makes it panic.

use super::testing::{World, at, id, space};
use super::{ca, dialer, enrolment, envelope, jws, register, renewal};
use proptest::prelude::*;
use std::path::{Path, PathBuf};

/// All sources of the program with what stands in them outside of tests.
fn sources() -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") && !path.to_string_lossy().ends_with("tests.rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
                let code: Vec<&str> = code.lines().filter(|l| !l.trim_start().starts_with("//")).collect();
                found.push((path, code.join("\n")));
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 10);
    found
}

fn only(needles: &[&str], allowed: impl Fn(&Path) -> bool) {
    for (path, code) in sources() {
        for needle in needles {
            assert!(allowed(&path) || !code.contains(needle), "`{needle}` in {}", path.display());
        }
    }
}

#[test]
fn josekit_is_known_to_one_file() {
    only(&["josekit"], |p| p.ends_with("src/trust/jws.rs"));
}

#[test]
fn tls_and_certificates_are_known_to_one_room() {
    only(&["rustls::", "rcgen::", "x509_parser::"], |p| p.parent().is_some_and(|d| d.ends_with("src/trust")));
}

/// Invariant 10: the process opens only connections that configuration or register list.
#[test]
fn only_the_dialer_connects() {
    let ways = ["TcpStream::connect", "TcpSocket", "HttpConnector", "connect_lazy(", "UdpSocket", "lookup_host"];
    only(&ways, |p| p.ends_with("src/trust/dialer.rs"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_input_makes_a_reader_panic(text in "[A-Za-z0-9_.:=\\[\\]-]{0,200}", bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let key = super::keys::SigningKey::from_seed(&[1; 32]).public();
        let _ = jws::verify_compact(&text, "t", |_| Some(key));
        let _ = jws::peek(&text, "t", 100);
        let _ = dialer::Endpoint::parse(&text);
        let _ = ca::require_possession(&text);
        let _ = ca::certificates(&text);
        let _ = ca::participant_of(&bytes, &space());
        let _ = enrolment::EnrolmentRequest::open(&text);
        let _ = envelope::verify_envelope_bytes(&bytes, &key);
        let _ = register::VerifiedRegister::verify_bytes(&bytes, &key, None);
        let _ = register::verify_entry(&text, &key);
    }
}

#[test]
fn a_spoiled_certificate_makes_no_reader_panic() {
    let world = World::new(&["huy"]);
    let request = ca::csr(world.keys("huy").tls(), &id("huy"), &space()).unwrap();
    let good = world.ca.issue(&id("huy"), &request, at(0), 60).unwrap().der;
    for at in 0..good.len() {
        for bit in [0x01, 0x20, 0x80] {
            let mut spoiled = good.clone();
            spoiled[at] ^= bit;
            let _ = ca::participant_of(&spoiled, &space());
            let _ = ca::not_after(&spoiled);
        }
        let _ = ca::participant_of(&good[..at], &space());
    }
    let register = world.verified();
    let _ = renewal::RenewalRequest::open("", &register, at(0));
}
