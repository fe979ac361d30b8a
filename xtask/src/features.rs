//! Sets of features worth building: enough to find code that compiles only in company.

use alloc::collections::{BTreeMap, BTreeSet};

type Features = BTreeMap<String, Vec<String>>;

/// Every selection of at most `depth` features, and all of them together.
///
/// Two selections that enable the same features count once: `std,alloc` is `std` where `std`
/// enables `alloc`. `default` is left out; it is a selection, not a feature of its own.
pub(crate) fn powerset(features: &Features, depth: usize) -> Vec<Vec<&str>> {
    let names: Vec<&str> =
        features.keys().map(String::as_str).filter(|&name| name != "default").collect();
    let mut selections = vec![Vec::new()];
    let mut grown = selections.clone();
    for _ in 0..depth {
        grown = grown.iter().flat_map(|selection| extensions(selection, &names)).collect();
        selections.extend_from_slice(&grown);
    }
    selections.push(names);
    let mut seen = BTreeSet::new();
    selections.retain(|selection| seen.insert(enabled(features, selection)));
    selections
}

/// The features that a machine without an operating system can have: those that do not enable
/// `std` here or in a dependency.
pub(crate) fn without_std(features: &Features) -> Vec<&str> {
    let enables_std = |name: &str| {
        enabled(features, &[name]).iter().any(|f| {
            f == "std" || features.get(f).into_iter().flatten().any(|e| e.ends_with("/std"))
        })
    };
    let names = features.keys().map(String::as_str);
    names.filter(|&name| name != "default" && !enables_std(name)).collect()
}

/// Each way to add one name that sorts after the selection's last.
fn extensions<'a>(selection: &[&'a str], names: &[&'a str]) -> Vec<Vec<&'a str>> {
    let last = selection.last().copied();
    let later = names.iter().copied().filter(|&name| last.is_none_or(|last| name > last));
    later.map(|name| [selection, &[name]].concat()).collect()
}

/// The features of this package that a selection turns on, directly or by another feature.
fn enabled(features: &Features, selection: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&str> = selection.to_vec();
    while let Some(name) = open.pop() {
        // An entry such as `dep:crc32c` or `iscsi-core/std` is not a feature of this package.
        let Some(enables) = features.get(name) else { continue };
        if found.insert(name.to_owned()) {
            open.extend(enables.iter().map(String::as_str));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn features(table: &[(&str, &[&str])]) -> Features {
        let owned = |enables: &[&str]| enables.iter().map(|e| (*e).to_owned()).collect();
        table.iter().map(|(name, enables)| ((*name).to_owned(), owned(enables))).collect()
    }

    #[test]
    fn a_crate_without_features_is_built_once() {
        assert_eq!(powerset(&features(&[]), 2), [Vec::<&str>::new()]);
        assert_eq!(powerset(&features(&[("default", &[])]), 2), [Vec::<&str>::new()]);
    }

    #[test]
    fn equal_selections_are_built_once() {
        let table =
            features(&[("default", &["std"]), ("std", &["alloc", "dep:crc32c"]), ("alloc", &[])]);
        assert_eq!(powerset(&table, 2), [vec![], vec!["alloc"], vec!["std"]]);
    }

    #[test]
    fn depth_bounds_the_selections_and_all_features_come_too() {
        let table = features(&[("a", &[]), ("b", &[]), ("c", &[]), ("d", &[])]);
        let sets = powerset(&table, 2);
        assert_eq!(sets.len(), 1 + 4 + 6 + 1);
        assert!(sets.contains(&vec!["b", "d"]));
        assert_eq!(sets.last().unwrap(), &["a", "b", "c", "d"]);
    }

    #[test]
    fn std_is_found_through_other_features_and_dependencies() {
        let table = features(&[
            ("default", &["std"]),
            ("std", &["alloc"]),
            ("alloc", &[]),
            ("chap-sha", &["dep:sha1"]),
            ("testing", &["std"]),
            ("bytes", &["bytes/std"]),
        ]);
        assert_eq!(without_std(&table), ["alloc", "chap-sha"]);
    }
}
