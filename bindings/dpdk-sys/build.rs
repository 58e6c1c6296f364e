//! Finds DPDK by pkg-config, compiles the shim with the flags that DPDK itself was built for, and generates the
//! declarations of an explicit allow-list. Any DPDK from 22.11 on will do; it is linked as shared libraries, so that
//! the drivers are the plugins that the distribution installs (Debian: loaded by themselves from the `pmds-*` folder).

use std::env;
use std::path::PathBuf;
use std::process::Command;

const OLDEST: &str = "22.11";

const FUNCTIONS: &[&str] = &[
    "shim_.*",
    "rte_eal_init",
    "rte_eal_alarm_set",
    "rte_thread_(un)?register",
    "rte_dev_probe",
    "rte_get_tsc_hz",
    "rte_log_set_global_level",
    "rte_pktmbuf_pool_create",
    "rte_pktmbuf_copy",
    "rte_mempool_(avail|in_use)_count",
    "rte_ring_(create|free)",
    "rte_eth_dev_(configure|start|stop|close|info_get|get_port_by_name|adjust_nb_rx_tx_desc|socket_id)",
    "rte_eth_dev_(set_mtu|get_mtu|mac_addr_add|mac_addr_remove|default_mac_addr_set|set_mc_addr_list)",
    "rte_eth_dev_rx_intr_(enable|disable|ctl_q_get_fd)",
    "rte_eth_[rt]x_queue_setup",
    "rte_eth_promiscuous_(enable|disable)",
    "rte_eth_allmulticast_(enable|disable)",
    "rte_eth_macaddr_get",
    "rte_eth_stats_get",
    "rte_fib_(create|free|add|delete|lookup_bulk)",
    "rte_fib6_(create|free)",
    "rte_ip_frag_table_(create|destroy|del_expired_entries)",
    "rte_ipv4_fragment_copy_nonseg_packet",
    "rte_cryptodev_(get_dev_id|info_get|configure|queue_pair_setup|start)",
    "rte_cryptodev_sym_(session_create|session_free|session_pool_create|get_private_session_size|cpu_crypto_process)",
    "rte_cryptodev_sym_capability_(get|check_auth)",
];

const CONSTANTS: &[&str] = &["SYS_.*", "RTE_MAX_ETHPORTS", "RING_F_S[PC]_.*"];

const OPAQUE: &[&str] =
    &["rte_mbuf", "rte_mempool", "rte_ring", "rte_fib", "rte_fib6", "rte_ip_frag_tbl", "rte_device"];

fn main() {
    for file in ["build.rs", "wrapper.h", "shim.c"] {
        println!("cargo:rerun-if-changed={file}");
    }
    if let Err(error) = pkg_config::Config::new().atleast_version(OLDEST).probe("libdpdk") {
        panic!(
            "DPDK {OLDEST} or newer was not found by pkg-config. On Debian or Ubuntu: \
             apt-get install libdpdk-dev dpdk-dev libclang-dev pkg-config gcc (or run scripts/setup). \
             For a DPDK of your own, point PKG_CONFIG_PATH at the folder of its libdpdk.pc.\n{error}"
        );
    }
    let flags = compiler_flags();
    let mut shim = cc::Build::new();
    shim.file("shim.c").opt_level(3).warnings(false);
    for flag in &flags {
        shim.flag(flag);
    }
    shim.compile("phalanx_dpdk_shim");
    // What DPDK's driver for it is built on, and its package depends on.
    println!("cargo:rustc-link-lib=IPSec_MB");
    generate(&flags);
}

/// What `pkg-config --cflags libdpdk` says. The pkg-config crate keeps only the folders, but `-include rte_config.h` and
/// the instruction set matter: the shim's inline functions must agree with how the libraries were built.
fn compiler_flags() -> Vec<String> {
    let tool = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".into());
    let output = Command::new(tool).args(["--cflags", "libdpdk"]).output().expect("pkg-config ran a moment ago");
    let text = String::from_utf8(output.stdout).expect("pkg-config prints UTF-8");
    text.split_whitespace().map(str::to_owned).collect()
}

fn generate(flags: &[String]) {
    let mut builder = bindgen::Builder::default()
        .header("wrapper.h")
        .clang_args(flags)
        .generate_comments(false)
        .derive_debug(false)
        .derive_default(true)
        .prepend_enum_name(false)
        .layout_tests(false)
        .use_core()
        .merge_extern_blocks(true)
        .parse_callbacks(Box::new(bindgen::CargoCallbacks::new()));
    for name in FUNCTIONS {
        builder = builder.allowlist_function(name);
    }
    for name in CONSTANTS {
        builder = builder.allowlist_var(name);
    }
    for name in OPAQUE {
        builder = builder.opaque_type(name);
    }
    let bindings = builder
        .generate()
        .unwrap_or_else(|error| panic!("cannot read DPDK's headers ({error}); is libclang-dev installed?"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join("bindings.rs");
    bindings.write_to_file(&out).unwrap_or_else(|error| panic!("cannot write {}: {error}", out.display()));
}
