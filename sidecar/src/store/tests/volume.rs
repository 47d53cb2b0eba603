//! A volume that fails, or takes its time, at each single write of an edit: what a restart serves is never older than what
//! was in force.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use tempfile::TempDir;

use super::*;

/// What becomes of the writes after the first few.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// This one fails, and all others succeed.
    Once(usize),
    /// This one and all that follow fail.
    From(usize),
    /// This one takes for ever, or until the fault is over.
    Hangs(usize),
    /// Each takes longer than an edit waits.
    Slow,
}

/// A real folder with faults.
struct Faulty {
    fault: Mutex<(Fault, usize)>,
    over: Condvar,
}

impl fmt::Debug for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Faulty")
    }
}

impl Faulty {
    fn new(fault: Fault) -> Arc<Self> {
        Arc::new(Self { fault: Mutex::new((fault, 0)), over: Condvar::new() })
    }

    fn set(&self, fault: Fault) {
        *self.fault.lock().unwrap() = (fault, 0);
        self.over.notify_all();
    }

    /// How many writes there were since the fault was set.
    fn writes(&self) -> usize {
        self.fault.lock().unwrap().1
    }

    fn write<T>(&self, write: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let mut state = self.fault.lock().unwrap();
        let number = state.1;
        state.1 += 1;
        match state.0 {
            Fault::Once(at) if at == number => return Err(io::ErrorKind::StorageFull.into()),
            Fault::From(at) if at <= number => return Err(io::ErrorKind::ReadOnlyFilesystem.into()),
            Fault::Hangs(at) if at == number => {
                state = self.over.wait_while(state, |(fault, _)| *fault == Fault::Hangs(at)).unwrap();
            }
            Fault::Slow => {
                drop(state);
                std::thread::sleep(Duration::from_millis(400));
                return write();
            }
            _ => {}
        }
        drop(state);
        write()
    }
}

impl Disk for Faulty {
    fn make_folder(&self, path: &Path) -> io::Result<()> {
        self.write(|| Volume.make_folder(path))
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        self.write(|| Volume.open(path))
    }

    fn overwrite(&self, file: &File, bytes: &[u8]) -> io::Result<()> {
        self.write(|| Volume.overwrite(file, bytes))
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.write(|| Volume.replace(path, bytes))
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        self.write(|| Volume.sync_folder(path))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.write(|| Volume.remove_file(path))
    }

    fn remove_folder(&self, path: &Path) -> io::Result<()> {
        self.write(|| Volume.remove_folder(path))
    }
}

/// A store that has saved revision 1 of two tenants, and its volume.
struct Running {
    folder: TempDir,
    disk: Arc<Faulty>,
    store: Arc<Store>,
}

impl Running {
    fn start() -> Self {
        let (folder, disk) = (tempfile::tempdir().unwrap(), Faulty::new(Fault::None));
        let store = open(disk.clone(), folder.path());
        let bundles = [(key("acme"), files("acme", "a", 1, 3)), (key("globex"), files("globex", "g", 1, 2))];
        assert!(store.replace(bundles.into_iter().collect()).is_empty());
        assert!(store.settle(PATIENT));
        Self { folder, disk, store }
    }

    /// What a process would serve that starts now, without a source, on a volume without faults.
    fn after_a_death(&self) -> Arc<Store> {
        let left = tempfile::tempdir().unwrap();
        copy(self.folder.path(), left.path());
        open(Arc::new(Volume), left.path())
    }
}

const PATIENT: Duration = Duration::from_secs(20);

fn open(disk: Arc<dyn Disk>, folder: &Path) -> Arc<Store> {
    Store::open_on(disk, folder, Clock::new(|| 0))
}

/// As it is at one moment: a file that goes meanwhile is gone.
fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            let _: io::Result<u64> = fs::copy(entry.path(), target);
        }
    }
}

/// An edit, and whether a store is as it was before.
type Edit = (fn(&Store), fn(&Store) -> bool);

const EDITS: [Edit; 2] = [
    (
        |store| _ = store.apply(&key("acme"), files("acme", "a", 2, 1)).unwrap(),
        |store| in_force(store, "acme").is_some_and(|revision| revision < 2),
    ),
    (|store| store.remove(&key("acme")), |store| in_force(store, "acme").is_some()),
];

/// The revision that requests see.
fn in_force(store: &Store, name: &str) -> Option<u64> {
    let snapshot = store.snapshot();
    let tenants = snapshot.index.as_ref()?;
    let tenant = tenants.tenants().find(|tenant| tenant.tenant().name == name)?;
    Some(tenant.revision())
}

fn writes_of(edit: fn(&Store)) -> usize {
    let running = Running::start();
    running.disk.set(Fault::None);
    edit(&running.store);
    assert!(running.store.settle(PATIENT));
    running.disk.writes()
}

#[test]
fn an_edit_is_in_force_at_once_and_a_restart_serves_nothing_older_whichever_write_fails() {
    for (edit, is_older) in EDITS {
        let writes = writes_of(edit);
        assert!((4..30).contains(&writes), "{writes} writes");
        for fault in (0..writes).flat_map(|at| [Fault::Once(at), Fault::From(at)]) {
            let running = Running::start();
            running.disk.set(fault);
            edit(&running.store);
            assert!(!is_older(&running.store), "{fault:?}: not in force");
            // One that dies at once, and one that has done all it could. A volume that takes neither mark nor removal
            // does not count while it is like that.
            for wait in [Duration::ZERO, Duration::from_millis(100)] {
                running.store.settle(wait);
                let after = if fault == Fault::From(0) {
                    open(running.disk.clone(), running.folder.path())
                } else {
                    running.after_a_death()
                };
                assert!(!is_older(&after), "{fault:?} after {wait:?}: older than what was in force");
            }
        }
    }
}

#[test]
fn what_could_not_be_saved_is_saved_when_the_volume_takes_it() {
    for (edit, is_older) in EDITS {
        let running = Running::start();
        running.disk.set(Fault::From(1));
        edit(&running.store);
        assert!(!running.store.settle(Duration::from_millis(300)));
        assert!(!running.after_a_death().is_ready(), "all is denied until the source answers");
        running.disk.set(Fault::None);
        assert!(running.store.settle(PATIENT));
        let after = running.after_a_death();
        assert!(after.is_ready() && !is_older(&after));
        assert_eq!(in_force(&after, "globex"), Some(1));
    }
}

#[test]
fn an_edit_waits_for_no_write_that_hangs() {
    for (edit, is_older) in EDITS {
        for at in 0..writes_of(edit) {
            let running = Running::start();
            running.disk.set(Fault::Hangs(at));
            // It would hang here.
            edit(&running.store);
            assert!(!is_older(&running.store), "{at}: not in force");
            // The first of them is the mark: what happens to the write of a process that is killed in it is not ours to say.
            if at > 0 {
                running.store.settle(Duration::from_millis(50));
                assert!(!is_older(&running.after_a_death()), "{at}: older than what was in force");
            }
            let slow = Faulty::new(Fault::Hangs(0));
            assert!(!open(slow.clone(), running.folder.path()).is_ready(), "{at}: a slow volume was trusted");
            slow.set(Fault::None);
            running.disk.set(Fault::None);
        }
    }
}

#[test]
fn the_mark_stays_set_on_a_volume_that_is_slow() {
    let running = Running::start();
    running.disk.set(Fault::Slow);
    let (edit, is_older) = EDITS[0];
    // Found out before there is any edit.
    let start = std::time::Instant::now();
    while running.after_a_death().is_ready() {
        assert!(start.elapsed() < PATIENT, "nobody looked at the volume");
        std::thread::sleep(Duration::from_millis(200));
    }
    edit(&running.store);
    assert!(!is_older(&running.store));
    assert!(!running.after_a_death().is_ready());
    // All is saved, and the mark stays.
    assert!(!running.store.settle(Duration::from_secs(8)));
    assert!(!running.after_a_death().is_ready());
    running.disk.set(Fault::None);
    assert!(running.store.settle(PATIENT));
    assert!(running.after_a_death().is_ready());
}

#[test]
fn a_volume_that_was_away_is_saved_to_anew() {
    let running = Running::start();
    let (edit, is_older) = EDITS[0];
    let away = tempfile::tempdir().unwrap();
    let old = away.path().join("old");
    fs::rename(running.folder.path(), &old).unwrap();
    edit(&running.store);
    assert!(!is_older(&running.store));
    assert!(running.store.settle(PATIENT), "a new folder is made, and filled");
    assert_eq!(in_force(&running.after_a_death(), "acme"), Some(2));
    // What was there before comes back: the old bundles, and a mark that this process had open.
    assert!(!open(Arc::new(Volume), &old).is_ready(), "older than what was in force");
    fs::remove_dir_all(running.folder.path()).unwrap();
    fs::rename(&old, running.folder.path()).unwrap();
    assert!(running.store.settle(Duration::ZERO), "not noticed yet");
    std::thread::sleep(Duration::from_secs(6));
    assert!(running.store.settle(PATIENT));
    assert_eq!(in_force(&running.after_a_death(), "acme"), Some(2));
}

#[test]
fn a_mark_is_clear_only_if_it_says_so() {
    for (text, counts) in [("no.\n", true), ("yes\n", false), ("", false), ("no.", false), ("no.\n\n", false)] {
        let running = Running::start();
        fs::write(running.folder.path().join("newer-than-saved"), text).unwrap();
        assert_eq!(running.after_a_death().is_ready(), counts, "{text:?}");
    }
    let running = Running::start();
    fs::remove_file(running.folder.path().join("newer-than-saved")).unwrap();
    assert!(!running.after_a_death().is_ready());
}
