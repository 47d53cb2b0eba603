//! The report of `compile` for programs: pipelines read it, so what stands in it stays.

use std::fs;

use mqtt_access_core::bundle::{AclDelivery, decode_index};
use serde_json::{Value, json};

use crate::{Desk, SOON};

const CONFIG: &str = "\
brokers:
  - {name: default, bundleNamespace: mqtt-access-mqtt-access-bundles, tenantNamespaceSelector: {}, aclFiles: []}
";

#[tokio::test]
async fn the_json_is_what_it_was_and_the_exit_code_tells_findings() {
    let desk = Desk::new();
    desk.standalone().await.program.terminate(SOON).await;
    let (state, config) = (desk.text("state"), desk.text("config.yaml"));
    fs::write(&config, CONFIG).unwrap();
    let args = ["--state-dir", &state, "--config", &config, "--format", "json"];
    let (status, clean, told) = desk.compile(&args).await;
    assert_eq!((status.code(), told.as_str()), (Some(0), ""));
    let clean: Value = serde_json::from_str(&clean).unwrap();
    assert_eq!(clean["summary"], json!({"findings": 0, "violations": 0}));

    desk.edit("acme.yaml", "filter: acme/#", "filter: acme/#\n    - filter: shared/#\n      sharedWith: [mqtt-globex]");
    desk.edit(
        "globex.yaml",
        "filter: globex/#",
        "filter: globex/#\n    - filter: shared/x\n      sharedWith: [mqtt-acme]",
    );
    desk.edit("acme.yaml", "[\"acme/fleet/#\"]", "[\"acme/fleet/#\", \"elsewhere/#\", \"acme/fleet/x\"]");
    desk.edit("acme.yaml", "news/#\n      expect: Allow", "news/#\n      expect: Deny");
    let (status, text, told) = desk.compile(&args).await;
    assert_eq!((status.code(), told.as_str()), (Some(3), ""), "JSON stands alone");
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(report, expected(), "{text}");
    let written = fs::read(desk.path("out/report.json")).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&written).unwrap(), report);
}

fn expected() -> Value {
    let finding = |severity: &str, place: &str, reason: &str, message: &str| {
        json!({"severity": severity, "kind": "AclPolicy", "namespace": "acme", "name": "fleet", "place": place,
            "reason": reason, "message": message})
    };
    let outside = "no filter of the tenant's topic space in force covers it, so it allows nothing; narrow it";
    let inside = "the Allow rules[0] of AclPolicy `fleet` allows this to the same clients already; remove it";
    let failed = "expected Deny, got Allow by acme/fleet rules[0], mode DeviceCredential";
    let acme = [
        finding("NotInForce", "rules[0].topics[1]", "OutsideTopicSpace", outside),
        finding("Suspicious", "rules[0].topics[2]", "InsideAnotherAllow", inside),
        finding("Suspicious", "tests[0]", "Failed", failed),
    ];
    let tenant = |name: &str, devices: usize, policies: usize, findings: &[Value]| {
        json!({"namespace": name, "name": name, "published": true, "devices": devices, "policies": policies,
            "findings": findings, "notes": [], "analysisComplete": true})
    };
    let shared = json!({"tenants": ["acme/acme", "globex/globex"], "sharedWith": ["mqtt-globex", "mqtt-acme"],
        "filters": ["shared/#", "shared/x"], "witness": "shared/x"});
    let isolation = json!({"tenants": 2, "topics": 6, "filters": 4, "exceptions": [shared], "violations": []});
    let tenants = [tenant("acme", 3, 3, &acme), tenant("globex", 1, 1, &[])];
    json!({
        "formatVersion": 1,
        "summary": {"findings": 3, "violations": 0},
        "brokers": [{"broker": "default", "isolation": isolation, "tenants": tenants}],
        "findings": [],
    })
}

#[tokio::test]
async fn how_a_broker_learns_its_rules_reaches_the_bundle() {
    let desk = Desk::new();
    desk.standalone().await.program.terminate(SOON).await;
    let (state, config) = (desk.text("state"), desk.text("config.yaml"));
    let mut told = Vec::new();
    for delivery in ["Http", "Inline"] {
        fs::write(&config, CONFIG.replace("aclFiles: []", &format!("aclDelivery: {delivery}"))).unwrap();
        assert_eq!(desk.compile(&["--state-dir", &state, "--config", &config]).await.0.code(), Some(0));
        let index = fs::read(desk.path("out/default/acme.acme/index")).unwrap();
        told.push(decode_index(&index).unwrap().tenant.acl_delivery);
    }
    assert_eq!(told, [AclDelivery::Http, AclDelivery::Inline]);
    fs::write(&config, CONFIG.replace("aclFiles: []", "aclDelivery: inline")).unwrap();
    let (status, _, told) = desk.compile(&["--state-dir", &state, "--config", &config]).await;
    assert!(status.code() == Some(1) && told.contains("inline"), "{told}");
}
