//! ACL files for brokers that read files: when they are written, what stays, and what a disk that refuses does not stop.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use mqtt_access_core::acl_file::{File, Sections};
use mqtt_access_core::bundle::{Bundle, Device};
use mqtt_access_core::index::TenantIndex;
use mqtt_access_core::policy::{Effect, Rule, Topics};
use mqtt_access_sidecar::keep_acl_files;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use crate::fixture::{self, BRIEF, START, acme_key, globex_key};
use crate::server::Server;

/// Longer than it takes to notice that something is to be written.
const A_LOOK: Duration = Duration::from_millis(1500);

/// A sidecar with a folder of ACL files.
struct Desk {
    server: Server,
    volume: TempDir,
    keeping: JoinHandle<()>,
}

impl Desk {
    async fn start() -> Self {
        Self::on(tempfile::tempdir().unwrap()).await
    }

    /// A sidecar that has loaded nothing yet, on a volume with whatever is on it.
    async fn on(volume: TempDir) -> Self {
        let server = Server::empty().await;
        let keeping = tokio::spawn(keep_acl_files(Arc::clone(&server.store), volume.path().join("acl")));
        Self { server, volume, keeping }
    }

    async fn stop(self) -> TempDir {
        self.keeping.abort();
        self.server.stop().await;
        self.volume
    }

    fn path(&self, file: File) -> PathBuf {
        self.volume.path().join("acl").join(file.name())
    }

    /// `None` where there is none, or something else in its place.
    fn text(&self, file: File) -> Option<String> {
        let path = self.path(file);
        fs::symlink_metadata(&path).ok().filter(fs::Metadata::is_file)?;
        fs::read_to_string(path).ok()
    }

    /// Whether any of the files has this text.
    fn says(&self, text: &str) -> bool {
        File::ALL.iter().any(|file| self.text(*file).is_some_and(|found| found.contains(text)))
    }

    async fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !holds(self) {
            assert!(
                Instant::now() < deadline,
                "waited in vain for: {what}; {:?}",
                File::ALL.map(|file| self.text(file))
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Until all files say what these bundles say at a time.
    async fn until_they_say(&self, bundles: &[Bundle], now: i64) {
        let wanted = said(bundles, now);
        self.until("the files to say what is in service", |desk| File::ALL.map(|file| desk.text(file)) == wanted).await;
    }
}

/// What all files say of some bundles, by the code that the operator uses too.
fn said(bundles: &[Bundle], now: i64) -> [Option<String>; 3] {
    let sections = bundles.iter().map(|bundle| Sections::of(&TenantIndex::new(bundle.clone(), 1).unwrap(), now));
    let sections: Vec<Sections> = sections.collect();
    File::ALL.map(|file| Some(String::from_utf8(file.of(&sections).expose().to_vec()).unwrap()))
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn before_anything_is_loaded_there_are_files_that_deny_everything() {
    let desk = Desk::start().await;
    desk.until("all files", |desk| File::ALL.iter().all(|file| desk.path(*file).exists())).await;
    let rules = desk.text(File::Emqx).unwrap();
    assert!(rules.starts_with("%% no bundle was loaded yet") && rules.ends_with("{deny, all}.\n"), "{rules}");
    for file in File::ALL {
        assert_eq!(desk.text(file), Some(file.closed("no bundle was loaded yet, so everything is denied")));
    }
    let age = desk.server.metric("mqtt_access_sidecar_acl_files_age_seconds").await;
    assert!(age < -0.5, "they do not say what is in service: {age}");
}

#[tokio::test]
async fn what_is_in_service_is_written_and_readable_by_those_who_need_it() {
    let desk = Desk::start().await;
    desk.server.load_fixture();
    desk.until_they_say(&[fixture::acme(), fixture::globex()], START).await;
    assert!(desk.text(File::Emqx).unwrap().ends_with("{deny, all}.\n"));
    let modes = File::ALL.map(|file| mode(&desk.path(file)));
    assert_eq!(modes, [0o644, 0o644, 0o640]);
    let metric = async |name: &str| desk.server.metric(&format!("mqtt_access_sidecar_{name}")).await;
    assert!(metric("acl_files_written_total").await > 2.5);
    assert!(metric("acl_file_failures_total").await < 0.5);
    assert!(metric("acl_files_age_seconds").await.abs() < 0.5);
}

#[tokio::test]
async fn the_files_of_an_earlier_run_stay_until_bundles_are_loaded() {
    let first = Desk::start().await;
    first.server.load_fixture();
    first.until_they_say(&[fixture::acme(), fixture::globex()], START).await;
    let volume = first.stop().await;
    let kept = volume.path().join("acl").join(File::Emqx.name());
    fs::write(&kept, "%% last good\n{deny, all}.\n").unwrap();
    let second = Desk::on(volume).await;
    tokio::time::sleep(A_LOOK).await;
    assert_eq!(second.text(File::Emqx).as_deref(), Some("%% last good\n{deny, all}.\n"));
    // A bundle alone is not all there is: the others' would be missing.
    second.server.store.apply(&acme_key(), fixture::files(&fixture::acme(), 10)).unwrap();
    tokio::time::sleep(A_LOOK).await;
    assert_eq!(second.text(File::Emqx).as_deref(), Some("%% last good\n{deny, all}.\n"));
    second.server.load_fixture();
    second.until_they_say(&[fixture::acme(), fixture::globex()], START).await;
}

#[tokio::test]
async fn a_file_that_says_the_same_is_not_touched() {
    let desk = Desk::start().await;
    desk.server.load_fixture();
    desk.until_they_say(&[fixture::acme(), fixture::globex()], START).await;
    let inodes = |desk: &Desk| File::ALL.map(|file| fs::metadata(desk.path(file)).unwrap().ino());
    let before = inodes(&desk);
    // Another revision of the same bundle, and the same files found by another run.
    desk.server.serve(&fixture::acme(), 11);
    tokio::time::sleep(A_LOOK).await;
    assert_eq!(inodes(&desk), before);
    let again = Desk::on(desk.stop().await).await;
    again.server.load_fixture();
    tokio::time::sleep(A_LOOK).await;
    assert_eq!(inodes(&again), before);
    assert!(again.server.metric("mqtt_access_sidecar_acl_files_written_total").await < 0.5);
}

#[tokio::test]
async fn what_somebody_changed_or_removed_is_written_again() {
    let desk = Desk::start().await;
    desk.server.load_fixture();
    let bundles = [fixture::acme(), fixture::globex()];
    desk.until_they_say(&bundles, START).await;
    fs::write(desk.path(File::Emqx), "{allow, all}.\n").unwrap();
    fs::remove_file(desk.path(File::MosquittoAcl)).unwrap();
    desk.until_they_say(&bundles, START).await;
}

/// A broker may write to its volume: it must neither hold up its sidecar nor lead it elsewhere.
#[tokio::test]
async fn whatever_stands_in_the_place_of_a_file_is_replaced_unread() {
    let desk = Desk::start().await;
    desk.server.load_fixture();
    let bundles = [fixture::acme(), fixture::globex()];
    desk.until_they_say(&bundles, START).await;
    let elsewhere = desk.volume.path().join("elsewhere");
    fs::write(&elsewhere, "not ours").unwrap();
    for file in File::ALL {
        fs::remove_file(desk.path(file)).unwrap();
    }
    // A pipe that nobody writes to, a file without an end, and another file, also where the new one is put first.
    assert!(std::process::Command::new("mkfifo").arg(desk.path(File::Emqx)).status().unwrap().success());
    symlink("/dev/zero", desk.path(File::MosquittoAcl)).unwrap();
    symlink(&elsewhere, desk.path(File::MosquittoPasswords)).unwrap();
    symlink(&elsewhere, desk.path(File::Emqx).with_extension("new")).unwrap();
    let is_file = |file: &File| fs::symlink_metadata(desk.path(*file)).is_ok_and(|found| found.is_file());
    desk.until("files in their places", |_| File::ALL.iter().all(is_file)).await;
    desk.until_they_say(&bundles, START).await;
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "not ours");
}

#[tokio::test]
async fn a_credential_that_expires_and_a_tenant_that_goes_leave_the_files() {
    let desk = Desk::start().await;
    desk.server.load_fixture();
    desk.until_they_say(&[fixture::acme(), fixture::globex()], START).await;
    assert!(desk.says("user DeviceCredential|DC.2|mqtt-acme\n"), "the one that will expire");
    desk.server.now.store(BRIEF, Relaxed);
    desk.until_they_say(&[fixture::acme(), fixture::globex()], BRIEF).await;
    assert!(!desk.says("user DeviceCredential|DC.2|mqtt-acme\n"), "the one that has expired");
    assert!(desk.says("user DeviceCredential|DC.1|mqtt-globex\n"));
    desk.server.store.remove(&globex_key());
    desk.until_they_say(&[fixture::acme()], BRIEF).await;
    assert!(!desk.says("globex"));
}

/// `acme` with so many topics and devices that it takes long to work out what it says.
fn slow_acme() -> Bundle {
    let mut bundle = fixture::acme();
    let dev1 = bundle.devices[0].clone();
    let device = |number: usize| Device {
        name: format!("slow{number}"),
        client_id: format!("GID_acme@@@slow{number}").as_str().into(),
        key_id: format!("DC.slow{number}"),
        ..dev1.clone()
    };
    bundle.devices.extend((0..3000).map(device));
    let topics = (0..6000).map(|number| format!("acme/denied/{number}/x")).collect();
    let allow = bundle.policies[0].rules[0].clone();
    bundle.policies[0].rules.push(Rule { index: 2, effect: Effect::Deny, topics: Topics::Listed(topics), ..allow });
    bundle
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_whose_rules_take_long_holds_up_nobody_else_and_its_old_section_stays() {
    let desk = Desk::start().await;
    desk.server.load_fixture();
    desk.until_they_say(&[fixture::acme(), fixture::globex()], START).await;
    desk.server.serve(&slow_acme(), 11);
    // Meanwhile a device of the other tenant is disabled.
    let mut globex = fixture::globex();
    globex.devices[0].disabled = true;
    desk.server.store.apply(&globex_key(), fixture::files(&globex, 11)).unwrap();
    let acl = |desk: &Desk| desk.text(File::MosquittoAcl).unwrap();
    desk.until("the neighbour's revocation", |desk| !acl(desk).contains("|mqtt-globex\n")).await;
    let text = acl(&desk);
    assert!(!text.contains("slow2999"), "what takes long was done too soon to show anything");
    assert!(text.contains("user DeviceCredential|DC.1|mqtt-acme\n"), "the old section stays: {text}");
    // A suspension waits for nothing, not even for what the same tenant has begun.
    let mut suspended = slow_acme();
    suspended.tenant.suspended = true;
    desk.server.serve(&suspended, 12);
    desk.until_they_say(&[suspended, globex], START).await;
    assert!(!acl(&desk).contains("slow"));
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_start_a_tenant_whose_rules_take_long_is_closed_and_the_others_are_served() {
    let desk = Desk::start().await;
    desk.server.store.replace(
        [(acme_key(), fixture::files(&slow_acme(), 10)), (globex_key(), fixture::files(&fixture::globex(), 10))].into(),
    );
    desk.until("the other tenant", |desk| desk.says("user DeviceCredential|DC.1|mqtt-globex\n")).await;
    let text = desk.text(File::Emqx).unwrap();
    let closed = "%% shop/acme\n%% everything is denied? its rules are being worked out\n{deny, {client_attr, <<\"tenant_id\">>, \
                  <<\"shop.acme\">>}, all, all}.\n";
    assert!(text.contains(closed) && !text.contains("slow"), "{text}");
    assert_eq!(desk.server.metric("mqtt_access_sidecar_acl_sections_closed").await.to_string(), "1");
    // It goes while it is worked on, and nothing of it comes after.
    desk.server.store.remove(&acme_key());
    desk.until_they_say(&[fixture::globex()], START).await;
}

#[tokio::test]
async fn a_volume_that_refuses_keeps_the_old_file_until_it_takes_the_new_one() {
    let desk = Desk::start().await;
    desk.until("all files", |desk| File::ALL.iter().all(|file| desk.path(*file).exists())).await;
    // Where the new file would be written there is a folder: refused to root as well.
    let blocked = desk.path(File::Emqx).with_extension("new");
    fs::create_dir(&blocked).unwrap();
    let before = desk.text(File::Emqx);
    desk.server.load_fixture();
    let [_, acl, passwords] = said(&[fixture::acme(), fixture::globex()], START);
    desk.until("the files that can be written", |desk| {
        [desk.text(File::MosquittoAcl), desk.text(File::MosquittoPasswords)] == [acl.clone(), passwords.clone()]
    })
    .await;
    tokio::time::sleep(A_LOOK).await;
    assert_eq!(desk.text(File::Emqx), before);
    assert!(desk.server.metric("mqtt_access_sidecar_acl_file_failures_total").await > 0.5);
    assert!(desk.server.metric("mqtt_access_sidecar_acl_files_age_seconds").await < -0.5);
    fs::remove_dir(&blocked).unwrap();
    desk.until_they_say(&[fixture::acme(), fixture::globex()], START).await;
}
