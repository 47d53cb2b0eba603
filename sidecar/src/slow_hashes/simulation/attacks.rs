//! The slowest login of a victim, attacked and not.

use super::world::{Client, Fate, World};

/// bcrypt at cost 12.
const HASH: u64 = 250;
const PEOPLE: usize = 40;
const MINUTE: u64 = 60_000;

/// People of a tenant, who come within so many milliseconds, in no order; each from its own source, if any is told.
fn people(tenant: &'static str, count: usize, within: u64, hash: u64, sources: bool, seed: u64) -> Vec<Client> {
    let mut random = seed;
    let person = |number: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        Client {
            tenant: Some(tenant),
            name: format!("person {number}"),
            exists: true,
            source: sources.then(|| format!("192.0.2.{number}")),
            hash,
            begins: 1000 + (random >> 33) % within,
            guesses_every: None,
        }
    };
    (0..count).map(person).collect()
}

/// So many guessers, each of whom comes once in so many milliseconds.
fn guessers(of: &Client, count: usize, every: u64, name: impl Fn(usize) -> String) -> Vec<Client> {
    let one = |number: usize| Client {
        name: name(number),
        begins: u64::try_from(number).unwrap() * every / u64::try_from(count).unwrap(),
        guesses_every: Some(every),
        ..of.clone()
    };
    (0..count).map(one).collect()
}

fn guesser(tenant: Option<&'static str>, source: Option<&str>) -> Client {
    Client {
        tenant,
        name: String::new(),
        exists: tenant.is_some(),
        source: source.map(str::to_owned),
        hash: HASH,
        begins: 0,
        guesses_every: Some(1000),
    }
}

fn run(lines: usize, people: &[Client], attackers: &[Client], minutes: u64) -> (Vec<Fate>, World) {
    let mut world = World::new(1, lines, [people, attackers].concat());
    let fates = world.run(minutes * MINUTE);
    (fates, world)
}

/// How long the slowest person took, from its first try to its success.
fn slowest(fates: &[Fate]) -> u64 {
    assert!(fates.iter().all(|fate| fate.last_try.is_some()), "every person is let in at last");
    fates.iter().map(|fate| fate.all).max().unwrap()
}

/// No login of a person takes more than twice as long as the slowest one without the attack, and none is refused.
fn check(what: &str, people: &[Client], attackers: &[Client]) {
    let (alone, _) = run(0, people, &[], 2);
    let (attacked, world) = run(0, people, attackers, 2);
    let (alone, slow) = (slowest(&alone), slowest(&attacked));
    println!("{what}: {alone} ms alone, {slow} ms attacked, {} guesses compared", world.compared);
    assert!(attacked.iter().all(|fate| fate.tries == 1), "{what}: nobody is refused");
    assert!(slow <= 2 * alone, "{what}: {alone} ms alone, {slow} ms attacked");
    assert!(world.compared > 20, "{what}: an attack");
}

/// Tenants whose people need an eighth to a quarter of a worker; or all come at once.
fn victims(sources: bool) -> Vec<Vec<Client>> {
    let spread =
        (1..=3).flat_map(|seed| [40_000, 80_000].map(|within| people("globex", PEOPLE, within, HASH, sources, seed)));
    spread.chain([people("globex", 6, 1, HASH, sources, 1)]).collect()
}

fn made_up(number: usize) -> String {
    format!("made up {number}")
}

#[test]
fn wrong_logins_of_another_tenant_at_most_double_the_slowest_login() {
    for people in victims(true) {
        // Names that exist, names that do not, from one source and from many, cheap and dear, and after a rest.
        let of = guesser(Some("acme"), None);
        check("another tenant's names", &people, &guessers(&of, 20, 1000, |number| format!("person {number}")));
        let of = Client { exists: false, ..guesser(Some("acme"), Some("198.51.100.1")) };
        check("names that are not", &people, &guessers(&of, 50, 1000, made_up));
        let of = Client { hash: 40, ..guesser(Some("acme"), None) };
        check("cheap hashes", &people, &guessers(&of, 50, 1000, |number| format!("person {number}")));
        let of = guesser(Some("acme"), None);
        let mut late = guessers(&of, 100, 60_000, |number| format!("person {number}"));
        late.iter_mut().for_each(|guesser| guesser.begins = 10_000 + guesser.begins % 100);
        check("after a rest", &people, &late);
    }
}

#[test]
fn a_cheaper_hash_does_not_wait_for_dearer_ones() {
    for seed in 1..=3 {
        let people = people("globex", PEOPLE, 40_000, 40, true, seed);
        let of = guesser(Some("acme"), None);
        check("dearer hashes", &people, &guessers(&of, 50, 1000, |number| format!("person {number}")));
    }
}

#[test]
fn guesses_on_the_tenant_s_own_names_at_most_double_the_slowest_login() {
    for people in victims(true) {
        let of = guesser(Some("globex"), Some("198.51.100.1"));
        check("its names", &people, &guessers(&of, PEOPLE, 1000, |number| format!("person {number}")));
    }
    for people in victims(true).into_iter().chain(victims(false)) {
        for source in [Some("198.51.100.1"), None] {
            let of = Client { exists: false, ..guesser(Some("globex"), source) };
            check("names that it has not", &people, &guessers(&of, 50, 1000, made_up));
        }
    }
}

#[test]
fn client_ids_of_no_tenant_at_most_double_the_slowest_login() {
    for people in victims(true) {
        check("strangers", &people, &guessers(&guesser(None, None), 50, 1000, made_up));
    }
}

#[test]
fn one_guess_a_second_on_each_of_a_hundred_names_keeps_none_of_a_hundred_people_out() {
    for seed in 1..=3 {
        let names = |number| format!("person {number}");
        let people_at_home = people("globex", 100, 60_000, HASH, true, seed);
        let of = guesser(Some("globex"), Some("198.51.100.1"));
        check("a broker that tells sources", &people_at_home, &guessers(&of, 100, 1000, names));
        let people = people("globex", 100, 60_000, HASH, false, seed);
        let (fates, world) = run(0, &people, &guessers(&guesser(Some("globex"), None), 100, 1000, names), 4);
        let tries = fates.iter().map(|fate| fate.tries).max().unwrap();
        println!("a broker that tells none: {} ms, {tries} tries, {} compared", slowest(&fates), world.compared);
        assert!(slowest(&fates) <= 45_000 && tries <= 8, "{} ms, {tries} tries", slowest(&fates));
        // Five for each name, and one in half a minute.
        assert!(world.compared <= 100 * (5 + 8), "{}", world.compared);
    }
}

#[test]
fn who_comes_when_the_guesses_have_used_all_tokens_gets_the_next_one() {
    let mut people = people("globex", 100, 60_000, HASH, false, 7);
    people.iter_mut().for_each(|person| person.begins += 2 * MINUTE);
    let attackers = guessers(&guesser(Some("globex"), None), 100, 1000, |number| format!("person {number}"));
    let (fates, _) = run(0, &people, &attackers, 4);
    println!("late: {} ms", slowest(&fates));
    assert!(slowest(&fates) <= 45_000, "{}", slowest(&fates));
}

#[test]
fn connections_that_a_guesser_holds_up_are_denied_to_no_one_else() {
    for seed in 1..=3 {
        let people = people("globex", PEOPLE, 80_000, HASH, true, seed);
        for tenant in ["acme", "globex"] {
            let of = Client { exists: false, ..guesser(Some(tenant), Some("198.51.100.1")) };
            let (fates, world) = run(8, &people, &guessers(&of, 20, 1000, made_up), 3);
            println!("eight connections: {} ms", slowest(&fates));
            assert_eq!(world.refused_by_line, 0);
            assert!(fates.iter().all(|fate| fate.tries == 1) && slowest(&fates) < 5000, "{}", slowest(&fates));
        }
    }
}
