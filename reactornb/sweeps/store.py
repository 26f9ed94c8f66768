"""The kept runs of a sweep: a run for each trial, named after what it is made of, so that a sweep that is started again finds them.

    sweep(PPO, learning_rate=[1e-3, 3e-4], seeds=5, keep="lr")         runs lr-1f0c9a7e52, lr-…, all with the label "lr"

There is no file of the sweep itself: what is done is what the folders say. A sweep with more values or more seeds has more trials, of which it finds
some. A name says program, parameters and seed, not code: whether that changed is asked of the folder.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

from reactornb.durable.finding import changes_of
from reactornb.durable.folder import RunFolder, runs_root
from reactornb.durable.new_folder import free_name
from reactornb.durable.resume import resume
from reactornb.durable.storage import check_name
from reactornb.durable.stored import LABELS, StoredRun
from reactornb.errors import ReactorError
from reactornb.runtime import Program, Run
from reactornb.sweeps.trial import Trial

__all__ = ["Store"]

_AGAIN = ("stopped", "interrupted", "abandoned")
"""States of a kept run that goes on."""


class Store:
    """Where the trials of one sweep are kept. Used by the threads that perform trials, each for its own.

    Args:
        name: of the sweep.
        retry: whether trials that failed are tried again.

    Raises:
        RunNameError: for a name that no folder can have everywhere.
    """

    def __init__(self, name: str, *, retry: bool = False) -> None:
        self.name = check_name(name)
        check_name(f"{name}-{'0' * 10}-10")
        self.root = runs_root()
        self._retry = retry

    def name_of(self, trial: Trial) -> str:
        """The name of a trial's run."""
        return f"{self.name}-{blake2b(trial.key.encode('utf-8', 'replace'), digest_size=5).hexdigest()}"

    def found(self, trial: Trial) -> StoredRun | None:
        """The trial's run, if it was run before: the last one, where it was tried again."""
        name, number = self.name_of(trial), 2
        found = None
        while (self.root / name / "run.json").is_file():
            found = self.root / name
            name, number = f"{self.name_of(trial)}-{number}", number + 1
        return None if found is None else StoredRun(found)

    def is_done(self, stored: StoredRun) -> bool:
        """Whether a kept run is a row as it is: it came to its end, or failed and is not to be tried again, or cannot be touched."""
        return not (stored.state in _AGAIN or (stored.state == "failed" and self._retry))

    def code_changed(self, stored: StoredRun, program: Program) -> bool:
        """Whether a kept run was made with other code than there is now."""
        try:
            return bool(changes_of(stored.about, program))
        except ReactorError:  # another graph
            return True

    def begin(self, trial: Trial, program: Program, options: Mapping[str, Any], stored: StoredRun | None) -> Run:
        """Start the run of a trial, or go on with one that was stopped.

        Raises:
            ReactorError: if it cannot be started, or does not go on.
        """
        if stored is not None and stored.state in _AGAIN:
            machine = {name: options[name] for name in ("workers", "placement", "nice") if name in options}
            run = resume(stored.path, program=program, **machine)
        else:
            run = program.start(**{**options, "seed": trial.seed, "keep": free_name(self.root, self.name_of(trial))})
        path = run.kept
        if path is not None:
            with contextlib.suppress(ReactorError, OSError), RunFolder.open(path) as folder:  # a label is a convenience
                words = folder.notes.get(LABELS)
                known = words if isinstance(words, list) else []
                folder.set_notes({**folder.notes, LABELS: list(dict.fromkeys([*known, self.name]))})
        return run
