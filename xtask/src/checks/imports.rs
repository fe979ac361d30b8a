//! Imports between the members run one way.
//!
//! Read from the manifests: what a member does not depend on it cannot import. Test-only
//! dependencies are free (the engine is tested against the target), except that nothing at all
//! depends on the tools.

use crate::process::Failure;
use crate::workspace::{Dependency, Workspace};

/// A member and the members that it may depend on. A trailing `*` stands for any ending. The
/// first row that fits a member counts.
const RULES: &[(&str, &[&str])] = &[
    ("iscsi-core", &[]),
    ("iscsi-scsi", &[]),
    ("iscsi-disk", &["iscsi-core", "iscsi-scsi"]),
    ("iscsi-target", &["iscsi-core", "iscsi-scsi"]),
    ("iscsi-runtime", &["iscsi-core", "iscsi-disk"]),
    ("iscsi-runtime-*", &["iscsi-core", "iscsi-disk", "iscsi-runtime"]),
    ("iscsi-sim", &["iscsi-core", "iscsi-scsi", "iscsi-disk", "iscsi-target"]),
    ("iscsi-tools", &["iscsi-*"]),
    ("iscsi-fault-proxy", &[]),
    ("iscsi-conformance", &["iscsi-core", "iscsi-scsi", "iscsi-disk"]),
    ("iscsi-parity", &["iscsi-*"]),
    ("iscsi-loops", &["iscsi-core", "iscsi-scsi", "iscsi-target"]),
    ("iscsi-benches", &["iscsi-core", "iscsi-target"]),
    ("iscsi-fuzz*", &["iscsi-*"]),
    ("xtask", &[]),
];
/// Nothing depends on it, tests and benches included.
const TOOLS: &str = "iscsi-tools";

pub(crate) fn check(workspace: &Workspace) -> Result<(), Failure> {
    let mut complaints = Vec::new();
    for package in &workspace.packages {
        let Some((_, allowed)) = RULES.iter().find(|(member, _)| fits(&package.name, member))
        else {
            complaints.push(format!("{} has no import rule", package.name));
            continue;
        };
        let siblings = package.dependencies.iter().filter(|d| workspace.package(&d.name).is_some());
        for dependency in siblings.filter(|d| !is_allowed(d, allowed)) {
            complaints.push(format!("{} must not depend on {}", package.name, dependency.name));
        }
    }
    Failure::unless_empty(&complaints)
}

fn is_allowed(dependency: &Dependency, allowed: &[&str]) -> bool {
    dependency.name != TOOLS
        && (dependency.dev || allowed.iter().any(|pattern| fits(&dependency.name, pattern)))
}

fn fits(name: &str, pattern: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Package;

    /// The complaints about a workspace of `(member, its dependencies, its dev-dependencies)`.
    fn complaints(members: &[(&str, &[&str], &[&str])]) -> String {
        let dependency = |name: &&str, dev| Dependency { name: (*name).into(), dev };
        let packages = members.iter().map(|(name, normal, dev)| Package {
            name: (*name).into(),
            dependencies: (normal.iter().map(|d| dependency(d, false)))
                .chain(dev.iter().map(|d| dependency(d, true)))
                .collect(),
            ..Package::default()
        });
        let workspace = Workspace {
            root: "/w".into(),
            target_directory: "/w/out".into(),
            packages: packages.collect(),
        };
        check(&workspace).err().map(|failure| failure.to_string()).unwrap_or_default()
    }

    const CORE: (&str, &[&str], &[&str]) = ("iscsi-core", &["crc"], &["iscsi-target"]);
    const SCSI: (&str, &[&str], &[&str]) = ("iscsi-scsi", &[], &[]);
    const DISK: (&str, &[&str], &[&str]) = ("iscsi-disk", &["iscsi-core", "iscsi-scsi"], &[]);
    const TARGET: (&str, &[&str], &[&str]) = ("iscsi-target", &["iscsi-core", "iscsi-scsi"], &[]);
    const STD: (&str, &[&str], &[&str]) =
        ("iscsi-runtime-std", &["iscsi-core", "iscsi-disk", "libc"], &["iscsi-target"]);
    const TOOLS: (&str, &[&str], &[&str]) =
        ("iscsi-tools", &["iscsi-runtime-std", "iscsi-disk", "clap"], &["iscsi-target"]);

    #[test]
    fn the_intended_shape_passes() {
        assert_eq!(complaints(&[CORE, SCSI, DISK, TARGET, STD, TOOLS]), "");
    }

    #[test]
    fn an_import_against_the_stream_is_found() {
        let core = ("iscsi-core", &["iscsi-scsi"] as &[_], &[] as &[_]);
        assert_eq!(complaints(&[core, SCSI]), "iscsi-core must not depend on iscsi-scsi");
        let mio = ("iscsi-runtime-mio", &["iscsi-runtime-std"] as &[_], &[] as &[_]);
        assert_eq!(
            complaints(&[CORE, STD, mio]),
            "iscsi-runtime-mio must not depend on iscsi-runtime-std"
        );
    }

    #[test]
    fn nothing_depends_on_the_tools_not_even_for_tests() {
        let xtask = ("xtask", &[] as &[_], &["iscsi-tools"] as &[_]);
        assert_eq!(complaints(&[TOOLS, xtask]), "xtask must not depend on iscsi-tools");
    }

    #[test]
    fn a_member_without_a_rule_is_found() {
        let new = ("iscsi-novel", &[] as &[_], &[] as &[_]);
        assert_eq!(complaints(&[new]), "iscsi-novel has no import rule");
    }
}
