//! Invariant 10: one dialer opens connections, and nothing else dials.

use crate::source::{File, shipped, token_paths};
use std::collections::BTreeSet;
use syn::visit::Visit;

const DIALER: &str = "src/trust/dialer.rs";
/// Types and functions that open a connection to an address, or turn a name into one.
const DIALS: &[&str] = &[
    "UdpSocket",
    "TcpSocket",
    "ToSocketAddrs",
    "lookup_host",
    "to_socket_addrs",
    "connect_lazy",
    "HttpConnector",
    "GaiResolver",
];
/// What may connect elsewhere: the program's own local socket.
const LOCAL: &[(&str, &str)] =
    &[("src/cli/client.rs", "tokio::net::UnixStream::connect"), ("src/cli/query.rs", "client::connect")];

#[derive(Default)]
struct Calls(Vec<(String, usize)>);

impl<'a> Visit<'a> for Calls {
    fn visit_path(&mut self, path: &'a syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|s| s.ident.to_string()).collect();
        self.0.push((names.join("::"), path.segments.first().map_or(0, |s| s.ident.span().start().line)));
        syn::visit::visit_path(self, path);
    }
    fn visit_expr_method_call(&mut self, call: &'a syn::ExprMethodCall) {
        // `Endpoint::connect` of tonic takes nothing: it dials by itself.
        let own = call.method == "connect" && call.args.is_empty();
        let name = if own { "endpoint::connect".to_owned() } else { call.method.to_string() };
        self.0.push((name, call.method.span().start().line));
        syn::visit::visit_expr_method_call(self, call);
    }
    fn visit_use_name(&mut self, name: &'a syn::UseName) {
        self.0.push((name.ident.to_string(), name.ident.span().start().line));
    }
    fn visit_use_rename(&mut self, name: &'a syn::UseRename) {
        self.0.push((name.ident.to_string(), name.ident.span().start().line));
    }
    fn visit_macro(&mut self, call: &'a syn::Macro) {
        let mut paths = Vec::new();
        token_paths(call.tokens.clone(), &mut paths);
        self.0.extend(paths.into_iter().map(|(p, line)| (p.join("::"), line)));
    }
}

fn dialled(file: &File) -> BTreeSet<String> {
    let mut calls = Calls::default();
    calls.visit_file(&file.syntax);
    let dials = |name: &str| {
        name.ends_with("::connect")
            || name.ends_with("::connect_timeout")
            || name.split("::").any(|part| DIALS.contains(&part))
    };
    let local = |name: &str| LOCAL.contains(&(file.path.as_str(), name));
    calls
        .0
        .into_iter()
        .filter(|(n, _)| dials(n) && !local(n))
        .map(|(n, line)| format!("{}:{line}: `{n}`", file.path))
        .collect()
}

#[test]
fn no_phoning_home() {
    // The load program is installed nowhere; it dials the program that it measures.
    let files: Vec<File> = shipped().into_iter().filter(|f| !f.path.starts_with("crates/bench/")).collect();
    let (dialer, others): (Vec<&File>, Vec<&File>) = files.iter().partition(|f| f.path == DIALER);
    assert!(dialer.iter().any(|f| !dialled(f).is_empty()), "the dialer is elsewhere now: name it here");
    let found: BTreeSet<String> = others.into_iter().flat_map(dialled).collect();
    assert!(found.is_empty(), "{}", found.into_iter().collect::<Vec<_>>().join("\n"));
}

/// The test of the test.
#[test]
fn other_dialling_is_found() {
    let of = |body: &str| {
        dialled(&File {
            path: "src/api/x.rs".into(),
            lines: 1,
            syntax: syn::parse_file(&format!("fn f() {{ {body} }}")).unwrap(),
        })
        .len()
    };
    for bad in [
        "TcpStream::connect(a)",
        "std::net::TcpStream::connect_timeout(a, b)",
        "XClient::connect(a).await",
        "Endpoint::from_static(a).connect().await",
        "endpoint.connect_lazy()",
        "UdpSocket::bind(a)",
        "use std::net::ToSocketAddrs;",
        "join!(TcpStream::connect(a))",
    ] {
        assert_eq!(of(bad), 1, "{bad}");
    }
    assert_eq!(of("endpoint.connect_timeout(limit).connect_with_connector_lazy(dialer); TcpListener::bind(a)"), 0);
}
