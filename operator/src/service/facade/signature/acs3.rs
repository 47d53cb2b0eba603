//! ACS3-HMAC-SHA256: a MAC over the method, path, query, the named headers and a digest of the body, in `Authorization`.
//!
//! The client chooses which headers it signs. Those that decide what the request means must be among them: a header that
//! is not signed could have been changed by anybody on the way.

use axum::http::{HeaderMap, header};
use mqtt_access_core::bundle::Digest;

use super::{Method, SignatureProblem, Signed, Unsigned, nonce, timestamp};

const SCHEME: &str = "ACS3-HMAC-SHA256";
const ACTION: &str = "x-acs-action";
const VERSION: &str = "x-acs-version";
const DATE: &str = "x-acs-date";
const NONCE: &str = "x-acs-signature-nonce";
const DIGEST: &str = "x-acs-content-sha256";
/// What has to be signed.
const REQUIRED: [&str; 6] = ["host", ACTION, VERSION, DATE, NONCE, DIGEST];
const MAX_SIGNED_HEADERS: usize = 64;

/// The header `Authorization`, taken apart.
pub(super) struct Authorization {
    key_id: String,
    /// Lower case, sorted, each once.
    headers: Vec<String>,
    mac: Vec<u8>,
}

/// The `Authorization` of this scheme; `None` where there is no such header.
pub(super) fn authorization(headers: &HeaderMap) -> Result<Option<Authorization>, SignatureProblem> {
    let invalid = SignatureProblem::Invalid("Authorization");
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return if headers.contains_key(header::AUTHORIZATION) { Err(invalid) } else { Ok(None) };
    };
    let text = value.to_str().map_err(|_| invalid)?;
    let (scheme, rest) = text.split_once(' ').ok_or(invalid)?;
    if scheme != SCHEME {
        return Err(invalid);
    }
    parse(rest).map(Some).ok_or(invalid)
}

/// `Credential=..,SignedHeaders=a;b,Signature=hex`, in any order, each once.
fn parse(text: &str) -> Option<Authorization> {
    let (mut credential, mut headers, mut signature) = (None, None, None);
    for part in text.split(',') {
        let (name, value) = part.trim().split_once('=')?;
        let place = match name {
            "Credential" => &mut credential,
            "SignedHeaders" => &mut headers,
            "Signature" => &mut signature,
            _ => return None,
        };
        if place.replace(value).is_some() {
            return None;
        }
    }
    let headers: Vec<String> = headers?.split(';').map(str::to_owned).collect();
    let sorted = headers.is_sorted_by(|one, next| one < next) && headers.len() <= MAX_SIGNED_HEADERS;
    let credential = credential.filter(|key_id| !key_id.is_empty())?;
    sorted.then_some(Authorization { key_id: credential.to_owned(), headers, mac: unhex(signature?)? })
}

pub(super) fn read(request: &Unsigned<'_>, authorization: &Authorization) -> Result<Signed, SignatureProblem> {
    let missing = REQUIRED.into_iter().find(|name| !authorization.headers.iter().any(|signed| signed == name));
    if let Some(name) = missing {
        return Err(SignatureProblem::Missing(name));
    }
    // Named in a query as well they would not be what was signed as the request's meaning.
    let twice = ["Action", "Version"].into_iter().find(|name| request.params.get(name).is_some());
    if let Some(name) = twice {
        return Err(SignatureProblem::Invalid(name));
    }
    let value = |name: &'static str| one(request.headers, name).ok_or(SignatureProblem::Invalid(name));
    let digest = Digest::of(request.body);
    let body_fits = value(DIGEST)? == digest.as_str();
    let text = format!("{SCHEME}\n{}", Digest::of(canonical(request, authorization, &digest)?.as_bytes()));
    Ok(Signed {
        key_id: authorization.key_id.clone(),
        action: value(ACTION)?.to_owned(),
        version: value(VERSION)?.to_owned(),
        timestamp: timestamp(value(DATE)?, DATE)?,
        nonce: nonce(value(NONCE)?, NONCE)?,
        body_fits,
        method: Method::Acs3Sha256,
        text,
        mac: authorization.mac.clone(),
    })
}

fn canonical(
    request: &Unsigned<'_>,
    authorization: &Authorization,
    digest: &Digest,
) -> Result<String, SignatureProblem> {
    let mut headers = String::new();
    for name in &authorization.headers {
        let value = one(request.headers, name).ok_or(SignatureProblem::Invalid("SignedHeaders"))?;
        headers.extend([name.as_str(), ":", value, "\n"]);
    }
    let Unsigned { method, path, query, .. } = request;
    let (query, signed) = (query.canonical(None), authorization.headers.join(";"));
    Ok(format!("{method}\n{path}\n{query}\n{headers}\n{signed}\n{digest}"))
}

/// The value of a header that comes exactly once.
fn one<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    value.to_str().ok().map(str::trim)
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits?;
    let pairs = digits.chunks_exact(2);
    pairs
        .remainder()
        .is_empty()
        .then(|| pairs.map(|pair| pair.iter().fold(0, |byte, digit| byte * 16 + digit)).collect())
}
