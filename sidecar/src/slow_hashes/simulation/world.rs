//! People and guessers, the broker's connections, and a clock.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use mqtt_access_core::index::Credentials;
use tokio::time::Instant;

use super::super::fair::Nanos;
use super::super::queue::{Account, Turn};
use super::super::workers::{Work, Workers};
use super::super::{LIMITS, PATIENCE};
use crate::dialect::Attempt;
use crate::failures::{Admitted, Failures, Token};
use crate::line::{Debtor, Line};
use crate::peer::Peer;

/// Milliseconds.
type Millis = u64;

/// How long a person rests after a refusal.
const REST: Millis = 5_000;

/// Who logs in.
#[derive(Clone)]
pub(super) struct Client {
    /// `None` for a client ID of no tenant.
    pub(super) tenant: Option<&'static str>,
    pub(super) name: String,
    /// Whether the name has a slow hash.
    pub(super) exists: bool,
    pub(super) source: Option<String>,
    /// What its hash takes.
    pub(super) hash: Millis,
    pub(super) begins: Millis,
    /// `None` for a person, who has the right password, and tries again until it is let in.
    pub(super) guesses_every: Option<Millis>,
}

/// What became of a person.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fate {
    pub(super) tries: u32,
    /// How long the try took that succeeded.
    pub(super) last_try: Option<Millis>,
    /// Since the first try.
    pub(super) all: Millis,
}

#[derive(Clone, Copy)]
enum Event {
    /// A client wants to log in.
    Come(usize),
    /// A worker has made a hash.
    Made(u64),
    /// A broker gives up.
    GiveUp(u64),
}

struct Ask {
    client: usize,
    came: Millis,
    began: Millis,
    line: Option<usize>,
    own: Duration,
    debtor: Option<Debtor>,
    token: Option<Token>,
}

#[derive(Default)]
struct BrokerLine {
    line: Line,
    busy: bool,
    behind: VecDeque<(usize, Millis)>,
}

pub(super) struct World {
    clients: Vec<Client>,
    fates: Vec<Fate>,
    workers: Workers<u64>,
    failures: Arc<Failures>,
    lines: Vec<BrokerLine>,
    events: BTreeMap<(Millis, u64), Event>,
    asks: HashMap<u64, Ask>,
    made: HashMap<u64, Work<u64>>,
    now: Millis,
    epoch: Instant,
    number: u64,
    /// How many guesses were compared.
    pub(super) compared: usize,
    /// How many people were refused because of their line.
    pub(super) refused_by_line: usize,
}

impl World {
    /// Everyone shares so many connections of the broker; with none, each has its own.
    pub(super) fn new(workers: usize, lines: usize, clients: Vec<Client>) -> Self {
        let mut world = Self {
            fates: vec![Fate::default(); clients.len()],
            workers: Workers::new(workers, LIMITS),
            failures: Arc::new(Failures::new()),
            lines: (0..lines).map(|_| BrokerLine::default()).collect(),
            events: BTreeMap::new(),
            asks: HashMap::new(),
            made: HashMap::new(),
            now: 0,
            epoch: Instant::now(),
            number: 0,
            compared: 0,
            refused_by_line: 0,
            clients,
        };
        for client in 0..world.clients.len() {
            world.schedule(world.clients[client].begins, Event::Come(client));
        }
        world
    }

    /// Runs until a time, and returns what became of the people.
    pub(super) fn run(&mut self, until: Millis) -> Vec<Fate> {
        while let Some(((at, _), event)) = self.events.pop_first() {
            if at > until {
                break;
            }
            self.now = at;
            match event {
                Event::Come(client) => self.come(client),
                Event::Made(number) => self.made(number),
                Event::GiveUp(number) => self.give_up(number),
            }
        }
        let people = self.clients.iter().zip(&self.fates).filter(|(client, _)| client.guesses_every.is_none());
        people.map(|(_, fate)| *fate).collect()
    }

    fn schedule(&mut self, at: Millis, event: Event) {
        self.number += 1;
        self.events.insert((at, self.number), event);
    }

    fn come(&mut self, client: usize) {
        if let Some(every) = self.clients[client].guesses_every {
            self.schedule(self.now + every, Event::Come(client));
        }
        self.fates[client].tries += 1;
        if self.lines.is_empty() {
            return self.ask(client, self.now, None);
        }
        self.number += 1;
        let line = usize::try_from(self.number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 40).unwrap() % self.lines.len();
        if self.lines[line].busy {
            self.lines[line].behind.push_back((client, self.now));
        } else {
            self.lines[line].busy = true;
            self.ask(client, self.now, Some(line));
        }
    }

    /// The sidecar is asked.
    fn ask(&mut self, client: usize, came: Millis, line: Option<usize>) {
        self.number += 1;
        let number = self.number;
        let ask = Ask { client, came, began: self.now, line, own: Duration::ZERO, debtor: None, token: None };
        self.asks.insert(number, ask);
        let of = self.clients[client].clone();
        let tenant = of.tenant.unwrap_or_default();
        let Some(Admitted { token, source, again, failed }) = self.admit(&of, number) else {
            return self.answer(number, false);
        };
        let instant = self.instant();
        let name = if of.exists { Account::Name(of.name.as_str().into()) } else { Account::OtherNames };
        let debtor = Debtor { tenant: tenant.into(), account: source.map_or(name.clone(), Account::Source) };
        if line.is_some_and(|line| !self.lines[line].line.may_be_held(&debtor, instant)) {
            self.refused_by_line += usize::from(of.guesses_every.is_none());
            return self.defer(number);
        }
        self.asks.get_mut(&number).unwrap().token = Some(token);
        let begun = if of.tenant.is_none() {
            self.workers.begin_stranger(number).map(|work| self.begin(work)).is_ok()
        } else {
            let again = again && of.exists;
            let cost = of.hash * 1_000_000;
            let source = source.map(Account::Source);
            match self.workers.put(Turn { tenant: tenant.into(), name, source, again, failed, cost }, number) {
                Ok(pushed_out) => {
                    pushed_out.into_iter().for_each(|out| self.defer(out));
                    true
                }
                Err(_) => false,
            }
        };
        if !begun {
            return self.defer(number);
        }
        self.assign();
        let own = self.workers.ahead(tenant, &debtor.account);
        if let Some(ask) = self.asks.get_mut(&number) {
            ask.own = if of.tenant.is_some() { own } else { PATIENCE };
            ask.debtor = Some(debtor);
            let patience = u64::try_from(PATIENCE.as_millis()).unwrap();
            self.schedule(self.now + patience, Event::GiveUp(number));
        }
    }

    fn admit(&self, of: &Client, number: u64) -> Option<Admitted> {
        let password = password(of, number);
        self.failures.admit(&attempt(of, &password), of.tenant.unwrap_or_default(), self.seconds())
    }

    fn assign(&mut self) {
        let now = self.now * 1_000_000;
        let assigned = self.workers.assign(now);
        assigned.into_iter().for_each(|work| self.begin(work));
    }

    fn begin(&mut self, work: Work<u64>) {
        let number = work.job;
        let took = self.clients[self.asks[&number].client].hash;
        self.made.insert(number, work);
        self.schedule(self.now + took, Event::Made(number));
    }

    fn made(&mut self, number: u64) {
        let Work { job: _, place } = self.made.remove(&number).unwrap();
        let hash = self.asks.get(&number).map(|ask| self.clients[ask.client].hash);
        let took: Nanos = hash.unwrap_or_default() * 1_000_000;
        self.workers.end(&place, Duration::from_nanos(took), self.now * 1_000_000);
        let is_person = self.clients[self.asks[&number].client].guesses_every.is_none();
        if !is_person {
            self.compared += 1;
            if let Some(token) = self.asks.get_mut(&number).unwrap().token.take() {
                token.spend();
            }
        }
        self.answer(number, is_person);
        self.assign();
    }

    /// What is being made is made to its end, and answered then: a broker's patience is longer than a hash.
    fn give_up(&mut self, number: u64) {
        if self.asks.contains_key(&number) && !self.made.contains_key(&number) {
            self.workers.retain(|waiting| *waiting != number);
            self.defer(number);
        }
    }

    /// Refuses for want of a turn.
    fn defer(&mut self, number: u64) {
        let of = self.clients[self.asks[&number].client].clone();
        let password = password(&of, number);
        self.failures.defer(&attempt(&of, &password), of.tenant.unwrap_or_default(), self.seconds());
        self.answer(number, false);
    }

    fn answer(&mut self, number: u64, let_in: bool) {
        let Ask { client, came, began, line, own, debtor, token } = self.asks.remove(&number).unwrap();
        drop(token);
        let of = self.clients[client].clone();
        if let_in {
            let fate = &mut self.fates[client];
            fate.last_try = Some(self.now - came);
            fate.all = self.now - of.begins;
            self.failures.succeed(&attempt(&of, "right"), of.tenant.unwrap_or_default(), self.seconds());
        } else if of.guesses_every.is_none() {
            self.schedule(self.now + REST, Event::Come(client));
        }
        let Some(line) = line else { return };
        let held = Duration::from_millis(self.now - began).min(own);
        let instant = self.instant();
        if let Some(debtor) = debtor {
            self.lines[line].line.charge(&debtor, held, instant);
        }
        match self.lines[line].behind.pop_front() {
            Some((next, came)) => self.ask(next, came, Some(line)),
            None => self.lines[line].busy = false,
        }
    }

    fn seconds(&self) -> i64 {
        1_000_000 + i64::try_from(self.now / 1000).unwrap()
    }

    fn instant(&self) -> Instant {
        self.epoch + Duration::from_millis(self.now)
    }
}

fn password(of: &Client, number: u64) -> String {
    if of.guesses_every.is_none() { "right".to_owned() } else { format!("guess {number}") }
}

fn attempt<'a>(of: &'a Client, password: &'a str) -> Attempt<'a> {
    let credentials = Credentials { username: &of.name, password: password.as_bytes(), client_id: "c" };
    Attempt { credentials, peer: of.source.as_deref().and_then(Peer::of), vhost: "" }
}
