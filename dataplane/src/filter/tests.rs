//! Golden vectors, symmetry, fragments, quoted packets, burst against single.
