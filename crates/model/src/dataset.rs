//! A published set: its description, its columns, its snapshots.

use crate::error::{Error, ErrorCode, Result};
use crate::id::{DatasetId, Digest, ParticipantId};
use crate::limits::COLUMNS_MAX;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Type of a column's values. In SQL: text, 64-bit integer, 64-bit float, boolean, date
/// (days), timestamp (milliseconds, UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ColumnType {
    /// UTF-8 text.
    Text,
    /// 64-bit signed integer.
    Integer,
    /// 64-bit float.
    Number,
    /// True or false.
    Boolean,
    /// A calendar day.
    Date,
    /// A point in time, milliseconds, UTC.
    Timestamp,
}

/// Why a column is protected (DGA, Regulation (EU) 2022/868, Art. 3(1)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProtectionClass {
    /// Commercial confidentiality (Art. 3(1)(a)).
    Commercial,
    /// Statistical confidentiality (Art. 3(1)(b)).
    Statistical,
    /// Intellectual property of third parties (Art. 3(1)(c)).
    ThirdPartyRights,
    /// Personal data outside Directive (EU) 2019/1024 (Art. 3(1)(d)).
    Personal,
    /// Not protected; declared.
    None,
}

/// Regime under which a set is exchanged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Regime {
    /// Between public bodies for a public task (outside DGA chapter II, Art. 2(2)).
    PublicTask,
    /// Re-use under DGA chapter II.
    DgaReUse,
    /// A contract.
    Contract,
    /// Open data (Directive (EU) 2019/1024).
    Open,
}

/// Who may see that a set exists.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "to", content = "participants")]
pub enum Visibility {
    /// Every member in force.
    Members,
    /// The members named.
    Named(Vec<ParticipantId>),
    /// Nobody.
    Nobody,
}

impl Visibility {
    /// May `who` see the set?
    pub fn allows(&self, who: &ParticipantId) -> bool {
        match self {
            Visibility::Members => true,
            Visibility::Named(names) => names.contains(who),
            Visibility::Nobody => false,
        }
    }
}

/// The key by which a row belongs to a person or household.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "declared", content = "column")]
pub enum SubjectKey {
    /// The column that names the data subject.
    Column(String),
    /// No row is about a person; declared by the owner.
    None,
}

/// One column as described by its owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Name in SQL: 1 to 63 of `a-z`, `0-9`, `_`.
    pub name: String,
    /// Type of its values.
    #[serde(rename = "type")]
    pub column_type: ColumnType,
    /// What it means, for people.
    pub meaning: String,
    /// Unit, or "" when it has none.
    #[serde(default)]
    pub unit: String,
    /// Why it is protected.
    pub protection: ProtectionClass,
}

/// The owner's description of a set (DCAT 3 terms where it has one).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dataset {
    /// Name, unique at its provider; the table's name in SQL.
    pub id: DatasetId,
    /// Title (dct:title).
    pub title: String,
    /// Description (dct:description).
    pub description: String,
    /// Theme (dcat:theme), an IRI or a word of the EU data-theme list.
    pub theme: String,
    /// Owner (dct:publisher), for people.
    pub owner: String,
    /// The data-subject key.
    pub subject_key: SubjectKey,
    /// Regime of exchange.
    pub regime: Regime,
    /// Who may see it in the catalogue.
    pub visibility: Visibility,
    /// Columns in their order.
    pub columns: Vec<Column>,
}

impl Dataset {
    /// The column of this name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|c| c.name == name)
    }

    /// Refuses a description that lacks something, naming all that is missing at once.
    pub fn check(self) -> Result<Dataset> {
        let mut missing = Vec::new();
        for (what, text) in
            [("title", &self.title), ("description", &self.description), ("theme", &self.theme), ("owner", &self.owner)]
        {
            if text.trim().is_empty() {
                missing.push(what.to_owned());
            }
        }
        if self.columns.is_empty() || self.columns.len() > COLUMNS_MAX {
            missing.push(format!("between 1 and {COLUMNS_MAX} columns"));
        }
        let mut seen = std::collections::BTreeSet::new();
        for column in &self.columns {
            let well_named = !column.name.is_empty()
                && column.name.len() <= crate::limits::ID_BYTES_MAX
                && column.name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
                && column.name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
            if !well_named {
                missing.push(format!("a name of a-z, 0-9 and _ for column `{}`", column.name));
            }
            if !seen.insert(column.name.as_str()) {
                missing.push(format!("a single column `{}`", column.name));
            }
            if column.meaning.trim().is_empty() {
                missing.push(format!("the meaning of column `{}`", column.name));
            }
        }
        if let SubjectKey::Column(name) = &self.subject_key
            && self.column(name).is_none()
        {
            missing.push(format!("column `{name}`, which the data-subject key names"));
        }
        let personal = self.columns.iter().any(|c| c.protection == ProtectionClass::Personal);
        if personal && self.subject_key == SubjectKey::None {
            missing.push("a data-subject key: a column is declared personal".to_owned());
        }
        if missing.is_empty() {
            Ok(self)
        } else {
            Err(Error::new(ErrorCode::DescriptionIncomplete, format!("the description lacks {}", missing.join(", "))))
        }
    }
}

/// An immutable state of a set's rows. Every read names the one it saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// The set.
    pub dataset: DatasetId,
    /// SHA-256 over the names and digests of its Parquet parts, in order.
    pub digest: Digest,
    /// Digests of the Parquet files that make it up, in order.
    pub parts: Vec<Digest>,
    /// Rows in all.
    pub rows: u64,
    /// When it was made.
    pub created: Timestamp,
}

impl Snapshot {
    /// The snapshot made of `parts`, in their order.
    pub fn of(dataset: DatasetId, parts: Vec<Digest>, rows: u64, created: Timestamp) -> Snapshot {
        let mut bytes = b"perron snapshot v1\n".to_vec();
        bytes.extend_from_slice(dataset.as_str().as_bytes());
        bytes.push(b'\n');
        for part in &parts {
            bytes.extend_from_slice(part.as_bytes());
        }
        Snapshot { dataset, digest: Digest::of(&bytes), parts, rows, created }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str) -> Column {
        Column {
            name: name.to_owned(),
            column_type: ColumnType::Text,
            meaning: "as named".to_owned(),
            unit: String::new(),
            protection: ProtectionClass::None,
        }
    }

    fn described(columns: Vec<Column>) -> Dataset {
        Dataset {
            id: DatasetId::parse("water").unwrap(),
            title: "Water".to_owned(),
            description: "Readings".to_owned(),
            theme: "ENVI".to_owned(),
            owner: "Commune".to_owned(),
            subject_key: SubjectKey::None,
            regime: Regime::Open,
            visibility: Visibility::Members,
            columns,
        }
    }

    #[test]
    fn a_set_is_seen_by_those_it_is_for() {
        let (one, other) = (ParticipantId::parse("one").unwrap(), ParticipantId::parse("other").unwrap());
        assert!(Visibility::Members.allows(&one));
        assert!(!Visibility::Nobody.allows(&one));
        let named = Visibility::Named(vec![one.clone()]);
        assert!(named.allows(&one) && !named.allows(&other));
    }

    #[test]
    fn a_complete_description_is_taken_as_it_is() {
        let good = described(vec![column("litres"), column("n_2")]);
        assert_eq!(good.clone().check(), Ok(good.clone()));
        assert_eq!(good.column("n_2"), good.columns.get(1));
        assert_eq!(good.column("absent"), None);
        let long = "x".repeat(crate::limits::ID_BYTES_MAX);
        assert!(described(vec![column(&long)]).check().is_ok());
        let many: Vec<Column> = (0..COLUMNS_MAX).map(|n| column(&format!("c{n}"))).collect();
        assert!(described(many).check().is_ok());
        let personal = Column { protection: ProtectionClass::Personal, ..column("household") };
        let keyed = SubjectKey::Column("household".to_owned());
        assert!(Dataset { subject_key: keyed, ..described(vec![personal]) }.check().is_ok());
    }

    #[test]
    fn all_that_a_description_lacks_is_named() {
        let good = || described(vec![column("litres")]);
        let many = (0..=COLUMNS_MAX).map(|n| column(&format!("c{n}"))).collect();
        let personal = Column { protection: ProtectionClass::Personal, ..column("household") };
        let long = "x".repeat(crate::limits::ID_BYTES_MAX + 1);
        let cases = [
            (Dataset { title: " ".to_owned(), theme: String::new(), ..good() }, "lacks title, theme"),
            (Dataset { description: String::new(), owner: String::new(), ..good() }, "lacks description, owner"),
            (described(Vec::new()), "lacks between 1 and 512 columns"),
            (described(many), "lacks between 1 and 512 columns"),
            (described(vec![column("")]), "lacks a name of a-z, 0-9 and _ for column ``"),
            (described(vec![column(&long)]), "lacks a name of a-z"),
            (described(vec![column("a-b")]), "for column `a-b`"),
            (described(vec![column("aB")]), "for column `aB`"),
            (described(vec![column("1a")]), "for column `1a`"),
            (described(vec![column("_a")]), "for column `_a`"),
            (described(vec![column("a"), column("a")]), "lacks a single column `a`"),
            (described(vec![Column { meaning: " ".to_owned(), ..column("a") }]), "lacks the meaning of column `a`"),
            (Dataset { subject_key: SubjectKey::Column("b".to_owned()), ..good() }, "lacks column `b`, which"),
            (described(vec![personal]), "lacks a data-subject key: a column is declared personal"),
        ];
        for (set, expected) in cases {
            let error = set.check().unwrap_err();
            assert_eq!(error.code, ErrorCode::DescriptionIncomplete);
            assert!(error.detail.contains(expected), "{error} lacks {expected}");
        }
    }

    #[test]
    fn a_snapshot_is_named_by_its_set_and_its_parts_in_order() {
        let of = |set: &str, parts: &[&[u8]]| {
            let parts = parts.iter().map(|p| Digest::of(p)).collect();
            Snapshot::of(DatasetId::parse(set).unwrap(), parts, 1, Timestamp::EPOCH)
        };
        let snapshot = of("water", &[b"a", b"b"]);
        let mut bytes = b"perron snapshot v1\nwater\n".to_vec();
        bytes.extend([Digest::of(b"a"), Digest::of(b"b")].iter().flat_map(|d| *d.as_bytes()));
        assert_eq!(snapshot.digest, Digest::of(&bytes));
        for other in [of("water", &[b"b", b"a"]), of("wate", &[b"a", b"b"]), of("water", &[b"a"])] {
            assert_ne!(other.digest, snapshot.digest);
        }
    }
}
