//! What is printed for people, and for scripts that read libiscsi's tool of that name.

use core::time::Duration;
use std::io::{self, Write};

use hdrhistogram::Histogram;

use crate::output::Outcome;
use crate::perf::TOOL;
use crate::perf::stats::{Counted, Direction, PERCENTILES, Summary, per_second};
use crate::perf::workload::Workload;

/// The widest bar.
const BAR: u64 = 50;

/// Blanks over what is left of the line before.
const WIPE: &str = "                                                        ";

/// The lines before the run.
pub(crate) fn header(
    out: &mut impl Write,
    url: &str,
    capacity: u64,
    work: &Workload,
) -> Outcome<()> {
    let block = u64::from(work.block_size);
    let bytes = capacity.saturating_mul(block);
    writeln!(out, "{TOOL} version {}\n", env!("CARGO_PKG_VERSION"))?;
    writeln!(out, "connected to {url}")?;
    writeln!(out, "capacity is {capacity} blocks or {bytes} byte ({} MB)", bytes >> 20)?;
    let order = if work.random { "RANDOM" } else { "SEQUENTIAL" };
    let (mode, depth) = (work.mode.label(), work.depth);
    write!(out, "performing {order} {mode} with {depth} parallel requests")?;
    match work.sessions {
        1 => writeln!(out)?,
        sessions => writeln!(out, " in each of {sessions} sessions")?,
    }
    let (blocks, most) = (work.blocks, u64::from(work.blocks) * block);
    if work.random_blocks {
        writeln!(out, "RANDOM transfer size of 1 - {blocks} blocks ({block} - {most} byte)")?;
    } else {
        writeln!(out, "FIXED transfer size of {blocks} blocks ({most} byte)")?;
    }
    if work.span() < capacity {
        let last = work.range.end.saturating_sub(1);
        writeln!(out, "using blocks {} to {last}", work.range.start)?;
    }
    if !work.warm_up.is_zero() {
        writeln!(out, "will warm up for {} seconds.", work.warm_up.as_secs_f64())?;
    }
    match (work.time, work.count) {
        (None, None) => writeln!(out, "infinite runtime - press CTRL-C to abort.")?,
        (Some(time), None) => writeln!(out, "will run for {} seconds.", time.as_secs_f64())?,
        (None, Some(count)) => writeln!(out, "will run for {count} requests.")?,
        (Some(time), Some(count)) => {
            let seconds = time.as_secs_f64();
            writeln!(out, "will run for {seconds} seconds or {count} requests.")?;
        }
    }
    writeln!(out)?;
    Ok(out.flush()?)
}

/// The line of one second.
pub(crate) fn live(
    out: &mut impl Write,
    work: &Workload,
    logging: bool,
    time: Duration,
    second: (f64, f64),
    so_far: Counted,
) -> Outcome<()> {
    let (iops, rate) = (second.0 as u64, megabytes(second.1));
    let average = per_second(so_far.ios, time) as u64;
    let average_rate = megabytes(per_second(so_far.bytes, time));
    // What is left, or what has passed if there is no end.
    let shown = work.time.map_or(time, |all| all.saturating_sub(time)).as_secs_f64().round() as u64;
    let (hours, minutes, seconds) = (shown / 3600, shown / 60 % 60, shown % 60);
    let Counted { lba, in_flight, busy, .. } = so_far;
    write!(
        out,
        "\r{hours:02}:{minutes:02}:{seconds:02} - lba {lba}, iops current {iops} ({rate} MB/s), \
         iops average {average} ({average_rate} MB/s), in_flight {in_flight}, busy {busy}"
    )?;
    if let Some(progress) = progress(work, time, so_far.ios) {
        write!(out, ", {progress}%")?;
    }
    write!(out, "        {}", if logging { "\n" } else { "" })?;
    Ok(out.flush()?)
}

/// How much of it is done, in percent, if there is an end.
fn progress(work: &Workload, time: Duration, ios: u64) -> Option<u64> {
    let of = |part: f64, all: f64| part / all.max(1e-9);
    let by_time = work.time.map(|all| of(time.as_secs_f64(), all.as_secs_f64()));
    let commands = if work.mode == super::workload::Mode::Verify { 2.0 } else { 1.0 };
    let by_count = work.count.map(|all| of(ios as f64, all as f64 * commands));
    let done = by_time.into_iter().chain(by_count).reduce(f64::max)?;
    Some((done * 100.0).min(100.0) as u64)
}

/// The result: what libiscsi has not, and then its last lines.
pub(crate) fn result(out: &mut impl Write, summary: &Summary, histogram: bool) -> Outcome<()> {
    let recorder = &summary.recorder;
    for (name, direction) in [("read", &recorder.read), ("write", &recorder.write)] {
        if direction.ios > 0 {
            self::direction(out, name, direction, summary.time)?;
        }
    }
    let (each, all) = (summary.cpu_per_io(), summary.cpu.as_secs_f64());
    writeln!(out, "cpu: {each:.2} us per I/O, {all:.2} s in all")?;
    for (count, what) in [
        (summary.busy, "commands were sent again because the unit was busy"),
        (summary.losses, "connections were lost"),
        (recorder.errors, "I/Os failed"),
    ] {
        if count > 0 {
            writeln!(out, "{count} {what}")?;
        }
    }
    if histogram {
        writeln!(out)?;
        bars(out, &recorder.latency())?;
        writeln!(out)?;
    }
    let iops = per_second(recorder.ios(), summary.time) as u64;
    let rate = megabytes(per_second(recorder.bytes(), summary.time));
    writeln!(out, "\riops average {iops} ({rate} MB/s){WIPE}")?;
    writeln!(out, "\nfinished.")?;
    Ok(out.flush()?)
}

fn direction(out: &mut impl Write, name: &str, of: &Direction, time: Duration) -> io::Result<()> {
    let iops = per_second(of.ios, time);
    let rate = per_second(of.bytes, time) / f64::from(1 << 20);
    writeln!(out, "{name}: {} I/Os, {iops:.0} per second, {rate:.1} MB/s", of.ios)?;
    let micros = |nanos: u64| nanos as f64 / 1000.0;
    let latency = &of.latency;
    let (min, mean) = (micros(latency.min()), latency.mean() / 1000.0);
    write!(out, "  latency in us: min {min:.1}, mean {mean:.1}")?;
    for (percentile, name) in PERCENTILES {
        write!(out, ", {name} {:.1}", micros(latency.value_at_percentile(percentile)))?;
    }
    writeln!(out, ", max {:.1}", micros(latency.max()))
}

/// Latencies in classes that grow by `1 / per_octave` powers of two: lower bound in nanoseconds, upper bound, how many.
pub(crate) fn classes(latency: &Histogram<u64>, per_octave: u32) -> Vec<(u64, u64, u64)> {
    let bound = |n: u32| (1000.0 * 2_f64.powf(f64::from(n) / f64::from(per_octave))) as u64;
    let mut values = latency.iter_recorded().peekable();
    let mut classes = Vec::new();
    let mut low = 0;
    // Up to an hour; nothing longer is recorded.
    for high in (0..=32 * per_octave).map(bound) {
        let mut count = 0;
        while let Some(value) = values.next_if(|value| value.value_iterated_to() < high) {
            count += value.count_at_value();
        }
        if count > 0 || !classes.is_empty() {
            classes.push((low, high, count));
        }
        if values.peek().is_none() {
            break;
        }
        low = high;
    }
    classes
}

fn bars(out: &mut impl Write, latency: &Histogram<u64>) -> io::Result<()> {
    let classes = classes(latency, 1);
    let most = classes.iter().map(|class| class.2).max().unwrap_or(1).max(1);
    let all = latency.len().max(1) as f64;
    for (low, high, count) in classes {
        let length = usize::try_from((count * BAR).div_ceil(most)).unwrap_or(0);
        let (low, high) = (duration(low), duration(high));
        let percent = count as f64 * 100.0 / all;
        writeln!(out, "{low:>8} - {high:>8} {percent:6.2}% {}", "#".repeat(length))?;
    }
    Ok(())
}

/// A time for people.
pub(crate) fn duration(nanos: u64) -> String {
    match nanos {
        0..10_000_000 => format!("{} us", nanos / 1000),
        10_000_000..10_000_000_000 => format!("{} ms", nanos / 1_000_000),
        _ => format!("{} s", nanos / 1_000_000_000),
    }
}

/// As libiscsi counts them: 2^20 bytes, cut off.
fn megabytes(bytes: f64) -> u64 {
    bytes as u64 >> 20
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::perf::stats::Recorder;
    use crate::perf::workload::tests::workload;

    fn summary() -> Summary {
        let begin = Instant::now();
        let mut recorder = Recorder::new(begin);
        for n in 1..=1000 {
            let latency = Duration::from_micros(n);
            recorder.record(n % 4 == 0, 1 << 20, latency, begin + Duration::from_secs(2));
        }
        let time = recorder.time(begin);
        let cpu = Duration::from_millis(10);
        Summary { recorder, time, cpu, busy: 3, losses: 0, intervals: Vec::new() }
    }

    fn text(print: impl FnOnce(&mut Vec<u8>) -> Outcome<()>) -> String {
        let mut out = Vec::new();
        print(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_last_lines_are_those_of_libiscsi() {
        let text = text(|out| result(out, &summary(), false));
        let end = format!("\niops average 500 (500 MB/s){WIPE}\n\nfinished.\n");
        assert!(text.replace('\r', "").ends_with(&end), "{text}");
        assert!(text.contains("read: 750 I/Os, 375 per second, 375.0 MB/s\n"), "{text}");
        assert!(text.contains("write: 250 I/Os, 125 per second, 125.0 MB/s\n"), "{text}");
        assert!(text.contains("cpu: 10.00 us per I/O, 0.01 s in all\n"), "{text}");
        assert!(text.contains("\n3 commands were sent again"), "{text}");
        assert!(!text.contains("lost") && !text.contains("failed"), "{text}");
    }

    #[test]
    fn headers() {
        let text = text(|out| header(out, "iscsi://h/t/0", 32768, &workload()));
        let wanted = "\nconnected to iscsi://h/t/0\n\
            capacity is 32768 blocks or 16777216 byte (16 MB)\n\
            performing SEQUENTIAL READ with 4 parallel requests\n\
            FIXED transfer size of 8 blocks (4096 byte)\n\
            using blocks 100 to 199\n\
            infinite runtime - press CTRL-C to abort.\n\n";
        assert!(text.ends_with(wanted), "{text}");
    }

    #[test]
    fn a_second() {
        let so_far =
            Counted { ios: 3000, bytes: 3000 << 20, lba: 9, in_flight: 4, busy: 1, errors: 0 };
        let work = Workload { time: Some(Duration::from_secs(10)), ..workload() };
        let time = Duration::from_secs(2);
        let text = text(|out| live(out, &work, true, time, (2000.0, 2e6), so_far));
        assert_eq!(
            text,
            "\r00:00:08 - lba 9, iops current 2000 (1 MB/s), iops average 1500 (1500 MB/s), \
             in_flight 4, busy 1, 20%        \n"
        );
    }

    #[test]
    fn bars_show_every_io() {
        let latency = summary().recorder.latency();
        for per_octave in [1, 4] {
            let all: u64 = classes(&latency, per_octave).iter().map(|class| class.2).sum();
            assert_eq!(all, 1000, "{per_octave}");
        }
        let text = text(|out| Ok(bars(out, &latency)?));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 10, "{text}");
        assert!(
            lines[9].starts_with("  512 us -  1024 us  48.") && lines[9].ends_with(&"#".repeat(50))
        );
        assert!(classes(&Histogram::new(3).unwrap(), 1).is_empty());
    }

    #[test]
    fn times_for_people() {
        assert_eq!(
            [0, 9_999_999, 10_000_000, 4_000_000_000, 60_000_000_000].map(duration),
            ["0 us", "9999 us", "10 ms", "4000 ms", "60 s"]
        );
    }
}
