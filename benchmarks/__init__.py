"""Measurements that the documentation quotes; `python -m benchmarks` reprints `results.md`."""
