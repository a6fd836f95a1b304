"""Benchmarks: each measures ratios in one run, on named input, and prints them as tables."""
