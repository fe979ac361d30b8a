//! The list of rows, and what is said about each.

use std::collections::BTreeMap;

use crate::case::{Row, Verdict};
use crate::rows;

/// The list: id, basis, sections, title.
const LIST: &str = include_str!("../rows.tsv");

/// How many rows may be not applicable.
pub const MOST_NOT_APPLICABLE: usize = 25;

/// One row of the list.
///
/// ```
/// let list = iscsi_conformance::list();
/// assert_eq!((list.len(), list[0].id), (368, "F-01"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Item {
    /// Its id.
    pub id: &'static str,
    /// `MUST`, `SHOULD` or `MAY` of the RFC, or `POLICY` where the RFC leaves it open.
    pub basis: &'static str,
    /// Sections of RFC 7143, unless another RFC is named.
    pub sections: &'static str,
    /// What it is about.
    pub title: &'static str,
}

impl Item {
    /// The name of its test.
    pub fn test_name(&self) -> String {
        format!("{} {}", self.id, self.title)
    }
}

/// The whole list, in order.
pub fn list() -> Vec<Item> {
    let lines = LIST.lines().filter(|line| !line.starts_with('#'));
    let item = |line: &'static str| {
        let mut columns = line.split('\t');
        let mut next = || columns.next().unwrap_or_default();
        Item { id: next(), basis: next(), sections: next(), title: next() }
    };
    lines.map(item).collect()
}

/// The list and the rows that there are.
///
/// ```
/// let matrix = iscsi_conformance::Matrix::new();
/// assert_eq!(matrix.items.len(), 368);
/// assert!(matrix.row("F-02").is_some());
/// ```
#[derive(Debug)]
pub struct Matrix {
    /// The list.
    pub items: Vec<Item>,
    rows: BTreeMap<&'static str, Row>,
}

impl Default for Matrix {
    fn default() -> Self {
        Self::new()
    }
}

impl Matrix {
    /// Everything.
    ///
    /// # Panics
    /// If a row is there twice, or is not on the list.
    pub fn new() -> Self {
        let items = list();
        let mut rows = BTreeMap::new();
        for row in rows::all() {
            assert!(items.iter().any(|item| item.id == row.id), "{} is not on the list", row.id);
            let id = row.id;
            assert!(rows.insert(id, row).is_none(), "{id} is there twice");
        }
        Self { items, rows }
    }

    /// What is said about this id.
    pub fn row(&self, id: &str) -> Option<&Row> {
        self.rows.get(id)
    }

    /// What is said about this id, in a word or two.
    pub fn kind(&self, id: &str) -> &'static str {
        self.row(id).map_or("no verdict", |row| row.verdict.kind())
    }

    /// Ids that nothing is said about.
    pub fn missing(&self) -> Vec<&'static str> {
        let missing = self.items.iter().filter(|item| self.row(item.id).is_none());
        missing.map(|item| item.id).collect()
    }

    /// Groups of ids whose tests are the same.
    pub fn shared(&self) -> Vec<Vec<&'static str>> {
        let mut bodies: BTreeMap<String, Vec<&'static str>> = BTreeMap::new();
        for item in &self.items {
            match self.row(item.id).map(|row| &row.verdict) {
                Some(Verdict::Pass(cases)) => {
                    for case in cases {
                        let body = format!("{:?} {:?} {:?}", case.setup, case.rules, case.expect);
                        let ids = bodies.entry(body).or_default();
                        if ids.last() != Some(&item.id) {
                            ids.push(item.id);
                        }
                    }
                }
                Some(Verdict::Direct(direct)) => {
                    bodies.entry(format!("{direct:?}")).or_default().push(item.id);
                }
                _ => {}
            }
        }
        let mut shared: Vec<_> = bodies.into_values().filter(|ids| ids.len() > 1).collect();
        shared.sort_unstable();
        shared.dedup();
        shared
    }

    /// What is wrong with the matrix as a whole; not what its tests find.
    pub fn complaints(&self) -> Vec<String> {
        let mut complaints = Vec::new();
        let missing = self.missing();
        if !missing.is_empty() {
            complaints.push(format!("{} rows have no verdict", missing.len()));
        }
        let of_kind = |kind| self.items.iter().filter(|i| self.kind(i.id) == kind).count();
        if of_kind("not applicable") > MOST_NOT_APPLICABLE {
            complaints.push(format!(
                "{} rows are not applicable, at most {MOST_NOT_APPLICABLE} may be",
                of_kind("not applicable")
            ));
        }
        if of_kind("open") > 0 {
            complaints.push(format!("{} rows are open", of_kind("open")));
        }
        complaints
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_whole() {
        let list = list();
        assert_eq!(list.len(), 368);
        for item in &list {
            assert!(!item.title.is_empty() && !item.sections.is_empty(), "{item:?}");
            assert!(["MUST", "SHOULD", "MAY", "POLICY"].contains(&item.basis), "{item:?}");
        }
        for pair in list.windows(2) {
            let (family, number) = pair[1].id.split_once('-').unwrap();
            let (before, last) = pair[0].id.split_once('-').unwrap();
            let next = last.parse::<u32>().unwrap() + 1;
            let expected = if family == before { next } else { 1 };
            assert_eq!(number.parse::<u32>().unwrap(), expected, "{}", pair[1].id);
        }
    }

    #[test]
    fn no_more_rows_are_put_aside_than_may_be() {
        let matrix = Matrix::new();
        let complaints = matrix.complaints();
        assert!(!complaints.iter().any(|c| c.contains("not applicable")), "{complaints:?}");
    }
}
