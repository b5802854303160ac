"""What the interest network costs: training against RecBole, the decayed LSTM, serving, memory.

    python benchmarks/interest_speed.py --json
    python benchmarks/interest_speed.py --parts lstm serving --json
    python benchmarks/interest_speed.py --quick --json

All of it runs on one thread and is timed in CPU seconds, which are the seconds of an idle machine.
`--parts` measures some of it. In the order of the keys:

1. training on MovieLens 100K without each user's last two items, histories of 50 events (RecBole's
   default), D = 64, full cross-entropy: (user, position) targets a CPU second of our trainer and of
   RecBole's own loader, model and optimiser (peer_recbole.py), each with its default sizes;
   CPU seconds of training to a validation NDCG@10 of 0.06 (unmasked), since epochs differ. RecBole's
   SASRec is stopped after 300; where that was not enough, the best value it had is told;
2. forward and backward of the decayed LSTM, 64 histories of 200 events, over `nn.LSTM`'s time; they
   alternate and the best of each counts; `decayed_lstm_ratio` is the worst of all forms and widths of
   the portable form, `decayed_lstm_cpp_ratio` of the C++ kernel (null where it cannot be compiled);
3. serving by ONNX Runtime, batch of one, array handling included: one event into a state, and the
   user vector from 50 events or from a state; the same from torch;
4. peak memory of a training above that of its imports, as the catalogue or the histories grow.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import common
from movielens import folds, movielens
from muma.artifact import read, write
from muma.config import Spec, parse
from muma.errors import ConfigError, MissingExtraError
from muma.features.feature import Sequences
from muma.interest import lstm_kernel
from muma.interest.batch import events_of
from muma.interest.decayed_lstm import DecayedLSTM, DecayedLSTMConfig
from muma.interest.export import export
from muma.interest.model import InterestConfig, InterestModel
from muma.interest.network import InterestNetwork, NetworkConfig
from muma.interest.onnx_model import OnnxModel
from muma.interest.state import States
from muma.interest.table import ItemTable
from muma.progress import reporting
from muma.rng import derive
from muma.testing.logs import SECOND, log_of

HERE = Path(__file__).parent
ROOM = "muma.interest"
WIDTH, LENGTH = 64, 50
GOAL, LIMIT = 0.06, 300.0  # a validation NDCG@10, and CPU seconds of training to reach it
DECAYS = {
    "eq6": "exponential.Exponential",
    "learned_rate": "learned_rate.LearnedRate",
    "per_dimension": "per_dimension.PerDimension",
    "t_lstm": "short_term.ShortTerm",
}
PREFIX = {"portable": "decayed_lstm_ratio", "cpp": "decayed_lstm_cpp_ratio"}
LEARNED = {"use": f"{ROOM}.transformer_positions.learned.LearnedPosition"}
ATTENTION = {"use": f"{ROOM}.transformer.Transformer"}
HYBRID = {
    "recurrent": {
        "use": f"{ROOM}.decayed_lstm.DecayedLSTM",
        "decay": {"use": f"{ROOM}.decays.per_dimension.PerDimension"},
    },
    "attention": ATTENTION,
}
LSTM = {**HYBRID, "attention": None}
MODELS: dict[str, dict[str, Any]] = {
    "sasrec": {"recurrent": None, "attention": {**ATTENTION, "position": LEARNED}},
    "gru4rec": {"recurrent": {"use": f"{ROOM}.branches.gru.GRU"}, "attention": None},
    "hybrid": HYBRID,
}
PEERS = {"sasrec": "SASRec", "gru4rec": "GRU4Rec"}


def config(
    network: dict[str, Any], *, length: int, epochs: int, size: int, windows: str = "all"
) -> InterestConfig:
    """A model that reads ids only, on one thread."""
    network = {"width": WIDTH, "max_length": length, "kinds": False, "dwell": False, **network}
    batching = {"length": length, "size": size, "windows": windows}
    training = {"epochs": epochs, "threads": 1, "batching": batching}
    return parse(InterestConfig, {"network": network, "training": training})


class EpochClock:
    """A progress reporter that takes the CPU seconds of each epoch."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._began: dict[int, float] = {}

    def start(self, label: str, total: float | None) -> int:  # noqa: ARG002
        handle = len(self._began) + 1
        self._began[handle] = time.process_time() if label.startswith("epoch") else float("nan")
        return handle

    def advance(self, task: int, amount: float) -> None:
        pass

    def finish(self, task: int) -> None:
        spent = time.process_time() - self._began[task]
        if spent == spent:
            self.seconds.append(spent)


def training(*, epochs: int) -> dict[str, float]:
    """Targets a CPU second of our trainer, in its best epoch."""
    log, found = folds(movielens())[0].log, {}
    for name, network in MODELS.items():
        clock = EpochClock()
        with reporting(clock):
            model = InterestModel(config(network, length=LENGTH, epochs=epochs, size=128)).fit(log)
        row = model.curve[-1]
        targets = row["targets_per_second"] * row["seconds"]
        found[f"training_{name}_targets_per_s"] = targets / min(clock.seconds)
    return found


def peers(batches: int) -> dict[str, float]:
    """RecBole's models, each in a process of its own."""
    found = {}
    for ours, theirs in PEERS.items():
        script, *arguments = HERE / "peer_recbole.py", theirs, str(LENGTH), str(batches)
        result = common.in_fresh_process(script, *arguments, python=common.PEERS)
        found[f"training_recbole_{ours}_targets_per_s"] = result["targets_per_s"]
        found[f"training_recbole_{ours}_peak_mib"] = result["peak_mib"]
    return found


def against_peers(*, quick: bool) -> dict[str, Any]:
    """Training of both, and ours over theirs; ours alone where the peers' environment is missing."""
    result = training(epochs=1 if quick else 3)
    if not common.PEERS.exists():
        print("no peers to compare with: make .venv-peers/.ready", file=sys.stderr)
        return result
    result |= peers(1 if quick else 5)
    for name in PEERS:
        ours, theirs = (result[f"training_{who}{name}_targets_per_s"] for who in ("", "recbole_"))
        result[f"training_ratio_recbole_{name}"] = ours / theirs
    return result


def until(goal: float, limit: float) -> dict[str, object]:
    """CPU seconds of training to a validation NDCG@10, ours and RecBole's SASRec.

    The validation items are each user's last but one; full ranking, nothing masked. Null: not within
    the limit (ours: 20 epochs).
    """
    log, found = folds(movielens())[1].log, {"until_ndcg10": goal, "until_limit_s": limit}
    for name, network in MODELS.items():
        clock = EpochClock()
        settings = config(network, length=LENGTH, epochs=20, size=128)
        settings = settings.model_copy(update={"validation_users": log.n_users})
        with reporting(clock):
            curve = InterestModel(settings).fit(log).curve
        spent = np.cumsum(clock.seconds)
        reached = [float(at) for at, row in zip(spent, curve, strict=True) if row["value"] >= goal]
        found[f"until_{name}_s"] = reached[0] if reached else None
        found[f"until_{name}_best_ndcg10"] = max(row["value"] for row in curve)
    arguments = ("SASRec", str(LENGTH), "0", str(goal), str(limit))
    result = common.in_fresh_process(HERE / "peer_recbole.py", *arguments, python=common.PEERS)
    found["until_recbole_sasrec_s"] = result["seconds"]
    found["until_recbole_sasrec_spent_s"] = result["spent"]
    found["until_recbole_sasrec_best_ndcg10"] = result["best"]
    return found


def decayed_lstm(width: int, *, repeats: int, kernels: list[str]) -> dict[str, float]:
    """Each form's forward and backward time over that of torch's LSTM."""
    shape = (64, 200)
    x_BTD = torch.randn(*shape, width, requires_grad=True)
    gap_BT, grad_BTD = torch.rand(shape) * 1e6, torch.randn(*shape, width)
    plain = DecayedLSTM(DecayedLSTMConfig(width=width))
    found = {}
    for name, decay in DECAYS.items():
        spec = Spec.model_validate({"use": f"{ROOM}.decays.{decay}"})
        forms = {"nn_lstm": plain}
        for kernel in kernels:
            config = {"width": width, "decay": spec, "kernel": kernel}
            forms[kernel] = DecayedLSTM(DecayedLSTMConfig.model_validate(config))
        best = dict.fromkeys(forms, float("inf"))
        for turn in range(repeats + 1):
            for form, lstm in forms.items():
                began = time.process_time()
                lstm(x_BTD, gap_BT).backward(grad_BTD)
                if turn:
                    best[form] = min(best[form], time.process_time() - began)
        found[f"nn_lstm_d{width}_ms"] = 1e3 * best["nn_lstm"]
        for kernel in kernels:
            found[f"{PREFIX[kernel]}_{name}_d{width}"] = best[kernel] / best["nn_lstm"]
    return found


def decayed_lstms(*, quick: bool) -> dict[str, Any]:
    """Both widths, and the worst of each kernel."""
    found, result = kernels(), {}
    for width in (64,) if quick else (64, 128):
        result |= decayed_lstm(width, repeats=3 if quick else 15, kernels=found)
    for prefix in PREFIX.values():
        ratios = [value for key, value in result.items() if key.startswith(f"{prefix}_")]
        result[prefix] = max(ratios, default=None)
    return result


def kernels() -> list[str]:
    """What can train a decay on this machine."""
    try:
        lstm_kernel.load()
    except (MissingExtraError, ConfigError) as error:
        print(error, file=sys.stderr)
        return ["portable"]
    return ["portable", "cpp"]


def serving(*, repeats: int) -> dict[str, float]:
    """Medians of one event, of 50 events and of a state, for the paper's network."""
    network = InterestNetwork(
        NetworkConfig.model_validate({"width": WIDTH, **HYBRID}), ItemTable(WIDTH, items=10_000)
    ).eval()
    with tempfile.TemporaryDirectory() as folder:
        with write(f"{folder}/m", kind="interest-onnx", version=1) as writer:
            export(network, writer)
        model = OnnxModel(read(f"{folder}/m", kind="interest-onnx", version=1))
    rng = derive(1, "serving")
    item_BL = rng.integers(0, 10_000, (1, LENGTH))
    time_BL = 10**15 + rng.integers(0, 10**10, (1, LENGTH)).cumsum(1)
    one_BL = np.ones_like(item_BL)
    history = Sequences(item_BL, time_BL, one_BL, one_BL, one_BL * 30_000, one_BL > 0)
    states = States.empty(1, model.state_shape)

    def step(place: int) -> States:
        return model.step(
            states, item_B=item_BL[:, place], kind_B=one_BL[:, place],
            dwell_B=one_BL[:, place] * 30_000, time_B=time_BL[:, place],
        )  # fmt: skip

    for place in range(LENGTH):
        states = step(place)
    from_state_BD = model.user_of(states)
    from_history_BD = model.interests(history).user_BD
    events = events_of(history, model.row_I)
    one = events.map(lambda value: value[:, -1:])
    state = network.start(1)

    @torch.no_grad()
    def torch_user() -> torch.Tensor:
        return network.user(events_of(history, model.row_I))

    gap = np.abs(torch_user().numpy() - from_history_BD).max()
    return {
        "one_step_ms": median_ms(lambda: step(-1), repeats),
        "user_vector_ms": median_ms(lambda: model.interests(history), repeats),
        "user_vector_from_state_ms": median_ms(lambda: model.user_of(states), repeats),
        "one_step_torch_ms": median_ms(lambda: network.step(one, state), repeats),
        "user_vector_torch_ms": median_ms(torch_user, repeats),
        "onnx_minus_torch_greatest": float(gap),
        "state_minus_history_greatest": float(np.abs(from_state_BD - from_history_BD).max()),
    }


def median_ms(work: Callable[[], Any], repeats: int) -> float:
    """Median CPU time of a call in milliseconds, all threads together."""
    times = []
    for _ in range(repeats + 10):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return 1e3 * statistics.median(times[10:])


def memory(items: int, length: int) -> dict[str, float]:
    """Peak memory of one epoch of the decayed LSTM over the newest `length` events of 128 users.

    Every item occurs somewhere in their histories, so that each has a row.
    """
    before, users = common.peak_mib(), 128
    events = max(length + 1, -(-items // users))
    log = log_of(
        {
            "user_id": np.repeat(np.arange(users), events),
            "item_id": derive(2, "memory").permutation(np.arange(users * events) % items),
            "timestamp": np.tile(np.arange(events), users) * SECOND,
        }
    )
    settings = config(LSTM, length=length, epochs=1, size=64, windows="newest")
    model = InterestModel(settings).fit(log)
    return {"mib": common.peak_mib() - before, "rows": float(len(model.items().item_N))}


def growth(*, quick: bool) -> dict[str, float]:
    """Memory at three sizes of the catalogue and three lengths, and what one more of each costs."""
    found: dict[str, float] = {}
    sizes = {
        "item": [(n, 20) for n in ((10_000, 40_000) if quick else (50_000, 100_000, 200_000))],
        "position": [(1_000, n) for n in ((100, 400) if quick else (200, 400, 800))],
    }
    for place, (name, settings) in enumerate(sizes.items()):
        mib = []
        for setting in settings:
            result = common.in_fresh_process(__file__, "--memory", *map(str, setting))
            mib.append(result["mib"])
            found[f"memory_{setting[place]}_{name}s_mib"] = result["mib"]
        slopes = 1024 * np.diff(mib) / np.diff([setting[place] for setting in settings])
        found[f"memory_{name}_kib"] = float(slopes[0])
        found[f"memory_{name}_later_kib"] = float(slopes[-1])
    return found


PARTS: dict[str, Callable[..., dict[str, Any]]] = {
    "training": against_peers,
    "until": lambda *, quick: {} if quick else until(GOAL, LIMIT),
    "lstm": decayed_lstms,
    "serving": lambda *, quick: serving(repeats=100 if quick else 1000),
    "memory": growth,
}


def main() -> None:
    """Command line."""
    if sys.argv[1:2] == ["--memory"]:
        print(json.dumps(memory(*map(int, sys.argv[2:]))))
        return
    flags = common.parser(__doc__)
    flags.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    options = flags.parse_args()
    result: dict[str, Any] = {}
    for part in options.parts:
        result |= PARTS[part](quick=options.quick)
    common.emit({**result, "quick": options.quick}, as_json=options.json)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
