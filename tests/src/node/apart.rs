//! A test on a machine of its own: it starts itself anew under `tests/node/apart`.
//!
//! Namespaces belong to processes, and a thread of a test that shares its process with others cannot leave for one.

use std::env;
use std::time::Duration;

use tokio::time::timeout;

use super::script;
use crate::program::{Program, guarded};

/// Tells the test that it was started anew.
const INSIDE: &str = "MQTT_ACCESS_TESTS_APART";

/// Where tools, caches and temporary folders are; all else stays behind.
const ENVIRONMENT: [&str; 4] = ["HOME", "XDG_CACHE_HOME", "KUBEBUILDER_ASSETS", "TMPDIR"];

const LIMIT: Duration = Duration::from_mins(8);

/// Runs `story` in a process, namespaces and cgroups of its own. `test` is the name of the test that calls this.
///
/// Panics when the story does, after printing what it wrote to stderr; and when this machine cannot do it, saying what it lacks.
pub fn apart<F: Future<Output = ()>>(test: &str, story: impl FnOnce() -> F) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("start a runtime");
    if is_inside() {
        // Ended from within, so that the programs of the story tell what they said.
        let ended = runtime.block_on(async { timeout(LIMIT, story()).await });
        ended.unwrap_or_else(|_| panic!("it took longer than {LIMIT:?}"));
    } else {
        runtime.block_on(start_anew(test));
    }
}

pub(super) fn is_inside() -> bool {
    env::var_os(INSIDE).is_some()
}

async fn start_anew(test: &str) {
    let mut command = guarded(script("apart"));
    command.envs(ENVIRONMENT.iter().filter_map(|&name| Some((name, env::var_os(name)?)))).env(INSIDE, "yes");
    command.arg(env::current_exe().expect("name the running test")).args(["--exact", test, "--nocapture"]);
    let program = Program::launch("the test on a machine of its own", command);
    let status = program.wait_end(LIMIT + LIMIT / 4).await;
    let (told, listing) = (program.stderr(), program.stdout());
    // It would tell the same again, and less of it, when it is dropped in a panic.
    drop(program);
    eprint!("{told}");
    assert!(status.success(), "`{test}` failed on a machine of its own ({status}): what it said is above");
    assert!(listing.contains("1 passed"), "`{test}` is not the name of the test that runs apart: {listing}");
}
