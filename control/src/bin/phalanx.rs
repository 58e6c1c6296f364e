//! The binary: everything is in the library, where tests reach it.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    phalanx_control::cli::main()
}
