//! Expectations, noted one by one: a broken one does not hide those that come after it.

use std::fmt::Debug;
use std::time::Instant;

/// What was expected and what came, step by step.
#[derive(Debug, Default)]
pub struct Check {
    step: Option<(String, Instant)>,
    kept: usize,
    failures: Vec<String>,
}

impl Check {
    /// Begins a step; what follows belongs to it.
    pub fn step(&mut self, name: &str) {
        self.end_step();
        eprintln!("== {name}");
        self.step = Some((name.to_owned(), Instant::now()));
    }

    /// Expects something to hold.
    pub fn that(&mut self, what: &str, holds: bool) {
        if holds {
            self.kept += 1;
        } else {
            self.fail(what);
        }
    }

    /// Expects two things to be the same.
    #[expect(clippy::needless_pass_by_value, reason = "most callers have values")]
    pub fn equal<T: PartialEq + Debug>(&mut self, what: &str, got: T, expected: T) {
        let same = got == expected;
        self.that(&if same { String::new() } else { format!("{what}: got {got:?}, expected {expected:?}") }, same);
    }

    /// Tells something that was measured.
    pub fn figure(&self, what: &str, value: impl Debug) {
        eprintln!("   {what}: {value:?}");
    }

    /// Ends the run: panics with every expectation that failed.
    pub fn conclude(mut self) {
        self.end_step();
        let Self { step: _, kept, failures } = self;
        eprintln!("{kept} expectations were kept, {} were not", failures.len());
        assert!(failures.is_empty(), "{} expectations failed:\n{}", failures.len(), failures.join("\n"));
    }

    fn fail(&mut self, what: &str) {
        let step = self.step.as_ref().map_or("", |(name, _)| name);
        eprintln!("   FAILED: {what}");
        self.failures.push(format!("[{step}] {what}"));
    }

    fn end_step(&mut self) {
        if let Some((_, started)) = self.step.take() {
            eprintln!("   took {:?}", started.elapsed());
        }
    }
}
