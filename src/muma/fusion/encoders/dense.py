"""Vectors that come with the items or users (image, audio, another model): a deep auto-encoder.

    z = E(x'),   x' = (x - mean) / sd,   E, G = argmin |G(E(x')) - x'|^2

`fit` trains the encoder E and the decoder G to reconstruct the standardised vectors (Hinton and
Salakhutdinov, Science 2006); the task then trains E further, unless it is frozen.

Shape: R entities with a vector, K width of the vectors, D width.
"""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from muma import progress
from muma.errors import DataError
from muma.events.event import EventLog
from muma.fusion.encoder import Encoder, EncoderConfig
from muma.fusion.layers import generator, mlp
from muma.fusion.rows import Rows
from muma.fusion.tables import KEYS, needed


class DenseConfig(EncoderConfig):
    """Parameters of `DenseEncoder`.

    Attributes:
        column: column of the items (or users) that holds lists of numbers.
        inputs: K.
        hidden: hidden widths of E, mirrored in G.
        epochs: passes of reconstruction; 0 leaves E as it starts.
        batch: rows a step.
        learning_rate: of Adam.
        frozen: the task does not train E.
    """

    name: str = "dense"
    column: str
    inputs: int = Field(ge=1)
    hidden: tuple[int, ...] = (64,)
    epochs: int = Field(default=20, ge=0)
    batch: int = Field(default=256, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    frozen: bool = False


class DenseEncoder(Encoder):
    """Auto-encoded vectors.

    Example:
        >>> from muma.testing.fusion_logs import media_log
        >>> config = DenseConfig(column="attr_vector", inputs=6, width=4, epochs=1)
        >>> DenseEncoder(config).fit(media_log())(torch.tensor([0])).shape
        torch.Size([1, 4])
    """

    mean_K: Tensor
    sd_K: Tensor

    def __init__(self, config: DenseConfig) -> None:
        super().__init__(config)
        self.dense = config
        self._declare(dense=("vector_RK",))
        self._rng = generator(config.seed, config.name)
        self.register_buffer("mean_K", torch.zeros(config.inputs))
        self.register_buffer("sd_K", torch.ones(config.inputs))
        widths = [config.inputs, *config.hidden, config.width]
        self.encoder, self.decoder = mlp(widths, self._rng), mlp(widths[::-1], self._rng)
        for parameter in self.encoder.parameters():
            parameter.requires_grad = not config.frozen
        for parameter in self.decoder.parameters():
            parameter.requires_grad = False

    def reconstruct(self, index_N: Tensor) -> tuple[Tensor, Tensor]:
        """Standardised vectors of entities that have one, and their reconstruction; [N, K]."""
        x_NK = self.get_buffer("vector_RK")[self._slots(index_N)]
        return x_NK, self.decoder(self.encoder(x_NK))

    def _learn(self, log: EventLog) -> None:
        _, raw_RK = self._raw(log)
        if not len(raw_RK):
            raise DataError(f"source {self.name!r}: column {self.dense.column!r} is empty")
        sd_K = raw_RK.std(axis=0)
        self._put("mean_K", raw_RK.mean(axis=0))
        self._put("sd_K", np.where(sd_K > 0, sd_K, 1.0))
        self._pretrain(torch.from_numpy(self._standard(raw_RK)))

    def _pretrain(self, x_RK: Tensor) -> None:
        config = self.dense
        layers = [*self.encoder.parameters(), *self.decoder.parameters()]
        asked = [parameter.requires_grad for parameter in layers]
        for parameter in layers:
            parameter.requires_grad = True
        adam = torch.optim.Adam(layers, lr=config.learning_rate)
        for _ in progress.track(range(config.epochs), label=f"auto-encoder {self.name}"):
            for batch in torch.randperm(len(x_RK), generator=self._rng).split(config.batch):
                x_nK = x_RK[batch].to(self.slot_I.device)
                loss = nn.functional.mse_loss(self.decoder(self.encoder(x_nK)), x_nK)
                adam.zero_grad()
                loss.backward()
                adam.step()
        for parameter, wanted in zip(layers, asked, strict=True):
            parameter.requires_grad = wanted
            parameter.grad = None

    def _read(self, log: EventLog) -> Rows:
        index_R, raw_RK = self._raw(log)
        return Rows(index_R, {"vector_RK": self._standard(raw_RK)})

    def _standard(self, raw_RK: np.ndarray) -> np.ndarray:
        scaled = (raw_RK - self.mean_K.cpu().numpy()) / self.sd_K.cpu().numpy()
        return scaled.astype(np.float32)

    def _raw(self, log: EventLog) -> tuple[np.ndarray, np.ndarray]:
        """Entities with a vector, int64 [R], and their vectors, [R, K]."""
        config = self.dense
        found = needed(log, self.entity, config.column)
        vectors = found[config.column].to_list()
        wrong = [v for v in vectors if len(v) != config.inputs or not np.isfinite(v).all()]
        if wrong:
            raise DataError(
                f"source {self.name!r}: {len(wrong)} rows of {config.column!r} are no list of "
                f"{config.inputs} finite numbers; mend them or make them null"
            )
        raw_RK = np.array(vectors, dtype=np.float64).reshape(len(vectors), config.inputs)
        return found[KEYS[self.entity]].to_numpy(), raw_RK

    def _encode(self, slot_n: Tensor) -> Tensor:
        return self.encoder(self.get_buffer("vector_RK")[slot_n])
