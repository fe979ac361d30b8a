//! What the compiler does not check: the sources as files, the direction of imports, README.md.

pub(crate) mod files;
pub(crate) mod imports;
pub(crate) mod readme;
