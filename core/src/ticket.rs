//! The ticket: a login's result, handed back by the broker with every authorization request.
//!
//! The username in an authorization request proves nothing (an EMQX client that logged in with SCRAM chooses it freely).
//! The login reply therefore carries this ticket in the client attribute `mqa_ticket`: who the client is, under a MAC
//! with the tenant's ticket key. It names the key and its generation, so that a replaced key ends the rights of the
//! sessions it opened; what else may change (suspension, disabling, expiry) is judged at each request.
//!
//! A broker that brings a ticket back gets it whole ([`Ticket::seal`]): it needs nothing else. For a broker that does not, the
//! sidecar keeps tickets itself, and shares what many of them repeat ([`SplitTicket`]).

mod split;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::bundle::UnixSeconds;
use crate::client::Mode;
use crate::credential::{equals, hmac_sha256};
use crate::secret::Secret;
use crate::token::Token;

pub use split::{Resources, SplitTicket};

/// The longest ticket that is looked at: it holds what tokens say, which came in a password of 65,535 bytes.
const MAX_TICKET_BYTES: usize = 128 * 1024;
const VERSION: &str = "v1";
const SPLIT_VERSION: &str = "s1";
/// All are MACs under one key: their messages begin differently.
const TICKET_DOMAIN: &[u8] = b"mqtt-access/ticket/v1\0";
const SPLIT_DOMAIN: &[u8] = b"mqtt-access/ticket/split/v1\0";
const GENERATION_DOMAIN: &[u8] = b"mqtt-access/generation/v1\0";
const GENERATION_BYTES: usize = 16;

/// What a ticket says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// Instance ID of the tenant that issued it.
    #[serde(rename = "i")]
    pub instance_id: String,
    /// How the client proved itself.
    #[serde(rename = "m")]
    pub mode: Mode,
    /// AccessKeyId, DeviceAccessKeyId or login name.
    #[serde(rename = "k")]
    pub key_id: String,
    /// Which secret that key had; see [`generation`].
    #[serde(rename = "g")]
    pub generation: String,
    /// The MQTT client ID.
    #[serde(rename = "c")]
    pub client_id: String,
    /// From when on it is void; never when absent.
    #[serde(rename = "e", default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<UnixSeconds>,
    /// The tokens of a token client.
    #[serde(rename = "t", default, skip_serializing_if = "Vec::is_empty")]
    pub tokens: Vec<Token>,
}

/// A ticket whose MAC has not been checked.
#[derive(Debug)]
pub struct Unverified<'a> {
    signed: &'a str,
    mac: Vec<u8>,
    ticket: Ticket,
    /// What the MAC's message begins with.
    domain: &'static [u8],
}

/// A mark of one secret of a key, which tells nothing about the secret.
#[must_use]
pub fn generation(ticket_key: &Secret, secret: &[u8]) -> String {
    let mac = hmac_sha256(ticket_key.expose(), &[GENERATION_DOMAIN, secret].concat());
    URL_SAFE_NO_PAD.encode(mac.get(..GENERATION_BYTES).unwrap_or(&mac))
}

impl Ticket {
    /// The ticket as text: `v1.`, the claims and their MAC, both base64url. `None` where it cannot be written.
    #[must_use]
    pub fn seal(&self, ticket_key: &Secret) -> Option<String> {
        seal(self, VERSION, TICKET_DOMAIN, ticket_key)
    }
}

fn seal(ticket: &Ticket, version: &str, domain: &[u8], ticket_key: &Secret) -> Option<String> {
    let claims = serde_json::to_vec(ticket).ok()?;
    let signed = format!("{version}.{}", URL_SAFE_NO_PAD.encode(claims));
    let mac = URL_SAFE_NO_PAD.encode(mac(ticket_key, domain, &signed));
    Some(format!("{signed}.{mac}"))
}

/// The text under the MAC, the claims in it, and the MAC as text; `None` where the text is no ticket of this version.
fn decode<'a>(text: &'a str, version: &str) -> Option<(&'a str, Vec<u8>, &'a str)> {
    if text.len() > MAX_TICKET_BYTES {
        return None;
    }
    let (signed, mac) = text.rsplit_once('.')?;
    let claims = signed.strip_prefix(version)?.strip_prefix('.')?;
    Some((signed, URL_SAFE_NO_PAD.decode(claims).ok()?, mac))
}

impl<'a> Unverified<'a> {
    /// Reads a ticket; `None` where the text is not one.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let (signed, claims, mac) = decode(text, VERSION)?;
        let ticket = serde_json::from_slice(&claims).ok()?;
        Some(Self { signed, mac: URL_SAFE_NO_PAD.decode(mac).ok()?, ticket, domain: TICKET_DOMAIN })
    }

    /// Which tenant claims to have issued it.
    #[must_use]
    pub fn instance_id(&self) -> &str {
        &self.ticket.instance_id
    }

    /// How its client says that it proved itself.
    pub(crate) fn mode(&self) -> Mode {
        self.ticket.mode
    }

    /// The ticket, if it was sealed with this key.
    #[must_use]
    pub fn verify(self, ticket_key: &Secret) -> Option<Ticket> {
        equals(&mac(ticket_key, self.domain, self.signed), &self.mac).then_some(self.ticket)
    }
}

fn mac(ticket_key: &Secret, domain: &[u8], signed: &str) -> Vec<u8> {
    hmac_sha256(ticket_key.expose(), &[domain, signed.as_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticket() -> Ticket {
        Ticket {
            instance_id: "mqtt-acme".to_owned(),
            mode: Mode::Signature,
            key_id: "AK.1".to_owned(),
            generation: "g".to_owned(),
            client_id: "c".to_owned(),
            expires_at: None,
            tokens: Vec::new(),
        }
    }

    #[test]
    fn a_ticket_opens_with_its_own_key_only() {
        let key = Secret::from("key");
        let text = ticket().seal(&key).unwrap();
        assert_eq!(Unverified::parse(&text).unwrap().verify(&key), Some(ticket()));
        assert_eq!(Unverified::parse(&text).unwrap().verify(&Secret::from("other")), None);
    }

    #[test]
    fn a_changed_ticket_does_not_open() {
        let key = Secret::from("key");
        let text = ticket().seal(&key).unwrap();
        for position in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[position] = if bytes[position] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).unwrap();
            let opened = Unverified::parse(&changed).and_then(|unverified| unverified.verify(&key));
            assert_eq!(opened, None, "{position}");
        }
        let short = text.strip_suffix(|_: char| true).unwrap();
        assert_eq!(Unverified::parse(short).and_then(|unverified| unverified.verify(&key)), None);
    }

    #[test]
    fn a_generation_tells_secrets_apart() {
        let key = Secret::from("key");
        assert_ne!(generation(&key, b"a"), generation(&key, b"b"));
    }
}
