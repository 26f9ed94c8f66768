"""Damages the files of a run in every way that comes to mind, and holds that reading gives what was written or one named error.

    .venv/bin/python tests/durable/fuzz_files.py SEED COUNT

Two kinds: *damage* (bits, cuts, zeros, files exchanged or gone) must never give a wrong state, and *forgery* (another content under a right
seal) may give another one, but nothing else than named errors. While files are read nothing may be imported, compiled or
executed, and, where they lie on the disk, nothing outside the folder may be opened: an audit hook looks.
"""

import json
import os
import random  # noqa: TID251 - which byte is damaged
import shutil
import sys
import tempfile
from hashlib import blake2b
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import scripted_runs as runs
from crashing import File, Folder, Memory

from reactornb.durable import checkpoints, pieces
from reactornb.durable.errors import DamagedRunError, NoSuchRunError
from reactornb.durable.folder import RunFolder
from reactornb.durable.sealed import seal
from reactornb.durable.storage import Disk
from reactornb.errors import MalformedDataError
from reactornb.runtime.codec import decode, encode

STEPS = range(7)
WEIRD = [
    None,
    True,
    -1,
    0,
    1,
    2**31,
    2**63,
    2**70,
    1e308,
    -0.5,
    "",
    "../../etc/passwd",
    "/etc/passwd",
    "\0",
    "é\ud800",
    [],
    {},
    [[]],
    {"a": {}},
    "x" * 5000,
]


def original():
    """A run with checkpoints, in memory."""
    memory, promises = Memory(), runs.Promises()
    runs.whole_life(memory, promises, STEPS)
    RunFolder.open(Path("/memory/pong"), storage=memory).set_notes({"labels": ["good"]})
    return memory, promises


def files_of(memory):
    """Every file by its path."""
    found = {}

    def walk(folder, at):
        for name, node in folder.entries.items():
            if isinstance(node, Folder):
                walk(node, f"{at}{name}/")
            else:
                found[f"{at}{name}"] = node

    walk(memory.root, "")
    return found


# -- changes ----------------------------------------------------------------------------------------------------------------


def damage(memory, chance):
    """Change a file as a disk, a copy or a user may; says what was done."""
    files = files_of(memory)
    at = chance.choice(sorted(files))
    data = files[at].data
    kind = chance.choice(["bits", "bits", "byte", "cut", "grow", "zeros", "exchange", "repeat", "remove", "insert"])
    place = chance.randrange(len(data) + 1)
    if kind == "bits":
        for _ in range(chance.choice([1, 1, 1, 3, 20])):
            if data:
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    elif kind == "byte" and data:
        data[place % len(data)] = chance.randrange(256)
    elif kind == "cut":
        del data[place:]
    elif kind == "grow":
        data.extend(chance.randbytes(chance.randrange(1, 100)))
    elif kind == "zeros":
        end = min(len(data), place + chance.randrange(1, 200))
        data[place:end] = bytes(end - place)
    elif kind == "exchange":
        other = files[chance.choice(sorted(files))]
        files[at].data, other.data = bytearray(other.data), bytearray(files[at].data)
    elif kind == "repeat":
        data[place:place] = data[max(place - chance.randrange(1, 200), 0) : place]
    elif kind == "insert":
        data[place:place] = chance.randbytes(chance.randrange(1, 9))
    elif kind == "remove":
        folder, _, name = at.rpartition("/")
        del memory._find(folder).entries[name]
    return f"{kind} {at}"


def forge(memory, chance):
    """Change what a sealed file says, and seal it again; or a part of a checkpoint together with its hash."""
    files = files_of(memory)
    manifests = sorted(at for at in files if at.endswith("manifest.json"))
    at = chance.choice([*manifests, "pong/run.json", chance.choice(manifests)])
    content = json.loads(files[at].data.decode())
    del content["seal"]
    if at in manifests and chance.random() < 0.5:
        part = chance.choice(["state.rnb", "pieces.bin"])
        file = files[at.replace("manifest.json", part)]
        beside = Memory(Folder({"x": File(file.data)}))
        what = damage(beside, chance)
        file.data = bytearray(files_of(beside).get("x", File()).data)
        content["files"][part] = {"bytes": len(file.data), "blake2b": blake2b(file.data, digest_size=32).hexdigest()}
        what = f"{what} {part}"
    else:
        spots = list(_spots(content))
        holder, key = chance.choice(spots)
        what = f"{key!r} of {at}"
        if chance.random() < 0.2:
            del holder[key]
        else:
            holder[key] = chance.choice(WEIRD)
    files[at].data = bytearray(seal(content))
    return f"forged {what}"


def _spots(content):
    for key in list(content) if isinstance(content, dict) else range(len(content)):
        yield content, key
        if isinstance(content[key], (dict, list)):
            yield from _spots(content[key])


# -- what must hold -----------------------------------------------------------------------------------------------------------


EXECUTES = {
    "exec",
    "compile",
    "import",
    "os.system",
    "os.exec",
    "subprocess.Popen",
    "pickle.find_class",
    "marshal.loads",
}


class Watch:
    """While it is on, whatever executes or leaves the folder is noted."""

    def __init__(self):
        self.folder, self.seen = None, []
        sys.addaudithook(self._hook)

    def _hook(self, event, args):
        if self.folder is None:
            return
        leaves = event == "open" and isinstance(args[0], (str, os.PathLike)) and not self._is_inside(args[0])
        if leaves or event in EXECUTES:
            self.seen.append((event, str(args)[:100]))

    def _is_inside(self, path):
        return os.path.realpath(path).startswith(self.folder)


def read_all(storage, path, promises, *, is_forged):
    """Everything that a run has; raises AssertionError where something is wrong that was not said."""
    folder = RunFolder.open(path, storage=storage)
    about, cells = folder.about, folder.cells
    if not is_forged:
        assert about == runs.ABOUT
        assert cells == runs.CELLS
    infos = folder.checkpoints(skip_damaged=True)
    for info in infos:
        try:
            value = decode(folder.read_checkpoint(info))
        except DamagedRunError:
            continue
        except MalformedDataError:
            assert is_forged
            continue
        if not is_forged:
            assert runs.equal(value, runs.state(info.tag[0]))
            assert info.extra == {"i": info.tag[0]}
    bodies = []
    try:
        bodies.extend(record.value()["i"] for record in folder.journal.records())
    finally:
        assert bodies == promises.appended[: len(bodies)]
    assert type(folder.notes) is dict  # they have no seal: their user may edit them


def try_one(memory, promises, chance, watch, place):
    """One change, then all is read, and the run is opened for writing, where that is still possible."""
    copy = memory.survivors(lambda: 1)
    is_forged = chance.random() < 0.4
    what = (forge if is_forged else damage)(copy, chance)
    path, storage, is_on_disk = Path("/memory/pong"), copy, chance.random() < 0.1
    if is_on_disk:
        for at, file in files_of(copy).items():
            (place / at).parent.mkdir(parents=True, exist_ok=True)
            (place / at).write_bytes(file.data)
        for at in ("cells", "segments", "checkpoints"):
            (place / "pong" / at).mkdir(exist_ok=True)
        path, storage = place / "pong", Disk(place)
    watch.folder = os.path.realpath(place)
    said = []
    try:
        try:
            read_all(storage, path, promises, is_forged=is_forged)
        except (DamagedRunError, NoSuchRunError) as error:
            said.append(error)
        watch.folder = None if is_on_disk else watch.folder  # locking reads /proc
        try:
            with RunFolder.open(path, writable=True, storage=storage) as folder:
                folder.journal.append("input", (50, 0), {"i": 50})
                info = folder.write_checkpoint((50, 0), encode(runs.state(50)), {"i": 50})
                assert runs.equal(decode(folder.read_checkpoint(info)), runs.state(50))
                folder.prune(2)
        except (DamagedRunError, NoSuchRunError) as error:
            said.append(error)
    except BaseException as error:
        error.add_note(f"after: {what}")
        raise
    finally:
        watch.folder = None
        if is_on_disk:
            shutil.rmtree(place / "pong")
    if watch.seen:
        raise AssertionError(f"after: {what}: {watch.seen}")
    return bool(said)


def main(seed, count):
    pieces.PIECE = checkpoints.PIECE = runs.PIECE
    pieces._SMALL = runs.PIECE
    memory, promises = original()
    watch, refused = Watch(), 0
    with tempfile.TemporaryDirectory() as place:
        copy = memory.survivors(lambda: 1)
        read_all(copy, Path("/memory/pong"), promises, is_forged=False)  # also imports what is imported late
        with RunFolder.open(Path("/memory/pong"), writable=True, storage=copy):
            pass
        for i in range(seed, seed + count):
            refused += try_one(memory, promises, random.Random(i), watch, Path(place))
    print(f"{count} changes: {refused} refused, the others harmless or at the journal's end")  # noqa: T201 - a script
    return refused


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
