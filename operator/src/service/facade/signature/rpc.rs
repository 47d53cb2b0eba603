//! RPC v1: everything in parameters, `Signature` = base64(HMAC-SHA1(secret + `&`, `METHOD&%2F&` + the other parameters)).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::params::encode;
use super::{Method, SignatureProblem, Signed, Unsigned, nonce, timestamp};

pub(super) fn read(request: &Unsigned<'_>) -> Result<Signed, SignatureProblem> {
    let required = |name: &'static str| request.params.get(name).ok_or(SignatureProblem::Missing(name));
    let is = |name: &'static str, value: &str| {
        if required(name)? == value { Ok(()) } else { Err(SignatureProblem::Invalid(name)) }
    };
    let signature = required("Signature")?;
    is("SignatureMethod", "HMAC-SHA1")?;
    is("SignatureVersion", "1.0")?;
    let key_id = required("AccessKeyId")?.to_owned();
    let action = required("Action")?.to_owned();
    let version = required("Version")?.to_owned();
    let nonce = nonce(required("SignatureNonce")?, "SignatureNonce")?;
    let timestamp = timestamp(required("Timestamp")?, "Timestamp")?;
    let mac = STANDARD.decode(signature).map_err(|_| SignatureProblem::Invalid("Signature"))?;
    let canonical = request.params.canonical(Some("Signature"));
    let text = format!("{}&{}&{}", request.method, encode(request.path), encode(&canonical));
    Ok(Signed { key_id, action, version, timestamp, nonce, body_fits: true, method: Method::RpcSha1, text, mac })
}
