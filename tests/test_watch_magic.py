"""`%reactor watch` on a real shell."""

import pytest

pytest.importorskip("IPython")
pytest.importorskip("gymnasium")

from shells import loaded_shell

from reactornb.rl.episodes import Gallery

pytestmark = pytest.mark.thread_unsafe(reason="one shell a process")

SETUP = """import gymnasium, numpy as np
from reactornb.rl import save_policy
class Two(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(3)
    metadata = {"render_modes": ["rgb_array"], "render_fps": 5}
    def __init__(self, render_mode=None, length=3):
        self.render_mode, self.length = render_mode, length
    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), {}
    def step(self, action):
        self.t += 1
        return self.np_random.uniform(-1, 1, 2).astype(np.float32), 1.0, self.t == self.length, False, {}
    def render(self):
        return np.full((20, 20, 3), 40 * self.t, np.uint8)
def always(seen): return 2
"""


@pytest.fixture(scope="module")
def cells():
    with loaded_shell() as loaded:
        loaded.ok(SETUP)
        yield loaded


def test_a_function_is_watched_several_times(cells):
    cells.ok("found = %reactor watch always --env Two --episodes 2 --seed 5")
    found = cells.names["found"]
    assert isinstance(found, Gallery)
    assert [episode.label for episode in found] == ["seed 5", "seed 6"]
    assert found[0].actions == [2, 2, 2]
    cells.ok("found = %reactor watch always --env Two --steps 2")
    assert len(cells.names["found"][0].rewards) == 2


def test_an_episode_is_saved(cells, tmp_path):
    assert f"saved {tmp_path}/a.png" in cells.ok(f"%reactor watch always --env Two --save {tmp_path}/a.png")
    assert (tmp_path / "a.png").stat().st_size > 100


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("watch", "nothing is running"),
        ("watch nobody", "nobody"),
        ("watch always", "in which environment"),
        ("watch always --env Nowhere-v1", "Nowhere"),
        ("watch always --env Two --episodes 0", "at least 1"),
        ("watch always --env Two --sample", "draws"),
        ("watch gone.safetensors --env Two", "gone.safetensors"),
    ],
)
def test_what_cannot_be_watched_is_said_in_a_line(cells, line, words):
    out = cells(f"%reactor {line}")
    assert out.startswith("UsageError: ")
    assert words in out


@pytest.mark.slow
def test_a_run_is_watched_while_it_goes_on_and_by_its_name(cells):
    pytest.importorskip("torch")
    cells.ok("from reactornb.rl import PPO, Rollout")
    cells.ok(
        "run = %reactor start PPO env=Two total_timesteps=100000000 n_steps=16 batch_size=32 hidden=(8,) eval_episodes=0 --workers 1"
    )
    run = cells.names["run"]
    while not run.metrics.get("loss"):
        run.wait(0.01)
    cells.ok("found = %reactor watch run --episodes 2")
    assert run.is_alive
    assert [episode.label for episode in cells.names["found"]] == [f"{run.name}, seed 0", f"{run.name}, seed 1"]
    cells.ok("found = %reactor watch --sample")
    assert cells.names["found"][0].label == run.name
    assert "films nothing; start it with video_every=" in cells("%reactor watch run --films")
    run.stop()
