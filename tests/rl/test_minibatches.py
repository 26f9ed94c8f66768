"""A round's minibatches are all steps in a drawn order, cut into parts of nearly one size; their place among them is data."""

from types import SimpleNamespace

import pytest

pytest.importorskip("torch")
np = pytest.importorskip("numpy")

from reactornb.rl.gradients import InOrder, in_order  # noqa: E402
from reactornb.rl.minibatches import Epochs, Minibatch, piece  # noqa: E402


@pytest.mark.parametrize("length", [1, 5, 12, 13])
@pytest.mark.parametrize("parts", [1, 2, 3, 5, 12])
def test_pieces_are_those_of_array_split(length, parts):
    array = np.arange(length)
    expected = np.array_split(array, parts)
    assert all(np.array_equal(piece(array, parts, i), part) for i, part in enumerate(expected))


def whole(steps):
    numbers = np.arange(steps, dtype=np.float32)
    return Minibatch(numbers, numbers, numbers, numbers, numbers, numbers, 0.2)


def config(**more):
    return SimpleNamespace(**{"n_epochs": 3, "batch_size": 4, "normalize_advantage": False, **more})


def test_each_epoch_takes_all_steps_in_an_order_drawn_when_it_begins():
    steps, rng, twin = np.array([0, 2, 3, 5, 7, 8, 9, 11, 12]), np.random.default_rng(4), np.random.default_rng(4)
    made = Epochs(whole(13), steps, rng, config(), None)
    for _ in range(3):
        order = twin.permutation(steps)
        for part in np.array_split(order, 2):
            chosen = next(made)
            assert np.array_equal(chosen.rows, part)
            assert np.array_equal(chosen.gathered().returns, part)
            assert rng.bit_generator.state == twin.bit_generator.state  # no order is drawn before it is needed
    assert list(made) == list(made) == []


def test_a_round_in_which_nothing_was_taken_has_no_minibatch():
    assert list(Epochs(whole(4), np.arange(0), np.random.default_rng(0), config(), None)) == []


def test_an_iterator_over_a_list_lets_go_of_it_at_its_end():
    items = [object(), object()]
    made = in_order(items)
    assert type(made) is InOrder
    assert list(made) == items
    assert made._items == ()
    assert next(made, None) is None
    generated = (i for i in "ab")
    assert in_order(generated) is generated
