//! The figures of BENCHMARKS.md.
//!
//! ```text
//! cargo bench -p cofferdam-tests --bench figures [-- [FILTER] [--records N] [--seeds N]]
//! ```
//!
//! With `--features rocksdb` there are the rows of `state/` too; `COFFERDAM_STATE_MB` says how much state is restored (256).
//!
//! `FILTER` is a part of a row's name. Times of a shared machine say little: the figures per CPU second are the ones to compare.

mod cpu;
mod stall;
#[cfg(feature = "rocksdb")]
mod state;
mod swarm;
mod w1;

use std::process::ExitCode;

/// What the command line asks for.
struct Settings {
    filter: String,
    record_count: u64,
    seed_count: u64,
}

fn main() -> ExitCode {
    match settings(std::env::args().skip(1)) {
        Ok(settings) => {
            w1::run(&settings.filter, settings.record_count);
            stall::run(&settings.filter);
            #[cfg(feature = "rocksdb")]
            state::run(&settings.filter, settings.record_count);
            swarm::run(&settings.filter, settings.seed_count);
            ExitCode::SUCCESS
        }
        Err(argument) => {
            eprintln!("figures: cannot use {argument:?}; try -- [FILTER] [--records N] [--seeds N]");
            ExitCode::from(2)
        }
    }
}

fn settings(mut arguments: impl Iterator<Item = String>) -> Result<Settings, String> {
    let mut settings = Settings { filter: String::new(), record_count: 20_000_000, seed_count: 100 };
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.replace('_', "").parse().ok()).filter(|number| *number > 0);
        match argument.as_str() {
            // From cargo.
            "--bench" => {}
            "--records" => settings.record_count = number().ok_or(argument)?,
            "--seeds" => settings.seed_count = number().ok_or(argument)?,
            option if option.starts_with('-') => return Err(argument),
            filter => settings.filter = filter.to_owned(),
        }
    }
    Ok(settings)
}

/// The value that this share of the others is not above.
fn quantile<T: Copy + Ord>(values: &mut [T], percent: usize) -> Option<T> {
    values.sort_unstable();
    let rank = (values.len() * percent).div_ceil(100).saturating_sub(1);
    values.get(rank).copied()
}

/// A new table in the house's look.
fn table(header: &[&str]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::ASCII_MARKDOWN).set_header(header);
    table
}
