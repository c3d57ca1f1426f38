use super::*;
use std::os::unix::fs::PermissionsExt;

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn keys_come_back_as_made_and_are_never_overwritten() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("keys");
    let made = KeySet::create_authority(&dir).unwrap();
    let read = KeySet::load(&dir).unwrap();
    assert!(read.is_authority());
    for key_use in AUTHORITY_USES {
        assert_eq!(made.public(key_use).unwrap(), read.public(key_use).unwrap());
    }
    assert_eq!(made.tls().public_point(), read.tls().public_point());
    assert_eq!(made.ca().unwrap().public_point(), read.ca().unwrap().public_point());
    assert_eq!(KeySet::create(&dir).unwrap_err().code, ErrorCode::AlreadyExists);
    assert_eq!(std::fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 7);
    for file in std::fs::read_dir(&dir).unwrap() {
        assert_eq!(file.unwrap().metadata().unwrap().mode() & 0o777, 0o600);
    }
    assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);
}

#[test]
fn a_participant_has_no_keys_of_an_authority() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("keys");
    std::fs::create_dir(&dir).unwrap();
    KeySet::create(&dir).unwrap();
    let read = KeySet::load(&dir).unwrap();
    assert!(!read.is_authority());
    assert_eq!(read.signing_key(KeyUse::Register).unwrap_err().code, ErrorCode::KeyInvalid);
    assert_eq!(read.ca().unwrap_err().code, ErrorCode::KeyInvalid);
}

#[test]
fn keys_that_others_can_read_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("keys");
    KeySet::create(&dir).unwrap();
    for mode in [0o640, 0o604, 0o620, 0o602, 0o644] {
        chmod(&dir.join("log.pem"), mode);
        let error = KeySet::load(&dir).unwrap_err();
        assert_eq!(error.code, ErrorCode::KeyUnsafe, "{mode:o}");
        assert!(error.detail.contains("chmod 600"), "{}", error.detail);
    }
    chmod(&dir.join("log.pem"), 0o600);
    chmod(&dir, 0o770);
    assert_eq!(KeySet::load(&dir).unwrap_err().code, ErrorCode::KeyUnsafe);
    chmod(&dir, 0o700);
    KeySet::load(&dir).unwrap();
}

#[test]
fn what_is_not_the_key_expected_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("keys");
    KeySet::create_authority(&dir).unwrap();
    let good = std::fs::read(dir.join("log.pem")).unwrap();
    let p256 = std::fs::read(dir.join("tls.pem")).unwrap();
    let long = vec![b'\n'; KEY_FILE_BYTES_MAX + 1];
    for bad in [b"".as_slice(), b"hello", &p256, &good[..60], &long, &[0xff, 0xfe]] {
        std::fs::write(dir.join("log.pem"), bad).unwrap();
        assert_eq!(KeySet::load(&dir).unwrap_err().code, ErrorCode::KeyInvalid);
    }
    std::fs::write(dir.join("log.pem"), &good).unwrap();
    std::fs::write(dir.join("tls.pem"), &good).unwrap();
    assert_eq!(KeySet::load(&dir).unwrap_err().code, ErrorCode::KeyInvalid);
    std::fs::write(dir.join("tls.pem"), &p256).unwrap();
    KeySet::load(&dir).unwrap();
    std::fs::remove_file(dir.join("ca.pem")).unwrap();
    assert_eq!(KeySet::load(&dir).unwrap_err().code, ErrorCode::KeyInvalid);
    assert_eq!(KeySet::load(&home.path().join("none")).unwrap_err().code, ErrorCode::KeyInvalid);
}

#[test]
fn debug_prints_no_secret() {
    let key = SigningKey::from_seed(&[7; 32]);
    let text = format!("{key:?}");
    assert!(text.contains(&key.kid().to_string()));
    assert!(!text.contains("7, 7") && !text.contains("0707"));
    let cert = CertKey::generate().unwrap();
    assert!(format!("{cert:?}").len() < 40);
}
