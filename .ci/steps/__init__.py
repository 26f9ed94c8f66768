"""The steps of .ci/setup.py. Each looks first whether its work is done."""
