//! The native tool: import a backbone, pack an index, serve it, ask it.
//!
//! Results go to standard output, progress and remarks to standard error; any failure is one line that
//! starts with `error:` and a non-zero exit.

mod attribute;
mod bench_backbones;
mod bench_kernels;
mod bench_scan;
mod calibrate;
mod clustered;
mod demo;
mod evaluate;
mod extract;
mod feature_arguments;
mod import;
mod pack;
mod serve;
mod toy_model;
mod tune;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};

/// Which training images is a generated image made of? Imports backbones, packs indexes, serves and
/// queries them.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Import a backbone's checkpoint as a quantized model pack.
    Import(import::Import),
    /// Pack images or features into an index of static files.
    Pack(pack::Pack),
    /// Plan a clustered index: the first of three steps in which one is packed on several machines.
    Plan(clustered::PlanCommand),
    /// Pack one part of a planned index.
    PackPart(clustered::PackPart),
    /// Merge the packed parts into an index.
    Merge(clustered::Merge),
    /// List the rows that `plan` samples, for those who hold them elsewhere.
    Sample(clustered::Sample),
    /// Say to which part of a planned index rows belong.
    Assign(clustered::Assign),
    /// Rank the training images of an index by images of yours.
    Attribute(attribute::Attribute),
    /// Make the demo: a training set of 24 procedural artists, packed, with example queries.
    Demo(demo::Demo),
    /// Embed images into matrices of features, which `evaluate` and `pack` read.
    Extract(extract::Extract),
    /// Measure how well features find the images that generated images are made of.
    Evaluate(evaluate::Evaluate),
    /// Fit the calibrator, which turns similarity into shares of influence, to known influences.
    Calibrate(calibrate::Calibrate),
    /// Tune a mapper, which brings queries nearer to the images they are made of, on known influences.
    Tune(tune::Tune),
    /// Make a tiny backbone with generated weights, for benchmarks.
    #[command(hide = true)]
    ToyModel(toy_model::ToyModel),
    /// Print what each form of the weights costs each backbone.
    #[command(hide = true)]
    BenchBackbones(bench_backbones::BenchBackbones),
    /// Measure forward passes on the GPU, kernel by kernel.
    #[command(hide = true)]
    BenchKernels(bench_kernels::BenchKernels),
    /// Measure the scans beside plain copies.
    #[command(hide = true)]
    BenchScan(bench_scan::BenchScan),
    /// Serve a folder on localhost.
    Serve(serve::Serve),
}

/// Runs the tool with the process's arguments.
pub fn run() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Import(command) => command.run(),
        Command::Pack(command) => command.run(),
        Command::Plan(command) => command.run(),
        Command::PackPart(command) => command.run(),
        Command::Merge(command) => command.run(),
        Command::Sample(command) => command.run(),
        Command::Assign(command) => command.run(),
        Command::Attribute(command) => command.run(),
        Command::Demo(command) => command.run(),
        Command::Evaluate(command) => command.run(),
        Command::Extract(command) => command.run(),
        Command::Calibrate(command) => command.run(),
        Command::Tune(command) => command.run(),
        Command::ToyModel(command) => command.run(),
        Command::BenchBackbones(command) => command.run(),
        Command::BenchKernels(command) => command.run(),
        Command::BenchScan(command) => command.run(),
        Command::Serve(command) => command.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A bar on standard error; where that is no terminal, a line for each tenth.
struct Progress {
    bar: ProgressBar,
    label: &'static str,
    shown: std::sync::atomic::AtomicUsize,
}

impl Progress {
    fn new(label: &'static str) -> Self {
        let style =
            ProgressStyle::with_template("{msg} {bar:32} {pos}/{len}  {per_sec}  {eta} left")
                .unwrap_or_else(|_| ProgressStyle::default_bar());
        Self {
            bar: ProgressBar::new(0).with_style(style).with_message(label),
            label,
            shown: Default::default(),
        }
    }

    fn update(&self, done: usize, total: usize) {
        use std::sync::atomic::Ordering::Relaxed;
        self.bar.set_length(total as u64);
        self.bar.set_position(done as u64);
        let tenth = done * 10 / total.max(1);
        if self.bar.is_hidden() && self.shown.fetch_max(tenth, Relaxed) < tenth {
            let rate = done as f64 / self.bar.elapsed().as_secs_f64().max(1e-3);
            eprintln!("{}: {done}/{total}, {rate:.1} a second", self.label);
        }
    }

    fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
