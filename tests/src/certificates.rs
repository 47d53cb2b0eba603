//! Certificates for listeners on the loopback interface, from an authority of their own.

use std::fs;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};

/// Who signs certificates.
#[derive(Debug)]
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate for `localhost`, `127.0.0.1` and whatever else was named, in PEM.
#[derive(Debug)]
pub struct Certificate {
    /// The certificate.
    pub chain: String,
    /// Its key.
    pub key: String,
}

impl Authority {
    /// A new one.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::new([]).expect("no names");
        // Of one name, the two would be taken for one certificate that signed itself.
        params.distinguished_name.push(DnType::CommonName, "mqtt-access test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        Self(CertifiedIssuer::self_signed(params, new_key()).expect("sign the authority"))
    }

    /// Its own certificate, PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Its own certificate, DER.
    #[must_use]
    pub fn der(&self) -> Vec<u8> {
        self.0.der().to_vec()
    }

    /// A certificate for servers on the loopback interface.
    #[must_use]
    pub fn certificate(&self) -> Certificate {
        self.certificate_also_for(&[])
    }

    /// [`Self::certificate`] with more names or addresses.
    #[must_use]
    pub fn certificate_also_for(&self, more: &[&str]) -> Certificate {
        let names = ["localhost", "127.0.0.1"].iter().chain(more).map(|&name| name.to_owned());
        let mut params = CertificateParams::new(names.collect::<Vec<_>>()).expect("names and addresses");
        params.distinguished_name.push(DnType::CommonName, "localhost");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let key = new_key();
        let certificate = params.signed_by(&key, &self.0).expect("sign the certificate");
        Certificate { chain: certificate.pem(), key: key.serialize_pem() }
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl Certificate {
    /// Writes `tls.crt` and `tls.key` as a mounted Secret of the type `kubernetes.io/tls` has them.
    pub fn write(&self, folder: &Path) {
        for (name, text) in [("tls.crt", &self.chain), ("tls.key", &self.key)] {
            fs::write(folder.join(name), text).unwrap_or_else(|error| panic!("cannot write {name}: {error}"));
        }
    }
}

fn new_key() -> KeyPair {
    KeyPair::generate().expect("generate a key")
}
