"""Networks that remember, in torch: an LSTM between the features of observations and the layers of a policy and a value function.

A memory is one row of numbers for each environment, so that whoever holds it needs to know nothing of what is in it. Nothing here knows of reactors.

Source: Hochreiter and Schmidhuber 1997, "Long short-term memory"; its place, and how it is initialised: CleanRL's ppo_atari_lstm.py and RecurrentPPO of sb3-contrib.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from reactornb.rl.bodies import Body, MakeNetwork
from reactornb.rl.env_spec import EnvSpec
from reactornb.rl.layers import FRAME_FEATURES, Features, Prepared, is_image, mlp, nature_cnn
from reactornb.rl.networks import Flat, judged, masked_out, parted

__all__ = ["Lstm", "RecurrentActorCritic", "RecurrentForward"]

State = tuple[torch.Tensor, torch.Tensor]
"""Outputs and cells, float32 [G, B, H] each."""


class Lstm(nn.Module):
    """G long short-term memories side by side, each with weights of its own, that are shown the same.

    Args:
        inputs: numbers that they are shown.
        size: H, of the outputs and cells of each.
        groups: G.
        generator: orthogonal weights and zero biases, drawn from it; None: left empty, for weights that are loaded.
    """

    def __init__(self, inputs: int, size: int, groups: int, generator: torch.Generator | None) -> None:
        super().__init__()
        self.size, self.groups = size, groups
        # Rows of a matrix: input gate, forget gate, output gate, what is written; H of each.
        self.weight_ih = nn.Parameter(torch.empty(groups, 4 * size, inputs))
        self.weight_hh = nn.Parameter(torch.empty(groups, 4 * size, size))
        self.bias = nn.Parameter(torch.empty(groups, 4 * size))
        if generator is not None:
            with torch.no_grad():
                for group in range(groups):
                    nn.init.orthogonal_(self.weight_ih[group], 1.0, generator=generator)
                    nn.init.orthogonal_(self.weight_hh[group], 1.0, generator=generator)
                self.bias.zero_()

    def forward(self, x: torch.Tensor, state: State, begins: torch.Tensor, groups: int | None = None) -> State:
        """Be shown one thing after the other.

        Args:
            x: float32 [T, B, inputs].
            state: from before; no gradient goes back into it.
            begins: bool [T, B]; true where an episode begins: what was before is forgotten.
            groups: only the first so many; their states are given, and returned, alone.

        Returns:
            Outputs and cells after each of the T, float32 [T, G, B, H]. No gradient goes back through the cells that are returned.
        """
        groups = self.groups if groups is None else groups
        steps, rows, _ = x.shape
        shown = torch.matmul(x.reshape(1, steps * rows, -1), self.weight_ih[:groups].transpose(1, 2))
        shown = (shown + self.bias[:groups, None]).reshape(groups, steps, rows, 4 * self.size).transpose(0, 1)
        recurrent = self.weight_hh[:groups]
        if x.device.type == "cpu":
            outputs, cells = _Unrolled.apply(shown, recurrent, *state, begins)
            return outputs, cells
        return unrolled(shown, recurrent, state, begins)


def unrolled(shown: torch.Tensor, recurrent: torch.Tensor, state: State, begins: torch.Tensor) -> State:
    """`Lstm.forward` in torch, step by step.

    Args:
        shown: float32 [T, G, B, 4 * H], what the inputs give to the gates.
        recurrent: float32 [G, 4 * H, H].
        state, begins: as there.
    """
    size = recurrent.shape[2]
    h, c = state
    outputs, cells = [], []
    for t, some in enumerate(begins.any(dim=1).tolist()):
        if some:
            kept = (~begins[t]).to(h.dtype)[:, None]
            h, c = h * kept, c * kept
        gates = torch.baddbmm(shown[t], h, recurrent.transpose(1, 2))
        let_in, kept_in, let_out = gates[..., : 3 * size].sigmoid().chunk(3, dim=-1)
        c = kept_in * c + let_in * gates[..., 3 * size :].tanh()
        h = let_out * c.tanh()
        outputs.append(h)
        cells.append(c)
    return torch.stack(outputs), torch.stack(cells)


class _Unrolled(torch.autograd.Function):
    """`unrolled` and its gradient written out in NumPy, whose calls take a fraction of autograd's time for matrices of this size."""

    @staticmethod
    def forward(ctx: Any, shown: Any, recurrent: Any, h: Any, c: Any, begins: Any) -> State:
        """See `unrolled`."""
        gates = shown.detach().numpy().copy()  # in place what they let through
        recurrent = recurrent.detach().numpy()
        matrix = np.ascontiguousarray(recurrent.transpose(0, 2, 1))  # twice as fast for a few rows
        h, c = h.detach().numpy(), c.detach().numpy()
        steps, groups, rows, width = gates.shape
        size = width // 4
        # What was before each step, and what is after it.
        before = np.empty((2, steps, groups, rows, size), np.float32)
        outputs, cells, squashed = (np.empty((steps, groups, rows, size), np.float32) for _ in range(3))
        first = begins.numpy()
        kept = [(~row[:, None]).astype(np.float32) if row.any() else None for row in first]
        with np.errstate(over="ignore"):  # of exp, far below 0: the gate is closed
            for t, keep in enumerate(kept):
                if keep is not None:
                    h, c = h * keep, c * keep
                before[0, t], before[1, t] = h, c
                gate, h, c = gates[t], outputs[t], cells[t]
                gate += np.matmul(before[0, t], matrix)
                opened, written = gate[..., : 3 * size], gate[..., 3 * size :]
                np.negative(opened, out=opened)
                np.exp(opened, out=opened)
                opened += 1.0
                np.reciprocal(opened, out=opened)
                np.tanh(written, out=written)
                np.multiply(gate[..., size : 2 * size], before[1, t], out=c)
                c += gate[..., :size] * written
                np.tanh(c, out=squashed[t])
                np.multiply(gate[..., 2 * size : 3 * size], squashed[t], out=h)
        ctx.kept, ctx.gates, ctx.before, ctx.squashed, ctx.recurrent = kept, gates, before, squashed, recurrent
        found = torch.from_numpy(outputs), torch.from_numpy(cells)
        ctx.mark_non_differentiable(found[1])
        return found

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """Back through time."""
        toward = gradients[0].numpy()  # [T, G, B, H]
        gates, before, squashed = ctx.gates, ctx.before, ctx.squashed
        steps, groups, rows, width = gates.shape
        size = width // 4
        let_in, kept_in, let_out, written = (gates[..., k * size : (k + 1) * size] for k in range(4))
        # The derivative of each gate with respect to what goes into it, times what it is multiplied with.
        slopes = gates * (1.0 - gates)
        np.subtract(1.0, written * written, out=slopes[..., 3 * size :])
        slopes[..., :size] *= written
        slopes[..., size : 2 * size] *= before[1]
        slopes[..., 2 * size : 3 * size] *= squashed
        slopes[..., 3 * size :] *= let_in
        to_cell = let_out * (1.0 - squashed * squashed)
        dh = dc = np.zeros((groups, rows, size), np.float32)
        for t in range(steps - 1, -1, -1):
            dh = dh + toward[t]
            dc = dc + dh * to_cell[t]
            slope = slopes[t]  # from here on the gradient of what goes into the gates
            slope.reshape(groups, rows, 4, size)[:, :, (0, 1, 3)] *= dc[:, :, None]
            slope[..., 2 * size : 3 * size] *= dh
            dc = dc * kept_in[t]
            dh = np.matmul(slope, ctx.recurrent)
            keep = ctx.kept[t]
            if keep is not None:
                dh *= keep
                dc *= keep
        flat = slopes.transpose(1, 0, 2, 3).reshape(groups, steps * rows, width)
        shown = before[0].transpose(1, 0, 2, 3).reshape(groups, steps * rows, size)
        of_recurrent = np.matmul(flat.transpose(0, 2, 1), shown)
        return torch.from_numpy(slopes), torch.from_numpy(of_recurrent), None, None, None


class RecurrentActorCritic(nn.Module):
    """A policy and a value function that remember the episode so far.

    Observations, or the features of frames, or what a module of the user's own makes of them, go through an LSTM of the policy's and one of the value
    function's, or through one for both, and then through perceptrons. Parameters lie in the order log-deviations (continuous actions only), features, LSTMs, actor, critic.

    Args:
        spec: the environment's spaces; of masked actions see `ActorCritic`.
        size: of the LSTMs.
        hidden: widths of the hidden layers after them, of the policy's and of the value function's.
        shared: one LSTM for both.
        generator: as for `ActorCritic`.
        log_std_init: likewise.
        network: makes the module of the user's own between observations and LSTM; None: there is none.
    """

    def __init__(
        self,
        spec: EnvSpec,
        size: int,
        hidden: Sequence[int],
        shared: bool,
        generator: torch.Generator | None,
        log_std_init: float = 0.0,
        network: MakeNetwork | None = None,
    ) -> None:
        super().__init__()
        root2 = math.sqrt(2)
        self.mask, spec = spec.mask, spec.unmasked
        self.choices = spec.choices
        self.log_std = nn.Parameter(torch.full((spec.outputs,), log_std_init)) if spec.is_box else None
        if network is not None:
            self.features: nn.Module = Body(spec, network)
            width: int = self.features.width
        elif is_image(spec):
            self.features, width = nature_cnn(spec, generator, root2), FRAME_FEATURES
        elif spec.frames:
            self.features = several = Features(spec, generator, root2)
            width = several.width
        else:
            self.features, width = Prepared(spec.scaling), math.prod(spec.observation_shape)
        self.lstm = Lstm(width, size, 1 if shared else 2, generator)
        self.actor = mlp((size, *hidden, spec.outputs), "tanh", generator, gain=root2, last_gain=0.01)
        self.critic = mlp((size, *hidden, 1), "tanh", generator, gain=root2, last_gain=1.0)

    @property
    def memory_size(self) -> int:
        """Numbers of one environment's memory."""
        return 2 * self.lstm.groups * self.lstm.size

    def rows_of(self, states: State) -> torch.Tensor:
        """States as memories, float32 [B, numbers]."""
        both = torch.stack(states)  # [2, G, B, H]
        return both.permute(2, 0, 1, 3).reshape(both.shape[2], -1)

    def state_of(self, rows: torch.Tensor) -> State:
        """Memories, float32 [B, numbers], as a state, of as many groups as they are of."""
        outputs, cells = rows.reshape(len(rows), 2, -1, self.lstm.size).permute(1, 2, 0, 3).contiguous()
        return outputs, cells

    def act(self, observations: torch.Tensor, memory: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The policy alone.

        Args:
            observations: [B, *observation_shape].
            memory: float32 [B, 2 * size]: the policy's.

        Returns:
            Logits or means, float32 [B, outputs], and its memory afterwards.
        """
        seen, allowed = parted(observations, self.mask)
        none = torch.zeros((1, len(seen)), dtype=torch.bool)
        outputs, cells = self.lstm(self.features(seen)[None], self.state_of(memory), none, groups=1)
        return masked_out(self.actor(outputs[0, 0]), allowed), self.rows_of((outputs[0], cells[0]))

    def unroll(self, observations: torch.Tensor, memory: torch.Tensor, begins: torch.Tensor) -> State:
        """Outputs and cells after each of T observations, float32 [T, G, B, H] each.

        Args:
            observations: [T, B, *observation_shape].
            memory: float32 [B, numbers], before the first.
            begins: bool [T, B], where an episode begins.
        """
        seen, _ = parted(observations, self.mask)
        steps, rows = seen.shape[:2]
        features = self.features(seen.reshape(steps * rows, *seen.shape[2:])).reshape(steps, rows, -1)
        found: State = self.lstm(features, self.state_of(memory), begins)
        return found

    def values(self, outputs: torch.Tensor) -> torch.Tensor:
        """The value function on outputs of the LSTMs, [..., G, B, H] to float32 [..., B]."""
        values: torch.Tensor = self.critic(outputs[..., -1, :, :].reshape(-1, self.lstm.size))
        return values.reshape(*outputs.shape[:-3], outputs.shape[-2])

    def evaluate(
        self, observations: torch.Tensor, actions: torch.Tensor, memory: torch.Tensor, begins: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Judge sequences.

        Args:
            observations, memory, begins: as for `unroll`.
            actions: int64 [T, B] or [T, B, choices], or float32 [T, B, *action_shape].

        Returns:
            Log-probabilities of the actions, the policy's entropies, and values, each float32 [T, B].
        """
        outputs, _ = self.unroll(observations, memory, begins)
        steps, rows = begins.shape
        _, allowed = parted(observations, self.mask)
        chosen_by = self.actor(outputs[:, 0].reshape(steps * rows, -1))
        if allowed is not None:
            allowed = allowed.reshape(steps * rows, -1)
        taken = actions.reshape(steps * rows, *actions.shape[2:])
        log_probs, entropies = judged(masked_out(chosen_by, allowed), taken, self.choices, self.log_std)
        return log_probs.reshape(steps, rows), entropies.reshape(steps, rows), self.values(outputs)


class RecurrentForward:
    """A policy's network with its memory, as a function of arrays: each call is the next step of as many episodes as it has rows. For one thread.

    Args:
        make: makes the `RecurrentActorCritic`.

    Attributes:
        memory: float32 [N, numbers], of the N episodes.
    """

    def __init__(self, make: Callable[[], RecurrentActorCritic]) -> None:
        self._module = make()
        self._flat = Flat(self._module)
        self._size = 2 * self._module.lstm.size
        self.memory: np.ndarray = np.zeros((0, self._size), np.float32)

    def load(self, weights: np.ndarray) -> None:
        """Take over a copy; memories stay."""
        self._flat.load(weights)

    def forget(self, rows: np.ndarray | None = None) -> None:
        """Begin new episodes: in these rows, bool [N]; None: in all."""
        if rows is None:
            self.memory = np.zeros_like(self.memory)
        elif rows.any():
            self.memory[rows] = 0.0

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """[N, *observation_shape] -> float32 [N, outputs]; for another N than the last time memories begin anew."""
        if len(x) != len(self.memory):
            self.memory = np.zeros((len(x), self._size), np.float32)
        with torch.inference_mode():
            outputs, memory = self._module.act(torch.tensor(x), torch.from_numpy(self.memory))
            self.memory = memory.numpy()
            answer: Any = outputs.numpy()
        return answer  # type: ignore[no-any-return]
