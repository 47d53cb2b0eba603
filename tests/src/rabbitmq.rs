//! A real RabbitMQ (Debian's 3.10) whose MQTT clients are judged by an HTTP backend: the sidecar.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use mqtt_access_operator::broker_config::{Settings, Software};
use mqtt_access_operator::config::Broker;
use tempfile::TempDir;

use crate::ports;
use crate::program::{Program, guarded};

const BOOT: Duration = Duration::from_mins(2);

/// The package's own program; the one in the search path changes the user first.
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";

/// A running broker; dropping it ends it and its port mapper, and removes its data.
#[derive(Debug)]
pub struct RabbitMq {
    server: Program,
    _port_mapper: Program,
    mqtt: SocketAddr,
    _folder: TempDir,
}

impl RabbitMq {
    /// Starts a broker that asks the backend at `http` for every verdict, and waits until MQTT clients can connect.
    pub async fn start(http: SocketAddr) -> Self {
        Self::start_with(http, None).await
    }

    /// The same with the settings of a broker of the operator's configuration.
    pub async fn start_with(http: SocketAddr, broker: Option<&Broker>) -> Self {
        let folder = TempDir::with_prefix("mqtt-access-rabbitmq-").expect("create a folder");
        let mqtt = ports::free_address();
        write_configuration(folder.path(), http, mqtt, broker);
        let mapper_port = ports::free();
        let port_mapper = Program::launch("epmd", port_mapper(mapper_port));
        let server = Program::launch("rabbitmq-server", server(folder.path(), mapper_port));
        server.wait_for_line("Server startup complete", BOOT).await;
        Self { server, _port_mapper: port_mapper, mqtt, _folder: folder }
    }

    /// Where MQTT clients connect.
    #[must_use]
    pub fn mqtt(&self) -> SocketAddr {
        self.mqtt
    }

    /// The broker's log so far, which tells why it refused something.
    #[must_use]
    pub fn log(&self) -> String {
        self.server.stdout()
    }
}

fn write_configuration(folder: &Path, http: SocketAddr, mqtt: SocketAddr, broker: Option<&Broker>) {
    let amqp = ports::free_address();
    let sidecar = format!("http://{http}");
    let pasted = Software::Rabbitmq.config(Settings { sidecar: Some(&sidecar), broker, ..Settings::default() });
    let pasted = pasted.expect("settings for a sidecar on loopback");
    let settings = format!(
        "listeners.tcp.1 = {amqp}\nmqtt.listeners.tcp.1 = {mqtt}\nlog.console = true\nlog.console.level = info\nlog.file = false\n{pasted}"
    );
    let plugins = "[rabbitmq_mqtt,rabbitmq_auth_backend_http].\n";
    fs::write(folder.join("rabbitmq.conf"), settings).expect("write rabbitmq.conf");
    fs::write(folder.join("enabled_plugins"), plugins).expect("write enabled_plugins");
}

/// Erlang's port mapper, in the foreground: RabbitMQ would start one that outlives it.
fn port_mapper(port: u16) -> Command {
    let mut command = guarded("epmd");
    command.args(["-address", "127.0.0.1", "-port", &port.to_string()]);
    command
}

fn server(folder: &Path, mapper_port: u16) -> Command {
    assert!(Path::new(SERVER).exists(), "{SERVER} is missing: run `make test` or tests/setup");
    let mut command = guarded(SERVER);
    command.current_dir(folder).env("HOME", folder).env("LANG", "C.UTF-8");
    command.env("RABBITMQ_NODENAME", "test@localhost");
    command.env("RABBITMQ_CONF_ENV_FILE", folder.join("none"));
    command.env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq.conf"));
    command.env("RABBITMQ_ENABLED_PLUGINS_FILE", folder.join("enabled_plugins"));
    command.env("RABBITMQ_MNESIA_BASE", folder.join("mnesia"));
    command.env("RABBITMQ_LOG_BASE", folder.join("log"));
    command.env("RABBITMQ_DIST_PORT", ports::free().to_string());
    command.env("ERL_EPMD_ADDRESS", "127.0.0.1").env("ERL_EPMD_PORT", mapper_port.to_string());
    // The script then becomes the Erlang machine instead of waiting for it, so that its process ID is the broker's.
    command.env("RUNNING_UNDER_SYSTEMD", "true");
    command
}
