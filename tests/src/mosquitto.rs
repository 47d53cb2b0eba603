//! A stock Mosquitto (Debian's 2.0.11), without any plugin, that judges its clients by two files.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use mqtt_access_operator::broker_config::{Settings, Software};
use tempfile::TempDir;

use crate::ports;
use crate::program::{Program, guarded};

const BOOT: Duration = Duration::from_secs(20);

/// Where the package puts it, which is not in every search path.
const SERVER: &str = "/usr/sbin/mosquitto";

/// A running broker; dropping it ends it and removes its files.
#[derive(Debug)]
pub struct Mosquitto {
    server: Program,
    mqtt: SocketAddr,
    folder: TempDir,
}

impl Mosquitto {
    /// Starts a broker with these files, and waits until MQTT clients can connect.
    pub async fn start(acl: &str, passwords: &[u8]) -> Self {
        let folder = TempDir::with_prefix("mqtt-access-mosquitto-").expect("create a folder");
        let mqtt = ports::free_address();
        replace(folder.path(), "mosquitto.acl", acl.as_bytes());
        replace(folder.path(), "mosquitto.passwords", passwords);
        let server = Program::launch("mosquitto", server(folder.path(), mqtt));
        server.wait_for_line(" running", BOOT).await;
        Self { server, mqtt, folder }
    }

    /// Where MQTT clients connect.
    #[must_use]
    pub fn mqtt(&self) -> SocketAddr {
        self.mqtt
    }

    /// A file of the broker: `acl_file` or `password_file`.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces a file in one step, as the sidecar does.
    pub fn replace(&self, name: &str, content: &[u8]) {
        replace(self.folder.path(), name, content);
    }

    /// SIGHUP, and waits until the files are read again.
    pub async fn reload(&self) {
        let read = |log: &str| log.matches("Reloading config.").count();
        let before = read(&self.log());
        self.server.hang_up();
        crate::wait::until("Mosquitto to reload", BOOT, async || (read(&self.log()) > before).then_some(())).await;
    }

    /// The broker's log so far, which tells why it refused something.
    #[must_use]
    pub fn log(&self) -> String {
        self.server.stderr()
    }
}

/// Replaces a file of a folder in one step.
pub fn replace(folder: &Path, name: &str, content: &[u8]) {
    let fresh = folder.join(format!(".{name}"));
    fs::write(&fresh, content).expect("write a file");
    fs::rename(fresh, folder.join(name)).expect("rename a file");
}

fn server(folder: &Path, mqtt: SocketAddr) -> Command {
    assert!(Path::new(SERVER).exists(), "{SERVER} is missing: run `make test` or tests/setup");
    let acl_dir = folder.display().to_string();
    let pasted = Software::Mosquitto.config(Settings { acl_dir: Some(&acl_dir), ..Settings::default() });
    let pasted = pasted.expect("settings for a folder of letters");
    // Started as root it would become the user `mosquitto`, who cannot read the folder.
    let settings = format!(
        "listener {} {}\nuser root\nlog_dest stderr\nlog_type all\npersistence false\nset_tcp_nodelay true\n{pasted}",
        mqtt.port(),
        mqtt.ip()
    );
    let configuration = folder.join("mosquitto.conf");
    fs::write(&configuration, settings).expect("write mosquitto.conf");
    let mut command = guarded(SERVER);
    command.current_dir(folder).arg("-c").arg(configuration);
    command
}
