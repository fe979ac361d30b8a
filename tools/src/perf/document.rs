//! The result as JSON.

use core::time::Duration;

use hdrhistogram::Histogram;
use iscsi_core::url::IscsiUrl;
use serde_json::{Map, Value, json};

use crate::perf::args::Runtime;
use crate::perf::stats::{Direction, PERCENTILES, Summary, per_second};
use crate::perf::workload::{Mode, Workload};

/// What was asked for, and what came out.
pub(crate) fn document(
    url: &IscsiUrl,
    runtime: Runtime,
    work: &Workload,
    summary: &Summary,
) -> Value {
    let recorder = &summary.recorder;
    let (mode, read_percent) = match work.mode {
        Mode::Read => ("read", None),
        Mode::Write => ("write", None),
        Mode::Mixed(percent) => ("mixed", Some(percent)),
        Mode::Verify => ("verify", None),
    };
    let mut all = direction(recorder.ios(), recorder.bytes(), summary.time, &recorder.latency());
    let seconds = |time: Duration| time.as_secs_f64();
    let intervals = summary.intervals.iter().map(|interval| {
        json!({
            "seconds": seconds(interval.at),
            "iops": interval.iops,
            "bytes_per_second": interval.bytes_per_second,
        })
    });
    let more = json!({
        "url": url.to_string(),
        "runtime": runtime.label(),
        "mode": mode,
        "read_percent": read_percent,
        "random": work.random,
        "blocks": work.blocks,
        "random_blocks": work.random_blocks,
        "block_size": work.block_size,
        "first": work.range.start,
        "span": work.span(),
        "queue_depth": work.depth,
        "sessions": work.sessions,
        "seed": work.seed,
        "rate": work.rate,
        "warm_up_seconds": seconds(work.warm_up),
        "seconds": seconds(summary.time),
        "read": of(&recorder.read, summary.time),
        "write": of(&recorder.write, summary.time),
        "cpu_seconds": seconds(summary.cpu),
        "cpu_us_per_io": summary.cpu_per_io(),
        "busy": summary.busy,
        "errors": recorder.errors,
        "connections_lost": summary.losses,
        "intervals": intervals.collect::<Vec<_>>(),
    });
    if let (Value::Object(all), Value::Object(more)) = (&mut all, more) {
        all.extend(more);
    }
    all
}

fn of(of: &Direction, time: Duration) -> Value {
    if of.ios == 0 { Value::Null } else { direction(of.ios, of.bytes, time, &of.latency) }
}

fn direction(ios: u64, bytes: u64, time: Duration, latency: &Histogram<u64>) -> Value {
    json!({
        "ios": ios,
        "bytes": bytes,
        "iops": per_second(ios, time),
        "bytes_per_second": per_second(bytes, time),
        "latency_us": latencies(latency),
    })
}

/// `null` of no I/O.
fn latencies(latency: &Histogram<u64>) -> Value {
    if latency.is_empty() {
        return Value::Null;
    }
    let micros = |nanos: u64| nanos as f64 / 1000.0;
    let mut values = Map::new();
    values.insert("min".into(), micros(latency.min()).into());
    values.insert("mean".into(), (latency.mean() / 1000.0).into());
    values.insert("stdev".into(), (latency.stdev() / 1000.0).into());
    for (percentile, name) in PERCENTILES {
        values.insert(name.into(), micros(latency.value_at_percentile(percentile)).into());
    }
    values.insert("max".into(), micros(latency.max()).into());
    values.into()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::perf::stats::Recorder;
    use crate::perf::workload::tests::workload;

    #[test]
    fn what_was_measured() {
        let begin = Instant::now();
        let mut recorder = Recorder::new(begin);
        for micros in [100, 300] {
            let end = begin + Duration::from_secs(2);
            recorder.record(false, 4096, Duration::from_micros(micros), end);
        }
        let (time, cpu) = (recorder.time(begin), Duration::from_micros(30));
        let (losses, intervals) = (1, Vec::new());
        let summary = Summary { recorder, time, cpu, busy: 2, losses, intervals };
        let url = "iscsi://alice%secret@h/iqn.2001-04.com.example:t/0".parse().unwrap();
        let value = document(&url, Runtime::Std, &workload(), &summary);
        assert_eq!(
            (&value["ios"], &value["bytes"], &value["iops"]),
            (&json!(2), &json!(8192), &json!(1.0))
        );
        assert_eq!(value["cpu_us_per_io"], 15.0);
        assert_eq!((&value["write"], &value["read"]["ios"]), (&Value::Null, &json!(2)));
        let mean = value["read"]["latency_us"]["mean"].as_f64().unwrap();
        assert!((199.0..201.0).contains(&mean), "{mean}");
        assert_eq!(value["queue_depth"], 4);
        assert!(!value.to_string().contains("secret"), "{value}");
    }
}
