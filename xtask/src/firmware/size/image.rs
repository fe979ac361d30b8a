//! What an ELF file and its debug information say about sizes.

use alloc::collections::BTreeMap;
use std::fs;
use std::path::Path;

use addr2line::Loader;
use object::{Object as _, ObjectSection as _, ObjectSymbol as _, SectionKind, SymbolKind};

use crate::process::Failure;

/// Instructions have 2 or 4 bytes.
const STEP: u64 = 2;

/// Sizes in bytes.
#[derive(Debug, Default)]
pub(crate) struct Image {
    pub(crate) text: u64,
    pub(crate) rodata: u64,
    pub(crate) data: u64,
    pub(crate) bss: u64,
    /// Code by crate; `rust` for Rust's own libraries, `firmware` for the example.
    pub(crate) code: BTreeMap<String, u64>,
    /// Code of `iscsi-core` that makes words of values.
    pub(crate) words: u64,
    /// Variables by the last part of their name.
    pub(crate) statics: BTreeMap<String, u64>,
}

impl Image {
    /// The sections that `size` of binutils adds up, by name.
    pub(crate) fn sections(&self) -> [(&'static str, u64); 4] {
        [("text", self.text), ("rodata", self.rodata), ("data", self.data), ("bss", self.bss)]
    }

    /// Reads a program. `root` is where the workspace is.
    pub(crate) fn read(path: &Path, root: &Path) -> Result<Self, Failure> {
        let failed =
            |error: &dyn core::fmt::Display| Failure::new(format!("{}: {error}", path.display()));
        let bytes = fs::read(path).map_err(|error| failed(&error))?;
        let file = object::File::parse(&*bytes).map_err(|error| failed(&error))?;
        let loader = Loader::new(path).map_err(|error| failed(&error))?;
        let mut image = Self::default();
        for section in file.sections() {
            let size = section.size();
            match (section.kind(), section.name()) {
                (SectionKind::Text, _) => {
                    image.text += size;
                    let range = section.address()..section.address() + size;
                    image.attribute(&loader, range, root).map_err(|error| failed(&error))?;
                }
                (_, Ok(".rodata" | ".vector_table")) => image.rodata += size,
                (_, Ok(".data")) => image.data += size,
                (_, Ok(".bss" | ".uninit")) => image.bss += size,
                _ => {}
            }
        }
        for symbol in file.symbols().filter(|symbol| symbol.kind() == SymbolKind::Data) {
            let name = addr2line::demangle_auto(symbol.name().unwrap_or_default().into(), None);
            if let Some(last) = name.rsplit("::").find(|part| !is_hash(part)) {
                image.statics.insert(last.to_owned(), symbol.size());
            }
        }
        Ok(image)
    }

    /// Code of one crate.
    pub(crate) fn code_of(&self, name: &str) -> u64 {
        self.code.get(name).copied().unwrap_or(0)
    }

    /// Code and constants; the initial values of `data` are not counted.
    pub(crate) const fn flash(&self) -> u64 {
        self.text + self.rodata
    }

    fn attribute(
        &mut self,
        loader: &Loader,
        range: core::ops::Range<u64>,
        root: &Path,
    ) -> Result<(), Box<dyn core::error::Error>> {
        for address in range.step_by(STEP as usize) {
            let mut frames = loader.find_frames(address)?;
            let mut owner = "rust".to_owned();
            let mut words = false;
            while let Some(frame) = frames.next()? {
                let file = frame.location.and_then(|location| location.file).unwrap_or_default();
                if owner == "rust" {
                    owner = crate_of(file, root).unwrap_or(owner);
                }
                let name = frame.function.as_ref().map(|function| function.demangle());
                words |= name.is_some_and(|name| name.is_ok_and(|name| is_formatting(&name)));
            }
            if words && owner == "iscsi-core" {
                self.words += STEP;
            }
            *self.code.entry(owner).or_default() += STEP;
        }
        Ok(())
    }
}

/// The package that a source file is of; `None` for Rust's own libraries.
fn crate_of(file: &str, root: &Path) -> Option<String> {
    if let Some((_, rest)) = file.split_once("/registry/src/") {
        // `index.crates.io-HASH/NAME-VERSION/src/...`
        let directory = rest.split('/').nth(1)?;
        let (name, _) = directory.rsplit_once('-')?;
        return Some(name.to_owned());
    }
    if let Ok(inside) = Path::new(file).strip_prefix(root) {
        if inside.starts_with("examples/firmware") {
            return Some("firmware".into());
        }
        let member = inside.components().next()?.as_os_str().to_string_lossy();
        return Some(format!("iscsi-{member}"));
    }
    // The example's own files are named relative to its directory.
    file.starts_with("src/").then(|| "firmware".into())
}

/// Whether a function is an implementation of `Display` or `Debug`.
fn is_formatting(name: &str) -> bool {
    name.contains("core::fmt::Display") || name.contains("core::fmt::Debug")
}

/// `h` and 16 hexadecimal digits: the end of each name in Rust's old way to mangle them.
fn is_hash(part: &str) -> bool {
    part.len() == 17
        && part.strip_prefix('h').is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_tell_their_crate() {
        let root = Path::new("/w");
        let of = |file: &str| crate_of(file, root);
        let registry = "/home/u/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f";
        assert_eq!(of(&format!("{registry}/md-5-0.11.0/src/lib.rs")).unwrap(), "md-5");
        assert_eq!(of(&format!("{registry}/smoltcp-0.14.0/src/a/b.rs")).unwrap(), "smoltcp");
        assert_eq!(of("/w/core/src/conn/mod.rs").unwrap(), "iscsi-core");
        assert_eq!(of("/w/examples/firmware/src/main.rs").unwrap(), "firmware");
        assert_eq!(of("src/main.rs").unwrap(), "firmware");
        assert_eq!(of("/rustc/59807616e1/library/core/src/fmt/mod.rs"), None);
    }

    #[test]
    fn hashes_are_told_from_names() {
        assert!(is_hash("h266b84d3d48b0ecd"));
        assert!(!is_hash("SESSION") && !is_hash("handle_everything"));
    }

    #[test]
    fn formatting_is_told_by_its_trait() {
        assert!(is_formatting("<iscsi_core::error::Timer as core::fmt::Display>::fmt"));
        assert!(!is_formatting("core::fmt::write"));
    }
}
