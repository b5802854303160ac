"""RecBole's SASRec and GRU4Rec on MovieLens 100K; runs in the peers' environment only.

    python benchmarks/peer_recbole.py SASRec 50 3

The model's name, the length of histories and the number of batches to time (0: a whole epoch).
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
from recbole.utils import get_model, init_seed

from common import peak_mib

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


def main(name: str, length: int, batches: int) -> dict[str, object]:
    """Targets a second of training."""
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore", FutureWarning)  # pandas on its ways
    scratch = tempfile.mkdtemp()
    settings = {**SETTINGS, "MAX_ITEM_LIST_LENGTH": length, "checkpoint_dir": scratch}
    config = Config(model=name, config_dict=settings)
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    train, _, _ = data_preparation(config, dataset)
    model = get_model(name)(config, train.dataset)
    optimizer = torch.optim.Adam(model.parameters(), lr=config["learning_rate"])
    model.train()
    count, done, began = 0, 0, time.process_time()
    for interaction in train:
        optimizer.zero_grad()
        loss = model.calculate_loss(interaction)
        loss.backward()
        optimizer.step()
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
    print(json.dumps(main(arguments[0], int(arguments[1]), int(arguments[2]))))
