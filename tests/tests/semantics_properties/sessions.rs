//! The whole way, from a login over its ticket to the verdict, against the reference; and what a key's tokens could be
//! used for.

use std::collections::BTreeSet;
use std::sync::Arc;

use mqtt_access_core::bundle::{
    AccessKey, AclDelivery, Bundle, Claims, ClientIds, Device, KeyUse, LoginName, Revocations, SessionRules, Space,
    Spares, Tenant,
};
use mqtt_access_core::client::{Client, Grant, Map, Mode};
use mqtt_access_core::credential::{MacAlgorithm, is_client_id, password};
use mqtt_access_core::index::{BrokerIndex, Credentials, Session, TenantIndex};
use mqtt_access_core::password::Verifier;
use mqtt_access_core::policy::Action;
use mqtt_access_core::scram::{Keys, ScramSettings, salt};
use mqtt_access_core::secret::Secret;
use mqtt_access_core::token::{self, Act, is_resource, token_key};
use mqtt_access_core::topic::{Filter, TopicName};
use mqtt_access_core::verdict::{Cause, Notation, Reason, Verdict};
use mqtt_access_tests::reference::Names;
use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use crate::arbitrary::{Asked, Scenario, filter, scenario};
use crate::cases;

pub(crate) const NOW: i64 = 1_800_000_000;
const SECRET: &str = "secret";

/// How a client logs in.
#[derive(Debug, Clone)]
pub(crate) enum Proof {
    Signature,
    Device,
    Password { prefix: bool },
    Scram { prefix: bool },
    Tokens(Vec<(Act, Vec<String>, bool)>),
}

/// Someone who has logged in, and what docs/semantics.md says of them.
pub(crate) struct LoggedIn {
    pub(crate) index: BrokerIndex,
    ticket: String,
    pub(crate) client_id: String,
    username: Option<String>,
    proven: bool,
    grants: Option<Vec<Grant>>,
}

pub(crate) fn proof() -> impl Strategy<Value = Proof> {
    let act = select(vec![Act::R, Act::W, Act::RW]);
    let resources = vec(prop_oneof![1 => Just("#".to_owned()), 3 => filter()], 1..3);
    let tokens = vec((act, resources.prop_map(usable), any::<bool>()), 1..4).prop_map(each_type_once);
    prop_oneof![
        1 => Just(Proof::Signature),
        1 => Just(Proof::Device),
        1 => any::<bool>().prop_map(|prefix| Proof::Password { prefix }),
        1 => any::<bool>().prop_map(|prefix| Proof::Scram { prefix }),
        4 => tokens.prop_map(Proof::Tokens),
    ]
}

fn usable(resources: Vec<String>) -> Vec<String> {
    resources.into_iter().map(|it| if is_resource(&it) { it } else { "a".to_owned() }).collect()
}

fn each_type_once(mut tokens: Vec<(Act, Vec<String>, bool)>) -> Vec<(Act, Vec<String>, bool)> {
    let mut known = BTreeSet::new();
    tokens.retain(|(act, _, _)| known.insert(*act));
    tokens
}

pub(crate) fn client_id() -> impl Strategy<Value = String> {
    let ids = vec!["a", "a", "b", "x", "b@@@a", "a@@@b@@@a", "@@@a", "a@@@", "a.b", "*", "$x"];
    select(ids).prop_map(str::to_owned)
}

pub(crate) fn bundle(scenario: &Scenario, client: Client<'_>, client_id: &str, proof: &Proof) -> Bundle {
    let space = |filter: &String| Space { filter: filter.clone(), shared_with: Vec::new() };
    let key = AccessKey {
        name: client.access_key.unwrap_or("backend").to_owned(),
        id: "AK".to_owned(),
        secret: Some(Secret::from(SECRET)),
        disabled: false,
        generated: false,
        client_id_prefixes: None,
        uses: [KeyUse::Connect].into(),
        spares: Spares::default(),
    };
    let tenant = Tenant {
        namespace: "acme".to_owned(),
        name: "t".to_owned(),
        uid: String::new(),
        created: 0,
        claims: Claims {
            instance_id: "a".to_owned(),
            client_id_prefixes: Vec::new(),
            topic_space: scenario.space.iter().map(space).collect(),
        },
        suspended: false,
        client_attributes: client.tenant_attributes.clone(),
        access_keys: vec![key],
        modes: vec![Mode::Signature, Mode::DeviceCredential, Mode::Token, Mode::Scram, Mode::Password],
        signature_algorithms: vec![MacAlgorithm::HmacSha256],
        superusers_allowed: true,
        ticket_key: Secret::from("ticket key"),
        scram: Some(ScramSettings::default()),
        token_max_ttl: None,
        token_revocations: Revocations::default(),
        sessions: SessionRules::default(),
        acl_delivery: AclDelivery::default(),
    };
    let devices = device(client, client_id, proof, &tenant.ticket_key).into_iter().collect();
    Bundle { tenant, policies: scenario.world().compiled(), devices }
}

fn device(client: Client<'_>, client_id: &str, proof: &Proof, ticket_key: &Secret) -> Option<Device> {
    let bytes = |byte| Secret::new(vec![byte; 32]);
    let record = || Keys { salt: salt(ticket_key, "name"), stored_key: bytes(1), server_key: bytes(2) };
    let fast = || Verifier::filed(ticket_key, "name", &Secret::from(SECRET));
    let (prefix, scram, password) = match proof {
        Proof::Signature | Proof::Tokens(_) => return None,
        Proof::Device => (false, None, None),
        Proof::Password { prefix } | Proof::Scram { prefix } => (*prefix, Some(record()), Some(fast())),
    };
    let name = String::from("name");
    Some(Device {
        name: "d".to_owned(),
        uid: None,
        client_id: if prefix { ClientIds::Prefix { prefix: String::new() } } else { ClientIds::from(client_id) },
        key_id: "DC".to_owned(),
        secret: Some(Secret::from(SECRET)),
        login: scram.is_some().then_some(LoginName { name, scram, password, spares: Spares::default() }),
        labels: client.labels.cloned().unwrap_or_default(),
        client_attributes: client.own_attributes.cloned().unwrap_or_default(),
        disabled: false,
        superuser: client.superuser,
        expires_at: None,
        spares: Spares::default(),
        brought_along: false,
        rests_until: None,
    })
}

fn tokens(proof: &Proof, client_id: &str) -> String {
    let Proof::Tokens(tokens) = proof else { return String::new() };
    let sign = |(number, (act, resources, bound)): (usize, &(Act, Vec<String>, bool))| {
        let claims = token::Claims {
            iss: "AK".to_owned(),
            aud: "a".to_owned(),
            iat: NOW,
            exp: NOW + 600,
            nbf: None,
            jti: number.to_string(),
            act: *act,
            res: resources.clone(),
            sub: bound.then(|| client_id.to_owned()),
        };
        format!("{}|{}", act.as_str(), claims.sign(&token_key(&Secret::from(SECRET))).unwrap())
    };
    tokens.iter().enumerate().map(sign).collect::<Vec<_>>().join("|")
}

/// The username and the password of a login.
pub(crate) fn presented(client_id: &str, proof: &Proof) -> (String, String) {
    let mac = || password(MacAlgorithm::HmacSha256, &Secret::from(SECRET), client_id);
    let (username, password) = match proof {
        Proof::Signature => ("Signature|AK|a", mac()),
        Proof::Device => ("DeviceCredential|DC|a", mac()),
        Proof::Tokens(_) => ("Token|AK|a", tokens(proof, client_id)),
        Proof::Password { .. } | Proof::Scram { .. } => ("name", SECRET.to_owned()),
    };
    (username.to_owned(), password)
}

pub(crate) fn log_in(scenario: &Scenario, client_id: &str, proof: &Proof) -> LoggedIn {
    assert!(is_client_id(client_id));
    let bundle = bundle(scenario, scenario.client.client(), client_id, proof);
    let index = TenantIndex::new(bundle, 1).unwrap().withholding(scenario.client.withheld.filters());
    let index = BrokerIndex::new([Arc::new(index)]);
    let (username, password) = presented(client_id, proof);
    let login = if matches!(proof, Proof::Scram { .. }) {
        index.scram(&username, client_id, NOW).result.unwrap()
    } else {
        let credentials = Credentials { username: &username, password: password.as_bytes(), client_id };
        index.login(&credentials, NOW).result.unwrap()
    };
    let ticket = login.ticket().to_owned();
    // "`${username}` is usable only where the mechanism verified it": a SCRAM client chooses the one of its CONNECT.
    let username = (!matches!(proof, Proof::Scram { .. })).then_some(username);
    // "`${clientid}` is usable only where the proof fixes it."
    let proven = match proof {
        Proof::Signature | Proof::Device => true,
        Proof::Password { prefix } | Proof::Scram { prefix } => !prefix,
        Proof::Tokens(tokens) => tokens.iter().all(|(_, _, bound)| *bound),
    };
    LoggedIn { index, ticket, client_id: client_id.to_owned(), username, proven, grants: grants(proof) }
}

fn grants(proof: &Proof) -> Option<Vec<Grant>> {
    let Proof::Tokens(tokens) = proof else { return None };
    let of = |(act, resources, _): &(Act, Vec<String>, bool)| {
        let (publish, subscribe) = (*act != Act::R, *act != Act::W);
        let grant = move |filter: &String| Grant { filter: filter.clone(), publish, subscribe };
        resources.iter().map(grant).collect::<Vec<_>>()
    };
    Some(tokens.iter().flat_map(of).collect())
}

/// The client of the reference: nothing of it is taken from the ticket.
pub(crate) fn known<'a>(scenario: &'a Scenario, session: &'a LoggedIn, proof: &Proof, none: &'a Map) -> Client<'a> {
    let mode = match proof {
        Proof::Signature => Mode::Signature,
        Proof::Device => Mode::DeviceCredential,
        Proof::Tokens(_) => Mode::Token,
        Proof::Password { .. } => Mode::Password,
        Proof::Scram { .. } => Mode::Scram,
    };
    let of_key = matches!(mode, Mode::Signature | Mode::Token);
    let client = scenario.client.client();
    Client {
        client_id: &session.client_id,
        client_id_proven: session.proven,
        username: session.username.as_deref(),
        mode,
        own_attributes: if of_key { None } else { Some(client.own_attributes.unwrap_or(none)) },
        labels: if of_key { None } else { Some(client.labels.unwrap_or(none)) },
        access_key: of_key.then_some(client.access_key.unwrap_or("backend")),
        superuser: client.superuser && !of_key,
        grants: session.grants.as_deref(),
        withheld: client.withheld,
        ..client
    }
}

pub(crate) fn decide<'i>(session: &'i LoggedIn, asked: &Asked) -> Verdict<'i> {
    let presented = Session { ticket: &session.ticket, client_id: &session.client_id };
    session.index.authorize(presented, &asked.request(), NOW).verdict
}

/// A name within a filter, or a filter that it covers: each wildcard becomes something of these.
fn within(filter: &str, action: Action, choices: &[Index]) -> String {
    let mut choices = choices.iter().cycle();
    let mut choose = |some: &[&'static str]| *choices.next().unwrap().get(some);
    let mut levels: Vec<&str> = Vec::new();
    for level in filter.split('/') {
        match (level, action) {
            ("+", Action::Publish) => levels.push(choose(&["a", "b", "", "xa", "c"])),
            ("+", Action::Subscribe) => levels.push(choose(&["a", "b", "", "+", "+"])),
            ("#", Action::Publish) => levels.extend(choose(&["", "a", "b", "a/b", "b/a/c"]).split('/')),
            ("#", Action::Subscribe) => levels.extend(choose(&["#", "+", "a", "a/#", "+/b"]).split('/')),
            _ => levels.push(level),
        }
    }
    levels.join("/")
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn from_login_to_verdict_both_engines_agree(
        scenario in scenario(),
        client_id in client_id(),
        proof in proof(),
    ) {
        let (session, none) = (log_in(&scenario, &client_id, &proof), Map::new());
        let client = known(&scenario, &session, &proof, &none);
        for asked in &scenario.asked {
            let fast = decide(&session, asked);
            let slow = scenario.world().decide(&client, &asked.request());
            prop_assert_eq!(
                (fast.is_allow(), fast.cause().to_string()),
                (slow.allow, slow.cause.to_string()),
                "{:?} {:?}", asked, proof
            );
        }
    }

    #[test]
    fn tokens_only_take_away_from_what_their_key_may(
        scenario in scenario(),
        client_id in client_id(),
        proof in proof(),
    ) {
        let with_tokens = log_in(&scenario, &client_id, &proof);
        if with_tokens.grants.is_none() {
            return Ok(());
        }
        let everything = Proof::Tokens(vec![(Act::RW, vec!["#".to_owned(), "$x/#".to_owned()], true)]);
        let (bound, none) = (log_in(&scenario, &client_id, &everything), Map::new());
        // Where dots part levels, nobody logs in with such a client ID; a Deny that renders it would grow beyond one level.
        let comes_in = |asked: &&Asked| asked.notation == Notation::Mqtt || !client_id.contains(['.', '*']);
        for asked in scenario.asked.iter().filter(comes_in).filter(|asked| decide(&with_tokens, asked).is_allow()) {
            prop_assert!(decide(&bound, asked).is_allow(), "{:?} {:?}", asked, proof);
            // Without tokens, the same client is allowed it by the policies alone.
            let client = Client { grants: None, ..known(&scenario, &with_tokens, &proof, &none) };
            prop_assert!(scenario.world().decide(&client, &asked.request()).allow, "{:?} {:?}", asked, proof);
        }
    }

    #[test]
    fn what_a_token_may_be_used_for_its_key_could_use(
        scenario in scenario(),
        client_id in client_id(),
        granted in filter(),
        bound in any::<bool>(),
        choices in vec(vec(any::<Index>(), 4), 6),
        flags in (weighted(0.8, 0..3_u8), weighted(0.8, any::<bool>())),
    ) {
        let granted = usable(vec![granted]);
        let session = log_in(&scenario, &client_id, &Proof::Tokens(vec![(Act::RW, granted.clone(), bound)]));
        let tenant = session.index.tenants().next().unwrap();
        let key = tenant.tenant().access_keys.first().unwrap();
        for action in [Action::Publish, Action::Subscribe] {
            let could = tenant.could_use(key, bound.then_some(&client_id), action, Filter::parse(&granted[0]).unwrap());
            for choices in &choices {
                let topic = within(&granted[0], action, choices);
                let valid = match action {
                    Action::Publish => TopicName::parse(&topic).is_ok(),
                    Action::Subscribe => Filter::parse(&topic).is_ok(),
                };
                if !valid {
                    continue;
                }
                let asked = Asked::of(action, &topic, flags);
                let verdict = decide(&session, &asked);
                prop_assert!(could || !verdict.is_allow(), "{:?} within {:?} is allowed", asked, granted);
            }
        }
    }
}

/// How often what could be used was: the bound would be worth nothing if it always said yes.
#[test]
fn the_random_sessions_are_neither_all_allowed_nor_all_denied() {
    let mut runner = TestRunner::deterministic();
    let (mut allowed, mut denied, mut by_token, mut by_type, mut useless) = (0, 0, 0, 0, 0);
    for _ in 0..1_000 {
        let (scenario, client_id, proof) = (scenario(), client_id(), proof()).new_tree(&mut runner).unwrap().current();
        let session = log_in(&scenario, &client_id, &proof);
        for asked in &scenario.asked {
            match decide(&session, asked).cause() {
                Cause::Reason(Reason::NotGrantedByToken) => by_token += 1,
                Cause::Reason(Reason::TokenTypeMismatch) => by_type += 1,
                _ if decide(&session, asked).is_allow() => allowed += 1,
                _ => denied += 1,
            }
        }
        let tenant = session.index.tenants().next().unwrap();
        let (key, filter) = (tenant.tenant().access_keys.first().unwrap(), Filter::parse("a/+").unwrap());
        useless += u32::from(!tenant.could_use(key, None, Action::Publish, filter));
    }
    let counts = [allowed, denied, by_token, by_type, useless, 1_000 - useless];
    assert!(counts.iter().all(|count| *count > 50), "{counts:?}");
}

#[test]
fn the_topics_within_a_filter_are_within_it() {
    let mut runner = TestRunner::deterministic();
    for _ in 0..1_000 {
        let (outer, choices) = (filter(), vec(any::<Index>(), 4)).new_tree(&mut runner).unwrap().current();
        let name = within(&outer, Action::Publish, &choices);
        let inner = within(&outer, Action::Subscribe, &choices);
        assert!(TopicName::parse(&name).is_err() || Names::of(&outer).contains(&name), "{outer} {name}");
        assert!(Filter::parse(&inner).is_err() || Names::of(&outer).covers(&Names::of(&inner)), "{outer} {inner}");
    }
}
