"""Pictures of MuJoCo's bodies from a simulation's state: a model as its bindings have it, without MuJoCo."""

from types import SimpleNamespace

import numpy as np
import pytest

from reactornb.rl.drawing_bodies import BOX, CAPSULE, PLANE, SIZE, SPHERE, picture_of

RED, GREEN, BLUE = (204, 51, 51), (51, 204, 51), (51, 51, 204)


class Simulated:
    """A red capsule that lies along x, a green ball, a blue box, over the ground."""

    def __init__(self, *, ground=True):
        kinds = [PLANE, CAPSULE, SPHERE, BOX]
        sizes = [(40, 40, 40), (0.1, 0.5, 0), (0.15, 0, 0), (0.3, 0.1, 0.1)]
        colours = [(1, 1, 1, 1), (0.8, 0.2, 0.2, 1), (0.2, 0.8, 0.2, 1), (0.2, 0.2, 0.8, 1)]
        at = [(0, 0, 0), (0, 0, 0.5), (0, 0, 1.1), (0, 0, 0.2)]
        upright = np.eye(3)
        along_x = np.array([[0, 0, 1], [0, 1, 0], [-1, 0, 0]], float)
        chosen = slice(None) if ground else slice(1, None)
        self.model = SimpleNamespace(
            geom_type=np.array(kinds)[chosen],
            geom_size=np.array(sizes, float)[chosen],
            geom_rgba=np.array(colours, np.float32)[chosen],
            geom_rbound=np.array([0, 0.6, 0.15, 0.35])[chosen],
        )
        self.data = SimpleNamespace(
            geom_xpos=np.array(at, float)[chosen],
            geom_xmat=np.array([upright, along_x, upright, upright])[chosen].reshape(-1, 9),
        )
        self.unwrapped = self


def extent(picture, colour):
    rows, columns = np.nonzero((np.abs(picture.astype(int) - colour) < 3).all(axis=2))
    assert len(rows) > 20
    return columns.mean(), rows.mean(), np.ptp(columns), np.ptp(rows)


def test_bodies_lie_as_they_lie_above_each_other():
    picture = picture_of(Simulated())
    assert picture.shape == (*SIZE, 3)
    rod, ball, box = (extent(picture, colour) for colour in (RED, GREEN, BLUE))
    assert ball[1] < rod[1] < box[1], "rows go down"
    assert rod[2] > 4 * rod[3]
    assert ball[2] == pytest.approx(ball[3], abs=2)
    assert rod[0] == pytest.approx(SIZE[1] / 2, abs=2)


def test_the_picture_goes_along_over_marks_on_the_ground():
    here, there = Simulated(), Simulated()
    there.data.geom_xpos[:, 0] += 10.2
    a, b = picture_of(here), picture_of(there)
    assert extent(a, RED)[0] == pytest.approx(extent(b, RED)[0], abs=1)
    ground = slice(int(0.88 * SIZE[0]), None)
    assert not np.array_equal(a[ground], b[ground])
    fixed = Simulated(ground=False)
    fixed.data.geom_xpos[:, 0] += 0.3
    assert extent(picture_of(fixed), RED)[0] > SIZE[1] / 2 + 10, "without ground the picture stands still"


def test_what_turns_is_seen_turned():
    env = Simulated()
    env.data.geom_xmat[1] = np.eye(3).ravel()
    rod = extent(picture_of(env), RED)
    assert rod[3] > 3 * rod[2]


def test_other_environments_have_no_such_picture():
    assert picture_of(SimpleNamespace(unwrapped=SimpleNamespace(model=object()))) is None


@pytest.mark.slow
def test_robots_of_mujoco_are_seen_without_opengl(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("gymnasium")
    pytest.importorskip("mujoco")
    from reactornb.rl.showing import watch

    for name in ("MUJOCO_GL", "DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name, numbers in (("HalfCheetah-v5", 6), ("Hopper-v5", 3), ("InvertedPendulum-v5", 1)):
        watched = watch(lambda seen, n=numbers: np.full(n, 0.5, np.float32), name, steps=5)[0]
        assert watched.size == SIZE
        assert not np.array_equal(watched.frames[0], watched.frames[-1])
    assert not list(tmp_path.iterdir()), "no log of MuJoCo's"
