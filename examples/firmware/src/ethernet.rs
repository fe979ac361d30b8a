//! The board's Ethernet controller, an SMSC LAN9118 (the board itself has its sibling LAN9220), polled.
//!
//! Frames go through two FIFOs, word by word; a status FIFO tells the length of each frame received. The controller
//! makes and checks the frame check sequence.

use core::fmt;
use core::ptr;
use core::sync::atomic::{AtomicBool, Ordering};

use smoltcp::phy::{Device, DeviceCapabilities, Medium};
use smoltcp::time::Instant;

use crate::clock::Clock;

/// Where the board maps the controller.
const BASE: usize = 0x4020_0000;

/// Longest frame without its check sequence, which the controller adds and checks.
const LONGEST: usize = 1514;
const CHECK_SEQUENCE: usize = 4;
const SHORTEST: usize = 14;
/// Room for a frame and its check sequence, in whole words.
const ROOM: usize = (LONGEST + CHECK_SEQUENCE).next_multiple_of(4);

/// Frames that the receive FIFO has room for: 10 KiB.
const BURST: usize = 6;

/// Damaged frames that are skipped in one call: others have to be heard, too.
const SKIPS: usize = 8;

/// For what the controller does by itself within microseconds.
const MOMENT: u64 = 100;
/// For the other end of the cable.
const LINK_MILLIS: u64 = 3_000;

/// Registers of the controller, by offset.
#[derive(Debug, Clone, Copy)]
enum Register {
    RxData = 0x00,
    TxData = 0x20,
    RxStatus = 0x40,
    TxStatus = 0x48,
    ByteTest = 0x64,
    TxCfg = 0x70,
    HwCfg = 0x74,
    RxFifoInf = 0x7c,
    TxFifoInf = 0x80,
    PmtCtrl = 0x84,
    FreeRun = 0x9c,
    MacCmd = 0xa4,
    MacData = 0xa8,
}

/// Registers behind [`Register::MacCmd`].
#[derive(Debug, Clone, Copy)]
enum Mac {
    Control = 1,
    AddressHigh = 2,
    AddressLow = 3,
    MiiAccess = 6,
    MiiData = 7,
}

const BYTE_TEST: u32 = 0x8765_4321;
const HW_CFG_SOFT_RESET: u32 = 1;
/// A bit that has to be set, and 5 KiB of the memory for the transmit FIFO.
const HW_CFG: u32 = 1 << 20 | 5 << 16;
const PMT_READY: u32 = 1;
const TX_ON: u32 = 1 << 1;
const MAC_BUSY: u32 = 1 << 31;
const MAC_READ: u32 = 1 << 30;
const MAC_FULL_DUPLEX: u32 = 1 << 20;
const MAC_TX_ON: u32 = 1 << 3;
const MAC_RX_ON: u32 = 1 << 2;
const MII_BUSY: u32 = 1;
const RX_ERROR: u32 = 1 << 15;
const TX_FIRST: u32 = 1 << 13;
const TX_LAST: u32 = 1 << 12;

/// The PHY inside, its register "status", and "link is up" in it.
const PHY: u32 = 1 << 11;
const PHY_STATUS: u32 = 1 << 6;
const PHY_LINK: u32 = 1 << 2;

/// Why there is no Ethernet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EthernetError {
    /// It was taken already.
    Taken,
    /// Another device, or none, is at the controller's address.
    NoController,
    /// The controller does not do what it should.
    Stuck,
    /// No cable, or nobody at its other end.
    NoLink,
}

impl fmt::Display for EthernetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Taken => "the Ethernet controller is in use",
            Self::NoController => "there is no Ethernet controller",
            Self::Stuck => "the Ethernet controller does not answer",
            Self::NoLink => "the network cable has no link",
        })
    }
}

/// The registers. Whoever has this value is the only one who uses them.
#[derive(Debug)]
struct Registers(());

impl Registers {
    fn take() -> Option<Self> {
        static TAKEN: AtomicBool = AtomicBool::new(false);
        (!TAKEN.swap(true, Ordering::Relaxed)).then_some(Self(()))
    }

    fn read(&self, register: Register) -> u32 {
        let address = ptr::with_exposed_provenance::<u32>(BASE + register as usize);
        // SAFETY: the address is that of a register of 32 bits on this board, aligned and always mapped, and not memory that Rust
        // knows of. Reading may pop a FIFO, which concerns nobody but this value.
        #[expect(unsafe_code, reason = "registers are reached by address")]
        unsafe {
            address.read_volatile()
        }
    }

    fn write(&self, register: Register, value: u32) {
        let address = ptr::with_exposed_provenance_mut::<u32>(BASE + register as usize);
        // SAFETY: as above. No register of this controller makes it write to memory: it has no DMA.
        #[expect(unsafe_code, reason = "registers are reached by address")]
        unsafe {
            address.write_volatile(value);
        }
    }

    fn read_mac(&self, mac: Mac, clock: &mut Clock) -> Result<u32, EthernetError> {
        self.write(Register::MacCmd, MAC_BUSY | MAC_READ | mac as u32);
        self.mac_done(clock)?;
        Ok(self.read(Register::MacData))
    }

    fn write_mac(&self, mac: Mac, value: u32, clock: &mut Clock) -> Result<(), EthernetError> {
        self.write(Register::MacData, value);
        self.write(Register::MacCmd, MAC_BUSY | mac as u32);
        self.mac_done(clock)
    }

    fn mac_done(&self, clock: &mut Clock) -> Result<(), EthernetError> {
        soon(clock, || self.read(Register::MacCmd) & MAC_BUSY == 0)
    }

    fn link(&self, clock: &mut Clock) -> Result<bool, EthernetError> {
        self.write_mac(Mac::MiiAccess, PHY | PHY_STATUS | MII_BUSY, clock)?;
        if self.read_mac(Mac::MiiAccess, clock)? & MII_BUSY != 0 {
            return Ok(false);
        }
        Ok(self.read_mac(Mac::MiiData, clock)? & PHY_LINK != 0)
    }
}

fn soon(clock: &mut Clock, condition: impl FnMut() -> bool) -> Result<(), EthernetError> {
    if clock.wait_for(MOMENT, condition) { Ok(()) } else { Err(EthernetError::Stuck) }
}

/// The controller with room for one frame in each direction.
#[derive(Debug)]
pub struct Ethernet {
    registers: Registers,
    address: [u8; 6],
    received: [u8; ROOM],
    sending: [u8; ROOM],
}

impl Ethernet {
    /// Resets the controller and waits for a link.
    ///
    /// # Errors
    /// [`EthernetError`]
    pub fn start(clock: &mut Clock) -> Result<Self, EthernetError> {
        let registers = Registers::take().ok_or(EthernetError::Taken)?;
        if registers.read(Register::ByteTest) != BYTE_TEST {
            return Err(EthernetError::NoController);
        }
        registers.write(Register::HwCfg, HW_CFG_SOFT_RESET);
        soon(clock, || registers.read(Register::HwCfg) & HW_CFG_SOFT_RESET == 0)?;
        soon(clock, || registers.read(Register::PmtCtrl) & PMT_READY != 0)?;
        registers.write(Register::HwCfg, HW_CFG);
        registers.write(Register::TxCfg, TX_ON);
        let control = MAC_FULL_DUPLEX | MAC_TX_ON | MAC_RX_ON;
        registers.write_mac(Mac::Control, control, clock)?;
        let end = clock.millis() + LINK_MILLIS;
        while !registers.link(clock)? {
            if clock.millis() >= end {
                return Err(EthernetError::NoLink);
            }
            clock.sleep();
        }
        // Reset has loaded the address from the controller's EEPROM.
        let low = registers.read_mac(Mac::AddressLow, clock)?.to_le_bytes();
        let high = registers.read_mac(Mac::AddressHigh, clock)?.to_le_bytes();
        let address = [low[0], low[1], low[2], low[3], high[0], high[1]];
        Ok(Self { registers, address, received: [0; ROOM], sending: [0; ROOM] })
    }

    /// The address of this station.
    pub const fn address(&self) -> [u8; 6] {
        self.address
    }

    /// A counter that runs with 25 MHz since power came.
    pub fn counter(&self) -> u32 {
        self.registers.read(Register::FreeRun)
    }

    /// Takes the next good frame out of the FIFO; its length.
    fn pull(&mut self) -> Option<usize> {
        for _ in 0..SKIPS {
            if self.registers.read(Register::RxFifoInf) >> 16 & 0xff == 0 {
                return None;
            }
            let status = self.registers.read(Register::RxStatus);
            let len = (status >> 16 & 0x3fff) as usize;
            let words = len.div_ceil(4);
            let lengths = SHORTEST + CHECK_SEQUENCE..=LONGEST + CHECK_SEQUENCE;
            if status & RX_ERROR != 0 || !lengths.contains(&len) {
                for _ in 0..words {
                    self.registers.read(Register::RxData);
                }
                continue;
            }
            for word in self.received.chunks_exact_mut(4).take(words) {
                word.copy_from_slice(&self.registers.read(Register::RxData).to_le_bytes());
            }
            return Some(len - CHECK_SEQUENCE);
        }
        None
    }

    /// Whether the FIFO has room for the longest frame and its two command words.
    fn has_room(&self) -> bool {
        // Nobody asks how the sending went, but the answers must be taken.
        let answers = self.registers.read(Register::TxFifoInf) >> 16 & 0xff;
        for _ in 0..answers {
            self.registers.read(Register::TxStatus);
        }
        let free = self.registers.read(Register::TxFifoInf) & 0xffff;
        free as usize >= ROOM + 8
    }
}

impl Device for Ethernet {
    type RxToken<'a> = RxToken<'a>;
    type TxToken<'a> = TxToken<'a>;

    fn receive(&mut self, _: Instant) -> Option<(RxToken<'_>, TxToken<'_>)> {
        // What a frame asks for, it may be answered with at once.
        if !self.has_room() {
            return None;
        }
        let len = self.pull()?;
        let frame = self.received.get(..len)?;
        Some((RxToken(frame), TxToken { registers: &self.registers, frame: &mut self.sending }))
    }

    fn transmit(&mut self, _: Instant) -> Option<TxToken<'_>> {
        self.has_room().then_some(TxToken { registers: &self.registers, frame: &mut self.sending })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = LONGEST;
        capabilities.max_burst_size = Some(BURST);
        capabilities
    }
}

/// A frame that has arrived.
#[derive(Debug)]
pub struct RxToken<'a>(&'a [u8]);

impl smoltcp::phy::RxToken for RxToken<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

/// The right to send a frame.
#[derive(Debug)]
pub struct TxToken<'a> {
    registers: &'a Registers,
    frame: &'a mut [u8; ROOM],
}

impl smoltcp::phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        // The interface keeps to the length that `capabilities` names.
        let frame = &mut self.frame[..len];
        let result = f(frame);
        let len = len as u32;
        self.registers.write(Register::TxData, TX_FIRST | TX_LAST | len);
        self.registers.write(Register::TxData, len);
        for bytes in frame.chunks(4) {
            let mut word = [0; 4];
            word[..bytes.len()].copy_from_slice(bytes);
            self.registers.write(Register::TxData, u32::from_le_bytes(word));
        }
        result
    }
}
