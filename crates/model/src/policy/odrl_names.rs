//! Names of ODRL, of Perron's profile and of the DPV, in their compact and in their full form.

use crate::error::{Error, ErrorCode};
use crate::limits::IRI_BYTES_MAX;

/// Namespace of ODRL 2.2 (W3C, ODRL Vocabulary, section 2).
pub(super) const ODRL: &str = "http://www.w3.org/ns/odrl/2/";
/// Namespace of the Data Privacy Vocabulary (W3C DPVCG).
pub(super) const DPV: &str = "https://w3id.org/dpv#";
/// Where the DPV's extensions lie, for example `https://w3id.org/dpv/legal/eu/gdpr#A6-1-e`.
const DPV_EXTENSIONS: &str = "https://w3id.org/dpv/";
/// Namespace of XML Schema's data types.
pub(super) const XSD: &str = "http://www.w3.org/2001/XMLSchema#";

/// A name by its vocabulary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Name<'a> {
    /// Of ODRL's core vocabulary.
    Odrl(&'a str),
    /// Of Perron's profile.
    Perron(&'a str),
    /// Of none that Perron enforces.
    Other,
}

/// The vocabulary of `text`. A name without a colon is ODRL's, as in the compact shape of the
/// Dataspace Protocol 2025-1.
pub(super) fn name(text: &str) -> Name<'_> {
    if let Some(local) = text.strip_prefix(ODRL).or_else(|| text.strip_prefix("odrl:")) {
        Name::Odrl(local)
    } else if let Some(local) = text.strip_prefix(super::odrl::PROFILE).or_else(|| text.strip_prefix("perron:")) {
        Name::Perron(local)
    } else if text.contains(':') {
        Name::Other
    } else {
        Name::Odrl(text)
    }
}

/// The DPV term in full, if `text` is one: of the core (`dpv:…` too) or of an extension.
pub(super) fn dpv(text: &str) -> Option<String> {
    if text.len() > IRI_BYTES_MAX {
        return None;
    }
    let local = text.strip_prefix(DPV).or_else(|| text.strip_prefix("dpv:"));
    if let Some(local) = local {
        return is_local(local).then(|| format!("{DPV}{local}"));
    }
    let (path, local) = text.strip_prefix(DPV_EXTENSIONS)?.split_once('#')?;
    // A version (`2.0`) begins with a digit; versioned IRIs are other names for the same terms.
    let segments = path.split('/').all(|s| {
        s.bytes().next().is_some_and(|b| b.is_ascii_lowercase())
            && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    });
    (segments && is_local(local)).then(|| text.to_owned())
}

fn is_local(text: &str) -> bool {
    text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// A term that Perron doesn't enforce, by its place and its name.
pub(super) fn unsupported(path: &str, term: &str) -> Error {
    Error::new(ErrorCode::TermUnsupported, format!("`{}` at `{path}` is not a term that Perron enforces", clip(term)))
}

/// A term that doesn't fit, by its place.
pub(super) fn invalid(path: &str, why: &str) -> Error {
    Error::new(ErrorCode::TermInvalid, format!("at `{path}`: {why}"))
}

/// The beginning of what a caller wrote, for a message.
pub(super) fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_compact_and_a_full_form() {
        for text in ["purpose", "odrl:purpose", "http://www.w3.org/ns/odrl/2/purpose"] {
            assert_eq!(name(text), Name::Odrl("purpose"));
        }
        for text in ["perron:floor", "https://w3id.org/perron/odrl/v1/floor"] {
            assert_eq!(name(text), Name::Perron("floor"));
        }
        assert_eq!(name("cx:purpose"), Name::Other);
        assert_eq!(name("https://w3id.org/perron/odrl/v2/floor"), Name::Other);
    }

    #[test]
    fn dpv_terms_are_of_the_core_or_of_an_extension() {
        let core = "https://w3id.org/dpv#ImprovePublicServices";
        assert_eq!(dpv(core).as_deref(), Some(core));
        assert_eq!(dpv("dpv:ImprovePublicServices").as_deref(), Some(core));
        let gdpr = "https://w3id.org/dpv/legal/eu/gdpr#A6-1-e";
        assert_eq!(dpv(gdpr).as_deref(), Some(gdpr));
        for other in [
            "",
            "ImprovePublicServices",
            "dpv:",
            "https://w3id.org/dpv#",
            "https://w3id.org/dpv/2.0#ImprovePublicServices",
            "https://w3id.org/dpv/legal//gdpr#A6",
            "https://w3id.org/dpv#A B",
            "https://example.org/dpv#ImprovePublicServices",
            "http://w3id.org/dpv#ImprovePublicServices",
        ] {
            assert_eq!(dpv(other), None, "{other}");
        }
    }

    #[test]
    fn a_dpv_term_is_written_in_letters_digits_and_marks_within_its_bound() {
        let longest = format!("{DPV}{}", "A".repeat(IRI_BYTES_MAX - DPV.len()));
        for good in [
            longest.as_str(),
            "https://w3id.org/dpv#A",
            "https://w3id.org/dpv#A-b_C9",
            "https://w3id.org/dpv/a#B",
            "https://w3id.org/dpv/legal-2/eu9#B",
        ] {
            assert_eq!(dpv(good).as_deref(), Some(good));
        }
        for other in [
            format!("{longest}A").as_str(),
            "dpv:9A",
            "dpv:-A",
            "dpv:A.b",
            "https://w3id.org/dpv/Legal#A",
            "https://w3id.org/dpv/le_gal#A",
            "https://w3id.org/dpv/leGal#A",
            "https://w3id.org/dpv/-a#A",
            "https://w3id.org/dpv/legal#",
            "https://w3id.org/dpv/2.0#",
            "https://w3id.org/dpv/legal#9",
        ] {
            assert_eq!(dpv(other), None, "{other}");
        }
    }

    #[test]
    fn a_message_shows_the_beginning_of_what_was_written() {
        assert_eq!(clip(&"é".repeat(81)), "é".repeat(80));
        assert_eq!(unsupported("$.a", "b").detail, "`b` at `$.a` is not a term that Perron enforces");
        assert_eq!(invalid("$.a", "no").to_string(), "term_invalid: at `$.a`: no");
    }
}
