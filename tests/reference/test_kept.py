"""Random programs that are kept in a folder, stopped at random tags and resumed, with other numbers of workers each time, leave what the whole run leaves.

For longer, with other programs each time: python tests/reference/soak.py --kept --minutes 10, and the same with --apart
"""

from collections import Counter

import numpy
import pytest
from interpreter import EndlessError
from kept import check_kept
from programs import draw_program

from reactornb.errors import AssemblyError


@pytest.mark.slow
@pytest.mark.parametrize("apart", [False, True], ids=["one enclave", "several enclaves"])
def test_a_run_that_is_stopped_and_resumed_from_its_folder_is_the_whole_run(apart, tmp_path):
    seen, seed, programs = Counter(), 3_000_000, 25
    while seen["programs"] < programs:
        rng = numpy.random.default_rng(seed)
        try:
            resumed = check_kept(draw_program(lambda n, rng=rng: int(rng.integers(n))), seed, tmp_path, apart=apart)
            seen["programs"] += isinstance(resumed, int)
            seen["resumed"] += resumed if isinstance(resumed, int) else 0
        except (AssemblyError, EndlessError):
            pass
        seed += 1
    assert seen["resumed"] > programs / 2, seen
