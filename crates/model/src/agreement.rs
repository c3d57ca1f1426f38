//! Offers and agreements: what is signed, and the envelope that travels.

use crate::canonical;
use crate::dataset::Regime;
use crate::error::{Error, ErrorCode, Result};
use crate::id::{AgreementId, DatasetId, Digest, ParticipantId, SpaceId};
use crate::limits::DOCUMENT_BYTES_MAX;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// `typ` of an agreement's signatures.
pub const AGREEMENT_TYP: &str = "perron-agreement+jws";

/// Legal basis of the exchange: a DPV term and words for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LegalBasis {
    /// DPV IRI, for example `https://w3id.org/dpv#PublicTask`… of the DPV's LegalBasis tree.
    pub term: String,
    /// The law or decision, for people.
    pub text: String,
}

/// An offer: a set under a policy, for one consumer or for any who may see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// Name of the offer at its provider; a counter-offer keeps it.
    pub id: DatasetId,
    /// The set.
    pub dataset: DatasetId,
    /// Digest of the set's canonical description.
    pub description: Digest,
    /// The ODRL policy as published.
    pub policy: Json,
    /// Legal basis.
    pub legal_basis: LegalBasis,
    /// Regime of exchange.
    pub regime: Regime,
    /// The agreement that this one is to take the place of, for an amendment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub amends: Option<AgreementId>,
}

/// What both sides sign (canonical JSON, RFC 8785). Its SHA-256 is the agreement's name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgreementPayload {
    /// Always `perron-agreement`.
    #[serde(rename = "type")]
    pub kind: AgreementKind,
    /// The data space.
    pub space: SpaceId,
    /// The negotiation in which it was made, by the provider's number of it.
    pub negotiation: String,
    /// Who gives (odrl:assigner).
    pub provider: ParticipantId,
    /// Who receives (odrl:assignee).
    pub consumer: ParticipantId,
    /// The offer agreed, in its last form.
    pub offer: Offer,
    /// When the provider signed.
    pub timestamp: Timestamp,
}

/// Type mark of an agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AgreementKind {
    /// An agreement of version 1.
    #[serde(rename = "perron-agreement/v1")]
    V1,
}

impl AgreementPayload {
    /// The canonical bytes that are signed.
    pub fn bytes(&self) -> Result<Vec<u8>> {
        canonical::to_bytes(self)
    }
    /// The agreement's name.
    pub fn id(&self) -> Result<AgreementId> {
        Ok(Digest::of(&self.bytes()?))
    }
    /// Reads canonical bytes; any other spelling is refused.
    pub fn parse(bytes: &[u8]) -> Result<AgreementPayload> {
        let payload: AgreementPayload = canonical::from_bytes(bytes, DOCUMENT_BYTES_MAX)?;
        if payload.provider == payload.consumer {
            return Err(Error::new(
                ErrorCode::Malformed,
                "provider and consumer of an agreement are two organisations",
            ));
        }
        Ok(payload)
    }
}

/// One signature over the payload (RFC 7515, section 7.2.1): everything in the protected header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwsSignature {
    /// Protected header, base64url: `alg`, `kid`, `typ`.
    pub protected: String,
    /// Signature, base64url.
    pub signature: String,
}

/// JWS JSON serialization (RFC 7515, section 7.2.1), with all signatures over one payload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JwsJson {
    /// Payload, base64url.
    pub payload: String,
    /// Signatures: the provider's, then the consumer's.
    pub signatures: Vec<JwsSignature>,
}

/// The file that travels: the agreement and what is needed to verify it with the authority's key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// The agreement.
    pub agreement: JwsJson,
    /// The provider's register entry in force at signing (compact JWS of the authority).
    pub provider_entry: String,
    /// The consumer's register entry in force at signing.
    pub consumer_entry: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(consumer: &str) -> AgreementPayload {
        let policy = serde_json::json!({"permission": []});
        AgreementPayload {
            kind: AgreementKind::V1,
            space: SpaceId::parse("eau").unwrap(),
            negotiation: "0190".to_owned(),
            provider: ParticipantId::parse("commune").unwrap(),
            consumer: ParticipantId::parse(consumer).unwrap(),
            offer: Offer {
                id: DatasetId::parse("offer").unwrap(),
                dataset: DatasetId::parse("water").unwrap(),
                description: Digest::of(b"description"),
                policy,
                legal_basis: LegalBasis { term: "https://w3id.org/dpv#Consent".to_owned(), text: String::new() },
                regime: Regime::Contract,
                amends: None,
            },
            timestamp: Timestamp::EPOCH,
        }
    }

    #[test]
    fn an_agreement_is_named_by_the_bytes_that_are_signed() {
        let agreement = payload("intercommunale");
        let bytes = agreement.bytes().unwrap();
        assert!(bytes.starts_with(br#"{"consumer":"intercommunale","negotiation":"0190","#));
        assert_eq!(agreement.id().unwrap(), Digest::of(&bytes));
        assert_eq!(AgreementPayload::parse(&bytes).unwrap(), agreement);
    }

    #[test]
    fn an_agreement_is_between_two_organisations() {
        let bytes = payload("commune").bytes().unwrap();
        assert_eq!(AgreementPayload::parse(&bytes).unwrap_err().code, ErrorCode::Malformed);
    }
}
