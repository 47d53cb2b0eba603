//! Rules in the login reply: byte for byte, for each broker that takes them.

use mqtt_access_core::bundle::{AclDelivery, Bundle};
use mqtt_access_core::policy::{Action, Effect, Qos, Rule, Topics};
use mqtt_access_core::token::Act;
use serde_json::{Value, json};

use crate::fixture::modes::{self, ALICE, NAMED, PASSWORD, TOKEN_USERNAME, claims, tokens};
use crate::fixture::{BRIEF, DEV1, DEV1_USERNAME, SHARED_USERNAME, START, device_password, shared_password};
use crate::server::Server;

/// What is denied where nothing is left to be asked.
const CLOSING: &str = concat!(
    r##"{"permission":"deny","action":"all","topics":["#","$SYS/#","$share/#","$queue/#","$exclusive/#","##,
    r##""$delayed/#","$events/#"]}"##
);

fn inline() -> Bundle {
    let mut bundle = modes::bundle();
    bundle.tenant.acl_delivery = AclDelivery::Inline;
    bundle
}

fn with_rules(rules: Vec<Rule>) -> Bundle {
    let mut bundle = inline();
    bundle.policies[0].rules = rules;
    bundle
}

fn rule(index: u32, effect: Effect, actions: &[Action], topics: &[&str]) -> Rule {
    let topics = Topics::Listed(topics.iter().map(|topic| (*topic).to_owned()).collect());
    Rule { index, effect, actions: actions.iter().copied().collect(), topics, qos: None, retain: None }
}

async fn serving(bundle: &Bundle) -> Server {
    let server = Server::start().await;
    server.serve(bundle, 11);
    server
}

async fn login(server: &Server, path: &str, client_id: &str, username: &str, password: &str) -> Value {
    let reply = server.json(path, &json!({"clientid": client_id, "username": username, "password": password})).await;
    assert!(!reply.body.contains("null"), "{}", reply.body);
    serde_json::from_str(&reply.body).unwrap()
}

async fn dev1(server: &Server) -> Value {
    login(server, "/emqx/v5/authn", DEV1, DEV1_USERNAME, &device_password("DC.1", DEV1)).await
}

/// As it was written: the order of fields counts here.
async fn dev1_acl(server: &Server, path: &str) -> String {
    let body = json!({"clientid": DEV1, "username": DEV1_USERNAME, "password": device_password("DC.1", DEV1)});
    let reply = server.json(path, &body).await.body;
    let (_, acl) = reply.split_once(",\"acl\":").expect("an acl");
    acl.strip_suffix('}').unwrap().to_owned()
}

#[tokio::test]
async fn a_list_is_written_byte_for_byte_and_the_same_for_both_versions() {
    let all = [Action::Publish, Action::Subscribe];
    let qos = |levels: &[u8]| Some(levels.iter().map(|level| Qos::try_from(*level).unwrap()).collect());
    let bundle = with_rules(vec![
        rule(0, Effect::Allow, &all, &["acme/${clientid}/up/x", "acme/${clientid}/cmd/+"]),
        Rule { qos: qos(&[0, 1]), retain: Some(false), ..rule(1, Effect::Allow, &all, &["eq acme/all"]) },
        rule(2, Effect::Deny, &[Action::Publish], &["acme/+/up/#", "acme/+/cmd/secret", "acme/far/away"]),
    ]);
    let server = serving(&bundle).await;
    let id = DEV1;
    let expected = format!(
        "[{{\"permission\":\"deny\",\"action\":\"publish\",\"topics\":[\"acme/+/cmd/secret\"]}},\
         {{\"permission\":\"allow\",\"action\":\"subscribe\",\"topics\":[\"acme/{id}/up/x\"]}},\
         {{\"permission\":\"allow\",\"action\":\"publish\",\"topics\":[\"acme/{id}/cmd/+\"]}},\
         {{\"permission\":\"allow\",\"action\":\"all\",\"topics\":[\"eq acme/all\"],\"qos\":[0,1],\"retain\":false}},\
         {{\"permission\":\"deny\",\"action\":\"subscribe\",\"topics\":[\"eq acme/{id}/cmd/#\"]}},\
         {{\"permission\":\"allow\",\"action\":\"subscribe\",\"topics\":[\"acme/{id}/cmd/+\"]}},{CLOSING}]"
    );
    for path in ["/emqx/v5/authn", "/emqx/v6/authn"] {
        assert_eq!(dev1_acl(&server, path).await, expected, "{path}");
    }
}

#[tokio::test]
async fn what_a_list_cannot_say_is_left_to_be_asked() {
    // `acme/+/vault` is denied: a subscription to `acme/dev1/#` would be let through.
    let server = serving(&inline()).await;
    let reply = dev1(&server).await;
    let expected = json!([
        {"permission": "deny", "action": "all", "topics": ["acme/+/vault"]},
        {"permission": "allow", "action": "publish", "topics": ["acme/GID_acme@@@dev1/#", "acme/dev1/#"]},
        {"permission": "deny", "action": "publish",
         "topics": ["#", "$SYS/#", "$share/#", "$queue/#", "$exclusive/#", "$delayed/#", "$events/#"]},
    ]);
    assert_eq!(reply["acl"], expected);
    let ticket = reply["client_attrs"]["mqa_ticket"].as_str().unwrap();
    for (topic, cause) in [("acme/dev1/#", "shop/own-topics rules[1]"), ("acme/dev1/x/#", "shop/own-topics rules[0]")] {
        let body = json!({"clientid": DEV1, "action": "subscribe", "topic": topic, "qos": 0, "ticket": ticket});
        assert_eq!(server.json("/emqx/v5/authz", &body).await.cause(), cause, "{topic}");
    }
}

#[tokio::test]
async fn every_mode_is_given_its_list_and_nobody_whose_tenant_is_asked() {
    let server = serving(&inline()).await;
    let any = "GID_acme@@@any";
    let token = tokens(&[claims(Act::W, &["acme/any/#", "acme/x"])]);
    let (shared, of_dev1) = (shared_password(any), device_password("DC.1", DEV1));
    let logins = [
        ("/emqx/v5/authn", any, SHARED_USERNAME, shared.as_str()),
        ("/emqx/v5/authn", DEV1, DEV1_USERNAME, &of_dev1),
        ("/emqx/v6/authn", any, TOKEN_USERNAME, &token),
        ("/emqx/v5/authn", ALICE, "alice", PASSWORD),
        ("/emqx/v5/authn", "GID_acme@@@imported", "imported", PASSWORD),
        ("/emqx/v5/scram", NAMED, "named", ""),
        ("/emqx/v6/scram", "GID_acme@@@brief-name", "brief-name", ""),
    ];
    for (path, client_id, username, password) in logins {
        let reply = login(&server, path, client_id, username, password).await;
        assert!(reply["acl"].is_array(), "{username}: {reply}");
    }
    let brief = login(&server, "/emqx/v5/scram", "GID_acme@@@brief-name", "brief-name", "").await;
    assert_eq!(brief["expire_at"], BRIEF, "EMQX ends the session and the list with it");
    server.serve(&modes::bundle(), 12);
    for (path, client_id, username, password) in logins {
        let reply = login(&server, path, client_id, username, password).await;
        assert_eq!(reply.get("acl"), None, "{username}: {reply}");
        assert!(reply["client_attrs"]["mqa_ticket"].is_string(), "{reply}");
    }
}

#[tokio::test]
async fn a_token_s_list_says_no_more_than_the_token() {
    let bundle =
        with_rules(vec![rule(0, Effect::Allow, &[Action::Publish, Action::Subscribe], &["acme/+/up", "acme/x/#"])]);
    let server = serving(&bundle).await;
    let token = tokens(&[claims(Act::W, &["acme/x/+"]), claims(Act::R, &["acme/y/#"])]);
    let reply = login(&server, "/emqx/v5/authn", "GID_acme@@@any", TOKEN_USERNAME, &token).await;
    let rules = reply["acl"].as_array().unwrap();
    let expected = [
        json!({"permission": "allow", "action": "publish", "topics": ["acme/x/up"]}),
        json!({"permission": "allow", "action": "subscribe", "topics": ["acme/y/up"]}),
        json!({"permission": "allow", "action": "publish", "topics": ["acme/x/+"]}),
    ];
    assert_eq!(&rules[..3], expected, "what both the policy and a token allow");
    assert_eq!(reply["expire_at"], START + 3600);
    assert_eq!(rules.len(), 4, "and nothing else: {rules:?}");
}

#[tokio::test]
async fn a_decoy_has_no_list() {
    let server = serving(&inline()).await;
    let reply = login(&server, "/emqx/v5/scram", NAMED, "nobody", "").await;
    assert!(reply["stored_key"].is_string() && reply.get("acl").is_none(), "{reply}");
    let refused = login(&server, "/emqx/v5/authn", DEV1, DEV1_USERNAME, "wrong").await;
    assert_eq!(refused, json!({"result": "deny"}));
}

#[tokio::test]
async fn more_rules_or_longer_ones_than_a_reply_should_carry_are_asked() {
    let publish = [Action::Publish];
    let many = |count: usize, length: usize| {
        let topics: Vec<String> = (0..count).map(|number| format!("acme/{number}/{}", "x".repeat(length))).collect();
        rule(0, Effect::Allow, &publish, &topics.iter().map(String::as_str).collect::<Vec<_>>())
    };
    for (count, length, listed) in
        [(100, 1, true), (101, 1, false), (1_000, 1, false), (16, 1_000, true), (17, 1_000, false)]
    {
        let server = serving(&with_rules(vec![many(count, length)])).await;
        let reply = dev1(&server).await;
        assert_eq!(reply.get("acl").is_some(), listed, "{count} of {length}");
        let ticket = reply["client_attrs"]["mqa_ticket"].as_str().unwrap();
        let topic = format!("acme/7/{}", "x".repeat(length));
        let judged = server.emqx_publish(DEV1, ticket, &topic).await;
        assert_eq!(judged.cause(), "shop/own-topics rules[0]", "{count} of {length}");
    }
}

#[tokio::test]
async fn nothing_that_emqx_would_expand_or_read_otherwise_stands_in_a_list() {
    let all = [Action::Publish, Action::Subscribe];
    let mut bundle = with_rules(vec![
        rule(0, Effect::Allow, &all, &["acme/${$}{clientid}/x", "acme/ok"]),
        rule(1, Effect::Allow, &all, &["${client_attrs.plant}/x"]),
        rule(2, Effect::Allow, &all, &["eq acme/${clientid}"]),
    ]);
    bundle.tenant.client_attributes.insert("plant".to_owned(), "eq acme".to_owned());
    let reply = dev1(&serving(&bundle).await).await;
    let expected = json!([{"permission": "allow", "action": "all", "topics": ["acme/ok"]}]);
    assert_eq!(reply["acl"], expected, "what was left out has to be asked");
}
