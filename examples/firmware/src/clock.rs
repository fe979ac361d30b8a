//! Time since the start, counted by the SysTick interrupt.

use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::exception;

/// Of the board's processor.
const CORE_HZ: u32 = 25_000_000;
const TICKS_PER_SECOND: u32 = 1_000;

/// Milliseconds, modulo 2^32.
static MILLIS: AtomicU32 = AtomicU32::new(0);

#[exception]
fn SysTick() {
    MILLIS.fetch_add(1, Ordering::Relaxed);
}

/// A clock that never goes back and does not wrap around.
#[derive(Debug)]
pub struct Clock {
    last: u32,
    millis: u64,
}

impl Clock {
    /// Starts the interrupt.
    pub fn start(mut timer: SYST) -> Self {
        timer.set_clock_source(SystClkSource::Core);
        timer.set_reload(CORE_HZ / TICKS_PER_SECOND - 1);
        timer.clear_current();
        timer.enable_counter();
        timer.enable_interrupt();
        Self { last: 0, millis: 0 }
    }

    /// Milliseconds since the start. To be asked once in 49 days at least.
    pub fn millis(&mut self) -> u64 {
        let now = MILLIS.load(Ordering::Relaxed);
        self.millis += u64::from(now.wrapping_sub(self.last));
        self.last = now;
        self.millis
    }

    /// Sleeps until the next interrupt: a millisecond at most.
    pub fn sleep(&self) {
        cortex_m::asm::wfi();
    }

    /// Sleeps until the condition holds, or for so many milliseconds. Whether it holds.
    pub fn wait_for(&mut self, millis: u64, mut condition: impl FnMut() -> bool) -> bool {
        let end = self.millis() + millis;
        loop {
            if condition() {
                return true;
            }
            if self.millis() >= end {
                return false;
            }
            self.sleep();
        }
    }
}
