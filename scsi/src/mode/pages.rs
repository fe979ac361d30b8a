//! The mode pages.

use super::ModePageCode;
use crate::bytes::{Fields, Out, bit, clip16, cut};
use crate::fields::Bits;

/// One page of mode parameter data.
///
/// ```
/// use iscsi_scsi::mode::{ModeData, PageData};
/// let data = [15, 0, 0, 0, 0x8a, 10, 0x04, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// let page = ModeData::parse6(&data)?.pages().next().unwrap();
/// assert!(page.saveable);
/// assert!(matches!(page.data(), PageData::Control(control) if control.d_sense));
/// # Ok::<(), iscsi_scsi::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModePage<'a> {
    /// PS: the device can save the page.
    pub saveable: bool,
    /// Page code.
    pub code: ModePageCode,
    /// Subpage code, if the page has the subpage format.
    pub subpage: Option<u8>,
    /// The bytes after the length field.
    pub body: &'a [u8],
}

impl<'a> ModePage<'a> {
    /// The page decoded by its code. Fields that a short page does not have are 0.
    pub fn data(&self) -> PageData<'a> {
        let f = Fields(self.body);
        match (self.code, self.subpage) {
            (ModePageCode::CACHING, None) => PageData::Caching(CachingPage::parse(f)),
            (ModePageCode::CONTROL, None) => PageData::Control(ControlPage::parse(f)),
            (ModePageCode::DISCONNECT_RECONNECT, None) => {
                PageData::DisconnectReconnect(DisconnectReconnectPage::parse(f))
            }
            (ModePageCode::POWER_CONDITION, None) => {
                PageData::PowerCondition(PowerConditionPage::parse(f))
            }
            (ModePageCode::INFORMATIONAL_EXCEPTIONS, None) => {
                PageData::InformationalExceptions(InformationalExceptionsPage::parse(f))
            }
            (code, subpage) => PageData::Other(RawPage { code, subpage, body: self.body }),
        }
    }
}

/// The pages in a list; one that is cut off ends the iteration.
pub(super) fn pages<'a>(mut rest: &'a [u8]) -> impl Iterator<Item = ModePage<'a>> + Clone {
    core::iter::from_fn(move || {
        let &first = rest.first()?;
        let (subpage, length, after) = if first & 0x40 == 0 {
            let (&[_, length], after) = rest.split_first_chunk()?;
            (None, u16::from(length), after)
        } else {
            let (&[_, subpage, high, low], after) = rest.split_first_chunk()?;
            (Some(subpage), u16::from_be_bytes([high, low]), after)
        };
        let (body, after) = after.split_at_checked(length.into())?;
        rest = after;
        let code = ModePageCode::from_bits(first);
        Some(ModePage { saveable: first & 0x80 != 0, code, subpage, body })
    })
}

/// A page of which only the frame is known.
///
/// ```
/// use iscsi_scsi::mode::{ModePageCode, RawPage};
/// let page = RawPage { code: ModePageCode::CONTROL, subpage: Some(1), body: &[0; 28] };
/// assert_eq!(page.body.len(), 28);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RawPage<'a> {
    /// Page code.
    pub code: ModePageCode,
    /// Subpage code, if the page has the subpage format.
    pub subpage: Option<u8>,
    /// The bytes after the length field: at most 255, or 65535 with a subpage code.
    pub body: &'a [u8],
}

/// A decoded page.
///
/// ```
/// use iscsi_scsi::mode::{CachingPage, ModePageCode, PageData};
/// let page = PageData::Caching(CachingPage::default());
/// assert_eq!(page.code(), ModePageCode::CACHING);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PageData<'a> {
    /// Page 02h.
    DisconnectReconnect(DisconnectReconnectPage),
    /// Page 08h.
    Caching(CachingPage),
    /// Page 0Ah.
    Control(ControlPage),
    /// Page 1Ah.
    PowerCondition(PowerConditionPage),
    /// Page 1Ch.
    InformationalExceptions(InformationalExceptionsPage),
    /// A page without a decoder.
    Other(RawPage<'a>),
}

impl PageData<'_> {
    /// Page code.
    pub fn code(&self) -> ModePageCode {
        match self {
            Self::DisconnectReconnect(_) => ModePageCode::DISCONNECT_RECONNECT,
            Self::Caching(_) => ModePageCode::CACHING,
            Self::Control(_) => ModePageCode::CONTROL,
            Self::PowerCondition(_) => ModePageCode::POWER_CONDITION,
            Self::InformationalExceptions(_) => ModePageCode::INFORMATIONAL_EXCEPTIONS,
            Self::Other(page) => page.code,
        }
    }

    /// Writes the page with its header. PS is never set: nothing here can be saved.
    pub(super) fn emit(&self, out: &mut Out<'_>) {
        let code = self.code().code();
        let header = |length: u8, out: &mut Out<'_>| {
            out.u8(code).u8(length);
        };
        match self {
            Self::DisconnectReconnect(page) => {
                header(0x0e, out);
                page.emit(out);
            }
            Self::Caching(page) => {
                header(0x12, out);
                page.emit(out);
            }
            Self::Control(page) => {
                header(0x0a, out);
                page.emit(out);
            }
            Self::PowerCondition(page) => {
                header(0x26, out);
                page.emit(out);
            }
            Self::InformationalExceptions(page) => {
                header(0x0a, out);
                page.emit(out);
            }
            Self::Other(page) => match page.subpage {
                None => {
                    let body = cut(page.body, 0xff);
                    header(u8::try_from(body.len()).unwrap_or(u8::MAX), out);
                    out.bytes(body);
                }
                Some(subpage) => {
                    let body = cut(page.body, 0xffff);
                    out.u8(code | 0x40).u8(subpage).u16(clip16(body.len())).bytes(body);
                }
            },
        }
    }
}

/// Caching, page 08h.
///
/// ```
/// use iscsi_scsi::mode::CachingPage;
/// let page = CachingPage { wce: true, ..Default::default() };
/// assert!(page.wce && !page.rcd);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CachingPage {
    /// IC: the application client controls the cache.
    pub ic: bool,
    /// ABPF: abort pre-fetch.
    pub abpf: bool,
    /// CAP: caching analysis permitted.
    pub cap: bool,
    /// DISC: pre-fetch across discontinuities.
    pub disc: bool,
    /// SIZE: the segment size is used.
    pub size: bool,
    /// WCE: write cache enabled. GOOD does not mean that data is on the medium.
    pub wce: bool,
    /// MF: the pre-fetch fields are multiplied by the transfer length.
    pub mf: bool,
    /// RCD: read cache disabled.
    pub rcd: bool,
    /// DEMAND READ RETENTION PRIORITY.
    pub read_retention_priority: Bits<4>,
    /// WRITE RETENTION PRIORITY.
    pub write_retention_priority: Bits<4>,
    /// DISABLE PRE-FETCH TRANSFER LENGTH.
    pub disable_prefetch_transfer_length: u16,
    /// MINIMUM PRE-FETCH.
    pub min_prefetch: u16,
    /// MAXIMUM PRE-FETCH.
    pub max_prefetch: u16,
    /// MAXIMUM PRE-FETCH CEILING.
    pub max_prefetch_ceiling: u16,
    /// FSW: force sequential write.
    pub fsw: bool,
    /// LBCSS: the segment size counts blocks.
    pub lbcss: bool,
    /// DRA: disable read-ahead.
    pub dra: bool,
    /// NV_DIS: the non-volatile cache is disabled.
    pub nv_dis: bool,
    /// NUMBER OF CACHE SEGMENTS.
    pub cache_segments: u8,
    /// CACHE SEGMENT SIZE.
    pub cache_segment_size: u16,
}

// Offsets below are those of the standard's tables less 2: the body starts after the length.
impl CachingPage {
    fn parse(f: Fields<'_>) -> Self {
        Self {
            ic: f.flag(0, 0x80),
            abpf: f.flag(0, 0x40),
            cap: f.flag(0, 0x20),
            disc: f.flag(0, 0x10),
            size: f.flag(0, 0x08),
            wce: f.flag(0, 0x04),
            mf: f.flag(0, 0x02),
            rcd: f.flag(0, 0x01),
            read_retention_priority: Bits::from_bits(f.u8(1) >> 4),
            write_retention_priority: Bits::from_bits(f.u8(1)),
            disable_prefetch_transfer_length: f.u16(2),
            min_prefetch: f.u16(4),
            max_prefetch: f.u16(6),
            max_prefetch_ceiling: f.u16(8),
            fsw: f.flag(10, 0x80),
            lbcss: f.flag(10, 0x40),
            dra: f.flag(10, 0x20),
            nv_dis: f.flag(10, 0x01),
            cache_segments: f.u8(11),
            cache_segment_size: f.u16(12),
        }
    }

    fn emit(&self, out: &mut Out<'_>) {
        out.u8(bit(self.ic, 0x80)
            | bit(self.abpf, 0x40)
            | bit(self.cap, 0x20)
            | bit(self.disc, 0x10)
            | bit(self.size, 0x08)
            | bit(self.wce, 0x04)
            | bit(self.mf, 0x02)
            | bit(self.rcd, 0x01))
            .u8(self.read_retention_priority.get() << 4 | self.write_retention_priority.get())
            .u16(self.disable_prefetch_transfer_length)
            .u16(self.min_prefetch)
            .u16(self.max_prefetch)
            .u16(self.max_prefetch_ceiling)
            .u8(bit(self.fsw, 0x80)
                | bit(self.lbcss, 0x40)
                | bit(self.dra, 0x20)
                | bit(self.nv_dis, 0x01))
            .u8(self.cache_segments)
            .u16(self.cache_segment_size)
            .zeros(4);
    }
}

/// Control, page 0Ah.
///
/// ```
/// use iscsi_scsi::mode::ControlPage;
/// let page = ControlPage { swp: true, ..Default::default() };
/// assert!(page.swp, "software write protect");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ControlPage {
    /// TST: 1 is one task set for each I_T nexus.
    pub tst: Bits<3>,
    /// TMF_ONLY: task management in ACA only.
    pub tmf_only: bool,
    /// DPICZ: do not check protection information if RDPROTECT is 0.
    pub dpicz: bool,
    /// D_SENSE: descriptor format sense data.
    pub d_sense: bool,
    /// GLTSD: do not save log parameters.
    pub gltsd: bool,
    /// RLEC: report log exception conditions.
    pub rlec: bool,
    /// QUEUE ALGORITHM MODIFIER: 1 is unrestricted reordering.
    pub queue_algorithm: Bits<4>,
    /// NUAR: no unit attention on release.
    pub nuar: bool,
    /// QERR: what happens to other tasks on CHECK CONDITION.
    pub qerr: Bits<2>,
    /// RAC: report a check.
    pub rac: bool,
    /// UA_INTLCK_CTRL: whether unit attentions stay until cleared.
    pub ua_intlck: Bits<2>,
    /// SWP: software write protect.
    pub swp: bool,
    /// ATO: the application client owns the application tag.
    pub ato: bool,
    /// TAS: tasks aborted by another nexus end with TASK ABORTED.
    pub tas: bool,
    /// ATMPE: the application tag mode page is used.
    pub atmpe: bool,
    /// RWWP: writes without protection are rejected.
    pub rwwp: bool,
    /// AUTOLOAD MODE.
    pub autoload: Bits<3>,
    /// BUSY TIMEOUT PERIOD in 100 ms; ffffh is unlimited.
    pub busy_timeout: u16,
    /// EXTENDED SELF-TEST COMPLETION TIME in seconds.
    pub self_test_time: u16,
}

impl ControlPage {
    fn parse(f: Fields<'_>) -> Self {
        Self {
            tst: Bits::from_bits(f.u8(0) >> 5),
            tmf_only: f.flag(0, 0x10),
            dpicz: f.flag(0, 0x08),
            d_sense: f.flag(0, 0x04),
            gltsd: f.flag(0, 0x02),
            rlec: f.flag(0, 0x01),
            queue_algorithm: Bits::from_bits(f.u8(1) >> 4),
            nuar: f.flag(1, 0x08),
            qerr: Bits::from_bits(f.u8(1) >> 1),
            rac: f.flag(2, 0x40),
            ua_intlck: Bits::from_bits(f.u8(2) >> 4),
            swp: f.flag(2, 0x08),
            ato: f.flag(3, 0x80),
            tas: f.flag(3, 0x40),
            atmpe: f.flag(3, 0x20),
            rwwp: f.flag(3, 0x10),
            autoload: Bits::from_bits(f.u8(3)),
            busy_timeout: f.u16(6),
            self_test_time: f.u16(8),
        }
    }

    fn emit(&self, out: &mut Out<'_>) {
        out.u8(self.tst.get() << 5
            | bit(self.tmf_only, 0x10)
            | bit(self.dpicz, 0x08)
            | bit(self.d_sense, 0x04)
            | bit(self.gltsd, 0x02)
            | bit(self.rlec, 0x01))
            .u8(self.queue_algorithm.get() << 4 | bit(self.nuar, 0x08) | self.qerr.get() << 1)
            .u8(bit(self.rac, 0x40) | self.ua_intlck.get() << 4 | bit(self.swp, 0x08))
            .u8(bit(self.ato, 0x80)
                | bit(self.tas, 0x40)
                | bit(self.atmpe, 0x20)
                | bit(self.rwwp, 0x10)
                | self.autoload.get())
            .zeros(2)
            .u16(self.busy_timeout)
            .u16(self.self_test_time);
    }
}

/// Disconnect-reconnect, page 02h.
///
/// ```
/// use iscsi_scsi::mode::DisconnectReconnectPage;
/// let page = DisconnectReconnectPage { max_burst_size: 512, ..Default::default() };
/// assert_eq!(page.max_burst_size, 512);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DisconnectReconnectPage {
    /// BUFFER FULL RATIO.
    pub buffer_full_ratio: u8,
    /// BUFFER EMPTY RATIO.
    pub buffer_empty_ratio: u8,
    /// BUS INACTIVITY LIMIT.
    pub bus_inactivity_limit: u16,
    /// DISCONNECT TIME LIMIT.
    pub disconnect_time_limit: u16,
    /// CONNECT TIME LIMIT.
    pub connect_time_limit: u16,
    /// MAXIMUM BURST SIZE in 512 bytes.
    pub max_burst_size: u16,
    /// EMDP: data may be modified while the pointer moves, that is, come out of order.
    pub emdp: bool,
    /// FAIR ARBITRATION.
    pub fair_arbitration: Bits<3>,
    /// DIMM: disconnect immediate.
    pub dimm: bool,
    /// DTDC: data transfer disconnect control.
    pub dtdc: Bits<3>,
    /// FIRST BURST SIZE in 512 bytes.
    pub first_burst_size: u16,
}

impl DisconnectReconnectPage {
    fn parse(f: Fields<'_>) -> Self {
        Self {
            buffer_full_ratio: f.u8(0),
            buffer_empty_ratio: f.u8(1),
            bus_inactivity_limit: f.u16(2),
            disconnect_time_limit: f.u16(4),
            connect_time_limit: f.u16(6),
            max_burst_size: f.u16(8),
            emdp: f.flag(10, 0x80),
            fair_arbitration: Bits::from_bits(f.u8(10) >> 4),
            dimm: f.flag(10, 0x08),
            dtdc: Bits::from_bits(f.u8(10)),
            first_burst_size: f.u16(12),
        }
    }

    fn emit(&self, out: &mut Out<'_>) {
        out.u8(self.buffer_full_ratio)
            .u8(self.buffer_empty_ratio)
            .u16(self.bus_inactivity_limit)
            .u16(self.disconnect_time_limit)
            .u16(self.connect_time_limit)
            .u16(self.max_burst_size)
            .u8(bit(self.emdp, 0x80)
                | self.fair_arbitration.get() << 4
                | bit(self.dimm, 0x08)
                | self.dtdc.get())
            .zeros(1)
            .u16(self.first_burst_size);
    }
}

/// Power condition, page 1Ah. The timers count 100 ms.
///
/// ```
/// use iscsi_scsi::mode::PowerConditionPage;
/// let page = PowerConditionPage { standby_z: true, standby_z_timer: 600, ..Default::default() };
/// assert_eq!(page.standby_z_timer, 600);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PowerConditionPage {
    /// PM_BG_PRECEDENCE: background work or power conditions first.
    pub pm_bg_precedence: Bits<2>,
    /// STANDBY_Y timer enabled.
    pub standby_y: bool,
    /// IDLE_C timer enabled.
    pub idle_c: bool,
    /// IDLE_B timer enabled.
    pub idle_b: bool,
    /// IDLE_A timer enabled.
    pub idle_a: bool,
    /// STANDBY_Z timer enabled.
    pub standby_z: bool,
    /// IDLE_A condition timer.
    pub idle_a_timer: u32,
    /// STANDBY_Z condition timer.
    pub standby_z_timer: u32,
    /// IDLE_B condition timer.
    pub idle_b_timer: u32,
    /// IDLE_C condition timer.
    pub idle_c_timer: u32,
    /// STANDBY_Y condition timer.
    pub standby_y_timer: u32,
    /// CCF IDLE: a check condition when leaving idle.
    pub ccf_idle: Bits<2>,
    /// CCF STANDBY.
    pub ccf_standby: Bits<2>,
    /// CCF STOPPED.
    pub ccf_stopped: Bits<2>,
}

impl PowerConditionPage {
    fn parse(f: Fields<'_>) -> Self {
        Self {
            pm_bg_precedence: Bits::from_bits(f.u8(0) >> 6),
            standby_y: f.flag(0, 0x01),
            idle_c: f.flag(1, 0x08),
            idle_b: f.flag(1, 0x04),
            idle_a: f.flag(1, 0x02),
            standby_z: f.flag(1, 0x01),
            idle_a_timer: f.u32(2),
            standby_z_timer: f.u32(6),
            idle_b_timer: f.u32(10),
            idle_c_timer: f.u32(14),
            standby_y_timer: f.u32(18),
            ccf_idle: Bits::from_bits(f.u8(37) >> 6),
            ccf_standby: Bits::from_bits(f.u8(37) >> 4),
            ccf_stopped: Bits::from_bits(f.u8(37) >> 2),
        }
    }

    fn emit(&self, out: &mut Out<'_>) {
        out.u8(self.pm_bg_precedence.get() << 6 | bit(self.standby_y, 0x01))
            .u8(bit(self.idle_c, 0x08)
                | bit(self.idle_b, 0x04)
                | bit(self.idle_a, 0x02)
                | bit(self.standby_z, 0x01))
            .u32(self.idle_a_timer)
            .u32(self.standby_z_timer)
            .u32(self.idle_b_timer)
            .u32(self.idle_c_timer)
            .u32(self.standby_y_timer)
            .zeros(15)
            .u8(self.ccf_idle.get() << 6
                | self.ccf_standby.get() << 4
                | self.ccf_stopped.get() << 2);
    }
}

/// Informational exceptions control, page 1Ch.
///
/// ```
/// use iscsi_scsi::mode::InformationalExceptionsPage;
/// let page = InformationalExceptionsPage { dexcpt: true, ..Default::default() };
/// assert!(page.dexcpt, "disabled");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InformationalExceptionsPage {
    /// PERF: no delays for informational exceptions.
    pub perf: bool,
    /// EBF: enable background functions.
    pub ebf: bool,
    /// EWASC: enable warnings.
    pub ewasc: bool,
    /// DEXCPT: disable.
    pub dexcpt: bool,
    /// TEST: report a false failure prediction.
    pub test: bool,
    /// EBACKERR: report background errors.
    pub ebackerr: bool,
    /// LOGERR: log.
    pub logerr: bool,
    /// MRIE: method of reporting.
    pub mrie: Bits<4>,
    /// INTERVAL TIMER in 100 ms.
    pub interval_timer: u32,
    /// REPORT COUNT; 0 is unlimited.
    pub report_count: u32,
}

impl InformationalExceptionsPage {
    fn parse(f: Fields<'_>) -> Self {
        Self {
            perf: f.flag(0, 0x80),
            ebf: f.flag(0, 0x20),
            ewasc: f.flag(0, 0x10),
            dexcpt: f.flag(0, 0x08),
            test: f.flag(0, 0x04),
            ebackerr: f.flag(0, 0x02),
            logerr: f.flag(0, 0x01),
            mrie: Bits::from_bits(f.u8(1)),
            interval_timer: f.u32(2),
            report_count: f.u32(6),
        }
    }

    fn emit(&self, out: &mut Out<'_>) {
        out.u8(bit(self.perf, 0x80)
            | bit(self.ebf, 0x20)
            | bit(self.ewasc, 0x10)
            | bit(self.dexcpt, 0x08)
            | bit(self.test, 0x04)
            | bit(self.ebackerr, 0x02)
            | bit(self.logerr, 0x01))
            .u8(self.mrie.get())
            .u32(self.interval_timer)
            .u32(self.report_count);
    }
}
