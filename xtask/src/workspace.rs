//! What `cargo metadata` says about the members of the workspace.

use alloc::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::Value;

use crate::process::{Failure, cargo};

/// The workspace and its members.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target_directory: PathBuf,
    pub(crate) packages: Vec<Package>,
}

/// One member.
#[derive(Debug, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    /// The directory of its manifest.
    pub(crate) dir: PathBuf,
    /// It is meant for a registry.
    pub(crate) publishes: bool,
    /// Feature name to what it enables, optional dependencies without `dep:` included.
    pub(crate) features: BTreeMap<String, Vec<String>>,
    pub(crate) dependencies: Vec<Dependency>,
    pub(crate) targets: Vec<Target>,
}

/// One entry of a dependency table.
#[derive(Debug)]
pub(crate) struct Dependency {
    /// The package's name, also if the manifest renames it.
    pub(crate) name: String,
    pub(crate) dev: bool,
}

/// A library, program, example, test or bench.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) name: String,
    /// `lib`, `bin`, `example`, `test`, `bench`, `custom-build`.
    pub(crate) kind: String,
}

impl Workspace {
    /// Asks cargo about the workspace that the current directory is in.
    pub(crate) fn load() -> Result<Self, Failure> {
        let output = cargo()
            .args(["metadata", "--format-version=1", "--no-deps"])
            .stderr(Stdio::inherit())
            .output()
            .map_err(|error| Failure::new(format!("cargo metadata did not start: {error}")))?;
        if !output.status.success() {
            return Err(Failure::new(format!("cargo metadata: {}", output.status)));
        }
        let metadata: Value = serde_json::from_slice(&output.stdout)
            .map_err(|error| Failure::new(format!("cargo metadata: {error}")))?;
        Ok(Self::from_metadata(&metadata))
    }

    fn from_metadata(metadata: &Value) -> Self {
        Self {
            root: text(metadata, "workspace_root").into(),
            target_directory: text(metadata, "target_directory").into(),
            packages: items(metadata, "packages").map(Package::from_metadata).collect(),
        }
    }

    pub(crate) fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.name == name)
    }

    /// Members with a library, in the order of the manifest.
    pub(crate) fn libraries(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| package.targets("lib").next().is_some())
    }
}

impl Package {
    fn from_metadata(package: &Value) -> Self {
        let manifest = PathBuf::from(text(package, "manifest_path"));
        let features = package.get("features").and_then(Value::as_object);
        Self {
            name: text(package, "name"),
            version: text(package, "version"),
            dir: manifest.parent().unwrap_or_else(|| Path::new("")).to_owned(),
            // An empty list of registries is what `publish = false` becomes.
            publishes: package.get("publish").is_none_or(Value::is_null),
            features: features
                .into_iter()
                .flatten()
                .map(|(name, enables)| (name.clone(), strings(enables).collect()))
                .collect(),
            dependencies: items(package, "dependencies")
                .map(|dependency| Dependency {
                    name: text(dependency, "name"),
                    dev: text(dependency, "kind") == "dev",
                })
                .collect(),
            targets: items(package, "targets")
                .map(|target| Target {
                    name: text(target, "name"),
                    kind: target
                        .get("kind")
                        .and_then(|kind| strings(kind).next())
                        .unwrap_or_default(),
                })
                .collect(),
        }
    }

    /// The names of its targets of one kind.
    pub(crate) fn targets(&self, kind: &str) -> impl Iterator<Item = &str> {
        self.targets.iter().filter(move |target| target.kind == kind).map(|t| t.name.as_str())
    }
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn items<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn strings(value: &Value) -> impl Iterator<Item = String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_read() {
        let metadata = serde_json::json!({
            "workspace_root": "/w", "target_directory": "/w/out",
            "packages": [{
                "name": "a", "version": "1.2.3", "manifest_path": "/w/a/Cargo.toml",
                "features": { "default": ["std"], "std": [] },
                "dependencies": [
                    { "name": "b", "kind": null }, { "name": "c", "kind": "dev" },
                ],
                "targets": [{ "name": "a", "kind": ["lib"] }, { "name": "x", "kind": ["bin"] }],
            }],
        });
        let workspace = Workspace::from_metadata(&metadata);
        assert_eq!(workspace.root, Path::new("/w"));
        assert_eq!(workspace.target_directory, Path::new("/w/out"));
        let a = workspace.package("a").unwrap();
        assert_eq!((a.version.as_str(), a.dir.as_path()), ("1.2.3", Path::new("/w/a")));
        assert_eq!(a.features["default"], ["std"]);
        let dev: Vec<_> = a.dependencies.iter().map(|d| (d.name.as_str(), d.dev)).collect();
        assert_eq!(dev, [("b", false), ("c", true)]);
        assert_eq!(a.targets("bin").collect::<Vec<_>>(), ["x"]);
        assert_eq!(workspace.libraries().count(), 1);
    }
}
