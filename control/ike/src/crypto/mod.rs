//! What IKE computes: key exchange, PRFs, keys, the sealed payload, proofs of a shared key.
