//! A panic of the engines or of the testing tools as a finding.

use core::cell::RefCell;
use core::panic::AssertUnwindSafe;
use std::panic::{self, PanicHookInfo};
use std::sync::Once;

use crate::Finding;

std::thread_local! {
    /// What the panic of the run said; the outer `None` while this thread plays no run.
    static CAUGHT: RefCell<Option<Option<Finding>>> = const { RefCell::new(None) };
}

/// Calls `run`; a panic in it is printed nowhere and becomes a finding with its place.
pub(crate) fn catch<T>(run: impl FnOnce() -> Result<T, Finding>) -> Result<T, Finding> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !keep(info) {
                before(info);
            }
        }));
    });
    CAUGHT.set(Some(None));
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    let caught = CAUGHT.take().flatten();
    result.unwrap_or_else(|_| Err(caught.unwrap_or_else(|| "a panic without a word".into())))
}

fn keep(info: &PanicHookInfo<'_>) -> bool {
    CAUGHT.with_borrow_mut(|caught| match caught {
        None => false,
        Some(said) => {
            let place = info.location().map(|at| format!("{}:{}", at.file(), at.line()));
            let words = info.payload_as_str().unwrap_or("a panic");
            *said = Some(format!("{words} ({})", place.unwrap_or_default()));
            true
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_says_what_and_where() {
        let found = catch(|| -> Result<(), _> { panic!("seed {}: lost", 7) }).unwrap_err();
        assert!(found.starts_with("seed 7: lost (") && found.contains("catch.rs"), "{found}");
        assert_eq!(catch(|| Ok(3)), Ok(3));
    }
}
