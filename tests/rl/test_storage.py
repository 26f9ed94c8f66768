"""The replay buffer's ring against a plain list, its priorities against their definition, and what is copied."""

import tracemalloc

import gymnasium
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reactornb import Input, Output, Program, Reactor, Shared, connect, reaction, startup
from reactornb.rl import Batch, ReplayBuffer, Trajectory, spec_of
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.storage import Ring, SumTree

GAMMA = 0.5


def spec(shape=(1,), dtype=np.float32):
    return EnvSpec("test", shape, np.dtype(dtype), 3, (), None, None, None)


class Stream:
    """Random steps of one environment with next-step or same-step autoreset, and what each step led to."""

    def __init__(self, rng, next_step):
        self.rng, self.next_step = rng, next_step
        self.clock = 0.0
        self.now = self.tick()
        self.over = False
        self.steps = []  # (seen, action, reward, seen next, terminated, truncated, valid)

    def tick(self):
        self.clock += 1.0
        return self.clock

    def step(self):
        """(action, reward, terminated, truncated, valid, observation in the next row, final or None)."""
        action = int(self.rng.integers(3))
        if self.over:
            self.over = False
            after = self.tick()
            row = (self.now, action, 0.0, after, False, False, False)
            out = (action, 0.0, False, False, False, after, None)
        else:
            reward = float(self.rng.integers(1, 9))
            dice = self.rng.random()
            terminated, truncated = bool(dice < 0.2), bool(dice > 0.8)
            after = self.tick()
            row = (self.now, action, reward, after, terminated, truncated, True)
            final = None
            if terminated or truncated:
                if self.next_step:
                    self.over = True
                else:
                    final, after = after, self.tick()
            out = (action, reward, terminated, truncated, True, after, final)
        self.steps.append(row)
        self.now = after
        return out


def trajectory(streams, horizon):
    made = Trajectory.empty(spec(), horizon, len(streams))
    made.observations[0, :, 0] = [s.now for s in streams]
    for t in range(horizon):
        for i, stream in enumerate(streams):
            action, reward, terminated, truncated, valid, after, final = stream.step()
            made.actions[t, i], made.rewards[t, i] = action, reward
            made.terminated[t, i], made.truncated[t, i], made.valid[t, i] = terminated, truncated, valid
            made.observations[t + 1, i, 0] = after
            if final is not None:
                made.finals.append((t, i, np.array([final], np.float32)))
    return made.freeze()


def n_step(steps, at, n):
    """The n-step transition that begins at `at`, from its definition."""
    total, discount = 0.0, 1.0
    for k in range(n):
        _, _, reward, after, terminated, truncated, _ = steps[at + k]
        total += discount * reward
        discount *= GAMMA
        if terminated or truncated:
            break
    return steps[at][0], steps[at][1], total, after, 0.0 if terminated else discount


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    next_step=st.booleans(),
    n=st.integers(1, 3),
    writers=st.integers(1, 3),
    horizons=st.lists(st.integers(1, 7), min_size=2, max_size=12),
    rows=st.integers(8, 20),
    steps=st.integers(1, 3),
)
def test_the_ring_holds_the_newest_steps_and_their_successors(seed, next_step, n, writers, horizons, rows, steps):
    rng = np.random.default_rng(seed)
    ring = Ring(np.zeros(1, np.float32), np.int64(0), rows, writers, n)
    streams = [[Stream(rng, next_step) for _ in range(n)] for _ in range(writers)]
    places = [[{} for _ in range(n)] for _ in range(writers)]  # index in the ring -> position in the stream
    for horizon in horizons:
        for writer in range(writers):
            if rng.random() < 0.2:
                continue  # absent at this tag
            before = len(streams[writer][0].steps)
            index = ring.write(writer, trajectory(streams[writer], horizon)).reshape(horizon, n)
            for t in range(horizon):
                for i in range(n):
                    places[writer][i][int(index[t, i])] = before + t
    total = 0
    for writer in range(writers):
        for i in range(n):
            history = streams[writer][i].steps
            for index, at in places[writer][i].items():
                kept = at >= len(history) - (rows - 1)
                whole = at + steps <= len(history)
                usable = bool(ring.usable(np.array([index]), steps)[0])
                if not kept:
                    assert not usable
                    continue
                total += 1
                assert usable == (whole and history[at][6])
                if usable:
                    found = ring.gather(np.array([[index]]), GAMMA, steps)
                    seen, action, reward, after, discount = n_step(history, at, steps)
                    assert found["observations"].tolist() == [[[seen]]]
                    assert found["actions"].tolist() == [[action]]
                    assert found["rewards"].tolist() == [[reward]]
                    assert found["discounts"].tolist() == [[discount]]
                    if discount:
                        assert found["next_observations"].tolist() == [[[after]]]
    assert ring.stored == total
    usable = [
        index
        for writer in range(writers)
        for i in range(n)
        for index in places[writer][i]
        if ring.usable(np.array([index]), steps)[0]
    ]
    if usable:
        drawn = ring.uniform(rng, 200, steps)
        assert set(drawn.tolist()) <= set(usable)


def test_uniform_draws_take_every_usable_step_equally_often():
    rng = np.random.default_rng(1)
    ring = Ring(np.zeros(1, np.float32), np.int64(0), 30, 2, 2)
    for writer, horizon in ((0, 25), (1, 10)):  # one writer has more than the other
        ring.write(writer, trajectory([Stream(rng, True), Stream(rng, True)], horizon))
    drawn = ring.uniform(rng, 60_000, 1)
    index, counts = np.unique(drawn, return_counts=True)
    assert len(index) == ring.written
    mean = 60_000 / len(index)
    assert np.abs(counts - mean).max() < 6 * np.sqrt(mean)


def test_a_trajectory_that_does_not_fit_is_refused_in_words():
    ring = Ring(np.zeros(1, np.float32), np.int64(0), 8, 1, 1)
    with pytest.raises(ValueError, match="raise buffer_size"):
        ring.write(0, trajectory([Stream(np.random.default_rng(0), True)], 8))


@settings(max_examples=50, deadline=None)
@given(capacity=st.integers(1, 70), seed=st.integers(0, 10**6))
def test_every_node_of_the_sum_tree_is_the_sum_of_its_children(capacity, seed):
    rng = np.random.default_rng(seed)
    tree, plain = SumTree(capacity), np.zeros(capacity)
    for _ in range(5):
        index = rng.integers(capacity, size=int(rng.integers(1, 20)))
        value = rng.random(len(index))
        tree.set(index, value)
        for i, v in zip(index, value, strict=True):
            plain[i] = v
    assert np.array_equal(tree.get(np.arange(capacity)), plain)
    assert tree.total == pytest.approx(plain.sum())
    drawn = tree.draw(rng, 50)
    assert (plain[drawn] > 0).all()


def test_the_sum_tree_draws_in_proportion():
    rng = np.random.default_rng(3)
    tree = SumTree(6)
    weights = np.array([1.0, 0.0, 2.0, 3.0, 0.0, 4.0])
    tree.set(np.arange(6), weights)
    counts = np.bincount(tree.draw(rng, 100_000), minlength=6)
    assert np.allclose(counts / 100_000, weights / 10, atol=2e-3)  # stratified: closer than chance


# -- the reactor ----------------------------------------------------------------------------------------------------------


class Source(Reactor):
    """Sends trajectories made beforehand, one each time it is asked."""

    asked = Input[object]()
    trajectory = Output[Trajectory]()
    made: Shared[list]
    keep: Shared[list]

    @reaction(startup)
    def on_startup(self, trajectory):
        self.left = list(self.made)
        trajectory.set(self.left.pop(0))

    @reaction(asked)
    def on_asked(self, asked, trajectory):
        self.keep.append(asked.value)
        if self.left:
            trajectory.set(self.left.pop(0))


class Stored(Reactor):
    made: Shared[list]
    keep: Shared[list]
    buffer: dict

    def compose(self):
        self.source = Source(made=self.made, keep=self.keep)
        self.replay = ReplayBuffer(**self.buffer)
        connect(self.source.trajectory, self.replay.trajectories)
        connect(self.replay.batches, self.source.asked, after=0)


def test_no_batches_before_learning_starts_and_then_as_many_as_asked():
    streams = [Stream(np.random.default_rng(5), True)]
    made = [trajectory(streams, 10) for _ in range(4)]
    keep = []
    Program(Stored(made=made, keep=keep, buffer={"gradient_steps": 3, "batch_size": 5, "learning_starts": 18})).run()
    assert [len(batches) for batches in keep] == [0, 0 if made[0].steps + made[1].steps < 18 else 3, 3, 3]
    batch = keep[-1][0]
    assert isinstance(batch, Batch)
    assert batch.observations.shape == (5, 1)
    assert batch.weights.tolist() == [1.0] * 5


def test_what_comes_is_copied_once_and_nothing_is_allocated_for_it():
    frames = 200
    made = Trajectory.empty(spec((4, 84, 84), np.uint8), frames, 4)
    made.observations[:] = 7
    made.actions[:] = 0
    made.freeze()
    size = made.observations.nbytes
    assert size > 20e6
    ring = Ring(made.observations[0, 0], made.actions[0, 0], 3 * frames, 1, 4)
    peaks = []
    for _ in range(3):  # what this allocates it allocates each time; other threads of this process do at times
        tracemalloc.start()
        try:
            for _ in range(4):  # past the end, so that both blocks are taken
                ring.write(0, made)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert min(peaks) < 0.01 * size
    assert not np.shares_memory(ring.observations, made.observations)
    assert (ring.observations[5] == 7).all()


def test_a_rollout_allocates_its_trajectory_and_nothing_else_of_that_size():
    from reactornb.rl import Rollout

    class Frames(gymnasium.Env):
        observation_space = gymnasium.spaces.Box(0, 255, (4, 84, 84), np.uint8)
        action_space = gymnasium.spaces.Discrete(2)
        frame = np.full((4, 84, 84), 3, np.uint8)

        def reset(self, *, seed=None, options=None):
            return self.frame, {}

        def step(self, action):
            return self.frame, 1.0, False, False, {}

    class Weights(Reactor):
        weights = Output[np.ndarray]()

        @reaction(startup)
        def on_startup(self, weights):
            weights.set(np.zeros(1, np.float32))
            tracemalloc.start()

    class Sink(Reactor):
        trajectory = Input[Trajectory]()
        keep: Shared[list]

        @reaction(trajectory)
        def on_trajectory(self, trajectory):
            self.keep.append((tracemalloc.get_traced_memory()[1], trajectory.value))

    class Main(Reactor):
        keep: Shared[list]

        def compose(self):
            self.source, self.sink = Weights(), Sink(keep=self.keep)
            self.rollout = Rollout(env=Frames, n_envs=2, n_steps=600)
            connect(self.source.weights, self.rollout.weights, after=0)
            connect(self.rollout.trajectory, self.sink.trajectory)

    keep = []
    try:
        Program(Main(keep=keep)).run(workers=1)
    finally:
        tracemalloc.stop()
    ((peak, sent),) = keep
    assert sent.observations.nbytes > 30e6
    assert peak < 1.5 * sent.observations.nbytes  # a copy would make it 2
    assert not sent.observations.flags.writeable


def test_a_large_array_goes_through_a_port_by_reference():
    large = np.empty(500_000_000, np.uint8)  # never touched: no page of it exists

    class Sender(Reactor):
        out = Output[np.ndarray]()

        @reaction(startup)
        def on_startup(self, out):
            out.set(large)

    class Reader(Reactor):
        inp = Input[np.ndarray]()
        keep: Shared[list]

        @reaction(inp)
        def on_inp(self, inp):
            self.keep.append(inp.value)

    class Main(Reactor):
        keep: Shared[list]

        def compose(self):
            self.sender, self.readers = Sender(), [Reader(keep=self.keep) for _ in range(2)]
            for reader in self.readers:
                connect(self.sender.out, reader.inp, after=0)

    keep = []
    tracemalloc.start()
    try:
        Program(Main(keep=keep)).run(workers=1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert keep[0] is large
    assert keep[1] is large
    assert not large.flags.writeable
    assert peak < 5e6


def test_the_shapes_of_a_real_environment():
    real = spec_of("CartPole-v1")
    made = Trajectory.empty(real, 5, 3)
    assert made.observations.shape == (6, 3, 4)
    assert made.actions.shape == (5, 3)
    assert len(made) == 5
