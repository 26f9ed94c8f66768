"""Random programs whose reactors are put into enclaves leave the trace that they leave without."""

from collections import Counter

import pytest
from compare import check_apart
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from interpreter import EndlessError
from programs import programs

from reactornb.errors import AssemblyError

EXAMPLES = 150


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("examples", [EXAMPLES // 3, pytest.param(EXAMPLES, marks=pytest.mark.soak)])
def test_random_programs_leave_the_same_trace_with_and_without_enclaves(examples):
    seen = Counter()

    @settings(
        max_examples=examples, derandomize=True, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(programs(), st.integers(0, 1 << 30))
    def each(drawn, salt):
        try:
            seen[check_apart(drawn, salt)] += 1
        except (AssemblyError, EndlessError) as error:
            seen[type(error).__name__] += 1

    each()
    assert seen["compared"] > examples / 15, seen
