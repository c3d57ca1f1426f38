//! The test of the layer below the killed processes: what it drops, and what it leaves.

use crate::kill::random::Random;
use crate::kill::unsynced::{Dropped, Layer};
use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;

/// Changes files in every way, syncs some, and is killed.
const SCRIPT: &str = r#"
use strict; use Fcntl; use IO::Handle;
my $d = shift;
sysopen(my $f, "$d/grown", O_RDWR | O_CREAT) or die; syswrite($f, "one"); $f->sync or die;
open(my $dir, "<", $d) or die; $dir->sync or die;
syswrite($f, "two");
sysseek($f, 0, 0); syswrite($f, "O");
sysopen(my $c, "$d/cut", O_RDWR) or die; truncate($c, 2) or die;
open(my $e, ">", "$d/emptied") or die;
sysopen(my $n, "$d/new", O_WRONLY | O_CREAT) or die; syswrite($n, "new"); $n->sync or die;
rename("$d/a", "$d/b") or die;
unlink("$d/removed") or die;
mkdir("$d/folder") or die;
kill 9, $$;
"#;

fn run(layer: &Layer, work: &Path, number: usize, random: &mut Random) -> (BTreeSet<String>, Dropped) {
    let directory = work.join(format!("data-{number}"));
    std::fs::create_dir(&directory).unwrap();
    for name in ["cut", "emptied", "a", "b", "removed"] {
        std::fs::write(directory.join(name), name.repeat(2)).unwrap();
    }
    let life = layer.life(&directory, work, number);
    let mut perl = Command::new("perl");
    layer.below(&life, &mut perl);
    let out = perl.args(["-e", SCRIPT]).arg(directory.canonicalize().unwrap()).output().expect("perl");
    assert_eq!(out.status.signal(), Some(9), "{}", String::from_utf8_lossy(&out.stderr));
    let dropped = life.end(random);
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(&directory).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().to_string_lossy().into_owned();
        let text = if entry.path().is_dir() { "/".into() } else { std::fs::read_to_string(entry.path()).unwrap() };
        found.insert(format!("{name}={text}"));
    }
    (found, dropped)
}

#[test]
fn what_no_sync_covers_is_gone_and_the_rest_is_there() {
    let work = tempfile::tempdir().unwrap();
    let layer = Layer::compile(work.path());
    let synced: BTreeSet<String> =
        ["grown=one", "cut=cutcut", "emptied=emptiedemptied", "a=aa", "b=bb", "removed=removedremoved"]
            .map(str::to_owned)
            .into();
    // Every order's prefix, and every torn write, that a disk may leave of a grown file.
    let grown = ["one", "onet", "onetw", "onetwo", "Onetwo"].map(|t| format!("grown={t}"));
    let mut whole = 0;
    let mut different = BTreeSet::new();
    for number in 0..64 {
        let mut random = Random::of(7, u64::try_from(number).unwrap());
        let drops_all = random.clone().below(2) == 0;
        let (found, dropped) = run(&layer, work.path(), number, &mut random);
        if drops_all {
            whole += 1;
            assert_eq!(found, synced);
            assert_eq!(dropped.unsynced, dropped.undone);
        } else {
            assert!(grown.iter().any(|g| found.contains(g)), "{found:?}");
            different.insert(found);
        }
    }
    assert!(whole > 16 && different.len() > 8, "{whole}, {different:?}");
}
