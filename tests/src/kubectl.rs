//! kubectl and helm, as a user of a given kubeconfig.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::tools;

const LIMIT: Duration = Duration::from_mins(2);

/// kubectl, or helm, with one user's credentials.
#[derive(Debug, Clone)]
pub struct Kubectl {
    program: PathBuf,
    kubeconfig: PathBuf,
    home: PathBuf,
}

/// It ended with an error.
#[derive(Debug, Clone)]
pub struct KubectlError {
    /// `kubectl` or `helm`.
    pub program: String,
    /// The arguments it was called with.
    pub args: Vec<String>,
    /// What it wrote to stderr: the API server's refusal.
    pub stderr: String,
    /// What it wrote to stdout: when it applied several objects, those that went well.
    pub stdout: String,
}

impl Kubectl {
    /// kubectl for the user of `kubeconfig`; caches go to `home`.
    #[must_use]
    pub fn new(kubeconfig: &Path, home: &Path) -> Self {
        Self { program: tools::control_plane("kubectl"), kubeconfig: kubeconfig.to_owned(), home: home.to_owned() }
    }

    /// helm for the user of `kubeconfig`; caches go to `home`.
    #[must_use]
    pub fn helm(kubeconfig: &Path, home: &Path) -> Self {
        Self { program: tools::helm(), ..Self::new(kubeconfig, home) }
    }

    /// `kubectl ARGS`; gives what it wrote to stdout.
    pub async fn run(&self, args: &[&str]) -> Result<String, KubectlError> {
        self.run_with_stdin(args, "").await
    }

    /// `kubectl apply -f -` with `manifests` on stdin.
    pub async fn apply(&self, manifests: &str) -> Result<String, KubectlError> {
        self.run_with_stdin(&["apply", "-f", "-"], manifests).await
    }

    /// `kubectl ARGS` with `input` on stdin.
    pub async fn run_with_stdin(&self, args: &[&str], input: &str) -> Result<String, KubectlError> {
        let mut command = Command::new(&self.program);
        let program = self.program.file_name().unwrap_or_default().display().to_string();
        command.env_clear().env("HOME", &self.home).env("KUBECONFIG", &self.kubeconfig).args(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("cannot start {program}: {error}"));
        let mut stdin = child.stdin.take().expect("its stdin is piped");
        // It may well end without reading its input.
        let feed = async move { drop(stdin.write_all(input.as_bytes()).await) };
        let both = async { tokio::join!(feed, child.wait_with_output()).1 };
        let output = tokio::time::timeout(LIMIT, both).await;
        let output = output.unwrap_or_else(|_| panic!("{program} {args:?} took longer than {LIMIT:?}"));
        let output = output.unwrap_or_else(|error| panic!("cannot run {program}: {error}"));
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(stdout);
        }
        Err(KubectlError {
            program,
            args: args.iter().map(|&arg| arg.to_owned()).collect(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            stdout,
        })
    }
}

impl fmt::Display for KubectlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} failed: {}", self.program, self.args.join(" "), self.stderr.trim())
    }
}

impl std::error::Error for KubectlError {}
