//! TLS towards a server that the gateway connects to: checks its certificate, and sends the gateway's own (`REDIS_CERT_FILE`).
//!
//! | configured | trusted certificates |
//! |---|---|
//! | nothing | those signed by the public authorities (Mozilla's list) |
//! | `REDIS_CA_FILE`, `JWKS_CA_FILE` | those signed by the file's authorities; a self-signed certificate that is in the file itself |
//! | `#insecure` in `REDIS_URL` | all |

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, ensure};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};

use super::{Pair, Unchecked, provider};

/// The configuration for a server. `own` is the gateway's certificate, for a server that asks for one. With `insecure` the
/// server's certificate isn't checked, and `ca_file` is not read.
///
/// # Errors
/// When `ca_file` can't be read, holds no certificate, or holds something that can't be used as one; or when `own` can't be used.
pub fn client_config(
    insecure: bool,
    ca_file: Option<&Path>,
    own: Option<Pair>,
) -> anyhow::Result<Arc<ClientConfig>> {
    let provider = provider();
    let builder =
        ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let verifier: Arc<dyn ServerCertVerifier> = if insecure {
        Arc::new(Unchecked::new(provider))
    } else {
        let certificates = match ca_file {
            Some(path) => {
                CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>().context("not PEM")?
            }
            None => Vec::new(),
        };
        ensure!(ca_file.is_none() || !certificates.is_empty(), "it holds no certificate in PEM");
        Arc::new(Verifier::new(certificates, provider)?)
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
    Ok(Arc::new(match own {
        Some(Pair { chain, key }) => builder.with_client_auth_cert(chain, key)?,
        None => builder.with_no_client_auth(),
    }))
}

/// Trusts authorities, and self-signed certificates that are in the CA file.
///
/// WebPKI refuses a self-signed certificate as the server's own, even if it is the trust anchor: `openssl req -x509` makes it an
/// authority, and often gives it no name that WebPKI looks at. OpenSSL, and so redis-cli, trusts such a certificate if it is in the CA
/// file, whatever its name, because the operator has named this very certificate. The gateway does the same, for exactly these bytes,
/// and only while the certificate is valid.
#[derive(Debug)]
struct Verifier {
    authorities: Arc<WebPkiServerVerifier>,
    /// The certificates of the CA file that are their own issuer.
    self_signed: Vec<CertificateDer<'static>>,
}

impl Verifier {
    /// Trusts `certificates`, or the public authorities if there are none.
    fn new(
        certificates: Vec<CertificateDer<'static>>,
        provider: Arc<CryptoProvider>,
    ) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        if certificates.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        for (place, certificate) in certificates.iter().enumerate() {
            roots.add(certificate.clone()).with_context(|| format!("certificate {}", place + 1))?;
        }
        let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
        let self_signed = certificates.into_iter().filter(is_self_issued).collect();
        Ok(Self { authorities, self_signed })
    }
}

/// Whether a certificate names itself as its issuer. A server's certificate that an authority has signed doesn't, even if it is in the
/// file beside the authority's: its name is checked.
fn is_self_issued(certificate: &CertificateDer<'_>) -> bool {
    webpki::EndEntityCert::try_from(certificate)
        .is_ok_and(|certificate| certificate.issuer() == certificate.subject())
}

/// Whether WebPKI refuses the certificate only because it is an authority's or has another name. WebPKI checks the dates before that.
fn objects_to_role_or_name(reason: &CertificateError) -> bool {
    match reason {
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => true,
        CertificateError::Other(OtherError(other)) => {
            other.downcast_ref::<webpki::Error>() == Some(&webpki::Error::CaUsedAsEndEntity)
        }
        _ => false,
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict =
            self.authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verdict {
            Err(Error::InvalidCertificate(reason))
                if objects_to_role_or_name(&reason) && self.self_signed.contains(end_entity) =>
            {
                Ok(ServerCertVerified::assertion())
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{
        BasicConstraints, Certificate, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd,
    };

    use super::*;

    /// A certificate's parameters, with a subject of its own.
    fn params(subject: &str, names: &[&str]) -> CertificateParams {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, subject);
        params.not_before = date_time_ymd(2025, 1, 1);
        params.not_after = date_time_ymd(2030, 1, 1);
        params
    }

    fn self_signed(params: &CertificateParams) -> Certificate {
        params.self_signed(&KeyPair::generate().unwrap()).unwrap()
    }

    /// Verifies a server that sends `shown`, with `file` as CA file, at the beginning of a year.
    fn verdict(file: &[&Certificate], shown: &Certificate, name: &str, year: u64) -> Result<(), Error> {
        let file = file.iter().map(|certificate| certificate.der().clone()).collect();
        let verifier = Verifier::new(file, provider()).unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs((year - 1970) * 31_557_600 + 86_400));
        let name = ServerName::try_from(name.to_owned()).unwrap();
        verifier.verify_server_cert(shown.der(), &[], &name, &[], now).map(drop)
    }

    #[test]
    fn a_self_signed_certificate_in_the_file_is_trusted() {
        let plain = self_signed(&params("redis", &["redis.test"]));
        // As `openssl req -x509` makes them: an authority, and without a name in it.
        let mut authority = params("redis", &[]);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = self_signed(&authority);
        for certificate in [&plain, &authority] {
            for name in ["redis.test", "elsewhere.test", "10.0.0.1"] {
                assert_eq!(verdict(&[certificate], certificate, name, 2027), Ok(()), "{name}");
            }
        }
    }

    #[test]
    fn its_dates_are_checked() {
        for is_ca in [IsCa::NoCa, IsCa::Ca(BasicConstraints::Unconstrained)] {
            let mut params = params("redis", &["redis.test"]);
            params.is_ca = is_ca;
            let certificate = self_signed(&params);
            for (year, expected) in [(2024, "NotValidYet"), (2031, "Expired")] {
                let refused = verdict(&[&certificate], &certificate, "redis.test", year).unwrap_err();
                assert!(format!("{refused:?}").contains(expected), "{refused:?}");
            }
        }
    }

    #[test]
    fn another_certificate_of_the_same_subject_is_refused() {
        for is_ca in [IsCa::NoCa, IsCa::Ca(BasicConstraints::Unconstrained)] {
            let mut params = params("redis", &["redis.test"]);
            params.is_ca = is_ca;
            let (named, shown) = (self_signed(&params), self_signed(&params));
            let refused = verdict(&[&named], &shown, "redis.test", 2027).unwrap_err();
            assert!(matches!(refused, Error::InvalidCertificate(_)), "{refused:?}");
        }
    }

    #[test]
    fn a_certificate_beside_its_authority_is_held_to_its_name() {
        let authority_key = KeyPair::generate().unwrap();
        let mut authority_params = params("authority", &[]);
        authority_params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = authority_params.self_signed(&authority_key).unwrap();
        let issuer = Issuer::new(authority_params, &authority_key);
        let key = KeyPair::generate().unwrap();
        let server = params("server", &["redis.test"]).signed_by(&key, &issuer).unwrap();
        for file in [&[&authority][..], &[&server, &authority]] {
            assert_eq!(verdict(file, &server, "redis.test", 2027), Ok(()));
            let refused = verdict(file, &server, "elsewhere.test", 2027).unwrap_err();
            assert!(format!("{refused:?}").contains("NotValidForName"), "{refused:?}");
        }
    }

    #[test]
    fn a_file_without_a_certificate_is_no_configuration() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = client_config(false, Some(file.path()), None).unwrap_err();
        assert_eq!(error.to_string(), "it holds no certificate in PEM");
    }
}
