"""Measure this library against its peers, in one run, against one server: `python -m benchmarks`."""
