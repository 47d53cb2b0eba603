//! Signing and verifying JWTs with `jsonwebtoken`, which is given HMAC-SHA256 and nothing else: for every other algorithm,
//! `none` included, it has no code to run.

use std::sync::LazyLock;

use hmac::{Hmac, KeyInit as _, Mac as _};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind, new_error};
use jsonwebtoken::signature::{self, Signer, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use sha2::Sha256;

use super::{Claims, MAX_TOKEN_BYTES};
use crate::secret::Secret;
use crate::verdict::Reason;

struct Hs256(Hmac<Sha256>);

impl Hs256 {
    fn new(algorithm: Algorithm, key: &[u8]) -> Result<Self, Error> {
        match (algorithm, Hmac::new_from_slice(key)) {
            (Algorithm::HS256, Ok(mac)) if !key.is_empty() => Ok(Self(mac)),
            _ => Err(new_error(ErrorKind::InvalidAlgorithm)),
        }
    }
}

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(self.0.clone().chain_update(message).finalize().into_bytes().to_vec())
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    /// In constant time.
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), signature::Error> {
        self.0.clone().chain_update(message).verify_slice(signature).map_err(|_| signature::Error::new())
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| Ok(Box::new(Hs256::new(*algorithm, key.as_bytes())?)),
    verifier_factory: |algorithm, key| Ok(Box::new(Hs256::new(*algorithm, key.try_get_as_bytes()?)?)),
    key_utils: KeyUtils::new_unimplemented(),
};

/// Checks the signature only: times and names are compared by the caller, to the second and with its own codes.
static SIGNATURE_ONLY: LazyLock<Validation> = LazyLock::new(|| {
    // Where another part of the process was first, its HMAC-SHA256 does as well.
    let _: Result<(), _> = PROVIDER.install_default();
    let mut validation = Validation::new(Algorithm::HS256);
    validation.required_spec_claims.clear();
    validation.validate_exp = false;
    validation.validate_nbf = false;
    validation.validate_aud = false;
    validation
});

pub(super) fn sign(claims: &Claims, key: &Secret) -> Option<String> {
    LazyLock::force(&SIGNATURE_ONLY);
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &EncodingKey::from_secret(key.expose())).ok()
}

/// The claims of a token with a valid signature. The error of the library is not kept: it could quote the token.
pub(super) fn verify(text: &str, key: &Secret) -> Result<Claims, Reason> {
    if text.len() > MAX_TOKEN_BYTES {
        return Err(Reason::TokenMalformed);
    }
    let decoded = jsonwebtoken::decode::<Claims>(text, &DecodingKey::from_secret(key.expose()), &SIGNATURE_ONLY);
    match decoded {
        // Extensions that have to be understood are not (RFC 7515, section 4.1.11).
        Ok(token) if token.header.crit.is_some() => Err(Reason::TokenMalformed),
        Ok(token) => Ok(token.claims),
        Err(error) if matches!(error.kind(), ErrorKind::InvalidSignature) => Err(Reason::TokenSignatureInvalid),
        Err(_) => Err(Reason::TokenMalformed),
    }
}
