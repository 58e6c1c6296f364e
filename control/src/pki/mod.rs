//! The cluster's own public-key infrastructure (DESIGN section 9; patent: the certificates and personality of Figure 3).

mod secret;

pub use secret::{ClusterSecret, PublicKey, SECRET_BYTES, SIGNATURE_BYTES, SigningKey};
