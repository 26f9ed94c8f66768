"""A policy in an environment: returns of episodes, and episodes as they looked."""

import struct
import zlib

import numpy as np
import pytest
from policies_made import blueprints, content, policy

pytest.importorskip("gymnasium")

import gymnasium

from reactornb.rl.errors import ConfigError, SpaceError
from reactornb.rl.pictures import has_opengl
from reactornb.rl.showing import watch
from reactornb.rl.video import moving_png

RENDERED = policy(blueprints()["categorical"])


class Drawn(gymnasium.Env):
    """A dot that moves by what is done, for twelve steps; the reward is the action."""

    observation_space = RENDERED.observation_space
    action_space = RENDERED.action_space
    metadata = {"render_modes": ["rgb_array"], "render_fps": 7}  # noqa: RUF012 - as Gymnasium has it

    def __init__(self, render_mode=None):
        self.render_mode = render_mode
        self.closed = False

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = self.at = 0
        return self.seen(), {}

    def seen(self):
        return self.np_random.uniform(0, 1, 3).astype(np.float32)

    def step(self, action):
        assert self.action_space.contains(action)
        self.t += 1
        self.at += action
        return self.seen(), float(action), self.t == 12, False, {}

    def render(self):
        if self.render_mode != "rgb_array":
            return None
        picture = np.zeros((20, 64, 3), np.uint8)
        picture[self.t : self.t + 3, self.at] = (255, 10 * self.t, 3)
        return picture

    def close(self):
        self.closed = True


def test_episodes_are_played_with_the_best_actions_and_from_the_seed_on():
    env = Drawn()
    found = RENDERED.evaluate(env, 3, seed=4)
    expected = []
    for i in range(3):
        seen, _ = env.reset(seed=4) if i == 0 else env.reset()
        total, over = 0.0, False
        while not over:
            seen, reward, over, _, _ = env.step(RENDERED(seen))
            total += reward
        expected.append(total)
    assert found.tolist() == expected
    assert not env.closed, "it was given, and stays open"
    assert RENDERED.evaluate(Drawn, 3, seed=4).tolist() == expected
    drawn = [RENDERED.evaluate(Drawn, 3, seed=4, rng=np.random.default_rng(1)).tolist() for _ in range(2)]
    assert drawn[0] == drawn[1] != expected


def test_an_episode_is_kept_as_it_looked():
    watched = RENDERED.watch(Drawn, seed=4)
    assert len(watched.frames) == 13
    assert watched.rewards == [float(a) for a in watched.actions]
    assert watched.total == RENDERED.evaluate(Drawn, 1, seed=4)[0]
    assert watched.rate == 7
    assert repr(watched) == f"<episode: 12 steps, return {watched.total:g}>"
    assert len(RENDERED.watch(Drawn, steps=5).frames) == 6


class Blind(Drawn):
    def __init__(self):
        super().__init__()


class Mixed(Drawn):
    """Made to draw, it fails for want of a library; and nothing here draws it."""

    def render(self):
        raise ImportError("no libGL.so.1")


def test_an_environment_that_draws_nothing_is_told_so():
    with pytest.raises(ValueError, match='Make it with render_mode="rgb_array"'):
        RENDERED.watch(Drawn())
    with pytest.raises(ValueError, match="Blind draws no pictures"):
        RENDERED.watch(Blind)
    with pytest.raises(ValueError, match=r"ImportError: no libGL\.so\.1"):
        RENDERED.watch(Mixed)


def test_several_episodes_begin_with_seeds_of_their_own():
    some = watch(RENDERED, Drawn, episodes=3, seed=4)
    assert [episode.label for episode in some] == ["seed 4", "seed 5", "seed 6"]
    assert some.returns.tolist() == [RENDERED.evaluate(Drawn, 1, seed=seed)[0] for seed in (4, 5, 6)]
    assert some[1].rewards == RENDERED.watch(Drawn, seed=5).rewards
    assert len(some[1:]) == 2
    assert repr(some) == f"<3 episodes: returns {', '.join(f'{total:g}' for total in some.returns)}>"
    drawn = [watch(RENDERED, Drawn, episodes=2, rng=np.random.default_rng(1)).returns.tolist() for _ in range(2)]
    assert drawn[0] == drawn[1]


def test_a_function_a_file_and_several_by_name_can_be_watched(tmp_path):
    path = tmp_path / "walker.safetensors"
    path.write_bytes(content(blueprints()["categorical"]))
    played = watch({"always 3": lambda seen: 3, "saved": path}, Drawn, seed=4)
    assert [episode.label for episode in played] == ["always 3", "saved"]
    assert played[0].actions == [3] * 12
    assert played[1].rewards == RENDERED.watch(Drawn, seed=4).rewards
    assert watch([path, RENDERED], Drawn)[0].label == "walker"


def test_without_an_environment_the_one_that_was_trained_on_is_played_or_asked_for():
    with pytest.raises(ConfigError, match="in which environment"):
        watch(RENDERED)
    with pytest.raises(ConfigError, match="episodes=0 must be a whole number of at least 1"):
        watch(RENDERED, Drawn, episodes=0)


def test_an_environment_of_other_spaces_is_refused():
    with pytest.raises(SpaceError, match="CartPole-v1 has observations"):
        RENDERED.evaluate("CartPole-v1", 1)


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_in_a_vector_environment_each_plays_its_share(mode):
    mode = gymnasium.vector.AutoresetMode(mode)
    envs = gymnasium.vector.SyncVectorEnv([Drawn] * 3, autoreset_mode=mode)
    found = RENDERED.evaluate(envs, 7, seed=4)
    envs.close()
    # All episodes have twelve steps: they end in rounds, in the order of the environments.
    alone = [RENDERED.evaluate(Drawn, 3, seed=4 + i) for i in range(3)]
    assert found.tolist() == [alone[i][k] for k in range(3) for i in range(3)][:7]


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_of_a_vector_environment_the_first_is_seen_until_its_episode_ends(mode):
    mode = gymnasium.vector.AutoresetMode(mode)
    envs = gymnasium.vector.SyncVectorEnv([lambda: Drawn("rgb_array")] * 3, autoreset_mode=mode)
    found, alone = RENDERED.watch(envs, seed=4), RENDERED.watch(Drawn, seed=4)
    envs.close()
    assert found.rewards == alone.rewards
    last = 12 if mode is gymnasium.vector.AutoresetMode.SAME_STEP else 13  # which has begun the next episode by then
    assert np.array_equal(found.frames[:last], alone.frames[:last])


class Frames(gymnasium.Env):
    """Its observations are pictures."""

    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, shape):
        self.observation_space = gymnasium.spaces.Box(0, 255, shape, np.uint8)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return self.seen(), {}

    def seen(self):
        picture = np.zeros(self.observation_space.shape, np.uint8)
        picture[-1] = 10 + self.t
        return picture

    def step(self, action):
        self.t += 1
        return self.seen(), 0.0, self.t == 3, False, {}


@pytest.mark.parametrize(
    ("shape", "size"), [((40, 30, 3), (40, 30)), ((40, 30), (40, 30)), ((40, 30, 1), (40, 30)), ((4, 84, 80), (84, 80)), ((4, 84, 80, 3), (84, 80)), ((3, 84, 80), (84, 80))]
)  # fmt: skip
def test_where_nothing_is_drawn_a_policy_on_pictures_is_watched_by_what_it_sees(shape, size):
    watched = watch(lambda seen: 0, lambda: Frames(shape))[0]
    assert watched.size == size
    assert [int(frame.max()) for frame in watched.frames] == [10, 11, 12, 13]
    assert int(watched.frames[0][-1, -1, -1]) == 10
    with pytest.raises(ValueError, match="draws no pictures"):
        watch(lambda seen: 0, lambda: Frames((5, 30)))


def test_mujoco_is_asked_for_pictures_only_where_there_is_opengl(monkeypatch):
    kind = type("Robot", (), {"__module__": "gymnasium.envs.mujoco.robot"})
    for name in ("MUJOCO_GL", "DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert not has_opengl(kind())
    assert has_opengl(Drawn())
    monkeypatch.setenv("MUJOCO_GL", "egl")
    assert has_opengl(kind())


def test_an_action_is_called_by_its_name_where_that_is_known():
    played = watch(lambda seen: 1, "CartPole-v1", steps=3)[0]
    assert played.action_words() == ["right"] * 3
    assert RENDERED.watch(Drawn, steps=1).action_words() in (["3"], ["4"])


def chunks(png):
    at, found = 8, []
    while at < len(png):
        size, kind = struct.unpack(">I4s", png[at : at + 8])
        data = png[at + 8 : at + 8 + size]
        assert struct.unpack(">I", png[at + 8 + size : at + 12 + size])[0] == zlib.crc32(kind + data)
        found.append((kind, data))
        at += 12 + size
    return found


def test_a_moving_picture_is_a_png_whose_pieces_make_the_frames_again(tmp_path):
    frames = list(RENDERED.watch(Drawn, seed=4).frames)
    frames.append(frames[-1].copy())  # nothing changes
    png = moving_png(frames, 7)
    canvas, made, number = np.zeros_like(frames[0]), [], 0
    for kind, data in chunks(png):
        if kind == b"acTL":
            assert struct.unpack(">II", data) == (len(frames), 0)
        elif kind == b"fcTL":
            count, width, height, x, y, wait, per, _, _ = struct.unpack(">IIIIIHHBB", data)
            assert (count, wait / per) == (number, pytest.approx(1 / 7, rel=0.01))
            number += 1
        elif kind in (b"IDAT", b"fdAT"):
            if kind == b"fdAT":
                assert struct.unpack(">I", data[:4])[0] == number
                number += 1
                data = data[4:]  # noqa: PLW2901 - what follows the number
            rows = np.frombuffer(zlib.decompress(data), np.uint8).reshape(height, 1 + 3 * width)
            assert not rows[:, 0].any()
            canvas[y : y + height, x : x + width] = rows[:, 1:].reshape(height, width, 3)
            made.append(canvas.copy())
    assert np.array_equal(made, frames)


def test_another_program_reads_the_moving_picture(tmp_path):
    image = pytest.importorskip("PIL.Image")
    watched = RENDERED.watch(Drawn, seed=4)
    with image.open(watched.save(tmp_path / "e.png")) as opened:
        assert opened.n_frames == 13
        for i, frame in enumerate(watched.frames):
            opened.seek(i)
            assert np.array_equal(np.asarray(opened.convert("RGB")), frame)
