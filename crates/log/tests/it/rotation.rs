//! Log keys that change while the log goes on: the batch after begins a segment that lists them.

use perron_log::sim::{Fault, SimFiles};
use perron_log::{
    Checkpoint, FindingKind, Log, LogError, LogSettings, NoteSigner, Outcome, Report, SignedNote, Signer, Verifier,
    VerifyOptions, verify_log_files,
};
use std::sync::Arc;

use crate::support::{ORIGIN, Rng, entries, layout, settings};

/// Keys by their numbers.
fn keys(numbers: &[u8]) -> Vec<Box<dyn NoteSigner>> {
    let key = |number: &u8| Box::new(Signer::from_seed(ORIGIN, &[*number; 32]).unwrap()) as Box<dyn NoteSigner>;
    numbers.iter().map(key).collect()
}

fn verifiers(numbers: &[u8]) -> Vec<Verifier> {
    keys(numbers).iter().map(|key| key.verifier().clone()).collect()
}

/// Settings under which these keys sign, and others did before.
fn signed_by(signing: &[u8], former: &[u8], segment_bytes: u64) -> LogSettings {
    let mut settings = settings(segment_bytes);
    settings.signers = keys(signing);
    settings.former_keys = verifiers(former);
    settings
}

fn open(files: &SimFiles, settings: LogSettings) -> Log {
    Log::open(Arc::new(files.clone()), layout(), settings, &[]).unwrap().0
}

fn verified(files: &SimFiles, numbers: &[u8], kept: Vec<String>) -> Report {
    let options = VerifyOptions { origin: ORIGIN.to_owned(), keys: verifiers(numbers), kept };
    verify_log_files(files, layout().log_dir(), &options, &mut |_| Vec::new()).unwrap()
}

/// Lines of a note, by the numbers of the keys.
fn lines(note: &str) -> Vec<u32> {
    SignedNote::parse(note).unwrap().signatures.iter().map(|line| line.key_id).collect()
}

fn ids(numbers: &[u8]) -> Vec<u32> {
    verifiers(numbers).iter().map(Verifier::key_id).collect()
}

#[test]
fn keys_change_while_the_log_is_open() {
    let files = SimFiles::new();
    let mut log = open(&files, signed_by(&[7], &[], 1 << 20));
    let mut notes = vec![log.append(&entries(0, 3)).unwrap().note];
    // Until the next batch nothing has changed, whatever was asked for meanwhile.
    let operations = files.operations();
    log.change_keys(keys(&[9])).unwrap();
    log.change_keys(keys(&[7, 8])).unwrap();
    assert_eq!((files.operations(), log.last_note()), (operations, notes[0].clone()));
    notes.push(log.append(&entries(3, 3)).unwrap().note);
    log.publish().unwrap();
    // The same keys again begin nothing.
    log.change_keys(keys(&[7, 8])).unwrap();
    notes.push(log.append(&entries(6, 1)).unwrap().note);
    log.change_keys(keys(&[8])).unwrap();
    notes.push(log.append(&entries(7, 2)).unwrap().note);
    assert_eq!(
        notes.iter().map(|note| lines(note)).collect::<Vec<_>>(),
        [ids(&[7]), ids(&[7, 8]), ids(&[7, 8]), ids(&[8])]
    );
    let begun = [0, 3, 7].map(|first| files.contents(&layout().segment(first)).is_some());
    assert_eq!((begun, files.contents(&layout().segment(6))), ([true; 3], None));
    // Whoever knows one of the two keys can read the overlap; the whole log needs both.
    Checkpoint::open(&notes[1], ORIGIN, &verifiers(&[7]), &[]).unwrap();
    Checkpoint::open(&notes[1], ORIGIN, &verifiers(&[8]), &[]).unwrap();
    log.publish().unwrap();
    let report = verified(&files, &[7, 8], notes.clone());
    assert_eq!(
        (report.outcome, report.size, report.signatures_checked),
        (Outcome::Ok, 9, 9),
        "batches, kept, published"
    );
    assert!(verified(&files, &[8], Vec::new()).has(FindingKind::Signature));
    drop(log);
    let mut log = open(&files, signed_by(&[8], &[7], 1 << 20));
    assert_eq!((log.size(), log.last_note()), (9, notes[3].clone()));
    log.append(&entries(9, 1)).unwrap();
    assert_eq!(files.contents(&layout().segment(9)), None, "the keys are those that the newest segment lists");
}

/// A key that was dropped is held by someone who should no longer sign: the log isn't opened again, and
/// whoever verifies it reads why.
#[test]
fn a_key_that_was_dropped_does_not_come_back() {
    let files = SimFiles::new();
    let mut log = open(&files, signed_by(&[7], &[8], 1 << 20));
    for (first, signing) in [(0, vec![7]), (1, vec![7, 8]), (2, vec![8])] {
        log.change_keys(keys(&signing)).unwrap();
        log.append(&entries(first, 1)).unwrap();
    }
    log.publish().unwrap();
    drop(log);
    assert_eq!(verified(&files, &[7, 8], Vec::new()).outcome, Outcome::Ok);
    let mut log = open(&files, signed_by(&[7], &[8], 1 << 20));
    log.append(&entries(3, 1)).unwrap();
    drop(log);
    let report = verified(&files, &[7, 8], Vec::new());
    assert!(report.has(FindingKind::KeyNotInForce) && !report.has(FindingKind::Signature), "{:?}", report.findings);
    let refused = Log::open(Arc::new(files.clone()), layout(), signed_by(&[8], &[7], 1 << 20), &[]);
    assert!(matches!(refused, Err(LogError::Damaged { .. })), "{refused:?}");
}

#[test]
fn keys_that_no_log_can_have_change_nothing() {
    let files = SimFiles::new();
    let mut log = open(&files, signed_by(&[7], &[], 1 << 20));
    log.append(&entries(0, 1)).unwrap();
    for wrong in [vec![], vec![7, 7], vec![1, 2, 3, 4, 5]] {
        assert!(matches!(log.change_keys(keys(&wrong)), Err(LogError::Settings(_))), "{wrong:?}");
    }
    log.append(&entries(1, 1)).unwrap();
    assert_eq!(lines(&log.last_note()), ids(&[7]));
}

#[test]
fn a_segment_that_holds_nothing_gives_its_name_to_the_next_keys() {
    let files = SimFiles::new();
    let mut log = open(&files, signed_by(&[7], &[], 1 << 20));
    log.append(&entries(0, 2)).unwrap();
    log.change_keys(keys(&[7, 8])).unwrap();
    // There is room for a header and no more.
    let held: usize = files.paths().iter().map(|path| files.contents(path).unwrap().len()).sum();
    files.set_capacity(Some(held + 400));
    assert!(matches!(log.append(&entries(2, 30)), Err(LogError::NoSpace)));
    assert!(files.contents(&layout().segment(2)).is_some(), "the header is there");
    files.set_capacity(None);
    log.change_keys(keys(&[8])).unwrap();
    assert_eq!(files.contents(&layout().segment(2)), None);
    log.append(&entries(2, 2)).unwrap();
    log.publish().unwrap();
    assert_eq!(lines(&log.last_note()), ids(&[8]));
    assert_eq!(verified(&files, &[7, 8], Vec::new()).outcome, Outcome::Ok);
    drop(log);
    assert_eq!(open(&files, signed_by(&[8], &[7], 1 << 20)).size(), 4);
}

/// A log whose keys change again and again, cut off at random points, opens under the keys of any
/// moment: those before the change, and those after it.
#[test]
fn a_power_cut_at_a_change_of_keys_loses_nothing() {
    let (mut cuts, mut torn) = (0, 0);
    for seed in 0..200 {
        let mut rng = Rng(seed);
        let files = SimFiles::new();
        let (mut stage, mut acknowledged, mut note) = (0_u8, 0, None);
        for _ in 0..6 {
            files.fail_in(rng.below(60) + 1, Fault::PowerCut);
            if change_and_append(&files, &mut rng, &mut stage, &mut acknowledged, &mut note).is_err() {
                cuts += 1;
            }
            files.crash(rng.next());
        }
        let known: Vec<u8> = (0..=stage + 2).map(|n| n + 10).collect();
        let (log, recovered) =
            Log::open(Arc::new(files.clone()), layout(), signed_by(&signing(stage), &known, 4096), &[]).unwrap();
        torn += u64::from(recovered.torn.is_some());
        assert!(log.size() >= acknowledged, "seed {seed}");
        drop(log);
        let report = verified(&files, &known, note.into_iter().collect());
        assert_eq!((report.outcome, report.findings), (Outcome::Ok, Vec::new()), "seed {seed}");
    }
    println!("{cuts} power cuts, {torn} torn records at the last start");
    assert!(cuts > 200 && torn > 10, "{cuts} power cuts, {torn} torn records");
}

/// The keys of a stage: in every other one both sign.
fn signing(stage: u8) -> Vec<u8> {
    let key = 10 + stage / 2;
    if stage.is_multiple_of(2) { vec![key] } else { vec![key, key + 1] }
}

fn change_and_append(
    files: &SimFiles,
    rng: &mut Rng,
    stage: &mut u8,
    acknowledged: &mut u64,
    note: &mut Option<String>,
) -> Result<(), LogError> {
    let known: Vec<u8> = (0..=*stage + 2).map(|n| n + 10).collect();
    // A start may go on with the stage before or after what the last life had.
    *stage += u8::try_from(rng.below(2)).unwrap();
    let settings = signed_by(&signing(*stage), &known, 4096);
    let (mut log, _) = Log::open(Arc::new(files.clone()), layout(), settings, &[])?;
    assert!(log.size() >= *acknowledged, "acknowledged entries are gone");
    for _ in 0..8 {
        if rng.below(3) == 0 {
            *stage += 1;
            log.change_keys(keys(&signing(*stage)))?;
        }
        let done = log.append(&entries(log.size(), rng.below(20) + 1))?;
        assert_eq!(lines(&done.note), ids(&signing(*stage)));
        *acknowledged = done.checkpoint.size;
        *note = Some(done.note);
        if rng.below(3) == 0 {
            log.publish()?;
        }
    }
    Ok(())
}
