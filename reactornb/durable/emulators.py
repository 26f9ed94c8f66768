"""The state of an Atari emulator (an `ALEInterface` of ale-py) as bytes, and back; knows ALE by what its objects can do, and imports nothing of it.

ALE's own copy of a state, with its random generator, lacks one thing: the action that the emulator holds. With sticky actions a frame repeats
it instead of the action that is given, so that a run that goes on from the copy would differ now and then. ALE tells nobody which it is, but
it can be found: the generator says how many frames from here on repeat it, and what these frames make of the game is compared with what they
make of it when another action is held. Where the next frame takes the action that is given, what is held does not matter.

Decoding is ALE's own, in C++: bytes that somebody has changed on purpose are its to judge, so a run folder with games should come from whom one trusts.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from reactornb.errors import ReactorError

__all__ = ["EmulatorStateError", "load", "save"]

_WORDS = 624  # of the Mersenne Twister
_LOOK_AHEAD = 4096  # frames; with sticky actions of 0.9 so many repetitions have a probability of 1e-187


class EmulatorStateError(ReactorError, ValueError):
    """An emulator's state cannot be saved, or what was saved is none."""


def save(ale: Any) -> dict[str, Any]:
    """An emulator's state, from which another one of the same game and settings goes on as this one does.

    Between two frames, on a thread that nobody else uses the emulator on. It is left as it was found.

    Returns:
        Bytes and numbers.

    Raises:
        EmulatorStateError: if ALE writes its generator in a form that is not known here.
    """
    state = _bytes_of(ale)
    repeated = 0
    probability = ale.getFloat("repeat_action_probability")
    if probability > 0 and not ale.game_over(
        with_truncation=True
    ):  # else a reset comes first, after which no action is held
        repeated = _repeated(_generator(state), probability)
    if not repeated:
        return {"state": state, "held": None, "free": b""}
    held, free = _held(ale, state, repeated)
    return {"state": state, "held": held, "free": free}


def load(ale: Any, saved: dict[str, Any]) -> None:
    """Bring an emulator of the same game and settings into a saved state.

    Raises:
        EmulatorStateError: if this is no saved state.
    """
    held = saved["held"]
    if held is not None:
        actions = {action.value: action for action in ale.getLegalActionSet()}
        if held not in actions:
            raise EmulatorStateError(f"a saved game holds the action {held!r}, which its emulator does not have.")
        _hold(ale, saved["free"], actions[held])
    _restore(ale, saved["state"])


def _bytes_of(ale: Any) -> bytes:
    state: bytes = ale.cloneState(include_rng=True).__getstate__()
    return state


def _restore(ale: Any, state: bytes) -> None:
    kind: Any = type(ale.cloneState(include_rng=True))
    made = kind.__new__(kind)
    try:
        made.__setstate__(state)
        ale.restoreState(made)
    except Exception as error:
        raise EmulatorStateError(f"what was saved is no state of this game: {error}") from error


def _hold(ale: Any, free: bytes, action: Any) -> None:
    """Let the emulator hold an action: `free` is a state whose next frame takes the one that is given."""
    _restore(ale, free)
    ale.act(action)


def _held(ale: Any, state: bytes, repeated: int) -> tuple[int, bytes]:
    """Which action the emulator holds, or one with which it goes on in the same way, and a state in which it takes any.

    Args:
        ale: the emulator, in `state`.
        state: of it.
        repeated: how many frames from here on repeat what is held.

    Raises:
        EmulatorStateError: if none does what the emulator did.
    """
    actions = ale.getLegalActionSet()
    for _ in range(repeated):
        ale.act(actions[0])
    free = _bytes_of(ale)
    _restore(ale, state)  # holds what it held: all frames repeated it
    for action in actions:
        _hold(ale, free, action)
        _restore(ale, state)
        for _ in range(repeated):
            ale.act(actions[0])
        if _bytes_of(ale) == free:
            _restore(ale, state)
            return int(action.value), free
    raise EmulatorStateError("no action of this game does what its emulator did with the one that it holds.")


def _repeated(generator: np.random.MT19937, probability: float) -> int:
    """How many frames from here on repeat the action that is held.

    A frame draws a number for each of two players, and repeats where it lies below the probability.
    """
    limit = np.float32(probability)  # a float in ALE
    for frame in range(_LOOK_AHEAD):
        first, _ = generator.random_raw(2).tolist()
        if first / 2.0**32 >= float(limit):
            return frame
    raise EmulatorStateError(f"sticky actions of {probability} never end.")


def _generator(state: bytes) -> np.random.MT19937:
    """A copy of the generator in a state: its last text but for 8 bytes, numbers with spaces between, its length before it.

    libstdc++ writes 624 words and the place of the next, libc++ 624 words of which the next is the first.

    Raises:
        EmulatorStateError: if there is no such text.
    """
    text = state[:-8]
    for count in (_WORDS + 1, _WORDS):
        numbers = text.rsplit(b" ", count - 1)
        if len(numbers) != count:
            continue
        first = numbers[0]
        for digits in range(1, 11):  # of the first number, before which the length stands, perhaps a digit too
            number, length = first[-digits:], first[-digits - 4 : -digits]
            size = digits + sum(1 + len(n) for n in numbers[1:])
            if number.isdigit() and int.from_bytes(length, "little") == size and all(n.isdigit() for n in numbers[1:]):
                words = [int(number), *map(int, numbers[1:])]
                place = words.pop() if count > _WORDS else _WORDS
                if place <= _WORDS and max(words) < 2**32:
                    generator = np.random.MT19937(0)
                    generator.state = {
                        "bit_generator": "MT19937",
                        "state": {"key": np.array(words, np.uint32), "pos": place},
                    }
                    return generator
    raise EmulatorStateError(
        "ALE writes its random generator in a form that is not known here, so its sticky actions cannot be saved."
    )
