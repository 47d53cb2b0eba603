//! `make demo`: starts `mqtt-access-operator standalone examples/` and asks the running sidecar what a broker would ask.
//!
//! Needs nothing but the program itself: each question is one HTTP request over a plain socket, printed as the `curl`
//! command that asks the same.

use std::error::Error;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use mqtt_access_operator::manifest;
use serde_json::{Value, json};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let program = program()?;
    let state = tempfile::Builder::new().prefix("mqtt-access-demo-").tempdir()?;
    println!("$ mqtt-access-operator standalone examples/\n");
    let sidecar = Standalone::start(&program, state.path())?;
    let device = Device::read(state.path())?;
    ask(&sidecar, &device)?;
    drop(sidecar);
    println!("Keep it running and ask it yourself:\n");
    println!("  {} standalone examples/ --state-dir /tmp/mqtt-access --cause-header\n", shown(&program));
    println!("The keys of the devices are then in /tmp/mqtt-access; edit a file of examples/ and ask again.");
    println!("README.md says how a broker is connected, and how the same files are used in a cluster.");
    Ok(())
}

fn ask(sidecar: &Standalone, device: &Device) -> Outcome<()> {
    let login =
        |password: &str| json!({"clientid": device.client_id, "username": device.username, "password": password});
    let good = sidecar.ask("A device logs in with its key", "/emqx/v5/authn", &login(&device.password))?;
    sidecar.ask("The same device with a wrong password", "/emqx/v5/authn", &login("d3Jvbmc="))?;
    let ticket = good.pointer("/client_attrs/mqa_ticket").and_then(Value::as_str).ok_or("the login gave no ticket")?;
    let publish = |topic: &str| {
        json!({"clientid": device.client_id, "username": device.username, "action": "publish", "topic": topic,
            "qos": "1", "retain": "false", "ticket": ticket})
    };
    sidecar.ask("May it publish to its own topic?", "/emqx/v5/authz", &publish("acme/dev1/temperature"))?;
    sidecar.ask("And to a topic of another tenant?", "/emqx/v5/authz", &publish("globex/meter1/reading"))?;
    Ok(())
}

/// The program that was built beside this one.
fn program() -> Outcome<PathBuf> {
    let own = std::env::current_exe()?;
    let folder = own.parent().and_then(Path::parent).ok_or("this program has no folder")?;
    let program = folder.join("mqtt-access-operator");
    if program.exists() { Ok(program) } else { Err("run `make demo`: it builds mqtt-access-operator first".into()) }
}

fn shown(program: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    program.strip_prefix(here).unwrap_or(program).display().to_string()
}

/// A device of the examples with what its generated Secret holds.
struct Device {
    client_id: String,
    username: String,
    password: String,
}

impl Device {
    fn read(state: &Path) -> Outcome<Self> {
        let secrets = manifest::read(&[state.to_owned()])?.secrets;
        let secret = secrets.into_iter().find(|secret| secret.metadata.name.as_deref() == Some("dev1-mqtt"));
        let data = secret.and_then(|secret| secret.data).ok_or("the Secret of dev1 was not made")?;
        let text = |key: &str| -> Outcome<String> {
            let bytes = data.get(key).ok_or_else(|| format!("the Secret of dev1 has no `{key}`"))?;
            Ok(String::from_utf8(bytes.0.clone())?)
        };
        Ok(Self { client_id: text("clientId")?, username: text("username")?, password: text("password")? })
    }
}

/// The running program; it ends with this value.
struct Standalone {
    child: Child,
    address: String,
}

impl Standalone {
    fn start(program: &Path, state: &Path) -> Outcome<Self> {
        let mut command = Command::new(program);
        command.args(["standalone", "examples/", "--cause-header", "--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        let mut child = command.arg("--state-dir").arg(state).stdout(Stdio::piped()).spawn()?;
        let output = child.stdout.take().ok_or("the program has no output")?;
        let address = BufReader::new(output)
            .lines()
            .map_while(Result::ok)
            .find_map(|line| Some(line.strip_prefix("serving:")?.trim().trim_start_matches("http://").to_owned()));
        match address {
            Some(address) => Ok(Self { child, address }),
            None => Err(format!("the program did not start: {}", child.wait()?).into()),
        }
    }

    fn ask(&self, question: &str, path: &str, body: &Value) -> Outcome<Value> {
        println!("{question}");
        println!("  $ curl -d '{}' http://{}{path} -H 'content-type: application/json'", shortened(body), self.address);
        let (head, reply) = self.post(path, &body.to_string())?;
        let cause = head.lines().find_map(|line| line.strip_prefix("mqtt-access-cause: ")).unwrap_or("unknown");
        let reply: Value = serde_json::from_str(&reply)?;
        let verdict = reply.get("result").and_then(Value::as_str).unwrap_or("unknown");
        println!("  {verdict}, because of {cause}\n");
        Ok(reply)
    }

    fn post(&self, path: &str, body: &str) -> Outcome<(String, String)> {
        let mut stream = TcpStream::connect(&self.address)?;
        let length = body.len();
        let host = &self.address;
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        )?;
        let mut reply = String::new();
        stream.read_to_string(&mut reply)?;
        let (head, body) = reply.split_once("\r\n\r\n").ok_or("the reply has no body")?;
        Ok((head.to_owned(), body.to_owned()))
    }
}

impl Drop for Standalone {
    fn drop(&mut self) {
        // It may have ended by itself; there is nothing left to do then.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The request as it is shown: the secret parts are of no use to a reader.
fn shortened(body: &Value) -> String {
    let mut body = body.clone();
    if let Some(ticket) = body.get_mut("ticket") {
        *ticket = json!("...");
    }
    if let Some(password) = body.get_mut("password").filter(|password| is_signature(password)) {
        *password = json!("...");
    }
    body.to_string()
}

fn is_signature(password: &Value) -> bool {
    password.as_str().and_then(|text| STANDARD.decode(text).ok()).is_some_and(|bytes| bytes.len() == 20)
}
