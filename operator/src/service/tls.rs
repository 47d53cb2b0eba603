//! The certificate of the listener: read from a folder, read again when it changes, the last good one kept.
//!
//! The folder is a mounted `kubernetes.io/tls` Secret. The kubelet replaces what is in it some time after the Secret was
//! edited; a certificate that is renewed must not need a restart, and one that is broken must not end the service.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use thiserror::Error;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{self, ServerConfig};
use zeroize::Zeroizing;

/// How often the folder is looked at. Two small files; a watch would have to follow the kubelet's symbolic links.
const LOOK: Duration = Duration::from_secs(2);

/// Why a certificate cannot be used. No message holds anything of the key.
#[derive(Debug, Error)]
pub(crate) enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read `{0}`; put the files of a kubernetes.io/tls Secret into the folder")]
    Read(String, #[source] std::io::Error),
    /// `tls.crt` holds no certificate.
    #[error("`tls.crt` holds no certificate in PEM")]
    Chain(#[source] pem::Error),
    /// `tls.key` holds no private key.
    #[error("`tls.key` holds no private key in PEM")]
    Key(#[source] pem::Error),
    /// The two do not belong together, or are of a kind that is not known.
    #[error("the certificate and the key cannot be used together")]
    Pair(#[source] rustls::Error),
}

/// What the two files hold.
#[derive(PartialEq, Eq)]
struct Files {
    chain: Vec<u8>,
    key: Zeroizing<Vec<u8>>,
}

/// The certificate in use.
pub(super) struct Certificate {
    folder: PathBuf,
    current: Mutex<(Files, Arc<ServerConfig>)>,
}

impl Certificate {
    /// Reads the folder; without a good certificate there is nothing to start with.
    pub(super) fn read(folder: &Path) -> Result<Self, CertificateError> {
        let files = Files::read(folder)?;
        let config = files.config()?;
        Ok(Self { folder: folder.to_owned(), current: Mutex::new((files, config)) })
    }

    /// For the next connection.
    pub(super) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner).1)
    }

    /// Looks at the folder from time to time. Never ends.
    pub(super) async fn follow(&self) {
        let mut complained = false;
        loop {
            tokio::time::sleep(LOOK).await;
            match self.look() {
                Ok(true) => tracing::info!("the certificate of the token service was renewed"),
                Ok(false) => {}
                // Between the kubelet's two writes as well: said once, and the last good one stays.
                Err(error) if !complained => {
                    tracing::warn!(error = %crate::error_chain(&error), "the certificate cannot be used; the last one stays");
                    complained = true;
                    continue;
                }
                Err(_) => continue,
            }
            complained = false;
        }
    }

    /// Whether there was a new one.
    fn look(&self) -> Result<bool, CertificateError> {
        let files = Files::read(&self.folder)?;
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0 == files {
            return Ok(false);
        }
        let config = files.config()?;
        *current = (files, config);
        Ok(true)
    }
}

impl Files {
    fn read(folder: &Path) -> Result<Self, CertificateError> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).map_err(|error| CertificateError::Read(path.display().to_string(), error))
        };
        Ok(Self { chain: read("tls.crt")?, key: Zeroizing::new(read("tls.key")?) })
    }

    fn config(&self) -> Result<Arc<ServerConfig>, CertificateError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.chain).collect();
        let chain = chain.map_err(CertificateError::Chain)?;
        if chain.is_empty() {
            return Err(CertificateError::Chain(pem::Error::NoItemsFound));
        }
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(CertificateError::Key)?;
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(CertificateError::Pair)?
            .with_no_client_auth()
            .with_single_cert(chain, key);
        let mut config = config.map_err(CertificateError::Pair)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        std::fs::write(folder.join("tls.crt"), made.cert.pem()).unwrap();
        std::fs::write(folder.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    }

    #[test]
    fn a_broken_certificate_leaves_the_last_good_one_and_a_new_one_replaces_it() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(Certificate::read(folder.path()), Err(CertificateError::Read(..))));
        write(folder.path());
        let certificate = Certificate::read(folder.path()).unwrap();
        let first = certificate.config();
        assert!(!certificate.look().unwrap());
        std::fs::write(folder.path().join("tls.crt"), "nothing").unwrap();
        assert!(matches!(certificate.look(), Err(CertificateError::Chain(_))));
        assert!(Arc::ptr_eq(&certificate.config(), &first));
        write(folder.path());
        assert!(certificate.look().unwrap());
        assert!(!Arc::ptr_eq(&certificate.config(), &first));
    }

    #[test]
    fn a_key_of_another_certificate_is_refused() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        write(one.path());
        write(other.path());
        std::fs::copy(other.path().join("tls.key"), one.path().join("tls.key")).unwrap();
        assert!(matches!(Certificate::read(one.path()), Err(CertificateError::Pair(_))));
    }
}
