//! One thing that is allowed, for one action, and what a Deny takes of it: by docs/semantics.md, and by a list.

use super::{Conditions, InlineTopic};
use crate::policy::Action;
use crate::template::ClientTopic;
use crate::topic::{Filter, Level, covers, covers_with_dollars, overlaps, overlaps_with_dollars};

/// One topic of an Allow, for one action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) action: Action,
    pub(super) conditions: Conditions,
    pub(super) topic: InlineTopic,
}

/// One topic of a Deny.
#[derive(Debug)]
pub(super) struct Denied {
    pub(super) conditions: Conditions,
    pub(super) topic: ClientTopic,
}

/// What a Deny takes of a part.
struct Taken {
    some: bool,
    all: bool,
    /// Whether a rule of the list for the Deny matches all that is taken.
    seen: bool,
}

/// What becomes of a part, given all Denies.
#[derive(Debug)]
pub(super) enum Fate {
    /// It may stand in the list, after these Denies.
    Listed(Vec<usize>),
    /// Nothing of it is allowed.
    Refused,
    /// A list would allow too much.
    Left,
}

/// Filters that a list would let through although the part does not cover them.
pub(super) enum Beyond {
    Nothing,
    One(String),
    Many,
}

impl Denied {
    /// How the Deny stands in a list; `None` where the broker would read it otherwise.
    pub(super) fn listed(&self) -> Option<InlineTopic> {
        let topic = match &self.topic {
            ClientTopic::Filter(text) | ClientTopic::WithDollars(text) => InlineTopic::Filter(text.clone()),
            ClientTopic::Exact(text) => InlineTopic::Exact(text.clone()),
            ClientTopic::Everything => InlineTopic::Filter("#".to_owned()),
        };
        topic.is_plain().then_some(topic)
    }

    /// Whether it reaches topics that start with `$`, which a rule of a list with a leading wildcard never does.
    fn reaches_dollars(&self) -> bool {
        matches!(self.topic, ClientTopic::WithDollars(_) | ClientTopic::Everything)
    }

    fn takes(&self, part: &Part) -> Taken {
        // What cannot be read is a fault of ours, and must not be allowed.
        const UNREADABLE: Taken = Taken { some: true, all: true, seen: false };
        let Some(allowed) = part.topic.filter() else { return UNREADABLE };
        let text = match &self.topic {
            ClientTopic::Filter(text) | ClientTopic::WithDollars(text) | ClientTopic::Exact(text) => text,
            ClientTopic::Everything => "#",
        };
        let Ok(denied) = Filter::parse(text) else { return UNREADABLE };
        let exact = matches!(part.topic, InlineTopic::Exact(_));
        let publish = part.action == Action::Publish;
        if matches!(self.topic, ClientTopic::Exact(_)) {
            return takes_exactly(denied, allowed, exact, publish);
        }
        let (some, whole) = if self.reaches_dollars() {
            (overlaps_with_dollars(denied, allowed), covers_with_dollars(denied, allowed))
        } else {
            (overlaps(denied, allowed), covers(denied, allowed))
        };
        let unseen = self.reaches_dollars() && part.topic.dollar_root().is_some();
        Taken { some, all: whole || (exact && some), seen: (publish || whole) && !unseen }
    }
}

/// Of a Deny with `eq `: it refuses a publish to just that name, and every subscription that covers it.
fn takes_exactly(denied: Filter<'_>, allowed: Filter<'_>, exact: bool, publish: bool) -> Taken {
    let same = denied.as_str() == allowed.as_str() && (exact || is_name(allowed));
    let some = if publish { is_name(denied) && covers(allowed, denied) } else { covers(allowed, denied) };
    Taken { some, all: same || (exact && some), seen: publish || same }
}

pub(super) fn is_name(filter: Filter<'_>) -> bool {
    filter.levels().all(|level| matches!(level, Level::Literal(_)))
}

impl Part {
    pub(super) fn fate(&self, denies: &[Denied]) -> Fate {
        let (mut needed, mut sound) = (Vec::new(), self.topic.is_plain());
        for (place, denied) in denies.iter().enumerate() {
            if !denied.conditions.meet(self.conditions, self.action) {
                continue;
            }
            let Taken { some, all, seen } = denied.takes(self);
            if all && denied.conditions.contain(self.conditions, self.action) {
                return Fate::Refused;
            }
            if some {
                sound &= seen && denied.listed().is_some();
                needed.push(place);
            }
        }
        if sound { Fate::Listed(needed) } else { Fate::Left }
    }

    /// Whether it allows a subscription to a filter, were there no Deny.
    pub(super) fn grants(&self, asked: Filter<'_>) -> bool {
        match &self.topic {
            _ if self.action != Action::Subscribe => false,
            InlineTopic::Filter(text) => Filter::parse(text).is_ok_and(|filter| covers(filter, asked)),
            InlineTopic::Exact(text) => text == asked.as_str(),
        }
    }

    /// A `#` that is asked for is taken for one level, which `+` matches: in the last place, and in the one before a `#`,
    /// which also matches nothing.
    pub(super) fn beyond(&self) -> Beyond {
        let InlineTopic::Filter(text) = &self.topic else { return Beyond::Nothing };
        let Some(above) = text.strip_suffix("/#").unwrap_or(text).strip_suffix('+') else { return Beyond::Nothing };
        if self.action != Action::Subscribe || !(above.is_empty() || above.ends_with('/')) {
            return Beyond::Nothing;
        }
        let let_in = format!("{above}#");
        if above.split('/').any(|level| level == "+") {
            return Beyond::Many;
        }
        match (self.topic.filter(), Filter::parse(&let_in)) {
            (Some(own), Ok(asked)) if covers(own, asked) => Beyond::Nothing,
            _ => Beyond::One(let_in),
        }
    }
}

impl Conditions {
    /// The same for one action.
    pub(super) fn only(self, action: Action) -> Self {
        let (publish, subscribe) = (action == Action::Publish, action == Action::Subscribe);
        // Retain means nothing for a subscription.
        Self { publish, subscribe, retain: self.retain.filter(|_| publish), ..self }
    }

    /// Whether it is about any QoS level at all.
    pub(super) fn any_qos(self) -> bool {
        self.levels() != 0
    }

    fn levels(self) -> u8 {
        const ALL: u8 = 0b111;
        if self.qos == 0 { ALL } else { self.qos & ALL }
    }

    /// Whether some request of the action is what both are about.
    pub(super) fn meet(self, other: Self, action: Action) -> bool {
        let retain = match (self.retain, other.retain) {
            (Some(one), Some(two)) => action == Action::Subscribe || one == two,
            _ => true,
        };
        self.concern(action) && other.concern(action) && self.levels() & other.levels() != 0 && retain
    }

    /// Whether all requests of the action that the other is about are what this one is about.
    fn contain(self, other: Self, action: Action) -> bool {
        let retain = action == Action::Subscribe || self.retain.is_none() || self.retain == other.retain;
        self.concern(action) && other.levels() & !self.levels() == 0 && retain
    }
}
