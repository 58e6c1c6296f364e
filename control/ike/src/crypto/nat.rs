//! How peers find out that a NAT is between them (RFC 7296 section 2.23).

use std::net::IpAddr;

use sha1::{Digest, Sha1};

/// What NAT_DETECTION_SOURCE_IP and NAT_DETECTION_DESTINATION_IP carry: whoever sees other addresses computes another hash.
pub fn nat_hash(spi_i: u64, spi_r: u64, address: IpAddr, port: u16) -> [u8; 20] {
    let hash = Sha1::new().chain_update(spi_i.to_be_bytes()).chain_update(spi_r.to_be_bytes());
    let hash = match address {
        IpAddr::V4(address) => hash.chain_update(address.octets()),
        IpAddr::V6(address) => hash.chain_update(address.octets()),
    };
    hash.chain_update(port.to_be_bytes()).finalize().into()
}
