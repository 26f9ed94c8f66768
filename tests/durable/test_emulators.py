"""An Atari game goes on from its saved state as it would have, sticky actions included."""

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("gymnasium")
pytest.importorskip("ale_py", reason="no Atari here: make atari builds it")

from reactornb.durable import emulators  # noqa: E402
from reactornb.rl.atari import make_frames  # noqa: E402


def played(game, seed, steps, **options):
    env = make_frames(game, **options)
    env.reset(seed=seed)
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        if env.step(int(rng.integers(env.action_space.n)))[2]:
            env.reset()
    return env, rng


def steps_of(env, rng, steps):
    seen = []
    for _ in range(steps):
        frame, *others = env.step(int(rng.integers(env.action_space.n)))
        seen.append((frame.tobytes(), *others))
        if others[1]:
            seen.append(env.reset()[0].tobytes())
    return seen


@pytest.mark.slow
@pytest.mark.parametrize("sticky", [0.0, 0.25, 0.9])
@pytest.mark.parametrize("game", ["Pong", "Breakout", "MsPacman"])  # paddles; a joystick
def test_a_game_goes_on_from_its_saved_state_and_saving_it_leaves_no_trace(game, sticky):
    held = 0
    for seed in range(6):
        options = {"repeat_action_probability": sticky, "frameskip": 2}
        saved_from, rng = played(game, seed, 30 + 11 * seed, **options)
        untouched, same_rng = played(game, seed, 30 + 11 * seed, **options)
        state = emulators.save(saved_from.unwrapped.ale)
        held += state["held"] is not None
        expected = steps_of(untouched, same_rng, 40)
        another, _ = played(game, 99, 5, **options)
        another.unwrapped.np_random.bit_generator.state = saved_from.unwrapped.np_random.bit_generator.state
        emulators.load(another.unwrapped.ale, state)
        again = np.random.default_rng(0)
        again.bit_generator.state = rng.bit_generator.state
        assert steps_of(another, again, 40) == expected
        assert steps_of(saved_from, rng, 40) == expected
        for env in (saved_from, untouched, another):
            env.close()
    assert bool(held) == bool(sticky)


def test_bytes_that_are_no_state_of_a_game_are_refused():
    env, _ = played("Pong", 1, 3)
    state = emulators.save(env.unwrapped.ale)
    for wrong in ({**state, "state": b"nothing"}, {**state, "held": 77}):
        with pytest.raises(emulators.EmulatorStateError):
            emulators.load(env.unwrapped.ale, wrong)
    env.close()


@pytest.mark.parametrize("drawn", [0, 1, 623, 624, 700, 5000])
def test_the_generator_is_read_in_the_forms_of_both_standard_libraries(drawn):
    twister = np.random.MT19937(7)
    twister.random_raw(drawn)
    inner = twister.state["state"]
    words, place = inner["key"].tolist(), int(inner["pos"])

    def state(numbers):
        text = " ".join(map(str, numbers)).encode()
        return b"12345" + len(text).to_bytes(4, "little") + text + bytes(8)

    following = twister.random_raw(700).tolist()
    assert emulators._generator(state([*words, place])).random_raw(700).tolist() == following
    fresh = np.random.MT19937(7)  # libc++ keeps the words that the next number is made of, the next first
    fresh.random_raw(drawn)
    if place == 624:
        assert emulators._generator(state(words)).random_raw(700).tolist() == following
    with pytest.raises(emulators.EmulatorStateError):
        emulators._generator(state(words[:600]))
