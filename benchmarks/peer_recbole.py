"""RecBole's SASRec and GRU4Rec on MovieLens 100K; runs in the peers' environment only.

    python benchmarks/peer_recbole.py SASRec 50 3
    python benchmarks/peer_recbole.py SASRec 50 0 0.06 1200

The model's name, the length of histories and the number of batches to time (0: a whole epoch). With
two more numbers it trains until RecBole's own evaluation reaches that NDCG@10 on the validation items
(full ranking, nothing masked, looked at every 30 seconds of training), or that many seconds have passed.
RecBole's own data (the copy in its wheel), split, loader, model, loss and optimiser, with its default
sizes; only the loop is here, so that a part of an epoch can be timed. Its loader makes one row of
every prefix of a history, so that a row is one (user, position) target. One thread; the clock
counts CPU seconds. Prints one JSON object.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
import time
import warnings
from pathlib import Path

import recbole
import torch
from recbole.config import Config
from recbole.data import create_dataset, data_preparation
from recbole.utils import get_model, get_trainer, init_seed

from common import peak_mib

LOOK = 30.0  # CPU seconds of training between two evaluations
SETTINGS = {
    "dataset": "ml-100k",
    "data_path": str(Path(recbole.__file__).parent / "dataset_example"),
    "load_col": {"inter": ["user_id", "item_id", "timestamp"]},
    "train_neg_sample_args": None,  # full cross-entropy, as ours
    "loss_type": "CE",
    "state": "ERROR",
    "show_progress": False,
    "use_gpu": False,
    "seed": 1,
}


def prepared(name: str, length: int):
    """RecBole's configuration, training and validation data, model and optimiser."""
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore", FutureWarning)  # pandas on its ways
    scratch = tempfile.mkdtemp()
    settings = {**SETTINGS, "MAX_ITEM_LIST_LENGTH": length, "checkpoint_dir": scratch}
    config = Config(model=name, config_dict=settings)
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    train, valid, _ = data_preparation(config, dataset)
    model = get_model(name)(config, train.dataset)
    optimizer = torch.optim.Adam(model.parameters(), lr=config["learning_rate"])
    return config, train, valid, model, optimizer


def step(model, optimizer, interaction):
    """One batch; its loss."""
    optimizer.zero_grad()
    loss = model.calculate_loss(interaction)
    loss.backward()
    optimizer.step()
    return loss


def until(name: str, length: int, goal: float, limit: float) -> dict[str, object]:
    """CPU seconds of training until a validation NDCG@10; NaN seconds when it was not reached."""
    config, train, valid, model, optimizer = prepared(name, length)
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    spent, look, best = 0.0, LOOK, 0.0
    while spent < limit:
        for interaction in train:
            model.train()
            began = time.process_time()
            step(model, optimizer, interaction)
            spent += time.process_time() - began
            if spent >= look:
                look += LOOK
                with torch.no_grad():
                    found = trainer.evaluate(valid, load_best_model=False, show_progress=False)
                best = max(best, float(found["ndcg@10"]))
                if best >= goal or spent >= limit:
                    break
        if best >= goal:
            break
    reached = best >= goal
    return {"seconds": spent if reached else None, "spent": spent, "best": best}


def main(name: str, length: int, batches: int) -> dict[str, object]:
    """Targets a second of training."""
    _, train, _, model, optimizer = prepared(name, length)
    model.train()
    count, done, began = 0, 0, time.process_time()
    for interaction in train:
        loss = step(model, optimizer, interaction)
        count, done = count + len(interaction), done + 1
        if done == batches:
            break
    seconds = time.process_time() - began
    return {
        "targets_per_s": count / seconds,
        "targets": count,
        "epoch_targets": len(train.dataset),
        "loss": float(loss.detach()),
        "seconds": seconds,
        "weights": sum(weight.numel() for weight in model.parameters()),
        "peak_mib": peak_mib(),
    }


if __name__ == "__main__":
    # RecBole reads the command line for settings of its own
    arguments, sys.argv = sys.argv[1:], sys.argv[:1]
    name, length = arguments[0], int(arguments[1])
    if len(arguments) > 3:
        print(json.dumps(until(name, length, float(arguments[3]), float(arguments[4]))))
    else:
        print(json.dumps(main(name, length, int(arguments[2]))))
