use super::*;
use crate::trust::testing::{at, participant};
use perron_model::participant::{KeyAuthorisation, PublicKey};

struct Case {
    home: tempfile::TempDir,
    own: Participant,
}

impl Case {
    /// A directory with its keys, registered at `at(0)`.
    fn new() -> Case {
        let home = tempfile::tempdir().unwrap();
        let set = KeySet::create(&home.path().join("keys")).unwrap();
        Case { own: participant("huy", &set), home }
    }

    fn dir(&self) -> PathBuf {
        self.home.path().join("keys")
    }

    /// What a start finds.
    fn open(&self) -> Keyring {
        let keys = Keyring::open(&self.dir(), Arc::new(KeySet::load(&self.dir()).unwrap())).unwrap();
        keys.follow(&self.own);
        keys
    }

    /// The register takes up a key at `from`; the one before ends `overlap_ms` later.
    fn register(&mut self, key_use: KeyUse, key: PublicKey, from_ms: i64, overlap_ms: i64) {
        for old in self.own.keys.iter_mut().filter(|k| k.key_use == key_use) {
            old.until = Some(at(from_ms + overlap_ms));
        }
        let authorised_by = KeyAuthorisation::PreviousKey;
        self.own.keys.push(RegisteredKey {
            key_use,
            key,
            from: at(from_ms),
            until: None,
            authorised_by,
            consent: None,
        });
    }

    fn files(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.dir()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|n| n.starts_with("log")).collect();
        names.sort();
        names
    }
}

fn signs(keys: &Keyring, ms: i64) -> PublicKey {
    keys.signing_key(KeyUse::Log, at(ms)).unwrap().public()
}

fn in_force(keys: &Keyring, ms: i64) -> Vec<PublicKey> {
    keys.in_force(KeyUse::Log, at(ms)).unwrap().iter().map(|held| held.key.public()).collect()
}

#[test]
fn a_new_key_signs_nothing_before_the_register_has_it() {
    let case = Case::new();
    let keys = case.open();
    let old = signs(&keys, 1);
    let new = keys.next(KeyUse::Log).unwrap();
    assert_eq!(keys.next(KeyUse::Log).unwrap().public(), new.public(), "the next try goes on with the same key");
    assert_eq!((signs(&keys, 1), in_force(&keys, 1)), (old, vec![old]));
    assert_eq!(case.files(), ["log.next.pem", "log.pem"]);
    // Killed here: the next start has both, and uses the old one.
    let again = case.open();
    assert_eq!((signs(&again, 1), in_force(&again, 1)), (old, vec![old]));
    assert_eq!(again.next(KeyUse::Log).unwrap().public(), new.public());
    assert!(again.retire(at(1_000_000)).unwrap().is_empty());
    assert_eq!(case.files(), ["log.next.pem", "log.pem"]);
    // The new key is another use's as little as the register's.
    assert_eq!(again.held(KeyUse::Request).len(), 1);
    assert_eq!(again.next(KeyUse::Register).unwrap_err().code, ErrorCode::KeyInvalid);
}

#[test]
fn both_are_in_force_in_the_overlap_and_then_the_old_one_goes() {
    let mut case = Case::new();
    let keys = case.open();
    let old = signs(&keys, 1);
    let new = keys.next(KeyUse::Log).unwrap().public();
    case.register(KeyUse::Log, new, 1_000, 8_000);
    keys.follow(&case.own);
    for keys in [keys, case.open()] {
        assert_eq!(in_force(&keys, 999), [old]);
        assert_eq!(in_force(&keys, 1_000), [old, new]);
        assert_eq!(in_force(&keys, 9_000), [new]);
        // One signature is by the old key for half of the overlap: others learn of the new one first.
        assert_eq!((signs(&keys, 4_999), signs(&keys, 5_000)), (old, new));
        assert_eq!(keys.next(KeyUse::Log).unwrap_err().code, ErrorCode::TransitionIllegal);
        assert!(keys.retire(at(8_999)).unwrap().is_empty());
    }
    assert_eq!(case.files(), ["log.next.pem", "log.pem"]);
    let keys = case.open();
    assert_eq!(keys.retire(at(9_000)).unwrap(), [KeyUse::Log]);
    assert!(keys.retire(at(9_000)).unwrap().is_empty());
    for keys in [keys, case.open()] {
        assert_eq!((signs(&keys, 9_000), in_force(&keys, 9_000)), (new, vec![new]));
    }
    assert_eq!(case.files(), ["log.pem"]);
    // And a third one may come.
    let third = case.open().next(KeyUse::Log).unwrap().public();
    assert!(third != old && third != new);
}

#[test]
fn a_long_overlap_settles_after_five_minutes() {
    let mut case = Case::new();
    let keys = case.open();
    let (old, new) = (signs(&keys, 1), keys.next(KeyUse::Log).unwrap().public());
    case.register(KeyUse::Log, new, 1_000, 172_800_000);
    keys.follow(&case.own);
    let settled = 1_000 + KEY_SETTLING_MS_MAX;
    assert_eq!((signs(&keys, settled - 1), signs(&keys, settled)), (old, new));
}

#[test]
fn without_an_overlap_the_new_key_signs_at_once() {
    let mut case = Case::new();
    let keys = case.open();
    let new = keys.next(KeyUse::Log).unwrap().public();
    case.register(KeyUse::Log, new, 500, 0);
    keys.follow(&case.own);
    assert_eq!((signs(&keys, 500), in_force(&keys, 500)), (new, vec![new]));
    // What is signed at a time before is by the key that was in force then.
    assert_ne!(signs(&keys, 499), new);
}

#[test]
fn a_lost_key_is_replaced_by_the_one_made_for_it() {
    let mut case = Case::new();
    std::fs::remove_file(case.dir().join("log.pem")).unwrap();
    assert_eq!(KeySet::load(&case.dir()).unwrap_err().code, ErrorCode::KeyInvalid);
    let make = |case: &Case| make_for_lost(&case.dir(), KeyUse::Log, &case.own.keys).map(|key| key.public());
    let made = make(&case).unwrap();
    assert_eq!(make(&case).unwrap(), made);
    assert_eq!(case.open().in_force(KeyUse::Log, at(1)).unwrap_err().code, ErrorCode::KeyInvalid);
    case.register(KeyUse::Log, made, 500, 0);
    let keys = case.open();
    assert_eq!(signs(&keys, 500), made);
    assert_eq!(keys.next(KeyUse::Log).unwrap_err().code, ErrorCode::TransitionIllegal);
    assert_eq!(keys.retire(at(500)).unwrap(), [KeyUse::Log]);
    assert_eq!((case.files(), signs(&case.open(), 500)), (vec!["log.pem".to_owned()], made));
}

#[test]
fn a_stolen_newest_key_is_not_given_again_as_the_one_for_it() {
    let mut case = Case::new();
    let stolen = case.open().next(KeyUse::Log).unwrap().public();
    let make = |case: &Case| make_for_lost(&case.dir(), KeyUse::Log, &case.own.keys).map(|key| key.public());
    case.register(KeyUse::Log, stolen, 1_000, 8_000);
    let refused = make(&case).unwrap_err();
    assert_eq!(refused.code, ErrorCode::TransitionIllegal);
    assert!(refused.detail.contains("log.next.pem"), "{}", refused.detail);
    std::fs::remove_file(case.dir().join("log.next.pem")).unwrap();
    let made = make(&case).unwrap();
    assert_ne!(made, stolen);
    // The register has it in the place of both.
    case.register(KeyUse::Log, made, 2_000, 0);
    let keys = case.open();
    assert_eq!((signs(&keys, 2_000), in_force(&keys, 2_000)), (made, vec![made]));
    assert_eq!(keys.retire(at(2_000)).unwrap(), [KeyUse::Log]);
}

#[test]
fn a_key_that_the_register_ended_signs_nothing() {
    let mut case = Case::new();
    let stranger = SigningKey::from_seed(&[5; 32]).public();
    case.register(KeyUse::Log, stranger, 500, 0);
    let keys = case.open();
    assert!(keys.in_force(KeyUse::Log, at(499)).is_ok());
    assert_eq!(keys.in_force(KeyUse::Log, at(500)).unwrap_err().code, ErrorCode::KeyInvalid);
    assert_eq!(keys.signing_key(KeyUse::Log, at(500)).unwrap_err().code, ErrorCode::KeyInvalid);
    assert!(keys.retire(at(500)).unwrap().is_empty());
}

#[test]
fn a_new_key_that_others_can_read_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let case = Case::new();
    case.open().next(KeyUse::Log).unwrap();
    let file = case.dir().join("log.next.pem");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    let set = Arc::new(KeySet::load(&case.dir()).unwrap());
    assert_eq!(Keyring::open(&case.dir(), set).unwrap_err().code, ErrorCode::KeyUnsafe);
}
