"""Runs a plan: one forward pass, then relevance from every target back to the image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, fx

from xai_sweep.explainers.relevance.engine.flow import nodes_in
from xai_sweep.explainers.relevance.engine.messages import Ledger, Message
from xai_sweep.explainers.relevance.engine.plan import Plan


@dataclass(frozen=True, eq=False)
class Relevance:
    """The result of a propagation.

    Attributes:
        maps: relevance where propagation ended, ``[B, K, C, H, W]`` for the image.
        logits: of the targets, ``[B, K]``.
        absorbed: relevance that biases and constants took, ``float64[B, K]``.
        lost: relevance that stabilisers took or that nothing received, likewise; both are None
            without accounts.
    """

    maps: Tensor
    logits: Float[Tensor, "b k"]
    absorbed: Tensor | None
    lost: Tensor | None


def joined(parts: Sequence[Relevance]) -> Relevance:
    """The relevance of several batches as one."""
    absorbed = [part.absorbed for part in parts if part.absorbed is not None]
    lost = [part.lost for part in parts if part.lost is not None]
    return Relevance(
        torch.cat([part.maps for part in parts]),
        torch.cat([part.logits for part in parts]),
        torch.cat(absorbed) if absorbed else None,
        torch.cat(lost) if lost else None,
    )


class Propagation:
    """A plan with what can be known before the first image.

    Args:
        plan: the steps.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        flow = plan.flow
        self.last_use: dict[fx.Node, int] = {}
        for number, step in enumerate(plan.steps):
            for node in nodes_in(step.args, step.kwargs):
                self.last_use[node] = number
        keep = {flow.image, flow.stop, flow.logits, *flow.constants, *self._mixed}
        self.frees = [
            [n for n, last in self.last_use.items() if last == number and n not in keep]
            for number in range(len(plan.steps))
        ]

    @cached_property
    def _mixed(self) -> set[fx.Node]:
        """Nodes at which both forms of relevance meet."""
        forms: dict[fx.Node, set[bool]] = {}
        for step in self.plan.steps:
            for node in step.inputs:
                forms.setdefault(node, set()).add(step.emits_relevance)
        return {node for node, found in forms.items() if len(found) > 1}

    @torch.no_grad()
    def __call__(
        self,
        images: Float[Tensor, "b c h w"],
        targets: Int64[Tensor, "b k"],
        accounts: bool = False,
        times_input: bool = True,
    ) -> Relevance:
        """Propagate relevance from each image's K target logits.

        Args:
            images: ``[B, C, H, W]`` in normalised space.
            targets: class indices ``int64[B, K]``.
            accounts: whether to return `Relevance.absorbed` and `Relevance.lost`.
            times_input: whether maps are relevance ``a c``; otherwise they are ``c``, which for
                LRP-0 is the gradient. Only for rules whose forms emit ``c``.
        """
        flow = self.plan.flow
        if len(images) > 1 and not flow.by_image:
            pairs = zip(torch.split(images, 1), torch.split(targets, 1), strict=True)
            return joined([self(*pair, accounts, times_input) for pair in pairs])
        values, kept = self.forward(images, accounts)
        logits, count = values[flow.logits], targets.shape[1]
        arrived, ledgers = [], []
        for rank in range(count):
            start = torch.zeros_like(logits).scatter_(1, targets[:, rank : rank + 1], 1)
            zeros = torch.zeros(len(images), dtype=torch.float64, device=images.device)
            ledgers.append(Ledger(zeros, zeros.clone()) if accounts else None)
            message = Message(start, is_owned=True)
            is_last = rank == count - 1
            end = self._back(message, values, kept, ledgers[-1], is_last)
            assert times_input or not end.is_relevance
            end = end.as_relevance(values[flow.stop]) if times_input else end
            arrived.append(end.values)
        taken = [ledger for ledger in ledgers if ledger is not None]
        return Relevance(
            torch.stack(arrived, dim=1),
            logits.gather(1, targets),
            torch.stack([ledger.absorbed for ledger in taken], dim=1) if taken else None,
            torch.stack([ledger.lost for ledger in taken], dim=1) if taken else None,
        )

    @torch.no_grad()
    def logits(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes"]:
        """The network's logits, computed by the plan, in which layers are fused."""
        values, _ = self.forward(images)
        logits: Tensor = values[self.plan.flow.logits]
        return logits

    def forward(
        self, images: Float[Tensor, "b c h w"], accounts: bool = False
    ) -> tuple[dict[fx.Node, Any], list[Any]]:
        """The values that are needed later, and what every step has kept for the way back."""
        values: dict[fx.Node, Any] = {**self.plan.flow.constants, self.plan.flow.image: images}
        kept: list[Any] = []
        for step, frees in zip(self.plan.steps, self.frees, strict=True):
            args = fx.node.map_arg(step.args, values.__getitem__)
            kwargs = fx.node.map_arg(dict(step.kwargs), values.__getitem__)
            values[step.node], of_step = step.forward(args, kwargs, accounts)
            kept.append(of_step)
            del args, kwargs
            for node in frees:
                del values[node]
        return values, kept

    def _back(
        self,
        start: Message,
        values: Mapping[fx.Node, Any],
        kept: list[Any],
        ledger: Ledger | None,
        is_last: bool,
    ) -> Message:
        flow = self.plan.flow
        waiting = {flow.logits: start}
        for number in range(len(kept) - 1, -1, -1):
            step = self.plan.steps[number]
            message = waiting.pop(step.node, None) if step.inputs else None
            if message is not None:
                sent = step.backward(message, kept[number], ledger)
                del message
                for node, part in zip(step.inputs, sent, strict=True):
                    other = waiting.get(node)
                    waiting[node] = part if other is None else other.plus(part, values.get(node))
                del sent
            if is_last:
                kept[number] = None
        if flow.stop is not flow.image and flow.image in waiting and ledger is not None:
            # What went round the layer at which propagation ends.
            passed_by = waiting[flow.image].as_relevance(values[flow.image])
            ledger.lose(passed_by.values, 1.0)
        return waiting[flow.stop]
