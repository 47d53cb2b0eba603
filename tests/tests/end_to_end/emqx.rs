//! The same sidecar, asked as EMQX asks.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::cast::Cast;
use mqtt_access_tests::first_light::{FirstLight, Login};
use mqtt_access_tests::http::{self, Reply};
use serde_json::{Value, json};

/// An answer with its cause.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    status: u16,
    result: String,
    cause: String,
}

fn answer(reply: &Reply) -> Answer {
    let body: Value = serde_json::from_str(&reply.body).unwrap_or_default();
    let cause = reply.headers.get("mqtt-access-cause").and_then(|cause| cause.to_str().ok());
    let result = body.get("result").and_then(Value::as_str);
    Answer {
        status: reply.status,
        result: result.unwrap_or_default().to_owned(),
        cause: cause.unwrap_or_default().to_owned(),
    }
}

pub(crate) fn denied(cause: &str) -> Answer {
    Answer { status: 200, result: "deny".to_owned(), cause: cause.to_owned() }
}

fn allowed(cause: &str) -> Answer {
    Answer { status: 200, result: "allow".to_owned(), cause: cause.to_owned() }
}

async fn authenticate(sidecar: SocketAddr, login: &Login) -> Reply {
    let Login { client_id, username, password } = login;
    let body = json!({"clientid": client_id, "username": username, "password": password, "peerhost": "10.0.0.7"});
    http::post_json(sidecar, "/emqx/v5/authn", &body).await.unwrap()
}

/// What EMQX is told at a login.
pub(crate) async fn login(light: &FirstLight, login: &Login) -> Answer {
    login_at(light.http(), login).await
}

pub(crate) async fn login_at(sidecar: SocketAddr, login: &Login) -> Answer {
    answer(&authenticate(sidecar, login).await)
}

type Attributes = BTreeMap<String, String>;

async fn attributes(light: &mut FirstLight, login: &Login) -> Attributes {
    let reply = authenticate(light.http(), login).await;
    light.check.equal(&format!("login of `{}`", login.client_id), answer(&reply), allowed("ProofAccepted"));
    let body: Value = serde_json::from_str(&reply.body).unwrap();
    light.check.equal("the superuser flag", body.get("is_superuser"), Some(&json!(false)));
    light.check.that("a login reply has no null", !reply.body.contains("null"));
    serde_json::from_value(body["client_attrs"].clone()).unwrap()
}

/// A question about a topic; what EMQX sends is text, whatever it stands for.
struct Question<'a> {
    client_id: &'a str,
    ticket: Option<&'a str>,
    action: &'a str,
    topic: &'a str,
    qos: &'a str,
}

impl Question<'_> {
    fn fields(&self) -> Vec<(&str, &str)> {
        let Self { client_id, ticket, action, topic, qos } = *self;
        let username = "whatever a client sends";
        let fixed = [("clientid", client_id), ("username", username), ("action", action), ("topic", topic)];
        let ticket = ticket.map(|ticket| ("ticket", ticket));
        fixed.into_iter().chain([("qos", qos), ("retain", "false")]).chain(ticket).collect()
    }

    /// Asks version 5 in JSON and version 6 in a form, which must agree.
    async fn expect(&self, light: &mut FirstLight, expected: Answer) {
        let fields = self.fields();
        let json: BTreeMap<&str, &str> = fields.iter().copied().collect();
        let v5 = http::post_json(light.http(), "/emqx/v5/authz", &json!(json)).await.unwrap();
        let v6 = http::post_form(light.http(), "/emqx/v6/authz", &fields).await.unwrap();
        let Self { client_id, action, topic, qos, .. } = self;
        let what = format!("EMQX: `{client_id}` {action} `{topic}` qos {qos}");
        light.check.equal(&what, answer(&v5), expected);
        light.check.equal(&format!("{what} as a form"), answer(&v6), answer(&v5));
    }
}

/// Gives the tickets that were issued.
pub(crate) async fn the_same_sidecar_answers_emqx(light: &mut FirstLight, cast: &Cast) -> Vec<String> {
    light.check.step("EMQX: authn, the ticket, authz");
    let (dev1, meter1, backend) = (cast.dev1.login(), cast.meter1.login(), cast.backend_login());
    let given = attributes(light, &dev1).await;
    let expected = [("auth_mode", "DeviceCredential"), ("client_id", "GID_acme@@@dev1"), ("device_id", "dev1")];
    let more = [("group_id", "GID_acme"), ("instance_id", "mqtt-acme"), ("tenant_id", "acme.acme")];
    for (name, value) in expected.into_iter().chain(more) {
        light.check.equal(name, given.get(name).map(String::as_str), Some(value));
    }
    let wrong = login(light, &dev1.clone().with_password("AAAA")).await;
    light.check.equal("a wrong password", wrong, denied("WrongProof"));
    let empty = login(light, &dev1.clone().with_password("")).await;
    light.check.equal("an empty password", empty, denied("WrongProof"));
    let all = [given, attributes(light, &meter1).await, attributes(light, &backend).await];
    let tickets = all.map(|mut given| given.remove("mqa_ticket").unwrap());
    ask(light, &dev1.client_id, &backend.client_id, &tickets).await;
    tickets.into()
}

async fn ask(light: &mut FirstLight, dev1: &str, backend: &str, [own, foreign, backends]: &[String; 3]) {
    let forged = forge(own);
    let up = Question { client_id: dev1, ticket: Some(own), action: "publish", topic: "acme/dev1/up", qos: "1" };
    up.expect(light, allowed("acme/own-topics rules[0]")).await;
    Question { ticket: None, ..up }.expect(light, denied("TicketMissing")).await;
    Question { ticket: Some(""), ..up }.expect(light, denied("TicketMissing")).await;
    Question { ticket: Some("${client_attrs.mqa_ticket}"), ..up }.expect(light, denied("TicketForged")).await;
    Question { ticket: Some(&forged), ..up }.expect(light, denied("TicketForged")).await;
    Question { ticket: Some(foreign), ..up }.expect(light, denied("TicketForeign")).await;
    Question { ticket: Some(backends), ..up }.expect(light, denied("TicketForeign")).await;
    Question { client_id: backend, ..up }.expect(light, denied("TicketForeign")).await;
    Question { topic: "acme/dev2/up", ..up }.expect(light, denied("NotGranted")).await;
    Question { topic: "globex/x", ..up }.expect(light, denied("NotGranted")).await;
    let listen = Question { action: "subscribe", topic: "acme/dev1/#", ..up };
    listen.expect(light, allowed("acme/own-topics rules[0]")).await;
    Question { topic: "acme/fleet/#", ..listen }.expect(light, denied("acme/fleet rules[1]")).await;
    Question { topic: "acme/fleet/news/#", ..listen }.expect(light, allowed("acme/fleet rules[0]")).await;
    Question { topic: "#", ..listen }.expect(light, denied("acme/fleet rules[1]")).await;
    // EMQX tells the QoS, which this rule asks for.
    let command = Question { client_id: backend, ticket: Some(backends), topic: "acme/dev1/command", ..up };
    command.expect(light, allowed("acme/backend rules[1]")).await;
    Question { qos: "0", ..command }.expect(light, denied("NotGranted")).await;
    Question { qos: "3", ..command }.expect(light, denied("Malformed")).await;
}

/// Another last character but one of the MAC.
fn forge(ticket: &str) -> String {
    let mut bytes = ticket.as_bytes().to_vec();
    let at = bytes.len() - 2;
    bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
    String::from_utf8(bytes).unwrap()
}
