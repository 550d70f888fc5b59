"""Measures how fast bnexp is, and against what: `python -m benchmarks`."""
