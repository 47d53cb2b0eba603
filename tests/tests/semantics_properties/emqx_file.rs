//! The compiled `acl.conf` against the verdicts: EMQX may allow less, never more, and what it allows less has been told.

#![expect(clippy::indexing_slicing, reason = "a panic is a failed test")]

mod scene;
mod short_topics;

use std::collections::BTreeMap;

use mqtt_access_core::acl_file::{Section, emqx};
use mqtt_access_core::client::Mode;
use mqtt_access_core::index::{BrokerIndex, Session};
use mqtt_access_core::policy::{Action, Effect, Policy, Topics};
use mqtt_access_core::topic::{Filter, TopicName};
use mqtt_access_core::verdict::{Cause, Verdict};
use mqtt_access_tests::models::emqx::{AclConf, Asked as ModelAsked, Client as ModelClient};
use mqtt_access_tests::two_tenants::NOW;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use crate::arbitrary::{Asked, Scenario, scenario};
use crate::cases;
use scene::{LoggedIn, Team, bundle, index, log_in, team};

/// How the finding begins that is about clients with tokens only.
const OF_TOKENS: &str = "clients with tokens may do nothing";
/// And how the one begins about clients that cannot be told from those of a credential that is refused.
const OF_SCRAM: &str = "SCRAM clients whose client ID begins";

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
    /// For each rule of the file, what is behind it.
    behind: Vec<Option<Behind>>,
}

/// A policy, and those of its rules that a rule of the file is made of.
type Behind = (String, Vec<u32>);

impl Compared {
    fn new(scenario: &Scenario, team: &Team) -> Self {
        let logged_in = log_in(&index(scenario, bundle(scenario, team, false)), team);
        let now = index(scenario, bundle(scenario, team, true));
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
        let by_deny =
            self.behind[decided].as_ref().and_then(|(policy, rules)| rules.iter().find_map(|rule| told(policy, *rule)));
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
fn behind(text: &str) -> Vec<Option<Behind>> {
    let mut named = None;
    let mut found = Vec::new();
    for line in text.lines() {
        if let Some(comment) = line.strip_prefix("%% ") {
            named = comment.strip_suffix(']').and_then(|it| it.strip_prefix("acme/")?.split_once(" rules["));
        } else if line == "{deny, all}." {
            found.push(None);
        } else {
            let rules = |rules: &str| rules.split("], rules[").map(|rule| rule.parse().unwrap()).collect();
            found.push(named.map(|(policy, numbers)| (policy.to_owned(), rules(numbers))));
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
        let denies = |rule: &Option<Behind>| {
            let policies = scenario.policies.iter();
            rule.as_ref().is_some_and(|(name, numbers)| {
                let mut rules = policies.filter(|it| it.name == *name).flat_map(|it| &it.rules);
                rules.any(|rule| numbers.contains(&rule.index) && rule.effect == Effect::Deny)
            })
        };
        assert!(!compared.behind[first_allow..].iter().any(denies), "{}", compared.section.text);
        assert_eq!(compared.section, Compared::new(&scenario, &team).section);
    }
}
