//! Tests of the cluster thread's shell.
