/* One real function per inline function of DPDK that Rust needs. No decisions here, with one exception that is about
 * speed only: shim_pktmbuf_free_burst recognises the mbufs that need no per-segment work. */
#define ALLOW_EXPERIMENTAL_API
#include "wrapper.h"

int shim_errno(void) { return rte_errno; }
uint32_t shim_lcore_id(void) { return rte_lcore_id(); }
uint64_t shim_rdtsc(void) { return rte_rdtsc(); }

uint16_t shim_eth_rx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count)
{
	return rte_eth_rx_burst(port, queue, mbufs, count);
}

uint16_t shim_eth_tx_burst(uint16_t port, uint16_t queue, struct rte_mbuf **mbufs, uint16_t count)
{
	return rte_eth_tx_burst(port, queue, mbufs, count);
}

/* struct rte_eth_link changed its shape in 24.11; its fields keep their names. */
int shim_eth_link_get(uint16_t port, uint32_t *speed_mbps, uint32_t *full_duplex, uint32_t *up)
{
	struct rte_eth_link link = { 0 };
	int result = rte_eth_link_get_nowait(port, &link);
	*speed_mbps = link.link_speed;
	*full_duplex = link.link_duplex;
	*up = link.link_status;
	return result;
}

struct rte_mbuf *shim_pktmbuf_alloc(struct rte_mempool *pool) { return rte_pktmbuf_alloc(pool); }

int shim_pktmbuf_alloc_bulk(struct rte_mempool *pool, struct rte_mbuf **mbufs, unsigned int count)
{
	return rte_pktmbuf_alloc_bulk(pool, mbufs, count);
}

void shim_pktmbuf_free(struct rte_mbuf *mbuf) { rte_pktmbuf_free(mbuf); }

/* An mbuf that goes back to its pool as it is: one segment (its `next` is then NULL), one owner, its own buffer. */
static inline int is_plain(const struct rte_mbuf *mbuf)
{
	return mbuf->nb_segs == 1 && rte_mbuf_refcnt_read(mbuf) == 1 && RTE_MBUF_DIRECT(mbuf);
}

/* Frees a burst. A run of plain mbufs of one pool is put back by one call, straight from the array: nearly always, that
 * is the whole burst, and only the mbufs' first cache line, which is warm, is read. */
void shim_pktmbuf_free_burst(struct rte_mbuf **mbufs, unsigned int count)
{
	unsigned int start = 0;
	while (start < count) {
		if (unlikely(!is_plain(mbufs[start]))) {
			rte_pktmbuf_free(mbufs[start++]);
			continue;
		}
		struct rte_mempool *pool = mbufs[start]->pool;
		unsigned int end = start + 1;
		while (end < count && likely(mbufs[end]->pool == pool && is_plain(mbufs[end])))
			end++;
		rte_mempool_put_bulk(pool, (void **)&mbufs[start], end - start);
		start = end;
	}
}

uint16_t shim_pktmbuf_data_room_size(struct rte_mempool *pool) { return rte_pktmbuf_data_room_size(pool); }

unsigned int shim_ring_sp_enqueue_burst(struct rte_ring *ring, struct rte_mbuf **mbufs, unsigned int count)
{
	return rte_ring_sp_enqueue_burst(ring, (void **)mbufs, count, NULL);
}

unsigned int shim_ring_sc_dequeue_burst(struct rte_ring *ring, struct rte_mbuf **mbufs, unsigned int count)
{
	return rte_ring_sc_dequeue_burst(ring, (void **)mbufs, count, NULL);
}

unsigned int shim_ring_count(const struct rte_ring *ring) { return rte_ring_count(ring); }
unsigned int shim_ring_capacity(const struct rte_ring *ring) { return rte_ring_get_capacity(ring); }

/* Addresses are arrays of bytes before 24.11 and struct rte_ipv6_addr since: the same 16 bytes. */
int shim_fib6_add(struct rte_fib6 *fib, const uint8_t *address, uint8_t depth, uint64_t next_hop)
{
	return rte_fib6_add(fib, (const void *)address, depth, next_hop);
}

int shim_fib6_delete(struct rte_fib6 *fib, const uint8_t *address, uint8_t depth)
{
	return rte_fib6_delete(fib, (const void *)address, depth);
}

int shim_fib6_lookup_bulk(struct rte_fib6 *fib, const uint8_t *addresses, uint64_t *next_hops, int count)
{
	return rte_fib6_lookup_bulk(fib, (void *)(uintptr_t)addresses, next_hops, count);
}

struct rte_mbuf *shim_ipv4_reassemble(struct rte_ip_frag_tbl *table, struct rte_ip_frag_death_row *dead,
	struct rte_mbuf *mbuf, uint64_t now, void *ip)
{
	return rte_ipv4_frag_reassemble_packet(table, dead, mbuf, now, ip);
}

struct rte_mbuf *shim_ipv6_reassemble(struct rte_ip_frag_tbl *table, struct rte_ip_frag_death_row *dead,
	struct rte_mbuf *mbuf, uint64_t now, void *ip, void *fragment)
{
	return rte_ipv6_frag_reassemble_packet(table, dead, mbuf, now, ip, fragment);
}

uint16_t shim_ipv4_cksum(const void *header) { return rte_ipv4_cksum(header); }

const void *shim_gcm_manager(void)
{
	IMB_MGR *manager = alloc_mb_mgr(0);
	if (manager)
		init_mb_mgr_auto(manager, NULL);
	return manager;
}

aes_gcm_pre_t shim_gcm_expand(const void *table, size_t key_len)
{
	const IMB_MGR *manager = table;
	switch (key_len) {
	case 16: return manager->gcm128_pre;
	case 32: return manager->gcm256_pre;
	default: return NULL;
	}
}

aes_gcm_enc_dec_t shim_gcm_work(const void *table, size_t key_len, int seal)
{
	const IMB_MGR *manager = table;
	switch (key_len) {
	case 16: return seal ? manager->gcm128_enc : manager->gcm128_dec;
	case 32: return seal ? manager->gcm256_enc : manager->gcm256_dec;
	default: return NULL;
	}
}
