/* What bindgen reads: DPDK's headers, the shim's functions, and the constants that bindgen cannot take from macros.
 *
 * The layout of struct rte_mbuf differs between DPDK releases only in how its fields are grouped, so Rust addresses the
 * fields by the offsets below, as this DPDK's own compiler sees them. */
#ifndef PHALANX_DPDK_WRAPPER_H
#define PHALANX_DPDK_WRAPPER_H

#include <stddef.h>
#include <stdint.h>

#include <rte_version.h>
#include <rte_alarm.h>
#include <rte_cryptodev.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_cycles.h>
#include <rte_ethdev.h>
#include <rte_fib.h>
#include <rte_fib6.h>
#include <rte_ip.h>
#include <rte_ip_frag.h>
#include <rte_lcore.h>
#include <rte_log.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include <rte_ring.h>

#include <intel-ipsec-mb.h>

/* A cipher's key in one direction and an HMAC's, as ipsec-mb wants them. Six cache lines, all of them needed for each packet. */
struct shim_chain_key {
	uint8_t round_keys[15 * 16] __attribute__((aligned(64)));
	uint32_t seals;
	uint32_t key_len;
	uint32_t tag_len;
	uint32_t hash;
	uint8_t inner[64];
	uint8_t outer[64];
};

/* A packet to be worked on, in place. */
struct shim_chain_job {
	const struct shim_chain_key *key;
	uint8_t *packet;
	const uint8_t *iv;
	uint8_t *tag;
	size_t hidden_at;
	size_t hidden_len;
	size_t checked_len;
	uint64_t number;
};

#if RTE_VERSION < RTE_VERSION_NUM(22, 11, 0, 0)
#error "DPDK 22.11 or newer is needed"
#endif

/* Offsets of fields of struct rte_mbuf, in bytes. */
#define SYS_OFFSET(name, field) static const uint32_t name = offsetof(struct rte_mbuf, field)
SYS_OFFSET(SYS_MBUF_BUF_ADDR, buf_addr);
SYS_OFFSET(SYS_MBUF_DATA_OFF, data_off);
SYS_OFFSET(SYS_MBUF_NB_SEGS, nb_segs);
SYS_OFFSET(SYS_MBUF_PORT, port);
SYS_OFFSET(SYS_MBUF_OL_FLAGS, ol_flags);
SYS_OFFSET(SYS_MBUF_PACKET_TYPE, packet_type);
SYS_OFFSET(SYS_MBUF_PKT_LEN, pkt_len);
SYS_OFFSET(SYS_MBUF_DATA_LEN, data_len);
SYS_OFFSET(SYS_MBUF_VLAN_TCI, vlan_tci);
SYS_OFFSET(SYS_MBUF_RSS, hash.rss);
SYS_OFFSET(SYS_MBUF_TAG, hash.fdir.hi);
SYS_OFFSET(SYS_MBUF_BUF_LEN, buf_len);
SYS_OFFSET(SYS_MBUF_NEXT, next);
SYS_OFFSET(SYS_MBUF_TX_OFFLOAD, tx_offload);
static const uint32_t SYS_MBUF_HEADROOM = RTE_PKTMBUF_HEADROOM;

/* Widths of the bit fields within tx_offload, lowest first. */
static const uint32_t SYS_TX_L2_LEN_BITS = RTE_MBUF_L2_LEN_BITS;
static const uint32_t SYS_TX_L3_LEN_BITS = RTE_MBUF_L3_LEN_BITS;

/* Flags of a received packet, and of one to be sent. */
static const uint64_t SYS_RX_VLAN_STRIPPED = RTE_MBUF_F_RX_VLAN_STRIPPED;
static const uint64_t SYS_RX_RSS_HASH = RTE_MBUF_F_RX_RSS_HASH;
static const uint64_t SYS_RX_IP_CKSUM_MASK = RTE_MBUF_F_RX_IP_CKSUM_MASK;
static const uint64_t SYS_RX_IP_CKSUM_GOOD = RTE_MBUF_F_RX_IP_CKSUM_GOOD;
static const uint64_t SYS_RX_IP_CKSUM_BAD = RTE_MBUF_F_RX_IP_CKSUM_BAD;
static const uint64_t SYS_RX_L4_CKSUM_MASK = RTE_MBUF_F_RX_L4_CKSUM_MASK;
static const uint64_t SYS_RX_L4_CKSUM_GOOD = RTE_MBUF_F_RX_L4_CKSUM_GOOD;
static const uint64_t SYS_RX_L4_CKSUM_BAD = RTE_MBUF_F_RX_L4_CKSUM_BAD;
static const uint64_t SYS_TX_IP_CKSUM = RTE_MBUF_F_TX_IP_CKSUM;
static const uint64_t SYS_TX_TCP_CKSUM = RTE_MBUF_F_TX_TCP_CKSUM;
static const uint64_t SYS_TX_UDP_CKSUM = RTE_MBUF_F_TX_UDP_CKSUM;
static const uint64_t SYS_TX_IPV4 = RTE_MBUF_F_TX_IPV4;
static const uint64_t SYS_TX_IPV6 = RTE_MBUF_F_TX_IPV6;
static const uint64_t SYS_TX_OFFLOAD_MASK = RTE_MBUF_F_TX_OFFLOAD_MASK;

/* Offloads of a port. */
static const uint64_t SYS_PORT_RX_IPV4_CKSUM = RTE_ETH_RX_OFFLOAD_IPV4_CKSUM;
static const uint64_t SYS_PORT_RX_TCP_CKSUM = RTE_ETH_RX_OFFLOAD_TCP_CKSUM;
static const uint64_t SYS_PORT_RX_UDP_CKSUM = RTE_ETH_RX_OFFLOAD_UDP_CKSUM;
static const uint64_t SYS_PORT_RX_SCATTER = RTE_ETH_RX_OFFLOAD_SCATTER;
static const uint64_t SYS_PORT_RX_RSS_HASH = RTE_ETH_RX_OFFLOAD_RSS_HASH;
static const uint64_t SYS_PORT_TX_IPV4_CKSUM = RTE_ETH_TX_OFFLOAD_IPV4_CKSUM;
static const uint64_t SYS_PORT_TX_TCP_CKSUM = RTE_ETH_TX_OFFLOAD_TCP_CKSUM;
static const uint64_t SYS_PORT_TX_UDP_CKSUM = RTE_ETH_TX_OFFLOAD_UDP_CKSUM;
static const uint64_t SYS_PORT_TX_MULTI_SEGS = RTE_ETH_TX_OFFLOAD_MULTI_SEGS;
static const uint64_t SYS_PORT_RSS_IP_TCP_UDP = RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP | RTE_ETH_RSS_UDP;
static const uint32_t SYS_PORT_MQ_RSS = RTE_ETH_MQ_RX_RSS;

/* What a crypto device can do. */
static const uint64_t SYS_CRYPTO_AT_ONCE = RTE_CRYPTODEV_FF_SYM_CPU_CRYPTO;

/* The inline functions, each behind a real one of the same meaning. */
int shim_errno(void);
uint32_t shim_lcore_id(void);
uint64_t shim_rdtsc(void);
uint16_t shim_eth_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count);
uint16_t shim_eth_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count);
int shim_eth_link_get(uint16_t port, uint32_t *speed_mbps, uint32_t *full_duplex, uint32_t *up);
struct rte_mbuf *shim_pktmbuf_alloc(struct rte_mempool *pool);
int shim_pktmbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **mbufs, unsigned int count);
void shim_pktmbuf_free(struct rte_mbuf *mbuf);
void shim_pktmbuf_free_burst(struct rte_mbuf **mbufs, unsigned int count);
uint16_t shim_pktmbuf_data_room_size(struct rte_mempool *pool);
unsigned int shim_ring_sp_enqueue_burst(struct rte_ring *ring, struct rte_mbuf **mbufs, unsigned int count);
unsigned int shim_ring_sc_dequeue_burst(struct rte_ring *ring, struct rte_mbuf **mbufs, unsigned int count);
unsigned int shim_ring_count(const struct rte_ring *ring);
unsigned int shim_ring_capacity(const struct rte_ring *ring);
int shim_fib6_add(struct rte_fib6 *fib, const uint8_t *address, uint8_t depth, uint64_t next_hop);
int shim_fib6_delete(struct rte_fib6 *fib, const uint8_t *address, uint8_t depth);
int shim_fib6_lookup_bulk(struct rte_fib6 *fib, const uint8_t *addresses, uint64_t *next_hops, int count);
struct rte_mbuf *shim_ipv4_reassemble(struct rte_ip_frag_tbl *table, struct rte_ip_frag_death_row *dead,
	struct rte_mbuf *mbuf, uint64_t now, void *ip);
struct rte_mbuf *shim_ipv6_reassemble(struct rte_ip_frag_tbl *table, struct rte_ip_frag_death_row *dead,
	struct rte_mbuf *mbuf, uint64_t now, void *ip, void *fragment);
uint16_t shim_ipv4_cksum(const void *header);

/* AES-GCM of ipsec-mb, whose table of functions (none: no memory) bindgen does not read; for keys of 16 and 32 bytes. None: other
 * lengths. */
void *shim_imb_manager(void);
void shim_imb_free(void *manager);
aes_gcm_pre_t shim_gcm_expand(const void *manager, size_t key_len);
aes_gcm_enc_dec_t shim_gcm_work(const void *manager, size_t key_len, int seal);

int shim_chain_expand(void *manager, struct shim_chain_key *key, int seals, const uint8_t *cipher, size_t cipher_len,
		      int bits, const uint8_t *secret, size_t secret_len, size_t tag_len);
int64_t shim_chain_submit(void *manager, const struct shim_chain_job *work);
int64_t shim_chain_flush(void *manager);

#endif
