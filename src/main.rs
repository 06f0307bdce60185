//! The native tool `data-attribution`; see `src/cli`.

fn main() -> std::process::ExitCode {
    data_attribution::cli::run()
}
