//! The project's own source as syntax, without what is compiled for tests alone.

use proc_macro2::{TokenStream, TokenTree};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use syn::{Attribute, Item, Meta};

/// A file of the source.
pub struct File {
    /// Path from the repository's root.
    pub path: String,
    pub lines: usize,
    /// Without `#[cfg(test)]` items and `#[test]` functions.
    pub syntax: syn::File,
}

pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

pub fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// All files with an extension below folders of the root.
pub fn paths(folders: &[&str], extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    for folder in folders {
        walk(&root().join(folder), extension, &mut found);
    }
    found.sort();
    found
}

fn walk(folder: &Path, extension: &str, found: &mut Vec<String>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|n| n != "target") {
                walk(&path, extension, found);
            }
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned());
        }
    }
}

/// The source that ships: `src` and the crates' `src`, without files that only tests compile.
pub fn shipped() -> Vec<File> {
    let all = paths(
        &[
            "src",
            "crates/model/src",
            "crates/log/src",
            "crates/gate/src",
            "crates/odrl/src",
            "crates/disclosure/src",
            "crates/verify/src",
            "crates/bench/src",
        ],
        "rs",
    );
    let crates = std::fs::read_dir(root().join("crates")).unwrap().count();
    assert_eq!(crates, 7, "a crate was added: name its source here");
    let mut files = Vec::new();
    let mut of_tests = BTreeSet::new();
    for path in all {
        let text = read(&path);
        let mut syntax = syn::parse_file(&text).unwrap_or_else(|e| panic!("{path}: {e}"));
        test_files(&path, &syntax.items, &mut of_tests);
        strip(&mut syntax.items);
        files.push(File { path, lines: text.lines().count(), syntax });
    }
    files.retain(|f| !of_tests.contains(&f.path));
    assert!(files.len() > 100, "the source wasn't found");
    files
}

/// Files that a `#[cfg(test)] mod …;` of `path` names.
fn test_files(path: &str, items: &[Item], found: &mut BTreeSet<String>) {
    let file = Path::new(path);
    let folder = file.parent().unwrap();
    let stem = file.file_stem().unwrap().to_str().unwrap();
    let own = if ["mod", "lib", "main"].contains(&stem) { folder.to_owned() } else { folder.join(stem) };
    for item in items {
        let Item::Mod(module) = item else { continue };
        if module.content.is_some() || !for_tests(&module.attrs) {
            continue;
        }
        let named = module.attrs.iter().find(|a| a.path().is_ident("path")).map(|a| literal(&a.meta));
        let candidates: Vec<PathBuf> = match named {
            Some(name) => vec![folder.join(name)],
            None => vec![own.join(format!("{}.rs", module.ident)), own.join(format!("{}/mod.rs", module.ident))],
        };
        found.extend(candidates.into_iter().map(|p| p.to_str().unwrap().to_owned()));
    }
}

fn literal(meta: &Meta) -> String {
    match meta {
        Meta::NameValue(syn::MetaNameValue {
            value: syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }),
            ..
        }) => text.value(),
        _ => panic!("an attribute `path` without a text"),
    }
}

/// `#[cfg(test)]`, exactly, or a test function's attribute.
fn for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|a| match &a.meta {
        Meta::List(list) if list.path.is_ident("cfg") => list.tokens.to_string() == "test",
        meta => is_test(meta.path()),
    })
}

/// Whether an attribute makes a function a test: `#[test]`, `#[tokio::test]`.
pub fn is_test(path: &syn::Path) -> bool {
    path.segments.last().is_some_and(|s| s.ident == "test")
}

/// Takes away what only tests compile.
fn strip(items: &mut Vec<Item>) {
    items.retain(|i| !item_for_tests(i));
    for item in items {
        match item {
            Item::Mod(module) => {
                if let Some((_, items)) = &mut module.content {
                    strip(items);
                }
            }
            Item::Impl(block) => block.items.retain(|i| !matches!(i, syn::ImplItem::Fn(f) if for_tests(&f.attrs))),
            _ => {}
        }
    }
}

fn item_for_tests(item: &Item) -> bool {
    for_tests(match item {
        Item::Const(i) => &i.attrs,
        Item::Enum(i) => &i.attrs,
        Item::Fn(i) => &i.attrs,
        Item::Impl(i) => &i.attrs,
        Item::Macro(i) => &i.attrs,
        Item::Mod(i) => &i.attrs,
        Item::Static(i) => &i.attrs,
        Item::Struct(i) => &i.attrs,
        Item::Trait(i) => &i.attrs,
        Item::Type(i) => &i.attrs,
        Item::Use(i) => &i.attrs,
        _ => return false,
    })
}

/// Paths that a stream of tokens writes, as far as their names go: `a::b::c`. Each with its line.
pub fn token_paths(tokens: TokenStream, found: &mut Vec<(Vec<String>, usize)>) {
    let mut current: Vec<String> = Vec::new();
    let mut line = 0;
    let mut colons = 0;
    for token in tokens {
        match token {
            TokenTree::Ident(name) => {
                if colons == 2 && !current.is_empty() {
                    current.push(name.to_string());
                } else {
                    end(&mut current, line, found);
                    line = name.span().start().line;
                    current.push(name.to_string());
                }
                colons = 0;
            }
            TokenTree::Punct(p) if p.as_char() == ':' => colons += 1,
            other => {
                end(&mut current, line, found);
                colons = 0;
                if let TokenTree::Group(group) = other {
                    token_paths(group.stream(), found);
                }
            }
        }
    }
    end(&mut current, line, found);
}

fn end(current: &mut Vec<String>, line: usize, found: &mut Vec<(Vec<String>, usize)>) {
    let path = std::mem::take(current);
    if path.len() > 1 {
        found.push((path, line));
    }
}
