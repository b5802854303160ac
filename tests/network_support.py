"""Every form of the network that a config can ask for, small."""

import torch

from muma.interest.network import InterestNetwork, NetworkConfig
from muma.interest.table import ItemTable
from muma.rng import derive
from muma.testing.encoder_suite import ITEMS, LENGTH

ROOM = "muma.interest."
LSTM = {"use": ROOM + "decayed_lstm.DecayedLSTM"}
GRU = {"use": ROOM + "branches.gru.GRU"}
ATTENTION = {"use": ROOM + "transformer.Transformer"}
LEARNED = {**ATTENTION, "position": {"use": ROOM + "transformer_positions.learned.LearnedPosition"}}
TIME = {**ATTENTION, "position": {"use": ROOM + "transformer_positions.relative_time.RelativeTime"}}
INTERESTS = {"use": ROOM + "interests_heads.InterestHeads", "interests": 3}


def fading(name, **params):
    """An LSTM with a decay."""
    return {**LSTM, "decay": {"use": f"{ROOM}decays.{name}", **params}}


DECAYS = {
    "plain": LSTM,
    "eq6": fading("exponential.Exponential"),
    "learned_rate": fading("learned_rate.LearnedRate"),
    "per_dimension": fading("per_dimension.PerDimension", rate=0.2),
    "t_lstm": fading("short_term.ShortTerm"),
}
GATES = {
    name: {"use": f"{ROOM}gates.{name}.{name.capitalize()}Fusion"}
    for name in ("literal", "gated", "timed")
}
FORMS = {
    "default": {},
    **{f"lstm-{name}": {"recurrent": lstm, "attention": None} for name, lstm in DECAYS.items()},
    "gru4rec": {"recurrent": GRU, "attention": None, "kinds": False, "dwell": False},
    "sasrec": {"recurrent": None, "attention": LEARNED, "kinds": False, "dwell": False},
    "relative-time": {"recurrent": None, "attention": TIME},
    **{
        f"hybrid-{name}": {"recurrent": lstm, "attention": TIME, "fusion": GATES["timed"]}
        for name, lstm in DECAYS.items()
    },
    **{f"fusion-{name}": {"fusion": gate} for name, gate in GATES.items()},
    "parallel": {"attends": "inputs", "fusion": GATES["timed"], "attention": LEARNED},
    "interests": {"interests": INTERESTS},
    "interests-lstm": {"interests": INTERESTS, "attention": None},
    "interests-parallel": {
        "interests": INTERESTS, "attends": "inputs", "fusion": GATES["timed"], "recurrent": GRU,
    },
    "sources": {"source_width": 3},
}  # fmt: skip


def network(form="default", *, width=8, items=ITEMS, **changes):
    """One form, with an item table of its own."""
    params = {"width": width, "max_length": LENGTH + 2, "memory": LENGTH, **FORMS[form], **changes}
    table = ItemTable(width, items=items, seed=4)
    table.weight.data.mul_(20.0)
    made = InterestNetwork(NetworkConfig.model_validate(params), table)
    position = getattr(made.attention, "position", None)
    for name, weight in [] if position is None else position.named_parameters():
        # biases begin at zero, where they could hide anything
        weight.data = torch.from_numpy(derive(1, name).normal(size=weight.shape)).float()
    return made
