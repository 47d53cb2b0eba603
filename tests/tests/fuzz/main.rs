//! A short run of every fuzz target, the same each time; `make fuzz` runs them longer, guided by coverage.
//!
//! `FUZZ_SECONDS=60 cargo test --release -p mqtt-access-tests --test fuzz` runs each for a minute with changes of its own.

#![expect(clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "a panic is a find")]

#[expect(unreachable_pub, reason = "fuzz/ is another crate with the same file")]
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant, SystemTime};

use mqtt_access_tests::{models, reference, two_tenants};
use targets::{ALL, Target};

/// Inputs of each target, where no time is asked for.
const INPUTS: u32 = 1_000;
const MAX_BYTES: usize = 8 * 1024;
const WORDS: [&str; 18] = [
    "|",
    "Token|",
    "RW|",
    "\0",
    "\n",
    "\u{e9}",
    "${",
    "%00",
    "\\u0000",
    "null",
    "-1",
    "4294967296",
    "[[",
    "\"",
    "=",
    "&",
    "@@@",
    "$",
];

/// xorshift64*: good enough to change bytes, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(high).unwrap_or_default() % sides.max(1)
    }

    fn change(&mut self, input: &mut Vec<u8>, other: &[u8]) {
        let (from, to) = (self.roll(input.len() + 1), self.roll(input.len() + 1));
        let (from, to) = (from.min(to), from.max(to));
        let byte = u8::try_from(self.roll(256)).unwrap_or_default();
        match self.roll(8) {
            0 => input.insert(from, byte),
            1 | 2 if from < input.len() => input[from] ^= 1 << (byte % 8),
            3 if from < input.len() => input[from] = byte,
            4 => drop(input.drain(from..to.min(from + 16))),
            5 => drop(input.splice(from..from, WORDS[usize::from(byte) % WORDS.len()].bytes())),
            6 => drop(input.splice(from.., other[other.len().min(from)..].iter().copied())),
            _ if input.len() < MAX_BYTES => {
                let copied = input[from..to].to_vec();
                drop(input.splice(from..from, copied));
            }
            _ => input.truncate(to),
        }
    }
}

fn run(target: Target) {
    let Target { name, check, seeds } = target;
    let seconds = std::env::var("FUZZ_SECONDS").ok().and_then(|text| text.parse().ok()).map(Duration::from_secs);
    let clock = SystemTime::UNIX_EPOCH.elapsed().map_or(1, |it| it.subsec_nanos());
    let mut dice = Dice(if seconds.is_some() { u64::from(clock) + 1 } else { 42 });
    let (seeds, started) = (seeds(), Instant::now());
    let mut tried = 0_u32;
    let go_on = |tried| seconds.map_or(tried < INPUTS, |seconds| started.elapsed() < seconds);
    for seed in &seeds {
        check(seed);
    }
    while go_on(tried) {
        let mut input = seeds[dice.roll(seeds.len())].clone();
        for _ in 0..=dice.roll(4) {
            let other = dice.roll(seeds.len());
            dice.change(&mut input, &seeds[other]);
        }
        tried += 1;
        let outcome = catch_unwind(AssertUnwindSafe(|| check(&input)));
        assert!(outcome.is_ok(), "{name} fails for {input:?}, which is {:?}", String::from_utf8_lossy(&input));
    }
    println!("{name}: {tried} inputs in {:.1} s", started.elapsed().as_secs_f64());
}

macro_rules! tests {
    ($($name:ident),+) => {
        $(#[test] fn $name() { run(*ALL.iter().find(|target| target.name == stringify!($name)).expect("a target")); })+

        #[test]
        fn every_target_is_run_here() {
            assert!(ALL.iter().map(|target| target.name).eq([$(stringify!($name)),+]));
        }
    };
}

tests!(username, scram, ticket, token_password, jwt, password_hash, bundle, acl_conf, filter, relation, decide, http);
