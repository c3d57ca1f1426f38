//! The one catalogue of user text, French and English; Dutch and German are further files.

use std::collections::BTreeMap;
use std::sync::LazyLock;

/// A language of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lang {
    /// English.
    En,
    /// French.
    Fr,
}

impl std::str::FromStr for Lang {
    type Err = String;
    fn from_str(text: &str) -> Result<Lang, String> {
        match text {
            "en" => Ok(Lang::En),
            "fr" => Ok(Lang::Fr),
            _ => Err("languages are fr and en".to_owned()),
        }
    }
}

type Texts = BTreeMap<String, String>;

static EN: LazyLock<Texts> = LazyLock::new(|| read(include_str!("../locales/en.toml")));
static FR: LazyLock<Texts> = LazyLock::new(|| read(include_str!("../locales/fr.toml")));

/// A file that can't be read gives no texts: the test of completeness fails then.
fn read(source: &str) -> Texts {
    toml::from_str(source).unwrap_or_default()
}

/// The text of `key` with its `{placeholders}` filled; the key itself where there is none.
pub fn text(lang: Lang, key: &str, parts: &[(&str, &str)]) -> String {
    let texts = match lang {
        Lang::En => &*EN,
        Lang::Fr => &*FR,
    };
    let mut filled = texts.get(key).cloned().unwrap_or_else(|| key.to_owned());
    for (name, value) in parts {
        filled = filled.replace(&format!("{{{name}}}"), value);
    }
    filled
}

/// The texts whose keys begin so.
pub fn texts_of(lang: Lang, beginning: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let texts = match lang {
        Lang::En => &*EN,
        Lang::Fr => &*FR,
    };
    let found = texts.iter().filter(move |(key, _)| key.starts_with(beginning));
    found.map(|(key, text)| (key.as_str(), text.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use perron_model::ErrorCode;

    fn placeholders(text: &str) -> Vec<&str> {
        let mut found: Vec<&str> = text.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect();
        found.sort_unstable();
        found.dedup();
        found
    }

    #[test]
    fn both_languages_are_complete_with_the_same_placeholders() {
        assert!(!EN.is_empty());
        assert_eq!(EN.keys().collect::<Vec<_>>(), FR.keys().collect::<Vec<_>>());
        for (key, en) in EN.iter() {
            let fr = &FR[key];
            assert_eq!(placeholders(en), placeholders(fr), "{key}");
            assert!(!en.trim().is_empty() && !fr.trim().is_empty(), "{key}");
        }
    }

    #[test]
    fn every_error_has_its_sentence_and_its_advice() {
        for code in ErrorCode::ALL {
            for kind in ["error", "advice"] {
                assert!(EN.contains_key(&format!("{kind}.{code}")), "{kind}.{code}");
            }
        }
    }
}
