//! Attacks on the real queue, buckets and lines, in simulated time: no hash is made, and nothing waits.

mod attacks;
mod world;
