//! TCP from outside, as the relay uses it: two endpoints with shared streams between a client and a server.

mod allocations;
mod relay;

use dpdk::alloc_count::CountingAlloc;

#[global_allocator]
static ALLOCATOR: CountingAlloc = CountingAlloc;
