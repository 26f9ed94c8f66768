"""Policies as ONNX: other runtimes give their actions."""

import numpy as np
import pytest
from policies_made import FRAMES, PICTURES, TWO, blueprints, frames, pictured, policy

onnx = pytest.importorskip("onnx")

from reactornb.rl import onnx_export  # noqa: E402
from reactornb.rl.onnx_export import OnnxMismatchError, model_bytes, random_rows, to_onnx  # noqa: E402
from reactornb.rl.policy_blueprint import Blueprint  # noqa: E402
from reactornb.rl.policy_reading import check_blueprint  # noqa: E402

ALL = blueprints()


def on_frames(head):
    network, tensors = frames(np.random.default_rng(0), head, 2)
    choice = {"kind": "categorical"} if head == "actor" else {"kind": "epsilon_greedy", "epsilon": 0.1}
    made = Blueprint(FRAMES, TWO, network, choice, tensors)
    scores = made.scores(shown_to(made, 100, 1))
    bias = "actor.bias" if head == "actor" else "advantage.bias"
    tensors[bias] = tensors[bias] + np.array(
        [np.median(scores[:, 1] - scores[:, 0]), 0], np.float32
    )  # half of each action
    return Blueprint(FRAMES, TWO, network, choice, tensors)


def shown_to(blueprint, count, seed):
    """Random observations; frames are more or less bright, too: of even noise each is like the next."""
    rng = np.random.default_rng(seed)
    rows = random_rows(blueprint, count, rng)
    return (rows * rng.random((count, 1, 1, 1))).astype(np.uint8) if rows.dtype == np.uint8 else rows


def session(content):
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def same_actions(blueprint, content, count):
    """That ONNX Runtime gives the policy's actions for random observations, one more time than `to_onnx` looks itself, with other ones."""
    given, shown = policy(blueprint), shown_to(blueprint, count, 7)
    (actions,) = session(content).run(["action"], {"observation": shown})
    rows = blueprint.rows_of(shown)
    scores = blueprint.scores(rows)
    if blueprint.action.kind == "Box":
        ours = blueprint.action.decode(blueprint.best(scores), True)
        assert actions.dtype == blueprint.action.dtype
        assert np.allclose(actions, ours, atol=1e-5)
        assert len(np.unique(actions, axis=0)) > 2
    elif blueprint.action.kind == "MultiDiscrete":
        ours = np.stack([scores[:, :2].argmax(1) + 1, scores[:, 2:].argmax(1)], 1)
        assert np.array_equal(actions, ours)
        assert len(np.unique(actions, axis=0)) > 2
    else:
        assert actions.dtype == np.int64
        ours = scores.argmax(1) + int(blueprint.action.low[0])
        assert np.array_equal(actions, ours)
        assert len(set(ours.tolist())) == 2, "always one action: this test shows nothing"
    if blueprint.observation.kind == "Box" and "mean" not in blueprint.tensors:
        assert np.array_equal(given(shown), ours)


@pytest.mark.slow
@pytest.mark.parametrize("name", ALL)
def test_onnx_runtime_gives_the_actions_of_a_policy_on_ten_thousand_observations(name, tmp_path):
    path = policy(ALL[name]).to_onnx(tmp_path / "p.onnx")
    same_actions(ALL[name], path.read_bytes(), 10_000)


@pytest.mark.slow
@pytest.mark.parametrize("head", ["actor", "values", "duelling"])
def test_onnx_runtime_gives_the_actions_of_a_policy_on_frames(head):
    pytest.importorskip("torch")
    made = on_frames(head)
    same_actions(made, model_bytes(made), 2_000)


@pytest.mark.slow
@pytest.mark.parametrize("clip", [None, 2.0])
@pytest.mark.parametrize("head", ["actor", "values", "duelling"])
def test_onnx_runtime_gives_the_actions_of_a_policy_on_pictures_and_numbers(head, clip):
    pytest.importorskip("torch")
    network, tensors = pictured(np.random.default_rng(0), head)
    if clip is not None:
        network["clip"] = clip
    choice = {"kind": "categorical"} if head == "actor" else {"kind": "epsilon_greedy", "epsilon": 0.1}
    made = Blueprint(PICTURES, TWO, network, choice, tensors)
    shown = random_rows(made, 200, np.random.default_rng(1))
    scores = made.scores(made.rows_of(shown))
    bias = "actor.3.bias" if head == "actor" else "advantage.bias"
    tensors[bias] = tensors[bias] + np.array([np.median(scores[:, 1] - scores[:, 0]), 0], np.float32)
    made = Blueprint(PICTURES, TWO, network, choice, tensors)
    check_blueprint(made)
    same_actions(made, model_bytes(made), 1_000)


def test_the_file_says_what_goes_in_and_comes_out():
    model = onnx.load_from_string(model_bytes(ALL["gaussian"]))
    (shown,) = model.graph.input
    assert shown.name == "observation"
    assert [o.name for o in model.graph.output] == ["action", "scores"]
    assert [d.dim_param or d.dim_value for d in shown.type.tensor_type.shape.dim] == ["N", 3]
    assert {p.key: p.value for p in model.metadata_props} == {"reactornb.policy": ALL["gaussian"].text}
    assert model_bytes(ALL["gaussian"]) == model_bytes(ALL["gaussian"])


def test_a_file_that_chooses_otherwise_is_found_and_not_written(tmp_path, monkeypatch):
    wrong = blueprints(seed=1)["categorical"]
    content = model_bytes(wrong)
    monkeypatch.setattr(onnx_export, "model_bytes", lambda blueprint: content)
    with pytest.raises(OnnxMismatchError) as caught:
        to_onnx(policy(ALL["categorical"]), tmp_path / "p.onnx", check=100)
    assert caught.value.checked == 100
    assert 0 < caught.value.different <= 100
    assert not (tmp_path / "p.onnx").exists()


@pytest.mark.slow
def test_without_onnx_runtime_the_package_onnx_checks_it(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_export, "find_spec", lambda name: None)
    for name, made in ALL.items():
        assert to_onnx(policy(made), tmp_path / f"{name}.onnx", check=50).exists()
