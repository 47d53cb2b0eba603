//! Numbers of logins, as RabbitMQ carries them: which of its connections asks.
//!
//! RabbitMQ's questions name a username and a client ID, which two connections may share. But it repeats in each of them the
//! tags that `/user` gave to the connection's user. It makes an atom of every tag, and never frees one: a number is therefore
//! written with eight tags of a closed list, one for each place and digit, 128 in all. Nothing else reads them: RabbitMQ knows
//! `administrator`, `monitoring`, `policymaker`, `management` and `impersonator`.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

const PREFIX: &str = "mqa";
const PLACES: u32 = 8;

/// A login of this sidecar. Numbers repeat after four thousand million logins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LoginNumber(u32);

/// Gives numbers out.
#[derive(Debug)]
pub(crate) struct LoginNumbers(AtomicU32);

impl LoginNumbers {
    /// Starts somewhere: connections that logged in before a restart have other numbers than those that follow.
    pub(crate) fn new() -> Self {
        let mut bytes = [0; 4];
        // Without randomness numbers still differ from each other, which is what matters most.
        let _: Result<(), getrandom::Error> = getrandom::fill(&mut bytes);
        Self(AtomicU32::new(u32::from_le_bytes(bytes)))
    }

    pub(crate) fn next(&self) -> LoginNumber {
        LoginNumber(self.0.fetch_add(1, Relaxed))
    }
}

impl LoginNumber {
    /// The tags for RabbitMQ's user, separated by blanks.
    pub(crate) fn tags(self) -> String {
        let digit = |place: u32| format!("{PREFIX}{place}{:x}", (self.0 >> (4 * place)) & 15);
        (0..PLACES).map(digit).collect::<Vec<_>>().join(" ")
    }

    /// Reads the tags of a question; `None` where they are not exactly those of a number.
    pub(crate) fn parse(tags: &str) -> Option<Self> {
        let mut number = 0;
        let mut seen = 0_u32;
        for tag in tags.split(' ') {
            let mut characters = tag.strip_prefix(PREFIX)?.chars();
            let place = characters.next()?.to_digit(PLACES)?;
            let digit = characters.next()?.to_digit(16)?;
            if characters.next().is_some() || seen & (1 << place) != 0 {
                return None;
            }
            seen |= 1 << place;
            number |= digit << (4 * place);
        }
        (seen == (1 << PLACES) - 1).then_some(Self(number))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_number_reads_back_in_any_order_of_its_tags() {
        for number in [0, 1, 0x1234_5678, 0xFEDC_BA98, u32::MAX] {
            let tags = LoginNumber(number).tags();
            assert_eq!(LoginNumber::parse(&tags), Some(LoginNumber(number)), "{tags}");
            let turned: Vec<&str> = tags.split(' ').rev().collect();
            assert_eq!(LoginNumber::parse(&turned.join(" ")), Some(LoginNumber(number)));
        }
    }

    #[test]
    fn there_are_few_tags_however_many_logins() {
        let numbers = LoginNumbers::new();
        let all = (0..100_000).map(|_| numbers.next().tags()).chain((0..32).map(|bit| LoginNumber(!(1 << bit)).tags()));
        let tags: BTreeSet<String> =
            all.flat_map(|tags| tags.split(' ').map(str::to_owned).collect::<Vec<_>>()).collect();
        assert!(tags.len() <= 128, "{}", tags.len());
        assert!(tags.iter().all(|tag| tag.len() == 5));
    }

    #[test]
    fn what_is_no_number_is_none() {
        let right = LoginNumber(7).tags();
        for wrong in [
            String::new(),
            "administrator".to_owned(),
            format!("{right} administrator"),
            format!("{right} mqa00"),
            right.replacen("mqa07", "mqa17", 1),
            right.replacen("mqa70", "mqa80", 1),
            right.replacen("mqa70", "mqa7g", 1),
            right.replacen(" mqa70", "", 1),
            right.replace(' ', "  "),
        ] {
            assert_eq!(LoginNumber::parse(&wrong), None, "{wrong}");
        }
    }
}
