"""The training loop: one file on Lightning Fabric, for the CPU, a GPU, or several by `torchrun`.

Each step derives its randomness from (seed, epoch, step), the order of batches from (seed, epoch)
and the learning rate from how far the training is: a run that was killed anywhere and called again
with the same folder ends with the same bits as one that was not.

    lr(p) = peak * p / w while p < w, then peak * (1 + cos(pi (p - w) / (1 - w))) / 2

p is the share of the training that is done, w the share of the warm-up.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from lightning_fabric import Fabric
from pydantic import Field
from torch import Tensor

from muma import progress as bars
from muma.config import Config
from muma.errors import TrainingError
from muma.interest import checkpoint
from muma.interest.batching import Batches, BatchingConfig
from muma.interest.checkpoint import Progress
from muma.interest.seeding import seed_torch
from muma.interest.task import Inputs, TrainingTask, to_device


class TrainingConfig(Config):
    """How to train.

    Attributes:
        epochs: passes over the windows.
        learning_rate: its peak.
        warmup: share of the steps in which the rate rises to its peak.
        floor: rate at the end, as a share of the peak.
        weight_decay: decoupled decay of matrices, as in AdamW.
        clip: greatest norm of a gradient; 0 does not clip.
        ema: decay of the running mean of the weights that is kept as the result; 0 keeps the last.
        patience: epochs without a better validation value before stopping; 0 never stops early.
        explode: a loss above this multiple of the first step's is an error.
        checkpoint_steps: steps between checkpoints; 0 writes one after each epoch.
        batching: windows and batches.
        precision: of the arithmetic; weights stay float32. `auto` is `bf16-mixed` where the processor
            computes in bfloat16, and `32-true` elsewhere, where emulating it costs several times more.
        accelerator: `cpu`, `cuda`, `mps`, or `auto`.
        devices: devices of this machine; under `torchrun` its number of processes.
        strategy: how several processes work together.
        threads: threads of one operation; 0 leaves it to torch. Another number gives other roundings.
    """

    epochs: int = Field(default=25, ge=1)
    learning_rate: float = Field(default=5e-3, gt=0)
    warmup: float = Field(default=0.05, ge=0, lt=1)
    floor: float = Field(default=0.0, ge=0, le=1)
    weight_decay: float = Field(default=0.0, ge=0)
    clip: float = Field(default=1.0, ge=0)
    ema: float = Field(default=0.0, ge=0, lt=1)
    patience: int = Field(default=0, ge=0)
    explode: float = Field(default=5.0, gt=1)
    checkpoint_steps: int = Field(default=0, ge=0)
    batching: BatchingConfig = BatchingConfig()
    precision: Literal["auto", "32-true", "16-mixed", "bf16-mixed", "64-true"] = "32-true"
    accelerator: str = "cpu"
    devices: int = Field(default=1, ge=1)
    strategy: str = "auto"
    threads: int = Field(default=0, ge=0)

    def rate(self, done: float) -> float:
        """Learning rate when the share `done` of the training is behind.

        Example:
            >>> config = TrainingConfig(learning_rate=1.0, warmup=0.5)
            >>> config.rate(0.25), config.rate(0.5), config.rate(0.75)
            (0.5, 1.0, 0.5)
        """
        if done < self.warmup:
            return self.learning_rate * done / self.warmup
        falling = (1 + math.cos(math.pi * (done - self.warmup) / (1 - self.warmup))) / 2
        return self.learning_rate * (self.floor + (1 - self.floor) * falling)


@dataclass
class Trained:
    """What a training leaves beside the weights in the task.

    Attributes:
        curve: one row an epoch: losses, rate, validation value, seconds, targets a second.
        moments: the optimiser's state by name, for going on later.
        best_epoch: the epoch whose weights were kept; -1 without validation.
    """

    curve: list[dict[str, Any]] = field(default_factory=list)
    moments: Mapping[str, Tensor] = field(default_factory=dict)
    best_epoch: int = -1


def train(
    task: TrainingTask,
    batches: Batches,
    config: TrainingConfig,
    *,
    seed: int,
    folder: Path | None = None,
    validate: Callable[[], float] | None = None,
    moments: Mapping[str, Tensor] | None = None,
) -> Trained:
    """Train `task` in place.

    Args:
        task: what to minimise; it holds the result afterwards.
        batches: what to train on.
        config: how.
        seed: everything random derives from it.
        folder: run folder for checkpoints and the curve; a checkpoint found there is continued.
        validate: value of the task's present weights, greater is better; asked after each epoch.
        moments: the optimiser's state to start from.

    Raises:
        TrainingError: the loss or a gradient is not finite, or the loss explodes; the task holds
            the weights of the step before.
        ArtifactError: the folder holds the checkpoint of another run.
    """
    if not len(batches):
        return Trained(moments=dict(moments or {}))
    with _threads(config.threads), torch.random.fork_rng():
        return _Loop(task, batches, config, seed, folder, validate, moments or {}).run()


class _Loop:
    def __init__(
        self,
        task: TrainingTask,
        batches: Batches,
        config: TrainingConfig,
        seed: int,
        folder: Path | None,
        validate: Callable[[], float] | None,
        moments: Mapping[str, Tensor],
    ) -> None:
        precision = _precision(config)
        config = config.model_copy(update={"precision": precision})
        self.task, self.batches, self.config, self.seed = task, batches, config, seed
        self.folder, self.validate = folder, validate
        self.fabric = Fabric(
            accelerator=config.accelerator,
            devices=config.devices,
            strategy=config.strategy,
            precision=precision,
        )
        self.fabric.launch()
        self.optimizer = _optimizer(task, config)
        self.module, self.wrapped = self.fabric.setup(task, self.optimizer)
        checkpoint.install_moments(task, self.optimizer, moments)
        self.ema = checkpoint.weights(task) if config.ema else {}
        self.best: dict[str, Tensor] = {}
        self.progress = Progress()
        self.run_id = checkpoint.fingerprint(
            config.model_dump_json(), str(seed), *_data(batches), *_start(task, moments)
        )

    def run(self) -> Trained:
        self._resume()
        epochs = range(self.progress.epoch, self.config.epochs)
        for _ in bars.track(epochs, label="training"):
            if self._stale():
                break
            self._epoch()
        final = self.best or self.ema
        if final:
            checkpoint.install(self.task, final)
        moments = checkpoint.moments(self.task, self.optimizer)
        self.task.to("cpu")
        cpu = {name: value.cpu() for name, value in moments.items()}
        return Trained(self.progress.curve, cpu, self.progress.best_epoch)

    def _epoch(self) -> None:
        at, fabric = self.progress, self.fabric
        began, targets = time.perf_counter(), 0
        steps = self.batches.steps(at.epoch, world=fabric.world_size)
        self.task.train()
        batches = self.batches.epoch(
            at.epoch, skip=at.step, rank=fabric.global_rank, world=fabric.world_size
        )
        for batch in bars.track(batches, label=f"epoch {at.epoch + 1}", total=steps - at.step):
            inputs = to_device(self.task.collate(batch), fabric.device)
            self._step(inputs, steps)
            targets += batch.targets
            every = self.config.checkpoint_steps
            if every and at.total % every == 0 and at.step < steps:
                self._save()
        seconds = time.perf_counter() - began
        row = {f"train_{name}": value / steps for name, value in at.loss_sum.items()}
        row |= {"epoch": at.epoch + 1, "rate": self._rate(steps), "seconds": round(seconds, 3)}
        row["targets_per_second"] = round(targets * fabric.world_size / seconds, 1)
        if self.validate is not None:
            row["value"] = self._value()
        at.curve.append(row)
        at.epoch, at.step, at.loss_sum = at.epoch + 1, 0, {}
        self._save()

    def _step(self, inputs: Inputs, steps: int) -> None:
        at, config = self.progress, self.config
        seed_torch(self.seed, "step", at.epoch, at.step, self.fabric.global_rank)
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(steps)
        losses = self.module(inputs)
        values = {name: float(value.detach()) for name, value in losses.items()}
        self._guard(values["loss"], "loss")
        self.fabric.backward(losses["loss"])
        norm = self.fabric.clip_gradients(
            self.module,
            self.wrapped,
            max_norm=config.clip or math.inf,
            error_if_nonfinite=False,
        )
        if config.precision != "16-mixed":  # there the scaler skips such a step by itself
            self._guard(float(norm) if norm is not None else 0.0, "gradient's norm", limit=False)
        self.wrapped.step()
        self.wrapped.zero_grad()
        at.step, at.total = at.step + 1, at.total + 1
        for name, value in values.items():
            at.loss_sum[name] = at.loss_sum.get(name, 0.0) + value
        if self.ema:
            self._average()

    def _rate(self, steps: int) -> float:
        at = self.progress
        return self.config.rate((at.epoch + (at.step + 1) / (steps + 1)) / self.config.epochs)

    def _guard(self, value: float, what: str, *, limit: bool = True) -> None:
        at = self.progress
        if at.first_loss is None:
            at.first_loss = value
        most = self.config.explode * max(at.first_loss, 1.0) if limit else math.inf
        if math.isfinite(value) and value <= most:
            return
        self.wrapped.zero_grad()
        kept = f"; the last checkpoint in {self.folder} is kept" if self.folder else ""
        raise TrainingError(
            f"the {what} is {value:.4g} at step {at.step + 1} of epoch {at.epoch + 1}"
            f"{f' (allowed: {most:.4g})' if limit else ''}; try a lower learning_rate (now "
            f"{self.config.learning_rate:g}), a longer warmup, a smaller clip, or precision "
            f"32-true{kept}",
            epoch=at.epoch,
            step=at.step,
        )

    @torch.no_grad()
    def _average(self) -> None:
        """Running mean of the weights; its first steps forget the random start quickly."""
        done = self.progress.total
        decay = min(self.config.ema, (1 + done) / (10 + done))
        for name, value in self.task.named_parameters():
            self.ema[name].lerp_(value, 1 - decay)

    def _value(self) -> float:
        """Validation value of the weights that would be the result; the best ones are kept."""
        at, live = self.progress, checkpoint.weights(self.task)
        result = self.ema or live
        checkpoint.install(self.task, result)
        self.task.eval()
        value = self.validate() if self.validate is not None else 0.0
        checkpoint.install(self.task, live)
        self._guard(value, "validation value", limit=False)
        if at.best_value is None or value > at.best_value:
            at.best_value, at.best_epoch = value, at.epoch
            if self.config.patience:
                self.best = {name: tensor.clone() for name, tensor in result.items()}
        return value

    def _stale(self) -> bool:
        at, patience = self.progress, self.config.patience
        return bool(patience) and at.best_epoch >= 0 and at.epoch - 1 - at.best_epoch >= patience

    def _save(self) -> None:
        if self.folder is None:
            return
        if self.fabric.is_global_zero:
            tensors = {
                "weights": checkpoint.weights(self.task),
                "moments": checkpoint.moments(self.task, self.optimizer),
                "ema": self.ema,
                "best": self.best,
            }
            self.folder.mkdir(parents=True, exist_ok=True)
            checkpoint.save(self.folder, self.progress, tensors, run=self.run_id)
        self.fabric.barrier()

    def _resume(self) -> None:
        found = None if self.folder is None else checkpoint.load(self.folder, run=self.run_id)
        if found is None:
            return
        self.progress, groups = found
        device = self.fabric.device
        checkpoint.install(self.task, groups["weights"])
        checkpoint.install_moments(self.task, self.optimizer, groups["moments"])
        self.ema = {name: value.to(device) for name, value in groups["ema"].items()}
        self.best = {name: value.to(device) for name, value in groups["best"].items()}


def _precision(
    config: TrainingConfig,
) -> Literal["32-true", "16-mixed", "bf16-mixed", "64-true"]:
    """The one asked for; what `auto` is on this machine."""
    if config.precision != "auto":
        return config.precision
    if config.accelerator == "cuda" or (config.accelerator == "auto" and torch.cuda.is_available()):
        has = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        found = torch.cpu.get_capabilities()
        has = bool(found.get("avx512_bf16") or found.get("amx_bf16"))
    return "bf16-mixed" if has else "32-true"


def _optimizer(task: TrainingTask, config: TrainingConfig) -> torch.optim.Optimizer:
    """AdamW; biases, gains and other vectors do not decay."""
    parameters = list(task.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": config.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    fused = config.precision != "16-mixed"  # a fused step cannot be combined with clipping there
    return torch.optim.AdamW(groups, lr=config.learning_rate, fused=fused)


def _data(batches: Batches) -> list[Any]:
    events = batches.histories
    return [batches.config.model_dump_json(), events.user_E, events.item_E, events.time_E]


def _start(task: TrainingTask, moments: Mapping[str, Tensor]) -> list[Any]:
    """The weights a run begins with: a checkpoint of another start is another run's."""
    tensors = [*task.parameters(), *moments.values()]
    return [tensor.detach().cpu().numpy() for tensor in tensors]


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
