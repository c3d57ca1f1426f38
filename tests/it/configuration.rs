//! The reference of the configuration names each key that is read, in both languages, and no other.

use crate::source::read;
use std::collections::BTreeMap;

/// The tables of the configuration, by the types that they are read into. An element of a list has
/// its rows where its table has.
const TABLES: &[(&str, &[&str])] = &[
    ("", &["Config"]),
    ("[listen]", &["Listen"]),
    ("[authority]", &["AuthorityAddress"]),
    ("[http]", &["Http", "OutsideLog"]),
    ("[[witness]]", &["Witness"]),
    ("[syslog]", &["Syslog"]),
    ("[erasure]", &["Erasure"]),
];
/// Tables and lists of them, which have sections of their own.
const SECTIONS: &[&str] = &["listen", "authority", "http", "witness", "syslog", "erasure"];

/// The fields of the types of `src/settings.rs`.
fn fields() -> BTreeMap<String, Vec<String>> {
    let file = syn::parse_file(&read("src/settings.rs")).unwrap();
    let fields = |item: &syn::Item| {
        let syn::Item::Struct(of) = item else { return None };
        let names = of.fields.iter().filter_map(|field| field.ident.as_ref()).map(ToString::to_string);
        Some((of.ident.to_string(), names.collect()))
    };
    file.items.iter().filter_map(fields).collect()
}

/// The keys of each section of a page.
fn shown(page: &str) -> BTreeMap<String, Vec<String>> {
    let (mut shown, mut section): (BTreeMap<String, Vec<String>>, _) = (BTreeMap::new(), String::new());
    for line in page.lines() {
        if let Some(title) = line.strip_prefix("## ") {
            title.trim_matches('`').clone_into(&mut section);
        } else if let Some(row) = line.strip_prefix("| `") {
            let (key, _) = row.split_once('`').unwrap();
            shown.entry(section.clone()).or_default().push(key.to_owned());
        }
    }
    shown
}

#[test]
fn the_reference_shows_every_key_of_the_configuration() {
    let fields = fields();
    let of = |names: &[&str]| -> Vec<String> {
        let all = names.iter().flat_map(|name| fields[*name].clone());
        all.filter(|key| names != ["Config"] || !SECTIONS.contains(&key.as_str())).collect()
    };
    let expected: BTreeMap<String, Vec<String>> =
        TABLES.iter().map(|(title, names)| ((*title).to_owned(), of(names))).collect();
    for page in ["docs/reference/configuration.md", "docs/reference/configuration.fr.md"] {
        assert_eq!(shown(&read(page)), expected, "{page}");
    }
}
