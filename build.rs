//! Compiles the wire contract with protox, so that no protoc need be installed.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let files = ["admin", "agreement", "catalog", "ledger", "negotiation", "read", "register"]
        .map(|name| format!("proto/perron/v1/{name}.proto"));
    for file in &files {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(&files, ["proto"])?;
    tonic_prost_build::configure().build_transport(false).compile_fds(descriptors)?;
    println!("cargo:rustc-env=PERRON_POLICY_ENGINE={}", policy_engine()?);
    Ok(())
}

/// What evaluates the policies, as the lock has it: a decision is repeated by module, input and this.
fn policy_engine() -> Result<String, Box<dyn Error>> {
    println!("cargo:rerun-if-changed=Cargo.lock");
    let lock = std::fs::read_to_string("Cargo.lock")?;
    let version = |name: &str| {
        let after = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?.1;
        Some(format!("{name} {}", after.split_once('"')?.0))
    };
    let named = ["opa-wasm", "wasmtime"].map(|name| version(name).ok_or(format!("the lock has no {name}")));
    Ok(named.into_iter().collect::<Result<Vec<_>, _>>()?.join(", "))
}
