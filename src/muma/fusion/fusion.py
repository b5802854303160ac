"""Encoders and a fuser: many sources, one vector.

    F_n = fuse(f_1(x_n), ..., f_S(x_n)),    S = encoders, in the order of the config     (2)-(5)

Sources of the item and of the user stand side by side. A source without data for a row, or removed
by `without`, is masked.

Shape: N rows, S sources, D width, C context.
"""

from __future__ import annotations

import copy
import json
from typing import Any, Self, cast

import torch
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from muma import progress
from muma.artifact import Artifact, Writer
from muma.config import Config, Spec, build, parse
from muma.errors import ConfigError, DataError
from muma.events.event import EventLog
from muma.fusion.encoder import Encoder
from muma.fusion.fuser import Fused, Fuser

CONFIG = "fusion.json"
STATE = "fusion.safetensors"


class FusionConfig(Config):
    """Parameters of `Fusion`; `[fusion.encoders.text]` with its `use` names a source `text`.

    Attributes:
        encoders: source name -> encoder, in the order of S.
        fuser: what makes one vector of them.
        width: D of all encoders and of the answer.
        context: C, numbers about the moment that the fuser may read.
        seed: seed of the first parameters.
    """

    encoders: dict[str, Spec] = Field(min_length=1)
    fuser: Spec = Spec(use="muma.fusion.fusers.attention.AttentionFuser")
    width: int = Field(default=32, ge=1)
    context: int = Field(default=0, ge=0)
    seed: int = 0


class Fusion(nn.Module):
    """Many sources, one vector.

    Example:
        >>> from muma.testing.fusion_logs import media_log
        >>> config = FusionConfig.model_validate({"width": 8, "encoders": {
        ...     "behaviour": {"use": "muma.fusion.encoders.behaviour.BehaviourEncoder"},
        ...     "text": {"use": "muma.fusion.encoders.text.TextEncoder"}}})
        >>> fused = Fusion(config).fit(media_log())(torch.tensor([0, 3, -1]))
        >>> fused.vector_ND.shape, fused.present_NS.tolist()
        (torch.Size([3, 8]), [[True, True], [False, False], [False, False]])
    """

    def __init__(self, config: FusionConfig) -> None:
        super().__init__()
        self.config = config
        shared: dict[str, Any] = {"width": config.width, "seed": config.seed}
        encoders: dict[str, Encoder] = {
            name: build(spec, where=f"fusion.encoders.{name}", name=name, **shared)
            for name, spec in config.encoders.items()
        }
        self.encoders = nn.ModuleDict(encoders)
        self.fuser: Fuser = build(
            config.fuser,
            where="fusion.fuser",
            sources=len(encoders),
            context=config.context,
            **shared,
        )
        self._removed: frozenset[str] = frozenset()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the sources in the order of S; `without` does not change them."""
        return tuple(self.config.encoders)

    def encoder(self, name: str) -> Encoder:
        """The encoder of a source.

        Raises:
            ConfigError: there is no such source.
        """
        if name not in self.encoders:
            raise ConfigError(f"no source {name!r}; there are {', '.join(self.names)}")
        return cast("Encoder", self.encoders[name])

    def fit(self, log: EventLog) -> Self:
        """Fit every encoder's statistics on the training log, and read its rows."""
        for name in progress.track(self.names, label="sources"):
            self.encoder(name).fit(log)
        return self

    def update(self, log: EventLog, *, keep: bool = True) -> None:
        """Let new items and users in; see `Encoder.update`."""
        for name in self.names:
            self.encoder(name).update(log, keep=keep)

    def without(self, *sources: str) -> Fusion:
        """The same fusion, sharing all parameters, with these sources masked.

        Raises:
            ConfigError: there is no such source.
        """
        for name in sources:
            self.encoder(name)
        view = copy.copy(self)
        view._removed = self._removed | set(sources)  # noqa: SLF001 - of our own class
        return view

    def forward(
        self,
        item_N: Tensor | None,
        user_N: Tensor | None = None,
        context_NC: Tensor | None = None,
        *,
        rng: torch.Generator | None = None,
    ) -> Fused:
        """Fuse the sources of N rows.

        Args:
            item_N: dense item indices, -1 for none or unknown; None when no item is meant.
            user_N: dense user indices likewise; sources of an entity that is not given are missing.
            context_NC: numbers about the moment, when the config says `context`.
            rng: draws the source dropout in training; torch's own generator if None.

        Raises:
            DataError: neither items nor users are given, or their lengths differ.
        """
        asked = {"item": item_N, "user": user_N}
        given = [index_N for index_N in asked.values() if index_N is not None]
        if not given or len({len(index_N) for index_N in given}) > 1:
            raise DataError(
                f"items and users must be rows of the same batch, got lengths "
                f"{[len(index_N) for index_N in given]}"
            )
        vectors, masks = [], []
        nothing_N = torch.full_like(given[0], -1)
        for name in self.names:
            encoder = self.encoder(name)
            index_N = asked[encoder.entity]
            if index_N is None or name in self._removed:
                index_N = nothing_N
            # a user's rows repeat over the items of a batch: encode each once
            distinct_n, at_N = torch.unique(index_N, return_inverse=True)
            vectors.append(encoder(distinct_n)[at_N])
            masks.append(encoder.present(index_N))
        z_NSD, present_NS = torch.stack(vectors, dim=1), torch.stack(masks, dim=1)
        return self.fuser(z_NSD, present_NS, context_NC, rng=rng)

    def save(self, writer: Writer) -> None:
        """Write the config as JSON and all parameters and rows as safetensors."""
        text = self.config.model_dump_json(indent=1)
        writer.path(CONFIG).write_text(text, encoding="utf-8")
        state = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        save_file(state, writer.path(STATE))

    @classmethod
    def load(cls, artifact: Artifact) -> Self:
        """Read what `save` wrote; no log is needed."""
        text = artifact.path(CONFIG).read_text(encoding="utf-8")
        fusion = cls(parse(FusionConfig, json.loads(text), where="fusion"))
        fusion.restore(load_file(artifact.path(STATE)))
        return fusion

    def restore(self, state: dict[str, Tensor]) -> None:
        """Load a state whose tables and rows may be of other lengths than the present ones."""
        for path, tensor in state.items():
            parent, _, name = path.rpartition(".")
            module = self.get_submodule(parent)
            if name in module._parameters:  # noqa: SLF001 - torch has no public setter
                held = module.get_parameter(name)
                if held.shape != tensor.shape:
                    held.data = torch.empty_like(tensor)
            else:
                module.register_buffer(name, torch.empty_like(tensor))
        self.load_state_dict(state)
