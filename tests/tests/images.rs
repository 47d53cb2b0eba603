//! The images that `images/build` wrote: what is in them, and that it runs where there is nothing else.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a panic is a failed test")]

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use mqtt_access_tests::certificates::Authority;
use mqtt_access_tests::program::guarded;
use mqtt_access_tests::{Program, tools};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const PROGRAMS: [&str; 2] = ["mqtt-access-operator", "mqtt-access-sidecar"];
const NOBODY: &str = "65532";

/// An archive laid out as `docker load` reads it.
struct Image {
    archive: PathBuf,
    folder: TempDir,
    manifest: Value,
    config: Value,
}

impl Image {
    fn unpack(program: &str) -> Self {
        let archive = tools::image(program);
        let folder = tempfile::tempdir().unwrap();
        untar(&archive, folder.path());
        let manifest: Value = read_json(&folder.path().join("manifest.json"));
        let config = read_json(&folder.path().join(text(&manifest[0]["Config"])));
        Self { archive, folder, manifest, config }
    }

    fn file(&self, name: &Value) -> PathBuf {
        self.folder.path().join(text(name))
    }

    /// A folder with what the only layer holds: the root of a container that was given nothing more.
    fn root(&self) -> TempDir {
        let root = tempfile::tempdir().unwrap();
        untar(&self.file(&self.manifest[0]["Layers"][0]), root.path());
        root
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("not a string: {value}"))
}

fn read_json(file: &Path) -> Value {
    serde_json::from_slice(&fs::read(file).unwrap()).unwrap()
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

fn untar(archive: &Path, folder: &Path) {
    run(Command::new("tar").arg("-xf").arg(archive).arg("-C").arg(folder));
}

fn digest(file: &Path) -> String {
    let digest = Sha256::digest(fs::read(file).unwrap());
    digest.iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
}

/// `program` as a container runs it: the image's root, its user, nothing of the developer's environment.
fn contained(program: &str, root: &Path) -> Command {
    let mut command = guarded("unshare");
    command
        .args(["--map-user", NOBODY, "--map-group", NOBODY, "--root"])
        .arg(root)
        .args(["--", &format!("/{program}")]);
    command
}

#[test]
fn an_image_says_truly_what_it_is_made_of() {
    for program in PROGRAMS {
        let image = Image::unpack(program);
        let (manifest, config) = (&image.manifest[0], &image.config);
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(manifest["RepoTags"], serde_json::json!([format!("{program}:{version}")]));
        assert_eq!(text(&manifest["Config"]), format!("{}.json", digest(&image.file(&manifest["Config"]))));
        assert_eq!(manifest["Layers"].as_array().map(Vec::len), Some(1));
        let layer = format!("sha256:{}", digest(&image.file(&manifest["Layers"][0])));
        assert_eq!(config["rootfs"], serde_json::json!({"type": "layers", "diff_ids": [layer]}));
        assert_eq!(config["config"]["User"], format!("{NOBODY}:{NOBODY}"));
        assert_eq!(config["config"]["Entrypoint"], serde_json::json!([format!("/{program}")]));
        let labels = &config["config"]["Labels"];
        assert_eq!(labels["org.opencontainers.image.title"], program);
        assert_eq!(labels["org.opencontainers.image.version"], version);
        assert_eq!(labels["org.opencontainers.image.licenses"], "Apache-2.0");
        let size = fs::metadata(&image.archive).unwrap().len();
        assert!(size < 20_000_000, "{program} has {size} bytes");
    }
}

#[test]
fn an_image_holds_one_static_binary_and_nothing_else() {
    for program in PROGRAMS {
        let root = Image::unpack(program).root();
        let names: Vec<_> = fs::read_dir(root.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [program]);
        let linked = run(Command::new("ldd").arg(root.path().join(program)));
        assert_eq!(String::from_utf8_lossy(&linked.stdout).trim(), "statically linked", "{program}");
    }
}

#[test]
fn the_programs_run_without_any_other_file() {
    let root = Image::unpack("mqtt-access-operator").root();
    let crds = run(contained("mqtt-access-operator", root.path()).arg("crds"));
    let ours = run(Command::new(tools::workspace("mqtt-access-operator")).arg("crds"));
    assert!(crds.stdout == ours.stdout, "the image prints other CRDs than this build: run images/build");
    let root = Image::unpack("mqtt-access-sidecar").root();
    let help = run(contained("mqtt-access-sidecar", root.path()).args(["run", "--help"]));
    assert!(String::from_utf8_lossy(&help.stdout).contains("--acl-dir"));
}

/// What a dynamic C library would load or look up while it runs, a static one must bring along.
#[tokio::test]
async fn a_static_binary_resolves_host_names_and_has_random_bytes() {
    let root = Image::unpack("mqtt-access-sidecar").root();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    fs::create_dir(root.path().join("etc")).unwrap();
    fs::write(root.path().join("etc/hosts"), "127.0.0.1 api.example\n").unwrap();
    fs::write(root.path().join("ca.pem"), Authority::new().pem()).unwrap();
    let server = format!("https://api.example:{}", listener.local_addr().unwrap().port());
    let kubeconfig = serde_json::json!({
        "current-context": "there",
        "contexts": [{"name": "there", "context": {"cluster": "there", "user": "me"}}],
        "clusters": [{"name": "there", "cluster": {"server": server, "certificate-authority": "/ca.pem"}}],
        "users": [{"name": "me", "user": {"token": "none"}}],
    });
    fs::write(root.path().join("kubeconfig"), kubeconfig.to_string()).unwrap();
    let mut command = contained("mqtt-access-sidecar", root.path());
    command.args(["run", "--source", "kubernetes", "--namespace", "bundles"]);
    command.args(["--http", "127.0.0.1:0", "--admin", "127.0.0.1:0"]).env("KUBECONFIG", "/kubeconfig");
    let sidecar = Program::launch("sidecar", command);
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    let called = tokio::time::timeout(Duration::from_secs(20), listener.accept()).await;
    assert!(called.is_ok(), "the sidecar did not find api.example");
    let said = format!("{}{}", sidecar.stdout(), sidecar.stderr());
    assert!(said.contains("listening") && !said.contains("random bytes"), "{said}");
}

/// The other half of "two builds give one digest": `make image-check` does the first, which takes minutes.
#[test]
fn the_same_binary_always_gives_the_same_bytes() {
    let archive = |folder: &Path, umask: &str| {
        let binary = folder.join("program");
        fs::write(&binary, "not looked at").unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../images/archive");
        let call = format!(
            r#"umask {umask}; exec "$0" "$1" "$1.tar" --version 1 --architecture amd64 --time 1700000000 --label b=2 --label a=1"#
        );
        run(Command::new("sh").args(["-c", &call]).arg(script).arg(&binary).env("TZ", format!("UTC-{umask}")));
        fs::read(folder.join("program.tar")).unwrap()
    };
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let first = archive(one.path(), "022");
    assert!(first == archive(two.path(), "007"));
}
