"""The model as a whole: it learns, grows without a retrain, lets items go, and is saved without pickle."""

import copy

import numpy as np
import pytest

from muma.artifact import read, write
from muma.config import parse
from muma.errors import ArtifactError, ConfigError, DataError, NotFittedError
from muma.interest.growth import first_vectors
from muma.interest.model import InterestConfig, InterestModel
from muma.interest.validation import ndcg, validation_events
from muma.testing.fusion_logs import media_log
from muma.testing.logs import SECOND, log_of, random_log, tiny_log

LSTM = {"width": 8, "max_length": 10, "dropout": 0.0, "attention": None}
TRAINING = {"epochs": 3, "threads": 1, "batching": {"length": 10, "size": 16}}
FUSION = {"width": 8, "encoders": {
    "behaviour": {"use": "muma.fusion.encoders.behaviour.BehaviourEncoder"},
    "text": {"use": "muma.fusion.encoders.text.TextEncoder"}}}  # fmt: skip


def model(**changes):
    settings = {"network": LSTM, "training": TRAINING, **changes}
    return InterestModel(parse(InterestConfig, settings))


def cycle_log(users, *, start=0, steps=6, items=7, n_items=9):
    """Users walk round a circle of items; everybody's step s is at second s."""
    rows = [
        (u, (u + s) % items, (s * 1000 + u) * SECOND)
        for u in users
        for s in range(start, start + steps)
    ]
    user, item, time = zip(*rows, strict=True)
    return log_of(
        {"user_id": user, "item_id": item, "timestamp": time}, n_users=100, n_items=n_items
    )


def scores(fitted, users):
    found = fitted.users(fitted.histories.sequences(users, 10), user_B=users)
    return found.user_BD @ fitted.items().vector_ND.T


def accuracy(fitted, users, steps=6):
    best = fitted.items().item_N[scores(fitted, users).argmax(1)]
    return (best == (users + steps) % 7).mean()


STRONG = {**TRAINING, "epochs": 25, "learning_rate": 0.03}
USERS = np.arange(70)


@pytest.fixture(scope="module")
def trained():
    return model(training=STRONG, more_passes=8, more_rate=0.02).fit(cycle_log(USERS))


@pytest.fixture
def circle(trained):
    """A model that has learned the circle; each test changes its own copy."""
    return copy.deepcopy(trained)


def test_it_learns_a_circle(circle):
    assert accuracy(circle, USERS) > 0.95
    assert circle.curve[-1]["train_loss"] < 0.5


@pytest.mark.parametrize("objective", [
    {"use": "muma.interest.objectives.sampled_softmax.SampledSoftmax", "negatives": 16},
    {"use": "muma.interest.objectives.multi_task.MultiTask", "width": 8},
])  # fmt: skip
def test_every_objective_learns_it(objective):
    assert accuracy(model(training=STRONG, objective=objective).fit(cycle_log(USERS)), USERS) > 0.9


def test_windows_are_no_longer_than_what_the_network_reads():
    """Older positions would train on vectors of zeros."""
    long = {**TRAINING, "batching": {"length": 200, "size": 16}}
    one, two = model(training=long).fit(random_log(3)), model(training=TRAINING).fit(random_log(3))
    np.testing.assert_array_equal(one.items().vector_ND, two.items().vector_ND)


def test_interests_come_as_arrays():
    log = random_log(2)
    fitted = model().fit(log)
    sequences = fitted.histories.sequences(np.arange(30), 10)
    found = fitted.users(sequences)
    assert found.user_BD.dtype == np.float32
    assert found.user_BD.shape == (30, 8)
    alone = [
        fitted.users(fitted.histories.sequences(np.array([u]), 10)).user_BD[0] for u in range(30)
    ]
    np.testing.assert_allclose(found.user_BD, alone, atol=1e-6)
    newest = [
        fitted.histories.time_E[fitted.histories.user_E == u].max(initial=-1) for u in range(30)
    ]
    np.testing.assert_array_equal(found.as_of_B, newest)
    assert found.weights == {}


def test_sources_are_fused_and_weighed():
    log = media_log()
    fitted = model(fusion=FUSION).fit(log)
    found = fitted.users(fitted.histories.sequences(np.arange(24), 10), user_B=np.arange(24))
    assert list(found.weights) == ["behaviour", "text"]
    shares = np.stack(list(found.weights.values()))
    with_any = ~np.isnan(shares).all(0)
    np.testing.assert_allclose(np.nansum(shares, 0)[with_any], 1.0, atol=1e-6)
    assert with_any[0]
    assert not with_any[23]  # the last user has no event
    assert fitted.network.config.source_width == 8


def test_a_source_that_is_removed_is_missing_and_the_model_itself_is_unchanged():
    fitted = model(fusion=FUSION).fit(media_log())
    histories, users = fitted.histories.sequences(np.arange(24), 10), np.arange(24)
    before = fitted.users(histories, user_B=users)
    fewer = fitted.without("text").users(histories, user_B=users)
    assert np.isnan(fewer.weights["text"]).all()
    known = ~np.isnan(fewer.weights["behaviour"])
    np.testing.assert_allclose(fewer.weights["behaviour"][known], 1.0, atol=1e-6)
    assert np.isfinite(fewer.user_BD).all()
    assert (fewer.user_BD[0] != before.user_BD[0]).any()
    after = fitted.users(histories, user_B=users)
    np.testing.assert_array_equal(after.user_BD, before.user_BD)
    with pytest.raises(ConfigError, match="gaze"):
        fitted.without("gaze")
    with pytest.raises(ConfigError, match="fuses no sources"):
        model().fit(tiny_log({0: [0, 1]})).without("text")


def test_users_of_no_event_and_of_one_train_and_are_served():
    fitted = model().fit(tiny_log({0: [0, 1, 2], 1: [1], 2: [2, 0]}, n_users=4))
    found = fitted.users(fitted.histories.sequences(np.arange(4), 10)).user_BD
    assert np.isfinite(found).all()
    assert (found[1] != 0).any()
    assert (found[3] == 0).all()
    alone = model().fit(tiny_log({0: [0], 1: [1]}))  # nothing to predict: no step is taken
    assert alone.curve == []
    assert np.isfinite(alone.users(alone.histories.sequences(np.arange(2), 10)).user_BD).all()


def test_validation_is_ndcg_of_the_newest_events():
    log = random_log(5)
    fitted = model(validation_users=12).fit(log)
    events = fitted.histories
    held_V = validation_events(events, 12, 1)
    assert len(held_V) == 12
    assert set(held_V) <= set(events.indptr[1:] - 1)
    gains = []
    for at in held_V:
        first = events.indptr[events.user_E[at]]
        before = events.cut(np.array([max(first, at - 10)]), np.array([at]), 10)
        score = (fitted.users(before).user_BD @ fitted.items().vector_ND.T)[0]
        order = fitted.items().item_N[np.argsort(-score, kind="stable")].tolist()
        rank = order.index(events.item_E[at]) + 1
        gains.append(1 / np.log2(1 + rank) if rank <= 10 else 0.0)
    assert ndcg(fitted, events, held_V) == pytest.approx(np.mean(gains), abs=1e-6)
    assert fitted.curve[-1]["value"] == pytest.approx(np.mean(gains), abs=1e-6)
    assert validation_events(events, 0, 1).size == 0


def test_held_out_events_are_not_trained_on():
    """With every newest event held out, the weights are those of a fit without them."""
    rows = {user: [0, 1, 2, 3, user % 4] for user in range(20)}
    whole = model(validation_users=20).fit(tiny_log(rows))
    assert whole.curve[0]["train_loss"] == pytest.approx(
        model().fit(tiny_log({u: items[:4] for u, items in rows.items()})).curve[0]["train_loss"],
        abs=0.02,
    )


def test_nothing_new_changes_nothing():
    log = cycle_log(USERS)
    fitted, same = model().fit(log), model().fit(log)
    fitted.fit_more(log.between(0, 0))
    np.testing.assert_array_equal(scores(fitted, USERS), scores(same, USERS))


def test_new_items_and_users_enter_and_the_old_ranking_stays(circle):
    fitted = circle
    before, known = scores(fitted, USERS), fitted.items().item_N
    assert 8 not in known
    # thirty new users walk the circle, and step from item 6 to the new item 8
    rows = [
        (u, [4, 5, 6, 8][s], (10_000 + 100 * s + u) * SECOND)
        for u in range(70, 100)
        for s in range(4)
    ]
    user, item, time = zip(*rows, strict=True)
    later = log_of({"user_id": user, "item_id": item, "timestamp": time}, n_users=100, n_items=9)
    fitted.fit_more(later)
    after = scores(fitted, USERS)[:, np.isin(fitted.items().item_N, known)]
    correlation = [np.corrcoef(a, b)[0, 1] for a, b in zip(before, after, strict=True)]
    assert np.mean(correlation) > 0.95
    at_six = fitted.users(fitted.histories.cut(*at(fitted, 70, 3), 10))
    score = (at_six.user_BD @ fitted.items().vector_ND.T)[0]
    place = fitted.items().item_N[np.argsort(-score)].tolist().index(8)
    assert place < 3, (place, np.mean(correlation), accuracy(fitted, USERS))


def at(fitted, user, events):
    first = fitted.histories.indptr[user]
    return np.array([first]), np.array([first + events])


def test_more_events_of_known_users_continue_their_histories(circle):
    circle.fit_more(cycle_log(USERS, start=6, steps=1))
    assert accuracy(circle, USERS, steps=7) > 0.95
    assert len(circle.histories) == 70 * 7


def test_the_optimisers_state_is_kept_and_grows():
    log = cycle_log(USERS)
    fitted = model().fit(log)
    before = {name: value.clone() for name, value in fitted._moments.items()}
    key = "network.table.weight/exp_avg_sq"
    steps = before["network.table.weight/step"].item()
    later = log_of({"user_id": [0], "item_id": [8], "timestamp": [10**12]}, n_users=100, n_items=9)
    fitted.fit_more(later)
    assert fitted._moments["network.table.weight/step"].item() == steps + 2
    assert len(fitted._moments[key]) >= 10 > len(before[key])


def test_a_smaller_vocabulary_is_refused():
    fitted = model().fit(cycle_log(USERS))
    with pytest.raises(DataError, match="must extend"):
        fitted.fit_more(tiny_log({0: [1]}))


def test_evicted_items_are_gone_and_their_row_is_reused():
    fitted = model().fit(cycle_log(USERS))
    row = fitted.row_I[3]
    fitted.evict(np.array([3]))
    assert 3 not in fitted.items().item_N
    assert np.isfinite(scores(fitted, USERS)).all()
    assert not fitted._moments["network.table.weight/exp_avg"][row].any()
    with pytest.raises(DataError, match="item 3 has no row"):
        fitted.evict(np.array([3]))
    later = log_of({"user_id": [0], "item_id": [8], "timestamp": [10**12]}, n_users=100, n_items=9)
    fitted.fit_more(later)
    assert fitted.row_I[8] == row


@pytest.mark.parametrize("fusion", [None, FUSION])
def test_saved_and_loaded_gives_the_same(tmp_path, fusion):
    log = media_log()
    fitted = model(fusion=fusion).fit(log)
    with write(tmp_path / "m", kind="interest", version=1) as writer:
        fitted.save(writer)
    artifact = read(tmp_path / "m", kind="interest", version=1)
    assert {name.rpartition(".")[2] for name in artifact.files} <= {"npz", "json"}
    again = InterestModel.load(artifact, log)
    users = np.arange(24)
    np.testing.assert_array_equal(scores(again, users), scores(fitted, users))
    later = log_of({"user_id": [0], "item_id": [4], "timestamp": [10**12]}, n_users=24, n_items=16)
    np.testing.assert_array_equal(
        scores(again.fit_more(later), users), scores(fitted.fit_more(later), users)
    )
    alone = InterestModel.load(artifact)
    with pytest.raises(NotFittedError, match="load it with the log"):
        alone.fit_more(later)


def test_without_a_fit_there_is_a_clear_error():
    with pytest.raises(NotFittedError):
        model().items()
    with pytest.raises(DataError, match="positive interaction"):
        model().fit(tiny_log({}))
    with pytest.raises(ConfigError, match="objective"):
        model(objective={"use": "muma.interest.objectives.no.No"}).fit(random_log(1))


def test_first_vectors_follow_content_or_stay_near_the_mean():
    rng = np.random.default_rng(1)
    slope = rng.normal(size=(4, 3))
    known, new = rng.normal(size=(50, 3)), rng.normal(size=(6, 3))
    found = first_vectors(known @ slope.T + 1, 6, seed=1, source_FC=known, source_NC=new, l2=1e-9)
    np.testing.assert_allclose(found, new @ slope.T + 1, atol=1e-4)
    item_FD = rng.normal(2.0, 0.5, size=(50, 4))
    near = first_vectors(item_FD, 40, seed=1)
    assert abs(near.mean() - 2) < 0.2
    assert 0.02 < near.std() < 0.2
    assert np.ptp(near, axis=0).min() > 0
    assert first_vectors(np.empty((0, 4)), 2, seed=1).shape == (2, 4)


def test_a_wrong_artifact_is_refused(tmp_path):
    with write(tmp_path / "m", kind="interest", version=1) as writer:
        writer.path("other.json").write_text("{}")
    with pytest.raises(ArtifactError):
        InterestModel.load(read(tmp_path / "m", kind="interest", version=1))
