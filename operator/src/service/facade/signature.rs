//! The two ways in which the vendor's clients sign a request, brought into one form: who says to have signed, over which
//! text, with which MAC, when, and under which nonce.
//!
//! Sources: the vendor's documents "RPC request syntax and signature method (V2)" and "V3 request body & signature", and
//! the Python SDK alibabacloud-tea-openapi 0.4.6, which signs in the second way unless it is told `v2`.

mod acs3;
mod rpc;

use axum::http::HeaderMap;
use hmac::digest::InvalidLength;
use hmac::{Hmac, KeyInit as _, Mac};
use mqtt_access_core::bundle::UnixSeconds;
use mqtt_access_core::secret::Secret;
use sha1::Sha1;
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::params::Params;

/// The longest nonce that is remembered.
const MAX_NONCE_BYTES: usize = 128;

/// What a signature is over.
pub(super) struct Unsigned<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) params: &'a Params,
    /// The part of the parameters that stood in the query.
    pub(super) query: &'a Params,
    pub(super) body: &'a [u8],
}

/// Why a request is not signed in either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SignatureProblem {
    /// This parameter or header is missing.
    Missing(&'static str),
    /// This parameter or header does not say what it has to.
    Invalid(&'static str),
}

/// A signature that was read and not verified.
pub(super) struct Signed {
    pub(super) key_id: String,
    pub(super) action: String,
    pub(super) version: String,
    pub(super) timestamp: UnixSeconds,
    pub(super) nonce: String,
    /// Whether the body is what the signature says it is.
    body_fits: bool,
    method: Method,
    text: String,
    mac: Vec<u8>,
}

enum Method {
    /// RPC v1: HMAC-SHA1, the key followed by `&`.
    RpcSha1,
    /// ACS3-HMAC-SHA256.
    Acs3Sha256,
}

/// Reads the signature of a request.
pub(super) fn read(request: &Unsigned<'_>) -> Result<Signed, SignatureProblem> {
    match acs3::authorization(request.headers)? {
        Some(_) if request.params.get("Signature").is_some() => Err(SignatureProblem::Invalid("Signature")),
        Some(authorization) => acs3::read(request, &authorization),
        None => rpc::read(request),
    }
}

impl Signed {
    /// Whether it was signed with this secret. A request of nobody is given the secret of nobody, and takes as long.
    pub(super) fn is_by(&self, secret: &Secret) -> bool {
        let expected = match self.method {
            Method::RpcSha1 => {
                let key = Secret::new([secret.expose(), b"&"].concat());
                finish(Hmac::<Sha1>::new_from_slice(key.expose()), self.text.as_bytes())
            }
            Method::Acs3Sha256 => finish(Hmac::<Sha256>::new_from_slice(secret.expose()), self.text.as_bytes()),
        };
        let fits: bool = expected.ct_eq(&self.mac).into();
        fits && !expected.is_empty() && self.body_fits && !secret.expose().is_empty()
    }
}

/// Empty never happens: an HMAC takes keys of any length.
fn finish<M: Mac>(mac: Result<M, InvalidLength>, message: &[u8]) -> Vec<u8> {
    mac.map(|mac| mac.chain_update(message).finalize().into_bytes().to_vec()).unwrap_or_default()
}

fn nonce(text: &str, name: &'static str) -> Result<String, SignatureProblem> {
    let fits = !text.is_empty() && text.len() <= MAX_NONCE_BYTES;
    fits.then(|| text.to_owned()).ok_or(SignatureProblem::Invalid(name))
}

/// `2020-12-31T17:01:01Z`, and nothing else: one time has one spelling.
fn timestamp(text: &str, name: &'static str) -> Result<UnixSeconds, SignatureProblem> {
    let time: Option<k8s_openapi::jiff::Timestamp> = text.parse().ok();
    let time = time.filter(|time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string() == text);
    time.map(k8s_openapi::jiff::Timestamp::as_second).ok_or(SignatureProblem::Invalid(name))
}

#[cfg(test)]
mod tests;
