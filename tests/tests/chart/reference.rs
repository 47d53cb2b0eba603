//! `README.md` of the chart: written from the comments in `values.yaml`.

use std::fmt::Write as _;
use std::fs;

use mqtt_access_operator::manifest::yaml;
use serde_json::Value;

use super::copies::is_generated;
use super::rendered::{chart, documents};

const HEAD: &str = "# mqtt-access

<!-- Generated from values.yaml by `make chart`: do not edit. -->

The operator of mqtt-access with its CRDs and rights, and the rights of the sidecars beside brokers.

```sh
helm install mqtt-access charts/mqtt-access --namespace mqtt-access --create-namespace
helm test mqtt-access --namespace mqtt-access
```

- Images are built by `make image`; set `operator.image.repository` and `sidecar.image.repository` to where you push them.
- `helm uninstall` keeps the CRDs with every tenant, device and policy, and the bundle namespaces, unless `crds.keep` is `false`.
  Sidecars that run go on with the bundles that they have. What was kept is removed by
  `kubectl delete crd mqtttenants.mqttaccess.io devicecredentials.mqttaccess.io aclpolicies.mqttaccess.io` and by deleting the bundle
  namespaces: the latter also forgets which tokens were revoked.
- CRDs that `kubectl apply` or another release has installed are taken over with `--take-ownership --force-conflicts`, or left alone with
  `crds.enabled=false`. A second release in one cluster takes the latter, and brokers of its own.
- Without rights on cluster-wide objects: `crds.enabled=false`, `rbac.userRoles=false` and a list in `scope.namespaces`; the bundle
  namespaces must exist (`createNamespace: false`).

| Value | Default | What it is |
|---|---|---|
";

/// One value: where it is, what it is, and what it is said to be.
struct Row {
    path: String,
    default: String,
    text: String,
}

/// Values with a comment above them, and those without children.
fn rows(text: &str) -> Vec<Row> {
    let defaults = documents(text).remove(0);
    let (mut rows, mut comment, mut parents) = (Vec::new(), Vec::new(), Vec::<(usize, String)>::new());
    for line in text.lines() {
        let trimmed = line.trim_start();
        if let Some(words) = trimmed.strip_prefix("# ") {
            comment.push(words);
            continue;
        }
        // The first key of a list's only element stands behind its dash.
        let (entry, in_list) = trimmed.strip_prefix("- ").map_or((trimmed, false), |entry| (entry, true));
        let Some((key, _)) = entry.split_once(':') else {
            comment.clear();
            continue;
        };
        let depth = line.len() - entry.len();
        parents.retain(|(parent, _)| *parent < depth);
        if in_list && let Some((_, list)) = parents.last_mut() {
            list.push_str("[]");
        }
        parents.push((depth, key.to_owned()));
        let path = parents.iter().map(|(_, key)| key.as_str()).collect::<Vec<_>>().join(".");
        let pointer = format!("/{}", path.replace("[].", "/0/").replace('.', "/"));
        let default = defaults.pointer(&pointer).unwrap_or_else(|| panic!("no value at `{path}`"));
        let parent = default.as_object().is_some_and(|map| !map.is_empty()) || default.pointer("/0/name").is_some();
        if !(parent && comment.is_empty()) {
            let default = if parent { String::new() } else { format!("`{default}`") };
            rows.push(Row { path, default, text: comment.join(" ") });
        }
        comment.clear();
    }
    rows
}

#[test]
fn the_reference_of_values_is_generated() {
    let values = fs::read_to_string(chart().join("values.yaml")).unwrap();
    let mut text = HEAD.to_owned();
    for Row { path, default, text: comment } in rows(&values) {
        writeln!(text, "| `{path}` | {default} | {} |", comment.replace('|', "\\|")).unwrap();
    }
    is_generated(&chart().join("README.md"), &text);
}

#[test]
fn every_value_of_the_schema_is_in_the_reference() {
    let values = fs::read_to_string(chart().join("values.yaml")).unwrap();
    let named: Vec<_> = rows(&values).into_iter().map(|row| row.path).collect();
    let schema: Value = serde_json::from_str(&fs::read_to_string(chart().join("values.schema.json")).unwrap()).unwrap();
    let mut missing = Vec::new();
    super::values::leaves(&schema, &schema, "", &mut |path| {
        let of = |longer: &str, path: &str| longer.strip_prefix(path).is_some_and(|rest| rest.starts_with(['.', '[']));
        let said = named.iter().any(|named| path == named || of(path, named) || of(named, path));
        if !said && path != "global" {
            missing.push(path.to_owned());
        }
    });
    assert!(missing.is_empty(), "in the schema but not in values.yaml: {missing:?}");
    assert!(yaml::documents(&values).len() == 1);
}
