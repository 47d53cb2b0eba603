//! The time of one call: the median of many batches, since a machine has other things to do, and the fastest.

use std::fmt;
use std::hint::black_box;
use std::time::{Duration, Instant};

const BATCHES: usize = 31;
const BATCH: Duration = Duration::from_millis(2);

pub(crate) struct PerCall {
    median: f64,
    fastest: f64,
}

pub(crate) fn per_call<T>(mut work: impl FnMut() -> T) -> PerCall {
    let start = Instant::now();
    black_box(work());
    let calls = (BATCH.as_nanos() / start.elapsed().as_nanos().max(1)).clamp(1, 20_000);
    let batch = |work: &mut dyn FnMut() -> T| {
        let start = Instant::now();
        for _ in 0..calls {
            black_box(work());
        }
        start.elapsed().as_nanos() as f64 / calls as f64
    };
    let mut times: Vec<f64> = (0..BATCHES).map(|_| batch(&mut work)).collect();
    times.sort_by(f64::total_cmp);
    PerCall { median: times[BATCHES / 2], fastest: times[0] }
}

impl fmt::Display for PerCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{} ({})", readable(self.median), readable(self.fastest)))
    }
}

fn readable(nanoseconds: f64) -> String {
    match nanoseconds {
        it if it < 1e3 => format!("{it:.0} ns"),
        it if it < 1e6 => format!("{:.1} µs", it / 1e3),
        it => format!("{:.1} ms", it / 1e6),
    }
}
