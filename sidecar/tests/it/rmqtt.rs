//! rmqtt: the calls that `rmqtt-auth-http` 0.24 makes, and that nothing but the list of a login lets anybody do anything.

use mqtt_access_core::bundle::{AclDelivery, Bundle};
use mqtt_access_core::policy::{Action, Effect, Rule, Topics};
use mqtt_access_core::token::Act;
use serde_json::Value;

use crate::fixture::modes::{self, ALICE, PASSWORD, TOKEN_USERNAME, claims, tokens};
use crate::fixture::{DEV1, DEV1_USERNAME, SHARED_USERNAME, device_password, shared_password};
use crate::server::Server;
use crate::wire::Reply;

const DENY: &str = r#"{"result":"deny"}"#;

fn inline() -> Bundle {
    let mut bundle = modes::bundle();
    bundle.tenant.acl_delivery = AclDelivery::Inline;
    bundle
}

async fn serving(bundle: &Bundle) -> Server {
    let server = Server::start().await;
    server.serve(bundle, 11);
    server
}

fn params<'a>(client_id: &'a str, username: &'a str, password: &'a str) -> [(&'a str, &'a str); 5] {
    [
        ("clientid", client_id),
        ("username", username),
        ("password", password),
        ("protocol", "5"),
        ("ipaddr", "192.0.2.1"),
    ]
}

async fn login(server: &Server, client_id: &str, username: &str, password: &str) -> Reply {
    let reply = server.form("/rmqtt/auth", &params(client_id, username, password)).await;
    assert_eq!((reply.status, reply.headers["content-type"].as_str()), (200, "application/json"));
    // Their presence alone would make a superuser, or keep an answer.
    assert!(!reply.headers.contains_key("x-superuser") && !reply.headers.contains_key("x-cache"));
    reply
}

async fn acl(server: &Server, client_id: &str, access: &str, topic: &str) -> Reply {
    let pairs = [("access", access), ("username", DEV1_USERNAME), ("clientid", client_id), ("topic", topic)];
    server.form("/rmqtt/acl", &pairs).await
}

#[tokio::test]
async fn a_good_login_is_answered_byte_for_byte_with_its_list() {
    let server = serving(&inline()).await;
    let password = device_password("DC.1", DEV1);
    let reply = login(&server, DEV1, DEV1_USERNAME, &password).await;
    let denied = |topic: &str| format!("{{\"permission\":\"deny\",\"action\":\"all\",\"topic\":\"{topic}\"}}");
    let allowed = |topic: &str| format!("{{\"permission\":\"allow\",\"action\":\"publish\",\"topic\":\"{topic}\"}}");
    // The subscriptions that a Deny meets are not told: there is nobody whom rmqtt could ask.
    let rules = [
        denied("acme/+/vault"),
        allowed("acme/GID_acme@@@dev1/#"),
        allowed("acme/dev1/#"),
        denied("#"),
        denied("$SYS/#"),
        denied("$share/#"),
        denied("$queue/#"),
        denied("$exclusive/#"),
        denied("$delayed/#"),
        denied("$events/#"),
    ];
    let expected = format!("{{\"result\":\"allow\",\"superuser\":false,\"acl\":[{}]}}", rules.join(","));
    assert_eq!((reply.body.as_str(), reply.cause()), (expected.as_str(), "ProofAccepted"));
    let body: Value = params(DEV1, DEV1_USERNAME, &password).iter().map(|(name, value)| (*name, *value)).collect();
    assert_eq!(server.json("/rmqtt/auth", &body).await.body, expected, "as JSON");
    assert_eq!(server.get("/rmqtt/auth", &params(DEV1, DEV1_USERNAME, &password)).await.body, expected, "as a query");
}

#[tokio::test]
async fn who_cannot_be_given_a_list_that_ends_cannot_log_in() {
    let server = serving(&inline()).await;
    let (any, brief) = ("GID_acme@@@any", "GID_acme@@@brief");
    let token = tokens(&[claims(Act::RW, &["acme/#"])]);
    for (client_id, username, password, cause) in [
        (any, SHARED_USERNAME, shared_password(any).as_str(), "ProofAccepted"),
        (ALICE, "alice", PASSWORD, "ProofAccepted"),
        ("GID_acme@@@imported", "imported", PASSWORD, "ProofAccepted"),
        (brief, "DeviceCredential|DC.2|mqtt-acme", &device_password("DC.2", brief), "InlineRulesOnly"),
        (any, TOKEN_USERNAME, &token, "InlineRulesOnly"),
        (any, SHARED_USERNAME, "wrong", "WrongProof"),
        ("GID_acme@@@a%A", SHARED_USERNAME, &shared_password("GID_acme@@@a%A"), "ClientIdAmbiguous"),
        (any, "al%tice", PASSWORD, "ClientIdAmbiguous"),
    ] {
        let reply = login(&server, client_id, username, password).await;
        assert_eq!(reply.cause(), cause, "{username}");
        assert_eq!(reply.body == DENY, cause != "ProofAccepted", "{username}: {}", reply.body);
    }
    server.serve(&modes::bundle(), 12);
    let reply = login(&server, DEV1, DEV1_USERNAME, &device_password("DC.1", DEV1)).await;
    assert_eq!((reply.body.as_str(), reply.cause()), (DENY, "InlineRulesOnly"), "a tenant that is asked");
}

#[tokio::test]
async fn nobody_is_allowed_anything_by_asking() {
    let server = serving(&inline()).await;
    login(&server, DEV1, DEV1_USERNAME, &device_password("DC.1", DEV1)).await;
    for (access, topic, cause) in [
        ("2", "acme/dev1/up", "InlineRulesOnly"),
        ("1", "acme/dev1/down", "InlineRulesOnly"),
        ("3", "acme/dev1/up", "Malformed"),
        ("", "acme/dev1/up", "Malformed"),
    ] {
        let reply = acl(&server, DEV1, access, topic).await;
        assert_eq!((reply.status, reply.body.as_str(), reply.cause()), (200, DENY, cause), "{access} {topic}");
    }
    for path in ["/rmqtt", "/rmqtt/", "/rmqtt/super", "/rmqtt/auth/", "/rmqtt/acl/x"] {
        let reply = server.form(path, &params(DEV1, DEV1_USERNAME, "x")).await;
        assert_eq!((reply.status, reply.body.as_str(), reply.cause()), (200, DENY, "Malformed"), "{path}");
    }
    let denied = "dialect=\"rmqtt\",action=\"publish\",verdict=\"deny\",reason=\"InlineRulesOnly\"";
    assert!(server.probe("/metrics").await.body.contains(denied));
}

#[tokio::test]
async fn what_rmqtt_reads_otherwise_than_mqtt_does_is_not_in_the_list() {
    let both = [Action::Publish, Action::Subscribe];
    let rule = |index, effect, topics: &[&str], retain| {
        let topics = Topics::Listed(topics.iter().map(|topic| (*topic).to_owned()).collect());
        Rule { index, effect, actions: both.into(), topics, qos: None, retain }
    };
    let listed = async |rules: Vec<Rule>| {
        let mut bundle = inline();
        bundle.policies[0].rules = rules;
        let server = serving(&bundle).await;
        let reply = login(&server, DEV1, DEV1_USERNAME, &device_password("DC.1", DEV1)).await;
        let body: Value = serde_json::from_str(&reply.body).unwrap();
        let rules = body["acl"].as_array().unwrap().clone();
        let ruled = rules.iter().take_while(|rule| rule["topic"] != "#");
        ruled
            .map(|rule| format!("{} {} {}", rule["permission"], rule["action"], rule["topic"]).replace('"', ""))
            .collect::<Vec<_>>()
    };
    let (allow, deny) = (Effect::Allow, Effect::Deny);
    let ending_in_plus = listed(vec![rule(0, allow, &["acme/+", "acme/+/up"], None)]).await;
    assert_eq!(ending_in_plus, ["allow all acme/+/up", "deny subscribe eq acme/#"], "it would match `acme/$x/y`");
    let inner_dollar = listed(vec![rule(0, allow, &["acme/$x", "acme/$x/#"], None)]).await;
    assert_eq!(inner_dollar, ["allow all eq acme/$x"], "an error would drop the whole list");
    let missed = listed(vec![rule(0, allow, &["acme/a/#"], None), rule(1, deny, &["acme/a/b/#"], None)]).await;
    assert_eq!(missed, ["deny all acme/a/b/#"], "it would not match `acme/a/b/$x`");
    let retained =
        listed(vec![rule(0, allow, &["acme/a"], Some(true)), rule(1, allow, &["acme/b"], Some(false))]).await;
    assert_eq!(retained, ["allow subscribe acme/a", "allow all acme/b"], "it would let pass what is not retained");
}
