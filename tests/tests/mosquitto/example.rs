//! `examples/brokers/statefulset-mosquitto.yaml`: its configuration and its script, around a real Mosquitto.

use std::fs;
use std::path::Path;
use std::time::Duration;

use mqtt_access_operator::manifest::yaml;
use mqtt_access_tests::program::guarded;
use mqtt_access_tests::{Program, mosquitto, ports, wait};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(20);

fn data(key: &str) -> String {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/brokers/statefulset-mosquitto.yaml");
    let documents = yaml::documents(&fs::read_to_string(example).unwrap());
    let mut objects = documents.into_iter().map(Result::unwrap);
    let config = objects.find(|object| object["kind"] == "ConfigMap").unwrap();
    config["data"][key].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_script_of_the_example_tells_the_broker_of_new_files_and_ends_with_it() {
    let folder = TempDir::with_prefix("mqtt-access-mosquitto-").unwrap();
    let here = folder.path().display().to_string();
    let moved = |text: String| text.replace("/mqtt-access/acl", &here).replace("/mosquitto/config", &here);
    let put = |name: &str, content: &str| mosquitto::replace(folder.path(), name, content.as_bytes());
    let listener = format!("listener {} 127.0.0.1\nuser root\nlog_dest stderr", ports::free());
    let settings = moved(data("mosquitto.conf")).replace("/mosquitto/data/", &here);
    put("mosquitto.conf", &settings.replace("listener 1883", &listener));
    // Else it would outlive a test that dies.
    let script = moved(data("run.sh")).replace("\nmosquitto ", "\nsetpriv --pdeathsig KILL /usr/sbin/mosquitto ");
    put("run.sh", &script);
    put("mosquitto.acl", "");
    put("mosquitto.passwords", "");

    let mut command = guarded("sh");
    command.arg(folder.path().join("run.sh"));
    let broker = Program::launch("sh", command);
    broker.wait_for_line(" running", SOON).await;
    let reloads = || broker.stderr().matches("Reloading config.").count();
    assert_eq!(reloads(), 0, "nothing has changed yet");
    for (round, file) in [(1, "mosquitto.acl"), (2, "mosquitto.passwords")] {
        put(file, "");
        wait::until("Mosquitto to reload", SOON, async || (reloads() == round).then_some(())).await;
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(reloads(), 2, "once for each change");
    assert_eq!(broker.terminate(SOON).await.code(), Some(0), "{}", broker.stderr());
}
