//! Where the programs under test and the control plane's binaries are.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

/// The folder that `tests/setup where` names, asked once.
static CONTROL_PLANE: LazyLock<PathBuf> = LazyLock::new(|| ask("where"));

/// The Python that `tests/setup python` names, asked once.
static PYTHON: LazyLock<PathBuf> = LazyLock::new(|| ask("python"));

/// The folder that `tests/setup helm` names, asked once.
static HELM: LazyLock<PathBuf> = LazyLock::new(|| ask("helm"));

/// The folder that `tests/setup definitions` names, asked once.
static DEFINITIONS: LazyLock<PathBuf> = LazyLock::new(|| ask("definitions"));

fn ask(what: &str) -> PathBuf {
    let setup = Path::new(env!("CARGO_MANIFEST_DIR")).join("setup");
    let answer = Command::new(&setup)
        .arg(what)
        .output()
        .unwrap_or_else(|error| panic!("cannot run {}: {error}", setup.display()));
    let complaint = String::from_utf8_lossy(&answer.stderr);
    assert!(answer.status.success(), "{complaint}");
    PathBuf::from(String::from_utf8_lossy(&answer.stdout).trim())
}

/// One of the programs of `tests/setup`, such as `kube-apiserver`.
#[must_use]
pub fn control_plane(program: &str) -> PathBuf {
    CONTROL_PLANE.join(program)
}

/// A Python with the packages of `tests/python`.
#[must_use]
pub fn python() -> &'static Path {
    &PYTHON
}

/// The program helm.
#[must_use]
pub fn helm() -> PathBuf {
    HELM.join("helm")
}

/// A folder with the custom resource definitions of operators that run brokers: `rabbitmqclusters.yaml`.
#[must_use]
pub fn broker_definitions() -> &'static Path {
    &DEFINITIONS
}

/// A binary of this workspace, such as `mqtt-access-operator`, built beforehand into the folder above the running test's.
#[must_use]
pub fn workspace(program: &str) -> PathBuf {
    let test = env::current_exe().expect("name the running test");
    let folder = test.ancestors().nth(2).expect("a test runs from target/<profile>/deps");
    let found = folder.join(program);
    assert!(
        found.is_file(),
        "{} is not built: run `make test`, or `cargo build --workspace --bins` first",
        found.display()
    );
    found
}

/// The image of a program, as `images/build` wrote it beforehand.
#[must_use]
pub fn image(program: &str) -> PathBuf {
    let test = env::current_exe().expect("name the running test");
    let target = test.ancestors().nth(3).expect("a test runs from target/<profile>/deps");
    let found = target.join("images").join(format!("{program}.tar"));
    assert!(found.is_file(), "{} is not there: run `make test` or images/build first", found.display());
    found
}
