//! The run as a picture: latencies above, its course below.

use core::fmt::{self, Write as _};

use crate::perf::screen::{classes, duration};
use crate::perf::stats::{PERCENTILES, Summary, per_second};

const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 560.0;
const LEFT: f64 = 80.0;
/// Height of one of the two drawings.
const PLOT: f64 = 180.0;
const PLOT_WIDTH: f64 = WIDTH - LEFT - 30.0;

/// The text of the picture, with a title.
pub(crate) fn picture(title: &str, summary: &Summary) -> String {
    let mut svg = String::new();
    // Writing to a string does not fail.
    let _ = draw(&mut svg, title, summary);
    svg
}

fn draw(svg: &mut String, title: &str, summary: &Summary) -> fmt::Result {
    writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\" \
         viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">"
    )?;
    writeln!(svg, "<rect width=\"100%\" height=\"100%\" fill=\"white\"/>")?;
    text(svg, LEFT, 24.0, "start", &escaped(title))?;
    let latency = summary.recorder.latency();
    let mut percentiles = String::from("latency");
    for (percentile, name) in PERCENTILES {
        let value = latency.value_at_percentile(percentile);
        write!(percentiles, "   {name} {}", duration(value))?;
    }
    text(svg, LEFT, 44.0, "start", &percentiles)?;
    latencies(svg, summary, 60.0)?;
    course(svg, summary, 330.0)?;
    writeln!(svg, "</svg>")
}

/// A bar for each class of latencies.
fn latencies(svg: &mut String, summary: &Summary, top: f64) -> fmt::Result {
    let classes = classes(&summary.recorder.latency(), 4);
    let most = classes.iter().map(|class| class.2).max().unwrap_or(0).max(1);
    let all = summary.recorder.ios().max(1) as f64;
    let step = PLOT_WIDTH / classes.len().max(1) as f64;
    frame(svg, top, &format!("{:.1}%", most as f64 * 100.0 / all))?;
    for (n, (low, high, count)) in classes.iter().enumerate() {
        let (x, height) = (LEFT + n as f64 * step, PLOT * *count as f64 / most as f64);
        writeln!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\" fill=\"#4477aa\">\
             <title>{} to {}: {count}</title></rect>",
            top + PLOT - height,
            (step - 1.0).max(0.5),
            duration(*low),
            duration(*high),
        )?;
        // About eight labels.
        if n % (classes.len() / 8 + 1) == 0 {
            text(svg, x, top + PLOT + 16.0, "middle", &duration(*low))?;
        }
    }
    Ok(())
}

/// I/Os per second, second by second.
fn course(svg: &mut String, summary: &Summary, top: f64) -> fmt::Result {
    let average = per_second(summary.recorder.ios(), summary.time);
    let mut points: Vec<(f64, f64)> = summary
        .intervals
        .iter()
        .map(|interval| (interval.at.as_secs_f64(), interval.iops))
        .collect();
    if points.is_empty() {
        // It took less than a second.
        points.push((summary.time.as_secs_f64(), average));
    }
    let end = points.last().map_or(1.0, |point| point.0).max(1e-9);
    let most = points.iter().map(|point| point.1).fold(average, f64::max).max(1e-9);
    frame(svg, top, &format!("{most:.0}/s"))?;
    let start = points.first().map_or(0.0, |point| point.1);
    write!(svg, "<polyline fill=\"none\" stroke=\"#aa3377\" stroke-width=\"2\" points=\"")?;
    for (seconds, iops) in [(0.0, start)].into_iter().chain(points) {
        let (x, y) = (LEFT + PLOT_WIDTH * seconds / end, top + PLOT - PLOT * iops / most);
        write!(svg, "{x:.1},{y:.1} ")?;
    }
    writeln!(svg, "\"/>")?;
    text(svg, LEFT, top + PLOT + 16.0, "middle", "0 s")?;
    text(svg, LEFT + PLOT_WIDTH, top + PLOT + 16.0, "middle", &format!("{end:.1} s"))?;
    let below = format!("I/Os per second, {average:.0} on average");
    text(svg, LEFT + PLOT_WIDTH / 2.0, top + PLOT + 32.0, "middle", &below)
}

/// Two axes, and what the top of the left one means.
fn frame(svg: &mut String, top: f64, most: &str) -> fmt::Result {
    let (bottom, right) = (top + PLOT, LEFT + PLOT_WIDTH);
    writeln!(svg, "<path d=\"M{LEFT} {top} V{bottom} H{right}\" fill=\"none\" stroke=\"black\"/>")?;
    text(svg, LEFT - 6.0, top + 10.0, "end", most)
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) -> fmt::Result {
    writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use core::time::Duration;
    use std::time::Instant;

    use super::*;
    use crate::perf::stats::{Interval, Recorder};

    #[test]
    fn a_picture_has_both_drawings() {
        let begin = Instant::now();
        let mut recorder = Recorder::new(begin);
        for n in 1..100 {
            let end = begin + Duration::from_secs(3);
            recorder.record(false, 512, Duration::from_micros(n), end);
        }
        let interval = |n: u64| Interval {
            at: Duration::from_secs(n),
            iops: 33.0 * n as f64,
            bytes_per_second: 0.0,
        };
        let (time, cpu) = (recorder.time(begin), Duration::ZERO);
        let intervals = (1..=3).map(interval).collect();
        let summary = Summary { recorder, time, cpu, busy: 0, losses: 0, intervals };
        let svg = picture("a & <b>", &summary);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("a &amp; &lt;b&gt;"), "{svg}");
        assert!(svg.matches("<rect ").count() > 10, "{svg}");
        let line = svg.lines().find(|line| line.starts_with("<polyline")).unwrap();
        assert_eq!(line.matches(',').count(), 4, "{line}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        // Nothing was measured: still a picture.
        let recorder = Recorder::new(begin);
        let (time, intervals) = (Duration::ZERO, Vec::new());
        let summary = Summary { recorder, time, cpu, busy: 0, losses: 0, intervals };
        let svg = picture("", &summary);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    }
}
