"""The trainer: the same bits after a kill, guards that fire, averages, stopping, two processes."""

import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from muma.config import parse
from muma.errors import ArtifactError, TrainingError
from muma.interest import checkpoint
from muma.interest.batching import Batches
from muma.interest.histories import histories
from muma.interest.model import InterestConfig, InterestModel
from muma.interest.trainer import TrainingConfig, train
from muma.progress import reporting
from muma.testing.logs import random_log

LOG = random_log(9, n_users=40, n_events=600)
TINY = {
    "network": {"width": 8, "max_length": 12, "dropout": 0.2, "attention": {
        "use": "muma.interest.transformer.Transformer", "blocks": 1, "heads": 1}},
    "training": {"epochs": 3, "ema": 0.9, "threads": 1, "batching": {"length": 12, "size": 8}},
}  # fmt: skip


def config(**training):
    return parse(InterestConfig, {**TINY, "training": {**TINY["training"], **training}})


def fitted(folder=None, *, validation_users=0, seed=1, **training):
    changes = {"validation_users": validation_users, "seed": seed}
    return InterestModel(config(**training).model_copy(update=changes)).fit(LOG, folder=folder)


def weights_of(model):
    return checkpoint.weights(model._task)


def assert_same_bits(one, two):
    assert one.keys() == two.keys()
    for name in one:
        assert torch.equal(one[name], two[name]), name


class Killed(Exception):
    pass


class Killer:
    """A reporter of progress that ends the run after some steps, as a signal would."""

    def __init__(self, steps):
        self.left, self.epochs = steps, set()

    def start(self, label, total):
        handle = len(self.epochs) + 1
        if label.startswith("epoch "):
            self.epochs.add(handle)
        return handle

    def advance(self, task, amount):
        if task in self.epochs:
            self.left -= 1
            if self.left == 0:
                raise Killed

    def finish(self, task):
        pass


STOPPING = {"validation_users": 10, "patience": 3}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Runs that nobody killed, by their steps between checkpoints."""
    folder = tmp_path_factory.mktemp("whole")
    return {n: fitted(folder / str(n), checkpoint_steps=n, **STOPPING) for n in (0, 2)}


@pytest.mark.parametrize(("every", "steps"), [(0, 1), (0, 7), (2, 4), (2, 5), (2, 14)])
def test_a_killed_run_ends_with_the_same_bits(tmp_path, whole, every, steps):
    settings = {"checkpoint_steps": every, **STOPPING}
    with pytest.raises(Killed), reporting(Killer(steps)):
        fitted(tmp_path, **settings)
    again = fitted(tmp_path, **settings)
    assert_same_bits(weights_of(whole[every]), weights_of(again))
    assert_same_bits(whole[every]._moments, again._moments)
    assert numbers(whole[every]) == numbers(again)
    assert fitted(tmp_path, **settings).curve == again.curve  # nothing is left to do


def numbers(model):
    timed = ("seconds", "targets_per_second")
    return [{k: v for k, v in row.items() if k not in timed} for row in model.curve]


def test_the_curve_is_in_the_run_folder(tmp_path):
    model = fitted(tmp_path, validation_users=10)
    rows = [json.loads(line) for line in (tmp_path / "curve.jsonl").read_text().splitlines()]
    assert rows == model.curve
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert rows[-1]["train_loss"] < rows[0]["train_loss"]
    assert all(0 <= row["value"] <= 1 for row in rows)


def test_another_run_is_not_continued(tmp_path):
    fitted(tmp_path)
    with pytest.raises(ArtifactError, match="another config or other data"):
        fitted(tmp_path, learning_rate=0.1)
    with pytest.raises(ArtifactError, match="another config or other data"):
        fitted(tmp_path, seed=2)


def test_the_callers_randomness_goes_on_untouched():
    torch.manual_seed(1)
    wanted = torch.rand(3)
    torch.manual_seed(1)
    fitted()
    assert torch.equal(torch.rand(3), wanted)


def test_seeds_decide():
    assert_same_bits(weights_of(fitted()), weights_of(fitted()))
    one, two = weights_of(fitted(seed=1)), weights_of(fitted(seed=2))
    assert not torch.equal(one["network.table.weight"], two["network.table.weight"])


def test_rate_rises_and_falls():
    found = TrainingConfig(learning_rate=2.0, warmup=0.1, floor=0.25)
    rates = [found.rate(done) for done in np.linspace(0, 1, 101)]
    assert rates[0] == 0.0
    assert rates[10] == pytest.approx(2.0)
    assert rates[-1] == pytest.approx(0.5)
    assert (np.diff(rates[:11]) > 0).all()
    assert (np.diff(rates[10:]) < 0).all()
    assert TrainingConfig(warmup=0.0, learning_rate=1.0).rate(0.0) == 1.0


def parts(**training):
    model = InterestModel(config(**training))
    model.fit(LOG)
    return model._task, Batches(model.config.training.batching, histories(LOG), seed=1)


class Poison(torch.nn.Module):
    """An objective that goes wrong at a given step."""

    def __init__(self, inner, at, factor, gradient=False):
        super().__init__()
        self.inner, self.left, self.factor, self.gradient = inner, at, factor, gradient

    def forward(self, h_ND, table, targets):
        loss = self.inner(h_ND, table, targets)["loss"]
        self.left -= 1
        if self.left:
            return {"loss": loss}
        if self.gradient:  # finite loss, gradient of sqrt at 0
            return {"loss": loss + (h_ND[0, 0] - h_ND[0, 0].detach()).abs().sqrt() * 0 + (
                (h_ND[0, 0] - h_ND[0, 0].detach()).sqrt()
            )}  # fmt: skip
        return {"loss": loss * self.factor}


@pytest.mark.parametrize(
    ("factor", "gradient", "message"),
    [
        (math.nan, False, r"the loss is nan at step 3 of epoch 1"),
        (math.inf, False, r"the loss is inf at step 3"),
        (1e3, False, r"the loss is .* at step 3 .*\(allowed: .*\); try a lower learning_rate"),
        (1.0, True, r"gradient's norm is (nan|inf) at step 3"),
    ],
)
def test_what_goes_wrong_is_an_error_and_the_weights_stay_good(tmp_path, factor, gradient, message):
    task, batches = parts(epochs=1)
    task.objective = Poison(task.objective, 3, factor, gradient)
    settings = config(checkpoint_steps=2).training
    with pytest.raises(TrainingError, match=message) as caught:
        train(task, batches, settings, seed=1, folder=tmp_path)
    assert (caught.value.epoch, caught.value.step) == (0, 2)
    assert all(torch.isfinite(value).all() for value in task.parameters())
    kept = np.load(next(tmp_path.glob("checkpoint/data-*/weights.npz")))
    for name, value in task.named_parameters():  # the checkpoint was written after step 2
        np.testing.assert_array_equal(kept[name], value.detach().numpy())


def test_a_validation_value_that_is_no_number_is_an_error():
    task, batches = parts(epochs=1)
    with pytest.raises(TrainingError, match="validation value is nan"):
        train(task, batches, config().training, seed=1, validate=lambda: math.nan)


def test_training_stops_early_and_keeps_the_best():
    task, batches = parts(epochs=1)
    values, seen = iter([0.1, 0.3, 0.2, 0.2, 0.9]), []

    def validate():
        seen.append(checkpoint.weights(task))
        return next(values)

    settings = config(epochs=5, patience=2).training
    trained = train(task, batches, settings, seed=1, validate=validate)
    assert [row["value"] for row in trained.curve] == [0.1, 0.3, 0.2, 0.2]
    assert trained.best_epoch == 1
    assert_same_bits(checkpoint.weights(task), seen[1])


def test_the_average_is_the_running_mean_of_the_weights():
    task, batches = parts(epochs=1)
    name, history = "network.table.weight", [checkpoint.weights(task)["network.table.weight"]]
    live = dict(task.named_parameters())[name]
    hook = task.register_forward_pre_hook(lambda *_: history.append(live.detach().clone()))
    trained = train(task, batches, config(epochs=1, ema=0.5).training, seed=1)
    hook.remove()
    # history[1] is the start again, then the weights before each later step; the last is unseen
    mean = history[0]
    for done, value in enumerate(history[2:], start=1):
        mean = torch.lerp(mean, value, 1 - min(0.5, (1 + done) / (10 + done)))
    assert len(history) - 1 == trained.curve[0]["epoch"] * batches.steps(0)
    apart = (dict(task.named_parameters())[name] - mean).norm() / mean.norm()
    assert apart < 0.05  # one more step of the mean


def test_precisions_train():
    losses = [fitted(precision=kind).curve[-1]["train_loss"] for kind in ("32-true", "bf16-mixed")]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


@pytest.mark.parametrize(("has", "kind"), [(True, "bf16-mixed"), (False, "32-true")])
def test_auto_is_what_the_processor_can(has, kind, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": has})
    curves = [fitted(precision=one).curve for one in ("auto", kind)]
    assert curves[0][-1]["train_loss"] == curves[1][-1]["train_loss"]


@pytest.mark.parametrize("gate", ["gated.GatedFusion", "timed.TimedFusion"])
def test_a_decay_trains_in_mixed_precision(gate):
    """The recurrence stays in single precision, the other branch does not; the gate joins both."""
    home = "muma.interest"
    fading = {"use": f"{home}.decays.per_dimension.PerDimension"}
    changes = {
        "recurrent": {"use": f"{home}.decayed_lstm.DecayedLSTM", "decay": fading},
        "fusion": {"use": f"{home}.gates.{gate}"},
    }
    losses = []
    for kind in ("32-true", "bf16-mixed"):
        settings = {**TINY, "network": {**TINY["network"], **changes}}
        settings["training"] = {**TINY["training"], "precision": kind}
        losses.append(InterestModel(parse(InterestConfig, settings)).fit(LOG).curve[-1])
    assert losses[0]["train_loss"] == pytest.approx(losses[1]["train_loss"], rel=0.02)


@pytest.mark.slow
def test_two_processes_agree(tmp_path):
    """`torchrun` with two processes: both end with the same weights, and they learn."""
    script = tmp_path / "run.py"
    script.write_text(
        "import os, torch\n"
        "from muma.config import parse\n"
        "from muma.interest import checkpoint\n"
        "from muma.interest.model import InterestConfig, InterestModel\n"
        "from muma.testing.logs import random_log\n"
        f"settings = {TINY!r}\n"
        "settings['training'] |= {'devices': 2, 'strategy': 'ddp'}\n"
        "model = InterestModel(parse(InterestConfig, settings))\n"
        "model.fit(random_log(9, n_users=40, n_events=600))\n"
        "total = sum(float(v.double().sum()) for v in checkpoint.weights(model._task).values())\n"
        f"open(f'{tmp_path}/' + os.environ['RANK'], 'w').write("
        'f\'{total!r} {model.curve[0]["train_loss"]} {model.curve[-1]["train_loss"]}\')\n'
    )
    subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)],
        check=True, capture_output=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    found = [(tmp_path / rank).read_text().split() for rank in ("0", "1")]
    assert found[0][0] == found[1][0]
    assert float(found[0][2]) < float(found[0][1])
