//! The machine under every sequence of edits, crashes and clock steps.

use proptest::prelude::*;

use super::*;

/// What can happen to a secret.
#[derive(Debug, Clone, Copy)]
enum Happening {
    /// Time goes by, or the clock is set back.
    Clock(i64),
    Trigger(Option<u8>),
    Interval(Option<i64>),
    Overlap(i64),
    /// Somebody writes a secret; some of them are the ones that are there.
    Edit(Option<u32>),
    /// Somebody removes the previous one.
    RemovePrevious,
    LoseRecord,
    /// The operator looks, and dies before it writes, before it publishes, or not at all.
    Pass {
        writes: bool,
        publishes: bool,
    },
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => (0..30 * HOUR).prop_map(Happening::Clock),
        1 => (-100 * HOUR..2000 * HOUR).prop_map(Happening::Clock),
        2 => prop::option::of(0..3_u8).prop_map(Happening::Trigger),
        1 => prop::option::of(HOUR..200 * HOUR).prop_map(Happening::Interval),
        2 => prop_oneof![Just(0), 1..48 * HOUR].prop_map(Happening::Overlap),
        1 => prop::option::of(0..3_u32).prop_map(Happening::Edit),
        1 => Just(Happening::RemovePrevious),
        1 => Just(Happening::LoseRecord),
        8 => (prop::bool::weighted(0.8), prop::bool::weighted(0.8))
            .prop_map(|(writes, publishes)| Happening::Pass { writes, publishes }),
    ]
}

/// What the sidecars accept.
#[derive(Debug, Clone)]
struct Published {
    current: u32,
    previous: Option<Spare<u32>>,
    next: Option<u32>,
}

struct Cluster {
    now: i64,
    wish: Wish,
    secret: Held<u32>,
    published: Published,
    staged: Option<u32>,
    made: u32,
    /// Somebody asked for another secret since the last one.
    asked: bool,
    edited: bool,
    /// Somebody ended the overlap in the Secret.
    removed: bool,
}

impl Cluster {
    fn new() -> Self {
        let published = Published { current: 1, previous: None, next: None };
        let wish = wish(None, None, 24 * HOUR);
        Self {
            now: 0,
            wish,
            secret: fresh(1),
            published,
            staged: None,
            made: 100,
            asked: false,
            edited: false,
            removed: false,
        }
    }

    fn happens(&mut self, happening: Happening) {
        match happening {
            Happening::Clock(by) => self.now += by,
            Happening::Trigger(trigger) => {
                let trigger = trigger.map(|number| number.to_string());
                self.asked |= trigger.is_some();
                self.wish.trigger = trigger;
            }
            Happening::Interval(interval) => {
                self.wish.interval = interval;
                self.wish.overlap = self.wish.overlap.min(interval.unwrap_or(i64::MAX));
            }
            Happening::Overlap(overlap) => self.wish.overlap = overlap.min(self.wish.interval.unwrap_or(i64::MAX)),
            Happening::Edit(back) => {
                self.made += 1;
                let previous = self.secret.previous.as_ref().map(|spare| spare.secret);
                self.secret.current = back.and(previous).unwrap_or(self.made);
                self.edited = true;
            }
            Happening::RemovePrevious => {
                self.secret.previous = None;
                self.removed = true;
            }
            Happening::LoseRecord => {
                (self.secret.record, self.secret.previous) = (None, None);
                self.removed = true;
            }
            Happening::Pass { writes, publishes } => self.pass(writes, publishes),
        }
    }

    fn pass(&mut self, writes: bool, publishes: bool) {
        let before = self.secret.current;
        let (in_force, mark_of) = (self.published.current, mark(before));
        let step = step(self.secret.clone(), Some(&in_force), &mark_of, &self.wish, self.now);
        assert_eq!(step.held.current, before, "a look replaces nothing");
        let mut next = None;
        let mut held = step.held;
        if step.due.is_some() {
            assert!(self.asked || self.wish.interval.is_some(), "nobody asked for another secret");
            match self.staged {
                Some(staged) if self.published.next == Some(staged) && writes => {
                    held = replace(held, staged, mark(staged), &self.wish, self.now);
                    (self.asked, self.staged) = (false, None);
                }
                Some(staged) => next = Some(staged),
                None => {
                    self.made += 1;
                    next = Some(self.made);
                    self.staged = next;
                }
            }
        } else {
            self.staged = None;
        }
        if !writes {
            // It died: what was announced is forgotten.
            self.staged = None;
            return;
        }
        self.secret = held.clone();
        if publishes {
            self.published = Published { current: held.current, previous: held.previous, next };
            (self.edited, self.removed) = (false, false);
        } else {
            self.staged = None;
        }
    }

    fn accepts(&self, secret: u32) -> bool {
        let Published { current, previous, next } = &self.published;
        *current == secret
            || *next == Some(secret)
            || previous.as_ref().is_some_and(|spare| spare.secret == secret && self.now < spare.until)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nobody_is_locked_out_nothing_is_replaced_unasked_and_nothing_is_accepted_after_its_end(
        happenings in prop::collection::vec(happening(), 1..60)
    ) {
        let mut cluster = Cluster::new();
        // The rotation whose overlap was over at some look: a longer overlap that is wished afterwards does not begin it again.
        let mut seen_over = None;
        for happening in happenings {
            let (before, removed) = (cluster.published.clone(), cluster.removed);
            let recorded = cluster.secret.record.clone().and_then(|record| record.previous_valid_until);
            let rotation = |cluster: &Cluster| {
                cluster.secret.record.as_ref().map(|record| (record.rotated_at, cluster.secret.current))
            };
            if cluster.secret.record.as_ref().is_some_and(|record| record.rotated_at + record.overlap <= cluster.now) {
                seen_over = rotation(&cluster);
            }
            cluster.happens(happening);
            // Whoever has what the Secret says is let in, unless somebody wrote it there with his own hands a moment ago.
            prop_assert!(cluster.edited || cluster.accepts(cluster.secret.current), "{happening:?}");
            // What was in force is accepted on, unless its time was over before it was replaced, or somebody took it out.
            let over = |record: &Record| record.rotated_at + record.overlap <= cluster.now;
            let ended = cluster.secret.record.as_ref().is_none_or(over)
                || recorded.is_some_and(|end| end <= cluster.now)
                || seen_over == rotation(&cluster);
            if cluster.published.current != before.current && !ended && !removed {
                prop_assert!(cluster.accepts(before.current), "{happening:?}: {:?}", cluster.published);
            }
            // What has ended is never accepted again, unless it is the current one.
            if let (Some(old), Happening::Pass { .. }) = (&before.previous, happening) {
                let current = cluster.published.current == old.secret;
                let open = cluster.now < old.until || recorded.is_some_and(|end| cluster.now < end);
                prop_assert!(open || current || !cluster.accepts(old.secret), "{:?}", cluster.published);
            }
            if let Some(previous) = &cluster.published.previous {
                // Never longer than the longest overlap that was wished.
                prop_assert!(previous.until - previous.since <= 48 * HOUR);
                // An end moves by a wish only.
                if let (Some(old), false) = (&before.previous, matches!(happening, Happening::Pass { .. })) {
                    prop_assert_eq!(old, previous);
                }
            }
        }
        // Left alone, it comes to rest: one secret, no overlap, and no more to do.
        cluster.wish = Wish { interval: None, ..cluster.wish };
        for _ in 0..4 {
            cluster.pass(true, true);
        }
        cluster.now += 49 * HOUR;
        cluster.pass(true, true);
        let rest = (cluster.secret.clone(), cluster.published.previous.clone(), cluster.published.next);
        cluster.pass(true, true);
        prop_assert_eq!((cluster.secret.clone(), cluster.published.previous, cluster.published.next), rest.clone());
        prop_assert_eq!((rest.0.previous, rest.1, rest.2), (None, None, None));
    }
}
