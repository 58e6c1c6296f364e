//! One worker on real DPDK ports, from the wire's point of view: frames go in on one side, and what comes out is read
//! with the parser. The ports are pairs of shared-memory interfaces (`net_memif`), so no privileges and no hugepages
//! are needed. DPDK starts once a process, so all scenes run in one test, each on ports of its own.

mod echo;
mod frames;
mod ike;
mod pieces;
mod ports;
mod recall;
mod scenes;
mod stage;
mod transport;
mod tunnel;
mod workers;

#[global_allocator]
static ALLOCATOR: dpdk::alloc_count::CountingAlloc = dpdk::alloc_count::CountingAlloc;

#[test]
fn a_worker_on_real_ports() {
    let args = ["--no-huge", "--no-pci", "--no-telemetry", "--no-shconf", "-m", "512", "-l", "0", "--log-level", "4"];
    let eal = dpdk::Eal::init(args).expect("DPDK starts without privileges");
    for (name, scene) in scenes::ALL {
        eprintln!("scene: {name}");
        scene(&eal);
        stage::assert_no_buffer_is_out();
    }
}
