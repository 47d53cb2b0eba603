//! RabbitMQ: `rabbitmq_auth_backend_http` with the MQTT plugin in front. Replies are `allow` or `deny`, exactly.
//!
//! An allowed login is `allow` and nothing else, though tags could follow: RabbitMQ would make an atom of each, which its
//! VM never frees. RabbitMQ tells no peer address at a login, so failed ones are limited by name only.
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
//! **Topics** arrive as routing keys, with `/` written as `.` and `+` as `*`. They are translated back; what was a `.` or
//! a `*` in the topic itself cannot be told, which the index allows for (`Notation::Dotted`) and why client IDs
//! with either cannot log in. Prefixes such as `$share` are plain topics to RabbitMQ and are refused.
//!
//! **What RabbitMQ caches:** the last 12 answers per connection and channel, until the process hibernates after about a
//! second without traffic. A busy publisher is not asked again, and neither is an established subscription; sessions
//! that persist keep their bindings. A denied subscribe or publish closes the connection.

use std::sync::Arc;

use mqtt_access_core::index::{Credentials, Judged, Login, Session, TenantIndex};
use mqtt_access_core::topic::prefix::{Prefixes, publish_name, subscribe_filter};
use mqtt_access_core::verdict::{Notation, Reason, Request, Target, Verdict};

use super::{About, Attempt, Judgement, Outcome, Reply, View};
use crate::fields::{Fields, Malformed};
use crate::login_table::{Accepted, DEFAULT_VHOST, LoginKey};

const EXCHANGE: &str = "amq.topic";
/// QoS 0 and QoS 1 subscriptions of one client have a queue each.
const QUEUE_SUFFIXES: [&str; 2] = ["qos0", "qos1"];

pub(super) fn judge<'a>(endpoint: &str, fields: &'a Fields, view: View<'a>) -> Result<Judgement<'a>, Malformed> {
    match endpoint {
        "vhost" => vhost(fields, view),
        "resource" => resource(fields, view),
        "topic" => topic(fields, view),
        _ => Err(Malformed),
    }
}

pub(super) fn write(outcome: &Outcome<'_>) -> Reply {
    let body = if outcome.is_allow() { "allow" } else { "deny" };
    Reply { status: 200, content_type: "text/plain", body: body.to_owned() }
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

pub(super) fn remember(attempt: &Attempt<'_>, login: &Login, view: View<'_>) {
    let Attempt { credentials: Credentials { username, password: _, client_id }, peer: _, vhost } = *attempt;
    let (ticket, expires_at, proves_client_id) = (login.ticket(), login.expires_at(), login.proves_client_id());
    view.logins.enter(
        key(vhost, username, client_id, view),
        Accepted { ticket, expires_at, proves_client_id },
        view.now,
    );
}

/// Where a login stands in the login table.
fn key(vhost: &str, username: &str, client_id: &str, view: View<'_>) -> LoginKey {
    let tenant = view.index.tenant_of_client(client_id).map(TenantIndex::instance_id);
    LoginKey::new(tenant.unwrap_or_default(), vhost, username, client_id)
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

fn resource<'a>(fields: &'a Fields, view: View<'a>) -> Result<Judgement<'a>, Malformed> {
    let client_id = fields.required("client_id")?;
    let (kind, name) = (fields.required("resource")?, fields.required("name")?);
    let permission = fields.required("permission")?;
    let own = match (kind, permission) {
        ("exchange", "read" | "write") => name == EXCHANGE,
        ("queue", "configure" | "read" | "write") => is_own_queue(name, client_id),
        _ => false,
    };
    let mut judged = recognize(fields, client_id, view)?;
    if !own && judged.verdict.is_allow() {
        judged.verdict = Verdict::deny(Reason::NotGranted);
    }
    Ok(judgement(About::Resource, client_id, None, &judged))
}

/// Exactly one suffix belongs to the queue: that of client `a` has no business with client `aqos0`.
fn is_own_queue(name: &str, client_id: &str) -> bool {
    let suffix = name.strip_prefix("mqtt-subscription-").and_then(|rest| rest.strip_prefix(client_id));
    suffix.is_some_and(|suffix| QUEUE_SUFFIXES.contains(&suffix))
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
    let tickets = tickets(fields, client_id, view)?;
    let ticket = tickets.first().map_or("", |ticket| ticket);
    Ok(view.index.recognize(Session { ticket, client_id }, view.now))
}

/// Asks with the ticket of the client's login, and then with those that contest it.
fn authorize<'a>(
    fields: &Fields,
    client_id: &str,
    request: &Request<'_>,
    view: View<'a>,
) -> Result<Judged<'a>, Malformed> {
    let tickets = tickets(fields, client_id, view)?;
    let ask = |ticket: &str| view.index.authorize(Session { ticket, client_id }, request, view.now);
    let (own, others) = tickets.split_first().map_or(("", &[][..]), |(own, others)| (&**own, others));
    let mut judged = ask(own);
    if judged.verdict.is_allow() && !others.iter().all(|ticket| ask(ticket).verdict.is_allow()) {
        judged.verdict = Verdict::deny(Reason::SessionContested);
    }
    Ok(judged)
}

fn tickets(fields: &Fields, client_id: &str, view: View<'_>) -> Result<Vec<Arc<str>>, Malformed> {
    let key = key(vhost_of(fields)?, fields.required("username")?, client_id, view);
    Ok(view.logins.tickets(&key, view.now))
}

fn judgement<'a>(about: About, client_id: &'a str, topic: Option<&'a str>, judged: &Judged<'a>) -> Judgement<'a> {
    let Judged { verdict, tenant, token_code } = *judged;
    Judgement { about, client_id: Some(client_id), topic, tenant, outcome: Outcome::Verdict(verdict), token_code }
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
        for (name, client_id, expected) in [
            ("mqtt-subscription-dev1qos0", "dev1", true),
            ("mqtt-subscription-dev1qos1", "dev1", true),
            ("mqtt-subscription-dev1qos1qos0", "dev1qos1", true),
            ("mqtt-subscription-dev1qos1qos0", "dev1", false),
            ("mqtt-subscription-dev1qos2", "dev1", false),
            ("mqtt-subscription-dev1", "dev1", false),
            ("mqtt-subscription-dev12qos0", "dev1", false),
            ("mqtt-subscription-qos0", "", true),
            ("dev1qos0", "dev1", false),
        ] {
            assert_eq!(is_own_queue(name, client_id), expected, "{name} {client_id}");
        }
    }
}
