//! The Deny rules of a tenant: which of them is the first to refuse a request.

use super::audience_set::{AudienceSet, DeniedCursor, ItemsByAudience};
use super::of_client::Written;
use super::overlap::{
    Block, Concerned, Overlap, Question, TooWide, Work, any_grows_dotted, meets, narrow, place_of, wide,
};
use super::{Conditions, Principal};
use crate::audience::AudienceId;
use crate::policy::{Action, Effect, Qos};
use crate::verdict::Request;

/// Deny rules as indexes: one, or two where brokers that write topics differently have them mean different topics.
#[derive(Debug)]
pub(super) struct Denies {
    /// The rule of each item.
    rules: Vec<u32>,
    by_audience: ItemsByAudience,
    /// Items by what the broker tells of a request, in the order of [`class_of`]; `None` where that is all of them.
    by_class: Vec<Option<Box<[Block]>>>,
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
        let denies = || written.iter().filter(|written| written.effect == Effect::Deny);
        let items = || denies().flat_map(|written| std::iter::repeat_n(written, written.topic_count()));
        let topics = || denies().flat_map(Written::topics_or_everything);
        let differs = any_grows_dotted(topics().flatten());
        let conditions: Vec<Conditions> = items().map(|written| written.conditions).collect();
        Self {
            rules: items().map(|written| written.rule).collect(),
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
        self.found(principal, request, question, &mut Work::default())
            .unwrap_or_else(|TooWide| first_of_all(principal, request, question, written))
    }

    /// Whether a rule is known to refuse all that a question is about.
    pub(super) fn refuses_all(
        &self,
        principal: &Principal<'_>,
        request: &Request<'_>,
        question: &Question<'_>,
    ) -> bool {
        self.found(principal, request, question, &mut Work::default()).is_ok_and(|rule| rule.is_some())
    }

    /// The same as [`Self::first`] with what it cost, as long as the index can tell.
    pub(super) fn found(
        &self,
        principal: &Principal<'_>,
        request: &Request<'_>,
        question: &Question<'_>,
        work: &mut Work,
    ) -> Result<Option<u32>, TooWide> {
        let class = self.by_class.get(class_of(request)).and_then(Option::as_deref);
        let mut concerned = OfClient { denied: principal.deny.denied(), class };
        let index = self.dotted.as_ref().filter(|_| question.dotted).unwrap_or(&self.mqtt);
        let item = index.first(question, &mut concerned, work)?;
        Ok(item.and_then(|item| self.rules.get(wide(item))).copied())
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
    let mut found = None;
    for written in written.iter().filter(|written| written.effect == Effect::Deny) {
        let earlier = found.is_none_or(|found| written.rule < found);
        let concerns =
            earlier && principal.deny.holds(written.audience) && written.conditions.hold(request, Effect::Deny);
        if concerns && written.topics_or_everything().any(|topic| meets(topic, question)) {
            found = Some(written.rule);
        }
    }
    found
}

/// The items that are about a client and a request.
struct OfClient<'a> {
    denied: DeniedCursor<'a>,
    class: Option<&'a [Block]>,
}

impl Concerned for OfClient<'_> {
    fn next(&mut self, at: usize) -> Option<usize> {
        self.denied.next(at)
    }

    fn block(&mut self, at: usize) -> Block {
        let mut block = self.denied.block(at);
        if let Some(class) = self.class {
            block.and(class.get(at).unwrap_or(&Block::EMPTY));
        }
        block
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

fn items_of(class: Class, conditions: &[Conditions]) -> Option<Box<[Block]>> {
    let Class { action, qos, retain } = class;
    let holds = |conditions: &Conditions| conditions.hold_for(action, qos, retain, Effect::Deny);
    if conditions.iter().all(holds) {
        return None;
    }
    let mut bits = vec![Block::EMPTY; Block::count_for(narrow(conditions.len()))];
    for (conditions, item) in conditions.iter().zip(0..) {
        let (block, place) = place_of(item);
        if let Some(block) = bits.get_mut(block).filter(|_| holds(conditions)) {
            block.insert(place);
        }
    }
    Some(bits.into())
}
