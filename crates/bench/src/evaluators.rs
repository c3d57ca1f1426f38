//! One decision under an agreement of twenty rules, by the module in wasm that the gate loads, by
//! regorus, and by `opa run --server` over loopback HTTP: the same Rego, the same input as the gate
//! makes it, the same answer, turn by turn in one run.

use crate::figure::{Figure, Goal, Line, Seen, quantile};
use crate::size::Size;
use crate::{conditions, failed, micros, space};
use http::{Method, Request, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use perron::policy::Policies;
use perron_gate::Policy as _;
use perron_model::Result;
use perron_model::decision::{AccessInput, Verdict};
use serde_json::{Value as Json, json};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// Where the other evaluators are, and the Rego that they load.
#[derive(Clone, Debug, clap::Args)]
pub struct Others {
    /// The program of `tools/regorus`.
    #[arg(long, requires = "opa")]
    pub regorus: Option<PathBuf>,
    /// OPA.
    #[arg(long, requires = "regorus")]
    pub opa: Option<PathBuf>,
    /// The modules in Rego.
    #[arg(long, default_value = "policies")]
    pub policies: PathBuf,
}

/// How often OPA is asked whether it serves, at most.
const OPA_TRIES_MAX: usize = 200;
const OPA_WAIT: Duration = Duration::from_millis(50);
const MODULES: [&str; 2] = ["odrl.rego", "access.rego"];

/// The figure, by an input as the gate makes it.
pub async fn measure(input: &AccessInput, others: &Others, size: &Size) -> Result<Option<Figure>> {
    let (Some(regorus), Some(opa)) = (&others.regorus, &others.opa) else { return Ok(None) };
    let load = conditions::load();
    let policies = Policies::load_uncached()?;
    let text = serde_json::to_string(input).map_err(failed)?;
    if policies.access(input).await?.verdict != Verdict::Permit {
        return Err(failed("the read is not permitted"));
    }
    let answer = json!({"permit": true, "refused": []});
    let mut server = Opa::start(opa, &others.policies).await?;
    let (mut wasm, mut embedded, mut served) = (Vec::new(), Vec::new(), Vec::new());
    // The first round warms up.
    for round in 0..=size.rounds {
        let ours = here(&policies, input, size.decisions).await?;
        let theirs = in_regorus(regorus, &others.policies, &text, size.decisions, &answer)?;
        let over_http = server.ask(&text, size.decisions, &answer).await?;
        if round > 0 {
            wasm.push(ours);
            embedded.push(theirs);
            served.push(over_http);
        }
    }
    let of = |rounds: &[Vec<f64>], share| Seen::median(&rounds.iter().map(|r| quantile(r, share)).collect::<Vec<_>>());
    let ratio = |above: &[Vec<f64>], below: &[Vec<f64>]| {
        let each = above.iter().zip(below).map(|(a, b)| quantile(a, 0.5) / quantile(b, 0.5));
        Seen::median(&each.collect::<Vec<_>>())
    };
    let lines = vec![
        Line::new("wasm / regorus, p50", "ratio", ratio(&wasm, &embedded), Some(Goal::AtMost(3.0))),
        Line::new("OPA server / wasm, p50", "ratio", ratio(&served, &wasm), Some(Goal::AtLeast(10.0))),
        Line::new("wasm, p50", "µs", of(&wasm, 0.5), None),
        Line::new("wasm, p99", "µs", of(&wasm, 0.99), None),
        Line::new("regorus, p50", "µs", of(&embedded, 0.5), None),
        Line::new("regorus, p99", "µs", of(&embedded, 0.99), None),
        Line::new("OPA server, p50", "µs", of(&served, 0.5), None),
        Line::new("OPA server, p99", "µs", of(&served, 0.99), None),
    ];
    let what = "a decision of twenty rules, input in JSON to answer: the gate's module, regorus, OPA over HTTP";
    let samples = 3 * size.rounds * size.decisions;
    Ok(Some(Figure { name: "evaluators", what, lines, samples, load: [load, conditions::load()] }))
}

async fn here(policies: &Policies, input: &AccessInput, times: usize) -> Result<Vec<f64>> {
    let mut taken = Vec::with_capacity(times);
    for _ in 0..times {
        let begun = Instant::now();
        policies.access(input).await?;
        taken.push(micros(begun));
    }
    Ok(taken)
}

/// In a process of its own, which times each evaluation itself.
fn in_regorus(program: &Path, policies: &Path, input: &str, times: usize, answer: &Json) -> Result<Vec<f64>> {
    let mut child = Command::new(program)
        .arg(policies)
        .args(["time", &times.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| failed(format!("`{}`: {e}", program.display())))?;
    if let Some(mut to) = child.stdin.take() {
        writeln!(to, "{input}").map_err(failed)?;
    }
    let out = child.wait_with_output().map_err(failed)?;
    let told: Json = serde_json::from_slice(&out.stdout).map_err(failed)?;
    if told.get("answer") != Some(answer) {
        return Err(failed(format!("regorus answers otherwise: {told}")));
    }
    serde_json::from_value(told.get("micros").cloned().unwrap_or_default()).map_err(failed)
}

/// OPA as a server, and a connection to it that is kept.
struct Opa {
    child: Child,
    sender: http1::SendRequest<Full<Bytes>>,
    host: String,
}

impl Opa {
    async fn start(program: &Path, policies: &Path) -> Result<Opa> {
        let address = space::free_address()?;
        let child = Command::new(program)
            .args(["run", "--server", "--log-level=error", "--disable-telemetry"])
            .arg(format!("--addr={address}"))
            .args(MODULES.map(|name| policies.join(name)))
            .stdout(Stdio::null())
            .spawn()
            .map_err(|e| failed(format!("`{}`: {e}", program.display())))?;
        let mut child = Ended(Some(child));
        let mut ticks = tokio::time::interval(OPA_WAIT);
        for _ in 0..OPA_TRIES_MAX {
            ticks.tick().await;
            let Ok(stream) = TcpStream::connect(address).await else { continue };
            stream.set_nodelay(true).map_err(failed)?;
            let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
            tokio::spawn(connection);
            let child = child.0.take().ok_or_else(|| failed("OPA isn't there"))?;
            return Ok(Opa { child, sender, host: address.to_string() });
        }
        Err(failed("OPA doesn't serve"))
    }

    async fn ask(&mut self, input: &str, times: usize, answer: &Json) -> Result<Vec<f64>> {
        let body = Bytes::from(format!("{{\"input\":{input}}}"));
        let mut taken = Vec::with_capacity(times);
        for _ in 0..times {
            let request = Request::builder()
                .method(Method::POST)
                .uri("/v1/data/perron/access/decision")
                .header(header::HOST, &self.host)
                .header(header::CONTENT_TYPE, "application/json")
                .body(Full::new(body.clone()))
                .map_err(failed)?;
            let begun = Instant::now();
            self.sender.ready().await.map_err(failed)?;
            let told = self.sender.send_request(request).await.map_err(failed)?;
            let told = told.into_body().collect().await.map_err(failed)?.to_bytes();
            let told: Json = serde_json::from_slice(&told).map_err(failed)?;
            taken.push(micros(begun));
            if told.get("result") != Some(answer) {
                return Err(failed(format!("OPA answers otherwise: {told}")));
            }
        }
        Ok(taken)
    }
}

impl Drop for Opa {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process that ends with this, unless it is taken out.
struct Ended(Option<Child>);

impl Drop for Ended {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
