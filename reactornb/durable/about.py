"""What `run.json` says of a run: enough to list it, to find and make its program again, and to tell whether that is still the same.

It is JSON. A value that JSON cannot say stands there in words, and, where the codec can, as its bytes.
"""

from __future__ import annotations

import base64
import binascii
import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from reactornb.durable.canary import canary
from reactornb.durable.code import digests, graph_digest
from reactornb.errors import MalformedDataError, ReactorError
from reactornb.graph import Graph
from reactornb.interpreter import environment
from reactornb.options import RunOptions
from reactornb.runtime.codec import decode, encode
from reactornb.tags import Duration, ns

__all__ = ["KEPT_OPTIONS", "about_of", "encoded", "options_in", "parameters_in"]

KEPT_OPTIONS = (
    "until",
    "fast",
    "keepalive",
    "fingerprint",
    "fingerprint_log",
    "check_values",
    "profile",
    "trace",
    "checkpoint",
)
"""Options that a resumed run has again unless others are given. Workers, cores and priority are the machine's."""

_MOST_PARAMETERS = 2_000
_LONGEST = 200  # characters of words
_MOST_BYTES = 1 << 20  # of a parameter's value


def about_of(program: Any, options: RunOptions, parent: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What is known of a run before it begins.

    Args:
        program: the `Program`.
        options: with all that was left open decided.
        parent: of a branch, "run" and "tag".
    """
    graph: Graph = program.graph
    root = graph.reactors[0]
    module = sys.modules.get(root.cls.__module__)
    return {
        "program": program.name,
        "root": root.cls.__qualname__,
        "module": root.cls.__module__,
        "file": getattr(module, "__file__", None),
        "root_parameters": _root_parameters(program),
        "parameters": _parameters(program),
        "seed": options.seed,
        "workers": options.workers,
        "options": {name: _plain(getattr(options, name)) for name in KEPT_OPTIONS},
        "versions": environment(),
        "canary": canary(),
        "graph": graph_digest(graph),
        "code": {"python": sys.version.split()[0], "digests": digests(graph)},
        "commit": _commit(),
        "parent": None if parent is None else dict(parent),
        "began": time.time(),
        "argv": [str(word) for word in sys.argv[:50]],
    }  # fmt: skip


def _parameters(program: Any) -> dict[str, Any]:
    """By full name, of the first member of each bank; of what a configuration decides, its value."""
    settings = getattr(program.root, "settings", None)
    made: dict[str, Any] = {}
    for node in program.graph.reactors:
        if node.bank_index > 0:
            continue
        for name, value in node.parameters.items():
            said = getattr(settings, name, value) if _is_preset(value) else value
            made[f"{node.name}.{name}"] = _plain(said)
            if len(made) >= _MOST_PARAMETERS:
                return made
    return made


def _is_preset(value: Any) -> bool:
    """Whether it stands for "as the configuration says"; programs of `reactornb.rl` have such."""
    return isinstance(value, Enum) and type(value).__module__.startswith("reactornb.")


def _root_parameters(program: Any) -> dict[str, Any]:
    """The parameters of the outermost reactor that differ from its class's defaults, to make it again."""
    node = program.graph.reactors[0]
    defaults = node.cls._spec.parameters
    missing = object()
    made = {}
    for name, value in node.parameters.items():
        default = defaults.get(name, missing)
        if value is not default:
            made[name] = encoded(value)
    return made


def _plain(value: Any) -> Any:
    """As JSON has it, or in words."""
    if isinstance(value, Duration):
        return int(value)
    if value is None or type(value) in (bool, int, str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"words": repr(value)}
    if isinstance(value, (list, tuple)) and len(value) <= 100:
        parts = [_plain(part) for part in value]
        if not any(isinstance(part, dict) for part in parts):
            return parts
    return {"words": repr(value)[:_LONGEST]}


def encoded(value: Any) -> dict[str, Any]:
    """A value as the codec has it, in JSON; with words only if it cannot be encoded."""
    if value is None or type(value) in (bool, int, str):
        return {"value": value}
    if type(value) is Duration:
        return {"ns": int(value), "words": str(value)}
    words = {"words": repr(value)[:_LONGEST]}
    try:
        data = encode(value).to_bytes()
    except ReactorError:
        return words
    return {"codec": base64.b64encode(data).decode(), **words} if len(data) <= _MOST_BYTES else words


def parameters_in(about: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The parameters of the outermost reactor, and the names of those that could not be written down.

    Raises:
        MalformedDataError: if the bytes of a value are damaged.
    """
    made: dict[str, Any] = {}
    unknown: list[str] = []
    listed = about.get("root_parameters")
    for name, given in (listed if isinstance(listed, Mapping) else {}).items():
        if isinstance(given, Mapping) and "value" in given:
            made[name] = given["value"]
        elif isinstance(given, Mapping) and isinstance(given.get("ns"), int):
            made[name] = ns(given["ns"])
        elif isinstance(given, Mapping) and isinstance(given.get("codec"), str):
            try:
                made[name] = decode(base64.b64decode(given["codec"]))
            except binascii.Error as error:
                raise MalformedDataError(f"the value of parameter {name} is damaged: {error}.") from error
        else:
            unknown.append(name)
    return made, unknown


def options_in(about: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a resumed run has again."""
    listed = about.get("options")
    known = listed if isinstance(listed, Mapping) else {}
    made = {name: known[name] for name in KEPT_OPTIONS if isinstance(known.get(name), (bool, int))}
    made |= {name: ns(made[name]) for name in ("until", "checkpoint") if name in made}
    seed = about.get("seed")
    return {**made, "seed": seed if isinstance(seed, int) else 0}


def _commit() -> dict[str, Any] | None:
    """The commit of git that the working directory is at; None without git, or if it does not answer soon."""
    if not any((folder / ".git").exists() for folder in (Path.cwd(), *Path.cwd().parents)):
        return None
    try:
        asked = subprocess.run(
            ["git", "status", "--porcelain=v2", "--branch", "--untracked-files=no"],  # noqa: S607 - the user's git
            capture_output=True, text=True, timeout=2, check=True, env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        ).stdout.splitlines()  # fmt: skip
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    found = [line.split()[-1] for line in asked if line.startswith("# branch.oid ")]
    if not found or found[0] == "(initial)":
        return None
    return {"hash": found[0], "dirty": any(not line.startswith("#") for line in asked)}
