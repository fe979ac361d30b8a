//! The debugger as terminal, command line and exit code (ARM semihosting).

use core::ffi::c_char;
use core::panic::PanicInfo;

use cortex_m_semihosting::debug::{self, EXIT_FAILURE, EXIT_SUCCESS};
pub use cortex_m_semihosting::hprintln;
use cortex_m_semihosting::{nr, syscall1};

/// Longest command line that is taken.
const MAX_COMMAND_LINE: usize = 128;

/// What the debugger was told to pass on, as words.
#[derive(Debug)]
pub struct CommandLine {
    text: [u8; MAX_COMMAND_LINE],
    len: usize,
}

/// The argument block of SYS_GET_CMDLINE.
#[repr(C)]
struct Block {
    text: *mut c_char,
    /// Room before the call, length after it.
    len: usize,
}

impl CommandLine {
    /// Asks the debugger. Empty if it has none, or a longer one than [`MAX_COMMAND_LINE`] bytes.
    pub fn get() -> Self {
        let mut text = [0; MAX_COMMAND_LINE];
        let mut block = Block { text: text.as_mut_ptr().cast(), len: text.len() };
        // SAFETY: the operation takes a block of this layout, writes `len` bytes to `text` at most, and `len` itself. Both
        // live until it has returned. The assembler instruction counts as access to all memory, so that the compiler
        // reads both anew.
        #[expect(unsafe_code, reason = "there is no safe wrapper for this operation")]
        let result = unsafe { syscall1(nr::GET_CMDLINE, (&raw mut block).expose_provenance()) };
        let len = if result == 0 { terminated_len(&text) } else { 0 };
        Self { text, len }
    }

    /// The words; the first is the name of the program.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        let text = self.text.get(..self.len).unwrap_or_default();
        core::str::from_utf8(text).unwrap_or_default().split_ascii_whitespace()
    }
}

fn terminated_len(text: &[u8]) -> usize {
    text.iter().position(|byte| *byte == 0).unwrap_or(0)
}

/// Ends the program, and the emulator with code 0 or 1.
pub fn exit(success: bool) -> ! {
    debug::exit(if success { EXIT_SUCCESS } else { EXIT_FAILURE });
    // A debugger may let the program go on; there is nothing to go on with.
    loop {
        cortex_m::asm::wfi();
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    hprintln!("FAILED: {}", info);
    exit(false)
}
