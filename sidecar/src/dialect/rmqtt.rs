//! rmqtt: the plugin `rmqtt-auth-http` of 0.24, read in its source. `/rmqtt/auth` and `/rmqtt/acl`, form or JSON.
//!
//! - A denial is `200 {"result":"deny"}`. Any other status means *ignore*, which ends in an allow where no other plugin
//!   answers; an empty body or plain text means allow. `superuser` is always false, which also outweighs the header
//!   `X-Superuser`; there is no `X-Cache`.
//! - **What a client may do is told with its login and nowhere else** (`aclDelivery: Inline`, or every login is refused).
//!   `/rmqtt/acl` always denies, because it cannot know who asks: rmqtt puts client ID and username into its parameters
//!   first and then replaces `%A` (the action) and `%t` (the topic) in them too. A client with the ID `dev1%A` logs in as
//!   `dev1`, and its subscriptions are asked as those of `dev11`. Whoever logs in has proved what it then is, so the list is
//!   that of its own rights. A name in which a `%` is left is refused.
//! - The list is closed: what it does not allow is denied, a publish to `a/$b` within `a/#` too. What rmqtt would take for
//!   more than it says is not in it; see [`InlineAcl::for_rmqtt`]. In particular no Allow that ends in `+`.
//! - **An edit of a policy, a suspension or a revoked key reaches a client when it connects the next time.** rmqtt does not end
//!   a session at its expiry (only at a keepalive, if told so), and its list goes on to count: clients that expire, tokens
//!   among them, cannot log in.
//! - A list with one rule that rmqtt cannot read is dropped as a whole, and the login stands: then everything is denied.

use mqtt_access_core::index::{Credentials, Login, TenantIndex};
use mqtt_access_core::rules::{InlineAcl, InlineRule, InlineTopic};
use mqtt_access_core::verdict::{Reason, Verdict};
use serde::Serialize;

use super::acl::{action, permission, qos};
use super::{About, Attempt, Judgement, Outcome, Reply, View};
use crate::fields::{Fields, Malformed};
use crate::peer::Peer;

const DENY: &str = r#"{"result":"deny"}"#;

#[derive(Serialize)]
struct LoginReply {
    result: &'static str,
    superuser: bool,
    acl: Vec<Rule>,
}

/// One topic each: rmqtt knows no `topics`.
#[derive(Serialize)]
struct Rule {
    permission: &'static str,
    action: &'static str,
    topic: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    qos: Option<Vec<u8>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retain: Option<bool>,
}

pub(super) fn login(fields: &Fields) -> Result<Attempt<'_>, Reason> {
    let peer = fields.text("ipaddr")?.and_then(Peer::of);
    let (client_id, username) = (fields.required("clientid")?, fields.required("username")?);
    let password = fields.bytes("password")?.ok_or(Malformed)?;
    if client_id.contains('%') || username.contains('%') {
        return Err(Reason::ClientIdAmbiguous);
    }
    Ok(Attempt { credentials: Credentials { username, password, client_id }, peer, vhost: "" })
}

pub(super) fn admit(login: Login) -> Result<Login, Reason> {
    if login.acl().is_some() && login.expires_at().is_none() { Ok(login) } else { Err(Reason::InlineRulesOnly) }
}

pub(super) fn judge<'a>(endpoint: &str, fields: &'a Fields, view: View<'a>) -> Result<Judgement<'a>, Malformed> {
    if endpoint != "acl" {
        return Err(Malformed);
    }
    let (client_id, topic) = (fields.required("clientid")?, fields.required("topic")?);
    let about = match fields.required("access")? {
        "1" => About::Subscribe,
        "2" => About::Publish,
        _ => return Err(Malformed),
    };
    let tenant: Option<&TenantIndex> = view.index.tenant_of_client(client_id);
    let judgement = Judgement::refuse(about, Reason::InlineRulesOnly);
    Ok(Judgement { client_id: Some(client_id), topic: Some(topic), tenant, ..judgement })
}

pub(super) fn write(outcome: &Outcome<'_>) -> Reply {
    let body = match outcome {
        Outcome::Login(login) => login.acl().and_then(allow).unwrap_or_else(|| DENY.to_owned()),
        Outcome::Scram(..) | Outcome::Verdict(Verdict::Allow(_) | Verdict::Deny(_)) => DENY.to_owned(),
    };
    Reply { status: 200, content_type: "application/json", body }
}

fn allow(acl: &InlineAcl) -> Option<String> {
    let acl = acl.for_rmqtt().rules().map(rule).collect::<Option<Vec<Rule>>>()?;
    serde_json::to_string(&LoginReply { result: "allow", superuser: false, acl }).ok()
}

fn rule(rule: &InlineRule) -> Option<Rule> {
    let InlineRule { effect, conditions, topic } = rule;
    let topic = match topic {
        InlineTopic::Filter(text) => text.clone(),
        InlineTopic::Exact(text) => format!("eq {text}"),
    };
    let (permission, retain) = (permission(*effect), conditions.retain());
    Some(Rule { permission, action: action(*conditions)?, topic, qos: qos(*conditions), retain })
}
