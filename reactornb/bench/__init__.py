"""Benchmarks of the notebook, of the runtime, and of peers measured in the same run. Each is a module with `main(argv)`.

Shared modules without `main`: `measure` (turns, ratios, table, JSON), `broadcast` (the loop of the paper's experiments and
its limits) and `peers` (other systems, each in an environment of its own).
"""
