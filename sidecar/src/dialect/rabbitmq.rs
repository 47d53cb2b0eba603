//! RabbitMQ: `rabbitmq_auth_backend_http` with the MQTT plugin in front. Replies are `allow` or `deny`, exactly.
//!
//! An allowed login is `allow` and eight tags: the number of the login, which RabbitMQ repeats in every question of that
//! connection. RabbitMQ makes an atom of each tag, which its VM never frees: they are of a closed list of 128
//! ([`crate::login_number`]). RabbitMQ tells no peer address at a login, so failed ones are limited by name only.
//!
//! RabbitMQ brings no ticket back. A login puts it into the login table under (virtual host, username, client ID), and every
//! other question is judged by the ticket found there, as it stands now; without an entry there is no allow.
//!
//! **Why a shared username gives nobody more than its own.** All clients of one access key have one username. RabbitMQ
//! 3.10 tells the client ID with every question (`client_id`; in `/topic` `variable_map.client_id`), it is the one that
//! `/user` was asked about on the same connection, and the ticket found under it says the same, or it is refused. Were a
//! question without one answered by the username alone, a client would get the rights of all: such a question is denied.
//! Another connection with the same pair has given the same proof, since the password is a MAC over the client ID. Tokens
//! are the exception, unless the older and the newer ones are all bound to the client ID: RabbitMQ lets one connection
//! have a client ID, but ends the older one only after it has let the newer one in, so for a second or two `/topic` allows
//! only what both may do (`SessionContested`). A client that reconnects with other tokens just after its old ones ended may
//! have to try twice.
//! `/resource` knows only what an MQTT client needs: the exchange `amq.topic`, where `/topic` decides, and the queues
//! that carry its own client ID; so neither AMQP nor a foreign session can be reached. A virtual host is only another
//! place with the same topics: policies are the same in all of them, and a login counts in its own.
//!
//! **Persistent sessions** of RabbitMQ 3.10 belong to a client ID, and go to the next client that has it. The login table remembers
//! whose session it is, and `read` on its queue is denied to another principal until that one has started clean: see
//! `login_table/marks.rs`. From 3.12 on RabbitMQ asks other questions, some of them only once: a clean start could not be shown
//! there. It asks on other paths (`/rabbitmq/v4/...`), its sessions are not kept apart, and its logins get no number.
//!
//! **Topics** arrive as routing keys, with `/` written as `.` and `+` as `*`. They are translated back; what was a `.` or
//! a `*` in the topic itself cannot be told, which the index allows for (`Notation::Dotted`) and why client IDs
//! with either cannot log in. Prefixes such as `$share` are plain topics to RabbitMQ and are refused.
//!
//! **What RabbitMQ caches:** the last 12 answers per connection and channel, until the process hibernates after about a
//! second without traffic. A busy publisher is not asked again, and neither is an established subscription; sessions
//! that persist keep their bindings. A denied subscribe or publish closes the connection.

use mqtt_access_core::index::{Credentials, Judged, Login, TenantIndex};
use mqtt_access_core::topic::prefix::{Prefixes, publish_name, subscribe_filter};
use mqtt_access_core::verdict::{Notation, Reason, Request, Target, Verdict};

use super::{About, Attempt, Judgement, Outcome, Reply, View};
use crate::fields::{Fields, Malformed};
use crate::login_number::LoginNumber;
use crate::login_table::{Accepted, DEFAULT_VHOST, LoggedIn, LoginKey, Queue, QueuePermission, SessionKey};

const EXCHANGE: &str = "amq.topic";
/// QoS 0 and QoS 1 subscriptions of one client have a queue each.
const QUEUE_SUFFIXES: [(&str, Queue); 2] = [("qos0", Queue::Transient), ("qos1", Queue::Persistent)];

/// Whether the broker's questions tell whose session a client takes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sessions {
    /// They do, and only its owner may.
    Kept,
    /// They do not, as far as is known.
    NotKept,
}

pub(super) fn judge<'a>(
    endpoint: &str,
    fields: &'a Fields,
    view: View<'a>,
    sessions: Sessions,
) -> Result<Judgement<'a>, Malformed> {
    match endpoint {
        "vhost" => vhost(fields, view),
        "resource" => resource(fields, view, sessions),
        "topic" => topic(fields, view),
        _ => Err(Malformed),
    }
}

pub(super) fn write(outcome: &Outcome<'_>, login: Option<LoginNumber>) -> Reply {
    let body = match (outcome.is_allow(), login) {
        (true, Some(login)) => format!("allow {}", login.tags()),
        (true, None) => "allow".to_owned(),
        (false, _) => "deny".to_owned(),
    };
    Reply { status: 200, content_type: "text/plain", body }
}

pub(super) fn login(fields: &Fields) -> Result<Attempt<'_>, Reason> {
    let vhost = vhost_of(fields)?;
    let username = fields.required("username")?;
    let password = fields.bytes("password")?.ok_or(Malformed)?;
    // An AMQP client has none.
    let client_id = fields.required("client_id")?;
    if client_id.contains(['.', '*']) {
        return Err(Reason::ClientIdAmbiguous);
    }
    Ok(Attempt { credentials: Credentials { username, password, client_id }, peer: None, vhost })
}

/// Puts a login into the table; `None` where its tenant has just gone.
pub(super) fn remember(attempt: &Attempt<'_>, login: &Login, view: View<'_>) -> Option<LoginNumber> {
    let Attempt { credentials: Credentials { username, password: _, client_id }, peer: _, vhost } = *attempt;
    let kept = view.index.keep(login)?;
    let accepted = Accepted { kept, expires_at: login.expires_at(), proves_client_id: login.proves_client_id() };
    Some(view.logins.enter(key(vhost, username, client_id, view), accepted, view.now))
}

/// Where a login stands in the login table.
fn key(vhost: &str, username: &str, client_id: &str, view: View<'_>) -> LoginKey {
    LoginKey::new(tenant_of(client_id, view), vhost, username, client_id)
}

/// Whose share of the table a client ID takes.
fn tenant_of<'a>(client_id: &str, view: View<'a>) -> &'a str {
    view.index.tenant_of_client(client_id).map(TenantIndex::instance_id).unwrap_or_default()
}

fn vhost_of(fields: &Fields) -> Result<&str, Malformed> {
    Ok(fields.text("vhost")?.unwrap_or(DEFAULT_VHOST))
}

fn vhost<'a>(fields: &'a Fields, view: View<'a>) -> Result<Judgement<'a>, Malformed> {
    fields.required("vhost")?;
    let client_id = fields.required("client_id")?;
    let judged = recognize(fields, client_id, view)?;
    Ok(judgement(About::Resource, client_id, None, &judged))
}

fn resource<'a>(fields: &'a Fields, view: View<'a>, sessions: Sessions) -> Result<Judgement<'a>, Malformed> {
    let client_id = fields.required("client_id")?;
    let (kind, name) = (fields.required("resource")?, fields.required("name")?);
    let permission = fields.required("permission")?;
    let mut judged = recognize(fields, client_id, view)?;
    let ask = |permission| queue(fields, name, permission, view, sessions);
    // What is asked about a queue counts only where its client is admitted.
    if judged.verdict.is_allow() {
        let asked = match (kind, permission) {
            ("exchange", "read" | "write") if name == EXCHANGE => Ok(()),
            ("queue", "configure") => ask(QueuePermission::Configure)?,
            ("queue", "read") => ask(QueuePermission::Read)?,
            ("queue", "write") => ask(QueuePermission::Write)?,
            _ => Err(Reason::NotGranted),
        };
        judged.verdict = asked.map_or_else(Verdict::deny, |()| judged.verdict);
    }
    // The log names a queue that has to be deleted.
    let named = (kind == "queue" && !judged.verdict.is_allow()).then_some(name);
    Ok(judgement(About::Resource, client_id, named, &judged))
}

/// Judges what a client asks about a queue, if it is its own.
fn queue(
    fields: &Fields,
    name: &str,
    permission: QueuePermission,
    view: View<'_>,
    sessions: Sessions,
) -> Result<Result<(), Reason>, Malformed> {
    let client_id = fields.required("client_id")?;
    let Some(queue) = own_queue(name, client_id) else {
        return Ok(Err(Reason::NotGranted));
    };
    if sessions == Sessions::NotKept {
        return Ok(Ok(()));
    }
    let session = SessionKey::new(tenant_of(client_id, view), vhost_of(fields)?, client_id);
    let login = fields.text("tags")?.and_then(LoginNumber::parse);
    Ok(view.logins.queue(&session, queue, permission, login))
}

/// Exactly one suffix belongs to the queue: that of client `a` has no business with client `aqos0`.
fn own_queue(name: &str, client_id: &str) -> Option<Queue> {
    let suffix = name.strip_prefix("mqtt-subscription-").and_then(|rest| rest.strip_prefix(client_id))?;
    QUEUE_SUFFIXES.into_iter().find(|(known, _)| *known == suffix).map(|(_, queue)| queue)
}

fn topic<'a>(fields: &'a Fields, view: View<'a>) -> Result<Judgement<'a>, Malformed> {
    let client_id = fields.required("variable_map.client_id")?;
    let routing_key = fields.required("routing_key")?;
    let resource = (fields.required("resource")?, fields.required("name")?);
    let topic = translate(routing_key)?;
    let (about, target) = match fields.required("permission")? {
        "write" => (About::Publish, publish_name(&topic, Prefixes::Stripped).map(Target::Publish)),
        "read" => (About::Subscribe, subscribe_filter(&topic, Prefixes::Stripped).map(Target::Subscribe)),
        _ => return Err(Malformed),
    };
    let target = target.map_err(|_| Malformed)?;
    let request = Request { target, qos: None, retain: None, notation: Notation::Dotted };
    let mut judged = authorize(fields, client_id, &request, view)?;
    if resource != ("topic", EXCHANGE) {
        judged.verdict = Verdict::deny(Reason::NotGranted);
    }
    Ok(judgement(about, client_id, Some(routing_key), &judged))
}

/// Whether the client of a question is logged in. That alone lets it do nothing, so nobody contests it.
fn recognize<'a>(fields: &Fields, client_id: &str, view: View<'a>) -> Result<Judged<'a>, Malformed> {
    Ok(match find(fields, client_id, view)?.ticket {
        Some(ticket) => view.index.recognize_kept(&ticket, client_id, view.now),
        None => Judged::refuse(Reason::TicketMissing),
    })
}

/// Asks with the ticket of the client's login, and then with those that contest it.
fn authorize<'a>(
    fields: &Fields,
    client_id: &str,
    request: &Request<'_>,
    view: View<'a>,
) -> Result<Judged<'a>, Malformed> {
    let LoggedIn { ticket, contested_by, contested_by_too_many } = find(fields, client_id, view)?;
    let Some(ticket) = ticket else {
        return Ok(Judged::refuse(Reason::TicketMissing));
    };
    let ask = |ticket| view.index.authorize_kept(ticket, client_id, request, view.now);
    let mut judged = ask(&ticket);
    let is_contested = || contested_by_too_many || !contested_by.iter().all(|other| ask(other).verdict.is_allow());
    if judged.verdict.is_allow() && is_contested() {
        judged.verdict = Verdict::deny(Reason::SessionContested);
    }
    Ok(judged)
}

fn find(fields: &Fields, client_id: &str, view: View<'_>) -> Result<LoggedIn, Malformed> {
    let key = key(vhost_of(fields)?, fields.required("username")?, client_id, view);
    Ok(view.logins.find(&key, view.now))
}

fn judgement<'a>(about: About, client_id: &'a str, topic: Option<&'a str>, judged: &Judged<'a>) -> Judgement<'a> {
    let Judged { verdict, tenant, token_code } = *judged;
    let outcome = Outcome::Verdict(verdict);
    Judgement { about, client_id: Some(client_id), topic, tenant, outcome, token_code, login: None }
}

/// A routing key as the topic it was made from, as far as that can be told.
fn translate(routing_key: &str) -> Result<String, Malformed> {
    // The MQTT plugin writes neither: such a key comes from elsewhere.
    if routing_key.contains(['/', '+']) {
        return Err(Malformed);
    }
    let words: Result<Vec<&str>, Malformed> = routing_key
        .split('.')
        .map(|word| match word {
            "*" => Ok("+"),
            _ if word.contains('*') => Err(Malformed),
            _ => Ok(word),
        })
        .collect();
    words.map(|words| words.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routing_keys_are_translated_back() {
        for (key, topic) in [
            ("iot.acme.dev1.up", Ok("iot/acme/dev1/up")),
            ("iot.*.#", Ok("iot/+/#")),
            (".a..b.", Ok("/a//b/")),
            ("$SYS.#", Ok("$SYS/#")),
            ("", Ok("")),
            ("a.b*c", Err(Malformed)),
            ("a.**", Err(Malformed)),
            ("a/b", Err(Malformed)),
            ("a.+", Err(Malformed)),
        ] {
            assert_eq!(translate(key), topic.map(str::to_owned), "{key}");
        }
    }

    #[test]
    fn a_queue_belongs_to_exactly_one_client_id() {
        let (transient, persistent) = (Some(Queue::Transient), Some(Queue::Persistent));
        for (name, client_id, expected) in [
            ("mqtt-subscription-dev1qos0", "dev1", transient),
            ("mqtt-subscription-dev1qos1", "dev1", persistent),
            ("mqtt-subscription-dev1qos1qos0", "dev1qos1", transient),
            ("mqtt-subscription-dev1qos1qos0", "dev1", None),
            ("mqtt-subscription-dev1qos2", "dev1", None),
            ("mqtt-subscription-dev1", "dev1", None),
            ("mqtt-subscription-dev12qos0", "dev1", None),
            ("mqtt-subscription-qos0", "", transient),
            ("dev1qos0", "dev1", None),
        ] {
            assert_eq!(own_queue(name, client_id), expected, "{name} {client_id}");
        }
    }
}
