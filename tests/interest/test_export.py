"""An exported network answers as torch does, and is served without torch."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from muma.artifact import read, write
from muma.errors import ArtifactError, DataError
from muma.features.feature import Sequences
from muma.interest import export_weights
from muma.interest.batch import UNKNOWN_ROW, events_of
from muma.interest.batch_arrays import arrays_of
from muma.interest.export import export, fingerprint
from muma.interest.onnx_model import OnnxModel
from muma.interest.state import NO_TIME, States, pack, unpack
from muma.testing.encoder_suite import ITEMS, LENGTH, random_events
from network_support import FORMS, network

CLOSE = {"rtol": 1e-5, "atol": 1e-5}
YEARS = 10 * 365 * 86_400 * 1_000_000


def exported(encoder, folder, **options):
    """The network as ONNX Runtime serves it."""
    with write(folder, kind="interest-onnx", version=1) as writer:
        export(encoder, writer, **options)
    return OnnxModel(read(folder, kind="interest-onnx", version=1))


def histories(counts, length=LENGTH, seed=1):
    """Histories with unknown items, events without item, kind or dwell, and gaps of years."""
    rng = np.random.default_rng(seed)
    shape = (len(counts), length)
    mask = np.arange(length) >= length - np.array(counts)[:, None]
    steps = rng.choice([0, 1_000_000, YEARS], shape)
    drawn = {
        "item_BL": rng.integers(-1, ITEMS + 5, shape),
        "time_BL": 10**15 + steps.cumsum(1),
        "kind_BL": rng.integers(-1, 9, shape),
        "domain_BL": rng.integers(0, 3, shape),
        "dwell_BL": rng.integers(-1, 90_000, shape),
    }
    empty = dict.fromkeys(drawn, -1) | {"time_BL": 0}
    return Sequences(
        **{name: np.where(mask, value, empty[name]) for name, value in drawn.items()}, mask_BL=mask
    )


def sources(encoder, sequences):
    """Fused vectors of the events, for the network that reads them."""
    width = encoder.config.source_width
    if not width:
        return None
    shape = (*sequences.mask_BL.shape, width)
    drawn = np.random.default_rng(3).normal(size=shape) * sequences.mask_BL[..., None]
    return drawn.astype(np.float32)


@pytest.mark.parametrize("form", FORMS)
def test_served_as_trained(form, tmp_path):
    """Whole histories, and event after event from an empty state, against torch."""
    encoder = network(form).eval()
    model = exported(encoder, tmp_path / "m")
    for counts, length in (([LENGTH, 0, 1, 5], LENGTH), ([3], 4), ([0, 0], 2), ([20, 2], 20)):
        sequences = histories(counts, length)
        at_B = sequences.time_BL.max(1) + np.arange(len(counts)) * 10**12
        source_BLD = sources(encoder, sequences)
        events = events_of(sequences, model.row_I, at_B=at_B)
        if source_BLD is not None:
            events = replace(events, source_BLD=torch.from_numpy(source_BLD))
        expected = encoder.user(events).detach().numpy()
        found = model.interests(sequences, at_B=at_B, source_BLD=source_BLD)
        assert found.user_BD.dtype == np.float32
        np.testing.assert_allclose(found.user_BD, expected, **CLOSE)
        newest_B = [
            row[-1] if n else NO_TIME for row, n in zip(sequences.time_BL, counts, strict=True)
        ]
        assert found.as_of_B.tolist() == newest_B

    sequences = histories([LENGTH, LENGTH], seed=2)
    at_B = sequences.time_BL.max(1) + 10**9
    source_BLD = sources(encoder, sequences)
    states = States.empty(2, model.state_shape)
    for place in range(LENGTH):
        states = model.step(states, **event(sequences, place, source_BLD))
        packed = pack(states, model.version)
        states, found_B = unpack(packed, model.version, model.state_shape)
        assert found_B.all()
    expected = model.interests(sequences, at_B=at_B, source_BLD=source_BLD).user_BD
    np.testing.assert_allclose(model.user_of(states, at_B=at_B), expected, **CLOSE)


def event(sequences, place, source_BLD=None):
    """One event of every history, as `step` takes it."""
    one = {
        f"{name}_B": getattr(sequences, f"{name}_BL")[:, place]
        for name in ("item", "kind", "dwell", "time")
    }
    return one | {"source_BD": None if source_BLD is None else source_BLD[:, place]}


@pytest.mark.parametrize("form", ["sources", "lstm-t_lstm", "interests-parallel", "sasrec"])
def test_a_lost_state_is_rebuilt_from_the_history(form, tmp_path):
    model = exported(network(form).eval(), tmp_path / "m")
    sequences = histories([LENGTH, 0, 4, 1])
    source_BLD = sources(network(form), sequences)
    at_B = sequences.time_BL.max(1) + 10**9
    states = model.rebuild(sequences, source_BLD=source_BLD)
    expected = model.interests(sequences, at_B=at_B, source_BLD=source_BLD)
    np.testing.assert_allclose(model.user_of(states, at_B=at_B), expected.user_BD, **CLOSE)
    assert states.time_B.tolist() == expected.as_of_B.tolist()


def test_torch_is_not_imported(tmp_path):
    exported(network("hybrid-per_dimension"), tmp_path / "m")
    code = f"""
import sys
import numpy as np
from muma.artifact import read
from muma.features.feature import Sequences
from muma.interest.onnx_model import OnnxModel
from muma.interest.state import States
model = OnnxModel(read({str(tmp_path / "m")!r}, kind="interest-onnx", version=1))
one = np.array([[3]])
sequences = Sequences(one, one * 10, one * 0, one * 0, one * 0, one > 0)
whole = model.interests(sequences, at_B=np.array([40])).user_BD
at = np.array([3]); zero = at * 0
states = model.step(
    States.empty(1, model.state_shape), item_B=at, kind_B=zero, dwell_B=zero, time_B=at * 10)
assert np.allclose(model.user_of(states, at_B=np.array([40])), whole, atol=1e-5)
print(sorted({{name.partition(".")[0] for name in sys.modules}} & {{"torch", "onnx", "safetensors"}}))
"""
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert shown.stdout.strip() == "[]", shown.stderr


def test_exporting_says_nothing_and_leaves_the_network_as_it_was(tmp_path, capfd, recwarn):
    encoder = network("hybrid-eq6").train()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    exported(encoder, tmp_path / "m")
    assert encoder.training
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert capfd.readouterr() == ("", "")
    assert not list(recwarn)


def test_rows_and_grown_tables(tmp_path):
    encoder = network("lstm-plain").eval()
    encoder.table.grow(3)
    row_I = np.full(ITEMS, UNKNOWN_ROW)
    row_I[4] = encoder.table.size - 1
    model = exported(encoder, tmp_path / "m", row_I=row_I)
    sequences = histories([3])
    sequences = replace(sequences, item_BL=np.where(sequences.mask_BL, 4, -1))
    expected = encoder.user(events_of(sequences, row_I)).detach().numpy()
    np.testing.assert_allclose(model.interests(sequences).user_BD, expected, **CLOSE)
    assert model.weight_SD.shape == (ITEMS + 5, 8)


def test_wrong_inputs_are_named(tmp_path):
    model = exported(network("sources"), tmp_path / "m")
    sequences = histories([3, 4])
    with pytest.raises(DataError, match="source_BTD"):
        model.interests(sequences)
    source_BLD = np.full((2, LENGTH, 3), np.nan, dtype=np.float32)
    with pytest.raises(DataError, match="source_BTD holds a value that is not finite"):
        model.interests(sequences, source_BLD=source_BLD)
    events = replace(arrays_of(sequences, model.row_I), source_BLD=np.zeros_like(source_BLD))
    with pytest.raises(DataError, match="kinds must lie"):
        model.user(replace(events, kind_BL=events.kind_BL + 99))
    states = States.empty(2, model.state_shape)
    one = event(sequences, LENGTH - 1, np.zeros_like(source_BLD))
    states = model.step(states, **one)
    with pytest.raises(DataError, match="older than the state"):
        model.step(states, **{**one, "time_B": one["time_B"] - 1})
    timed = exported(network("fusion-timed"), tmp_path / "timed")
    with pytest.raises(DataError, match="wait_BT"):
        timed.interests(sequences)


def test_another_artifact_is_refused(tmp_path):
    with write(tmp_path / "m", kind="other", version=1) as writer:
        writer.arrays("a.npz", {"a": np.zeros(1)})
    with pytest.raises(ArtifactError, match="no exported network"):
        OnnxModel(read(tmp_path / "m", kind="other", version=1))


def test_the_version_follows_the_weights_not_the_table():
    encoder = network()
    before = fingerprint(encoder)
    assert fingerprint(network()) == before
    encoder.table.grow(2)
    assert fingerprint(encoder) == before
    assert fingerprint(network(seed=2)) != before
    assert fingerprint(network(memory=3)) != before


@pytest.mark.parametrize("form", ["default", "sasrec", "hybrid-t_lstm"])
def test_weights_as_safetensors(form, tmp_path):
    encoder = network(form).eval()
    encoder.table.grow(40)
    encoder.table.evict(np.array([5]))
    with write(tmp_path / "m", kind="network", version=1) as writer:
        export_weights.save(encoder, writer)
    again = export_weights.load(read(tmp_path / "m", kind="network", version=1)).eval()
    events = random_events(1, [LENGTH, 3])
    assert torch.equal(again(events), encoder(events))
    assert again.table.grow(2).tolist() == encoder.table.grow(2).tolist() == [5, ITEMS + 42]


def test_weights_that_do_not_fit(tmp_path):
    with write(tmp_path / "m", kind="network", version=1) as writer:
        export_weights.save(network(), writer)
        text = network("sasrec").config.model_dump_json()
        writer.path(export_weights.CONFIG).write_text(text)
    with pytest.raises(ArtifactError, match="does not fit"):
        export_weights.load(read(tmp_path / "m", kind="network", version=1))
