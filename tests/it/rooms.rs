//! The order of the rooms: each uses only rooms above it (docs/ARCHITECTURE.md).

use crate::source::{File, read, shipped, token_paths};
use std::collections::BTreeSet;
use syn::visit::Visit;

/// From the top. Rooms on one line don't use each other's callers.
const ORDER: &[&str] = &[
    "files",
    "phases",
    "messages",
    "settings",
    "trust",
    "policy",
    "store",
    "vault",
    "ledger",
    "source",
    "query",
    "export",
    "connector",
    "page",
    "sovereignty",
    "api",
    "cli",
];

/// Rooms that the map doesn't show: one to come, and one function.
const UNMAPPED: &[&str] = &["sovereignty", "files"];

/// A library and the only rooms that know it.
const LIBRARIES: &[(&[&str], &[&str])] = &[
    (&["josekit", "openssl"], &["trust"]),
    (&["rustls", "tokio_rustls", "rcgen", "x509_parser", "webpki"], &["trust"]),
    (&["opa_wasm", "wasmtime"], &["policy"]),
    (&["sled"], &["store"]),
    (&["aws_lc_rs"], &["trust", "vault"]),
    (&["datafusion", "parquet"], &["source", "query", "export"]),
    (&["tonic", "tonic_types", "tonic_health", "tonic_prost", "arrow_flight", "prost", "prost_types"], &["api", "cli"]),
    (&["clap", "indicatif"], &["cli"]),
    (&["minijinja"], &["page"]),
    (&["perron_odrl"], &["cli"]),
    // RDF is a matter of `crates/odrl`.
    (&["oxrdf", "oxttl"], &[]),
];

/// What is allowed all the same: the file, what it names (a prefix of the path), and why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[];

/// What a crate may use of ours.
const CRATES: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("log", &[]),
    ("gate", &["model"]),
    ("odrl", &["model"]),
    ("disclosure", &["model"]),
    ("verify", &["model", "log"]),
    ("bench", &["model", "log", "gate"]),
];

fn room(path: &str) -> Option<String> {
    let rest = path.strip_prefix("src/")?;
    let room = rest.split('/').next()?.trim_end_matches(".rs");
    // `main` reads the command line and hands over.
    let room = if room == "main" { "cli" } else { room };
    Some(room.to_owned())
}

fn rank(room: &str) -> Option<usize> {
    ORDER.iter().position(|r| *r == room)
}

/// Every path that a file writes, `use` trees unfolded.
fn named(file: &File) -> Vec<(Vec<String>, usize)> {
    let mut paths = Paths(Vec::new());
    paths.visit_file(&file.syntax);
    paths.0
}

struct Paths(Vec<(Vec<String>, usize)>);

impl<'a> Visit<'a> for Paths {
    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        unfold(&item.tree, &mut Vec::new(), &mut self.0);
    }
    fn visit_path(&mut self, path: &'a syn::Path) {
        let line = path.segments.first().map_or(0, |s| s.ident.span().start().line);
        self.0.push((path.segments.iter().map(|s| s.ident.to_string()).collect(), line));
        syn::visit::visit_path(self, path);
    }
    fn visit_macro(&mut self, call: &'a syn::Macro) {
        self.visit_path(&call.path);
        token_paths(call.tokens.clone(), &mut self.0);
    }
}

fn unfold(tree: &syn::UseTree, before: &mut Vec<String>, found: &mut Vec<(Vec<String>, usize)>) {
    match tree {
        syn::UseTree::Path(path) => {
            before.push(path.ident.to_string());
            unfold(&path.tree, before, found);
            before.pop();
        }
        syn::UseTree::Group(group) => group.items.iter().for_each(|t| unfold(t, before, found)),
        syn::UseTree::Name(syn::UseName { ident }) | syn::UseTree::Rename(syn::UseRename { ident, .. }) => {
            let mut whole = before.clone();
            whole.push(ident.to_string());
            found.push((whole, ident.span().start().line));
        }
        syn::UseTree::Glob(glob) => {
            found.push((before.clone(), glob.star_token.spans.first().map_or(0, |s| s.start().line)))
        }
    }
}

/// Violations, without those that are allowed; and the exceptions that were needed.
fn judged(files: &[File]) -> (BTreeSet<String>, BTreeSet<usize>) {
    let (mut found, mut needed) = (BTreeSet::new(), BTreeSet::new());
    for file in files {
        let Some(own) = room(&file.path) else { continue };
        // `lib` names all rooms, below everything.
        let own_rank = rank(&own).unwrap_or(ORDER.len());
        assert!(own_rank < ORDER.len() || own == "lib", "`{own}` is a new room: give it a place in the order");
        for (path, line) in named(file) {
            let whole = path.join("::");
            let wrong = match path.first().map(String::as_str) {
                Some("crate" | "perron") => {
                    path.get(1).and_then(|r| rank(r)).filter(|r| *r > own_rank).map(|_| "an upward arrow")
                }
                Some(library) => LIBRARIES
                    .iter()
                    .find(|(l, _)| l.contains(&library))
                    .filter(|(_, rooms)| !rooms.contains(&own.as_str()))
                    .map(|_| "a library of another room"),
                None => None,
            };
            let Some(wrong) = wrong else { continue };
            match EXCEPTIONS.iter().position(|(p, prefix, _)| *p == file.path && whole.starts_with(prefix)) {
                Some(exception) => drop(needed.insert(exception)),
                None => drop(found.insert(format!("{}:{line}: `{whole}`: {wrong}", file.path))),
            }
        }
    }
    (found, needed)
}

#[test]
fn rooms_use_only_rooms_above() {
    let (found, needed) = judged(&shipped());
    assert!(found.is_empty(), "{}", found.into_iter().collect::<Vec<_>>().join("\n"));
    for (at, (path, what, why)) in EXCEPTIONS.iter().enumerate() {
        assert!(needed.contains(&at), "{path} no longer needs `{what}` ({why}): take it off the list");
    }
}

#[test]
fn crates_use_only_crates_above() {
    for (name, allowed) in CRATES {
        let manifest: toml::Table = toml::from_str(&read(&format!("crates/{name}/Cargo.toml"))).unwrap();
        let used: Vec<&str> = manifest
            .get("dependencies")
            .and_then(|d| d.as_table())
            .into_iter()
            .flat_map(|d| d.keys())
            .filter_map(|k| k.strip_prefix("perron-"))
            .collect();
        let wrong: Vec<&&str> = used.iter().filter(|u| !allowed.contains(u)).collect();
        assert!(wrong.is_empty(), "crates/{name} uses {wrong:?}");
        assert!(!manifest.contains_key("target"), "crates/{name}: dependencies by target aren't read by this test");
    }
}

/// The order here and the table of ARCHITECTURE are one.
#[test]
fn the_order_is_the_maps() {
    let map = read("docs/ARCHITECTURE.md");
    let places: Vec<(usize, &str)> = ORDER
        .iter()
        .filter(|r| !UNMAPPED.contains(r))
        .map(|r| {
            let at = ["/`", ".rs`"].iter().find_map(|end| map.find(&format!("`src/{r}{end}")));
            (at.unwrap_or_else(|| panic!("the map has no row of `{r}`")), *r)
        })
        .collect();
    let rows: Vec<&str> = map.lines().filter(|l| l.starts_with("| `")).collect();
    let row = |r: &str| {
        rows.iter().position(|l| l.contains(&format!("`src/{r}/`")) || l.contains(&format!("`src/{r}.rs`"))).unwrap()
    };
    for pair in places.windows(2) {
        assert!(row(pair[0].1) <= row(pair[1].1), "`{}` and `{}`", pair[0].1, pair[1].1);
    }
}

/// The test of the test.
#[test]
fn upward_arrows_are_found() {
    let of = |path: &str, text: &str| {
        judged(&[File { path: path.into(), lines: 1, syntax: syn::parse_file(text).unwrap() }]).0.len()
    };
    assert_eq!(of("src/store/mod.rs", "use crate::{trust::keys, query::run};"), 1);
    assert_eq!(of("src/store/mod.rs", "fn f() { crate::api::g() }"), 1);
    assert_eq!(of("src/store/mod.rs", "fn f() { println!(\"{}\", crate::api::g()) }"), 1);
    assert_eq!(of("src/trust/jws.rs", "use josekit::jws; fn f() { crate::settings::g() }"), 0);
    assert_eq!(of("src/ledger/x.rs", "use sled::Db;"), 1);
    assert_eq!(of("src/query/x.rs", "fn f() -> josekit::A {}"), 1);
}
