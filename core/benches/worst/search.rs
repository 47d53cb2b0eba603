//! A seeded search for the worst questions within a tenant's budgets.
//!
//! Each round makes Deny topics in a way of its own and asks several questions that are made from them, so that they match in
//! part; then it goes on from the slowest way that was found so far, with something about it changed.

use std::hint::black_box;
use std::time::Duration;

use mqtt_access_core::client::Map;
use mqtt_access_core::policy::{Effect, Policy, Qos, Subject};
use mqtt_access_core::rules::Rules;
use mqtt_access_core::topic::{Filter, TopicName};
use mqtt_access_core::verdict::{Notation, Request, Target};

use crate::random::Random;
use crate::{another, client, compile, everyone, per_call, policy};

/// What the figures assume of a tenant's Deny topics.
const MAX_LEVELS: usize = 32;
const MAX_VARIABLES: usize = 8;
const MAX_POLICIES: usize = 1_000;

/// How the topics are made; shares are in percent.
#[derive(Debug, Clone)]
struct Way {
    levels: usize,
    texts: usize,
    plus: usize,
    hash: usize,
    exact: usize,
    variables: usize,
    /// At how many places variables stand.
    variable_places: usize,
    usable: usize,
    policies: usize,
    selected: usize,
    with_qos: usize,
    dotted: bool,
    /// Whether no topic has what is asked at every level, although each level matches many.
    never: bool,
}

impl Way {
    fn random(random: &mut Random) -> Self {
        Self {
            levels: 1 + random.below(MAX_LEVELS),
            texts: random.pick(&[1, 2, 2, 2, 3, 4, 16, 300, 2_000]),
            plus: random.pick(&[0, 0, 10, 50]),
            hash: random.pick(&[0, 10, 50]),
            exact: random.pick(&[0, 0, 10]),
            variables: random.pick(&[0, 0, 10, 50, 90]),
            variable_places: 1 + random.below(MAX_VARIABLES),
            usable: random.pick(&[0, 50, 100]),
            policies: random.pick(&[1, 10, 100, MAX_POLICIES]),
            selected: random.pick(&[0, 50, 100]),
            with_qos: random.pick(&[0, 50]),
            dotted: random.percent(20),
            never: random.percent(80),
        }
    }

    fn changed(&self, random: &mut Random) -> Self {
        let other = Self::random(random);
        let mut changed = self.clone();
        match random.below(12) {
            0 => changed.levels = other.levels,
            1 => changed.texts = other.texts,
            2 => changed.plus = other.plus,
            3 => changed.hash = other.hash,
            4 => changed.exact = other.exact,
            5 => changed.variables = other.variables,
            6 => changed.variable_places = other.variable_places,
            7 => changed.usable = other.usable,
            8 => (changed.policies, changed.selected) = (other.policies, other.selected),
            9 => changed.with_qos = other.with_qos,
            10 => changed.dotted = other.dotted,
            _ => changed.never = other.never,
        }
        changed
    }

    fn topic(&self, random: &mut Random) -> String {
        let mut sum = 0;
        let mut levels = Vec::new();
        for place in 0..self.levels {
            let last = place + 1 == self.levels;
            if !last && random.percent(self.plus) {
                levels.push("+".to_owned());
            } else if !last && place < self.variable_places && random.percent(self.variables) {
                levels.push(format!("x{}${{client_attrs.a{}}}", random.below(self.texts), place));
            } else if last && self.never && self.plus == 0 {
                // Every level matches its share, all of them together match nothing.
                levels.push(format!("t{}", (self.texts * self.levels - sum + 1) % self.texts.max(2)));
            } else {
                let text = random.below(self.texts);
                sum += text;
                levels.push(format!("t{text}"));
            }
        }
        levels.extend(random.percent(self.hash).then(|| "#".to_owned()));
        let topic = levels.join("/");
        if random.percent(self.exact) && !topic.contains('$') { format!("eq {topic}") } else { topic }
    }

    fn policies(&self, random: &mut Random, count: usize) -> Vec<Policy> {
        let of_each = count / self.policies.min(count);
        let mut policies: Vec<Policy> = (0..self.policies.min(count))
            .map(|number| {
                let subject = if random.percent(self.selected) {
                    // Audiences that differ from each other.
                    Subject { client_ids: Some(vec!["d*".to_owned(), format!("n{number}")]), ..Subject::default() }
                } else {
                    Subject { client_ids: Some(vec![format!("n{number}")]), ..another() }
                };
                let topics: Vec<String> = (0..of_each).map(|_| self.topic(random)).collect();
                let mut policy = policy(&format!("p{number:05}"), subject, Effect::Deny, topics.into_iter());
                for rule in &mut policy.rules {
                    rule.qos = random.percent(self.with_qos).then(|| [Qos::try_from(1).unwrap()].into());
                }
                policy
            })
            .collect();
        policies.push(policy("z", everyone(), Effect::Allow, std::iter::once("#".to_owned())));
        policies
    }

    fn asked(&self, random: &mut Random) -> String {
        let levels = self.levels + random.below(2);
        let wildcards = random.pick(&[0, 0, 20, 50]);
        let mut asked: Vec<String> = (0..levels.max(1))
            .map(|_| if random.percent(wildcards) { "+".to_owned() } else { format!("t{}", random.below(self.texts)) })
            .collect();
        if self.never {
            asked.iter_mut().take(self.levels).for_each(|level| "t0".clone_into(level));
            asked.iter_mut().filter(|_| random.percent(wildcards)).for_each(|level| "+".clone_into(level));
        }
        if random.percent(30) {
            asked.truncate(random.below(levels) + 1);
            asked.push("#".to_owned());
        }
        asked.join("/")
    }

    fn attributes(&self, random: &mut Random) -> Map {
        let mut attributes = Map::new();
        for place in 0..MAX_VARIABLES {
            let value = if random.percent(self.usable) { "v" } else { random.pick(&["", "a/b", "+"]) };
            attributes.insert(format!("a{place}"), value.to_owned());
        }
        attributes
    }
}

#[derive(Debug, Default)]
struct Worst {
    time: Duration,
    way: Option<Way>,
    asked: String,
    publishes: bool,
    allowed: bool,
}

pub(crate) fn print() {
    println!();
    for (count, rounds) in [(10_000, 400), (200_000, 60)] {
        let mut random = Random(count as u64);
        let (mut publish, mut subscribe) = (Worst::default(), Worst::default());
        for round in 0..rounds {
            let best = if round % 2 == 0 { &subscribe } else { &publish };
            let way = match &best.way {
                Some(way) if round > rounds / 3 => way.changed(&mut random),
                _ => Way::random(&mut random),
            };
            let rules = compile(&way.policies(&mut random, count));
            for _ in 0..24 {
                ask(&rules, &way, &mut random, &mut publish, &mut subscribe);
            }
        }
        for worst in [subscribe, publish] {
            let what = if worst.publishes { "publish" } else { "subscription" };
            let verdict = if worst.allowed { "allowed" } else { "denied" };
            println!("worst {what} beside {count} Deny topics, of {rounds} ways: {:?}, {verdict}", worst.time);
            println!("  `{}` with {:?}", worst.asked, worst.way);
        }
    }
}

fn ask(rules: &Rules, way: &Way, random: &mut Random, publish: &mut Worst, subscribe: &mut Worst) {
    let attributes = way.attributes(random);
    let principal = rules.principal(client(&attributes));
    let asked = way.asked(random);
    let notation = if way.dotted { Notation::Dotted } else { Notation::Mqtt };
    let publishes = TopicName::parse(&asked).is_ok() && random.percent(50);
    let target = match TopicName::parse(&asked) {
        Ok(name) if publishes => Target::Publish(name),
        _ => Target::Subscribe(Filter::parse(&asked).unwrap()),
    };
    let request = Request { target, qos: Qos::try_from(1).ok(), retain: None, notation };
    let worst = if publishes { publish } else { subscribe };
    let measured = |batches| {
        per_call(batches, || {
            black_box(rules.decide(black_box(&principal), black_box(&request)));
        })
    };
    // A machine has other things to do: what looks slow is measured again.
    let time = measured(5);
    if time > worst.time {
        let time = time.min(measured(41));
        if time > worst.time {
            let allowed = rules.decide(&principal, &request).is_allow();
            *worst = Worst { time, way: Some(way.clone()), asked, publishes, allowed };
        }
    }
}
