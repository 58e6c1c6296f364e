//! The binary: everything is in the library, where tests reach it.

/// Counts allocations per thread, at the cost of an addition each: how `phalanx bench` proves that packets need none.
#[global_allocator]
static ALLOCATOR: dpdk::alloc_count::CountingAlloc = dpdk::alloc_count::CountingAlloc;

fn main() -> std::process::ExitCode {
    phalanx_control::cli::main()
}
