//! The published formats are what is written: `docs/reference/entry.cddl`, by which the second
//! verifier reads entries, has the kinds, fields, numbers, types and options of `crates/model`.

use crate::source::read;
use std::collections::BTreeMap;
use syn::{Attribute, Fields, GenericArgument, Item, PathArguments, Type};

/// A field: its number, name, type, and whether it may be absent.
type Field = (u64, String, String, bool);

/// The number in `#[n(3)]`, `#[cbor(n(3), …)]`.
fn number(attributes: &[Attribute]) -> Option<u64> {
    let of = |a: &Attribute| match &a.meta {
        syn::Meta::List(list) if list.path.is_ident("n") || list.path.is_ident("cbor") => {
            let text = list.tokens.to_string();
            text.chars()
                .skip_while(|c| !c.is_ascii_digit())
                .take_while(char::is_ascii_digit)
                .collect::<String>()
                .parse()
                .ok()
        }
        _ => None,
    };
    attributes.iter().find_map(of)
}

/// The name of a type and those of its arguments: `Option<Vec<String>>` is `Option`, `Vec`, `String`.
fn names(of: &Type) -> Vec<String> {
    let Type::Path(path) = of else { return Vec::new() };
    let last = path.path.segments.last().unwrap();
    let mut found = vec![last.ident.to_string()];
    if let PathArguments::AngleBracketed(arguments) = &last.arguments {
        for argument in &arguments.args {
            if let GenericArgument::Type(inner) = argument {
                found.extend(names(inner));
            }
        }
    }
    found
}

/// A type in CDDL, and whether it may be absent.
fn published(of: &Type) -> (String, bool) {
    let names = names(of);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let (optional, names) = match names.as_slice() {
        ["Option", rest @ ..] => (true, rest),
        all => (false, all),
    };
    let text = match names {
        ["u8"] => "1",
        ["u64"] => "uint",
        ["bool"] => "bool",
        ["String"] => "tstr",
        ["Digest"] => "digest",
        ["Timestamp"] => "time",
        ["OutcomeStatus"] => "status",
        ["ChainPosition"] => "chain",
        ["Body"] => "body",
        ["Blind" | "ByteVec"] => "bytes .size 16",
        ["Vec", "String"] => "[* tstr]",
        ["Vec", "Digest"] => "[* digest]",
        ["Vec", "Span"] => "[* span]",
        ["BTreeMap", "String", "Digest"] => "{* tstr => digest}",
        ["BTreeMap", "String", "u64"] => "{* tstr => uint}",
        other => panic!("{other:?} has no type in docs/reference/entry.cddl: teach it here, and tools/verify.py"),
    };
    (text.to_owned(), optional)
}

fn kebab(name: &str) -> String {
    let dashed =
        |(at, c): (usize, char)| (at > 0 && c.is_uppercase()).then_some('-').into_iter().chain(c.to_lowercase());
    name.chars().enumerate().flat_map(dashed).collect()
}

/// Kinds of bodies by number, and the fields of each map, as the source has them.
fn written() -> (BTreeMap<u64, String>, BTreeMap<String, Vec<Field>>) {
    let (mut kinds, mut maps) = (BTreeMap::new(), BTreeMap::new());
    let paths = ["entry.rs", "entry/bodies.rs", "entry/reads.rs"].map(|file| format!("crates/model/src/{file}"));
    for path in &paths {
        for item in syn::parse_file(&read(path)).unwrap().items {
            match item {
                Item::Enum(e) if e.ident == "Body" => {
                    kinds.extend(e.variants.iter().map(|v| (number(&v.attrs).unwrap(), kebab(&v.ident.to_string()))));
                }
                Item::Struct(s) if s.attrs.iter().any(|a| a.path().is_ident("cbor")) => {
                    let Fields::Named(named) = &s.fields else { continue };
                    let field = |f: &syn::Field| {
                        let (text, optional) = published(&f.ty);
                        (number(&f.attrs).unwrap(), f.ident.as_ref().unwrap().to_string(), text, optional)
                    };
                    let name = kebab(&s.ident.to_string()).replace("chain-position", "chain");
                    maps.insert(name, named.named.iter().map(field).collect());
                }
                _ => {}
            }
        }
    }
    (kinds, maps)
}

/// The same as the page has them: `  ? 8: tstr,  ; name of attachment 1 = 1.name: words`.
fn told(page: &str) -> (BTreeMap<u64, String>, BTreeMap<String, Vec<Field>>) {
    let (mut kinds, mut maps) = (BTreeMap::new(), BTreeMap::new());
    let mut map: Option<(String, Vec<Field>)> = None;
    for line in page.lines() {
        if let Some(kind) = line.split_once('[').filter(|_| line.starts_with(['b', ' '])).and_then(|(_, rest)| {
            let (number, name) = rest.strip_suffix("]]")?.split_once(", [")?;
            Some((number.parse().ok()?, name.to_owned()))
        }) {
            kinds.extend([kind]);
        } else if let Some((name, _)) = line.split_once(" = {") {
            map = Some((name.to_owned(), Vec::new()));
        } else if line == "}" {
            maps.extend(map.take());
        } else if let Some((_, fields)) = &mut map {
            let (rule, words) = line.split_once(';').unwrap();
            let (place, text) = rule.trim().split_once(": ").unwrap();
            let name = words.trim().split([' ', ':']).next().unwrap();
            let optional = place.starts_with("? ");
            let place = place.trim_start_matches("? ").parse().unwrap();
            fields.push((place, name.to_owned(), text.trim().trim_end_matches(',').to_owned(), optional));
        }
    }
    (kinds, maps)
}

#[test]
fn entries_are_published_as_they_are_written() {
    let (kinds, maps) = told(&read("docs/reference/entry.cddl"));
    let (written_kinds, written_maps) = written();
    assert_eq!(kinds, written_kinds);
    assert_eq!(maps.keys().collect::<Vec<_>>(), written_maps.keys().collect::<Vec<_>>());
    for (name, fields) in &written_maps {
        assert_eq!(&maps[name], fields, "{name}");
        let places: Vec<u64> = fields.iter().map(|f| f.0).collect();
        assert_eq!(places, (0..fields.len() as u64).collect::<Vec<_>>(), "{name}: no number is left out");
    }
}

#[test]
fn every_kind_of_attachment_is_bound_by_a_field() {
    let page = read("docs/reference/entry.cddl");
    for kind in (1..).map_while(perron_model_kind) {
        let bound = format!(" of attachment {kind}");
        let is_bound = page.lines().any(|l| l.split_once(&bound).is_some_and(|(_, rest)| rest.starts_with([':', ' '])));
        assert!(is_bound, "no field of docs/reference/entry.cddl binds attachments of kind {kind}");
    }
}

fn perron_model_kind(kind: u16) -> Option<u16> {
    perron_model::entry::AttachmentKind::from_u16(kind).map(|_| kind)
}
