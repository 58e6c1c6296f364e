//! From files to proofs: what is taken, and what each mistake is called.
