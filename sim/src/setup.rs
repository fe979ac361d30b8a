//! Everything that is drawn before a run begins.

use core::time::Duration;

use iscsi_core::config::{Recovery, Timeouts};
use iscsi_core::driver::RecvBuf;
use iscsi_core::testing::{Faults, Rng};
use iscsi_core::text::{Digests, Limits};
use iscsi_core::{Config, InlineSession, IscsiName, Session};
use iscsi_target::{Quirks, TargetConfig};

use crate::Finding;
use crate::sabotage::Sabotage;
use crate::scenario::Rules;

/// Bytes of a block.
pub(crate) const BLOCK: usize = 512;

/// How long the initiator waits for a connection, where one may take long.
pub(crate) const CONNECT: Duration = Duration::from_secs(5);

/// Blocks of a lane up to which transfers count as small.
const SMALL: usize = 8;

/// Both sides' settings, the disks, the network.
#[derive(Debug)]
pub(crate) struct Setup {
    pub(crate) luns: usize,
    /// Lanes of each disk: in each runs one job at a time, so that the order of jobs does not matter.
    pub(crate) lanes: usize,
    pub(crate) lane_blocks: usize,
    pub(crate) target: TargetConfig,
    pub(crate) quirks: Quirks,
    pub(crate) initiator: Config,
    pub(crate) tasks: usize,
    pub(crate) network: Faults,
    /// So many connections have faults beyond those of the network.
    pub(crate) bad_connections: u32,
    pub(crate) scattered: bool,
    pub(crate) peeks: bool,
    /// Both ends offer ErrorRecoveryLevel 1.
    pub(crate) level_1: bool,
    /// Of so many in 1000 PDUs a bit flips where the data digest sees it.
    pub(crate) damage: u16,
}

impl Setup {
    pub(crate) fn draw(
        rng: &mut Rng,
        rules: Rules,
        sabotage: Option<Sabotage>,
    ) -> Result<Self, Finding> {
        let name = |name| IscsiName::new(name).map_err(|e| format!("{name}: {e}"));
        let mut target = TargetConfig::new(name("iqn.2001-04.com.example:disk")?);
        let digests = Digests::NONE_CRC32C;
        target.limits = Limits { header_digest: digests, data_digest: digests, ..limits(rng) };
        target.nop_interval = None;
        if !rules.is_timed() {
            target.login_timeout = Duration::from_secs(1_000_000);
        }
        let mut offer = limits(rng);
        if rules.is_digested() {
            offer.header_digest = Digests::CRC32C;
            offer.data_digest = Digests::CRC32C;
        }
        let level_1 = rules.data || (rules.flips || rules.mutates) && rng.below(2) == 0;
        if level_1 {
            for limits in [&mut target.limits, &mut offer] {
                limits.error_recovery_level = 1;
                limits.data_digest = Digests::CRC32C;
            }
        }
        if rules.recovers {
            target.limits.default_time2wait = pick(rng, &[0, 0, 1, 3]);
            offer.default_time2wait = pick(rng, &[0, 0, 1, 3]);
        }
        let recovery = if rules.recovers { recovery(rng) } else { Recovery::NEVER };
        if sabotage == Some(Sabotage::FlipsWithoutDigests) {
            offer.header_digest = Digests::NONE;
            offer.data_digest = Digests::NONE;
        }
        let initiator = Config::normal(name("iqn.2001-04.com.example:host")?, target.name.clone())
            .limits(offer)
            .timeouts(timeouts(rules))
            .recovery(recovery)
            .build()
            .map_err(|e| format!("the drawn configuration: {e}"))?;
        // What a fuzzer repeats must be short; what is large, or many, shows it nothing new.
        let (largest, luns, lanes) = if rng.is_for_fuzzing() { (24, 2, 2) } else { (160, 3, 4) };
        let lane_blocks = pick(rng, &[8, 8, 8, 8, 8, 8, 24, largest]);
        let backwards = !offer.data_sequence_in_order && !target.limits.data_sequence_in_order;
        Ok(Self {
            luns: 1 + rng.below(luns) as usize,
            lanes: 2 + rng.below(lanes) as usize,
            lane_blocks,
            quirks: quirks(rng, backwards, lane_blocks, sabotage),
            target,
            initiator,
            tasks: pick(rng, &[2, 6, 6, 8, 32]),
            network: network(rng, lane_blocks),
            bad_connections: if rules.loses() { 1 + rng.below(4) as u32 } else { 0 },
            scattered: rng.below(2) == 0,
            peeks: rng.below(3) == 0,
            level_1,
            damage: match sabotage {
                Some(Sabotage::UntoldDamage) => 1000,
                _ if rules.data => pick(rng, &[5, 20, 50]),
                _ => 0,
            },
        })
    }

    pub(crate) const fn disk_blocks(&self) -> usize {
        self.lanes * self.lane_blocks
    }

    /// A new session with the drawn configuration.
    pub(crate) fn session(&self) -> Result<Box<Session>, Finding> {
        let mut session: Box<Session> = match self.tasks {
            2 => Box::<InlineSession<2>>::default(),
            6 => Box::<InlineSession<6>>::default(),
            depth => Session::boxed(depth),
        };
        session.configure(self.initiator.clone()).map_err(|e| format!("configure: {e}"))?;
        Ok(session)
    }
}

pub(crate) fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.below(from.len() as u64) as usize]
}

/// A scratch of any size.
pub(crate) fn scratch(rng: &mut Rng) -> Box<RecvBuf> {
    match rng.below(5) {
        0 => Box::new(RecvBuf::new([])),
        1 => Box::new(RecvBuf::new([0; 1])),
        2 => Box::new(RecvBuf::new([0; 47])),
        3 => Box::new(RecvBuf::new([0; 512])),
        _ => RecvBuf::boxed(),
    }
}

fn limits(rng: &mut Rng) -> Limits {
    let digests = [Digests::NONE, Digests::NONE, Digests::CRC32C, Digests::CRC32C_NONE];
    let sizes = [512, 1000, 4096, 65_536, 262_144];
    let in_order = rng.below(4) > 0;
    Limits {
        header_digest: pick(rng, &digests),
        data_digest: pick(rng, &digests),
        initial_r2t: rng.below(2) == 0,
        immediate_data: rng.below(2) == 0,
        max_recv_data_segment_length: pick(rng, &sizes),
        max_burst_length: pick(rng, &sizes),
        first_burst_length: 512,
        max_outstanding_r2t: pick(rng, &[1, 2, 8]),
        data_pdu_in_order: in_order,
        data_sequence_in_order: in_order,
        ..Limits::DEFAULT
    }
}

fn network(rng: &mut Rng, lane_blocks: usize) -> Faults {
    let mut network = Faults::network(rng);
    let is_large = lane_blocks > SMALL || rng.is_for_fuzzing();
    if is_large || rng.below(40) > 0 {
        // Tiny windows take long; a few runs with them do.
        network.window = network.window.max(1_460);
    }
    if network.split > 100 && network.window < usize::MAX && (is_large || rng.below(16) > 0) {
        // A window that opens by the byte makes each byte a write of its own.
        network.window = network.window.max(if is_large { usize::MAX } else { 16_384 });
    }
    network
}

fn quirks(
    rng: &mut Rng,
    backwards: bool,
    lane_blocks: usize,
    sabotage: Option<Sabotage>,
) -> Quirks {
    let often = |rng: &mut Rng| rng.below(3) == 0;
    // Crumbs of large transfers take long and show nothing new.
    let crumbs = |rng: &mut Rng| often(rng) && lane_blocks <= SMALL;
    Quirks {
        window: often(rng).then(|| pick(rng, &[1, 2, 5])),
        separate_status: often(rng),
        data_in_length: crumbs(rng).then(|| pick(rng, &[60, 100, 1000])),
        r2t_length: crumbs(rng).then(|| pick(rng, &[100, 512, 1500])),
        r2t_backwards: backwards && often(rng),
        power_on_attention: often(rng),
        ignore: (sabotage == Some(Sabotage::IgnoredReads)).then_some(0x28),
        stat_sn_gap: u32::from(sabotage == Some(Sabotage::StatSnGap)),
        ..Quirks::default()
    }
}

fn recovery(rng: &mut Rng) -> Recovery {
    let millis = Duration::from_millis;
    let policy = match rng.below(4) {
        0 => Recovery::lasting(millis(pick(rng, &[500, 20_000, 100_000]))),
        _ => Recovery::FOREVER,
    };
    let first_delay = millis(pick(rng, &[1, 100, 1_000]));
    Recovery {
        first_delay,
        longest_delay: first_delay * pick(rng, &[1, 5, 30]),
        reissues: pick(rng, &[1, 3, 200, 200]),
        verify: rng.below(3) > 0,
        ..policy
    }
}

fn timeouts(rules: Rules) -> Timeouts {
    if !rules.damages() {
        // No keep-alive and no deadline helps a connection that is logged in.
        let never = Duration::from_secs(1_000_000);
        let making = if rules.recovers { CONNECT } else { never };
        return Timeouts {
            connect: making,
            login: making,
            command: None,
            task_management: never,
            text: never,
            logout: never,
            nop_interval: None,
            nop_timeout: never,
            progress: never,
            verify: making,
        };
    }
    let short = Duration::from_secs(5);
    Timeouts {
        connect: CONNECT,
        login: short,
        command: Some(short),
        task_management: short,
        text: short,
        logout: short,
        nop_interval: Some(short),
        nop_timeout: short,
        progress: short,
        verify: short,
    }
}
