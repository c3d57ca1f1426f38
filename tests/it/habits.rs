//! Habits that a reader of the source may rely on.

use crate::source::{File, shipped};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::spanned::Spanned;
use syn::visit::Visit;

const LINES_MAX: usize = 600;
/// The second verifier, and how it reads the formats: whoever trusts no program of ours reads both.
const VERIFIER: &[&str] = &[
    "tools/verify.py",
    "tools/evidence.py",
    "tools/erasure.py",
    "tools/keys.py",
    "tools/pruning.py",
    "tools/succession.py",
];
const VERIFIER_LINES_MAX: usize = 300;
const VERIFIER_COLUMNS_MAX: usize = 120;
/// All that they import: each other, Python's own library, and one package for Ed25519.
const VERIFIER_IMPORTS: &[&str] = &[
    "argparse",
    "base64",
    "contextlib",
    "cryptography",
    "datetime",
    "decimal",
    "erasure",
    "evidence",
    "functools",
    "hashlib",
    "io",
    "json",
    "keys",
    "pathlib",
    "pruning",
    "re",
    "struct",
    "succession",
    "sys",
    "tomllib",
    "types",
];
const MACROS: &[&str] = &["panic", "todo", "unimplemented", "unreachable", "dbg"];
const METHODS: &[&str] = &["unwrap", "expect", "unwrap_err", "expect_err", "unwrap_unchecked", "get_unchecked"];
/// Words before a bracket that don't make it an index.
const WORDS: &[&str] = &[
    "return", "in", "else", "match", "mut", "dyn", "as", "if", "break", "move", "ref", "const", "let", "impl", "where",
];
/// Where a program may wait for a time rather than for an event, and why.
const SLEEPS: &[(&str, &str)] = &[
    ("src/connector/tasks.rs", "what didn't arrive is sent again later and later"),
    ("src/connector/settling.rs", "a receipt that can't be had yet is asked for again later and later"),
    ("src/connector/streaming.rs", "a collector that can't be reached is dialled again later and later"),
    (
        "src/connector/witnessing.rs",
        "a witness is asked at most each few seconds, and one that is away later and later",
    ),
    ("src/connector/watching.rs", "a watch that broke begins again later and later"),
    ("src/api/flight/answer.rs", "a partner's line is shared by its bandwidth, message by message"),
    ("src/api/grpc/guard.rs", "a request that doesn't arrive whole in time is ended"),
    ("src/cli/following.rs", "an authority that is away is asked for its register again later and later"),
    (
        "src/cli/demo/story.rs",
        "the demonstration waits for an agreement to end, and says so; and for what comes into an inbox",
    ),
    ("src/connector/reconciling.rs", "an extract that broke off goes on a little later"),
];

struct Habits<'a> {
    file: &'a File,
    found: &'a mut Vec<String>,
}

impl Habits<'_> {
    fn tell(&mut self, what: &str, line: usize) {
        self.found.push(format!("{}:{line}: {what}", self.file.path));
    }

    fn name(&mut self, name: &str, line: usize) {
        if name == "sleep" && !SLEEPS.iter().any(|(path, _)| *path == self.file.path) {
            self.tell("sleep", line);
        }
    }

    /// What a macro is given is tokens until it is expanded.
    fn tokens(&mut self, tokens: TokenStream) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        for (at, token) in tokens.iter().enumerate() {
            let before = at.checked_sub(1).and_then(|b| tokens.get(b));
            let after = tokens.get(at + 1);
            match token {
                TokenTree::Ident(name) => {
                    let (text, line) = (name.to_string(), name.span().start().line);
                    let called = matches!(after, Some(TokenTree::Group(g)) if g.delimiter() == Delimiter::Parenthesis);
                    if called && is_punct(before, '.') && METHODS.contains(&text.as_str()) {
                        self.tell(&text, line);
                    }
                    if is_punct(after, '!') && MACROS.contains(&text.as_str()) {
                        self.tell(&text, line);
                    }
                    if called {
                        self.name(&text, line);
                    }
                }
                TokenTree::Group(group) => {
                    let full = group.stream().to_string() == "..";
                    if group.delimiter() == Delimiter::Bracket && indexed(&tokens, at) && !full {
                        self.tell("unchecked index", group.span_open().start().line);
                    }
                    self.tokens(group.stream());
                }
                _ => {}
            }
        }
    }
}

fn is_punct(token: Option<&TokenTree>, c: char) -> bool {
    matches!(token, Some(TokenTree::Punct(p)) if p.as_char() == c)
}

/// Whether what stands before a bracket is a value.
fn indexed(tokens: &[TokenTree], at: usize) -> bool {
    let before = |n: usize| at.checked_sub(n).and_then(|b| tokens.get(b));
    match before(1) {
        Some(TokenTree::Ident(name)) => !WORDS.contains(&name.to_string().as_str()) && !is_punct(before(2), '\''),
        Some(TokenTree::Group(group)) => !is_punct(before(2), '#') && group.delimiter() != Delimiter::Brace,
        Some(TokenTree::Punct(p)) => p.as_char() == '?',
        _ => false,
    }
}

impl<'a> Visit<'a> for Habits<'_> {
    fn visit_expr_method_call(&mut self, call: &'a syn::ExprMethodCall) {
        let (name, line) = (call.method.to_string(), call.method.span().start().line);
        if METHODS.contains(&name.as_str()) {
            self.tell(&name, line);
        }
        self.name(&name, line);
        syn::visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_path(&mut self, path: &'a syn::ExprPath) {
        // `Result::unwrap` handed over as a function, `tokio::time::sleep`.
        if let Some(last) = path.path.segments.last() {
            let (name, line) = (last.ident.to_string(), last.ident.span().start().line);
            if path.path.segments.len() > 1 && METHODS.contains(&name.as_str()) {
                self.tell(&name, line);
            }
            self.name(&name, line);
        }
        syn::visit::visit_expr_path(self, path);
    }

    fn visit_expr_index(&mut self, index: &'a syn::ExprIndex) {
        let all = matches!(&*index.index, syn::Expr::Range(r) if r.start.is_none() && r.end.is_none());
        if !all {
            self.tell("unchecked index", index.span().start().line);
        }
        syn::visit::visit_expr_index(self, index);
    }

    fn visit_macro(&mut self, call: &'a syn::Macro) {
        let name = call.path.segments.last().map(|s| s.ident.to_string()).unwrap_or_default();
        if MACROS.contains(&name.as_str()) {
            self.tell(&name, call.span().start().line);
        }
        self.tokens(call.tokens.clone());
    }
}

fn broken(file: &File) -> Vec<String> {
    let mut found = Vec::new();
    Habits { file, found: &mut found }.visit_file(&file.syntax);
    found
}

#[test]
fn nothing_that_can_fail_is_assumed() {
    let found: Vec<String> = shipped().iter().flat_map(broken).collect();
    assert!(found.is_empty(), "{} places:\n{}", found.len(), found.join("\n"));
}

#[test]
fn files_can_be_read_in_one_go() {
    let long: Vec<String> =
        shipped().iter().filter(|f| f.lines > LINES_MAX).map(|f| format!("{}: {} lines", f.path, f.lines)).collect();
    assert!(long.is_empty(), "over {LINES_MAX} lines:\n{}", long.join("\n"));
}

#[test]
fn every_place_that_may_sleep_still_does() {
    for (path, why) in SLEEPS {
        assert!(crate::source::read(path).contains("sleep("), "{path} no longer sleeps ({why}): take it off the list");
    }
}

/// The modules that a line of Python imports.
fn imported(line: &str) -> Vec<String> {
    let module = |name: &str| name.trim().split(['.', ' ']).next().unwrap_or_default().to_owned();
    match (line.strip_prefix("import "), line.strip_prefix("from ")) {
        (Some(names), _) => names.split(',').map(module).collect(),
        (_, Some(name)) => vec![module(name)],
        _ => Vec::new(),
    }
}

#[test]
fn the_second_verifier_can_be_read_by_an_auditor_and_shares_nothing() {
    for path in VERIFIER {
        let text = crate::source::read(path);
        let lines = text.lines().count();
        assert!(lines < VERIFIER_LINES_MAX, "{path}: {lines} lines");
        let wide: Vec<&str> = text.lines().filter(|l| l.chars().count() > VERIFIER_COLUMNS_MAX).collect();
        assert!(wide.is_empty(), "{path}: over {VERIFIER_COLUMNS_MAX} columns:\n{}", wide.join("\n"));
        let imports: Vec<String> = text.lines().flat_map(|l| imported(l.trim_start())).collect();
        let others: Vec<&String> = imports.iter().filter(|name| !VERIFIER_IMPORTS.contains(&name.as_str())).collect();
        assert!(!imports.is_empty() && others.is_empty(), "{path}: {others:?}");
        for trick in ["exec(", " eval(", "__import__", "zlib", "subprocess"] {
            assert!(!text.contains(trick), "{path}: `{trick}`: it is to be read, not only to be run");
        }
    }
    assert_eq!(imported("import re, json"), ["re", "json"]);
    assert_eq!(imported("from os.path import join"), ["os"]);
}

/// The test of the test: each habit is found where it is broken, and nothing where it isn't.
#[test]
fn broken_habits_are_found() {
    let of = |body: &str| {
        let text = format!("fn f(a: &[u8], m: &'a [u8]) -> [u8; 2] {{ {body} }}");
        broken(&File { path: "x.rs".into(), lines: 1, syntax: syn::parse_file(&text).unwrap() }).len()
    };
    for bad in [
        "a.first().unwrap()",
        "a.first().expect(\"b\")",
        "a.iter().map(Option::unwrap)",
        "panic!()",
        "todo!()",
        "unimplemented!()",
        "unreachable!()",
        "std::panic!()",
        "a[0]",
        "a[..2]",
        "&a[1..]",
        "f()[0]",
        "println!(\"{}\", a[0])",
        "json!({\"b\": a.first().unwrap()})",
        "vec![a[0]]",
        "matches!(a[0], 1)",
        "println!(\"{}\", x?[0])",
        "g!(f()[1])",
        "std::thread::sleep(d)",
        "tokio::time::sleep(d).await",
        "select! { _ = sleep(d) => {} }",
    ] {
        assert_eq!(of(bad), 1, "{bad}");
    }
    for good in [
        "a.get(0)",
        "vec![1, 2]",
        "&a[..]",
        "let b: [u8; 2] = [1, 2];",
        "json!({\"a\": [1]})",
        "matches!(a, [1, ..])",
        "a.unwrap_or(1)",
        "#[allow(x)] let _ = 1;",
        "for _ in [1] {}",
        "assert!(a.is_empty())",
        "g!(x: &'a [u8], return [1])",
    ] {
        assert_eq!(of(good), 0, "{good}");
    }
}
