"""Benchmarks: ratios of figures that are measured side by side in one run."""
