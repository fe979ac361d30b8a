//! A session on the heap has to come to be on the usual stack of a thread.
#![cfg(feature = "alloc")]

use iscsi_core::Session;

#[test]
fn boxed_session_fits_the_stack_of_a_thread() {
    for (depth, capacity) in [(0, 8), (8, 8), (9, 32), (128, 128), (512, 512), (2048, 512)] {
        let thread = std::thread::spawn(move || Session::boxed(depth).capacity());
        assert_eq!(thread.join().unwrap(), capacity);
    }
}
