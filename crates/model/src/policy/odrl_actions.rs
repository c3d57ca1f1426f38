//! ODRL's vocabulary of actions. What an action is included in and what it implies stands in
//! `policies/odrl.rego`, which evaluates it; a test compares the two.

use super::odrl_names::{Name, ODRL, name};

/// Namespace of the Creative Commons terms that ODRL's vocabulary takes up.
const CC: &str = "http://creativecommons.org/ns#";

/// Actions of ODRL's vocabulary (W3C ODRL Vocabulary 2.2, sections 3.4 and 4.1), deprecated ones too.
pub(super) const ACTIONS: &[&str] = &[
    "acceptTracking",
    "adHocShare",
    "aggregate",
    "annotate",
    "anonymize",
    "append",
    "appendTo",
    "archive",
    "attachPolicy",
    "attachSource",
    "attribute",
    "commercialize",
    "compensate",
    "concurrentUse",
    "copy",
    "delete",
    "derive",
    "digitize",
    "display",
    "distribute",
    "ensureExclusivity",
    "execute",
    "export",
    "extract",
    "extractChar",
    "extractPage",
    "extractWord",
    "give",
    "grantUse",
    "include",
    "index",
    "inform",
    "install",
    "lease",
    "lend",
    "license",
    "modify",
    "move",
    "nextPolicy",
    "obtainConsent",
    "pay",
    "play",
    "present",
    "preview",
    "print",
    "read",
    "reproduce",
    "reviewPolicy",
    "secondaryUse",
    "sell",
    "share",
    "shareAlike",
    "stream",
    "synchronize",
    "textToSpeech",
    "transfer",
    "transform",
    "translate",
    "uninstall",
    "use",
    "watermark",
    "write",
    "writeTo",
];

/// Actions of Creative Commons that ODRL's vocabulary takes up (section 4.1).
pub(super) const CC_ACTIONS: &[&str] = &[
    "Attribution",
    "CommercialUse",
    "DerivativeWorks",
    "Distribution",
    "Notice",
    "Reproduction",
    "ShareAlike",
    "Sharing",
    "SourceCode",
];

/// All of them, in full.
pub fn actions() -> impl Iterator<Item = String> {
    let odrl = ACTIONS.iter().map(|local| format!("{ODRL}{local}"));
    odrl.chain(CC_ACTIONS.iter().map(|local| format!("{CC}{local}")))
}

/// The IRI of an action of the vocabulary, if `text` names one.
pub fn known_action(text: &str) -> Option<String> {
    match name(text) {
        Name::Odrl(local) if ACTIONS.contains(&local) => Some(format!("{ODRL}{local}")),
        _ => {
            let local = text.strip_prefix("cc:").or_else(|| text.strip_prefix(CC))?;
            CC_ACTIONS.contains(&local).then(|| format!("{CC}{local}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// Whatever a policy may name is known where it is evaluated, and the other way round.
    #[test]
    fn the_table_is_that_of_the_evaluation() {
        let rego = include_str!("../../../../policies/odrl.rego");
        let (_, table) = rego.split_once("included_in := {").unwrap();
        let keys: BTreeSet<&str> =
            table.lines().filter_map(|l| l.trim().strip_prefix('"')?.split('"').next()).collect();
        let mut known: BTreeSet<String> = ACTIONS.iter().map(|a| format!("{ODRL}{a}")).collect();
        known.extend(CC_ACTIONS.iter().map(|a| format!("{CC}{a}")));
        for top in ["use", "transfer"] {
            assert!(known.remove(&format!("{ODRL}{top}")));
        }
        assert_eq!(keys, known.iter().map(String::as_str).collect());
    }

    #[test]
    fn actions_have_a_compact_and_a_full_form() {
        let distribute = Some("http://www.w3.org/ns/odrl/2/distribute".to_owned());
        for text in ["distribute", "odrl:distribute", "http://www.w3.org/ns/odrl/2/distribute"] {
            assert_eq!(known_action(text), distribute);
        }
        assert_eq!(known_action("cc:Sharing").as_deref(), Some("http://creativecommons.org/ns#Sharing"));
        for text in ["", "divide", "cc:sharing", "ex:use", "USE"] {
            assert_eq!(known_action(text), None, "{text}");
        }
    }

    #[test]
    fn all_actions_are_known_by_their_full_names() {
        let all: BTreeSet<String> = actions().collect();
        assert_eq!(all.len(), ACTIONS.len() + CC_ACTIONS.len());
        assert!(all.iter().all(|action| known_action(action).as_ref() == Some(action)));
        assert!(all.contains("http://creativecommons.org/ns#Notice"));
    }
}
