"""Consent in a running service: what comes in, what is read, what a withdrawal takes away."""

import shutil
import time

import numpy as np
import polars as pl
import pytest
from litestar.testing import TestClient

from muma.app.config import read_recipe
from muma.app.service import consent as module
from muma.app.service.make import open_service
from muma.events.log_folder import open_log
from muma.serving.evidence.replay import replay
from muma.serving.http.app import build
from muma.serving.recommending import Ask
from ranked_support import BLOCKS, WANTED
from trained_support import trained

SOCIAL = """
[features.blocks.near]
use = "muma.features.families.count.Count"
keys = ["friends x item"]
of = ["click"]
windows = ["all"]

[features.blocks.eyes]
use = "muma.features.families.gaze.Gaze"
keys = ["user", "item"]
windows = ["all"]

[events.source.social]
files = [{social!r}]
columns = {{ src = "src", dst = "dst" }}

[events.source.gaze]
files = [{gaze!r}]
columns = {{ user_id = "user_id", item_id = "item_id", x = "x", y = "y", start = "start", duration_ms = "ms" }}
time_unit = "s"
"""
PRIVATE = {"social": "friends", "gaze": "user.gaze"}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    edges = [f"u{n},u{(n + step) % 60}" for n in range(60) for step in (1, 2, 7)]
    (folder / "social.csv").write_text("\n".join(["src,dst", *edges]) + "\n")
    looks = [f"u{n},a{n % 24},0.5,0.5,{1_700_000_500 + n},{100 + n}" for n in range(60)]
    (folder / "gaze.csv").write_text("\n".join(["user_id,item_id,x,y,start,ms", *looks]) + "\n")
    places = {name: str(folder / f"{name}.csv") for name in ("social", "gaze")}
    wanted = WANTED.replace('["click"]', '["click", "follow"]')
    return trained(tmp_path_factory, BLOCKS + wanted + SOCIAL.format(**places))


@pytest.fixture(scope="module")
def opened(recipe):
    found = open_service(read_recipe(recipe), time_of="log")
    yield found
    found.close()


@pytest.fixture(scope="module")
def http(opened):
    _, token = opened.keys.create(tenant="default", roles=("admin",), name="all")
    with TestClient(build(opened.service)) as made:
        made.headers["authorization"] = f"Bearer {token}"
        yield made


def private(opened, evidence, source):
    """Columns of a source in the evidence of an answer."""
    names = opened.engine.versions.bundle.features
    places = [n for n, name in enumerate(names) if name.startswith(PRIVATE[source])]
    assert places
    return evidence.value_NF[:, places]


def recommended(http, opened, user, **more):
    body = {"user": user, "count": 6, "deadline_ms": 10_000, **more}
    sent = http.post("/v1/recommendations", json=body)
    assert sent.status_code == 200
    assert sent.json()["degraded"] == []
    opened.evidence.flush()
    return opened.evidence.get(sent.json()["request_id"]), sent.json()["request_id"]


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def consent(http, user, **said):
    sent = http.put(f"/v1/users/{user}/consent", json=said)
    assert sent.status_code == 200, sent.text
    return sent.json()


@pytest.mark.parametrize("source", ["social", "gaze"])
def test_nothing_is_read_unless_it_was_agreed_to(opened, http, source):
    user = "u3"
    off, name = recommended(http, opened, user)
    assert set(off.withheld) == {"social", "gaze"}
    assert np.isnan(private(opened, off, source)).all()
    assert http.get(f"/v1/decisions/{name}").json()["withheld"] == ["gaze", "social"]
    assert consent(http, user, **{source: True})["given"][source]
    on, _ = recommended(http, opened, user)
    assert on.withheld == tuple({"social", "gaze"} - {source})
    table = opened.running.state.features(opened.engine.index_of(user), on.item_N, on.ask.time)
    place = [
        n
        for n, c in enumerate(opened.engine.versions.bundle.features)
        if c.startswith(PRIVATE[source])
    ]
    np.testing.assert_array_equal(private(opened, on, source), table[:, place].astype(np.float32))
    assert np.isfinite(private(opened, on, source)).any()
    others = [
        n
        for n, c in enumerate(opened.engine.versions.bundle.features)
        if not c.startswith(("user.gaze", "friends"))
    ]
    assert np.isfinite(on.value_NF[:, others]).any()
    assert replay(on, opened.engine).equal
    assert replay(off, opened.engine).equal
    consent(http, user, **{source: None})
    again, _ = recommended(http, opened, user)
    assert np.isnan(private(opened, again, source)).all()


def test_a_sender_can_tell_of_consent_but_not_against_the_user(opened, http):
    on, _ = recommended(http, opened, "u4", consent=["gaze"])
    assert on.withheld == ("social",)
    assert np.isfinite(private(opened, on, "gaze")).any()
    consent(http, "u4", gaze=False)
    off, _ = recommended(http, opened, "u4", consent=["gaze"])
    assert off.withheld == ("gaze", "social")
    assert np.isnan(private(opened, off, "gaze")).all()


def test_without_consent_to_behaviour_a_user_is_a_stranger(opened, http):
    consent(http, "u5", behaviour=False)
    found, _ = recommended(http, opened, "u5", session=["a3"])
    assert found.withheld == ("behaviour", "gaze", "social")
    assert found.user_index == -1
    assert not len(found.history_L)
    sent = http.post(
        "/v1/events", json=[event("b1", "u5", "click"), event("b2", "u5", "impression")]
    )
    assert sent.json()["withheld"] == {"behaviour": 2}


def event(name, user, kind, **more):
    return {
        "event_id": name,
        "user_id": user,
        "kind": kind,
        "item_id": "a2",
        "domain": "news",
        **more,
    }


def test_events_without_consent_are_not_kept_and_counted(opened, http):
    look = {"x": 0.2, "y": 0.9, "dwell_ms": 40}
    batch = [
        event("g1", "u6", "fixation", **look),
        event("c1", "u6", "click"),
        event("f1", "u6", "follow"),
        event("g2", "u6", "fixation", **look, consent=["gaze"]),
    ]
    before = sum(opened.running.stream.ends().values())
    told = http.post("/v1/events", json=batch).json()
    assert (told["accepted"], told["withheld"]) == (2, {"gaze": 1, "social": 1})
    assert [fault["index"] for fault in told["refused"]] == [0, 2]
    assert all("consent" in fault["reason"] for fault in told["refused"])
    assert sum(opened.running.stream.ends().values()) == before + 2
    alone = http.post("/v1/events", json=event("f2", "u6", "follow"))
    assert (alone.status_code, alone.json()["accepted"]) == (200, 0)  # it was no mistake to send it
    wrong = [event("f3", "u6", "follow"), {"event_id": "x"}]
    assert http.post("/v1/events", json=wrong).status_code == 422
    consent(http, "u6", social=True, gaze=True)
    assert http.post("/v1/events", json=batch).json()["accepted"] == 4
    consent(http, "u6", gaze=False)
    told = http.post("/v1/events", json=batch[3]).json()
    assert told["withheld"] == {"gaze": 1}
    text = http.get("/metrics").text
    assert 'muma_events_withheld_total{source="gaze"} 2' in text


def stream_rows(opened, user):
    index, stream = opened.engine.index_of(user), opened.running.stream
    parts = []
    for partition, at in stream.starts().items():
        while batch := stream.read(partition, at, limit=10**6):
            parts.append(batch.frame)
            at = batch.next_offset  # noqa: PLW2901 - on to the next
    frame = pl.concat(parts, how="diagonal")
    return frame.filter(pl.col("user_id") == index).get_column("kind").cast(pl.String).to_list()


def test_a_withdrawal_takes_away_what_was_kept(opened, http, recipe):
    user, other = "u8", "u9"
    consent(http, user, social=True, gaze=True)
    now = opened.clock()
    batch = [event("w1", user, "follow", item_id="a7"), event("w2", user, "fixation", x=0.1, y=0.1)]
    assert http.post("/v1/events", json=batch).json()["accepted"] == 2
    dense = opened.engine.versions.facts.dense("a7")

    def seen(*off):
        bundle, index = opened.engine.versions.bundle, opened.engine.index_of(user)
        return opened.running.state.known(bundle, index, now + 10**6, off).state.seen_n.tolist()

    until(lambda: seen()[-1] == dense)
    assert seen("social")[-1] != dense
    assert seen("gaze") == seen()
    kinds, others = stream_rows(opened, user), stream_rows(opened, other)
    assert {"follow", "fixation", "click"} <= set(kinds)
    log = open_log(read_recipe(recipe).folder / "log")
    index = opened.engine.index_of(user)
    edges = log.social.filter((pl.col("src") == index) | (pl.col("dst") == index)).collect().height
    assert edges == 6
    told = consent(http, user, social=False)
    (receipt,) = told["removed"]
    assert receipt["source"] == "social"
    assert receipt["parts"]["events"] == {"events": kinds.count("follow")}
    assert receipt["parts"]["log"] == {"rows": edges}
    assert receipt["parts"]["features"]["keys"] > 0
    assert any("evidence of answers" in one["where"] for one in receipt["residue"])
    left = stream_rows(opened, user)
    assert left == [kind for kind in kinds if kind != "follow"]
    assert stream_rows(opened, other) == others
    log = open_log(read_recipe(recipe).folder / "log")
    assert (
        log.social.filter((pl.col("src") == index) | (pl.col("dst") == index)).collect().is_empty()
    )
    assert log.user_ids.encode([user]).to_list() == [index]  # the user stays
    consent(http, user, social=True)  # agreed again: nothing comes back
    fresh, _ = recommended(http, opened, user)
    assert np.nan_to_num(private(opened, fresh, "social")).sum() == 0
    assert http.get(f"/v1/users/{user}").status_code == 200
    gone = consent(http, user, gaze=False)["removed"][0]
    assert gone["parts"]["events"] == {"events": kinds.count("fixation")}
    assert "fixation" not in stream_rows(opened, user)
    assert consent(http, "nobody knows", gaze=False, social=False)["removed"] == []


def test_a_withdrawal_that_a_kill_cut_off_is_finished_at_the_next_start(
    recipe, tmp_path, monkeypatch
):
    folder = tmp_path / "run"
    shutil.copytree(recipe.parent / "runs", folder)
    config = read_recipe(recipe, overrides=[f"runs={str(folder)!r}"])
    first = open_service(config, time_of="log")
    consents = first.service.tenants.get("default").consents

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module.ErasableLog, "erase", killed)
        with pytest.raises(KeyboardInterrupt):
            consents.put("u12", {"social": False})
    first.close()
    again = open_service(config, time_of="log")
    try:
        held = again.service.tenants.get("default").consents
        index = again.engine.index_of("u12")
        assert held.get("u12").given["social"] is False
        for begin in again.service.on_start:
            begin()
        log = open_log(config.folder / "log")
        assert log.social.filter(pl.col("src") == index).collect().is_empty()
    finally:
        again.close()


def test_erasure_takes_the_consent_too(opened, http, recipe):
    consent(http, "u14", social=True)
    path = read_recipe(recipe).folder / "consent.jsonl"
    assert b'"u14"' in path.read_bytes()
    receipt = http.delete("/v1/users/u14").json()["receipt"]
    assert receipt["parts"]["consent"] == {"consents": 1}
    assert b'"u14"' not in path.read_bytes()
    assert http.get("/v1/users/u14/consent").json()["said"] == {}


def test_defaults_are_the_recipes(recipe, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(recipe.parent / "runs", folder)
    sets = [
        f"runs={str(folder)!r}",
        "serving.consent.social=true",
        "serving.consent.behaviour=false",
    ]
    found = open_service(read_recipe(recipe, overrides=sets), time_of="log")
    try:
        tenant = found.service.tenants.get("default")
        assert tenant.consents.get("u1").given == {
            "behaviour": False,
            "social": True,
            "gaze": False,
        }
        assert tenant.engine.answer(Ask("d", found.clock(), user="u1")).withheld == (
            "behaviour",
            "gaze",
        )
    finally:
        found.close()


def test_strict_bodies(http):
    for wrong in ({"moon": True}, {"gaze": "yes"}, {"gaze": 1}, [], 3):
        assert http.put("/v1/users/u1/consent", json=wrong).status_code == 422
    assert http.put("/v1/users/u1/consent", json={}).json()["removed"] == []
