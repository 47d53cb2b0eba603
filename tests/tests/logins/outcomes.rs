//! Every way to log in with every outcome that can happen to it.

use mqtt_access_core::bundle::{ClientIds, KeyUse};
use mqtt_access_core::client::{Mode, TICKET_ATTRIBUTE};
use mqtt_access_core::credential::MacAlgorithm;
use mqtt_access_core::verdict::Reason;
use mqtt_access_tests::two_tenants::NOW;

use crate::attempt::{Attempt, WAYS, Way};

/// A change of the world or of the client, and what each way of [`WAYS`] then comes to; `None` is a login.
type Row = (&'static str, fn(&mut Attempt), [Option<Reason>; 9]);

use Reason::{
    ClientIdInvalid as INVALID, ClientIdMismatch as MISMATCH, ClientIdOutsidePrefixes as OUTSIDE,
    ClientIdTaken as TAKEN, Disabled as DISABLED, Expired as EXPIRED, KeyWithoutSecret as NO_SECRET,
    ModeNotAccepted as NO_MODE, Suspended as SUSPENDED, TokenClientIdMismatch as FOREIGN, TokenExpired as OVER,
    TokenMalformed as NO_TOKEN, TokenSignatureInvalid as UNSIGNED, UnknownClientId as NOBODY,
    UnknownInstance as NO_INSTANCE, UnknownKey as UNKNOWN, UseNotAllowed as NO_USE, WrongProof as WRONG,
};

/// As `Some`, to keep the table narrow.
const fn all(reason: Reason) -> [Option<Reason>; 9] {
    [Some(reason); 9]
}

const OK: Option<Reason> = None;

#[rustfmt::skip]
const ROWS: &[Row] = &[
    // Signature, DeviceCredential, Token, BoundToken, Scram, Fast, Slow, PrefixFast, PrefixScram
    ("nothing is changed", |_| {}, [OK; 9]),
    ("HMAC-SHA256", |a| a.algorithm = MacAlgorithm::HmacSha256, [OK; 9]),
    ("HMAC-SHA1, which is not accepted", |a| a.acme.tenant.signature_algorithms = vec![MacAlgorithm::HmacSha256],
        [Some(WRONG), Some(WRONG), OK, OK, OK, OK, OK, OK, OK]),
    // SCRAM: the broker checks the proof, so every secret gives a login that only the right one can use.
    ("another secret", |a| a.secret = "another".into(),
        [Some(WRONG), Some(WRONG), Some(UNSIGNED), Some(UNSIGNED), OK, Some(WRONG), Some(WRONG), Some(WRONG), OK]),
    ("no password", |a| a.password = Some(Vec::new()),
        [Some(WRONG), Some(WRONG), Some(NO_TOKEN), Some(NO_TOKEN), OK, Some(WRONG), Some(WRONG), Some(WRONG), OK]),
    ("a password of NULs", |a| a.password = Some(vec![0; 28]),
        [Some(WRONG), Some(WRONG), Some(NO_TOKEN), Some(NO_TOKEN), OK, Some(WRONG), Some(WRONG), Some(WRONG), OK]),
    ("a password of 64 KiB that is not UTF-8", |a| a.password = Some(vec![0xFF; 65_536]),
        [Some(WRONG), Some(WRONG), Some(NO_TOKEN), Some(NO_TOKEN), OK, Some(WRONG), Some(WRONG), Some(WRONG), OK]),
    ("another key or name", |a| a.name = "nobody".into(), all(UNKNOWN)),
    ("an unknown instance", |a| a.instance = "mqtt-nobody".into(),
        [Some(NO_INSTANCE), Some(NO_INSTANCE), Some(NO_INSTANCE), Some(NO_INSTANCE), OK, OK, OK, OK, OK]),
    ("another tenant's instance", |a| a.instance = "mqtt-globex".into(),
        [Some(WRONG), Some(WRONG), Some(UNSIGNED), Some(UNSIGNED), OK, OK, OK, OK, OK]),
    ("a client ID that nobody owns", |a| a.client_id = "GID_nobody".into(),
        [Some(OUTSIDE), Some(OUTSIDE), Some(OUTSIDE), Some(FOREIGN), Some(NOBODY), Some(NOBODY), Some(NOBODY), Some(NOBODY), Some(NOBODY)]),
    // A login name is looked up where the client ID belongs: globex has `ada` and `fast` too, with other passwords.
    ("another tenant's client ID", |a| a.client_id = "GID_globex@@@dev2".into(),
        [Some(OUTSIDE), Some(OUTSIDE), Some(OUTSIDE), Some(FOREIGN), Some(UNKNOWN), Some(WRONG), Some(UNKNOWN), Some(WRONG), Some(MISMATCH)]),
    ("no client ID", |a| a.client_id.clear(),
        [Some(INVALID), Some(INVALID), Some(INVALID), Some(INVALID), Some(NOBODY), Some(NOBODY), Some(NOBODY), Some(NOBODY), Some(NOBODY)]),
    ("a client ID with a space", |a| a.client_id.push_str(" x"),
        [Some(INVALID), Some(INVALID), Some(INVALID), Some(INVALID), Some(OUTSIDE), Some(OUTSIDE), Some(OUTSIDE), Some(OUTSIDE), Some(OUTSIDE)]),
    ("a client ID that is too long", |a| a.client_id.push_str(&"x".repeat(128)), all(INVALID)),
    ("a client ID of 64 KiB", |a| a.client_id.push_str(&"x".repeat(65_536)), all(INVALID)),
    ("a client ID that another credential has", |a| a.client_id = "GID_acme@@@ada-reserved".into(),
        [Some(TAKEN), Some(MISMATCH), Some(TAKEN), Some(FOREIGN), Some(MISMATCH), Some(MISMATCH), Some(MISMATCH), Some(TAKEN), Some(TAKEN)]),
    ("the same, of a disabled credential", |a| {
        a.client_id = "GID_acme@@@ada-reserved".into();
        a.acme.devices.last_mut().unwrap().disabled = true;
    }, [Some(TAKEN), Some(MISMATCH), Some(TAKEN), Some(FOREIGN), Some(MISMATCH), Some(MISMATCH), Some(MISMATCH), Some(TAKEN), Some(TAKEN)]),
    ("a client ID of nobody in particular", |a| a.client_id = "GID_acme@@@new".into(),
        [OK, Some(MISMATCH), OK, Some(FOREIGN), Some(MISMATCH), Some(MISMATCH), Some(MISMATCH), Some(MISMATCH), Some(MISMATCH)]),
    ("a client ID of one's own tenant in capitals", |a| a.client_id = a.client_id.to_uppercase(),
        [Some(OUTSIDE), Some(OUTSIDE), Some(OUTSIDE), Some(FOREIGN), Some(NOBODY), Some(NOBODY), Some(NOBODY), Some(NOBODY), Some(NOBODY)]),
    ("the prefix itself", |a| a.client_id = "GID_acme@@@ada-".into(),
        [OK, Some(MISMATCH), OK, Some(FOREIGN), Some(MISMATCH), Some(MISMATCH), Some(MISMATCH), OK, OK]),
    ("the tenant is suspended", |a| a.acme.tenant.suspended = true, all(SUSPENDED)),
    ("the mode is not accepted", |a| { let mode = a.way.mode(); a.acme.tenant.modes.retain(|known| *known != mode); }, all(NO_MODE)),
    ("no other mode is accepted", |a| a.acme.tenant.modes = vec![a.way.mode()], [OK; 9]),
    ("the key is disabled", |a| { a.key().disabled = true; a.device().into_iter().for_each(|it| it.disabled = true); }, all(DISABLED)),
    ("the credential expired now", |a| a.device().into_iter().for_each(|it| it.expires_at = Some(NOW)),
        [OK, Some(EXPIRED), OK, OK, Some(EXPIRED), Some(EXPIRED), Some(EXPIRED), Some(EXPIRED), Some(EXPIRED)]),
    ("the credential has a second left", |a| a.device().into_iter().for_each(|it| it.expires_at = Some(NOW + 1)), [OK; 9]),
    ("the secret is gone", |a| {
        a.key().secret = None;
        if let Some(device) = a.device() {
            device.secret = None;
            if let Some(login) = &mut device.login { (login.scram, login.password) = (None, None); }
        }
    }, all(NO_SECRET)),
    ("the secret is empty", |a| {
        a.key().secret = Some("".into());
        a.device().into_iter().for_each(|it| it.secret = Some("".into()));
        a.secret.clear();
        a.password = Some(Vec::new());
    }, [Some(NO_SECRET), Some(NO_SECRET), Some(NO_SECRET), Some(NO_SECRET), OK, Some(WRONG), Some(WRONG), Some(WRONG), OK]),
    ("there is no SCRAM", |a| a.acme.tenant.scram = None,
        [OK, OK, OK, OK, Some(NO_SECRET), OK, OK, OK, Some(NO_SECRET)]),
    ("a key that may only connect", |a| a.key().uses = [KeyUse::Connect].into(), [OK; 9]),
    ("a key that may only issue tokens", |a| a.key().uses = [KeyUse::IssueTokens].into(),
        [Some(NO_USE), OK, OK, OK, OK, OK, OK, OK, OK]),
    ("a key that may only manage devices", |a| a.key().uses = [KeyUse::ManageDevices].into(),
        [Some(NO_USE), OK, Some(NO_USE), Some(NO_USE), OK, OK, OK, OK, OK]),
    ("a key that may do nothing", |a| a.key().uses.clear(),
        [Some(NO_USE), OK, Some(NO_USE), Some(NO_USE), OK, OK, OK, OK, OK]),
    ("another key of the tenant", |a| { if a.way.uses_access_key() { a.name = "AK.2".into(); } },
        [Some(WRONG), OK, Some(UNSIGNED), Some(UNSIGNED), OK, OK, OK, OK, OK]),
    ("the token is an hour old", |a| a.now += 3600, [OK, OK, Some(OVER), Some(OVER), OK, OK, OK, OK, OK]),
    ("the tenant is gone", |a| a.acme.tenant.claims.instance_id = "mqtt-new".into(),
        [Some(NO_INSTANCE), Some(NO_INSTANCE), Some(NO_INSTANCE), Some(NO_INSTANCE), OK, OK, OK, OK, OK]),
    ("another tenant holds the client IDs", |a| {
        a.globex.tenant.claims.client_id_prefixes.push("GID_acme".to_owned());
        a.globex.tenant.created = 0;
    }, [Some(Reason::ClaimConflict), Some(Reason::ClaimConflict), Some(Reason::ClaimConflict), Some(Reason::ClaimConflict),
        Some(UNKNOWN), Some(WRONG), Some(UNKNOWN), Some(WRONG), Some(MISMATCH)]),
    ("another tenant asks for the client IDs", |a| a.globex.tenant.claims.client_id_prefixes.push("GID_acme".to_owned()), [OK; 9]),
];

#[test]
fn each_way_to_log_in_comes_to_what_the_table_says() {
    for (case, change, expected) in ROWS {
        for (way, expected) in WAYS.into_iter().zip(expected) {
            let mut attempt = way.attempt();
            change(&mut attempt);
            let answer = attempt.log_in();
            // The code stands beside the refusals of token clients, and nowhere else.
            let code = |reason: Reason| (way.mode() == Mode::Token).then(|| code(reason));
            let expected = expected.map(|reason| (reason, code(reason)));
            assert_eq!(answer.err(), expected, "{way:?}: {case}");
        }
    }
}

/// ApsaraMQ's codes, as the reasons of this table are to be told.
fn code(reason: Reason) -> i8 {
    match reason {
        NO_TOKEN | FOREIGN => 1,
        OVER => 2,
        UNSIGNED => 8,
        _ => -1,
    }
}

#[test]
fn an_accepted_client_has_these_attributes() {
    for way in WAYS {
        let login = way.attempt().log_in().unwrap();
        let mut expected = vec![
            ("auth_mode", way.mode().as_str()),
            ("instance_id", "mqtt-acme"),
            ("plant", "north"),
            ("tenant_id", "shop.acme"),
        ];
        let attempt = way.attempt();
        let (_, device) = attempt.client_id.split_once("@@@").unwrap();
        if way.proves_client_id() {
            expected.extend([("client_id", &*attempt.client_id), ("device_id", device), ("group_id", "GID_acme")]);
        }
        expected.sort_unstable();
        let found = login.attributes().iter().filter(|(name, _)| *name != TICKET_ATTRIBUTE);
        let found: Vec<(&str, &str)> = found.map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(found, expected, "{way:?}");
        assert_eq!(login.attributes()[TICKET_ATTRIBUTE], login.ticket());
        assert!(!format!("{login:?}").contains(login.ticket()), "{way:?}");
    }
}

#[test]
fn a_session_ends_with_whatever_ends_first() {
    for way in WAYS {
        let is_token = way.mode() == Mode::Token;
        assert_eq!(way.attempt().log_in().unwrap().expires_at(), is_token.then_some(NOW + 3600), "{way:?}");
        let mut attempt = way.attempt();
        attempt.device().into_iter().for_each(|device| device.expires_at = Some(NOW + 7));
        let expected = if is_token { Some(NOW + 3600) } else { (way != Way::Signature).then_some(NOW + 7) };
        assert_eq!(attempt.log_in().unwrap().expires_at(), expected, "{way:?}");
    }
}

#[test]
fn an_empty_prefix_opens_every_client_id_of_the_tenant_and_no_other() {
    let mut attempt = Way::PrefixFast.attempt();
    attempt.device().unwrap().client_id = ClientIds::Prefix { prefix: String::new() };
    for (client_id, expected) in
        [("GID_acme@@@x", None), ("GID_acme@@@dev1", Some(TAKEN)), ("GID_globex@@@x", Some(WRONG)), ("x", Some(NOBODY))]
    {
        let found = Attempt { client_id: client_id.to_owned(), ..attempt.clone() }.log_in();
        assert_eq!(found.err().map(|(reason, _)| reason), expected, "{client_id}");
    }
}
