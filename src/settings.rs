//! Typed settings that rooms take. Parsing the configuration file is the wiring's.

use perron_model::limits::{
    ACTIVITIES_MAX, ERASURE_BACKUP_DAYS_MAX, ERASURE_BACKUP_DAYS_MIN, OUTSIDE_LOGS_MAX, RECONCILE_EVERY_S_DEFAULT,
    RECONCILE_EVERY_S_MAX, RECONCILE_EVERY_S_MIN, WITNESSES_MAX,
};
use perron_model::retention::Activity;
use perron_model::{DatasetId, Error, ErrorCode, ParticipantId, Result, SpaceId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Name of the configuration file in an organisation's directory.
pub const FILE: &str = "perron.toml";

/// An organisation's configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// This organisation.
    pub participant: ParticipantId,
    /// The data space.
    pub space: SpaceId,
    /// Policy of witnesses (C2SP tlog-policy) by which this log is called final; a file relative to
    /// the organisation's directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness_policy: Option<PathBuf>,
    /// How often the chain of each agreement is matched with its other party's.
    #[serde(default, skip_serializing_if = "ReconcileEvery::is_default")]
    pub reconcile_every: ReconcileEvery,
    /// Addresses that are listened on.
    pub listen: Listen,
    /// The authority; none in the authority's own directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authority: Option<AuthorityAddress>,
    /// Where entries of the log are sent as they come; none, and nothing is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syslog: Option<Syslog>,
    /// The log and the witness over HTTPS, for programs of other makes; none, and they aren't served.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<Http>,
    /// Witnesses that are asked to cosign this log's checkpoints.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub witness: Vec<Witness>,
    /// Processing activities (GDPR Art. 30) by the set that is read, own or another's: entries about
    /// its reads name them, and retention rules go by them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub activities: BTreeMap<DatasetId, Activity>,
    /// What an erasure says of backups.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub erasure: Option<Erasure>,
}

/// What an erasure says of backups.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Erasure {
    /// Days for which backups of the vault's key-encryption key are kept: so long could one undo an
    /// erasure.
    #[serde(deserialize_with = "number")]
    pub backup_days: u16,
}

/// A number; a text of one, as a variable of the environment has it.
fn number<'de, D: serde::Deserializer<'de>>(from: D) -> std::result::Result<u16, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Said {
        Number(u16),
        Text(String),
    }
    match Said::deserialize(from)? {
        Said::Number(number) => Ok(number),
        Said::Text(text) => text.parse().map_err(|_| serde::de::Error::custom("not a number")),
    }
}

/// The listener of HTTPS (C2SP tlog-witness and tlog-tiles), with the connector's own certificate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Logs outside of the data space whose checkpoints are cosigned. Those of participants are
    /// without being named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<OutsideLog>,
}

/// A log outside of the data space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutsideLog {
    /// Its origin: the first line of its checkpoints.
    pub origin: String,
    /// Its verifier key (C2SP signed-note), Ed25519.
    pub vkey: String,
}

/// A witness that is asked over HTTPS (C2SP tlog-witness).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Witness {
    /// Its verifier key (C2SP signed-note), of timestamped Ed25519 cosignatures.
    pub vkey: String,
    /// Its submission prefix: `https://…`, or `http://` to a loopback address.
    pub url: String,
    /// Certificates of the authorities that may have issued its certificate (PEM), relative to the
    /// organisation's directory; without, the data space's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
}

/// A collector of syslog messages (RFC 5424 over TLS, RFC 5425). Files are relative to the
/// organisation's directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Syslog {
    /// `host:port`; the port of syslog over TLS is 6514.
    pub address: String,
    /// Name that its certificate has to carry.
    pub server_name: String,
    /// Certificates of the authorities that may have issued it (PEM).
    pub ca: PathBuf,
    /// Certificate that is shown to it, with `key` (PEM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// Private key of `certificate` (PEM).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
    /// What messages carry: `ocsf` or `jsonl`.
    #[serde(default)]
    pub format: StreamFormat,
    /// Facility of the messages.
    #[serde(default)]
    pub facility: Facility,
    /// What says that the collector has what was sent.
    #[serde(default)]
    pub confirmation: Confirmation,
}

/// What a message carries (RFC 5424, section 6.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StreamFormat {
    /// An event of the Open Cybersecurity Schema Framework.
    #[default]
    Ocsf,
    /// The entry, as `perron audit export --format jsonl` gives it.
    Jsonl,
}

/// From which part of a system a message says it comes (RFC 5424, table 1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Facility {
    /// User-level messages.
    User,
    /// System daemons.
    Daemon,
    /// Security and authorisation.
    Authpriv,
    /// Log audit.
    #[default]
    LogAudit,
    /// For local use.
    Local0,
    /// For local use.
    Local1,
    /// For local use.
    Local2,
    /// For local use.
    Local3,
    /// For local use.
    Local4,
    /// For local use.
    Local5,
    /// For local use.
    Local6,
    /// For local use.
    Local7,
}

/// What says that the collector has what was sent. Syslog has no acknowledgement; the orderly end
/// of a TLS channel comes nearest to one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Confirmation {
    /// Its answer to our close_notify, which it reads after all that came before (RFC 5425,
    /// section 4.4).
    #[default]
    CloseNotify,
    /// The end of the connection after our close_notify, for collectors that answer with nothing
    /// else.
    EndOfStream,
}

/// How often the chains of agreements are matched with those of their other parties: a number with its
/// unit (`s`, `m`, `h`, `d`), or `never`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReconcileEvery {
    seconds: Option<u64>,
}

impl ReconcileEvery {
    /// The time between two of them; none where they are made by command alone.
    pub fn duration(self) -> Option<Duration> {
        self.seconds.map(Duration::from_secs)
    }

    fn is_default(&self) -> bool {
        *self == ReconcileEvery::default()
    }
}

impl Default for ReconcileEvery {
    fn default() -> ReconcileEvery {
        ReconcileEvery { seconds: Some(RECONCILE_EVERY_S_DEFAULT) }
    }
}

impl TryFrom<String> for ReconcileEvery {
    type Error = String;
    fn try_from(text: String) -> std::result::Result<ReconcileEvery, String> {
        if text == "never" {
            return Ok(ReconcileEvery { seconds: None });
        }
        let unit = match text.chars().next_back() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3_600,
            Some('d') => 86_400,
            _ => return Err("`reconcile_every` is a number with its unit, as `24h`, or `never`".to_owned()),
        };
        let digits = text.trim_end_matches(['s', 'm', 'h', 'd']);
        let is_number = digits.len() + 1 == text.len() && digits.bytes().all(|b| b.is_ascii_digit());
        let number = if is_number { digits.parse::<u64>().ok() } else { None };
        let seconds = number.and_then(|n| n.checked_mul(unit));
        match seconds.filter(|s| (RECONCILE_EVERY_S_MIN..=RECONCILE_EVERY_S_MAX).contains(s)) {
            Some(seconds) => Ok(ReconcileEvery { seconds: Some(seconds) }),
            None => Err(format!(
                "`reconcile_every` is from {RECONCILE_EVERY_S_MIN}s to {}d, or `never`",
                RECONCILE_EVERY_S_MAX / 86_400
            )),
        }
    }
}

impl From<ReconcileEvery> for String {
    fn from(every: ReconcileEvery) -> String {
        every.seconds.map_or_else(|| "never".to_owned(), |seconds| format!("{seconds}s"))
    }
}

/// Addresses that are listened on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listen {
    /// For other connectors: mutual TLS.
    pub peers: SocketAddr,
    /// Flight SQL for this organisation's own tools; a loopback address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flight: Option<SocketAddr>,
    /// The same over TLS, for tools on other machines: a user shows a certificate or a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flight_tls: Option<SocketAddr>,
}

/// Where the authority is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthorityAddress {
    /// Its name as a participant.
    pub participant: ParticipantId,
    /// `host:port`.
    pub endpoint: String,
}

/// What a node takes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// This organisation.
    pub participant: ParticipantId,
    /// Its directory.
    pub data: PathBuf,
    /// Processing activities by the set that is read.
    pub activities: BTreeMap<DatasetId, Activity>,
    /// Time between two reconciliations of an agreement; none where they are made by command alone.
    pub reconcile_every: Option<Duration>,
    /// Days for which backups of the vault's key-encryption key are kept.
    pub backup_days: u16,
}

impl Config {
    /// Reads and checks a configuration: unknown keys and unusable values are refused, and
    /// `PERRON__SECTION__KEY` of the environment overrides.
    pub fn load(directory: &Path) -> Result<Config> {
        let invalid = |detail: String| Error::new(ErrorCode::ConfigInvalid, detail);
        let text = std::fs::read_to_string(directory.join(FILE))
            .map_err(|_| invalid(format!("no `{FILE}` can be read in this directory; `perron join` makes one")))?;
        let mut value: toml::Table =
            toml::from_str(&text).map_err(|e| invalid(format!("`{FILE}`: {}", e.message())))?;
        for (name, text) in std::env::vars().filter(|(n, _)| n.starts_with("PERRON__")) {
            override_with(&mut value, &name, text).map_err(invalid)?;
        }
        let config: Config =
            value.try_into().map_err(|e: toml::de::Error| invalid(format!("`{FILE}`: {}", e.message())))?;
        config.check()
    }

    fn check(self) -> Result<Config> {
        if let Some(flight) = self.listen.flight
            && !flight.ip().is_loopback()
        {
            return Err(Error::new(
                ErrorCode::ConfigInvalid,
                "`listen.flight` has to be a loopback address: its users show themselves by a token; `listen.flight_tls` may be any",
            ));
        }
        let too_many = |what: &str| Err(Error::new(ErrorCode::ConfigInvalid, format!("{what} are too many")));
        if self.witness.len() > WITNESSES_MAX {
            return too_many(&format!("over {WITNESSES_MAX} `[[witness]]`"));
        }
        if self.activities.len() > ACTIVITIES_MAX {
            return too_many(&format!("over {ACTIVITIES_MAX} lines of `[activities]`"));
        }
        let days = ERASURE_BACKUP_DAYS_MIN..=ERASURE_BACKUP_DAYS_MAX;
        if self.erasure.as_ref().is_some_and(|erasure| !days.contains(&erasure.backup_days)) {
            let detail = format!(
                "`erasure.backup_days` is a number of days from {ERASURE_BACKUP_DAYS_MIN} to {ERASURE_BACKUP_DAYS_MAX}"
            );
            return Err(Error::new(ErrorCode::ConfigInvalid, detail));
        }
        if self.http.as_ref().is_some_and(|http| http.log.len() > OUTSIDE_LOGS_MAX) {
            return too_many(&format!("over {OUTSIDE_LOGS_MAX} `[[http.log]]`"));
        }
        Ok(self)
    }

    /// Writes the configuration.
    pub fn save(&self, directory: &Path) -> Result<()> {
        let text = toml::to_string_pretty(self)
            .map_err(|_| Error::new(ErrorCode::ConfigInvalid, "the configuration can't be written"))?;
        crate::files::write_file(&directory.join(FILE), text.as_bytes())
    }
}

/// Puts the value of `PERRON__A__B` at `a.b`.
fn override_with(table: &mut toml::Table, name: &str, text: String) -> std::result::Result<(), String> {
    let path: Vec<String> = name.trim_start_matches("PERRON__").split("__").map(str::to_lowercase).collect();
    let Some((last, sections)) = path.split_last() else { return Ok(()) };
    let mut table = table;
    for section in sections {
        let entry = table.entry(section.clone()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        table = entry.as_table_mut().ok_or_else(|| format!("`{name}` names a section that is a value"))?;
    }
    table.insert(last.clone(), toml::Value::String(text));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Config> {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(FILE), text).unwrap();
        Config::load(directory.path())
    }

    #[test]
    fn the_log_over_https_and_its_witnesses() {
        let text = "participant = \"a\"\nspace = \"s\"\nwitness_policy = \"trust/policy\"\n[listen]\npeers = \"127.0.0.1:1\"\n\
                    [http]\nlisten = \"127.0.0.1:2\"\n[[http.log]]\norigin = \"o\"\nvkey = \"v\"\n\
                    [[witness]]\nvkey = \"w\"\nurl = \"https://w.example/\"\n[[witness]]\nvkey = \"x\"\nurl = \"u\"\nca = \"c\"\n";
        let config = load(text).unwrap();
        assert_eq!((config.witness.len(), config.http.as_ref().unwrap().log.len()), (2, 1));
        let directory = tempfile::tempdir().unwrap();
        config.save(directory.path()).unwrap();
        assert_eq!(Config::load(directory.path()).unwrap(), config);
        for bad in [
            text.replace("[http]\nlisten", "[http]\nport"),
            text.replace("ca = \"c\"", "roots = \"c\""),
            text.replace("url = \"u\"\n", ""),
            format!("{text}{}", "[[witness]]\nvkey = \"w\"\nurl = \"u\"\n".repeat(WITNESSES_MAX)),
        ] {
            assert_eq!(load(&bad).unwrap_err().code, ErrorCode::ConfigInvalid, "{bad}");
        }
    }

    #[test]
    fn how_often_chains_are_matched_has_its_bounds() {
        let every = |text: &str| {
            load(&format!(
                "reconcile_every = {text}\nparticipant = \"a\"\nspace = \"s\"\n[listen]\npeers = \"127.0.0.1:1\"\n"
            ))
            .map(|config| config.reconcile_every.duration().map(|d| d.as_secs()))
        };
        for (text, seconds) in
            [("\"1s\"", Some(1)), ("\"24h\"", Some(86_400)), ("\"31d\"", Some(2_678_400)), ("\"never\"", None)]
        {
            assert_eq!(every(text).unwrap(), seconds, "{text}");
        }
        for bad in
            ["\"0s\"", "\"32d\"", "\"24\"", "\"1hh\"", "\"-1h\"", "\"h\"", "\"+1h\"", "24", "\"99999999999999999999d\""]
        {
            assert_eq!(every(bad).unwrap_err().code, ErrorCode::ConfigInvalid, "{bad}");
        }
        assert_eq!(ReconcileEvery::default().duration(), Some(Duration::from_secs(86_400)));
        let spelled = String::from(ReconcileEvery { seconds: Some(60) });
        assert_eq!(ReconcileEvery::try_from(spelled), Ok(ReconcileEvery { seconds: Some(60) }));
    }

    #[test]
    fn backups_of_the_vaults_key_are_kept_for_a_day_at_least() {
        let days = |days: u32| {
            let text = "participant = \"a\"\nspace = \"s\"\n[listen]\npeers = \"127.0.0.1:1\"\n";
            load(&format!("{text}[erasure]\nbackup_days = {days}\n"))
        };
        for good in [ERASURE_BACKUP_DAYS_MIN, ERASURE_BACKUP_DAYS_MAX] {
            assert_eq!(days(good.into()).unwrap().erasure.unwrap().backup_days, good);
        }
        for bad in [0, u32::from(ERASURE_BACKUP_DAYS_MAX) + 1] {
            let error = days(bad).unwrap_err();
            assert_eq!(error.code, ErrorCode::ConfigInvalid, "{bad}");
            assert!(error.detail.contains("from 1 to 3650"), "{}", error.detail);
        }
    }

    #[test]
    fn unknown_keys_and_open_flight_ports_are_refused() {
        let good = "participant = \"a\"\nspace = \"s\"\n[listen]\npeers = \"127.0.0.1:1\"\n";
        assert!(load(good).is_ok());
        for bad in [
            format!("colour = \"red\"\n{good}"),
            format!("{good}flight = \"0.0.0.0:2\"\n"),
            good.replace("127.0.0.1:1", "here"),
            String::new(),
        ] {
            assert_eq!(load(&bad).unwrap_err().code, ErrorCode::ConfigInvalid, "{bad}");
        }
    }
}
