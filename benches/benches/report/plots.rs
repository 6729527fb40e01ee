//! The plots: a file for each group of workloads, a row for each workload, with its throughput on the left and its latencies on the right.

use std::error::Error;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::figures::{Figures, Results};
use super::rounds::ENTRIES;

/// The workloads of each file.
const GROUPS: [(&str, &[&str]); 4] = [
    ("one_task", &["uncontended", "size_16", "size_1024", "size_1024_900_leased"]),
    ("threads", &["threads_1", "threads_2"]),
    ("tasks", &["tasks_64", "tasks_1024"]),
    ("cancel_storm", &["cancel_storm"]),
];
const QUANTILES: [&str; 4] = ["p50", "p99", "p99.9", "max"];

/// Throughputs and latencies lie orders of magnitude apart: both axes are logarithmic, and span all of these.
const OPS_PER_S: std::ops::Range<f64> = 1e5..1e9;
const NANOS: std::ops::Range<f64> = 10.0..1e9;

const WIDTH: u32 = 1_100;
const ROW_HEIGHT: u32 = 330;
const FONT: (&str, u32) = ("sans-serif", 14);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// A contender's place among all of them, and what it is drawn from.
type Bar<'a> = (usize, &'a Figures);

/// Draws every group of which something was measured.
pub(crate) fn plot_all(results: &Results, folder: &Path) -> Result<(), Box<dyn Error>> {
    for (group, workloads) in GROUPS {
        let rows: Vec<_> = workloads.iter().map(|workload| (*workload, bars(results, workload))).collect();
        let rows: Vec<_> = rows.into_iter().filter(|(_, bars)| !bars.is_empty()).collect();
        if !rows.is_empty() {
            plot(&rows, &folder.join(format!("{group}.svg")))?;
        }
    }
    Ok(())
}

fn bars<'a>(results: &'a Results, workload: &str) -> Vec<Bar<'a>> {
    let all = ENTRIES.iter().enumerate();
    all.filter_map(|(place, entry)| Some((place, results.get(workload, entry.name)?))).collect()
}

fn plot(rows: &[(&str, Vec<Bar<'_>>)], file: &Path) -> Result<(), Box<dyn Error>> {
    let height = ROW_HEIGHT * u32::try_from(rows.len())?;
    let root = SVGBackend::new(file, (WIDTH, height)).into_drawing_area();
    root.fill(&WHITE)?;
    for (area, (workload, bars)) in root.split_evenly((rows.len(), 1)).iter().zip(rows) {
        let (left, right) = area.split_horizontally(WIDTH / 2);
        throughput(&left, workload, bars)?;
        latencies(&right, workload, bars)?;
    }
    root.present()?;
    Ok(())
}

fn throughput(area: &Area<'_>, workload: &str, bars: &[Bar<'_>]) -> Result<(), Box<dyn Error>> {
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{workload}: operations per second"), FONT)
        .margin(10)
        .x_label_area_size(25)
        .y_label_area_size(130)
        .build_cartesian_2d(OPS_PER_S.log_scale(), (0..ENTRIES.len() - 1).into_segmented())?;
    let name = |height: &SegmentValue<usize>| name_at(height, |height| Some(ENTRIES.get(place_at(height))?.name));
    let mesh = &mut chart.configure_mesh();
    mesh.disable_y_mesh().light_line_style(TRANSPARENT).y_labels(ENTRIES.len());
    mesh.y_label_formatter(&name).x_label_formatter(&power).draw()?;
    chart.draw_series(bars.iter().map(|(place, figures)| {
        let height = place_at(*place);
        let end = figures.ops_per_s.max(OPS_PER_S.start);
        let corners = [(OPS_PER_S.start, SegmentValue::Exact(height)), (end, SegmentValue::Exact(height + 1))];
        let mut bar = Rectangle::new(corners, color(*place).filled());
        bar.set_margin(4, 4, 0, 0);
        bar
    }))?;
    Ok(())
}

/// In the colours of the bars beside it.
fn latencies(area: &Area<'_>, workload: &str, bars: &[Bar<'_>]) -> Result<(), Box<dyn Error>> {
    let mut chart = ChartBuilder::on(area)
        .caption(format!("{workload}: nanoseconds to acquire"), FONT)
        .margin(10)
        .x_label_area_size(25)
        .y_label_area_size(45)
        .build_cartesian_2d((0..QUANTILES.len() - 1).into_segmented(), NANOS.log_scale())?;
    let name = |place: &SegmentValue<usize>| name_at(place, |place| QUANTILES.get(place).copied());
    let mesh = &mut chart.configure_mesh();
    mesh.disable_x_mesh().light_line_style(TRANSPARENT).x_labels(QUANTILES.len());
    mesh.x_label_formatter(&name).y_label_formatter(&power).draw()?;
    for (place, figures) in bars {
        let points = [figures.p50_ns, figures.p99_ns, figures.p999_ns, figures.max_ns].into_iter().enumerate();
        let known = points.filter(|(_, nanos)| nanos.is_finite());
        let line = known.map(|(place, nanos)| (SegmentValue::CenterOf(place), nanos.max(NANOS.start)));
        chart.draw_series(LineSeries::new(line, color(*place).stroke_width(2)).point_size(3))?;
    }
    Ok(())
}

/// The first contender is at the top.
fn place_at(height: usize) -> usize {
    (ENTRIES.len() - 1).saturating_sub(height)
}

fn name_at(value: &SegmentValue<usize>, name: impl Fn(usize) -> Option<&'static str>) -> String {
    let (SegmentValue::CenterOf(place) | SegmentValue::Exact(place)) = value else { return String::new() };
    name(*place).unwrap_or_default().to_owned()
}

fn color(contender: usize) -> PaletteColor<Palette99> {
    Palette99::pick(contender)
}

/// A power of ten.
#[allow(clippy::trivially_copy_pass_by_ref)] // that is how plotters asks
fn power(value: &f64) -> String {
    format!("1e{:.0}", value.log10())
}
