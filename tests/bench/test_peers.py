"""Peers: environments made on demand, a process that answers, and what is said when something goes wrong."""

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from reactornb import Program
from reactornb.bench import peers
from reactornb.bench.micro import Micro
from reactornb.bench.peers import Peer, PeerError, PeerProcess, opened

pytestmark = pytest.mark.xdist_group("peers")  # one environment a session, so one lane

SERVE = Path(peers.__file__).parent / "serve.py"
ECHO = """
import os, sys, time
from serve import serve

def echo(**parameters):
    print("noise between the answers")
    os.write(1, b"and below Python")
    return {"parameters": parameters, "python": sys.executable, "seconds": 0.5}

def fail():
    raise ZeroDivisionError("in the script")

def end():
    print("last words")
    sys.stdout.flush()
    os._exit(3)

def hang(child):
    if child and os.fork() == 0:
        time.sleep(600)
    open(child, "w").write(str(os.getpid())) if child else None
    time.sleep(600)

def spawn():
    import subprocess
    child = subprocess.Popen(["sleep", "600"], start_new_session=False, process_group=0)
    return {"child": child.pid, "state": state(child.pid)["state"]}

def measure(file):
    made = spawn()
    open(file, "w").write(str(made["child"]))
    input()  # until nobody is there any more: the answer then goes nowhere
    return made

def state(child):
    return {"state": open(f"/proc/{child}/stat").read().rpartition(")")[2].split()[0]}

serve(echo=echo, fail=fail, end=end, hang=hang, spawn=spawn, state=state, measure=measure)
"""


def echo_in(folder, monkeypatch):
    """A peer with nothing to install: its script in this folder, its environment below it."""
    monkeypatch.setenv("REACTORNB_CACHE", str(folder / "cache"))
    monkeypatch.setattr(peers, "SCRIPTS", folder)
    shutil.copy(SERVE, folder)
    (folder / "echo_peer.py").write_text(textwrap.dedent(ECHO))
    peer = Peer("echo", (), ("echo",))
    monkeypatch.setitem(peers.PEERS, "echo", peer)
    return peer


@pytest.fixture(scope="session")
def kept(tmp_path_factory):
    """Where the first test that needs it makes the session's environment."""
    return tmp_path_factory.mktemp("peers")


@pytest.fixture
def echo(kept, monkeypatch):
    """The peer in the session's environment."""
    return echo_in(kept, monkeypatch)


@pytest.fixture
def new_echo(tmp_path, monkeypatch):
    """The peer whose environment is still to be made."""
    return echo_in(tmp_path, monkeypatch)


@pytest.mark.slow
def test_a_peer_runs_in_an_environment_of_its_own_that_is_made_once(new_echo, tmp_path, capsys):
    with opened("echo", ["echo"]) as found:
        answer = found["echo"].measure("echo", n=3)
        assert found["echo"].seconds("echo") == 0.5
    assert answer["parameters"] == {"n": 3}
    (folder,) = (tmp_path / "cache" / "peers").glob("echo-*/")
    assert Path(answer["python"]).is_relative_to(folder)
    assert "installing" in capsys.readouterr().err
    made = (folder / "complete").stat().st_mtime_ns
    with opened("echo", ["echo"]):
        pass
    assert (folder / "complete").stat().st_mtime_ns == made
    assert capsys.readouterr().err == ""


@pytest.mark.slow
def test_an_environment_that_was_not_finished_is_made_again(new_echo):
    folder = peers.environment(new_echo)
    (folder / "complete").unlink()
    (folder / "rest").touch()
    assert peers.environment(new_echo) == folder
    assert not (folder / "rest").exists()


@pytest.mark.slow
def test_two_who_want_an_environment_make_it_once(new_echo, capsys):
    found = []
    threads = [threading.Thread(target=lambda: found.append(peers.environment(new_echo))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1
    assert capsys.readouterr().err.count("installing") == 1


@pytest.mark.slow
def test_what_a_script_raises_comes_back_and_it_goes_on(echo):
    with PeerProcess(echo) as peer:
        with pytest.raises(PeerError, match="ZeroDivisionError: in the script"):
            peer.measure("fail")
        assert peer.measure("echo", n=1)["parameters"] == {"n": 1}


@pytest.mark.slow
def test_a_script_that_ends_is_an_error_with_its_last_words(echo):
    with PeerProcess(echo) as peer:
        with pytest.raises(PeerError, match=r"(?s)echo ended; see .*last words"):
            peer.measure("end")
        with pytest.raises(PeerError, match="echo ended"):
            peer.measure("echo")


@pytest.mark.slow
def test_a_script_that_hangs_is_ended_with_all_it_started(echo, tmp_path):
    note = tmp_path / "pid"
    peer = PeerProcess(echo)
    peer.GRACE = 0.1
    with peer, pytest.raises(PeerError, match="no answer within 1 s"):
        peer.measure("hang", timeout=1.0, child=str(note))
    group = int(note.read_text())
    until = time.monotonic() + 20
    while time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.01)  # its child is the system's to bury
    pytest.fail("a process is left")


@pytest.mark.slow
def test_what_cannot_be_installed_is_said_with_pips_last_line(echo, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    peer = Peer("echo", ("reactornb-needs-this-and-it-is-nowhere",), ("echo",))
    with pytest.raises(PeerError, match=r"echo cannot be installed: .*No matching distribution"):
        peers.environment(peer)


def test_an_unknown_peer_is_refused_with_those_there_are():
    with (
        pytest.raises(PeerError, match=r"micro: there is no peer 'xronis'; peers of this benchmark: .*xronos"),
        opened("micro", ["xronis"]),
    ):
        pass
    with pytest.raises(PeerError, match="assembly: there is no peer 'xronos'"), opened("assembly", ["xronos"]):
        pass


def test_every_peer_has_its_script_and_pins_what_is_measured():
    for peer in peers.PEERS.values():
        assert (peers.SCRIPTS / peer.file).is_file()
        assert "==" in peer.requirements[0]


@pytest.mark.slow
def test_xronos_runs_as_many_reactions_as_we_do():
    if not list((peers.cache_folder() / "peers").glob("xronos-*/complete")):
        pytest.skip("xronos is not installed: `reactornb bench micro --peers` does that")
    with opened("micro", ["xronos"]) as found:
        theirs = found["xronos"].measure("micro", clients=5, rounds=20)
    assert theirs["reactions"] == Program(Micro(clients=5, rounds=20)).run(fast=True).reactions
    assert theirs["seconds"] > 0


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_what_a_peer_has_started_stands_still_while_others_are_measured(echo):
    with PeerProcess(echo) as peer:
        found = peer.measure("spawn")
        child = found["child"]
        assert found["state"] != "T"
        for _ in range(3):
            assert eventually(lambda: state(child) == "T")
            assert peer.measure("state", child=child)["state"] == "S"  # in its own turn it goes on
        os.kill(child, 0)
    assert eventually(lambda: not Path(f"/proc/{child}").exists())  # a process group of its own does not save it


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_what_a_peer_has_started_goes_on_if_nobody_takes_the_answer(echo, tmp_path):
    # A bench that is killed in the middle of a peer's turn: what stood still for good could not even be ended by its owner.
    told, (ours, theirs) = tmp_path / "told", os.pipe()
    script = [sys.executable, str(peers.SCRIPTS / "echo_peer.py")]
    with subprocess.Popen(
        script, stdin=subprocess.PIPE, stdout=theirs, stderr=subprocess.DEVNULL, start_new_session=True
    ) as peer:
        os.close(theirs)
        peer.stdin.write(json.dumps({"benchmark": "measure", "parameters": {"file": str(told)}}).encode() + b"\n")
        peer.stdin.flush()
        assert eventually(lambda: told.exists() and told.read_text(), 20)
        child = int(told.read_text())
        os.close(ours)
        peer.stdin.close()
        peer.wait(20)
        try:
            assert eventually(lambda: state(child) == "S")
        finally:
            os.kill(child, signal.SIGKILL)


def state(pid):
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def eventually(what, seconds=5.0):
    until = time.monotonic() + seconds
    while not what() and time.monotonic() < until:
        time.sleep(0.01)
    return what()
