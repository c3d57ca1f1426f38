//! The data space's certificates (RFC 5280): its root, and one for each participant's channel.
//!
//! A certificate only says whose channel it is: one DNS name
//! `<participant>.<space>.perron.internal`. What the participant may do, the register says.

use super::keys::{CertKey, random};
use perron_model::limits::{CA_LIFE_S, CERTIFICATE_BACKDATE_S, CERTIFICATES_MAX, KEY_FILE_BYTES_MAX};
use perron_model::{Error, ErrorCode, ParticipantId, Result, SpaceId, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyUsagePurpose, NameConstraints, PublicKeyData,
    SerialNumber,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer, DnsName, ServerName};
use std::fmt;
use std::time::Duration;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate, X509CertificationRequest};

/// The CA of one data space, with its key.
pub struct SpaceCa {
    space: SpaceId,
    issuer: Issuer<'static, rcgen::KeyPair>,
    pem: String,
}

/// A certificate that was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedCertificate {
    /// Whose channel it is.
    pub participant: ParticipantId,
    /// The certificate in PEM.
    pub pem: String,
    /// The certificate in DER.
    pub der: Vec<u8>,
    /// Its serial number, 16 bytes.
    pub serial: [u8; 16],
    /// Not valid from here on.
    pub not_after: Timestamp,
}

impl SpaceCa {
    /// Makes the self-signed root of `space`, valid for `CA_LIFE_S` from `now` on; it can sign
    /// names of this space alone.
    pub fn create(space: &SpaceId, key: &CertKey, now: Timestamp) -> Result<SpaceCa> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name_of(&format!("{space} data space CA"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName(domain(space))],
            excluded_subtrees: Vec::new(),
        });
        set_validity(&mut params, now, CA_LIFE_S)?;
        params.serial_number = Some(SerialNumber::from_slice(&serial()?));
        let pair = key.rcgen()?;
        let certificate = params.self_signed(&pair).map_err(|_| cannot_issue())?;
        Self::with(space, pair, certificate.der(), certificate.pem())
    }

    /// The CA of `space` from its certificate, which must be of `key`.
    pub fn load(space: &SpaceId, key: &CertKey, pem: &str) -> Result<SpaceCa> {
        let der = one_certificate(pem)?;
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|_| invalid("the CA's certificate can't be read"))?;
        if !parsed.is_ca() || parsed.public_key().subject_public_key.data.as_ref() != key.public_point() {
            return Err(invalid("the CA's certificate is not of the CA's key"));
        }
        let constrained = parsed.name_constraints().ok().flatten().is_some_and(|c| {
            matches!(c.value.permitted_subtrees.as_deref(), Some([only])
                if matches!(&only.base, GeneralName::DNSName(name) if *name == domain(space)))
        });
        if !constrained {
            return Err(invalid("the CA's certificate is not of this data space"));
        }
        Self::with(space, key.rcgen()?, &der, pem.to_owned())
    }

    fn with(space: &SpaceId, pair: rcgen::KeyPair, der: &CertificateDer<'_>, pem: String) -> Result<SpaceCa> {
        let issuer = Issuer::from_ca_cert_der(der, pair).map_err(|_| cannot_issue())?;
        Ok(SpaceCa { space: space.clone(), issuer, pem })
    }

    /// The root's certificate in PEM.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Issues a certificate for `participant`, valid `life_s` seconds from `now` on. Of the
    /// request (RFC 2986) only the key counts, whose possession its signature proves.
    pub fn issue(
        &self,
        participant: &ParticipantId,
        csr_pem: &str,
        now: Timestamp,
        life_s: i64,
    ) -> Result<IssuedCertificate> {
        let request = parse_csr(csr_pem)?;
        let name = server_name_text(participant, &self.space)?;
        let mut params = CertificateParams::new(vec![name]).map_err(|_| cannot_issue())?;
        params.distinguished_name = name_of(participant.as_str());
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let not_after = set_validity(&mut params, now, life_s)?;
        let serial = serial()?;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        let certificate = params.signed_by(&request.public_key, &self.issuer).map_err(|_| cannot_issue())?;
        Ok(IssuedCertificate {
            participant: participant.clone(),
            pem: certificate.pem(),
            der: certificate.der().to_vec(),
            serial,
            not_after,
        })
    }
}

impl fmt::Debug for SpaceCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpaceCa({})", self.space)
    }
}

/// A certificate signing request (RFC 2986) in PEM, signed by `key`.
pub fn csr(key: &CertKey, participant: &ParticipantId, space: &SpaceId) -> Result<String> {
    let mut params = CertificateParams::new(vec![server_name_text(participant, space)?]).map_err(|_| cannot_issue())?;
    params.distinguished_name = name_of(participant.as_str());
    let request = params.serialize_request(&key.rcgen()?).map_err(|_| cannot_issue())?;
    request.pem().map_err(|_| cannot_issue())
}

/// Refuses a request whose signature isn't by the key it is for, or whose key isn't of P-256.
pub fn require_possession(csr_pem: &str) -> Result<()> {
    parse_csr(csr_pem).map(|_| ())
}

/// The participant of a certificate: the one alternative name it has must be the DNS name
/// `<participant>.<space>.perron.internal`. Whether it is of the space's CA, TLS has verified.
pub fn participant_of(certificate: &[u8], space: &SpaceId) -> Result<ParticipantId> {
    let (rest, parsed) =
        X509Certificate::from_der(certificate).map_err(|_| invalid("the certificate can't be read"))?;
    let names = parsed.subject_alternative_name().map_err(|_| invalid("the certificate's names can't be read"))?;
    let names = names.map(|n| n.value.general_names.as_slice()).unwrap_or_default();
    match names {
        [GeneralName::DNSName(name)] if rest.is_empty() => name
            .split_once('.')
            .filter(|(_, tail)| *tail == domain(space))
            .and_then(|(first, _)| ParticipantId::parse(first).ok())
            .ok_or_else(|| invalid("the certificate names no participant of this data space")),
        _ => Err(invalid("a certificate has exactly one name, that of a participant")),
    }
}

/// SHA-256 of the one certificate (DER) of a PEM file: how a user is known by it.
pub fn digest_of(pem: &str) -> Result<perron_model::Digest> {
    Ok(perron_model::Digest::of(&one_certificate(pem)?))
}

/// When the certificate stops being valid.
pub fn not_after(certificate: &[u8]) -> Result<Timestamp> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| invalid("the certificate can't be read"))?;
    Timestamp::from_millis(parsed.validity().not_after.timestamp().saturating_mul(1000))
}

/// From when to when a certificate is valid, in seconds of Unix time.
pub(super) fn validity_s(certificate: &[u8]) -> Result<(i64, i64)> {
    let (_, parsed) = X509Certificate::from_der(certificate).map_err(|_| invalid("the certificate can't be read"))?;
    Ok((parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp()))
}

/// The name that a participant's certificate carries, and that who dials it verifies.
pub fn server_name(participant: &ParticipantId, space: &SpaceId) -> Result<ServerName<'static>> {
    let name = server_name_text(participant, space)?;
    DnsName::try_from(name).map(ServerName::DnsName).map_err(|_| no_dns_name(participant))
}

/// The certificates of a PEM text, one to `CERTIFICATES_MAX`.
pub(super) fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>> {
    if pem.len() > KEY_FILE_BYTES_MAX {
        return Err(Error::new(ErrorCode::TooLarge, format!("certificates of over {KEY_FILE_BYTES_MAX} bytes")));
    }
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<std::result::Result<_, _>>()
        .map_err(|_| invalid("the certificates are not PEM"))?;
    if chain.is_empty() || chain.len() > CERTIFICATES_MAX {
        return Err(invalid("there must be one to four certificates"));
    }
    Ok(chain)
}

/// The only certificate of a PEM text.
pub(super) fn one_certificate(pem: &str) -> Result<CertificateDer<'static>> {
    let mut chain = certificates(pem)?;
    match (chain.pop(), chain.is_empty()) {
        (Some(certificate), true) => Ok(certificate),
        _ => Err(invalid("there must be exactly one certificate")),
    }
}

fn parse_csr(pem: &str) -> Result<CertificateSigningRequestParams> {
    let wrong = || invalid("the certificate request is not one of a P-256 key, signed by that key");
    if pem.len() > KEY_FILE_BYTES_MAX {
        return Err(wrong());
    }
    let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()).map_err(|_| wrong())?;
    // The curve is read here, because rcgen infers it from the signature's algorithm.
    let (rest, parsed) = X509CertificationRequest::from_der(&der).map_err(|_| wrong())?;
    let algorithm = &parsed.certification_request_info.subject_pki.algorithm;
    let curve = algorithm.parameters.as_ref().and_then(|p| p.as_oid().ok());
    let is_p256 = algorithm.algorithm.to_id_string() == "1.2.840.10045.2.1"
        && curve.is_some_and(|c| c.to_id_string() == "1.2.840.10045.3.1.7");
    let request = CertificateSigningRequestParams::from_der(&der).map_err(|_| wrong())?;
    let point = request.public_key.der_bytes();
    if rest.is_empty()
        && is_p256
        && point.len() == 65
        && PublicKeyData::algorithm(&request.public_key) == &rcgen::PKCS_ECDSA_P256_SHA256
    {
        Ok(request)
    } else {
        Err(wrong())
    }
}

fn domain(space: &SpaceId) -> String {
    format!("{space}.perron.internal")
}

fn server_name_text(participant: &ParticipantId, space: &SpaceId) -> Result<String> {
    let name = format!("{participant}.{}", domain(space));
    match DnsName::try_from(name.as_str()) {
        Ok(_) => Ok(name),
        Err(_) => Err(no_dns_name(participant)),
    }
}

fn name_of(common_name: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, "perron");
    name.push(DnType::CommonName, common_name);
    name
}

/// Sets validity from a little before `now`; gives its end.
fn set_validity(params: &mut CertificateParams, now: Timestamp, life_s: i64) -> Result<Timestamp> {
    if life_s <= 0 || life_s > CA_LIFE_S {
        return Err(invalid("a certificate's life is more than nothing and at most ten years"));
    }
    let end = now.plus_millis(life_s.saturating_mul(1000));
    let date = |t: Timestamp| {
        let since = Duration::from_secs(u64::try_from(t.millis() / 1000).ok()?);
        rcgen::date_time_ymd(1970, 1, 1).checked_add(since.try_into().ok()?)
    };
    let begin = now.plus_millis(-CERTIFICATE_BACKDATE_S * 1000);
    params.not_before = date(begin).ok_or_else(cannot_issue)?;
    params.not_after = date(end).ok_or_else(cannot_issue)?;
    Timestamp::from_millis(end.millis() / 1000 * 1000)
}

/// 16 random bytes, positive and of full length (RFC 5280, section 4.1.2.2).
fn serial() -> Result<[u8; 16]> {
    let mut bytes = [0u8; 16];
    random(&mut bytes)?;
    let [first, ..] = &mut bytes;
    *first = (*first & 0x7f) | 0x40;
    Ok(bytes)
}

fn invalid(detail: &str) -> Error {
    Error::new(ErrorCode::CertificateInvalid, detail)
}

fn no_dns_name(participant: &ParticipantId) -> Error {
    invalid(&format!("`{participant}` can't be part of a DNS name"))
}

fn cannot_issue() -> Error {
    Error::new(ErrorCode::Internal, "the certificate could not be made")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trust::testing::{at, id, space};
    use perron_model::limits::CERTIFICATE_LIFE_S;

    fn ca() -> SpaceCa {
        SpaceCa::create(&space(), &CertKey::generate().unwrap(), at(0)).unwrap()
    }

    #[test]
    fn a_certificate_names_its_participant_and_nothing_of_the_request() {
        let key = CertKey::generate().unwrap();
        // The request asks to be another.
        let request = csr(&key, &id("seraing"), &space()).unwrap();
        let issued = ca().issue(&id("huy"), &request, at(0), CERTIFICATE_LIFE_S).unwrap();
        assert_eq!(participant_of(&issued.der, &space()).unwrap(), id("huy"));
        assert_eq!(one_certificate(&issued.pem).unwrap().as_ref(), issued.der);
        assert_eq!(not_after(&issued.der).unwrap(), issued.not_after);
        assert_eq!(issued.not_after, at(CERTIFICATE_LIFE_S * 1000));
        let (_, parsed) = X509Certificate::from_der(&issued.der).unwrap();
        assert!(!parsed.is_ca());
        assert_eq!(parsed.public_key().subject_public_key.data.as_ref(), key.public_point());
        assert_eq!(parsed.raw_serial(), issued.serial);
        assert_eq!(parsed.validity().not_before.timestamp(), at(0).millis() / 1000 - CERTIFICATE_BACKDATE_S);
        let usage = parsed.extended_key_usage().unwrap().unwrap().value;
        assert!(usage.server_auth && usage.client_auth && !usage.any && !usage.code_signing);
    }

    #[test]
    fn serial_numbers_differ() {
        let (ca, key) = (ca(), CertKey::generate().unwrap());
        let request = csr(&key, &id("huy"), &space()).unwrap();
        let one = ca.issue(&id("huy"), &request, at(0), 60).unwrap();
        let two = ca.issue(&id("huy"), &request, at(0), 60).unwrap();
        assert_ne!(one.serial, two.serial);
    }

    #[test]
    fn a_certificate_of_another_space_or_shape_names_nobody() {
        let other = SpaceId::parse("elsewhere").unwrap();
        let key = CertKey::generate().unwrap();
        let request = csr(&key, &id("huy"), &space()).unwrap();
        let issued = ca().issue(&id("huy"), &request, at(0), 60).unwrap();
        assert_eq!(participant_of(&issued.der, &other).unwrap_err().code, ErrorCode::CertificateInvalid);
        let domain = domain(&space());
        for names in [
            vec![],
            vec![domain.clone()],
            vec![format!(".{domain}")],
            vec![format!("a.b.{domain}")],
            vec![format!("*.{domain}")],
            vec![format!("Huy.{domain}")],
            vec![format!("huy.{domain}.")],
            vec![format!("huy.{domain}.evil.example")],
            vec![format!("huy.{domain}"), format!("seraing.{domain}")],
            vec![format!("huy.{domain}"), "example.org".to_owned()],
            vec!["10.0.0.1".to_owned()],
        ] {
            let certificate =
                CertificateParams::new(names.clone()).unwrap().self_signed(&key.rcgen().unwrap()).unwrap();
            let error = participant_of(certificate.der(), &space()).unwrap_err();
            assert_eq!(error.code, ErrorCode::CertificateInvalid, "{names:?}");
        }
        let mut trailing = issued.der.clone();
        trailing.push(0);
        assert!(participant_of(&trailing, &space()).is_err());
        assert!(participant_of(&[], &space()).is_err());
    }

    #[test]
    fn a_request_must_be_signed_by_its_own_p256_key() {
        let ca = ca();
        let issue = |pem: &str| ca.issue(&id("huy"), pem, at(0), 60).map(|_| ());
        let good = csr(&CertKey::generate().unwrap(), &id("huy"), &space()).unwrap();
        issue(&good).unwrap();
        require_possession(&good).unwrap();
        let params = CertificateParams::new(vec!["huy.x".to_owned()]).unwrap();
        for algorithm in [&rcgen::PKCS_ED25519, &rcgen::PKCS_ECDSA_P384_SHA384] {
            let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let pem = params.serialize_request(&pair).unwrap().pem().unwrap();
            assert_eq!(issue(&pem).unwrap_err().code, ErrorCode::CertificateInvalid);
        }
        // A signature that isn't by that key: the last byte of it changed.
        let mut der = CertificateSigningRequestDer::from_pem_slice(good.as_bytes()).unwrap().to_vec();
        *der.last_mut().unwrap() ^= 1;
        let body = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &der);
        let pem = format!("-----BEGIN CERTIFICATE REQUEST-----\n{body}\n-----END CERTIFICATE REQUEST-----\n");
        assert_eq!(issue(&pem).unwrap_err().code, ErrorCode::CertificateInvalid);
        for bad in ["", "x", ca.pem()] {
            assert_eq!(issue(bad).unwrap_err().code, ErrorCode::CertificateInvalid);
        }
    }

    #[test]
    fn a_ca_comes_back_with_its_own_key_and_space_alone() {
        let key = CertKey::generate().unwrap();
        let made = SpaceCa::create(&space(), &key, at(0)).unwrap();
        let read = SpaceCa::load(&space(), &key, made.pem()).unwrap();
        assert_eq!(read.pem(), made.pem());
        assert_eq!(not_after(&one_certificate(made.pem()).unwrap()).unwrap(), at(CA_LIFE_S * 1000));
        assert!(SpaceCa::load(&space(), &CertKey::generate().unwrap(), made.pem()).is_err());
        assert!(SpaceCa::load(&SpaceId::parse("elsewhere").unwrap(), &key, made.pem()).is_err());
        assert!(SpaceCa::load(&space(), &key, &made.pem().repeat(2)).is_err());
    }

    #[test]
    fn names_that_are_no_dns_labels_get_no_certificate() {
        for good in ["huy", "a_b", "0", "x-y"] {
            server_name(&id(good), &space()).unwrap();
        }
        assert_eq!(server_name(&id("huy-"), &space()).unwrap_err().code, ErrorCode::CertificateInvalid);
    }

    #[test]
    fn a_life_is_bounded() {
        let (ca, request) = (ca(), csr(&CertKey::generate().unwrap(), &id("huy"), &space()).unwrap());
        for life in [0, -1, CA_LIFE_S + 1, i64::MAX] {
            assert!(ca.issue(&id("huy"), &request, at(0), life).is_err());
        }
        // At the end of time the end is held, and nothing overflows.
        let late = Timestamp::parse("9999-12-31T00:00:00Z").unwrap();
        let issued = ca.issue(&id("huy"), &request, late, 30 * 24 * 3600).unwrap();
        assert_eq!(issued.not_after.to_string(), "9999-12-31T23:59:59.000Z");
    }
}
