"""Tab completion: after `%reactor` and `%%reactor`, and in the body of a `%%reactor` cell.

One matcher of IPython's API v2, so that it works in a terminal and through a kernel's `complete_request`. In a body it completes
names that Python's own completion cannot know: the ports of contained reactors that the same cell declares, the parameters of a
class that is being instantiated, and the names that a reaction's signature may use.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from typing import Any

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher

from reactornb.model import Reactor
from reactornb.notebook import Session
from reactornb.notebook.tuning import choices, paths
from reactornb.runtime import Program, Run, live_runs
from reactornb_magics.line import CELLS, COMMANDS, Parser

__all__ = ["install", "uninstall"]

_NAME = "reactornb_magics.complete"
_LINE = re.compile(r"(?:^|=)\s*%reactor(?=\s)(.*)$")
_CELL = re.compile(r"^%%(reactor|lf)(?=\s)(.*)$")
# `rollouts = Bank(Rollout, 8` or `self.learner = Learner(`: a contained reactor and its class.
_CHILD = re.compile(r"^\s*(?:self\.)?(\w+)\s*=\s*(?:Bank\(\s*)?(\w+)\s*[(,]", re.MULTILINE)
_DECLARED = re.compile(r"^(\w+)\s*(?:=|:)", re.MULTILINE)
_ATTRIBUTE = re.compile(r"(?:^|[^\w.])(?:self\.)?(\w+)(?:\[[^]]*\])?\.(\w*)$")
_CALL = re.compile(r"(?:Bank\(\s*(\w+)\s*,|(\w+)\()[^()]*?(\w*)$")
_SIGNATURE = re.compile(r"(?:def\s+\w+\(\s*self\s*,|@reaction\()\s*(?:\w+\s*,\s*)*(\w*)$")

Found = tuple[str, list[str]] | None
"""The typed part of the word before the cursor, and all words that are possible there; None if nothing can be completed."""


def install(shell: Any, session: Session) -> None:
    """Add the matcher to a shell's completer."""
    uninstall(shell)

    @context_matcher(identifier=_NAME)  # type: ignore[untyped-decorator]  # IPython's is not annotated
    def match(context: CompletionContext) -> SimpleMatcherResult:
        completion = _find(context, session)
        if completion is None:
            return {"completions": [], "suppress": False}
        typed, words = completion
        fitting = [SimpleCompletion(word, type=_kind(word)) for word in words if word.startswith(typed)]
        return {"completions": fitting, "suppress": True, "matched_fragment": typed, "ordered": True}

    shell.Completer.custom_matchers.append(match)


def uninstall(shell: Any) -> None:
    """Remove the matcher from a shell's completer."""
    matchers = shell.Completer.custom_matchers
    matchers[:] = [m for m in matchers if getattr(m, "matcher_identifier", "") != _NAME]


def _kind(word: str) -> str:
    if word.startswith("-"):
        return "keyword"
    return "param" if word.endswith("=") else "instance"


def _find(context: CompletionContext, session: Session) -> Found:
    before = context.text_until_cursor
    line = _LINE.search(before)
    if line is not None:
        return _after_line(line[1], session)
    first = context.full_text.lstrip().partition("\n")[0]
    cell = _CELL.match(first)
    if cell is None or cell[1] == "lf":
        return None
    if before.startswith("%%"):
        return _after_cell(_CELL.match(before), session)
    return _in_body(before, context.full_text, session)


# -- lines ----------------------------------------------------------------------------------------------------------


def _after_line(text: str, session: Session) -> Found:
    *done, typed = _words(text)
    if not done:
        return typed, list(COMMANDS)
    parser = COMMANDS.get(done[0])
    if parser is None:
        return None
    option = _option(parser, done[-1])
    if option is not None and option.nargs is None:  # its value
        return (typed, _metrics(session)) if option.dest == "metrics" else None
    if typed.startswith("-"):
        return typed, _options(parser, done)
    return typed, _names(done, typed, session)


def _after_cell(cell: re.Match[str] | None, session: Session) -> Found:
    if cell is None:
        return None
    *done, typed = _words(cell[2])
    if typed.startswith("-"):
        return typed, _options(CELLS[cell[1]], done)
    names = sum(not word.startswith("-") for word in done)
    return (typed, list(session.reactors())) if names < 2 else None


def _words(text: str) -> list[str]:
    """The words of a line, the last one, which is being typed, maybe empty."""
    return text.split() + ([""] if text[-1:].isspace() else [])


def _options(parser: Parser, done: list[str]) -> list[str]:
    return [
        next((o for o in a.option_strings if o.startswith("--")), a.option_strings[0])
        for a in parser.known
        if a.option_strings and a.help != argparse.SUPPRESS and not {*a.option_strings} & {*done}
    ]


def _option(parser: Parser, word: str) -> Any:
    return next((a for a in parser.known if word in a.option_strings), None)


def _names(done: list[str], typed: str, session: Session) -> list[str]:
    names = session.shell.user_ns
    over = done[0] in (
        "run",
        "status",
        "curves",
        "graph",
        "profile",
        "timeline",
        "watch",
        "rewind",
        "verify",
    )  # commands that accept ended runs, too
    runs = {name: run for name, run in _of(names, Run) if over or run.is_alive}
    match done[0]:
        case "start" | "graph" | "sweep" | "verify":
            started = [
                cls for word in done[1:] if isinstance(cls := names.get(word), type) and issubclass(cls, Reactor)
            ]
            if started:
                given = {word.partition("=")[0] for word in done}
                return [f"{name}=" for name in started[0]._spec.parameters if name not in given]
            startable = [*session.reactors(), *(name for name, _ in _of(names, Program))]
            return [*startable, *runs] if over else startable
        case "set":
            return _settable(done, typed, session) or [*runs]
        case "inspect":
            return _inspectable(typed, session)
        case "keep":
            return [] if done[1:] else ["on", "off"]
        case "checkpoint" | "rewind" if len(done) == 1:  # its label, or a tag
            return []
        case (
            "stop" | "pause" | "resume" | "step" | "run" | "status" | "curves" | "profile" | "timeline" | "watch"
            | "checkpoint" | "rewind"
        ):  # fmt: skip
            for name, program in session.programs.items():
                if program.last_run is not None and (over or program.last_run.is_alive):
                    runs.setdefault(name, program.last_run)
            known = set(map(id, runs.values()))
            others = [run for run in live_runs() if id(run) not in known]
            programs = [run.program.name for run in others]
            # A name that several runs share means none of them.
            unique = [
                p if programs.count(p) == 1 and p not in runs else r.name for r, p in zip(others, programs, strict=True)
            ]
            stored = session.stored_names() if done[0] in ("resume", "rewind", "curves") else []
            return list(dict.fromkeys([*runs, *unique, *stored]))
    return []


def _inspectable(typed: str, session: Session) -> list[str]:
    head, dot, _ = typed.partition(".")
    cls = session.reactors().get(head)
    if dot and cls is not None:
        spec = cls._spec
        members = (*spec.ports, *spec.parameters, *(r.name for r in spec.reactions))
        return [f"{head}.{name}" for name in members]
    program = session.program_looked_at()
    nodes = program.graph.reactors if program is not None else ()
    return [*session.reactors(), *(node.name for node in nodes), *(node.name.partition(".")[2] for node in nodes[1:])]


def _settable(done: list[str], typed: str, session: Session) -> list[str]:
    """Paths of parameters, then the values of one that has few."""
    program = session.program_looked_at()
    words = [word for word in done[1:] if not word.startswith("-")]
    if program is None or len(words) > 1:
        return []
    return choices(program.graph, words[0]) if words else paths(program.graph, typed)


def _metrics(session: Session) -> list[str]:
    return sorted(session.last_run.metrics) if session.last_run is not None else []


def _of(names: dict[str, Any], kind: type) -> Iterable[tuple[str, Any]]:
    return [(name, value) for name, value in names.items() if isinstance(value, kind) and not name.startswith("_")]


# -- the body of a cell ---------------------------------------------------------------------------------------------


def _in_body(before: str, cell: str, session: Session) -> Found:
    for look in (_ports, _signature, _parameters):
        completion = look(before, cell, session.reactors())
        if completion is not None:
            return completion
    return None


def _ports(before: str, cell: str, classes: dict[str, type[Reactor]]) -> Found:
    at = _ATTRIBUTE.search(before)
    if at is None:
        return None
    children = dict(_CHILD.findall(cell))
    cls = classes.get(children.get(at[1], ""))
    return None if cls is None else (at[2], list(cls._spec.ports))


def _signature(before: str, cell: str, classes: dict[str, type[Reactor]]) -> Found:  # noqa: ARG001 - as its fellows
    at = _SIGNATURE.search(before)
    if at is None:
        return None
    builtin = ["startup", "shutdown", "reset"] if "@reaction" in before else []
    body = cell.partition("\n")[2]
    parameters = set(re.findall(r"^(\w+)\s*:", body, re.MULTILINE))
    declared = [name for name in dict.fromkeys(_DECLARED.findall(body)) if name not in parameters]
    return at[1], [*declared, *builtin]


def _parameters(before: str, cell: str, classes: dict[str, type[Reactor]]) -> Found:  # noqa: ARG001 - as its fellows
    at = _CALL.search(before)
    if at is None:
        return None
    cls = classes.get(at[1] or at[2] or "")
    if cls is None and at[2] == "Bank":
        return at[3], list(classes)
    return None if cls is None else (at[3], [f"{name}=" for name in cls._spec.parameters])
