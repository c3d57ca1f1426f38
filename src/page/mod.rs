//! The page of an auditor's folder: one HTML file in two languages that works without a network,
//! shows what the entries of an agreement say, and verifies itself in a browser.
//!
//! What is shown is computed here from the leaves; `verify.js` computes it again from them.

mod entries;
mod escape;
mod totals;
mod words;

use crate::connector::{Folder, FolderDocument};
use crate::messages::{Lang, text};
use crate::page::entries::{Row, rows};
use crate::page::words::{Both, both, shown_time};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value, context};
use perron_model::agreement::AgreementPayload;
use perron_model::limits::DOCUMENT_BYTES_MAX;
use perron_model::register::ParticipantEntry;
use perron_model::{Error, ErrorCode, ParticipantId, Result, canonical};
use serde::Serialize;
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = concat!(
    "'use strict';\n",
    include_str!("verify.js"),
    "\n",
    include_str!("check.js"),
    "\n",
    include_str!("page.js")
);

/// A term of the policy in words, as the table of `perron policy coverage` has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Term {
    /// Place in the policy.
    pub at: String,
    /// The term.
    pub term: String,
    /// What is said with it.
    pub stated: String,
    meaning: Both,
    by: Both,
    label: Both,
}

impl Term {
    /// The rows of the table, from its answer in English and in French (`table_json`).
    pub fn of(english: &Json, french: &Json) -> Vec<Term> {
        let rows = |table: &Json| table.get("terms").and_then(Json::as_array).cloned().unwrap_or_default();
        let field = |row: &Json, name: &str| row.get(name).and_then(Json::as_str).unwrap_or_default().to_owned();
        let one = |(en, fr): (Json, Json)| Term {
            at: field(&en, "at"),
            term: field(&en, "term"),
            stated: field(&en, "stated"),
            meaning: Both { en: field(&en, "meaning"), fr: field(&fr, "meaning") },
            by: both(&format!("policy.by.{}", field(&en, "by")), &[]),
            label: both(&format!("policy.label.{}", field(&en, "label")), &[]),
        };
        rows(english).into_iter().zip(rows(french)).map(one).collect()
    }
}

/// A party as the register tells of it.
#[derive(Serialize)]
struct Party {
    side: &'static str,
    role: Both,
    id: ParticipantId,
    name: String,
    enterprise: String,
}

/// Writes the page; `lang` is the language that it opens in.
///
/// # Errors
/// `malformed` where the material is not what it says; `internal` where the page can't be written.
pub fn render(folder: &Folder, terms: &[Term], lang: Lang) -> Result<String> {
    let payload = payload_of(folder)?;
    let document: FolderDocument = canonical::from_bytes(folder.document.as_bytes(), DOCUMENT_BYTES_MAX)?;
    let rows = rows(&folder.entries)?;
    let given = entries::decode(&folder.given)?;
    let data = json!({
        "authority": folder.authority, "space": folder.space, "participant": folder.participant,
        "side": folder.side, "envelope": folder.envelope, "register": folder.register,
        "witnessed": folder.witnessed, "given": folder.given, "document": folder.document,
        "words": {"en": words::of_page(Lang::En, &rows), "fr": words::of_page(Lang::Fr, &rows)},
    });
    let totals = totals::Totals::of(&rows);
    let policy = serde_json::to_string_pretty(&payload.offer.policy).unwrap_or_default();
    let parties = [party(folder, "provider", &payload.provider)?, party(folder, "consumer", &payload.consumer)?];
    let [provider, consumer] = &parties;
    let life: Vec<&Row> = rows.iter().filter(|row| row.kind == "notice").collect();
    let (witnessed, quorum) = seen(folder);
    let authority: String = folder.authority.into();
    let context = context! {
        lang => if lang == Lang::Fr { "fr" } else { "en" },
        title => text(lang, "folder.title", &[]),
        csp => policy_of_content(),
        css => Value::from_safe_string(STYLE.to_owned()),
        script => Value::from_safe_string(SCRIPT.to_owned()),
        data => Value::from_safe_string(escape::json_in_html(&data)),
        authority, terms, witnessed, quorum, life,
        agreement => payload,
        id => document.scope.agreement,
        since => document.scope.since.map(|t| shown_time(&t.to_string())),
        until => document.scope.until.map(|t| shown_time(&t.to_string())),
        signed => shown_time(&payload.timestamp.to_string()),
        basis => words::short(&payload.offer.legal_basis.term),
        regime => regime(&payload),
        provider, consumer,
        owner => party(folder, "owner", &folder.participant)?,
        parties => &parties,
        given => context! { index => given.index, when => shown_time(&given.time.to_string()) },
        totals => totals.figures(),
        columns => totals.columns(),
        groups => totals.groups(),
        rows => &rows,
        checkpoint => folder.checkpoint,
        document => document,
        policy,
    };
    written(&context)
}

fn written(context: &Value) -> Result<String> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.add_function("text", |key: &str| Value::from_serialize(both(key, &[])));
    let page = environment.render_named_str("page.html", PAGE, context);
    page.map_err(|e| Error::new(ErrorCode::Internal, format!("the page can't be written: {e:#}")))
}

/// What the browser may load and run: what stands in the page, and nothing else.
fn policy_of_content() -> String {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text.as_bytes())));
    format!(
        "default-src 'none'; style-src {}; script-src {}; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

fn payload_of(folder: &Folder) -> Result<AgreementPayload> {
    let bytes = URL_SAFE_NO_PAD.decode(&folder.envelope.agreement.payload);
    AgreementPayload::parse(&bytes.map_err(|_| Error::malformed("the agreement is not base64url"))?)
}

fn regime(payload: &AgreementPayload) -> Both {
    let name = serde_json::to_value(payload.offer.regime).ok().and_then(|v| v.as_str().map(str::to_owned));
    both(&format!("folder.regime.{}", name.unwrap_or_default()), &[])
}

/// The newest entry of the register about a participant that the folder has.
fn party(folder: &Folder, side: &'static str, id: &ParticipantId) -> Result<Party> {
    let opened = folder.register.iter().filter_map(|jws| {
        let payload = URL_SAFE_NO_PAD.decode(jws.split('.').nth(1)?).ok()?;
        serde_json::from_slice::<ParticipantEntry>(&payload).ok()
    });
    let found = opened.map(|entry| entry.participant).find(|p| p.id == *id);
    let found = found.ok_or_else(|| Error::new(ErrorCode::NotFound, format!("the register doesn't tell of `{id}`")))?;
    Ok(Party {
        side,
        role: both(&format!("folder.agreement.{side}"), &[]),
        id: id.clone(),
        name: found.name,
        enterprise: found.enterprise.to_string(),
    })
}

/// Who else saw the log, each in a sentence; and all of them together, where there are several.
fn seen(folder: &Folder) -> (Vec<Both>, Option<Both>) {
    let last = |size: u64| size.saturating_sub(1).to_string();
    let one = |w: &crate::connector::Witnessed| {
        let (last, at) = (last(w.size), shown_time(&w.at.to_string()));
        both("folder.said.kept", &[("last", &last), ("at", &at), ("by", w.by.as_str())])
    };
    let quorum = folder.witnessed.iter().map(|w| w.size).min().filter(|_| folder.witnessed.len() > 1).map(|size| {
        let names: Vec<&str> = folder.witnessed.iter().map(|w| w.by.as_str()).collect();
        both("folder.said.quorum", &[("last", &last(size)), ("by", &names.join(", "))])
    });
    (folder.witnessed.iter().map(one).collect(), quorum)
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
