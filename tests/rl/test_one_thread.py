"""The real torch in environments and reactions: one core and two give the same, and the caller's own number of threads stays."""

import json
import os
import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("torch")
pytest.importorskip("gymnasium")

PROGRAM = """
    import hashlib, json
    import gymnasium, numpy as np
    from reactornb import Bank, Output, Program, Reactor, Timer, enclave, ms, reaction, startup
    from reactornb.rl.vector import ReactorVectorEnv

    class Draws(Reactor):
        t = Timer(0, ms(1))
        out = Output()
        @reaction(startup)
        def on_startup(self):
            import torch
            self.x = torch.from_numpy(self.rng.standard_normal(200_000).astype(np.float32))
        @reaction(t)
        def on_t(self, out):
            out.set(float((self.x.sum() + self.x @ self.x).item()))

    class Main(Reactor):
        draws = Bank(Draws, 4)
        apart = Draws()
        def compose(self):
            enclave(self.apart)

    program = Program(Main)
    here = program.run(workers=2, until=ms(3), fast=True, fingerprint=True).fingerprint
    import torch
    before = torch.get_num_threads()
    class Torch(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,), np.float32)
        action_space = gymnasium.spaces.Discrete(2)
        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            self.x = torch.from_numpy(self.np_random.standard_normal(200_000).astype(np.float32))
            return np.zeros(1, np.float32), {}
        def step(self, action):
            return np.array([self.x.sum()], np.float32), float(self.x @ self.x), False, False, {}
    envs = ReactorVectorEnv([Torch] * 4, workers=2)
    envs.reset(seed=1)
    seen, rewards, *_ = envs.step(np.zeros(4, int))
    envs.close()
    x = torch.from_numpy(np.random.default_rng(0).standard_normal(200_000).astype(np.float32))
    print(json.dumps([
        [here, hashlib.sha256(seen.tobytes() + rewards.tobytes()).hexdigest()],
        before == torch.get_num_threads(), program.last_run.warnings, torch.get_num_threads(), float(x.sum()),
    ]))
"""


@pytest.mark.slow
@pytest.mark.timeout(170)
def test_torch_in_reactions_and_environments_gives_the_same_with_one_thread_allowed_and_with_two():
    found = []
    for threads in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(PROGRAM)], env={**os.environ, "OMP_NUM_THREADS": threads, "PYTHONHASHSEED": "0"},
            capture_output=True, text=True, timeout=80, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        prints, kept, warnings, own, outside = json.loads(done.stdout.splitlines()[-1])
        assert kept, "the caller's number is its own again"
        assert warnings == []
        assert own == int(threads)
        found.append((prints, outside))
    assert found[0][0] == found[1][0]
    assert found[0][1] != found[1][1], "outside of reactions the sum is another, or this test shows nothing"
