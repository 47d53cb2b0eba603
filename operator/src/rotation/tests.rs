//! The machine, step by step.

mod histories;

use mqtt_access_core::secret::Secret;

use super::*;

const HOUR: i64 = 3600;

fn wish(trigger: Option<&str>, interval: Option<i64>, overlap: i64) -> Wish {
    Wish { trigger: trigger.map(str::to_owned), interval, overlap, spread: Spread::new("owner") }
}

fn mark(secret: u32) -> String {
    format!("key.mark of {secret}")
}

fn fresh(current: u32) -> Held<u32> {
    Held { current, previous: None, record: None }
}

/// A step as the operator takes it while everything it wrote is in force.
fn settled(held: Held<u32>, wish: &Wish, now: i64) -> Step<u32> {
    let (in_force, mark) = (held.current, mark(held.current));
    step(held, Some(&in_force), &mark, wish, now)
}

#[test]
fn a_secret_without_a_record_is_adopted_whatever_is_wished() {
    let adopted = settled(fresh(1), &wish(Some("x"), Some(2 * HOUR), HOUR), 1000);
    assert_eq!((adopted.transition, adopted.due, &adopted.held.previous), (None, None, &None));
    let again = settled(adopted.held.clone(), &wish(Some("x"), Some(2 * HOUR), HOUR), 1001);
    assert_eq!(again.held, adopted.held);
    assert_eq!(
        settled(adopted.held, &wish(None, None, HOUR), 1002).due,
        None,
        "a trigger that is removed asks nothing"
    );
}

#[test]
fn every_change_of_the_trigger_rotates_once_also_back_to_an_earlier_text() {
    let mut held = settled(fresh(1), &wish(Some("a"), None, HOUR), 0).held;
    for (trigger, next) in [("b", 2), ("a", 3), ("b", 4)] {
        let wish = wish(Some(trigger), None, HOUR);
        assert_eq!(settled(held.clone(), &wish, 10).due, Some((Cause::Trigger, 10)));
        held = replace(held, next, mark(next), &wish, 10);
        let after = settled(held.clone(), &wish, 10);
        assert_eq!((after.due, after.transition, after.held.current), (None, None, next));
        assert_eq!(after.held.previous.as_ref().map(|spare| (spare.secret, spare.until)), Some((next - 1, 10 + HOUR)));
    }
}

#[test]
fn a_secret_that_somebody_edited_is_the_new_one_and_the_one_in_force_the_previous() {
    let day = wish(None, None, 24 * HOUR);
    let held = settled(fresh(1), &day, 0).held;
    let edited = Held { current: 2, ..held };
    let told = step(edited, Some(&1), &mark(2), &day, 50);
    assert_eq!(told.transition, Some(Transition::Rotated(Cause::Edit)));
    assert_eq!(told.held.previous, Some(Spare { secret: 1, since: 50, until: 50 + 24 * HOUR }));
    // Not yet published, it is looked at again: nothing is told twice.
    let again = step(told.held.clone(), Some(&1), &mark(2), &day, 60);
    assert_eq!((again.transition, &again.held), (None, &told.held));
    // And back: what was abandoned is the previous one.
    let back = step(Held { current: 1, ..told.held }, Some(&2), &mark(1), &day, 70);
    assert_eq!(back.held.previous, Some(Spare { secret: 2, since: 70, until: 70 + 24 * HOUR }));
}

#[test]
fn an_overlap_ends_by_its_time_by_a_shorter_wish_and_by_hand_and_grows_while_it_is_open() {
    let day = wish(Some("a"), None, 24 * HOUR);
    let first = settled(fresh(1), &wish(None, None, HOUR), 0).held;
    let held = replace(first, 2, mark(2), &day, 0);
    assert!(settled(held.clone(), &day, 24 * HOUR - 1).held.previous.is_some());
    let ended = settled(held.clone(), &day, 24 * HOUR);
    assert_eq!((ended.held.previous, ended.transition), (None, Some(Transition::OverlapEnded)));
    let short = settled(held.clone(), &wish(Some("a"), None, HOUR), HOUR);
    assert_eq!((short.held.previous, short.transition), (None, Some(Transition::OverlapEnded)));
    let at_once = settled(held.clone(), &wish(Some("a"), None, 0), 1);
    assert_eq!(at_once.held.previous, None);
    let longer = settled(held.clone(), &wish(Some("a"), None, 48 * HOUR), 2 * HOUR);
    assert_eq!(longer.held.previous.map(|spare| spare.until), Some(48 * HOUR));
    let by_hand = settled(Held { previous: None, ..held }, &day, 5);
    assert_eq!((by_hand.held.previous, by_hand.transition), (None, None));
    let never_again = settled(at_once.held, &day, 2);
    assert_eq!(never_again.held.previous, None, "what has ended does not come back");
}

#[test]
fn an_overlap_whose_end_nobody_saw_does_not_begin_again() {
    let day = wish(Some("a"), None, 24 * HOUR);
    let held = replace(settled(fresh(1), &wish(None, None, HOUR), 0).held, 2, mark(2), &day, 0);
    let longer = wish(Some("a"), None, 48 * HOUR);
    assert_eq!(settled(held, &longer, 24 * HOUR).held.previous, None);
    let previous = own(&2, Some((&1, None)), &day, 0).0.unwrap();
    assert_eq!(own(&2, Some((&2, Some(&previous))), &longer, 24 * HOUR).0, None);
}

#[test]
fn an_edit_that_is_in_force_and_could_not_be_recorded_keeps_its_overlap() {
    let day = wish(None, None, 24 * HOUR);
    let recorded = settled(fresh(1), &day, 0).held;
    let previous = Spare { secret: 1, since: 50, until: 50 + 24 * HOUR };
    let edited = Held { current: 2, ..recorded.clone() };
    let caught_up = edited.catching_up(Some(previous.clone()), &mark(2));
    let step = step(caught_up, Some(&2), &mark(2), &day, 60);
    assert_eq!((step.held.previous, step.transition), (Some(previous.clone()), None));
    // Where somebody ended it in the Secret, the record speaks of the current one.
    let ended = recorded.catching_up(Some(previous), &mark(1));
    assert_eq!(ended.previous, None);
}

#[test]
fn a_secret_that_was_written_back_whole_is_an_edit_and_rotates_nothing_again() {
    let first = settled(fresh(1), &wish(Some("a"), None, HOUR), 0).held;
    let wish = wish(Some("b"), None, HOUR);
    let rotated = replace(first.clone(), 2, mark(2), &wish, 100);
    let told = settled(rotated, &wish, 100).status(false);
    let back = first.rolled_back(Some(&told));
    let step = step(back, Some(&2), &mark(1), &wish, 200);
    assert_eq!((step.due, step.transition), (None, Some(Transition::Rotated(Cause::Edit))));
    assert_eq!(step.held.previous, Some(Spare { secret: 2, since: 200, until: 200 + HOUR }));
}

#[test]
fn an_interval_is_reached_in_its_last_tenth_and_not_while_an_overlap_is_open() {
    let every = wish(None, Some(100 * HOUR), 24 * HOUR);
    let held = settled(fresh(1), &every, 0).held;
    let at = settled(held.clone(), &every, 0).next_rotation_at.unwrap();
    assert!((90 * HOUR..=100 * HOUR).contains(&at), "{at}");
    assert_eq!(settled(held.clone(), &every, at - 1).due, None);
    assert_eq!(settled(held.clone(), &every, at).due, Some((Cause::Interval, at)));
    let held = replace(held, 2, mark(2), &every, at);
    let tight = wish(None, Some(10 * HOUR), 10 * HOUR);
    let open = settled(held, &every, at + 1).held;
    let waiting = settled(open, &tight, at + 9 * HOUR + HOUR / 2);
    assert_eq!(waiting.due, None);
    let until = waiting.held.previous.as_ref().unwrap().until;
    assert_eq!(settled(waiting.held, &tight, until).due.map(|(cause, _)| cause), Some(Cause::Interval));
}

#[test]
fn ten_thousand_secrets_with_one_interval_are_spread_over_its_last_tenth() {
    let interval = 1000 * HOUR;
    let mut early: Vec<i64> = (0..10_000).map(|n| Spread::new(&format!("uid-{n}")).of(interval)).collect();
    assert_eq!(Spread::new("uid-7").of(interval), early[7], "the same each time");
    early.sort_unstable();
    for (tenth, chunk) in (0..).zip(early.chunks(1000)) {
        let expected = tenth * 10 * HOUR;
        assert!((chunk[0] - expected).abs() < 2 * HOUR, "the {tenth}th thousand begins at {}", chunk[0]);
    }
    assert_eq!(Spread::new("x").of(0), 0);
}

#[test]
fn secrets_of_which_nobody_knows_what_was_in_force_cut_over_and_tell() {
    let none = wish(None, None, HOUR).cutting_over();
    let held = step(fresh(1), None, &mark(1), &none, 0).held;
    let told = step(Held { current: 2, ..held }, None, &mark(2), &none, 9);
    assert_eq!((told.transition, told.held.previous), (Some(Transition::Rotated(Cause::Edit)), None));
    assert_eq!(told.held.record.unwrap().rotated_at, 9);
}

#[test]
fn a_record_from_the_future_is_not_waited_for() {
    let every = wish(None, Some(100 * HOUR), 24 * HOUR);
    let far = 10_000 * HOUR;
    let held = replace(settled(fresh(1), &every, far).held, 2, mark(2), &every, far);
    let back = settled(held, &every, 0);
    assert!(back.next_rotation_at.unwrap() <= 100 * HOUR);
    assert_eq!(back.held.previous.unwrap().until, 24 * HOUR);
}

#[test]
fn a_record_is_read_as_it_was_written_and_garbage_is_none() {
    let held = replace(fresh(1), 2, mark(2), &wish(Some("x"), None, HOUR), 7);
    let record = held.record.unwrap();
    assert_eq!(Record::read(&record.text()), Some(record));
    for garbage in ["", "{}", "null", "{\"rotatedAt\":\"soon\"}"] {
        assert_eq!(Record::read(garbage), None, "{garbage}");
    }
}

#[test]
fn a_secret_brought_along_is_accepted_beside_the_one_before_it() {
    let day = wish(None, None, 24 * HOUR);
    let (previous, told) = own(&2, Some((&1, None)), &day, 10);
    assert_eq!(told, Some(Transition::Rotated(Cause::Edit)));
    let previous = previous.unwrap();
    assert_eq!((previous.secret, previous.until), (1, 10 + 24 * HOUR));
    let (kept, told) = own(&2, Some((&2, Some(&previous))), &day, 11);
    assert_eq!((kept.as_ref(), told), (Some(&previous), None));
    let (ended, told) = own(&2, Some((&2, Some(&previous))), &day, previous.until);
    assert_eq!((ended, told), (None, Some(Transition::OverlapEnded)));
    assert_eq!(own(&2, Some((&1, None)), &wish(None, None, 0), 10).0, None);
    assert_eq!(own(&2, None, &day, 10), (None, None), "nothing was in force");
}

#[test]
fn a_password_that_somebody_writes_during_an_overlap_is_told_and_leaves_the_previous_one_its_time() {
    let day = wish(Some("a"), None, 24 * HOUR);
    let first = step(fresh(1), None, &mark(1), &wish(None, None, HOUR), 0).held;
    let held = replace(first, 2, mark(2), &day, 0);
    let edited = step(Held { current: 3, ..held.clone() }, None, &mark(3), &day, HOUR);
    assert_eq!(edited.transition, Some(Transition::Rotated(Cause::Edit)));
    assert_eq!(edited.held.record.as_ref().map(|record| record.rotated_at), Some(HOUR));
    assert_eq!(edited.held.previous.map(|spare| (spare.secret, spare.until)), Some((1, 24 * HOUR)));
    let back = step(Held { current: 1, ..held.clone() }, None, &mark(1), &day, HOUR);
    assert_eq!((back.transition, back.held.previous), (Some(Transition::Rotated(Cause::Edit)), None));
    // One that somebody chose cuts over.
    let chosen = step(Held { current: 3, ..held }, None, &mark(3), &day.cutting_over(), HOUR);
    assert_eq!((chosen.transition, chosen.held.previous), (Some(Transition::Rotated(Cause::Edit)), None));
}

#[test]
fn a_tenant_that_lost_its_bundle_and_with_it_its_key_tells_of_no_edit() {
    let (day, secret) = (wish(None, None, 24 * HOUR), Secret::from("a password"));
    let [before, after, edited] = [("k1", &secret), ("k2", &secret), ("k1", &Secret::from("another"))]
        .map(|(key, secret)| super::mark(&Secret::from(key), secret));
    let held = step(fresh(1), None, &before, &day, 0).held;
    let lost = step(held.clone(), None, &after, &day, HOUR);
    let record = lost.held.record.unwrap();
    assert_eq!((lost.transition, record.rotated_at, &record.mark), (None, 0, &after));
    let edited = step(Held { current: 2, ..held }, None, &edited, &day, HOUR);
    assert_eq!(edited.transition, Some(Transition::Rotated(Cause::Edit)));
}

#[test]
fn the_end_of_a_secret_brought_along_does_not_move_with_a_clock_that_was_set_back() {
    let day = wish(None, None, 24 * HOUR);
    let late = Spare { secret: 1, since: 1000 * HOUR, until: 1024 * HOUR };
    let back = own(&2, Some((&2, Some(&late))), &day, 0).0.unwrap();
    assert_eq!((back.since, back.until), (0, 24 * HOUR));
    assert_eq!(own(&2, Some((&2, Some(&back))), &day, HOUR).0.as_ref(), Some(&back));
    assert_eq!(own(&2, Some((&2, Some(&back))), &day, 24 * HOUR), (None, Some(Transition::OverlapEnded)));
}

#[test]
fn whoever_deletes_a_secret_and_asks_for_another_gets_another() {
    let (asked, told) = (wish(Some("b"), None, HOUR), |trigger: Option<&str>| RotationStatus {
        trigger: trigger.map(str::to_owned),
        rotated_at: record::time(7),
        ..RotationStatus::default()
    });
    let restored = |told: Option<&RotationStatus>| {
        let record = Some(Record::restored::<u32>(&asked, told, None, mark(1), 100));
        settled(Held { current: 1, previous: None, record }, &asked, 100)
    };
    assert_eq!(restored(Some(&told(Some("a")))).due, Some((Cause::Trigger, 100)));
    assert_eq!(restored(Some(&told(None))).due, Some((Cause::Trigger, 100)));
    let done = restored(Some(&told(Some("b"))));
    assert_eq!((done.due, done.held.record.unwrap().rotated_at), (None, 7), "its age is what it was");
    assert_eq!(restored(None).due, None, "a lost status asks for nothing");
}
