//! From paths to documents (file system).
//!
//! A `ConfigMap` mounted as a folder shows each file as a symlink into a hidden folder `..data`: symlinks are followed, hidden
//! entries are not.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::refused::{Fault, Place, Refusal};
use super::yaml;

/// One document of a file. No `Debug`: it may be a Secret.
pub(super) struct Document {
    pub(super) place: Place,
    pub(super) value: Value,
}

/// The text of each file that can be read, with its name.
pub(super) fn texts(paths: &[PathBuf]) -> Vec<(PathBuf, String)> {
    let mut walk = Walk::default();
    paths.iter().for_each(|path| walk.visit(path, true));
    let text = |file: &PathBuf| Some(without_mark(&fs::read_to_string(file).ok()?).to_owned());
    walk.files.into_iter().filter_map(|file| text(&file).map(|text| (file, text))).collect()
}

/// Every document of the files and folders that is not empty; what cannot be read goes to `refusals`.
pub(super) fn documents(paths: &[PathBuf], refusals: &mut Vec<Refusal>) -> Vec<Document> {
    let mut walk = Walk::default();
    for path in paths {
        walk.visit(path, true);
    }
    let mut documents = Vec::new();
    for file in walk.files {
        match read(&file) {
            Ok(found) => documents.extend(found),
            Err(refusal) => walk.refusals.push(refusal),
        }
    }
    refusals.append(&mut walk.refusals);
    documents
}

#[derive(Default)]
struct Walk {
    files: Vec<PathBuf>,
    /// What was visited, without symlinks: a loop of links ends, and a file that two paths reach is read once.
    seen: BTreeSet<PathBuf>,
    refusals: Vec<Refusal>,
}

impl Walk {
    fn visit(&mut self, path: &Path, named: bool) {
        if let Err(error) = self.try_visit(path, named) {
            self.refusals.push(unreadable(path, &error));
        }
    }

    fn try_visit(&mut self, path: &Path, named: bool) -> io::Result<()> {
        let is_folder = fs::metadata(path)?.is_dir();
        if !is_folder && !named && !is_manifest(path) {
            return Ok(());
        }
        if !self.seen.insert(fs::canonicalize(path)?) {
            return Ok(());
        }
        if !is_folder {
            self.files.push(path.to_owned());
            return Ok(());
        }
        let mut entries = fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        entries.sort();
        entries.iter().filter(|entry| !is_hidden(entry)).for_each(|entry| self.visit(entry, false));
        Ok(())
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
}

fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "json")
}

/// Stops at the first document that cannot be parsed: what follows it has no certain beginning.
fn read(file: &Path) -> Result<Vec<Document>, Refusal> {
    let bytes = fs::read(file).map_err(|error| unreadable(file, &error))?;
    let text = std::str::from_utf8(&bytes).map_err(|_| refusal(file, 0, "is not UTF-8: convert it".to_owned()))?;
    let text = without_mark(text);
    let values = if is_json(file) { yaml::json_documents(text) } else { yaml::documents(text) };
    let mut documents = Vec::new();
    for (value, number) in values.into_iter().zip(1..) {
        match value {
            Ok(Value::Null) => {}
            Ok(value) => documents.push(Document { place: place(file, number), value }),
            Err(error) => return Err(refusal(file, number, error.to_string())),
        }
    }
    Ok(documents)
}

/// The text behind a byte order mark, which some editors write.
fn without_mark(text: &str) -> &str {
    text.trim_start_matches('\u{feff}')
}

fn place(file: &Path, document: usize) -> Place {
    Place { file: file.to_owned(), document, item: None }
}

fn refusal(file: &Path, document: usize, message: String) -> Refusal {
    Refusal { place: place(file, document), object: None, fault: Fault::new("", message) }
}

fn unreadable(path: &Path, error: &io::Error) -> Refusal {
    refusal(path, 0, format!("cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn names(paths: &[PathBuf]) -> (Vec<String>, Vec<Refusal>) {
        let mut refusals = Vec::new();
        let found = documents(paths, &mut refusals);
        let name = |document: &Document| document.place.file.file_name().unwrap().to_string_lossy().into_owned();
        (found.iter().map(name).collect(), refusals)
    }

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = folder.path().join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        folder
    }

    #[test]
    fn folders_are_read_in_order_and_only_manifests_in_them() {
        let folder = folder(&[
            ("b.yml", "a: 1"),
            ("a/z.json", "{}"),
            ("c.yaml", "a: 1\n---\nb: 1"),
            ("d.txt", "a: ["),
            (".hidden.yaml", "a: ["),
            (".git/x.yaml", "a: ["),
        ]);
        let (found, refusals) = names(&[folder.path().to_owned()]);
        assert_eq!(found, ["z.json", "b.yml", "c.yaml", "c.yaml"]);
        assert_eq!(refusals, []);
    }

    #[test]
    fn a_mounted_config_map_is_read_once_through_its_links() {
        let folder = folder(&[("..2026/a.yaml", "a: 1")]);
        symlink("..2026", folder.path().join("..data")).unwrap();
        symlink("..data/a.yaml", folder.path().join("a.yaml")).unwrap();
        symlink(".", folder.path().join("loop")).unwrap();
        let (found, refusals) = names(&[folder.path().to_owned(), folder.path().join("a.yaml")]);
        assert_eq!(found, ["a.yaml"]);
        assert_eq!(refusals, []);
    }

    #[test]
    fn a_file_that_is_named_is_read_whatever_its_name() {
        let folder = folder(&[(".manifest", "a: 1")]);
        assert_eq!(names(&[folder.path().join(".manifest")]).0, [".manifest"]);
    }

    #[test]
    fn what_cannot_be_read_is_refused_and_the_rest_is_still_looked_at() {
        let folder = folder(&[("a.yaml", "a: 1\n---\nb: ["), ("b.yaml", "c: 1")]);
        fs::write(folder.path().join("c.yaml"), b"\xff").unwrap();
        let (found, refusals) = names(&[folder.path().join("absent"), folder.path().to_owned()]);
        assert_eq!(found, ["b.yaml"]);
        let texts: Vec<_> = refusals.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 3, "{texts:?}");
        assert!(texts.iter().any(|text| text.contains("absent: cannot be read")), "{texts:?}");
        assert!(texts.iter().any(|text| text.contains("a.yaml, document 2: is not YAML")), "{texts:?}");
        assert!(texts.iter().any(|text| text.contains("c.yaml: is not UTF-8")), "{texts:?}");
    }
}
