"""Damages saved policies for some minutes: `fuzz_policies.py --minutes 10 --seed 1`. The suite's test_policy_file.py does the same ten thousand times."""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from policies_made import try_damaged

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--minutes", type=float, default=1.0)
parser.add_argument("--seed", type=int, default=0)
chosen = parser.parse_args()
end = time.monotonic() + 60 * chosen.minutes
tried = loaded = 0
while time.monotonic() < end:
    loaded += try_damaged(chosen.seed * 1_000_003 + tried, 1000)
    tried += 1000
print(f"{tried:,} damaged files: {tried - loaded:,} refused, {loaded:,} gave a policy that computes")  # noqa: T201
