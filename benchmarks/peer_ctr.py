"""DCN-V2 and DeepFM of DeepCTR-Torch on given features; runs in the peers' environment only.

    python benchmarks/peer_ctr.py DCN input.npz output.npz 6 3

The model's name, the features, where its log-odds go, the number of trials and of seeds. `input.npz`
holds, for `train`, `valid`, `later`, `test` and `once`, standardised numbers `ROLE x` [N, D] and category codes
`ROLE c` [N, C] (0 is unknown), and for each label `ROLE y LABEL` [N]; `sizes` [C] are the numbers of
codes. A trial draws learning rate, dropout, widths, cross layers, weight decay and batch size at random;
its epochs stop early by the log loss of `valid`. The trial with the smallest sum of those losses over
the labels is fitted again from other seeds. Written: `LABEL later`, `LABEL test` and `LABEL once`,
log-odds [seeds, N], and `LABEL valid`, the losses of the seeds. Prints one JSON object: the settings chosen.

Wang et al., "DCN V2: improved deep & cross network", WWW 2021: the library's `DCN` with matrices for
cross weights. Guo et al., "DeepFM", IJCAI 2017. The library's networks and penalties; the loop is here.
"""

from __future__ import annotations

import copy
import json
import sys
import time
from importlib.metadata import version

import numpy as np
import torch
from deepctr_torch.inputs import DenseFeat, SparseFeat
from deepctr_torch.models import DCN, DeepFM

ROLES = ("train", "valid", "later", "test", "once")
WIDTHS = [(64,), (128, 64), (256, 128)]
EPOCHS, PATIENCE = 20, 2


def drawn(rng: np.random.Generator) -> dict[str, object]:
    """Settings of one trial."""
    return {
        "learning_rate": float(10 ** rng.uniform(-3.5, -2.3)),
        "dropout": float(rng.choice([0.0, 0.2, 0.4])),
        "hidden": WIDTHS[rng.integers(len(WIDTHS))],
        "cross": int(rng.integers(1, 4)),
        "decay": float(10 ** rng.uniform(-6, -3)),
        "batch": int(rng.choice([512, 2048])),
    }


def network(name: str, settings: dict, numbers: int, sizes: np.ndarray, seed: int):
    """The library's network with a bare log-odds as output (`regression` leaves the sigmoid out)."""
    columns = [DenseFeat("numbers", numbers)] if numbers else []
    columns += [
        SparseFeat(f"code{place}", int(size), embedding_dim=8) for place, size in enumerate(sizes)
    ]
    shared = {
        "dnn_hidden_units": settings["hidden"],
        "dnn_dropout": settings["dropout"],
        "dnn_use_bn": True,
        "l2_reg_embedding": settings["decay"],
        "l2_reg_dnn": settings["decay"],
        "seed": seed,
        "task": "regression",
    }
    if name == "DCN":
        shared |= {
            "cross_parameterization": "matrix",
            "cross_num": settings["cross"],
            "l2_reg_cross": settings["decay"],
        }
    return {"DCN": DCN, "DeepFM": DeepFM}[name](columns, columns, **shared)


def log_odds(model, x_ND: torch.Tensor) -> np.ndarray:
    """The network's answer to rows."""
    model.eval()
    with torch.no_grad():
        parts = [model(part).squeeze(1) for part in x_ND.split(8192)]
    return torch.cat(parts).numpy().astype(np.float64)


def fitted(name: str, settings: dict, data: dict, label: str, seed: int, epochs: int):
    """A network stopped early by `valid`, and its log loss there."""
    torch.manual_seed(seed)
    model = network(name, settings, data["numbers"], data["sizes"], seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings["learning_rate"])
    x_ND, y_N = data["train"], data[f"train y {label}"]
    best, kept, since = float("inf"), None, 0
    for _ in range(epochs):
        model.train()
        for rows in torch.randperm(len(y_N)).split(settings["batch"]):
            optimizer.zero_grad()
            loss = torch.nn.functional.binary_cross_entropy_with_logits(
                model(x_ND[rows]).squeeze(1), y_N[rows]
            )
            (loss + model.get_regularization_loss().sum() / len(rows)).backward()
            optimizer.step()
        margin_N, valid_N = log_odds(model, data["valid"]), data[f"valid y {label}"].numpy()
        found = float(np.mean(np.logaddexp(0, margin_N) - valid_N * margin_N))
        if found < best:
            best, kept, since = found, copy.deepcopy(model.state_dict()), 0
        elif (since := since + 1) >= PATIENCE:
            break
    if kept is not None:
        model.load_state_dict(kept)
    return model, best


def main(name: str, source: str, target: str, trials: int, seeds: int, epochs: int) -> dict:
    """Tune, fit from some seeds, write the log-odds."""
    began = time.perf_counter()
    torch.set_num_threads(1)
    given = np.load(source)
    data: dict = {"sizes": given["sizes"], "numbers": given["train x"].shape[1]}
    labels = [key.removeprefix("train y ") for key in given.files if key.startswith("train y ")]
    for role in ROLES:
        parts = [given[f"{role} x"], given[f"{role} c"].astype(np.float32)]
        data[role] = torch.from_numpy(np.concatenate(parts, axis=1))
        for label in labels:
            data[f"{role} y {label}"] = torch.from_numpy(given[f"{role} y {label}"])
    rng = np.random.default_rng(1)
    tried = []
    for _ in range(trials):
        settings = drawn(rng)
        losses = [fitted(name, settings, data, label, 1, epochs)[1] for label in labels]
        tried.append((sum(losses), settings))
    loss, chosen = min(tried, key=lambda one: one[0])
    written = {}
    for label in labels:
        runs = [fitted(name, chosen, data, label, seed, epochs) for seed in range(1, seeds + 1)]
        written[f"{label} valid"] = np.array([found for _, found in runs])
        for role in ("later", "test", "once"):
            written[f"{label} {role}"] = np.stack([log_odds(one, data[role]) for one, _ in runs])
    np.savez(target, **written)
    seconds = round(time.perf_counter() - began, 1)
    library = f"deepctr-torch {version('deepctr-torch')}"
    return {**chosen, "loss": loss, "seconds": seconds, "library": library}


if __name__ == "__main__":
    name, source, target = sys.argv[1:4]
    trials, seeds, epochs = [*map(int, sys.argv[4:]), EPOCHS][:3]
    print(json.dumps(main(name, source, target, trials, seeds, epochs)))
