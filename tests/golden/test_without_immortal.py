"""Fingerprints do not depend on `immortal.py`: the kept ones come out with it turned off."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from golden_programs import FILE

CODE = """
import json, sys
sys.path.insert(0, sys.argv[1])
from golden_programs import GOLDEN, fingerprint
from reactornb.runtime import immortal
from reactornb.runtime.level_runner import LevelRunner
from reactornb.runtime.sharing import Policy

LevelRunner.policy = Policy(share_above_ns=0)
print(json.dumps([immortal._maker() is None, {name: fingerprint(name, 2) for name in GOLDEN}]))
"""


@pytest.mark.slow
def test_fingerprints_are_the_kept_ones_without_immortal_objects():
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(Path(__file__).parent)],
        env={**os.environ, "REACTORNB_IMMORTAL": "0", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    off, fingerprints = json.loads(done.stdout.splitlines()[-1])  # the programs print, too
    assert off
    assert fingerprints == json.loads(FILE.read_text(encoding="utf-8"))
