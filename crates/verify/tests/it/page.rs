//! The reference pages tell of each kind of finding, by its name, outcome and sentence.

use perron_log::FindingKind;
use perron_verify::words::{Lang, sentence};

fn check(page: &str, lang: Lang) {
    let rows: Vec<Vec<&str>> = page
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect::<Vec<&str>>())
        .filter(|row| row.len() == 4)
        .collect();
    assert_eq!(rows.len(), FindingKind::ALL.len());
    for (row, kind) in rows.iter().zip(FindingKind::ALL) {
        let [name, outcome, said, meaning] = row.as_slice() else { panic!("{row:?} has not four columns") };
        assert_eq!(*name, format!("`{}`", kind.name()));
        assert_eq!(*outcome, format!("`{}`", kind.outcome().name()), "{kind}");
        assert_eq!(*said, sentence(kind, lang), "{kind}");
        assert!(meaning.len() > 40, "{kind}");
    }
}

#[test]
fn the_english_page_is_the_catalogue() {
    check(include_str!("../../../../docs/reference/findings.md"), Lang::En);
}

#[test]
fn the_french_page_is_the_catalogue() {
    check(include_str!("../../../../docs/reference/findings.fr.md"), Lang::Fr);
}
