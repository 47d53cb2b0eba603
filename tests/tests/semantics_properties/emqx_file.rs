//! The compiled `acl.conf` against the verdicts: EMQX may allow less, never more, and what it allows less has been told.

use std::collections::BTreeMap;
use std::sync::Arc;

use mqtt_access_core::acl_file::{Section, emqx};
use mqtt_access_core::bundle::{AccessKey, Bundle, Claims, ClientIds, Device, KeyUse, LoginName, Space, Tenant};
use mqtt_access_core::client::{Map, Mode};
use mqtt_access_core::credential::{MacAlgorithm, password};
use mqtt_access_core::index::{BrokerIndex, Credentials, Login, Session, TenantIndex};
use mqtt_access_core::password::Verifier;
use mqtt_access_core::policy::{Action, Effect, Policy, Topics};
use mqtt_access_core::scram::{Keys, ScramSettings, salt};
use mqtt_access_core::secret::Secret;
use mqtt_access_core::token::{Act, Claims as TokenClaims, token_key};
use mqtt_access_core::topic::{Filter, TopicName};
use mqtt_access_core::verdict::{Cause, Verdict};
use mqtt_access_tests::models::emqx::{AclConf, Asked as ModelAsked, Client as ModelClient};
use proptest::collection::{btree_map, vec};
use proptest::option::weighted;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use crate::arbitrary::{Asked, Scenario, scenario};
use crate::cases;

const NOW: i64 = 1_800_000_000;
const SECRET: &str = "secret";
/// How the finding begins that is about clients with tokens only.
const OF_TOKENS: &str = "clients with tokens may do nothing";
/// And how the one begins about clients that cannot be told from those of a credential that is refused.
const OF_SCRAM: &str = "SCRAM clients whose client ID begins";
const MODES: [Mode; 5] = [Mode::Signature, Mode::DeviceCredential, Mode::Token, Mode::Scram, Mode::Password];

/// A credential, as it is now; when its clients logged in it was in order.
#[derive(Debug, Clone)]
struct Credential {
    prefix: bool,
    login: Option<(bool, bool)>,
    labels: Map,
    attributes: Map,
    superuser: bool,
    refused: Refused,
}

#[derive(Debug, Clone, Copy)]
enum Refused {
    No,
    Disabled,
    Expired,
}

/// A tenant, as far as a scenario does not tell.
#[derive(Debug, Clone)]
struct Team {
    credentials: Vec<Credential>,
    modes: Vec<Mode>,
    suspended: bool,
    prefixes: Vec<String>,
    disabled_key: Option<usize>,
}

/// Someone who logged in.
struct LoggedIn {
    client_id: String,
    /// Of the CONNECT packet.
    username: Option<String>,
    mode: Mode,
    login: Login,
}

fn map(names: Vec<&'static str>, values: Vec<&'static str>) -> impl Strategy<Value = Map> {
    let text = |texts: Vec<&'static str>| select(texts).prop_map(str::to_owned);
    btree_map(text(names), text(values), 0..3)
}

fn credential() -> impl Strategy<Value = Credential> {
    let login = weighted(0.6, (any::<bool>(), any::<bool>()));
    let labels = map(vec!["kind", "floor"], vec!["a", "b"]);
    let values = vec!["a", "a", "b", "x", "a/b", "+", "#", "$x", "${clientid}", "a\u{85}", ""];
    let attributes = map(vec!["site", "site", "device_id", "client_id"], values);
    let refused = prop_oneof![8 => Just(Refused::No), 1 => Just(Refused::Disabled), 1 => Just(Refused::Expired)];
    let flags = (prop::bool::weighted(0.25), prop::bool::weighted(0.1));
    (flags, login, labels, attributes, refused).prop_map(|((prefix, superuser), login, labels, attributes, refused)| {
        Credential { prefix, login, labels, attributes, superuser, refused }
    })
}

fn team() -> impl Strategy<Value = Team> {
    let modes = prop_oneof![3 => Just(MODES.to_vec()), 1 => subsequence(MODES.to_vec(), 1..=5)];
    let prefixes = prop_oneof![4 => Just(Vec::new()), 1 => Just(vec!["a".to_owned(), "$".to_owned()])];
    (vec(credential(), 0..4), modes, prop::bool::weighted(0.03), prefixes, weighted(0.2, 0..2_usize)).prop_map(
        |(credentials, modes, suspended, prefixes, disabled_key)| Team {
            credentials,
            modes,
            suspended,
            prefixes,
            disabled_key,
        },
    )
}

const DEVICE_IDS: [&str; 4] = ["a", "x", "b@@@a", "$x"];
const KEYS: [&str; 2] = ["backend", "ops"];

/// The bundle as it is now, or as it was when everybody was still let in.
fn bundle(scenario: &Scenario, team: &Team, now: bool) -> Bundle {
    let space = |filter: &String| Space { filter: filter.clone(), shared_with: Vec::new() };
    let key = |(place, name): (usize, &&str)| AccessKey {
        name: (*name).to_owned(),
        id: format!("AK.{name}"),
        secret: Some(Secret::from(SECRET)),
        disabled: now && team.disabled_key == Some(place),
        generated: false,
        uses: [KeyUse::Connect].into(),
    };
    let tenant = Tenant {
        namespace: "acme".to_owned(),
        name: "t".to_owned(),
        uid: String::new(),
        created: 0,
        claims: Claims {
            instance_id: "a".to_owned(),
            client_id_prefixes: if now { team.prefixes.clone() } else { Vec::new() },
            topic_space: scenario.space.iter().map(space).collect(),
        },
        suspended: now && team.suspended,
        client_attributes: scenario.client.client().tenant_attributes.clone(),
        access_keys: KEYS.iter().enumerate().map(key).collect(),
        modes: if now { team.modes.clone() } else { MODES.to_vec() },
        signature_algorithms: vec![MacAlgorithm::HmacSha256],
        superusers_allowed: true,
        ticket_key: Secret::from("ticket key"),
        scram: Some(ScramSettings::default()),
        token_max_ttl: None,
        token_revocations: mqtt_access_core::bundle::Revocations::default(),
    };
    let devices = team.credentials.iter().enumerate();
    let devices = devices.map(|(place, it)| device(it, place, &tenant.ticket_key, now)).collect();
    Bundle { tenant, policies: scenario.world().compiled(), devices }
}

fn device(credential: &Credential, place: usize, ticket_key: &Secret, now: bool) -> Device {
    let bytes = |byte| Secret::new(vec![byte; 32]);
    let name = format!("name{place}");
    let login = credential.login.map(|(scram, password)| LoginName {
        scram: scram.then(|| Keys { salt: salt(ticket_key, &name), stored_key: bytes(1), server_key: bytes(2) }),
        password: (password || !scram).then(|| Verifier::fast(ticket_key, &Secret::from(SECRET))),
        name,
    });
    let prefix = || ClientIds::Prefix { prefix: "p".to_owned() };
    Device {
        name: format!("d{place}"),
        uid: None,
        client_id: if credential.prefix { prefix() } else { ClientIds::from(DEVICE_IDS[place]) },
        key_id: format!("DC.{place}"),
        secret: Some(Secret::from(SECRET)),
        login,
        labels: credential.labels.clone(),
        client_attributes: credential.attributes.clone(),
        disabled: now && matches!(credential.refused, Refused::Disabled),
        superuser: credential.superuser,
        expires_at: (now && matches!(credential.refused, Refused::Expired)).then_some(NOW - 1),
    }
}

fn index(bundle: Bundle) -> BrokerIndex {
    BrokerIndex::new([Arc::new(TenantIndex::new(bundle, 1).unwrap())])
}

/// Everybody who can log in, in every way.
fn log_in(index: &BrokerIndex, team: &Team) -> Vec<LoggedIn> {
    let mac = |client_id: &str| password(MacAlgorithm::HmacSha256, &Secret::from(SECRET), client_id);
    let mut found = Vec::new();
    for (place, credential) in team.credentials.iter().enumerate() {
        let ids = if credential.prefix { vec!["pa", "pq"] } else { vec![DEVICE_IDS[place]] };
        for client_id in ids {
            let name = format!("name{place}");
            match credential.login {
                None => {
                    let username = format!("DeviceCredential|DC.{place}|a");
                    found.push((Mode::DeviceCredential, username, mac(client_id), client_id));
                }
                Some((scram, password)) => {
                    if scram {
                        found.push((Mode::Scram, name.clone(), String::new(), client_id));
                    }
                    if password || !scram {
                        found.push((Mode::Password, name, SECRET.to_owned(), client_id));
                    }
                }
            }
        }
    }
    for key in KEYS {
        for client_id in ["k", "b@@@k"] {
            found.push((Mode::Signature, format!("Signature|AK.{key}|a"), mac(client_id), client_id));
        }
        found.push((Mode::Token, format!("Token|AK.{key}|a"), token(key), "k"));
    }
    let connect = |(mode, username, password, client_id): (Mode, String, String, &str)| {
        let login = if mode == Mode::Scram {
            index.scram(&username, client_id, NOW).result.unwrap()
        } else {
            let credentials = Credentials { username: &username, password: password.as_bytes(), client_id };
            index.login(&credentials, NOW).result.unwrap()
        };
        // A SCRAM client may say that it is anybody.
        let username = if mode == Mode::Scram { "Signature|AK.ops|a".to_owned() } else { username };
        LoggedIn { client_id: client_id.to_owned(), username: Some(username), mode, login }
    };
    found.into_iter().map(connect).collect()
}

fn token(key: &str) -> String {
    let claims = TokenClaims {
        iss: format!("AK.{key}"),
        aud: "a".to_owned(),
        iat: NOW,
        exp: NOW + 600,
        nbf: None,
        jti: "1".to_owned(),
        act: Act::RW,
        res: vec!["#".to_owned()],
        sub: Some("k".to_owned()),
    };
    format!("RW|{}", claims.sign(&token_key(&Secret::from(SECRET))).unwrap())
}

/// What the rules are about, as this client would ask for it, and a little beside it.
fn requests(policies: &[Policy], client: &LoggedIn, choices: &[Index]) -> Vec<(Action, String)> {
    let mut choices = choices.iter().cycle();
    let mut choose = |some: &[&'static str]| *choices.next().unwrap().get(some);
    let mut asked = Vec::new();
    let rules = policies.iter().flat_map(|policy| &policy.rules);
    let topics = rules.filter_map(|rule| if let Topics::Listed(topics) = &rule.topics { Some(topics) } else { None });
    for topic in topics.flatten() {
        let mut topic = topic.strip_prefix("eq ").unwrap_or(topic).replace("${clientid}", &client.client_id);
        topic = topic.replace("${username}", client.username.as_deref().unwrap_or_default()).replace("${$}", "$");
        for (name, value) in client.login.attributes() {
            topic = topic.replace(&format!("${{client_attrs.{name}}}"), value);
        }
        let name = topic.replace('+', choose(&["a", "b", "$x", ""])).replace('#', choose(&["a", "a/b", "", "b"]));
        asked.push((Action::Publish, name));
        let below = topic.replace('#', choose(&["#", "+", "a", "a/#", "+/a", "b/+/#"]));
        let (parent, _) = topic.rsplit_once('/').unwrap_or_default();
        asked.push((Action::Subscribe, format!("{parent}/{}", choose(&["#", "+", "a", "+/#"]))));
        asked.push((Action::Subscribe, choose(&["#", "+", "+/#", "/#", "+/+"]).to_owned()));
        asked.push((Action::Subscribe, below));
        asked.push((Action::Subscribe, topic));
    }
    asked.retain(|(action, topic)| match action {
        Action::Publish => TopicName::parse(topic).is_ok(),
        Action::Subscribe => Filter::parse(topic).is_ok(),
    });
    asked.sort();
    asked.dedup();
    asked
}

/// One tenant: the verdicts, and the file with EMQX's evaluation of it.
struct Compared {
    logged_in: Vec<LoggedIn>,
    now: BrokerIndex,
    section: Section,
    model: AclConf,
    /// For each rule of the file, the rule of a policy behind it.
    behind: Vec<Option<(String, u32)>>,
}

impl Compared {
    fn new(scenario: &Scenario, team: &Team) -> Self {
        let logged_in = log_in(&index(bundle(scenario, team, false)), team);
        let now = index(bundle(scenario, team, true));
        let section = emqx::section(now.tenants().next().unwrap(), NOW);
        let text = emqx::file([&section]);
        let model = AclConf::compile(&text).unwrap();
        Self { logged_in, now, section, model, behind: behind(&text) }
    }

    fn verdict(&self, client: &LoggedIn, asked: &Asked) -> Verdict<'_> {
        let session = Session { ticket: client.login.ticket(), client_id: &client.client_id };
        self.now.authorize(session, &asked.request(), NOW).verdict
    }

    fn emqx(&self, client: &LoggedIn, asked: ModelAsked<'_>) -> (usize, bool) {
        let LoggedIn { client_id, username, mode: _, login } = client;
        let client = ModelClient { client_id, username: username.as_deref(), attributes: login.attributes() };
        self.model.decide(client, asked).unwrap()
    }

    /// What was told about a request that EMQX refuses although it is allowed.
    fn explanation(&self, client: &LoggedIn, cause: Cause<'_>, decided: usize) -> Option<&str> {
        if client.mode == Mode::Token {
            return self.section.narrowed.iter().map(|it| it.message.as_str()).find(|it| it.starts_with(OF_TOKENS));
        }
        let told = |policy: &str, rule| {
            let mut found = self.section.narrowed.iter().filter(|it| it.policy == policy && it.rule == rule);
            found
                .find(|it| ![OF_TOKENS, OF_SCRAM].iter().any(|of| it.message.starts_with(of)))
                .map(|it| it.message.as_str())
        };
        if client.mode == Mode::Scram && self.refuses_clients(decided) {
            return self.section.narrowed.iter().map(|it| it.message.as_str()).find(|it| it.starts_with(OF_SCRAM));
        }
        let by_deny = self.behind[decided].as_ref().and_then(|(policy, rule)| told(policy, *rule));
        match cause {
            Cause::Rule(rule) => told(rule.policy, rule.index).or(by_deny),
            // No rule stands behind what superusers may; only a Deny that they meet is one.
            Cause::Reason(_) => by_deny.or(Some("superuser")),
        }
    }
}

impl Compared {
    /// Whether a rule of the file is one of those that refuse some clients everything.
    fn refuses_clients(&self, rule: usize) -> bool {
        self.behind[rule].is_none() && rule + 1 < self.behind.len()
    }
}

/// Nothing but the end of the file stands behind its last rule.
fn behind(text: &str) -> Vec<Option<(String, u32)>> {
    let mut named = None;
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("%% ") {
            named = comment.strip_suffix(']').and_then(|it| it.strip_prefix("acme/")?.split_once(" rules["));
        } else if line == "{deny, all}." {
            found.push(None);
        } else {
            found.push(named.map(|(policy, rule)| (policy.to_owned(), rule.parse().unwrap())));
        }
    }
    found
}

/// Every request of everybody, with both answers.
fn compare(
    compared: &Compared,
    (scenario, choices): (&Scenario, &[Index]),
    mut each: impl FnMut(&LoggedIn, &Asked, &Verdict<'_>, (usize, bool)),
) {
    let policies = scenario.world().compiled();
    for client in &compared.logged_in {
        let own = scenario.asked.iter().map(|asked| {
            let action = asked.request().action();
            (action, asked.topic().to_owned())
        });
        let asked = requests(&policies, client, choices).into_iter().chain(own);
        for (place, (action, topic)) in asked.enumerate() {
            let (qos, retain) = (u8::try_from(place % 3).unwrap(), place % 2 == 1);
            let publish = action == Action::Publish;
            let asked = Asked::of(action, &topic, (Some(qos), publish.then_some(retain)));
            let model = ModelAsked { publish, topic: &topic, qos: qos.into(), retain: publish && retain };
            each(client, &asked, &compared.verdict(client, &asked), compared.emqx(client, model));
        }
    }
}

proptest! {
    #![proptest_config(cases(2_000))]

    #[test]
    fn what_emqx_allows_is_allowed_and_what_it_refuses_beyond_that_was_told(
        scenario in scenario(),
        team in team(),
        choices in vec(any::<Index>(), 12),
    ) {
        let compared = Compared::new(&scenario, &team);
        let mut wrong = Vec::new();
        compare(&compared, (&scenario, &choices), |client, asked, verdict, (rule, allowed)| {
            let fault = match (verdict.is_allow(), allowed) {
                (false, true) => Some("wider"),
                (true, false) if compared.explanation(client, verdict.cause(), rule).is_none() => Some("not told"),
                _ => None,
            };
            if let Some(fault) = fault {
                let (id, name, mode) = (&client.client_id, &client.username, client.mode);
                wrong.push(format!("{fault}: {asked:?} of {id} {name:?} {mode:?}: {} by line {rule}", verdict.cause()));
            }
        });
        let lines: Vec<_> = compared.section.text.lines().filter(|line| !line.starts_with("%%")).enumerate().collect();
        prop_assert!(wrong.is_empty(), "{wrong:#?}\n{lines:#?}\n{:#?}", compared.section.narrowed);
    }
}

/// What is lost on random policies, which are nastier than real ones, and why.
#[test]
fn most_of_what_is_allowed_emqx_allows_too() {
    let mut runner = TestRunner::deterministic();
    let mut allowed: BTreeMap<(bool, bool), u32> = BTreeMap::new();
    let mut reasons: BTreeMap<String, u32> = BTreeMap::new();
    let mut granted_nothing = 0;
    for _ in 0..400 {
        let drawn = (scenario(), team(), vec(any::<Index>(), 12)).new_tree(&mut runner).unwrap().current();
        let (scenario, team, choices) = drawn;
        let compared = Compared::new(&scenario, &team);
        granted_nothing += u32::from(!compared.section.text.contains("{allow,"));
        compare(&compared, (&scenario, &choices), |client, asked, verdict, (rule, allows)| {
            if verdict.is_allow() && client.mode != Mode::Token {
                let publish = asked.request().action() == Action::Publish;
                *allowed.entry((publish, allows)).or_default() += 1;
                if !allows {
                    let told = compared.explanation(client, verdict.cause(), rule).unwrap();
                    let (_, why) = told.split_once(": ").unwrap_or(("", told));
                    *reasons.entry(why.chars().take(36).collect()).or_default() += 1;
                }
            }
        });
    }
    let count = |key| f64::from(allowed.get(&key).copied().unwrap_or_default());
    let kept = |publish| count((publish, true)) / (count((publish, true)) + count((publish, false)));
    println!("kept: {:.3} of publishes, {:.3} of subscriptions; {allowed:?}", kept(true), kept(false));
    println!("{granted_nothing} of 400 files allow nothing; lost: {reasons:#?}");
    assert!(kept(true) > 0.8, "{allowed:?} {reasons:#?}");
    assert!(kept(false) > 0.4, "{allowed:?} {reasons:#?}");
    assert!(reasons.len() > 4, "{reasons:#?}");
}

#[test]
fn a_deny_stands_before_every_allow_of_its_tenant_but_for_guards() {
    let mut runner = TestRunner::deterministic();
    for _ in 0..200 {
        let (scenario, team) = (scenario(), team()).new_tree(&mut runner).unwrap().current();
        let compared = Compared::new(&scenario, &team);
        let lines: Vec<&str> = compared.section.text.lines().filter(|line| !line.starts_with("%%")).collect();
        let first_allow = lines.iter().position(|line| line.starts_with("{allow,")).unwrap_or(lines.len());
        let denies = |rule: &Option<(String, u32)>| {
            let policies = scenario.policies.iter();
            rule.as_ref().is_some_and(|(name, index)| {
                let mut rules = policies.filter(|it| it.name == *name).flat_map(|it| &it.rules);
                rules.any(|rule| rule.index == *index && rule.effect == Effect::Deny)
            })
        };
        assert!(!compared.behind[first_allow..].iter().any(denies), "{}", compared.section.text);
        assert_eq!(compared.section, Compared::new(&scenario, &team).section);
    }
}
