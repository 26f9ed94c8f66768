"""`reactornb run` and what files and parameters may be called and look like."""

import pytest

from reactornb.__main__ import main

PROGRAM = """
from reactornb import Reactor, reaction, startup

class Main(Reactor):
    {name}: str = "default"

    @reaction(startup)
    def on_startup(self):
        print("got", self.{name})
"""


@pytest.mark.parametrize("name", ["path", "root", "parameters"])
def test_a_parameter_may_be_called_as_our_own_arguments_are(name, tmp_path, capfd):
    file = tmp_path / "f.py"
    file.write_text(PROGRAM.format(name=name), encoding="utf-8")
    assert main(["run", str(file), f"{name}=x", "--workers", "1"]) == 0
    assert "got x" in capfd.readouterr().out


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_a_file_may_begin_with_a_byte_order_mark(encoding, tmp_path):
    file = tmp_path / "f.py"
    file.write_text(PROGRAM.format(name="text"), encoding=encoding)
    assert main(["run", str(file), "--workers", "1"]) == 0


def test_a_folder_or_a_missing_file_is_a_mistake_that_is_named(tmp_path, capfd):
    (tmp_path / "folder.py").mkdir()
    for name in ("folder.py", "missing.py"):
        assert main(["run", str(tmp_path / name)]) == 2
        assert name in capfd.readouterr().err
