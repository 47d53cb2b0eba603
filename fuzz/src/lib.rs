//! The targets of `tests/tests/fuzz`, where `cargo test` runs them too.

#[path = "../../tests/tests/fuzz"]
mod shared {
    pub mod targets;
}
#[path = "../../tests/src/models/erlang.rs"]
pub mod erlang;
#[path = "../../tests/src/two_tenants.rs"]
pub mod two_tenants;

pub use shared::targets;

/// Makes a libFuzzer target of one of [`targets::ALL`]. Now and then its mutator begins again with one of the seeds, which
/// therefore need no files.
#[macro_export]
macro_rules! target {
    ($name:literal) => {
        use $crate::targets::{ALL, Target};

        static TARGET: std::sync::LazyLock<(Target, Vec<Vec<u8>>)> = std::sync::LazyLock::new(|| {
            let target = *ALL.iter().find(|target| target.name == $name).expect("a target");
            (target, (target.seeds)())
        });

        libfuzzer_sys::fuzz_target!(|data: &[u8]| { (TARGET.0.check)(data) });

        libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
            let seeds = &TARGET.1;
            let chosen = &seeds[seed as usize / 32 % seeds.len()];
            if (size < 4 || seed % 32 == 0) && chosen.len() <= max_size {
                data[..chosen.len()].copy_from_slice(chosen);
                return chosen.len();
            }
            libfuzzer_sys::fuzzer_mutate(data, size, max_size)
        });
    };
}
