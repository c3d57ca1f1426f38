//! The Rego policies in wasm behind the gate's port (opa-wasm only here).
