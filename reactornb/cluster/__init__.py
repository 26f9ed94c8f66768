"""A program on several machines: hosts that execute its enclaves, and the links to them. See README.md there."""
