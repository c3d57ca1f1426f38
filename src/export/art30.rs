//! The record of processing activities, as far as agreements, sets and the log tell it.
//!
//! Regulation (EU) 2016/679 (GDPR), Art. 30(1): a controller's record has (a) the controller and its
//! contacts, (b) the purposes, (c) categories of data subjects and of personal data, (d) categories
//! of recipients, (e) transfers to third countries, (f) where possible the time limits for erasure,
//! (g) where possible the measures of security (Art. 32(1)). What isn't known here is said to be
//! completed, never made up. As JSON-LD its terms are those of the Data Privacy Vocabulary (DPV 2).

use super::About;
use super::agreements::{AgreementFacts, Party};
use super::dga_log::{Intermediation, line};
use crate::messages::{Lang, text};
use perron_model::dataset::SubjectKey;
use serde_json::{Value as Json, json};

/// The European Economic Area (ISO 3166-1 alpha-2): what leaves it is a transfer (Art. 44).
const EEA: [&str; 30] = [
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IS", "IT", "LI", "LT",
    "LU", "LV", "MT", "NL", "NO", "PL", "PT", "RO", "SE", "SI", "SK",
];
/// Measures that the program itself carries out, whatever the agreement says; `art30.measure.…`.
const MEASURES: [&str; 4] = ["channel", "gate", "log", "pseudonyms"];
/// Operands of a policy that lessen what leaves.
const LESSENING: [&str; 12] = [
    "columns",
    "keyedHash",
    "null",
    "maximumRows",
    "dimensions",
    "measures",
    "floor",
    "dominance",
    "totals",
    "rounding",
    "noise",
    "budget",
];

/// A record of processing activities.
#[derive(Clone, Debug)]
pub struct Register<'a> {
    /// Whose.
    pub about: &'a About,
    /// Entries of the log from, and before which.
    pub entries: (u64, u64),
    /// Entry of the export.
    pub export: u64,
    /// Agreements, the oldest first.
    pub agreements: &'a [AgreementFacts],
    /// What happened under them.
    pub log: &'a Intermediation,
}

impl Register<'_> {
    /// Agreements about people, or of which it isn't known here.
    fn rows(&self) -> impl Iterator<Item = &AgreementFacts> {
        self.agreements.iter().filter(|a| a.is_personal() != Some(false))
    }

    fn others(&self) -> Vec<&AgreementFacts> {
        self.agreements.iter().filter(|a| a.is_personal() == Some(false)).collect()
    }

    /// As JSON-LD.
    pub fn document(&self, lang: Lang) -> Json {
        let controller = self.agreements.iter().find_map(|a| own(a, self.about)).map_or_else(
            || json!({"@id": format!("perron:participant/{}", self.about.participant)}),
            |party| agent(party, lang),
        );
        json!({
            "@context": {
                "dpv": "https://w3id.org/dpv#",
                "dct": "http://purl.org/dc/terms/",
                "odrl": "http://www.w3.org/ns/odrl/2/",
                "perron": "https://w3id.org/perron/name/",
            },
            "@type": "dpv:RecordsOfActivities",
            "dct:conformsTo": "Regulation (EU) 2016/679, Art. 30(1)",
            "dct:language": if lang == Lang::Fr { "fr" } else { "en" },
            "dpv:hasDataController": controller,
            "perron:log": {"perron:origin": self.about.origin, "perron:from": self.entries.0, "perron:before": self.entries.1, "perron:export": self.export},
            "perron:toBeCompleted": missing(lang),
            "dpv:hasProcess": self.rows().map(|a| self.process(a, lang)).collect::<Vec<_>>(),
            "perron:notPersonal": self.others().iter().map(|a| json!({"odrl:hasPolicy": a.agreement, "perron:entry": a.entry, "perron:log": a.log})).collect::<Vec<_>>(),
        })
    }

    fn process(&self, facts: &AgreementFacts, lang: Lang) -> Json {
        let row = Words { facts, lang };
        let happened = self.log.of(&facts.agreement);
        let evidence: Vec<Json> = happened
            .iter()
            .map(|told| json!({"month": told.month, "permitted": told.row.permitted, "refused": told.row.refused, "rows": told.row.rows, "first": told.row.first.map(|f| f.1), "last": told.row.last.map(|l| l.1)}))
            .collect();
        let disclosing = facts.side == "provider";
        let named = |party: &Party| agent(party, lang);
        json!({
            "@id": format!("perron:agreement/{}", facts.agreement),
            "@type": "dpv:Process",
            "dpv:hasProcessing": {"@id": if disclosing { "dpv:Disclose" } else { "dpv:Obtain" }},
            "dct:title": facts.title.clone().unwrap_or_else(|| facts.dataset.clone()),
            "perron:dataset": facts.dataset,
            "perron:processingActivity": facts.activity,
            "dpv:hasPurpose": facts.purposes().iter().map(|p| json!({"@id": p})).collect::<Vec<_>>(),
            "dpv:hasLegalBasis": {"@id": facts.legal_basis.term, "dct:description": facts.legal_basis.text},
            "dpv:hasDataSubject": row.subjects(),
            "dpv:hasPersonalData": facts.columns.iter().filter(|c| given(facts, &c.name)).map(|c| json!({"dct:title": c.name, "dct:description": c.meaning, "perron:protection": c.protection})).collect::<Vec<_>>(),
            "perron:categoriesOfData": row.data(),
            if disclosing { "dpv:hasRecipient" } else { "dpv:hasDataSource" }: named(other(facts)),
            "dpv:hasJurisdiction": [facts.provider.jurisdiction, facts.consumer.jurisdiction],
            "perron:transfer": row.transfer(),
            "dpv:hasStorageCondition": row.limits(),
            "dpv:hasTechnicalOrganisationalMeasure": row.measures(),
            "perron:standing": facts.standing,
            "perron:evidence": {"agreement": facts.entry, "log": facts.log, "reads": evidence},
        })
    }

    /// As a table in words (Markdown): a table an agreement, for a table of that many columns can't
    /// be read.
    pub fn table(&self, lang: Lang) -> String {
        let say = |key: &str, parts: &[(&str, &str)]| text(lang, &format!("art30.{key}"), parts);
        let (from, to, export) = (self.entries.0.to_string(), self.entries.1.to_string(), self.export.to_string());
        let intro: [(&str, &str); 5] = [
            ("of", self.about.participant.as_str()),
            ("origin", &self.about.origin),
            ("from", &from),
            ("to", &to),
            ("export", &export),
        ];
        let mut page = format!("# {}\n\n{}\n\n", say("title", &[]), say("intro", &intro));
        page.push_str(&line(&[say("head.letter", &[]), say("head.says", &[])]));
        page.push_str(&line(&["---".to_owned(), "---".to_owned()]));
        let controller = self
            .agreements
            .iter()
            .find_map(|a| own(a, self.about))
            .map_or_else(|| self.about.participant.clone(), party_text);
        let missing = missing(lang).join("; ");
        page.push_str(&line(&[say("letter.a", &[]), format!("{controller}; {missing}")]));
        for facts in self.rows() {
            let row = Words { facts, lang };
            let title = facts.title.clone().unwrap_or_else(|| facts.dataset.clone());
            page.push_str(&format!("\n## {title} ({})\n\n", facts.dataset));
            page.push_str(&line(&[say("head.letter", &[]), say("head.says", &[])]));
            page.push_str(&line(&["---".to_owned(), "---".to_owned()]));
            let purposes = facts.purposes();
            let purposes = if purposes.is_empty() { say("missing.purpose", &[]) } else { purposes.join(", ") };
            let basis = [facts.legal_basis.term.as_str(), facts.legal_basis.text.as_str()].join(": ");
            let role = if facts.side == "provider" { "recipient" } else { "source" };
            let cells = [
                (say("letter.agreement", &[]), format!("{} ({})", facts.agreement, self.standing(facts, lang))),
                (say("letter.activity", &[]), row.activity()),
                (say("letter.b", &[]), purposes),
                (say("letter.basis", &[]), basis),
                (say("letter.c", &[]), format!("{}; {}", row.subjects(), row.data())),
                (say("letter.d", &[]), say(role, &[("party", &party_text(other(facts)))])),
                (say("letter.e", &[]), row.transfer()),
                (say("letter.f", &[]), row.limits().join("; ")),
                (say("letter.g", &[]), row.measures().join("; ")),
                (say("letter.proof", &[]), self.proof(facts, lang)),
            ];
            cells.into_iter().for_each(|(head, cell)| page.push_str(&line(&[head, cell])));
        }
        let others = self.others();
        if !others.is_empty() {
            let names: Vec<String> =
                others.iter().map(|a| format!("{} ({}, {})", a.agreement, a.dataset, entry_text(a))).collect();
            page.push_str(&format!("\n{}\n", say("not_personal", &[("agreements", &names.join(", "))])));
        }
        page
    }

    fn standing(&self, facts: &AgreementFacts, lang: Lang) -> String {
        let standing = facts.standing.as_ref().and_then(Json::as_str).unwrap_or("in-force");
        text(lang, &format!("art30.standing.{standing}"), &[])
    }

    fn proof(&self, facts: &AgreementFacts, lang: Lang) -> String {
        let told = self.log.of(&facts.agreement);
        let count = |of: fn(&super::dga_log::Row) -> u64| {
            told.iter().map(|t| of(t.row)).fold(0_u64, u64::saturating_add).to_string()
        };
        let ends = (told.first().and_then(|t| t.row.first), told.last().and_then(|t| t.row.last));
        let entry = entry_text(facts);
        let (Some(first), Some(last)) = ends else {
            return text(lang, "art30.proof.none", &[("entry", &entry)]);
        };
        let (first, last) = (first.1.to_string(), last.1.to_string());
        let parts: [(&str, &str); 6] = [
            ("entry", &entry),
            ("permitted", &count(|r| r.permitted)),
            ("refused", &count(|r| r.refused)),
            ("rows", &count(|r| r.rows)),
            ("first", &first),
            ("last", &last),
        ];
        text(lang, "art30.proof.reads", &parts)
    }
}

/// What a controller has to add to letter (a).
fn missing(lang: Lang) -> [String; 4] {
    ["contact", "dpo", "representative", "joint"].map(|what| text(lang, &format!("art30.missing.{what}"), &[]))
}

/// What is said of an agreement, in words.
struct Words<'a> {
    facts: &'a AgreementFacts,
    lang: Lang,
}

impl Words<'_> {
    fn say(&self, key: &str, parts: &[(&str, &str)]) -> String {
        text(self.lang, &format!("art30.{key}"), parts)
    }

    fn activity(&self) -> String {
        self.facts.activity.clone().unwrap_or_else(|| self.say("missing.activity", &[]))
    }

    fn subjects(&self) -> String {
        match &self.facts.subject_key {
            Some(SubjectKey::Column(column)) => {
                let meaning = self.facts.columns.iter().find(|c| c.name == *column).map_or("", |c| c.meaning.as_str());
                self.say("subjects", &[("column", column), ("meaning", meaning)])
            }
            _ => self.say("missing.subjects", &[]),
        }
    }

    fn data(&self) -> String {
        if self.facts.columns.is_empty() {
            return self.say("missing.data", &[]);
        }
        let columns: Vec<String> = self
            .facts
            .columns
            .iter()
            .filter(|c| given(self.facts, &c.name))
            .map(|c| {
                let protection = serde_json::to_value(c.protection).unwrap_or_default();
                let protection = self.say(&format!("protection.{}", protection.as_str().unwrap_or("none")), &[]);
                format!("{} ({}; {protection})", c.name, c.meaning)
            })
            .collect();
        let columns = if is_released(self.facts) { self.say("released", &[]) } else { columns.join(", ") };
        match self.facts.is_described_as_agreed {
            Some(false) => format!("{columns}; {}", self.say("described_anew", &[])),
            _ => columns,
        }
    }

    fn transfer(&self) -> String {
        let Some(country) = &other(self.facts).jurisdiction else { return self.say("missing.transfer", &[]) };
        let key = if EEA.contains(&country.as_str()) { "transfer.none" } else { "transfer.outside" };
        self.say(key, &[("country", country)])
    }

    /// The log knows how long reading is permitted, and what the policy asks for; not how long the
    /// recipient keeps what it read.
    fn limits(&self) -> Vec<String> {
        let mut limits: Vec<String> = self
            .facts
            .constraints()
            .iter()
            .filter(|c| matches!(c.operand.as_str(), "dateTime" | "elapsedTime" | "delayPeriod"))
            .map(|c| {
                self.say(
                    "permitted_while",
                    &[("operand", &c.operand), ("operator", &c.operator), ("value", &c.values.join(", "))],
                )
            })
            .collect();
        limits.extend(self.facts.duties().iter().map(|duty| self.say("duty", &[("action", duty)])));
        limits.push(match self.facts.retention_days {
            Some(days) => self.say("log_kept", &[("days", &days.to_string())]),
            None => self.say("log_kept_for_good", &[]),
        });
        limits.push(self.say("missing.erasure", &[]));
        limits
    }

    fn measures(&self) -> Vec<String> {
        let mut measures: Vec<String> = MEASURES.iter().map(|m| self.say(&format!("measure.{m}"), &[])).collect();
        let lessened = self.facts.constraints().into_iter().filter(|c| LESSENING.contains(&c.operand.as_str()));
        measures.extend(lessened.map(|c| {
            self.say(
                "measure.policy",
                &[("operand", &c.operand), ("operator", &c.operator), ("value", &c.values.join(", "))],
            )
        }));
        measures.push(self.say("missing.measures", &[]));
        measures
    }
}

/// Does the policy give totals alone, and no row?
fn is_released(facts: &AgreementFacts) -> bool {
    facts.constraints().iter().any(|c| c.operand == "measures")
}

/// Is a column given by the policy? All are, where it names none, and none in totals.
fn given(facts: &AgreementFacts, column: &str) -> bool {
    let granted = facts.granted_columns();
    !is_released(facts) && granted.is_empty() || granted.iter().any(|name| name == column)
}

fn other(facts: &AgreementFacts) -> &Party {
    if facts.side == "provider" { &facts.consumer } else { &facts.provider }
}

fn own<'a>(facts: &'a AgreementFacts, about: &About) -> Option<&'a Party> {
    [&facts.provider, &facts.consumer].into_iter().find(|party| party.participant == about.participant)
}

/// Number of an agreement's entry, with the log's origin where that one was closed.
fn entry_text(facts: &AgreementFacts) -> String {
    facts.log.as_ref().map_or_else(|| facts.entry.to_string(), |log| format!("{} ({log})", facts.entry))
}

fn party_text(party: &Party) -> String {
    let known = [party.enterprise.clone(), party.jurisdiction.clone()];
    let known: Vec<String> = known.into_iter().flatten().collect();
    let name = party.name.as_deref().unwrap_or(&party.participant);
    if known.is_empty() { name.to_owned() } else { format!("{name} ({})", known.join(", ")) }
}

fn agent(party: &Party, lang: Lang) -> Json {
    json!({
        "@id": format!("perron:participant/{}", party.participant),
        "dpv:hasName": party.name,
        "dct:identifier": party.enterprise,
        "dpv:hasJurisdiction": party.jurisdiction,
        "dpv:hasContact": text(lang, "art30.missing.contact", &[]),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::export::agreements::testing::facts;
    use crate::export::testing::{about, decision};

    fn register<'a>(about: &'a About, agreements: &'a [AgreementFacts], log: &'a Intermediation) -> Register<'a> {
        Register { about, entries: (0, 9), export: 9, agreements, log }
    }

    #[test]
    fn every_letter_of_the_article_is_there_in_both_languages() {
        let (about, agreements) = (about(), [facts()]);
        let mut log = Intermediation::default();
        log.take(&decision(8, true)).unwrap();
        let register = register(&about, &agreements, &log);
        for (lang, missing) in [(Lang::En, "to be completed"), (Lang::Fr, "à compléter")] {
            let page = register.table(lang);
            assert!(!page.contains("art30."), "{page}");
            for said in [
                "commune SA",
                "dpv#PublicBenefit",
                "dpv#PublicInterest",
                "household",
                "inter SA",
                "0202.239.951",
                "2027-01-01",
                "facturation",
                "365",
                missing,
            ] {
                assert!(page.contains(said), "{said} isn't in {page}");
            }
            // A meaning with a bar of its own doesn't break the table.
            assert!(page.contains("the household \\| of it"), "{page}");
        }
        let document = register.document(Lang::En);
        let process = &document["dpv:hasProcess"][0];
        assert_eq!(process["dpv:hasPurpose"][0]["@id"], "https://w3id.org/dpv#PublicBenefit");
        assert_eq!(process["dpv:hasRecipient"]["@id"], "perron:participant/inter");
        assert_eq!(
            (&process["perron:evidence"]["agreement"], &process["perron:evidence"]["reads"][0]["first"]),
            (&json!(7), &json!(8))
        );
    }

    #[test]
    fn what_is_not_known_is_said_and_what_is_not_personal_is_left_out() {
        let (about, log) = (about(), Intermediation::default());
        let elsewhere = AgreementFacts {
            side: "consumer".to_owned(),
            subject_key: None,
            columns: Vec::new(),
            title: None,
            ..facts()
        };
        let mut public = AgreementFacts { subject_key: Some(SubjectKey::None), entry: 4, ..facts() };
        public.columns.remove(0);
        let mut outside = facts();
        outside.consumer.jurisdiction = Some("US".to_owned());
        let agreements = [elsewhere, public, outside];
        let register = register(&about, &agreements, &log);
        let document = register.document(Lang::En);
        let processes = document["dpv:hasProcess"].as_array().unwrap();
        assert_eq!(processes.len(), 2);
        assert!(processes[0]["dpv:hasDataSubject"].as_str().unwrap().contains("to be completed"));
        assert_eq!(processes[0]["dpv:hasDataSource"]["@id"], "perron:participant/commune");
        assert!(processes[1]["perron:transfer"].as_str().unwrap().contains("US"));
        assert_eq!(document["perron:notPersonal"][0]["perron:entry"], 4);
    }
}
