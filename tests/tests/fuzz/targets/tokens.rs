//! Token passwords, and tokens.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use mqtt_access_core::credential::{self, MacAlgorithm};
use mqtt_access_core::secret::Secret;
use mqtt_access_core::token::{self, Claims, Expected, MAX_LIFETIME, MAX_RESOURCES, Token, token_key};
use mqtt_access_core::topic::Filter;
use mqtt_access_core::verdict::Reason;
use serde_json::Value;

use super::{seed, split, text, with_one_byte_changed};
use crate::two_tenants::{KEY, NOW, claims, signed};

/// What is read is what was written: one to three pairs of different types.
pub(super) fn password(data: &[u8]) {
    match token::pairs(data) {
        Err(reason) => assert_eq!(reason, Reason::TokenMalformed),
        Ok(pairs) => {
            let written: Vec<String> = pairs.iter().map(|it| format!("{}|{}", it.act.as_str(), it.token)).collect();
            assert_eq!(written.join("|").as_bytes(), data);
            let types: std::collections::BTreeSet<_> = pairs.iter().map(|pair| pair.act).collect();
            assert!((1..=3).contains(&pairs.len()) && types.len() == pairs.len());
            assert!(pairs.iter().all(|pair| !pair.token.is_empty() && !pair.token.contains('|')));
        }
    }
}

pub(super) fn passwords() -> Vec<Vec<u8>> {
    ["R|123", "W|b|RW|c|R|a", "R|a|W", "RW||R|b"].map(|text| text.as_bytes().to_vec()).into()
}

/// (0) Any text is no token; (1) neither is one with a byte changed, (2) or with a part exchanged; (3) a claims set and (4) a
/// header with claims that were signed with the right key count only if everything in them is in order.
pub(super) fn jwt(data: &[u8]) {
    let (how, rest) = split(data);
    let good = signed(&claims(), KEY);
    let parts: Vec<&str> = good.split('.').collect();
    let presented = match how % 5 {
        0 => text(rest),
        1 => with_one_byte_changed(&good, rest),
        2 => {
            let (place, part) = split(rest);
            let part = URL_SAFE_NO_PAD.encode(part);
            let mut parts = parts;
            let place = usize::from(place) % parts.len();
            parts[place] = &part;
            parts.join(".")
        }
        3 => return in_order(br#"{"alg":"HS256"}"#, rest),
        _ => {
            let (length, rest) = split(rest);
            let (header, payload) = rest.split_at(rest.len().min(usize::from(length)));
            return in_order(header, payload);
        }
    };
    if presented != good {
        assert!(verify(&presented).is_err());
    }
}

fn verify(presented: &str) -> Result<Token, Reason> {
    let expected = Expected { key_id: "AK.1", instance_id: "mqtt-acme", max_lifetime: MAX_LIFETIME };
    token::verify(presented, &token_key(&Secret::from(KEY)), expected, NOW)
}

/// Signs a header and claims, and looks at what is accepted with other eyes.
fn in_order(header: &[u8], payload: &[u8]) {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload));
    let mac = credential::password(MacAlgorithm::HmacSha256, &token_key(&Secret::from(KEY)), &message);
    let mac = URL_SAFE_NO_PAD.encode(STANDARD.decode(mac).unwrap_or_default());
    let Ok(token) = verify(&format!("{message}.{mac}")) else { return };
    // Claims that nobody here knows are skipped, not read: what is no text or no number in them stays unseen.
    let read = |bytes: &[u8]| serde_json::from_str::<Value>(&text(bytes)).ok();
    let Some((header, payload)) = read(header).zip(read(payload)) else { return };
    assert_eq!(header["alg"], "HS256");
    assert!(header.get("crit").is_none_or(Value::is_null), "{header}");
    let (iat, exp) = (payload["iat"].as_i64().unwrap_or(i64::MAX), payload["exp"].as_i64().unwrap_or(i64::MIN));
    assert_eq!((&payload["iss"], &payload["aud"]), (&Value::from("AK.1"), &Value::from("mqtt-acme")));
    assert!(iat <= NOW + 60 && exp > NOW && exp - iat >= 60);
    assert_eq!((token.issued_at, token.expires_at), (iat, exp.min(iat + MAX_LIFETIME)));
    assert!(token.expires_at > NOW);
    assert_eq!((payload["jti"].as_str(), payload["act"].as_str()), (Some(&*token.id), Some(token.act.as_str())));
    assert!((1..=128).contains(&token.id.len()));
    assert_eq!(payload.get("sub").and_then(Value::as_str), token.client_id.as_deref());
    assert_eq!(payload["res"], Value::from(token.resources.clone()));
    assert!((1..=MAX_RESOURCES).contains(&token.resources.len()));
    let prefixed = |it: &String| ["$share", "$queue", "$exclusive"].contains(&it.split('/').next().unwrap_or_default());
    assert!(token.resources.iter().all(|resource| Filter::parse(resource).is_ok() && !prefixed(resource)));
}

pub(super) fn jwts() -> Vec<Vec<u8>> {
    let good = signed(&claims(), KEY);
    let full = Claims { nbf: Some(NOW), sub: Some("GID_acme@@@any".to_owned()), ..claims() };
    let payload = serde_json::to_vec(&full).unwrap_or_default();
    let header = br#"{"typ":"JWT","alg":"HS256","crit":null}"#;
    let length = u8::try_from(header.len()).unwrap_or(u8::MAX);
    vec![
        seed(0, good),
        seed(1, [0, 40, b'A']),
        seed(2, seed(0, br#"{"alg":"none"}"#)),
        seed(3, &payload),
        seed(4, [&[length], &header[..], &payload].concat()),
    ]
}
