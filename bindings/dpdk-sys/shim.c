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

void *shim_imb_manager(void)
{
	IMB_MGR *manager = alloc_mb_mgr(0);
	if (manager)
		init_mb_mgr_auto(manager, NULL);
	return manager;
}

void shim_imb_free(void *manager) { free_mb_mgr(manager); }

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

/* The state of an HMAC's hash after the key's block, once for each of the two paddings (RFC 2104). */
static void hash_block(IMB_MGR *manager, int hash, const uint8_t *block, uint8_t *state)
{
	switch (hash) {
	case IMB_AUTH_HMAC_SHA_1: IMB_SHA1_ONE_BLOCK(manager, block, state); break;
	case IMB_AUTH_HMAC_SHA_256: IMB_SHA256_ONE_BLOCK(manager, block, state); break;
	case IMB_AUTH_HMAC_SHA_384: IMB_SHA384_ONE_BLOCK(manager, block, state); break;
	default: IMB_SHA512_ONE_BLOCK(manager, block, state); break;
	}
}

/* Answers 0, or -1 for what it does not know. `bits`: of the hash. */
int shim_chain_expand(void *table, struct shim_chain_key *key, int seals, const uint8_t *cipher, size_t cipher_len,
		      int bits, const uint8_t *secret, size_t secret_len, size_t tag_len)
{
	IMB_MGR *manager = table;
	const size_t block_len = bits > 256 ? 128 : 64;
	uint8_t block[128];
	uint8_t other[sizeof(key->round_keys)] __attribute__((aligned(16)));
	uint8_t *encrypt = seals ? key->round_keys : other;
	uint8_t *decrypt = seals ? other : key->round_keys;
	switch (bits) {
	case 160: key->hash = IMB_AUTH_HMAC_SHA_1; break;
	case 256: key->hash = IMB_AUTH_HMAC_SHA_256; break;
	case 384: key->hash = IMB_AUTH_HMAC_SHA_384; break;
	case 512: key->hash = IMB_AUTH_HMAC_SHA_512; break;
	default: return -1;
	}
	switch (cipher_len) {
	case 16: IMB_AES_KEYEXP_128(manager, cipher, encrypt, decrypt); break;
	case 32: IMB_AES_KEYEXP_256(manager, cipher, encrypt, decrypt); break;
	default: return -1;
	}
	explicit_bzero(other, sizeof(other));
	if (secret_len > block_len)
		return -1;
	key->seals = seals;
	key->key_len = cipher_len;
	key->tag_len = tag_len;
	for (int outer = 0; outer < 2; outer++) {
		memset(block, outer ? 0x5c : 0x36, sizeof(block));
		for (size_t i = 0; i < secret_len; i++)
			block[i] ^= secret[i];
		hash_block(manager, key->hash, block, outer ? key->outer : key->inner);
	}
	explicit_bzero(block, sizeof(block));
	return 0;
}

/* Which packet is done: its number; with the highest bit, that it was refused; -1: none yet. */
static int64_t chain_done(const IMB_JOB *job)
{
	if (!job)
		return -1;
	return (int64_t)(uintptr_t)job->user_data | (job->status == IMB_STATUS_COMPLETED ? 0 : (int64_t)1 << 32);
}

int64_t shim_chain_submit(void *table, const struct shim_chain_job *work)
{
	IMB_MGR *manager = table;
	const struct shim_chain_key *key = work->key;
	IMB_JOB *job = IMB_GET_NEXT_JOB(manager);
	job->enc_keys = key->round_keys;
	job->dec_keys = key->round_keys;
	job->key_len_in_bytes = key->key_len;
	job->cipher_mode = IMB_CIPHER_CBC;
	job->cipher_direction = key->seals ? IMB_DIR_ENCRYPT : IMB_DIR_DECRYPT;
	job->chain_order = key->seals ? IMB_ORDER_CIPHER_HASH : IMB_ORDER_HASH_CIPHER;
	job->hash_alg = key->hash;
	job->src = work->packet;
	job->dst = work->packet + work->hidden_at;
	job->cipher_start_src_offset_in_bytes = work->hidden_at;
	job->msg_len_to_cipher_in_bytes = work->hidden_len;
	job->hash_start_src_offset_in_bytes = 0;
	job->msg_len_to_hash_in_bytes = work->checked_len;
	job->iv = work->iv;
	job->iv_len_in_bytes = 16;
	job->auth_tag_output = work->tag;
	job->auth_tag_output_len_in_bytes = key->tag_len;
	job->u.HMAC._hashed_auth_key_xor_ipad = key->inner;
	job->u.HMAC._hashed_auth_key_xor_opad = key->outer;
	job->user_data = (void *)(uintptr_t)work->number;
	return chain_done(IMB_SUBMIT_JOB_NOCHECK(manager));
}

int64_t shim_chain_flush(void *table) { return chain_done(IMB_FLUSH_JOB((IMB_MGR *)table)); }
