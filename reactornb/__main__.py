"""The command line: `reactornb run | graph | check | demo | bench | doctor`; see `cli.command_line`."""

from __future__ import annotations

import sys

from reactornb.cli.command_line import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
