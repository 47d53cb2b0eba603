//! The Deny rules of a tenant: which of them is the first to refuse a request.

use std::collections::HashSet;

use super::audience_set::{AudienceSet, DeniedCursor, ItemsByAudience};
use super::of_client::Written;
use super::overlap::{
    Block, Concerned, Order, Overlap, Question, Runs, TooWide, Work, any_grows_dotted, block_of, insert, meets, narrow,
    words_for,
};
use super::{Conditions, Principal};
use crate::audience::AudienceId;
use crate::policy::{Action, Effect, Qos};
use crate::template::Topic;
use crate::verdict::Request;

/// Deny rules as indexes: one, or two where brokers that write topics differently have them mean different topics.
#[derive(Debug)]
pub(super) struct Denies {
    /// The rule of each item.
    runs: Runs,
    by_audience: ItemsByAudience,
    /// Items by what the broker tells of a request, in the order of [`class_of`]; `None` where that is all of them.
    by_class: Vec<Option<Box<[u64]>>>,
    mqtt: Overlap,
    dotted: Option<Overlap>,
}

/// What a request is, its topic aside.
#[derive(Debug, Clone, Copy)]
struct Class {
    action: Action,
    qos: Option<Qos>,
    retain: Option<bool>,
}

impl Denies {
    /// Takes all rules in the order in which verdicts prefer them.
    pub(super) fn new(written: &[Written]) -> Self {
        let denies = written.iter().filter(|written| written.effect == Effect::Deny);
        let all = denies.flat_map(|rule| rule.topics_or_everything().map(move |topic| (rule, topic)));
        // Of rules that say the same about one topic only the first can ever be a cause.
        let mut known = HashSet::new();
        let first = all.filter(|(rule, topic)| known.insert((rule.audience, rule.conditions, *topic)));
        let (rules, topics): (Vec<&Written>, Vec<Option<&Topic>>) = first.unzip();
        let differs = any_grows_dotted(topics.iter().copied().flatten());
        let Order { topics: order, starts } = Order::of(&topics);
        let items = || order.iter().filter_map(|topic| rules.get(*topic).copied());
        let topics = || order.iter().filter_map(|topic| topics.get(*topic).copied());
        let conditions: Vec<Conditions> = items().map(|written| written.conditions).collect();
        Self {
            runs: Runs::new(items().map(|written| written.rule).collect(), starts),
            by_audience: ItemsByAudience::new(items().map(|written| written.audience)),
            by_class: classes().map(|class| items_of(class, &conditions)).collect(),
            mqtt: Overlap::new(topics(), false),
            dotted: differs.then(|| Overlap::new(topics(), true)),
        }
    }

    /// A client's audiences with the items that are about them; see [`ItemsByAudience::set`].
    pub(super) fn audience_set(&self, ids: Vec<AudienceId>, kept: bool) -> AudienceSet {
        self.by_audience.set(ids, kept)
    }

    /// The first rule that refuses a request. `written` are the same rules, in any order.
    pub(super) fn first(
        &self,
        principal: &Principal<'_>,
        request: &Request<'_>,
        question: &Question<'_>,
        written: &[Written],
    ) -> Option<u32> {
        let class = self.by_class.get(class_of(request)).and_then(Option::as_deref);
        let mut concerned = OfClient { denied: principal.deny.denied(), class };
        let index = self.dotted.as_ref().filter(|_| question.dotted).unwrap_or(&self.mqtt);
        match index.first(question, &self.runs, &mut concerned, &mut Work::default()) {
            Ok(item) => item.map(|item| self.runs.rule(item)),
            Err(TooWide) => first_of_all(principal, request, question, written),
        }
    }
}

/// One rule after the other, for what has more variables than an index can tell apart. Allocates nothing.
#[cold]
fn first_of_all(
    principal: &Principal<'_>,
    request: &Request<'_>,
    question: &Question<'_>,
    written: &[Written],
) -> Option<u32> {
    // Where all of what is asked has to be covered, a rule that overlaps it says too little.
    let written = written.iter().filter(|written| written.effect == Effect::Deny && !question.whole);
    let concerns =
        |written: &&Written| principal.deny.holds(written.audience) && written.conditions.hold(request, Effect::Deny);
    let refuses = |written: &&Written| written.topics_or_everything().any(|topic| meets(topic, question));
    written.filter(concerns).filter(refuses).map(|written| written.rule).min()
}

/// The items that are about a client and a request.
struct OfClient<'a> {
    denied: DeniedCursor<'a>,
    class: Option<&'a [u64]>,
}

impl Concerned for OfClient<'_> {
    fn next(&mut self, at: usize) -> Option<usize> {
        self.denied.next(at)
    }

    fn read(&mut self, at: usize, block: &mut Block) {
        self.denied.read(at, block);
        if let Some(class) = self.class {
            block.and(block_of(class, at));
        }
    }
}

const QOS: [Option<u8>; 4] = [None, Some(0), Some(1), Some(2)];
const RETAIN: [Option<bool>; 3] = [None, Some(false), Some(true)];

fn classes() -> impl Iterator<Item = Class> {
    let level = |qos: Option<u8>| qos.and_then(|level| Qos::try_from(level).ok());
    let subscribe = QOS.into_iter().map(move |qos| Class { action: Action::Subscribe, qos: level(qos), retain: None });
    let publish = RETAIN.into_iter().flat_map(move |retain| {
        QOS.into_iter().map(move |qos| Class { action: Action::Publish, qos: level(qos), retain })
    });
    subscribe.chain(publish)
}

/// The place of a request's class in [`classes`].
fn class_of(request: &Request<'_>) -> usize {
    let qos = request.qos.map_or(0, |qos| usize::from(u8::from(qos)) + 1);
    match (request.action(), request.retain) {
        (Action::Subscribe, _) => qos,
        (Action::Publish, None) => QOS.len() + qos,
        (Action::Publish, Some(false)) => 2 * QOS.len() + qos,
        (Action::Publish, Some(true)) => 3 * QOS.len() + qos,
    }
}

fn items_of(class: Class, conditions: &[Conditions]) -> Option<Box<[u64]>> {
    let Class { action, qos, retain } = class;
    let holds = |conditions: &Conditions| conditions.hold_for(action, qos, retain, Effect::Deny);
    if conditions.iter().all(holds) {
        return None;
    }
    let mut bits = vec![0; words_for(narrow(conditions.len()))];
    let held = (0..).zip(conditions).filter(|(_, conditions)| holds(conditions));
    held.for_each(|(item, _)| insert(&mut bits, item));
    Some(bits.into())
}
