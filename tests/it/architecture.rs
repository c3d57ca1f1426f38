//! The map says what is there: docs/ARCHITECTURE.md.

use crate::source::{is_test, paths, read, root};
use std::collections::BTreeSet;
use syn::visit::Visit;

/// What stands in backticks.
fn quoted(text: &str) -> Vec<&str> {
    text.split('`').skip(1).step_by(2).collect()
}

fn section<'a>(text: &'a str, title: &str) -> &'a str {
    let begin = text.find(&format!("\n## {title}\n")).unwrap_or_else(|| panic!("no section `{title}`"));
    let rest = text.get(begin + 1..).unwrap();
    rest.find("\n## ").and_then(|end| rest.get(..end)).unwrap_or(rest)
}

#[test]
fn the_maps_paths_exist() {
    let map = read("docs/ARCHITECTURE.md");
    for title in ["Rooms", "How a read flows", "Where likely changes go"] {
        for path in quoted(section(&map, title)) {
            // Within a row, `grpc/` is said of the row's room.
            let is_path = path.trim_end_matches('/').contains('/') && !path.contains(' ') && !path.contains(':');
            assert!(!is_path || root().join(path).exists(), "{title}: `{path}` doesn't exist");
        }
    }
    let changes = section(&map, "Where likely changes go").lines().filter(|l| l.starts_with("| ") && l.contains('`'));
    let mut count = 0;
    for change in changes {
        count += 1;
        assert!(quoted(change).iter().any(|p| p.contains('/')), "no path: {change}");
    }
    assert!(count >= 15, "{count} likely changes");
}

struct Tests<'a>(&'a mut BTreeSet<String>);

impl<'a> Visit<'a> for Tests<'_> {
    /// A module of tests is a test of its name.
    fn visit_item_mod(&mut self, module: &'a syn::ItemMod) {
        let mut inner = BTreeSet::new();
        syn::visit::visit_item_mod(&mut Tests(&mut inner), module);
        if !inner.is_empty() {
            self.0.insert(module.ident.to_string());
        }
        self.0.extend(inner);
    }
    fn visit_item_fn(&mut self, function: &'a syn::ItemFn) {
        if function.attrs.iter().any(|a| is_test(a.path())) {
            self.0.insert(function.sig.ident.to_string());
        }
        syn::visit::visit_item_fn(self, function);
    }
    fn visit_macro(&mut self, call: &'a syn::Macro) {
        // `proptest! { #[test] fn name(…) … }`
        if call.path.segments.last().is_some_and(|s| s.ident == "proptest") {
            let words: Vec<String> = call.tokens.clone().into_iter().map(|t| t.to_string()).collect();
            self.0.extend(words.windows(2).filter(|w| w[0] == "fn").map(|w| w[1].clone()));
        }
    }
}

#[test]
fn every_invariant_has_a_test_of_its_name() {
    let mut tests = BTreeSet::new();
    for path in paths(&["src", "crates", "tests"], "rs") {
        let file = syn::parse_file(&read(&path)).unwrap_or_else(|e| panic!("{path}: {e}"));
        Tests(&mut tests).visit_file(&file);
    }
    let map = read("docs/ARCHITECTURE.md");
    let invariants: Vec<&str> = section(&map, "Invariants").lines().filter(|l| l.starts_with("**Invariant")).collect();
    assert!(invariants.len() >= 11, "{} invariants", invariants.len());
    let mut missing = Vec::new();
    for invariant in invariants {
        let (_, after) = invariant.rsplit_once("Test: ").unwrap_or_else(|| panic!("no test is named: {invariant}"));
        let names = quoted(after);
        assert!(!names.is_empty(), "no test is named: {invariant}");
        missing.extend(names.into_iter().filter(|n| !tests.contains(*n)).map(str::to_owned));
    }
    assert!(missing.is_empty(), "invariants without a test of their name: {}", missing.join(", "));
}
