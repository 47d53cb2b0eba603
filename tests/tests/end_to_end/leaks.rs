//! Nothing secret in any log, and nothing in metrics.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use k8s_openapi::ByteString;
use mqtt_access_tests::first_light::FirstLight;
use serde_json::Value;

pub(crate) async fn no_secret_was_told(light: &mut FirstLight, issued: &[String]) {
    light.check.step("no secret stands in a log or in a metric");
    let keys = ["accessKeySecret", "password", "ticketKey"].map(|key| light.secrets.values(key));
    let passwords = light.passwords().into_iter().map(String::into_bytes);
    let tickets: Vec<String> = issued.iter().cloned().chain(journal(light)).collect();
    let texts = tickets.iter().flat_map(|ticket| parts(ticket)).map(String::into_bytes);
    let secrets: BTreeSet<Vec<u8>> = keys.into_iter().flatten().chain(passwords).chain(texts).collect();
    // Short enough to be found by chance, such as the wrong passwords of this test.
    let secrets = secrets.into_iter().filter(|secret| secret.len() >= 16);
    let forms: BTreeSet<String> = secrets.flat_map(|secret| forms(&secret)).collect();
    light.check.figure("tickets, and forms of secrets that are searched for", (tickets.len(), forms.len()));
    light.check.that("there is something to search for", tickets.len() > 10 && forms.len() > 1000);
    let state = files(light.state_dir());
    light.check.that("the search finds what is there", forms.iter().any(|form| state.contains(form.as_str())));
    for (who, told) in light.everything_told().await {
        light.check.that(&format!("{who} told something"), !told.is_empty());
        let found: Vec<&String> = forms.iter().filter(|form| told.contains(form.as_str())).collect();
        light.check.that(&format!("{who} told {found:?}"), found.is_empty());
    }
}

/// The tickets of RabbitMQ's clients, which never leave the sidecar.
fn journal(light: &FirstLight) -> Vec<String> {
    let lines = files(&light.state_dir().join("login-journal"));
    let records = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    records.filter_map(|record| Some(record["t"].as_str()?.to_owned())).collect()
}

/// Everything below a folder, as text.
fn files(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let text = |path: PathBuf| {
        if path.is_dir() { files(&path) } else { String::from_utf8_lossy(&std::fs::read(&path).unwrap()).into_owned() }
    };
    entries.map(text).collect()
}

/// A ticket, and its MAC alone.
fn parts(ticket: &str) -> [String; 2] {
    let (_, mac) = ticket.rsplit_once('.').unwrap();
    [ticket.to_owned(), mac.to_owned()]
}

/// The ways in which a secret could be written: as it is, as base64 of both alphabets, in hexadecimal, as a list of bytes.
fn forms(secret: &[u8]) -> Vec<String> {
    let base64 = serde_json::to_value(ByteString(secret.to_vec())).unwrap();
    let base64 = base64.as_str().unwrap().trim_end_matches('=').to_owned();
    let hex: Vec<String> = secret.iter().map(|byte| format!("{byte:02x}")).collect();
    let list = format!("{secret:?}").trim_matches(['[', ']']).to_owned();
    let text = String::from_utf8(secret.to_vec()).ok();
    text.into_iter().chain([base64.replace('+', "-").replace('/', "_"), base64, hex.concat(), list]).collect()
}
