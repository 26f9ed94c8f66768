"""Measurements: of the notebook, of the runtime, and beside peers in the same run. Each is a module with `main(argv)`."""
