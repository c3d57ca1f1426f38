use super::*;
use proptest::prelude::*;
use std::sync::atomic::Ordering::Relaxed;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn statement(number: usize) -> SealedValue {
    SealedValue::Statement { salt: URL_SAFE_NO_PAD.encode([7; 16]), text: format!("SELECT {number}") }
}

/// Values sealed by this vault, so many in each epoch.
fn sealed(vault: &Arc<Vault>, epochs: &[usize]) -> Vec<Vec<u8>> {
    runtime().block_on(async {
        let mut values = Vec::new();
        for (epoch, count) in epochs.iter().enumerate() {
            if epoch > 0 {
                vault.rest(values.len() as u64).await.unwrap();
            }
            for _ in 0..*count {
                let sealing = vault.begin(values.len() as u64).await.unwrap();
                values.push(sealing.seal(&statement(values.len())).unwrap().bytes);
            }
        }
        values
    })
}

/// Which of them are erased, and what else their epochs have.
fn erasing(values: &[Vec<u8>], erased: &[usize]) -> Erasing {
    let mut erasing = Erasing::default();
    let header = |at: usize| SealedHeader::parse(&values[at]).unwrap().0;
    for at in erased {
        erasing.erased.entry(header(*at).epoch).or_default().insert(header(*at).value);
    }
    for at in 0..values.len() {
        let SealedHeader { epoch, value } = header(at);
        if erasing.erased.get(&epoch).is_some_and(|gone| !gone.contains(&value)) {
            erasing.left.entry(epoch).or_default().insert(value);
        }
    }
    erasing
}

fn erase(vault: &Arc<Vault>, values: &[Vec<u8>], erased: &[usize]) -> Result<()> {
    runtime().block_on(vault.rest(values.len() as u64))?;
    vault.finish(prepare(vault, erasing(values, erased), vault.number() + 1)?)
}

fn prepare(vault: &Arc<Vault>, erasing: Erasing, number: u64) -> Result<Prepared> {
    runtime().block_on(vault.prepare(erasing, number))
}

/// The values that open, by their places.
fn opened(vault: &Vault, values: &[Vec<u8>]) -> Vec<usize> {
    let mut opened = Vec::new();
    for (at, value) in values.iter().enumerate() {
        if let Some(read) = vault.read(value).unwrap() {
            assert_eq!(read, statement(at));
            opened.push(at);
        }
    }
    opened
}

fn vault(directory: &Path, logged: Option<u64>) -> Arc<Vault> {
    Arc::new(Vault::open(directory, logged).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_subset_is_erased_and_the_rest_opens(
        epochs in prop::collection::vec(0_usize..6, 1..4),
        first in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        second in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().join("vault");
        let one = vault(&at, None);
        let values = sealed(&one, &epochs);
        prop_assume!(!values.is_empty());
        let chosen = |of: &[prop::sample::Index]| of.iter().map(|i| i.index(values.len())).collect::<BTreeSet<_>>();
        let (first, second) = (chosen(&first), chosen(&second));
        let gone: BTreeSet<usize> = first.union(&second).copied().collect();
        erase(&one, &values, &first.into_iter().collect::<Vec<_>>()).unwrap();
        erase(&one, &values, &second.into_iter().collect::<Vec<_>>()).unwrap();
        let left: Vec<usize> = (0..values.len()).filter(|at| !gone.contains(at)).collect();
        prop_assert_eq!(opened(&one, &values), left.clone());
        // The same after a start, which seals by an epoch of its own.
        let number = one.number();
        drop(one);
        let again = vault(&at, Some(number));
        prop_assert_eq!(opened(&again, &values), left);
        let more = sealed(&again, &[1]);
        prop_assert_eq!(again.read(&more[0]).unwrap(), Some(statement(0)));
    }
}

/// Whatever change of a file is the last one: with the log of before all values open, with the log
/// of after those that were not erased, and no file is left that nothing names.
#[test]
fn a_crash_leaves_what_was_before_or_what_is_after() {
    let mut points = 0;
    for left in 0_usize.. {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().join("vault");
        let one = vault(&at, None);
        let values = sealed(&one, &[3, 4, 2]);
        erase(&one, &values, &[1]).unwrap();
        runtime().block_on(one.rest(9)).unwrap();
        one.files.left.store(left, Relaxed);
        let prepared = prepare(&one, erasing(&values, &[0, 4, 5]), 3);
        let logged = prepared.is_ok();
        let finished = prepared.and_then(|prepared| one.finish(prepared));
        let is_whole = finished.is_ok();
        drop(one);
        let again = vault(&at, Some(if logged { 3 } else { 2 }));
        let expected: &[usize] = if logged { &[2, 3, 6, 7, 8] } else { &[0, 2, 3, 4, 5, 6, 7, 8] };
        assert_eq!(opened(&again, &values), expected, "after {left} changes");
        let names = again.files.found().unwrap();
        assert_eq!(names.keys().copied().collect::<Vec<_>>(), [again.number()], "after {left} changes");
        // And it goes on from there.
        erase(&again, &values, &[8]).unwrap();
        assert_eq!(opened(&again, &values), expected[..expected.len() - 1]);
        points += 1;
        if is_whole {
            break;
        }
    }
    assert!(points > 6, "{points} points");
}

fn numbers(vault: &Vault) -> Vec<u64> {
    vault.files.found().unwrap().into_keys().collect()
}

/// Numbers of the files of a copy.
fn copied(vault: &Path, logged: Option<u64>) -> Vec<u64> {
    let to = tempfile::tempdir().unwrap();
    copy(vault, &to.path().join("vault"), true, logged).unwrap();
    let copy = Files::of(&to.path().join("vault"));
    assert!(copy.found().unwrap().values().all(|found| found.is_whole()));
    copy.found().unwrap().into_keys().collect()
}

/// It goes at the next try, and into no backup meanwhile.
#[test]
fn a_key_that_could_not_be_destroyed_is_tried_again() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().join("vault");
    let one = vault(&at, None);
    let values = sealed(&one, &[3]);
    runtime().block_on(one.rest(3)).unwrap();
    let prepared = prepare(&one, erasing(&values, &[1]), 2).unwrap();
    one.files.left.store(0, Relaxed);
    assert!(one.finish(prepared).is_err(), "the disk lets nothing be changed");
    one.files.left.store(usize::MAX, Relaxed);
    assert_eq!((one.number(), numbers(&one), opened(&one, &values)), (2, vec![1, 2], vec![0, 2]));
    assert_eq!(copied(&at, Some(2)), [2], "beside a log that tells of the erasure");
    assert_eq!(copied(&at, None), [1], "beside a log from before it");
    runtime().block_on(one.rest(3)).unwrap();
    assert_eq!((numbers(&one), copied(&at, Some(2)), copied(&at, None)), (vec![2], vec![2], vec![2]));

    // One that came to nothing leaves what was prepared for a moment.
    drop(prepare(&one, erasing(&values, &[0]), 3).unwrap());
    assert_eq!((numbers(&one), copied(&at, Some(2))), (vec![2, 3], vec![2]));
    erase(&one, &values, &[2]).unwrap();
    assert_eq!((numbers(&one), opened(&one, &values)), (vec![3], vec![0]));
}

/// What can't be overwritten is removed all the same, and told.
#[test]
fn a_file_that_can_not_be_overwritten_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().join("vault");
    let one = vault(&at, None);
    let values = sealed(&one, &[2]);
    runtime().block_on(one.rest(2)).unwrap();
    let prepared = prepare(&one, erasing(&values, &[1]), 2).unwrap();
    let key = at.join(Files::key_name(1));
    std::fs::remove_file(&key).unwrap();
    // Nothing that is written to it can be synced.
    std::os::unix::fs::symlink("/dev/full", &key).unwrap();
    assert!(one.finish(prepared).is_err());
    assert_eq!((numbers(&one), opened(&one, &values)), (vec![2], vec![0]));
    assert!(key.symlink_metadata().is_err());
}

#[test]
fn the_first_epoch_too_is_there_whole_or_not_at_all() {
    for left in 0..3 {
        let directory = tempfile::tempdir().unwrap();
        let at = directory.path().join("vault");
        let one = vault(&at, None);
        one.files.left.store(left, Relaxed);
        let begun = runtime().block_on(one.begin(0));
        assert_eq!(begun.is_ok(), left == 2, "after {left} changes");
        drop(begun);
        drop(one);
        let again = vault(&at, None);
        assert_eq!(again.is_empty(), left < 2);
        assert_eq!(opened(&again, &sealed(&again, &[2])), [0, 1]);
    }
}

/// That is what "undone by a backup until" says; and a start with the log of after the erasure does
/// it again.
#[test]
fn a_backup_of_the_key_before_opens_what_was_erased() {
    let directory = tempfile::tempdir().unwrap();
    let (at, backup) = (directory.path().join("vault"), directory.path().join("backup"));
    let one = vault(&at, None);
    let values = sealed(&one, &[3]);
    std::fs::create_dir(&backup).unwrap();
    for file in std::fs::read_dir(&at).unwrap().map(|f| f.unwrap().path()) {
        std::fs::copy(&file, backup.join(file.file_name().unwrap())).unwrap();
    }
    erase(&one, &values, &[0, 2]).unwrap();
    assert_eq!(opened(&one, &values), [1]);
    let restored = vault(&backup, Some(2));
    assert_eq!((restored.number(), opened(&restored, &values)), (1, vec![0, 1, 2]));
    runtime().block_on(restored.rest(3)).unwrap();
    restored.finish(prepare(&restored, erasing(&values, &[0, 2]), 2).unwrap()).unwrap();
    assert_eq!((restored.number(), opened(&restored, &values)), (2, vec![1]));
}

#[test]
fn without_its_key_encryption_key_a_vault_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path().join("vault");
    let values = sealed(&vault(&at, None), &[1]);
    let kek = at.join("00000000000000000001.kek");
    let key = std::fs::read(&kek).unwrap();
    std::fs::remove_file(&kek).unwrap();
    assert_eq!(Vault::open(&at, None).unwrap_err().code, ErrorCode::KeyInvalid);
    crate::files::write_secret(&kek, &[3; 32]).unwrap();
    assert_eq!(Vault::open(&at, None).unwrap_err().code, ErrorCode::KeyInvalid, "another key");
    crate::files::write_secret(&kek, &key).unwrap();
    assert_eq!(opened(&vault(&at, None), &values), [0]);
    // Without any vault nothing opens, and nothing is said to be wrong.
    assert_eq!(opened(&vault(&directory.path().join("none"), Some(4)), &values), [0; 0]);
    let mut spoilt = values[0].clone();
    *spoilt.last_mut().unwrap() ^= 1;
    assert_eq!(vault(&at, None).read(&spoilt).unwrap_err().code, ErrorCode::LogDamaged);
}

#[test]
fn an_epoch_seals_so_many_values_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let one = vault(&directory.path().join("vault"), None);
    let most = usize::try_from(VAULT_EPOCH_VALUES_MAX).unwrap();
    let epochs = runtime().block_on(async {
        let mut epochs: BTreeMap<EpochId, usize> = BTreeMap::new();
        for _ in 0..=most {
            *epochs.entry(one.begin(0).await.unwrap().epoch).or_default() += 1;
        }
        epochs
    });
    let mut counts: Vec<usize> = epochs.into_values().collect();
    counts.sort_unstable();
    assert_eq!(counts, [1, most]);
}

/// An erasure waits for who is about to seal, and others seal on while it is under way.
#[test]
fn what_is_sealed_meanwhile_is_of_another_epoch() {
    let directory = tempfile::tempdir().unwrap();
    let one = vault(&directory.path().join("vault"), None);
    runtime().block_on(async {
        let before = one.begin(0).await.unwrap();
        let resting = {
            let one = one.clone();
            tokio::spawn(async move { one.rest(1).await })
        };
        tokio::task::yield_now().await;
        assert!(!resting.is_finished(), "somebody still seals");
        let value = before.seal(&statement(0)).unwrap();
        drop(before);
        let resting = resting.await.unwrap().unwrap();
        let meanwhile = one.begin(1).await.unwrap().seal(&statement(1)).unwrap();
        let values = [value.bytes, meanwhile.bytes];
        let prepared = one.prepare(erasing(&values, &[0]), 2).await.unwrap();
        one.finish(prepared).unwrap();
        assert_eq!(opened(&one, &values), [1]);
        assert_eq!(values.each_ref().map(|v| resting.holds(&SealedHeader::parse(v).unwrap().0.epoch)), [true, false]);
    });
}

/// However much is sealed while an erasure looks through the log: nobody waits for it, and none of
/// that is of it.
#[test]
fn an_erasure_that_looks_keeps_nobody_from_sealing() {
    let directory = tempfile::tempdir().unwrap();
    let one = vault(&directory.path().join("vault"), None);
    runtime().block_on(async {
        let before = one.begin(0).await.unwrap().seal(&statement(0)).unwrap();
        let resting = one.rest(1).await.unwrap();
        for _ in 0..=VAULT_EPOCH_VALUES_MAX {
            let sealing = tokio::time::timeout(std::time::Duration::from_secs(60), one.begin(1)).await;
            assert!(!resting.holds(&sealing.expect("it waits for the erasure").unwrap().epoch));
        }
        let last = one.begin(1).await.unwrap().seal(&statement(1)).unwrap();
        let values = [before.bytes, last.bytes];
        let prepared = one.prepare(erasing(&values, &[0]), 2).await.unwrap();
        // From here to the end no epoch is made: it would be in no file.
        assert!(one.making.try_lock().is_err());
        one.finish(prepared).unwrap();
        assert_eq!(opened(&one, &values), [1]);
        assert!(one.making.try_lock().is_ok());
    });
}

#[test]
fn a_statement_is_checked_against_what_was_signed() {
    let (salt, text) = ([4; 16], "SELECT 1");
    let (signed, salt) = (Digest::salted(&salt, text.as_bytes()), URL_SAFE_NO_PAD.encode(salt));
    assert!(is_signed(&signed, &salt, text));
    assert!(!is_signed(&signed, &salt, "SELECT 2") && !is_signed(&signed, "AA", text));
}
