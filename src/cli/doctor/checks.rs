//! What is looked at, in the order in which a start would need it.

use super::{Finding, Process, Seen, seen};
use crate::cli::client::SOCKET;
use crate::cli::init::{self, CA, CERTIFICATE};
use crate::cli::serve::require_restored;
use crate::connector::authority::REGISTER_FILE;
use crate::connector::rotation::log_keys;
use crate::connector::witness::{Kept, outside_logs};
use crate::connector::witnessing::read_policy;
use crate::ledger::{SystemClock, free_bytes};
use crate::settings::Config;
use crate::store::Store;
use crate::trust::collector::Collector;
use crate::trust::keyring::Keyring;
use crate::trust::keys::KeySet;
use crate::trust::register::VerifiedRegister;
use crate::trust::tls::{TlsIdentity, install_provider};
use crate::trust::witnesses::WitnessAddress;
use perron_gate::Clock;
use perron_log::{Layout, Log, OsFiles, Survey};
use perron_model::entry::Entry;
use perron_model::limits::{CERTIFICATE_LIFE_S, DISK_RESERVE_BYTES};
use perron_model::participant::Participant;
use perron_model::register::SignedRegister;
use perron_model::succession::generation_of;
use perron_model::{Error, ErrorCode, Result, Timestamp};
use serde_json::Value as Json;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

/// Free space below which a warning is due, in bytes.
const DISK_LOW_BYTES: u64 = 8 * DISK_RESERVE_BYTES;
/// Bytes of a Unix socket's path, with the zero at its end (unix(7)).
const SOCKET_PATH_BYTES_MAX: usize = 108;
/// A certificate with less than a third of its life left renews itself, in milliseconds.
const RENEWAL_LEFT_MS: i64 = CERTIFICATE_LIFE_S * 1000 / 3;
/// How far the newest entry may be ahead of the clock, in milliseconds: as the log's writer has it.
const AHEAD_MS_MAX: i64 = 1_000;

/// All checks; those that need what can't be used say so.
pub fn all(directory: &Path, process: &Process, findings: &mut Vec<Finding>) {
    let now = SystemClock.now();
    let config = take(findings, "configuration", Config::load(directory), |c| {
        seen("configuration", [("participant", c.participant.to_string()), ("space", c.space.to_string())])
    });
    let keys = take(findings, "keys", keys(directory), |_| seen("keys", []));
    let (Some(config), Some(keys)) = (config, keys) else {
        for check in ["certificate", "register", "log", "clock", "ports"] {
            findings.push(Finding::warning(check, "not_checked", seen("unusable", [])));
        }
        disk(directory, findings);
        socket(directory, process, findings);
        return;
    };
    certificate(directory, &config, &keys, now, findings);
    let register = register(directory, &config, process, now, findings);
    let newest = register.and_then(|register| log(directory, &config, &keys, &register, process, findings));
    clock(newest, now, findings);
    disk(directory, findings);
    ports(&config, process, findings);
    socket(directory, process, findings);
    stream(directory, &config, process, findings);
    witnesses(directory, &config, process, findings);
    reconciliations(process, findings);
}

fn take<T>(
    findings: &mut Vec<Finding>,
    check: &'static str,
    found: Result<T>,
    words: impl FnOnce(&T) -> Seen,
) -> Option<T> {
    match found {
        Ok(value) => {
            findings.push(Finding::fine(check, words(&value)));
            Some(value)
        }
        Err(error) => {
            findings.push(Finding::error(check, error));
            None
        }
    }
}

fn keys(directory: &Path) -> Result<Arc<KeySet>> {
    let keys = directory.join("keys");
    crate::trust::keys::require_private(&keys, crate::connector::node::MASK_SECRET)?;
    KeySet::load(&keys).map(Arc::new)
}

fn certificate(directory: &Path, config: &Config, keys: &KeySet, now: Timestamp, findings: &mut Vec<Finding>) {
    const CHECK: &str = "certificate";
    install_provider();
    let trust = directory.join("trust");
    let loaded = TlsIdentity::load(&config.space, &trust.join(CERTIFICATE), keys.tls(), &trust.join(CA));
    let identity = match loaded {
        Ok(identity) if *identity.participant() == config.participant => identity,
        Ok(_) => {
            let seen = seen("certificate_of_another", [("participant", config.participant.to_string())]);
            return findings.push(Finding::problem(CHECK, ErrorCode::CertificateInvalid.as_str(), seen));
        }
        Err(error) => return findings.push(Finding::error(CHECK, error)),
    };
    let until = seen("certificate", [("until", identity.not_after().to_string())]);
    let left_ms = identity.not_after().millis().saturating_sub(now.millis());
    findings.push(match left_ms {
        ..=0 => Finding::problem(CHECK, "certificate_expired", until),
        1..RENEWAL_LEFT_MS => Finding::warning(CHECK, "certificate_due", until),
        _ => Finding::fine(CHECK, until),
    });
}

/// The register that is kept, if it verifies; a running process follows the authority's.
fn register(
    directory: &Path,
    config: &Config,
    process: &Process,
    now: Timestamp,
    findings: &mut Vec<Finding>,
) -> Option<VerifiedRegister> {
    const CHECK: &str = "register";
    let read = || -> Result<VerifiedRegister> {
        let unreadable = || Error::new(ErrorCode::RegisterInvalid, "`trust/register.json` is not a register");
        let key = init::read_authority_key(directory)?;
        let bytes = std::fs::read(directory.join("trust").join(REGISTER_FILE)).map_err(|_| unreadable())?;
        let signed: SignedRegister = serde_json::from_slice(&bytes).map_err(|_| unreadable())?;
        VerifiedRegister::verify(&signed, &key, None)
    };
    let register = match read() {
        Ok(register) => register,
        Err(error) => {
            findings.push(Finding::error(CHECK, error));
            return None;
        }
    };
    let facts = [
        ("version", register.version().to_string()),
        ("issued", register.payload().issued.to_string()),
        ("use_before", register.payload().use_before.to_string()),
    ];
    let detail = seen("register", facts);
    let stale = ErrorCode::RegisterStale.as_str();
    let running = matches!(process, Process::Running(_));
    findings.push(if register.is_ahead_of(now) {
        Finding::problem(CHECK, ErrorCode::ClockJump.as_str(), detail)
    } else {
        match register
            .participant(&config.participant)
            .map(|own| own.require_in_force(now.max(register.payload().issued)))
        {
            None => {
                let seen = seen("register_without", [("participant", config.participant.to_string())]);
                Finding::problem(CHECK, ErrorCode::ParticipantUnknown.as_str(), seen)
            }
            Some(Err(error)) => Finding::error(CHECK, error),
            Some(Ok(())) if !register.is_fresh(now) && running => Finding::problem(CHECK, stale, detail),
            // A start gets a newer one from the authority, or signs it.
            Some(Ok(())) if !register.is_fresh(now) => Finding::warning(CHECK, stale, detail),
            Some(Ok(())) if register.half_used(now) && running => Finding::warning(CHECK, "register_half_used", detail),
            Some(Ok(())) => Finding::fine(CHECK, detail),
        }
    });
    Some(register)
}

/// The log's end, cheaply: the whole of it is `perron-verify`'s. Gives the newest entry's time.
fn log(
    directory: &Path,
    config: &Config,
    keys: &Arc<KeySet>,
    register: &VerifiedRegister,
    process: &Process,
    findings: &mut Vec<Finding>,
) -> Option<Timestamp> {
    const CHECK: &str = "log";
    if let Process::Running(status) = process {
        // Nobody but its writer reads the end of a log that is being written.
        let entries = status.get("entries").and_then(Json::as_u64).unwrap_or_default();
        let published = status.get("published").and_then(Json::as_u64).unwrap_or_default();
        let facts = [("entries", entries.to_string()), ("published", published.to_string())];
        findings.push(Finding::fine(CHECK, seen("log_running", facts)));
        if let Some(at) = status.pointer("/scrubbed/at").and_then(Json::as_str) {
            let number = |name: &str| status.pointer(name).and_then(Json::as_u64).unwrap_or_default().to_string();
            let facts = [
                ("at", at.to_owned()),
                ("entries", number("/scrubbed/entries")),
                ("mended", number("/scrubbed/mended")),
            ];
            findings.push(Finding::fine(CHECK, seen("log_scrubbed", facts)));
        }
        return status.get("newest").and_then(Json::as_str).and_then(|t| Timestamp::parse(t).ok());
    }
    if matches!(process, Process::Unknown) {
        findings.push(Finding::warning(CHECK, "not_checked", seen("log_held", [])));
        return None;
    }
    let own = register.participant(&config.participant)?;
    if let Err(error) = require_restored(directory) {
        findings.push(Finding::error(CHECK, error));
        return None;
    }
    match survey(directory, keys, own) {
        Ok(survey) => {
            let entries = ("entries", survey.checkpoint.size.to_string());
            findings.push(match survey.torn {
                Some((_, _, bytes)) => {
                    let seen = seen("log_torn", [entries, ("bytes", bytes.to_string())]);
                    Finding::warning(CHECK, "log_unfinished", seen)
                }
                None => Finding::fine(CHECK, seen("log", [entries])),
            });
            survey.newest.and_then(|leaf| Entry::from_bytes(&leaf).ok()).map(|entry| entry.time)
        }
        Err(error) => {
            findings.push(Finding::error(CHECK, error));
            None
        }
    }
}

fn survey(directory: &Path, keys: &Arc<KeySet>, own: &Participant) -> Result<Survey> {
    let origin = own.log_origin.as_str();
    let held = Keyring::open(&directory.join("keys"), keys.clone())?;
    held.follow(own);
    let settings = log_keys(&held, own, origin)?.settings(origin, generation_of(origin)?, SystemClock.now())?;
    let heads = Kept::open(&directory.join("trust"))?.heads_of(origin)?;
    let survey = Log::survey(Arc::new(OsFiles), Layout::new(directory), &settings, &heads)
        .map_err(|e| crate::ledger::log_error(&e))?;
    let state = directory.join("state");
    if state.is_dir() {
        let seen = Store::open(&state)?.applied()?;
        let before = own.closed_logs.iter().fold(0_u64, |sum, log| sum.saturating_add(log.size));
        let held = before.saturating_add(survey.checkpoint.size);
        if seen > held {
            return Err(Error::new(
                ErrorCode::LogTailLost,
                format!("the store has seen {seen} entries, but the log holds {held}"),
            ));
        }
    }
    Ok(survey)
}

fn clock(newest: Option<Timestamp>, now: Timestamp, findings: &mut Vec<Finding>) {
    const CHECK: &str = "clock";
    let shown = ("now", now.to_string());
    findings.push(match newest.map(|newest| (newest, ("newest", newest.to_string()))) {
        Some((newest, fact)) if now.plus_millis(AHEAD_MS_MAX) < newest => {
            Finding::problem(CHECK, ErrorCode::ClockJump.as_str(), seen("clock_behind", [shown, fact]))
        }
        Some((_, fact)) => Finding::fine(CHECK, seen("clock", [shown, fact])),
        None => Finding::fine(CHECK, seen("clock_alone", [shown])),
    });
}

fn disk(directory: &Path, findings: &mut Vec<Finding>) {
    const CHECK: &str = "disk";
    let Some(free) = free_bytes(directory) else {
        return findings.push(Finding::warning(CHECK, "not_checked", seen("disk_unknown", [])));
    };
    let detail = seen("disk", [("mib", (free / (1024 * 1024)).to_string())]);
    findings.push(match free {
        ..DISK_RESERVE_BYTES => Finding::problem(CHECK, ErrorCode::DiskFull.as_str(), detail),
        DISK_RESERVE_BYTES..DISK_LOW_BYTES => Finding::warning(CHECK, "disk_low", detail),
        _ => Finding::fine(CHECK, detail),
    });
}

/// Stopped, the addresses have to be free; running, they are those that the process listens on.
fn ports(config: &Config, process: &Process, findings: &mut Vec<Finding>) {
    const CHECK: &str = "ports";
    let listen = &config.listen;
    let wanted = [
        ("peers", Some(listen.peers)),
        ("flight", listen.flight),
        ("flight_tls", listen.flight_tls),
        ("http", config.http.as_ref().map(|http| http.listen)),
    ];
    for (name, address) in wanted {
        let Process::Running(status) = process else {
            if let Some(address) = address {
                findings.push(free(address));
            }
            continue;
        };
        let held = status.get("listen").and_then(|l| l.get(name)).and_then(Json::as_str).map(str::to_owned);
        let wanted = address.map(|a| a.to_string());
        findings.push(match (wanted, held) {
            (wanted, held) if wanted == held => match held {
                Some(held) => Finding::fine(CHECK, seen("port_held", [("address", held)])),
                None => continue,
            },
            (wanted, held) => {
                let show = |address: Option<String>| address.unwrap_or_else(|| "–".to_owned());
                let facts = [("name", name.to_owned()), ("wanted", show(wanted)), ("held", show(held))];
                Finding::warning(CHECK, "restart_needed", seen("port_moved", facts))
            }
        });
    }
}

fn free(address: SocketAddr) -> Finding {
    const CHECK: &str = "ports";
    let fact = [("address", address.to_string())];
    match TcpListener::bind(address) {
        Ok(_) => Finding::fine(CHECK, seen("port_free", fact)),
        Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => {
            Finding::problem(CHECK, ErrorCode::PortTaken.as_str(), seen("port_taken", fact))
        }
        Err(_) => Finding::problem(CHECK, ErrorCode::ConfigInvalid.as_str(), seen("port_unusable", fact)),
    }
}

fn socket(directory: &Path, process: &Process, findings: &mut Vec<Finding>) {
    const CHECK: &str = "socket";
    let absolute = directory.canonicalize().unwrap_or_else(|_| directory.to_owned()).join(SOCKET);
    let bytes = absolute.as_os_str().as_bytes().len();
    findings.push(match process {
        _ if bytes >= SOCKET_PATH_BYTES_MAX => Finding::problem(
            CHECK,
            ErrorCode::ConfigInvalid.as_str(),
            seen("socket_long", [("bytes", bytes.to_string()), ("most", (SOCKET_PATH_BYTES_MAX - 1).to_string())]),
        ),
        Process::Running(_) => Finding::fine(CHECK, seen("socket_answers", [])),
        Process::Stopped { .. } => Finding::fine(CHECK, seen("socket_made", [])),
        Process::Unknown => Finding::warning(CHECK, "not_checked", seen("socket_silent", [])),
    });
}

/// The stream to a collector: its configuration as a start would read it; running, how far it is.
fn stream(directory: &Path, config: &Config, process: &Process, findings: &mut Vec<Finding>) {
    const CHECK: &str = "stream";
    let Some(syslog) = &config.syslog else { return };
    if let Err(error) = Collector::load(directory, syslog) {
        return findings.push(Finding::error(CHECK, error));
    }
    let address = ("address", syslog.address.clone());
    let Process::Running(status) = process else {
        return findings.push(Finding::fine(CHECK, seen("stream", [address])));
    };
    let Some(told) = status.get("stream").filter(|s| !s.is_null()) else {
        return findings.push(Finding::warning(CHECK, "restart_needed", seen("stream", [address])));
    };
    let behind = told.get("behind").and_then(Json::as_u64).unwrap_or_default();
    let trouble = told.get("trouble").and_then(|t| t.get("detail")).and_then(Json::as_str);
    let behind = ("behind", behind.to_string());
    findings.push(match trouble {
        Some(detail) => {
            let facts = [address, behind, ("detail", detail.to_owned())];
            Finding::warning(CHECK, "stream_waits", seen("stream_waits", facts))
        }
        None => Finding::fine(CHECK, seen("stream_running", [address, behind])),
    });
}

/// The witnesses that are asked, and the policy: their configuration as a start would read it;
/// running, what keeps one of them from cosigning.
fn witnesses(directory: &Path, config: &Config, process: &Process, findings: &mut Vec<Finding>) {
    const CHECK: &str = "witnesses";
    if config.witness.is_empty() && config.witness_policy.is_none() && config.http.is_none() {
        return;
    }
    let logs = config.http.as_ref().map_or(&[][..], |http| http.log.as_slice());
    let usable = WitnessAddress::load_all(directory, &directory.join("trust").join(CA), &config.witness)
        .and_then(|_| outside_logs(logs))
        .and_then(|_| config.witness_policy.as_ref().map(|file| read_policy(directory, file)).transpose());
    if let Err(error) = usable {
        return findings.push(Finding::error(CHECK, error));
    }
    let told = match process {
        Process::Running(status) => status.get("witnesses").and_then(Json::as_array),
        _ => None,
    };
    let detail = |witness: &Json| Some(witness.get("trouble")?.get("detail")?.as_str()?.to_owned());
    let troubles: Vec<String> = told.into_iter().flatten().filter_map(detail).collect();
    let count = ("count", config.witness.len().to_string());
    findings.push(if troubles.is_empty() {
        Finding::fine(CHECK, seen("witnesses", [count]))
    } else {
        let facts = [count, ("detail", troubles.join("; "))];
        Finding::warning(CHECK, "witness_waits", seen("witnesses_wait", facts))
    });
}

/// Running: the agreements whose other party's chain isn't what ours is.
fn reconciliations(process: &Process, findings: &mut Vec<Finding>) {
    const CHECK: &str = "reconciliations";
    let Process::Running(status) = process else { return };
    let told = |name: &str| status.pointer(&format!("/reconciliations/{name}")).filter(|told| !told.is_null());
    let Some(count) = told("differing").and_then(Json::as_u64) else { return };
    let text = |name: &str| told(name).and_then(Json::as_str).unwrap_or("–").to_owned();
    let facts =
        [("count", count.to_string()), ("agreement", text("first/agreement")), ("partner", text("first/partner"))];
    findings.push(match count {
        0 => Finding::fine(CHECK, seen("reconciliations", [])),
        _ => Finding::warning(CHECK, "chains_differ", seen("reconciliations_differ", facts)),
    });
}
