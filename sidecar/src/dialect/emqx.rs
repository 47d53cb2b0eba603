//! EMQX 5 and 6: HTTP authentication and HTTP authorization. One dialect on two paths; they differ in nothing today.
//!
//! - A denial is `200 {"result":"deny"}`. Any other status, a missing or unknown `result`, or a body that is not JSON
//!   means *ignore*: EMQX asks the next authenticator, or falls back to `authorization.no_match`, which allows by default
//!   up to 5.10.
//! - No field of a reply is ever null: `expire_at: null` or an attribute that is not a string refuses the whole login.
//! - `client_attrs` in the login reply works since 5.7.0, `expire_at` and `acl` since 5.8.0. The ticket travels in the attribute
//!   `mqa_ticket` and comes back in the field `ticket` of each authorization request. `is_superuser` is never true: it
//!   would skip authorization altogether.
//! - `acl` holds the client's rules where its tenant delivers them so (`aclDelivery: Inline`) and they are not too many. EMQX
//!   looks at it first, asks what it leaves open, and keeps it until the session ends or authenticates anew: **an edit of a
//!   policy, a suspension, a revoked key or token reaches what the list decides when the client connects the next time**, and what
//!   is asked at once. Whoever cannot wait has to kick the client. After `expire_at` EMQX ends the session, and the list
//!   allows nothing more.
//! - EMQX asks about a last will after the session's expiry and does not say that it is one. `willGraceSeconds` of the broker,
//!   0 by default, lets an expired session publish for so long; a client whose session EMQX has not ended yet has these seconds
//!   too.
//! - SCRAM users are told of on a path of their own; see [`scram`].
//! - EMQX strips `$share/{group}/`, `$queue/`, `$exclusive/` and `$delayed/{seconds}/` before it asks.
//! - What EMQX caches: verdicts per client, 32 entries for a minute (up to 6.1 subscriptions too; 6.2 and later only
//!   publishes), and since 6.2, by default, replies to equal requests per node for a minute, logins included. For that
//!   long a change may not reach it. Turn both caches off, or let authorization requests carry the ticket, which the
//!   cache's key then holds. A session's subscriptions are never asked again.
//! - EMQX sends up to 100 requests over one connection without waiting for answers (`enable_pipelining`), and HTTP answers
//!   come in that order: a login that waits for a slow hash holds up those behind it; of each address a second at first, and then
//!   a quarter of the time. Where passwords are slow, set `enable_pipelining` to 1 and `pool_size` to the logins at a time.

mod scram;

use mqtt_access_core::client::Map;
use mqtt_access_core::index::{Credentials, Judged, Session};
use mqtt_access_core::policy::Qos;
use mqtt_access_core::topic::prefix::{Prefixes, publish_name, subscribe_filter};
use mqtt_access_core::verdict::{Notation, Request, Target};
use serde::Serialize;

use super::acl::Acl;
use super::{About, Attempt, Judgement, Outcome, Reply, View};
use crate::fields::{Fields, Malformed, Value};
use crate::peer::Peer;

const JSON: &str = "application/json";
pub(super) const DENY: &str = r#"{"result":"deny"}"#;

#[derive(Serialize)]
struct LoginReply<'a> {
    result: &'static str,
    is_superuser: bool,
    client_attrs: &'a Map,
    #[serde(skip_serializing_if = "Option::is_none")]
    expire_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    acl: Option<Acl<'a>>,
}

pub(super) fn judge<'a>(endpoint: &str, fields: &'a Fields, view: View<'a>) -> Result<Judgement<'a>, Malformed> {
    match endpoint {
        "scram" => scram::judge(fields, view),
        "authz" => authorize(fields, view),
        _ => Err(Malformed),
    }
}

pub(super) fn write(outcome: &Outcome<'_>) -> Reply {
    let body = match outcome {
        Outcome::Login(login) => serde_json::to_string(&LoginReply {
            result: "allow",
            is_superuser: false,
            client_attrs: login.attributes(),
            expire_at: login.expires_at(),
            acl: login.acl().map(Acl),
        })
        .unwrap_or_else(|_| DENY.to_owned()),
        Outcome::Scram(keys, result) => scram::body(keys, result.as_ref().ok()),
        Outcome::Verdict(verdict) if verdict.is_allow() => r#"{"result":"allow"}"#.to_owned(),
        Outcome::Verdict(_) => DENY.to_owned(),
    };
    Reply { status: 200, content_type: JSON, body }
}

pub(super) fn login(fields: &Fields) -> Result<Attempt<'_>, Malformed> {
    let peer = fields.text("peerhost")?.and_then(Peer::of);
    let client_id = fields.required("clientid")?;
    let username = fields.required("username")?;
    let password = fields.bytes("password")?.ok_or(Malformed)?;
    Ok(Attempt { credentials: Credentials { username, password, client_id }, peer, vhost: "" })
}

fn authorize<'a>(fields: &'a Fields, view: View<'a>) -> Result<Judgement<'a>, Malformed> {
    // The username proves nothing here; the ticket does.
    fields.text("username")?;
    let client_id = fields.required("clientid")?;
    let topic = fields.required("topic")?;
    let (about, target) = match fields.required("action")? {
        "publish" => (About::Publish, publish_name(topic, Prefixes::Stripped).map(Target::Publish)),
        "subscribe" => (About::Subscribe, subscribe_filter(topic, Prefixes::Stripped).map(Target::Subscribe)),
        _ => return Err(Malformed),
    };
    let (qos, retain) = (qos(fields)?, retain(fields)?);
    let session = Session { ticket: fields.text("ticket")?.unwrap_or_default(), client_id };
    let target = target.map_err(|_| Malformed)?;
    let request = Request { target, qos, retain, notation: Notation::Mqtt };
    let Judged { verdict, tenant, token_code } = view.index.authorize_last_will(session, &request, view.now);
    let (client_id, topic, outcome) = (Some(client_id), Some(topic), Outcome::Verdict(verdict));
    Ok(Judgement { about, client_id, topic, tenant, outcome, token_code, login: None })
}

fn qos(fields: &Fields) -> Result<Option<Qos>, Malformed> {
    let level = match fields.value("qos") {
        None => return Ok(None),
        Some(Value::Number(level)) => u8::try_from(*level).map_err(|_| Malformed)?,
        Some(Value::Text(text)) => match text.as_slice() {
            b"" => return Ok(None),
            b"0" => 0,
            b"1" => 1,
            b"2" => 2,
            _ => return Err(Malformed),
        },
        Some(_) => return Err(Malformed),
    };
    Qos::try_from(level).map(Some).map_err(|_| Malformed)
}

fn retain(fields: &Fields) -> Result<Option<bool>, Malformed> {
    match fields.value("retain") {
        None => Ok(None),
        Some(Value::Bool(retain)) => Ok(Some(*retain)),
        Some(Value::Text(text)) => match text.as_slice() {
            b"" => Ok(None),
            b"true" | b"1" => Ok(Some(true)),
            b"false" | b"0" => Ok(Some(false)),
            _ => Err(Malformed),
        },
        Some(_) => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fields::Encoding;

    fn fields(json: &str) -> Fields {
        Fields::parse(Encoding::Json, json.as_bytes()).unwrap_or_else(|_| panic!("{json}"))
    }

    #[test]
    fn a_qos_is_told_absent_or_malformed() {
        let two = Qos::try_from(2).ok();
        for (value, expected) in [
            ("\"2\"", Ok(two)),
            ("2", Ok(two)),
            ("null", Ok(None)),
            ("\"\"", Ok(None)),
            ("3", Err(Malformed)),
            ("258", Err(Malformed)),
            ("-1", Err(Malformed)),
            ("1.0", Err(Malformed)),
            ("\"02\"", Err(Malformed)),
            ("\" 2\"", Err(Malformed)),
            ("true", Err(Malformed)),
            ("[2]", Err(Malformed)),
        ] {
            assert_eq!(qos(&fields(&format!("{{\"qos\":{value}}}"))), expected, "{value}");
        }
        assert_eq!(qos(&fields("{}")), Ok(None));
    }

    #[test]
    fn a_retain_flag_is_told_absent_or_malformed() {
        for (value, expected) in [
            ("\"true\"", Ok(Some(true))),
            ("\"1\"", Ok(Some(true))),
            ("true", Ok(Some(true))),
            ("\"false\"", Ok(Some(false))),
            ("\"0\"", Ok(Some(false))),
            ("false", Ok(Some(false))),
            ("null", Ok(None)),
            ("\"\"", Ok(None)),
            ("\"TRUE\"", Err(Malformed)),
            ("\"yes\"", Err(Malformed)),
            ("1", Err(Malformed)),
            ("{}", Err(Malformed)),
        ] {
            assert_eq!(retain(&fields(&format!("{{\"retain\":{value}}}"))), expected, "{value}");
        }
        assert_eq!(retain(&fields("{}")), Ok(None));
    }
}
