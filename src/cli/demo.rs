//! `perron demo`.
use crate::cli::{Output, args::DemoArgs};
pub fn run(_: &DemoArgs, _: &Output) -> perron_model::Result<()> { Ok(()) }
