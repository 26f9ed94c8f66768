"""What the hub keeps of a share, so that a lost host can be replaced: its last saved state, the batches since, and what was told since.

A replacement computes the same again, and tells it again: that is compared, and dropped. What counts is the order of tags and messages, not how
they were cut into reports; a batch that was halted is kept as far as it came.

# All of it is the share's driver's.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

from reactornb.cluster.errors import ReplayMismatchError
from reactornb.cluster.messages import Batch, Report, Saved
from reactornb.cluster.packing import Packed
from reactornb.cluster.rows import Incoming
from reactornb.runtime.signals import TagKey
from reactornb.tags import Tag

__all__ = ["Past"]

_MOST_BYTES = 1 << 30
_MOST_BATCHES = 10_000


class Past:
    """What is kept of one share.

    Args:
        share: its number.
        reactors: the names of the reactors at its top.
        incoming: adds rows and lines to the run.

    Attributes:
        batches: those that are not in `state`; before them the last that is, empty: it may be halted after the state was saved.
        state: the last that was saved; None: the share begins at its first tag. `seq`: the batches up to here are in it.
        done: the tag that was executed last, as told.
        is_behind: the present host has not come as far again. It is not to be halted there: nobody would know it to stand still.
    """

    def __init__(self, share: int, reactors: tuple[str, ...], incoming: Incoming) -> None:
        self.batches: deque[Batch] = deque()
        self.state: Packed | None = None
        self.seq = 0
        self.done: TagKey = (0, -1)
        self.is_behind = False
        self._share = share
        self._reactors = reactors
        self._incoming = incoming
        self._bytes = 0
        self._sums: list[tuple[int, int, bytes]] = []
        self._messages: list[tuple[int, int, int]] = []
        self._sums_told = self._messages_told = 0  # by the present host, since `state`
        self._rows = incoming.mark()  # at `state`
        self._asked = False

    def sent(self, batch: Batch) -> bool:
        """A batch goes to the host.

        Returns:
            Whether it is time to ask for the state.
        """
        self.batches.append(batch)
        self._bytes += sum(value.nbytes for value in batch.values)
        wanted = not self._asked and (self._bytes > _MOST_BYTES or len(self.batches) > _MOST_BATCHES)
        self._asked = self._asked or wanted
        return wanted

    def halted(self, head: TagKey | None) -> None:
        """The host stands before this tag, though batches let it go on: a replacement is to stand there, too, however it takes them in."""
        if head is not None:
            self.batches = deque(replace(batch, below=head) if head < batch.below else batch for batch in self.batches)

    def saved(self, saved: Saved) -> None:
        """The state has come: what led to it is needed no more, but for how far the last batch in it lets the host go."""
        last = None
        while self.batches and self.batches[0].seq <= saved.seq:
            last = self.batches.popleft()
        if last is not None:
            self.batches.appendleft(replace(last, messages=(), changes=(), values=()))
        self.state, self.seq = saved.state, saved.seq
        self._bytes = sum(value.nbytes for batch in self.batches for value in batch.values)
        # A host that was replaced may be saved before it has told all that was told before.
        self._sums, self._messages = self._sums[self._sums_told :], self._messages[self._messages_told :]
        self._sums_told = self._messages_told = 0
        self._rows, self._asked = self._incoming.mark(), False

    def again(self) -> None:
        """The host is replaced: what was told since the state is told again."""
        self._sums_told = self._messages_told = 0
        self._asked, self.is_behind = False, True
        self._incoming.again(self._rows)

    def take(self, report: Report) -> Report | None:
        """What is new in a report.

        Returns:
            The report without what was told before; None if the host is behind what was told, so that nothing is.

        Raises:
            ReplayMismatchError: if what is told again differs from the first time.
        """
        told, count = self._sums_told, self._messages_told
        sums, messages = report.sums, report.messages
        repeated = min(len(self._sums) - told, len(sums))
        for new, old in zip(sums[:repeated], self._sums[told : told + repeated], strict=True):
            if new != old:
                self._differ(min(new[:2], old[:2]), "what was written")
        known = min(len(self._messages) - count, len(messages))
        for message, was in zip(messages[:known], self._messages[count : count + known], strict=True):
            if message[:3] != was:
                self._differ(min(message[:2], was[:2]), "what was sent")
        self._sums_told, self._messages_told = told + len(sums), count + len(messages)
        self._sums += sums[repeated:]
        self._messages += [message[:3] for message in messages[known:]]
        if report.done < self.done:
            return None
        self.done, self.is_behind = report.done, False
        return replace(report, sums=sums[repeated:], messages=messages[known:])

    def _differ(self, tag: TagKey, what: str) -> None:
        raise ReplayMismatchError(self._share, Tag(*tag), self._reactors, what)
