//! One child process, from its start to its end, with what it said.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{env, io, thread};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::{http, tools, wait};

/// Lines of each output that a failed test prints.
const TAIL: usize = 40;

/// A running child process. Dropping it kills it; in a panicking test it first prints the end of what it said.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Mutex<Child>,
    outputs: TempDir,
}

impl Program {
    /// Starts a binary of this workspace, such as `mqtt-access-sidecar`.
    ///
    /// Its environment is `env` and `PATH` only.
    #[must_use]
    pub fn start(binary: &str, args: &[&str], env: &[(&str, &str)]) -> Self {
        let mut command = guarded(tools::workspace(binary));
        command.args(args).envs(env.iter().copied());
        Self::launch(binary, command)
    }

    /// Starts any command; see [`guarded`] for one that cannot outlive the test.
    #[must_use]
    pub fn launch(name: &str, mut command: Command) -> Self {
        let outputs = TempDir::with_prefix("mqtt-access-output-").expect("create a folder for outputs");
        let create = |file: &str| File::create(outputs.path().join(file)).expect("create an output file");
        command.stdin(Stdio::null()).stdout(create("stdout")).stderr(create("stderr"));
        let child = spawn(command).unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self { name: name.to_owned(), child: Mutex::new(child), outputs }
    }

    /// The process ID.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child().id()
    }

    /// What it wrote to stdout so far.
    #[must_use]
    pub fn stdout(&self) -> String {
        self.read("stdout")
    }

    /// What it wrote to stderr so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        self.read("stderr")
    }

    /// How it ended; `None` while it runs.
    #[must_use]
    pub fn ended(&self) -> Option<ExitStatus> {
        self.child().try_wait().expect("ask for the exit status")
    }

    /// Waits for a line of stdout or stderr that contains `text`, and gives that line.
    ///
    /// Panics when the process ends without one, or after `limit`.
    pub async fn wait_for_line(&self, text: &str, limit: Duration) -> String {
        let what = format!("{} to say `{text}`", self.name);
        wait::until(&what, limit, async || {
            // Asked first: what a dead process said is complete.
            let ended = self.ended();
            let line = find_line(&self.stdout(), text).or_else(|| find_line(&self.stderr(), text));
            assert!(line.is_some() || ended.is_none(), "{} ended ({ended:?}) without saying `{text}`", self.name);
            line
        })
        .await
    }

    /// Waits until `http://admin/readyz` answers 200.
    pub async fn wait_ready(&self, admin: SocketAddr, limit: Duration) {
        let what = format!("{} to be ready at {admin}", self.name);
        wait::until(&what, limit, async || {
            assert!(self.ended().is_none(), "{} ended before it was ready", self.name);
            let reply = http::get(admin, "/readyz").await.ok()?;
            (reply.status == 200).then_some(())
        })
        .await;
    }

    /// Waits until it ends by itself.
    pub async fn wait_end(&self, limit: Duration) -> ExitStatus {
        wait::until(&format!("{} to end", self.name), limit, async || self.ended()).await
    }

    /// SIGKILL: no goodbye, as when the kernel or a node takes it.
    pub fn kill(&self) {
        let mut child = self.child();
        // Fails only when it is gone already, which is what was asked for.
        let _ = child.kill();
        let _ = child.wait();
    }

    /// SIGTERM, as the kubelet sends it; gives the exit status, or panics after `limit`.
    pub async fn terminate(&self, limit: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_end(limit).await
    }

    /// SIGSTOP: it keeps its connections but does nothing until [`Self::resume`].
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// SIGHUP, which makes brokers read their files again.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    fn signal(&self, signal: Signal) {
        let child = self.child();
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw).expect("a process ID");
        kill_process(id, signal).unwrap_or_else(|error| panic!("cannot signal {}: {error}", self.name));
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn read(&self, output: &str) -> String {
        let path: PathBuf = self.outputs.path().join(output);
        let bytes = fs::read(&path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn print_tail(&self) {
        for output in ["stdout", "stderr"] {
            let text = self.read(output);
            let lines: Vec<&str> = text.lines().collect();
            let tail = lines.iter().skip(lines.len().saturating_sub(TAIL));
            eprintln!("---- {output} of {}", self.name);
            tail.for_each(|line| eprintln!("{line}"));
        }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let ended = self.ended();
        self.kill();
        if thread::panicking() {
            eprintln!("---- {} had ended by itself: {:?}", self.name, ended.map(ExitStatus::into_raw));
            self.print_tail();
        }
    }
}

/// A command whose process the kernel kills when this process dies, however it dies.
///
/// Its environment is `PATH` only: no kubeconfig or setting of the developer leaks in.
#[must_use]
pub fn guarded(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.env_clear().env("PATH", env::var_os("PATH").unwrap_or_default());
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

fn find_line(output: &str, text: &str) -> Option<String> {
    output.lines().find(|line| line.contains(text)).map(str::to_owned)
}

struct Order {
    command: Command,
    reply: Sender<io::Result<Child>>,
}

/// The kernel takes the death of the *thread* that forked for the parent's death, and each test is a thread: children that
/// outlive the test that made them (a control plane shared by several tests) come from a thread that ends with the process.
static SPAWNER: LazyLock<Mutex<Sender<Order>>> = LazyLock::new(|| {
    let (orders, inbox) = channel();
    thread::Builder::new()
        .name("spawner".to_owned())
        .spawn(move || fork_all(&inbox))
        .expect("start the thread that starts processes");
    Mutex::new(orders)
});

fn fork_all(orders: &Receiver<Order>) {
    for Order { mut command, reply } in orders {
        // Fails only when the test that asked is gone.
        let _ = reply.send(command.spawn());
    }
}

fn spawn(command: Command) -> io::Result<Child> {
    let (reply, answer) = channel();
    let orders = SPAWNER.lock().unwrap_or_else(PoisonError::into_inner).clone();
    orders.send(Order { command, reply }).expect("the spawner runs as long as the process");
    answer.recv().expect("the spawner answers every order")
}
