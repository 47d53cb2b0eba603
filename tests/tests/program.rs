//! Child processes of tests: they are heard, they end when told to, and they inherit nothing.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use mqtt_access_tests::Program;
use mqtt_access_tests::program::guarded;

const SOON: Duration = Duration::from_secs(10);

fn shell(script: &str) -> Program {
    let mut command = guarded("sh");
    command.args(["-c", script]);
    Program::launch("sh", command)
}

#[tokio::test]
async fn both_outputs_are_heard_line_by_line() {
    let program = shell("echo one; echo two words >&2; sleep 60");
    assert_eq!(program.wait_for_line("two", SOON).await, "two words");
    assert_eq!((program.stdout(), program.stderr()), ("one\n".to_owned(), "two words\n".to_owned()));
    assert!(program.ended().is_none());
}

#[tokio::test]
async fn sigterm_can_be_answered_and_sigkill_cannot() {
    let polite = shell("trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done");
    polite.wait_for_line("up", SOON).await;
    assert_eq!(polite.terminate(SOON).await.code(), Some(7));
    let stubborn = shell("trap '' TERM; sleep 60");
    stubborn.kill();
    assert_eq!(stubborn.ended().unwrap().signal(), Some(9));
}

#[tokio::test]
async fn nothing_of_the_developers_environment_leaks_in() {
    let program = shell("env");
    assert!(program.wait_end(SOON).await.success());
    let names = program.stdout();
    let names: Vec<_> = names.lines().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    assert!(names.iter().all(|name| ["PATH", "PWD", "OLDPWD", "SHLVL", "_"].contains(name)), "{names:?}");
}
