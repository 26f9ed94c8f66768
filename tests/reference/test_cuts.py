"""Random programs that are cut at random tags and resumed, with 1, 2, 4 or 8 workers, leave what the whole run leaves.

For longer, with other programs each time: python tests/reference/soak.py --cut --minutes 10, and the same with --apart
"""

from collections import Counter

import numpy
import pytest
from cuts import check_cuts
from interpreter import EndlessError
from programs import draw_program

from reactornb.errors import AssemblyError


@pytest.mark.slow
@pytest.mark.parametrize("apart", [False, True], ids=["one enclave", "several enclaves"])
@pytest.mark.parametrize("part", range(2))
def test_what_follows_a_cut_is_what_follows_in_the_whole_run(part, apart):
    seen, seed, programs = Counter(), 1_000_000 * part, 50
    while seen["programs"] < programs:
        rng = numpy.random.default_rng(seed)
        try:
            resumed = check_cuts(draw_program(lambda n, rng=rng: int(rng.integers(n))), seed, apart=apart)
            seen["programs"] += isinstance(resumed, int)
            seen["resumed"] += resumed if isinstance(resumed, int) else 0
        except (AssemblyError, EndlessError):
            pass
        seed += 1
    assert seen["resumed"] > 3 * programs, seen
