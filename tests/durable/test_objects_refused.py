"""What cannot be saved is said at once: which reactor, how one gets there, where it is assigned, and what to do."""

import ctypes
import queue
import socket
import threading
from collections import deque

import numpy as np
import pytest
from standing_reactors import known_of, standing

from reactornb import Reactor
from reactornb.durable.objects import CannotRestoreError, Known, NotSavableError, capture, rehearse, restore, savable
from reactornb.runtime.codec import decode, encode


class Tool:
    def __init__(self, part):
        self.part = [part]


def line_of(text):
    with open(__file__) as file:  # noqa: PTH123 - a line of this file
        return next(number for number, line in enumerate(file, 1) if text in line)


def refusal(make):
    """The errors for a thing that a reactor holds itself, and for one in an object in a list that it holds."""

    class Main(Reactor):
        def begin(self):
            self.thing = make()  # here

    class Inside(Reactor):
        def begin(self):
            self.tools = [Tool(make())]  # there

    errors = []
    for root in (Main, Inside):
        (one,) = standing(root)
        with pytest.raises(NotSavableError) as caught:
            capture([one], known_of([one]), strict=False)
        errors.append(caught.value)
    return errors


@pytest.mark.parametrize(
    ("make", "kind", "fix"),
    [
        (threading.local, "_thread._local", "transient"),
        (lambda: (x for x in ()), "generator", "a list and an index"),
        (lambda: map(str, [1]), "map", "an index"),
        (lambda: ctypes.c_int(3), "c_int", "savable(c_int, save="),
        (lambda: ValueError("x"), "ValueError", "savable(ValueError"),
        (lambda: np.array([[], 1], object)[1:], "ndarray", "a copy of the view"),
    ],
    ids=["thread's own", "generator", "map", "of C", "exception", "view of objects"],
)
def test_what_cannot_be_saved_is_named_with_where_it_is_and_what_to_do(make, kind, fix):
    direct, inside = refusal(make)
    assert direct.reactor == "main"
    assert direct.attribute == "self.thing"
    assert direct.kind.__name__ in kind
    assert direct.source.line == line_of("# here")
    assert fix in direct.fix
    assert f"main: self.thing is a{'n' if kind[0] in 'aeiou' else ''} " in str(direct)
    assert f"line {line_of('# here')}" in str(direct)
    assert inside.attribute == "self.tools[0].part[0]"
    assert inside.source.line == line_of("# there")
    if "transient" in fix:
        assert 'transient = ("thing",) in Main' in direct.fix
        assert 'transient = ("part",) in Tool' in inside.fix


def test_an_open_file_and_a_socket_are_named(tmp_path):
    (tmp_path / "x").write_text("x")
    with (tmp_path / "x").open() as file, socket.socket() as connection:
        for thing, kind in ((file, "TextIOWrapper"), (connection, "socket")):
            direct, _ = refusal(lambda thing=thing: thing)
            assert direct.kind.__name__ == kind
            assert "open in this process only" in str(direct)


def test_a_lock_that_is_held_and_a_simple_queue_in_which_something_waits_are_refused():
    lock, waiting = threading.Lock(), queue.SimpleQueue()
    waiting.put(1)
    with lock:
        direct, _ = refusal(lambda: lock)
        assert "Release it" in direct.fix
    direct, _ = refusal(lambda: waiting)
    assert "queue.Queue" in direct.fix


class Line(threading.Thread):
    """A thread of a program's own, which may hold what counts."""


def test_a_thread_of_a_class_of_its_own_is_refused():
    direct, _ = refusal(Line)
    assert 'transient = ("thing",) in Main' in direct.fix


def test_what_threads_share_is_made_by_startup():
    class Main(Reactor):
        def begin(self):
            self.lock = threading.Lock()

    (one,) = standing(Main)
    one.other = threading.Lock()
    with pytest.raises(NotSavableError) as caught:
        rehearse([one], standing(Main), known_of([one]))
    assert caught.value.attribute == "self.other"
    del one.other
    known = known_of([one])
    rehearse([one], standing(Main), known)
    one.other = threading.Lock()
    with pytest.raises(NotSavableError, match="made after startup"):
        capture([one], known)


def test_a_file_that_is_mapped_for_writing_is_refused_and_one_for_reading_is_left_to_startup(tmp_path):
    path = tmp_path / "rows"
    np.arange(10.0).tofile(path)

    class Main(Reactor):
        mode: str = "r"

        def begin(self):
            self.rows = np.memmap(path, mode=self.mode)

    (one,) = standing(Main)
    tree = rehearse([one], standing(Main), known_of([one]))
    assert encode(tree).nbytes < 1000
    (one,) = standing(lambda: Main(mode="r+"))
    with pytest.raises(NotSavableError, match="mapped for writing"):
        capture([one], known_of([one]), strict=False)


def test_a_parameter_may_be_what_cannot_be_saved():
    class Main(Reactor):
        lock: object = threading.Lock()

        def begin(self):
            self.own = self.lock

    (one,) = standing(Main)
    rehearse([one], standing(Main), known_of([one]))


def test_once_the_rehearsal_is_over_what_startup_does_not_make_is_refused_when_it_appears():
    class Main(Reactor):
        def begin(self):
            self.call = lambda: 3
            self.thing = None

    (one,) = standing(Main)
    known = known_of([one])
    rehearse([one], standing(Main), known)
    capture([one], known)
    one.thing = lambda: 4
    with pytest.raises(NotSavableError, match="made after startup") as caught:
        capture([one], known)
    assert caught.value.attribute == "self.thing"

    class Local:
        pass

    one.thing = [Local()]
    with pytest.raises(NotSavableError, match=r"reactornb\.durable\.savable\(") as caught:
        capture([one], known)
    assert caught.value.attribute == "self.thing[0]"
    savable(Local)
    capture([one], known)


def test_a_rehearsal_finds_what_startup_makes_differently_each_time():
    made = deque([lambda: 1])

    class Main(Reactor):
        def begin(self):
            self.call = made.popleft() if made else None

    (one,) = standing(Main)
    with pytest.raises(NotSavableError, match="startup of this program does not make there"):
        rehearse([one], standing(Main), known_of([one]))


def test_a_rehearsal_finds_an_object_whose_load_forgets_something():
    class Forgetful:
        def __init__(self):
            self.count = 0

        def save(self):
            return {"count": self.count}

        def load(self, state):
            pass

    class Main(Reactor):
        def begin(self):
            self.counting = Forgetful()

    (one,) = standing(Main)
    one.counting.count = 1
    with pytest.raises(NotSavableError, match="did not come back as it was") as caught:
        rehearse([one], standing(Main), known_of([one]))
    assert caught.value.attribute.startswith("self.counting")


def test_an_object_that_calls_something_when_it_goes_is_not_made_from_data():
    gone = []

    class Noisy:
        def __del__(self):
            gone.append(self)

    savable(Noisy)

    class Main(Reactor):
        pass

    (one,), (other,) = standing(Main), standing(Main)
    one.noisy = Noisy()
    tree = capture([one], known_of([one]), strict=False)
    with pytest.raises(CannotRestoreError, match="startup has to make it"):
        restore([tree], [other], known_of([other]))
    assert gone == []


# -- damaged and forged data ----------------------------------------------------------------------------------------------


class Setting:
    """Would do something if its code were called while data are read."""

    called: list = []  # noqa: RUF012 - what was called

    def __init__(self):
        self.called.append("__init__")

    def __setattr__(self, name, value):
        self.called.append("__setattr__")

    def __setstate__(self, state):
        self.called.append("__setstate__")

    @property
    def guarded(self):
        return None

    @guarded.setter
    def guarded(self, value):
        self.called.append("property")


def forged(part):
    """Restore a tree in which an attribute of the reactor is what a test says."""

    class Main(Reactor):
        def begin(self):
            self.thing = [np.zeros(3)]

    (one,) = standing(Main)
    known = known_of([one])
    tree = capture([one], known, strict=False)
    name, cls, names, parts = tree["reactors"][0]
    parts = [part if name == "thing" else old for name, old in zip(names, parts, strict=True)]
    tree["reactors"] = [(name, cls, names, parts)]
    (other,) = standing(Main)
    restore([decode(encode(tree))], [other], known)
    return other.thing


def test_no_code_of_a_class_is_called_but_its_own_hash():
    made = forged(["object", (f"{Setting.__module__}:Setting", ("a", "guarded")), (1, 2)])
    assert vars(made) == {"a": 1, "guarded": 2}
    assert Setting.called == []


@pytest.mark.parametrize(
    "part",
    [
        ["object", ("os:system", ("a",)), (1,)],
        ["object", ("subprocess:Popen", ()), ()],
        ["function", "os:system", ()],
        ["function", "posix:system", ()],
        ["class", "os:_wrap_close", ()],
        ["module", "module os", ()],
        ["partial", (), [["function", "posix:system", ()], "true"]],
        ["adapted", "ale_py._ale_py:ALEInterface", [{"state": b""}]],
        ["saved", ("builtins:object", "save", "load"), [1]],
        ["method", "system", [["module", "module os", ()]]],
        ["builtin method", "__init__", [["list", None, ()]]],
        ["enum", ("builtins:object", "x"), ()],
        ["anchor", "reactor nobody", ()],
        ["parameter", ("main", "_context", np.dtype("f8"), (3,)), ()],
        ["kept", "function x", ()],
        ["nonsense", None, ()],
        ["tuple", None, None],
        ["object", ("builtins:object", ("__class__",)), (1,)],
        ["dict", None, (1, 2, 3)],
        ["dict", None, ([1], 2)],
        ["rng", ("Generator", ()), [1]],
        ["bits", ("PCG64", {"state": 1}), [None]],
        ["iterator", ("list_iterator", 5), [(1, 2)]],
        ["view", (np.dtype("f8"), (10,), (8,), 0, True, None, ()), [["block", np.zeros(8, np.uint8), ()]]],
        ["view", (np.dtype("f8"), (2,), (-8,), 0, True, None, ()), [["block", np.zeros(16, np.uint8), ()]]],
        ["view", (np.dtype("f8"), (2,), (8,), -8, True, None, ()), [["block", np.zeros(16, np.uint8), ()]]],
        ["view", (np.dtype("O"), (1,), (8,), 0, True, None, ()), [["block", np.zeros(8, np.uint8), ()]]],
        ["view", (np.dtype("?"), (1,), (1,), 0, True, None, ()), [["block", np.full(8, 7, np.uint8), ()]]],
        ["array", ("text", "C", True, None, ()), ()],
        ["array", (np.zeros(3), "C", True, "builtins:list", ()), ()],
        ["list", None, [["array", (np.zeros(4), "C", True, None, ("base",)), (1,)]]],
        ["closure", ("function x", 1, ("a",)), [["cell", None, [1]]]],
        ["extended", ("builtins:dict", "dict", (), 2), [1, 2]],
        ["frozenset", None, [["list", None, ()]]],
    ],
    ids=lambda part: f"{part[0]} {part[1]!s:.30}",
)  # fmt: skip
def test_forged_data_are_one_named_error(part):
    with pytest.raises(CannotRestoreError):
        forged(part)


def test_a_tuple_that_contains_itself_is_one_named_error():
    part = ["tuple", None, []]
    part[2].append(part)
    with pytest.raises(CannotRestoreError, match="contains itself"):
        forged(part)


@pytest.mark.parametrize("count", [15, pytest.param(600, marks=pytest.mark.slow)])
def test_damaged_trees_are_restored_or_one_named_error(count):
    """Trees of which one thing is another: never another exception, never a crash."""

    class Main(Reactor):
        def begin(self):
            self.ring = np.arange(12.0)
            self.view = self.ring[2:6]
            self.rows = [{"a": (1, [2])}, Tool(3), deque([1], maxlen=3)]
            self.rows.append(self.rows[1])
            self.random = np.random.default_rng(3)
            self.call = lambda: self.rows

    (one,) = standing(Main)
    one.late = one.ring[1:3], Tool([one.view])
    known = known_of([one])
    data = encode(capture([one], known, strict=False)).to_bytes()
    chance = np.random.default_rng(7)
    wrong = 0
    others = [None, -1, 2**40, "x", 0.5, True, (), (1, 2), np.zeros(2), {"a": 1}, b"\0" * 9, ["list", None, [1]]]
    for _ in range(count):
        tree = decode(data)
        damage(tree, chance, others)
        (other,) = standing(Main)
        try:
            restore([tree], [other], Known({Main}))
        except CannotRestoreError:
            wrong += 1
    assert wrong > count // 3


def damage(tree, chance, others):
    """Put something else in the place of one thing."""
    places = []
    seen = set()

    def visit(value, put):
        places.append(put)
        if isinstance(value, list):
            if id(value) in seen:
                return
            seen.add(id(value))
            for i, part in enumerate(value):
                visit(part, lambda new, value=value, i=i: value.__setitem__(i, new))
        elif isinstance(value, tuple):
            for i, part in enumerate(value):
                visit(part, lambda new, value=value, i=i, put=put: put((*value[:i], new, *value[i + 1 :])))
        elif isinstance(value, dict):
            for key, part in value.items():
                visit(part, lambda new, value=value, key=key: value.__setitem__(key, new))

    visit(tree["reactors"], lambda new: tree.__setitem__("reactors", new))
    places[chance.integers(len(places))](others[chance.integers(len(others))])


def test_known_finds_nothing_by_a_name_that_no_module_of_the_program_has():
    known = Known({Reactor})
    for name in (
        "os:system",
        "builtins:eval",
        "torch.nn:Module.__init__",
        "collections:abc",
        "module os",
        "",
        None,
        3,
        "a:b:c",
        "gymnasium:make",
    ):
        assert known.named(name) is None
