//! Names proved with certificates, against certificates of another maker's and signatures of another implementation's.

mod authority;
mod chains;
mod credentials;
mod foreign;
mod hostile;
mod names;
mod signatures;
