//! The ACL files that `compile` writes beside the bundles.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use crate::{Desk, SOON};

/// A desk whose generated secrets are there, and how `compile` is told of them.
async fn desk() -> (Desk, String) {
    let desk = Desk::new();
    desk.standalone().await.program.terminate(SOON).await;
    let state = desk.text("state");
    (desk, state)
}

/// Every file below a folder, by its path from there, with its inode.
fn files(folder: &Path) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    let mut left = vec![folder.to_owned()];
    while let Some(path) = left.pop() {
        let Ok(entries) = fs::read_dir(&path) else {
            let name = path.strip_prefix(folder).unwrap().display().to_string();
            found.insert(name, fs::metadata(&path).unwrap().ino());
            continue;
        };
        left.extend(entries.map(|entry| entry.unwrap().path()));
    }
    found
}

fn names(files: &BTreeMap<String, u64>) -> Vec<&str> {
    files.keys().map(String::as_str).collect()
}

const ALL: [&str; 7] = [
    "acl.conf",
    "acme.acme/acl.conf",
    "acme.acme/mosquitto.acl",
    "globex.globex/acl.conf",
    "globex.globex/mosquitto.acl",
    "mosquitto.acl",
    "mosquitto.passwords",
];

#[tokio::test]
async fn each_broker_and_each_tenant_has_its_files_and_what_does_not_differ_is_not_touched() {
    let (desk, state) = desk().await;
    let with_state = ["--state-dir", state.as_str()];
    let (status, _, told) = desk.compile(&with_state).await;
    assert!(status.success(), "{told}");
    let folder = desk.path("out/default/acl");
    let before = files(&folder);
    assert_eq!(names(&before), ALL);
    for name in ALL {
        let mode = fs::metadata(folder.join(name)).unwrap().permissions().mode() & 0o777;
        // A Mosquitto that may not read its new `acl_file` opens at the next reload.
        assert_eq!(mode, if name == "mosquitto.passwords" { 0o640 } else { 0o644 }, "{name}");
    }
    for name in ["acl.conf", "acme.acme/acl.conf", "globex.globex/acl.conf"] {
        let text = fs::read_to_string(folder.join(name)).unwrap();
        assert!(text.ends_with("{deny, all}.\n"), "{name}: {text}");
        assert_eq!(text.matches("{deny, all}.").count(), 1, "{name}: {text}");
    }
    desk.compile(&with_state).await;
    assert_eq!(files(&folder), before, "the second time nothing is written");

    // What is no longer wanted goes; what somebody else put there stays, and what somebody changed is as it should be.
    fs::write(folder.join("notes"), "mine").unwrap();
    fs::write(folder.join("acme.acme/acl.conf"), "{allow, all}.\n").unwrap();
    fs::remove_file(desk.path("manifests/globex.yaml")).unwrap();
    desk.compile(&with_state).await;
    assert!(!folder.join("globex.globex").exists());
    assert_eq!(fs::read_to_string(folder.join("notes")).unwrap(), "mine");
    let text = fs::read_to_string(folder.join("acme.acme/acl.conf")).unwrap();
    assert!(!text.contains("allow, all") && text.ends_with("{deny, all}.\n"), "{text}");
}

#[tokio::test]
async fn a_broker_has_the_files_that_its_configuration_lists() {
    let (desk, state) = desk().await;
    let config = desk.text("config.yaml");
    let with_config = ["--state-dir", state.as_str(), "--config", config.as_str()];
    let folder = desk.path("out/default/acl");
    // From few to many and back: what is listed no longer is removed.
    for (listed, wanted) in [("[Emqx]", 3), ("[Emqx, Mosquitto]", 7), ("[Mosquitto]", 4), ("[]", 0)] {
        let broker = format!("name: default, bundleNamespace: b, tenantNamespaceSelector: {{}}, aclFiles: {listed}");
        fs::write(&config, format!("brokers: [{{{broker}}}]\n")).unwrap();
        // The keys of tickets lie in the bundle namespace, which is another one here.
        for tenant in ["acme.acme", "globex.globex"] {
            let key = Path::new(&state).join(format!("mqtt-access-mqtt-access-bundles.{tenant}.ticket-key.yaml"));
            let text = fs::read_to_string(key).unwrap().replace("mqtt-access-mqtt-access-bundles", "b");
            fs::write(Path::new(&state).join(format!("b.{tenant}.ticket-key.yaml")), text).unwrap();
        }
        let (status, _, told) = desk.compile(&with_config).await;
        // What a file cannot say is a finding where its language is listed, and elsewhere only a note of the report.
        let emqx = listed.contains("Emqx");
        assert_eq!(status.code(), Some(if emqx { 3 } else { 0 }), "{told}");
        assert_eq!(told.contains("(NarrowedInAclFile, broker `default`, Emqx)"), emqx, "{told}");
        let found = if folder.exists() { files(&folder) } else { BTreeMap::new() };
        assert_eq!(found.len(), wanted, "{listed}: {:?}", names(&found));
        let fits = |name: &str| name.ends_with("acl.conf") == (listed == "[Emqx]");
        assert!(wanted == 7 || names(&found).into_iter().all(fits), "{listed}: {:?}", names(&found));
    }
    assert!(!folder.exists(), "an empty folder goes too");
    assert!(desk.path("out/default/acme.acme/index").exists(), "bundles are written whatever files are");
}
