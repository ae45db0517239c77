"""Ours against the bare tools, side by side in one run, as ratios: ``python -m benchmarks``."""
