"""Benchmarks: one file a benchmark, or a small family of them."""
