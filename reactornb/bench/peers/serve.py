"""The other end of `PeerProcess`, in a peer's environment: one request per line in, one answer per line out."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

__all__ = ["serve"]


def serve(**benchmarks: Callable[..., dict[str, Any]]) -> None:
    """Answer requests until the input ends; the first line out says which interpreter this is.

    Args:
        benchmarks: name -> function of keyword arguments that returns what JSON can hold.
    """
    # What a library prints goes to the log, not between the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    answers.write(json.dumps({"python": sys.version.split()[0], "gil": gil}) + "\n")
    answers.flush()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = benchmarks[request["benchmark"]](**request["parameters"])
        except Exception:  # noqa: BLE001 - it is the other side's to judge
            answer = {"error": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()
