//! Collections of parties and of assets (ODRL 2.2 Information Model, sections 2.2.2 and 2.3.2),
//! which a provider declares and its policies are about.

use crate::error::{Error, ErrorCode, Result};
use crate::id::{DatasetId, ParticipantId, name_of_text};
use crate::limits::{COLLECTION_MEMBERS_MAX, IRI_BYTES_MAX};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The name of a collection: an IRI of at most [`IRI_BYTES_MAX`] bytes. No participant and no set
/// has a name with a colon.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CollectionName(String);

impl CollectionName {
    /// Is this the name of a collection?
    pub fn is_name(text: &str) -> bool {
        text.len() <= IRI_BYTES_MAX && text.contains(':') && text.bytes().all(|b| b.is_ascii_graphic())
    }

    /// Parses the name.
    pub fn parse(text: &str) -> Result<CollectionName> {
        if CollectionName::is_name(text) {
            Ok(CollectionName(text.to_owned()))
        } else {
            let shown: String = text.chars().take(80).collect();
            Err(Error::malformed(format!("`{shown}` is no IRI of at most {IRI_BYTES_MAX} bytes")))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

name_of_text!(CollectionName);

/// Who or what belongs to a collection. There may be nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Members {
    /// Participants: an `odrl:PartyCollection`.
    Parties(BTreeSet<ParticipantId>),
    /// Sets of the provider: an `odrl:AssetCollection`.
    Sets(BTreeSet<DatasetId>),
}

/// A collection as its provider declares it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Collection {
    /// Its name.
    pub name: CollectionName,
    /// Who or what belongs to it.
    pub members: Members,
    /// Since when.
    pub since: Timestamp,
}

impl Collection {
    /// Refuses one that has too many members.
    pub fn check(self) -> Result<Collection> {
        let count = match &self.members {
            Members::Parties(parties) => parties.len(),
            Members::Sets(sets) => sets.len(),
        };
        if count > COLLECTION_MEMBERS_MAX {
            let detail = format!("a collection has at most {COLLECTION_MEMBERS_MAX} members");
            return Err(Error::new(ErrorCode::TooLarge, detail));
        }
        Ok(self)
    }

    /// Does this participant belong to it?
    pub fn has_party(&self, participant: &ParticipantId) -> bool {
        matches!(&self.members, Members::Parties(parties) if parties.contains(participant))
    }

    /// Does this set belong to it?
    pub fn has_set(&self, set: &DatasetId) -> bool {
        matches!(&self.members, Members::Sets(sets) if sets.contains(set))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_an_iri_within_its_bound() {
        let long = |bytes: usize| format!("urn:{}", "x".repeat(bytes - 4));
        for good in ["urn:water", ":", &long(IRI_BYTES_MAX)] {
            assert_eq!(CollectionName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "water", "urn:a b", "urn:é", &long(IRI_BYTES_MAX + 1)] {
            assert!(CollectionName::parse(bad).is_err(), "{bad}");
        }
        let name = CollectionName::parse("urn:water").unwrap();
        assert_eq!(name.to_string(), "urn:water");
        assert_eq!(serde_json::to_value(&name).unwrap(), "urn:water");
        assert!(serde_json::from_str::<CollectionName>("\"water\"").is_err());
    }

    fn collection(members: Members) -> Collection {
        Collection { name: CollectionName::parse("urn:x").unwrap(), members, since: Timestamp::EPOCH }
    }

    #[test]
    fn members_are_known_by_kind_and_name() {
        let (here, there) = (ParticipantId::parse("here").unwrap(), ParticipantId::parse("there").unwrap());
        let (set, other) = (DatasetId::parse("here").unwrap(), DatasetId::parse("other").unwrap());
        let parties = collection(Members::Parties([here.clone()].into()));
        let sets = collection(Members::Sets([set.clone()].into()));
        assert!(parties.has_party(&here) && sets.has_set(&set));
        assert!(!parties.has_party(&there) && !sets.has_set(&other));
        assert!(!parties.has_set(&set) && !sets.has_party(&here));
    }

    #[test]
    fn members_are_bounded() {
        let parties = |count: usize| {
            let names = (0..count).map(|n| ParticipantId::parse(&format!("p{n}")).unwrap());
            collection(Members::Parties(names.collect()))
        };
        for count in [0, COLLECTION_MEMBERS_MAX] {
            assert_eq!(parties(count).check(), Ok(parties(count)));
        }
        assert_eq!(parties(COLLECTION_MEMBERS_MAX + 1).check().unwrap_err().code, ErrorCode::TooLarge);
    }
}
