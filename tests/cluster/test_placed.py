"""Random programs leave the same fingerprint with and without hosts, in whatever order hub, hosts and links move, and after a host is lost."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from interpreter import EndlessError
from placed import check_placed
from programs import programs

from reactornb.errors import AssemblyError


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.parametrize("examples", [40, pytest.param(600, marks=[pytest.mark.soak, pytest.mark.timeout(1800)])])
def test_random_programs_leave_the_same_fingerprint_on_hosts(examples):
    seen = Counter()

    @settings(
        max_examples=examples, derandomize=True, deadline=None, database=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(programs(), st.integers(0, 1 << 30))
    def each(drawn, salt):
        try:
            seen[check_placed(drawn, salt)] += 1
        except (AssemblyError, EndlessError) as error:
            seen[type(error).__name__] += 1

    each()
    assert seen["compared"] > examples / 20, seen
