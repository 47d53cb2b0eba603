//! HTTP requests to the sidecar, on every path of every dialect: the reply is that broker's denial, unless what was sent holds
//! a proof.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use mqtt_access_core::bundle::{Bundle, encode};
use mqtt_access_core::credential::{MacAlgorithm, password};
use mqtt_access_core::index::Credentials;
use mqtt_access_core::secret::Secret;
use mqtt_access_sidecar::{Clock, Files, Options, Store, TenantKey, router};
use serde_json::Value;
use tower_service::Service as _;

use super::{split, text};
use crate::two_tenants::{DEVICE, NOW, acme, globex, serve};

const PATHS: [&str; 16] = [
    "/emqx/v5/authn",
    "/emqx/v5/authz",
    "/emqx/v6/authn",
    "/emqx/v6/authz",
    "/emqx/v5/scram",
    "/emqx/v6/scram",
    "/emqx/v4/auth",
    "/emqx/v4/acl",
    "/emqx/v5",
    "/emqx",
    "/rabbitmq/user",
    "/rabbitmq/vhost",
    "/rabbitmq/resource",
    "/rabbitmq/topic",
    "/rabbitmq",
    "/rabbitmq/user/",
];
const TYPES: [&str; 4] = ["application/json", "application/x-www-form-urlencoded", "text/plain", ""];
const CLIENT_ID: &str = "GID_acme@@@dev1";
const USERNAME: &str = "DeviceCredential|DC.1|mqtt-acme";

static PASSWORD: LazyLock<String> =
    LazyLock::new(|| password(MacAlgorithm::HmacSha1, &Secret::from(DEVICE), CLIENT_ID));

static TICKET: LazyLock<String> = LazyLock::new(|| {
    let credentials = Credentials { username: USERNAME, password: PASSWORD.as_bytes(), client_id: CLIENT_ID };
    let login = serve([acme()]).login(&credentials, NOW).result;
    login.map_or_else(|_| String::new(), |login| login.ticket().to_owned())
});

static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
});

fn sidecar() -> Router {
    let store = Store::in_memory(Clock::new(|| NOW));
    for (name, bundle) in [("acme", acme()), ("globex", globex())] {
        let key = TenantKey::new("shop", name).expect("a name");
        store.apply(&key, files(&bundle)).expect("a bundle");
    }
    router(store, &Options::default())
}

fn files(bundle: &Bundle) -> Files {
    let encoded = encode(bundle).expect("a bundle");
    Files::new(encoded.index(1).expect("an index"), encoded.shards.clone())
}

static SIDECAR: LazyLock<Router> = LazyLock::new(|| RUNTIME.block_on(async { sidecar() }));

/// The first byte names the path, the second the method and the content type; the rest is the body, and the query of a GET.
pub(super) fn check(data: &[u8]) {
    let (path, rest) = split(data);
    let (how, body) = split(rest);
    let path = PATHS[usize::from(path) % PATHS.len()];
    let content_type = TYPES[usize::from(how) % TYPES.len()];
    let method = [Method::POST, Method::POST, Method::GET, Method::PUT][usize::from(how / 4) % 4].clone();
    let uri = match method {
        Method::GET => format!("{path}?{}", text(body)),
        _ => path.to_owned(),
    };
    let Ok(request) =
        Request::builder().method(&method).uri(uri).header("content-type", content_type).body(body.to_vec())
    else {
        return;
    };
    let query = request.uri().query().unwrap_or_default().as_bytes().to_vec();
    let mut sidecar = SIDECAR.clone();
    let (status, reply) = RUNTIME.block_on(async {
        let Ok(response) = sidecar.call(request.map(Body::from)).await;
        let status = response.status().as_u16();
        (status, to_bytes(response.into_body(), usize::MAX).await.expect("a body"))
    });
    let sent = values(if method == Method::GET { &query } else { body });
    let holds = |value: &str| sent.iter().any(|it| it == value.as_bytes());
    // RabbitMQ brings nothing but a username and a client ID back, once a login has been.
    let proven = holds(CLIENT_ID) && (holds(&PASSWORD) || holds(&TICKET) || path.starts_with("/rabbitmq"));
    let reply = text(&reply);
    if path.starts_with("/emqx/v4") {
        assert_eq!((status, reply.as_str()), (403, "deny"));
    } else if path.starts_with("/emqx") {
        emqx(path, status, &reply, proven, holds("GID_acme@@@scram") && holds("scram"));
    } else {
        assert!(status == 200 && (reply == "deny" || reply == "allow" && proven), "{path}: {status} {reply}");
    }
}

fn emqx(path: &str, status: u16, reply: &str, proven: bool, named: bool) {
    if status == 200 && reply == r#"{"result":"deny"}"# {
        return;
    }
    let json: Value = serde_json::from_str(reply).unwrap_or_default();
    if path.ends_with("/scram") {
        // Everybody is given a record; that of a stranger fits no proof, and carries no ticket.
        let hex =
            |field: &str| json[field].as_str().is_some_and(|text| text.bytes().all(|byte| byte.is_ascii_hexdigit()));
        let keys = ["stored_key", "server_key", "salt"].into_iter().all(hex);
        assert!(status == 200 && keys, "{path}: {status} {reply}");
        assert!(named || json.get("client_attrs").is_none(), "{path}: {reply}");
        assert!(json["is_superuser"] != true && json.get("result").is_none(), "{path}: {reply}");
        return;
    }
    assert!(status == 200 && proven && json["result"] == "allow", "{path}: {status} {reply}");
    assert_ne!(json["is_superuser"], true, "{path}: {reply}");
    let of_acme = json["client_attrs"].get("client_id").is_none_or(|id| id == CLIENT_ID);
    assert!(of_acme, "{path}: {reply}");
}

/// Every value that may have been read from the body, as JSON or as a form.
fn values(body: &[u8]) -> Vec<Vec<u8>> {
    let json: BTreeMap<String, Value> = serde_json::from_slice(body).unwrap_or_default();
    let json = json.values().filter_map(Value::as_str).map(|text| text.as_bytes().to_vec());
    let pairs = body.split(|byte| *byte == b'&').map(|pair| pair.splitn(2, |byte| *byte == b'=').nth(1));
    json.chain(pairs.flatten().map(unescaped)).collect()
}

fn unescaped(value: &[u8]) -> Vec<u8> {
    let (mut found, mut rest) = (Vec::new(), value);
    while let Some((byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        let (byte, skip) = match (byte, hex) {
            (b'%', Some(byte)) if after[0] != b'+' => (byte, 2),
            (b'+', _) => (b' ', 0),
            _ => (*byte, 0),
        };
        found.push(byte);
        rest = &after[skip..];
    }
    found
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let escaped = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<Vec<_>>().concat();
    let (client, user) = (escaped(CLIENT_ID), escaped(USERNAME));
    let (secret, ticket) = (escaped(&PASSWORD), escaped(&TICKET));
    let form = |path: u8, how: u8, body: String| [&[path, how], body.as_bytes()].concat();
    let json = |path: u8, value: Value| [&[path, 0], value.to_string().as_bytes()].concat();
    vec![
        form(0, 1, format!("clientid={client}&username={user}&password={secret}")),
        form(0, 8, format!("clientid={client}&username={user}&password={secret}")),
        form(1, 1, format!("clientid={client}&action=publish&topic=acme%2fx&qos=1&retain=false&ticket={ticket}")),
        json(0, serde_json::json!({"clientid": CLIENT_ID, "username": USERNAME, "password": &*PASSWORD})),
        json(
            3,
            serde_json::json!({"clientid": CLIENT_ID, "action": "subscribe", "topic": "acme/#", "ticket": &*TICKET}),
        ),
        json(4, serde_json::json!({"clientid": "GID_acme@@@scram", "username": "scram"})),
        form(10, 1, format!("client_id={client}&username={user}&password={secret}&vhost=%2f")),
        form(11, 1, format!("client_id={client}&username={user}&vhost=%2f&ip=1")),
        form(
            12,
            1,
            format!("client_id={client}&username={user}&vhost=%2f&resource=exchange&name=amq.topic&permission=write"),
        ),
        form(
            13,
            1,
            format!(
                "variable_map.client_id={client}&username={user}&vhost=%2f&resource=topic&name=amq.topic&permission=write&routing_key=acme.x"
            ),
        ),
    ]
}
