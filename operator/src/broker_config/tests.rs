use std::fs;

use tempfile::TempDir;

use super::*;
use crate::config::Config;

/// One broker as a configuration file has it.
fn broker(more: &str) -> Broker {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("config.yaml");
    fs::write(&file, format!("brokers: [{{name: b, bundleNamespace: n, tenantNamespaceSelector: {{}}{more}}}]\n"))
        .unwrap();
    Config::load(Some(&file)).unwrap().brokers.remove(0)
}

fn with(software: Software, more: &str) -> Result<String, BrokerConfigError> {
    software.config(Settings { broker: Some(&broker(more)), ..Settings::default() })
}

#[test]
fn nothing_is_left_to_fill_in() {
    for &software in Software::value_variants() {
        let text = software.config(Settings::default()).unwrap();
        assert!(!text.contains('@'), "{software:?}: {text}");
        assert!(text.ends_with('\n') && !text.ends_with("\n\n"), "{software:?}: {text}");
        // What a user must know before pasting stands above the settings.
        assert!(text.starts_with("# "), "{software:?}: {text}");
    }
}

/// The last column of facts about brokers: what each must be told, because its own default is open.
#[test]
fn every_broker_is_told_to_refuse_whom_the_sidecar_does_not_let_in() {
    for (software, needed) in [
        (Software::Rabbitmq, &["mqtt.allow_anonymous = false", "auth_backends.1 = http", "http_method = post"][..]),
        (Software::Rabbitmq, &["3.10 and 3.11", ":8080/rabbitmq/user\n", ":8080/rabbitmq/resource\n"]),
        (Software::Rabbitmq4, &["3.12 and later", ":8080/rabbitmq/v4/user\n", ":8080/rabbitmq/v4/resource\n"]),
        (
            Software::Mosquitto,
            &["allow_anonymous false", "use_username_as_clientid true", "acl_file /mqtt-access/acl/"],
        ),
        (
            Software::Emqx5,
            &["no_match = deny", "type = http", "/emqx/v5/authz", "ticket = \"${client_attrs.mqa_ticket}\""],
        ),
        (Software::Emqx6, &["no_match = deny", "/emqx/v6/authn", "authentication_settings.node_cache.enable = false"]),
    ] {
        let text = software.config(Settings::default()).unwrap();
        needed.iter().for_each(|needed| assert!(text.contains(needed), "{needed} in {text}"));
    }
    // EMQX 5.8 does not know them and would not start.
    assert!(!Software::Emqx5.config(Settings::default()).unwrap().contains("node_cache"));
}

#[test]
fn what_depends_on_the_broker_comes_from_the_operators_configuration() {
    assert_eq!(with(Software::Emqx5, ""), Software::Emqx5.config(Settings::default()));
    let stock = with(Software::Emqx6, "").unwrap();
    assert_eq!(stock, Software::Emqx6.config(Settings::default()).unwrap());
    let scram = |text: &str, line: &str| assert!(text.lines().any(|found| found.trim().starts_with(line)), "{text}");
    scram(&stock, "algorithm = sha256 ");
    scram(&stock, "iteration_count = 4096");
    let other = with(Software::Emqx6, ", scram: {algorithm: Sha512, iterations: 10000}").unwrap();
    scram(&other, "algorithm = sha512 ");
    scram(&other, "iteration_count = 10000");
    let by_file = with(Software::Emqx5, ", aclFiles: [Emqx]").unwrap();
    assert!(by_file.contains("type = file") && by_file.contains("path = \"/mqtt-access/acl/acl.conf\""), "{by_file}");
    assert!(by_file.contains("no_match = deny") && !by_file.contains("/authz"), "{by_file}");
}

#[test]
fn sessions_end_as_the_operators_configuration_says() {
    for (software, more, line) in [
        (Software::Rabbitmq, "", "mqtt.subscription_ttl = 7200000"),
        (Software::Mosquitto, ", aclFiles: [Mosquitto]", "persistent_client_expiration 2h"),
        (Software::Emqx5, "", "mqtt.session_expiry_interval = 7200s"),
        (Software::Emqx6, "", "mqtt.session_expiry_interval = 7200s"),
    ] {
        let with_expiry = |expiry: &str| with(software, &format!("{more}, sessionExpiry: {expiry}")).unwrap();
        let text = with_expiry("2h");
        assert!(text.lines().any(|found| found == line), "{text}");
        assert!(!text.contains('@') && text.starts_with(&with(software, more).unwrap()), "{text}");
        assert_eq!(with_expiry("0"), with(software, more).unwrap());
    }
    // Never later than client IDs are free again.
    let mosquitto = |expiry| with(Software::Mosquitto, &format!(", aclFiles: [Mosquitto], sessionExpiry: {expiry}"));
    assert!(mosquitto("119m").unwrap().contains("\npersistent_client_expiration 1h\n"));
    assert!(matches!(mosquitto("59m"), Err(BrokerConfigError::SessionExpiry(_, name, _)) if name == "b"));
}

#[test]
fn settings_that_another_setting_makes_unsafe_are_not_printed() {
    let name = || "b".to_owned();
    for more in ["", ", aclFiles: []", ", aclFiles: [Emqx]"] {
        assert_eq!(with(Software::Mosquitto, more), Err(BrokerConfigError::NeedsFiles(name())), "{more}");
    }
    assert!(with(Software::Mosquitto, ", aclFiles: [Mosquitto]").is_ok());
    for software in [Software::Rabbitmq, Software::Rabbitmq4] {
        assert_eq!(with(software, ", allowDollarTopics: true"), Err(BrokerConfigError::DollarTopics(name())));
    }
    assert!(with(Software::Emqx5, ", allowDollarTopics: true").is_ok());
    for (software, more) in [(Software::Rabbitmq, ""), (Software::Mosquitto, ", aclFiles: [Mosquitto]")] {
        let refused = with(software, &format!(", willGraceSeconds: 1{more}"));
        assert_eq!(refused, Err(BrokerConfigError::WillGrace(name())), "{software:?}");
    }
    assert!(with(Software::Emqx6, ", willGraceSeconds: 1").is_ok());
}

#[test]
fn the_sidecar_is_asked_on_loopback_only() {
    let asked = |sidecar| Software::Rabbitmq.config(Settings { sidecar: Some(sidecar), ..Settings::default() });
    assert!(asked("http://127.0.0.1:18080").unwrap().contains(" = http://127.0.0.1:18080/rabbitmq/user\n"));
    assert!(asked("http://[::1]:8080").is_ok());
    for wrong in [
        "127.0.0.1:8080",
        "https://127.0.0.1:8080",
        "http://10.0.0.1:8080",
        "http://127.0.0.1:8080/",
        "http://localhost:8080",
    ] {
        assert_eq!(asked(wrong), Err(BrokerConfigError::Sidecar(wrong.to_owned())));
    }
}

#[test]
fn a_folder_stays_within_its_line() {
    let read = |acl_dir| Software::Mosquitto.config(Settings { acl_dir: Some(acl_dir), ..Settings::default() });
    assert!(read("/mosquitto/acl").unwrap().contains("acl_file /mosquitto/acl/mosquitto.acl\n"));
    for wrong in ["", "/", "acl", "/a b", "/a\nallow_anonymous true", "/a\"", "/a/"] {
        assert_eq!(read(wrong), Err(BrokerConfigError::AclDir(wrong.to_owned())));
    }
}

#[test]
fn an_option_without_any_effect_is_refused() {
    let config =
        |software: Software, sidecar, acl_dir| software.config(Settings { sidecar, acl_dir, ..Settings::default() });
    let unused = |option| Err(BrokerConfigError::Unused(option));
    assert_eq!(config(Software::Mosquitto, Some(SIDECAR), None), unused("--sidecar"));
    assert_eq!(config(Software::Emqx5, None, Some(ACL_DIR)), unused("--acl-dir"));
    for software in [Software::Rabbitmq, Software::Mosquitto, Software::Emqx6] {
        let edition = Some(Edition::Enterprise);
        assert_eq!(software.config(Settings { edition, ..Settings::default() }), unused("--edition"), "{software:?}");
    }
}

/// The open-source EMQX 5.8 stops at its start when it finds SCRAM over HTTP in its configuration.
#[test]
fn scram_is_printed_only_for_editions_that_have_it() {
    let emqx_5 = |edition| Software::Emqx5.config(Settings { edition, ..Settings::default() }).unwrap();
    let scram = "mechanism = scram";
    assert!(!emqx_5(None).contains(scram));
    assert_eq!(emqx_5(None), emqx_5(Some(Edition::OpenSource)));
    assert!(emqx_5(Some(Edition::Enterprise)).contains(scram));
    assert!(Software::Emqx6.config(Settings::default()).unwrap().contains(scram));
}

/// With the settings for EMQX 5 a device that was disabled could log in to EMQX 6.2 for another minute.
#[test]
fn no_settings_claim_to_be_for_another_major_version() {
    for edition in [None, Some(Edition::OpenSource), Some(Edition::Enterprise)] {
        let text = Software::Emqx5.config(Settings { edition, ..Settings::default() }).unwrap();
        assert!(!text.contains("EMQX 6") && !text.contains("or 6"), "{text}");
    }
    assert!(Software::Emqx6.config(Settings::default()).unwrap().starts_with("# emqx.conf of EMQX 6."));
}
