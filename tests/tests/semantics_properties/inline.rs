//! What brokers make of the list of rules in a login reply, by the models of their evaluation: what the list decides, and
//! what is asked where it is silent, come together to exactly what docs/semantics.md says.

use std::sync::{Arc, LazyLock};

use axum::body::Body;
use axum::http::Request;
use mqtt_access_core::bundle::{AclDelivery, Bundle, Claims, Encoded, Space, Tenant, encode};
use mqtt_access_core::client::Map;
use mqtt_access_core::policy::Action;
use mqtt_access_core::topic::{Filter, TopicName};
use mqtt_access_core::verdict::Notation;
use mqtt_access_sidecar::{Clock, Files, Options, Store, TenantKey, router};
use mqtt_access_tests::models::emqx_inline::{self, Connected};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use tower_service::Service as _;

use crate::arbitrary::{Asked, Scenario, scenario};
use crate::cases;
use crate::sessions::{self, LoggedIn, Proof, client_id, proof};

/// Every short filter over the alphabet of the policies: what a list has to say is as easily got wrong for one as for
/// another.
static FILTERS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let levels = ["a", "b", "", "+", "$x", "xa"];
    let mut all: Vec<String> = vec!["#".to_owned(), "/#".to_owned()];
    let mut longest = vec![String::new()];
    for depth in 0..4 {
        let longer = longest.iter().flat_map(|start| {
            levels.map(|level| if depth == 0 { level.to_owned() } else { format!("{start}/{level}") })
        });
        longest = longer.collect();
        // The deepest only where two wildcards and a name can meet.
        if depth == 3 {
            longest.retain(|it| it.starts_with('a') && !it.contains('x'));
        }
        all.extend(longest.iter().flat_map(|it| [it.clone(), format!("{it}/#")]));
    }
    all.retain(|it| Filter::parse(it).is_ok());
    all
});

/// A login over HTTP, as the broker sees it.
pub(crate) struct Replied {
    pub(crate) session: LoggedIn,
    pub(crate) body: Value,
    pub(crate) username: String,
}

pub(crate) fn log_in(scenario: &Scenario, client_id: &str, proof: &Proof, path: &str) -> Replied {
    let mut bundle = sessions::bundle(scenario, scenario.client.client(), client_id, proof);
    bundle.tenant.acl_delivery = AclDelivery::Inline;
    let owner = owner(scenario, &bundle.tenant);
    // Beside another tenant it must have a prefix.
    bundle.tenant.claims.client_id_prefixes.extend(owner.iter().map(|_| client_id.to_owned()));
    let (username, password) = sessions::presented(client_id, proof);
    let scram = matches!(proof, Proof::Scram { .. });
    let path = if scram { "/emqx/v5/scram" } else { path };
    let body = ask(
        owner.iter().chain([&bundle]),
        path,
        &json!({"clientid": client_id, "username": username, "password": password}),
    );
    // What a SCRAM client sends at CONNECT proves nothing, and may be anything.
    let username = if scram { "a".to_owned() } else { username };
    Replied { session: sessions::log_in(scenario, client_id, proof), body, username }
}

/// An older tenant that owns alone what is withheld from the other one.
fn owner(scenario: &Scenario, other: &Tenant) -> Option<Bundle> {
    let space = |filter: &str| Space { filter: filter.to_owned(), shared_with: Vec::new() };
    let claims = Claims {
        instance_id: "owner".to_owned(),
        client_id_prefixes: vec!["another one's".to_owned()],
        topic_space: scenario.client.withheld.filters().map(space).collect(),
    };
    let tenant = Tenant { name: "owner".to_owned(), created: other.created - 1, claims, ..other.clone() };
    (!scenario.client.withheld.is_empty()).then(|| Bundle { tenant, policies: Vec::new(), devices: Vec::new() })
}

fn ask<'b>(bundles: impl Iterator<Item = &'b Bundle>, path: &str, body: &Value) -> Value {
    let store = Store::in_memory(Clock::new(|| sessions::NOW));
    let files = bundles.map(|bundle| {
        let encoded = encode(bundle).unwrap();
        let index = encoded.index(1).unwrap();
        let Encoded { shards, .. } = encoded;
        (TenantKey::new(&bundle.tenant.namespace, &bundle.tenant.name).unwrap(), Files::new(index, shards))
    });
    assert!(store.replace(files.collect()).is_empty());
    let mut router = router(Arc::clone(&store), &Options::default());
    let request = Request::post(path).header("content-type", "application/json").body(Body::from(body.to_string()));
    let reply = async {
        let response = router.call(request.unwrap()).await.unwrap();
        axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap()
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    serde_json::from_slice(&runtime.block_on(reply)).unwrap()
}

impl Replied {
    pub(crate) fn acl(&self) -> Option<&Value> {
        self.body.get("acl")
    }

    /// What the list says of a request; `None` where it is silent, or is none.
    fn listed(&self, asked: &Asked) -> Option<bool> {
        let client = Connected { client_id: &self.session.client_id, username: &self.username };
        emqx_inline::decide(self.acl()?, client, told(asked))
    }
}

/// EMQX tells everything.
pub(crate) fn told(asked: &Asked) -> emqx_inline::Asked<'_> {
    let request = asked.request();
    emqx_inline::Asked {
        publish: request.action() == Action::Publish,
        topic: asked.topic(),
        qos: request.qos.unwrap().into(),
        retain: request.retain.unwrap(),
    }
}

/// Everything short, with QoS and retain flags that vary.
pub(crate) fn everything() -> impl Iterator<Item = Asked> {
    FILTERS.iter().enumerate().flat_map(|(number, topic)| {
        let qos = u8::try_from(number % 3).unwrap();
        let name = TopicName::parse(topic).is_ok().then_some(Action::Publish);
        let actions = name.into_iter().chain([Action::Subscribe]);
        actions.map(move |action| Asked::of(action, topic, (Some(qos), Some(number % 2 == 0))))
    })
}

fn random(scenario: &Scenario) -> impl Iterator<Item = Asked> {
    scenario.asked.iter().filter(|asked| asked.notation == Notation::Mqtt).map(Asked::told)
}

proptest! {
    #![proptest_config(cases(300))]

    #[test]
    fn a_list_and_what_is_asked_beyond_it_are_what_the_rules_say(
        scenario in scenario(),
        client_id in client_id(),
        proof in proof(),
    ) {
        let replied = log_in(&scenario, &client_id, &proof, "/emqx/v5/authn");
        for asked in everything().chain(random(&scenario)) {
            let said = sessions::decide(&replied.session, &asked).is_allow();
            if let Some(listed) = replied.listed(&asked) {
                prop_assert_eq!(listed, said, "{:?} {:?} {}", asked, proof, replied.body);
            }
        }
        let none = Map::new();
        let client = sessions::known(&scenario, &replied.session, &proof, &none);
        for asked in random(&scenario) {
            if let Some(listed) = replied.listed(&asked) {
                let said = scenario.world().decide(&client, &asked.request()).allow;
                prop_assert_eq!(listed, said, "{:?} {:?} {}", asked, proof, replied.body);
            }
        }
    }
}

/// What is closed, and how much of what is allowed has to be asked: a list that says nothing would be right, and useless.
#[test]
fn most_of_what_clients_may_do_stands_in_their_lists() {
    let mut runner = TestRunner::deterministic();
    let (mut lists, mut closed, mut allowed, mut listed, mut silent) = (0, [0; 2], 0, 0, 0);
    for _ in 0..200 {
        let (scenario, client_id, proof) = (scenario(), client_id(), proof()).new_tree(&mut runner).unwrap().current();
        let replied = log_in(&scenario, &client_id, &proof, "/emqx/v5/authn");
        lists += i32::from(replied.acl().is_some());
        for (count, action) in closed.iter_mut().zip([Action::Publish, Action::Subscribe]) {
            *count += i32::from(replied.listed(&Asked::of(action, "no/one/asks", (Some(0), Some(false)))).is_some());
        }
        for asked in everything() {
            let (said, by_list) = (sessions::decide(&replied.session, &asked).is_allow(), replied.listed(&asked));
            allowed += i32::from(said);
            listed += i32::from(by_list == Some(true));
            silent += i32::from(by_list.is_none());
        }
    }
    println!(
        "{lists} lists of 200, closed {closed:?}; of {allowed} requests allowed {listed} by the list; {silent} asked"
    );
    assert!(lists > 150 && closed[0] > 150 && closed[1] > 100, "{lists} {closed:?}");
    assert!(listed > allowed / 2, "{listed} of {allowed}");
}
