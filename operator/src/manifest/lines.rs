//! Where rules stand in manifests: for people who are told which rule decided, and want to edit it.
//!
//! A second look at the files, with a parser that keeps positions; it decides nothing. Where it cannot read what the first one
//! could, a rule has no line.

use std::collections::HashMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_saphyr::Spanned;

use super::files;

/// The file and the line of each rule of each policy.
#[derive(Debug, Default)]
pub struct RuleLines(HashMap<(String, String), (PathBuf, Vec<u64>)>);

#[derive(Deserialize)]
struct Document {
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    metadata: Option<Metadata>,
    #[serde(default)]
    spec: Option<Spec>,
    #[serde(default)]
    items: Option<Vec<Self>>,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    name: Option<String>,
}

#[derive(Deserialize)]
struct Spec {
    #[serde(default)]
    rules: Option<Vec<Spanned<IgnoredAny>>>,
}

impl RuleLines {
    /// Looks through files and folders.
    #[must_use]
    pub fn read(paths: &[PathBuf]) -> Self {
        let mut lines = Self::default();
        for (file, text) in files::texts(paths) {
            let documents: Vec<Option<Document>> = serde_saphyr::from_multiple(&text).unwrap_or_default();
            documents.into_iter().flatten().for_each(|document| lines.add(&file, document));
        }
        lines
    }

    fn add(&mut self, file: &PathBuf, document: Document) {
        let Document { kind, metadata, spec, items } = document;
        items.into_iter().flatten().for_each(|item| self.add(file, item));
        let (Some("AclPolicy") | None, Some(metadata), Some(spec)) = (kind.as_deref(), metadata, spec) else { return };
        let Metadata { namespace, name: Some(name) } = metadata else { return };
        let lines = spec.rules.into_iter().flatten().map(|rule| rule.referenced.line()).collect();
        let namespace = namespace.unwrap_or_else(|| "default".to_owned());
        self.0.insert((namespace, name), (file.clone(), lines));
    }

    /// Where a rule stands, such as `examples/acme.yaml:41`.
    #[must_use]
    pub fn place(&self, namespace: &str, policy: &str, rule: u32) -> Option<String> {
        let (file, lines) = self.0.get(&(namespace.to_owned(), policy.to_owned()))?;
        let line = lines.get(usize::try_from(rule).ok()?)?;
        Some(format!("{}:{line}", file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
# a comment
kind: Namespace
metadata: {name: a}
---
---
kind: Deployment
spec: {template: {spec: {}}}
---
kind: AclPolicy
metadata: {namespace: a, name: p}
spec:
  subjects: &s
    - everyone: true
  rules:
    # the first
    - effect: Allow
      topics: [a]

    - {effect: Deny, topics: [b]}
---
kind: List
items:
  - kind: AclPolicy
    metadata: {name: q}
    spec:
      rules: [{effect: Allow}, {effect: Deny}]
";

    fn lines(name: &str, text: &str) -> RuleLines {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(name), text).unwrap();
        std::fs::write(folder.path().join("z.yaml"), "kind: [").unwrap();
        RuleLines::read(&[folder.path().to_owned()])
    }

    #[test]
    fn rules_are_found_by_file_and_line() {
        let lines = lines("a.yaml", TEXT);
        let line = |namespace, policy, rule| {
            let place = lines.place(namespace, policy, rule)?;
            Some(place.rsplit('/').next()?.to_owned())
        };
        assert_eq!(line("a", "p", 0).as_deref(), Some("a.yaml:16"));
        assert_eq!(line("a", "p", 1).as_deref(), Some("a.yaml:19"));
        assert_eq!(line("default", "q", 1).as_deref(), Some("a.yaml:26"));
        assert_eq!((line("a", "p", 2), line("b", "p", 0)), (None, None));
    }

    #[test]
    fn lines_are_those_of_an_editor_whatever_ends_them_and_wherever_a_rule_was_written_first() {
        let crlf = format!("\u{feff}{}", TEXT.replace('\n', "\r\n"));
        assert!(lines("a.yaml", &crlf).place("a", "p", 1).is_some_and(|place| place.ends_with("a.yaml:19")));
        let twice = "kind: AclPolicy\nmetadata: {name: p}\nspec:\n  rules:\n    - &r {effect: Deny}\n    - *r\n";
        let lines = lines("a.yaml", twice);
        assert!(lines.place("default", "p", 0).is_some_and(|place| place.ends_with("a.yaml:5")));
        assert!(lines.place("default", "p", 1).is_some_and(|place| place.ends_with("a.yaml:6")));
    }

    #[test]
    fn json_has_lines_too() {
        let text = "{\"kind\": \"AclPolicy\", \"metadata\": {\"name\": \"p\"}, \"spec\": {\"rules\": [\n{},\n{}]}}";
        assert!(lines("a.json", text).place("default", "p", 1).is_some_and(|place| place.ends_with("a.json:3")));
    }
}
