"""The page: what was given is in it, what is hostile is escaped, and its script draws and obeys keys."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from muma.errors import DataError
from muma.report import explanation_page
from muma.report.explanation_page import AnswerList, Explained, write_explanation_page

COLUMNS = ("user_category.click.count.7d", "item.age_s", "candidate.markov")
GROUPS = ("history", "item", "candidates")
HOSTILE = "</script><script>alert(1)</script> %%data%% & \u2028 <!-- \"'"


def explained(n=50, seed=0):
    rng = np.random.default_rng(seed)
    value_NF = rng.normal(size=(n, 3)).astype(np.float32)
    phi_NF = value_NF * np.array([1.0, 0.5, -0.25])
    value_NF[::5, 1] = np.nan
    answers = AnswerList(
        HOSTILE, [f"film {k}" for k in range(4)], [f"Shown because {k}." for k in range(4)],
        phi_NF[:4].sum(axis=1) + 0.5, np.full(4, 0.5), value_NF[:4], phi_NF[:4],
    )  # fmt: skip
    titles = [HOSTILE, *[f"item {i}" for i in range(1, n)]]
    return Explained(f"Why {HOSTILE}", COLUMNS, GROUPS, value_NF, phi_NF, titles, (answers,))


class Reader(HTMLParser):
    """Counts elements, checks that they close, and keeps the text of each."""

    def __init__(self, text):
        super().__init__()
        self.open, self.texts, self.sources = [], {}, []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.sources += [value for key, value in attrs if key in ("src", "href")]
        if tag not in ("meta",):
            self.open.append(tag)
            self.texts.setdefault(tag, []).append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open:
            self.texts[self.open[-1]][-1] += data


def data_of(text):
    return json.loads(re.search(r'id="data">(.*?)</script>', text, re.DOTALL)[1])


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    found = tmp_path_factory.mktemp("page") / "page.html"
    write_explanation_page(explained(), found)
    return found


def test_the_page_parses_and_stands_alone(path):
    text = path.read_text(encoding="utf-8")
    reader = Reader(text)
    assert reader.open == []
    assert len(reader.texts["script"]) == 2
    assert len(reader.texts["section"]) == 4
    assert reader.sources == []
    assert "alert(1)" not in reader.texts["script"][1]
    assert reader.texts["title"] == [f"Why {HOSTILE}"]
    assert reader.texts["h1"] == [f"Why {HOSTILE}"]
    assert not re.search(r"(src|href)=|@import|url\(|fetch\(|innerHTML", text)
    assert re.findall(r"https?://[^\"]+", text) == ["http://www.w3.org/2000/svg"]


def test_the_page_holds_what_was_given(path):
    given, found = explained(), data_of(path.read_text(encoding="utf-8"))
    assert found["titles"] == given.titles
    assert found["columns"] == list(COLUMNS)
    (answers,) = found["lists"]
    assert answers["name"] == HOSTILE
    assert answers["sentences"] == given.lists[0].sentences
    np.testing.assert_allclose(answers["phi"], given.lists[0].phi_KF, rtol=1e-5)
    chosen = found["chosen"]
    assert chosen == np.argsort(-np.abs(given.phi_NF).mean(axis=0)).tolist()
    for at, f in enumerate(chosen):
        np.testing.assert_allclose(found["phi"][at], given.phi_NF[:, f], rtol=1e-3)
        missing = [value is None for value in found["values"][at]]
        assert missing == np.isnan(given.value_NF[:, f]).tolist()
    mean, low, high = found["importance"]
    np.testing.assert_allclose(mean, np.abs(given.phi_NF).mean(axis=0)[chosen], rtol=1e-3)
    assert all(a < m < b for a, m, b in zip(low, mean, high, strict=True))


def test_many_rows_are_thinned_evenly(tmp_path):
    write_explanation_page(explained(5000), tmp_path / "a.html", features=2, rows=100)
    found = data_of((tmp_path / "a.html").read_text(encoding="utf-8"))
    assert (len(found["titles"]), found["rows"], len(found["phi"])) == (100, 5000, 2)
    assert found["titles"][-1] == "item 4999"


def test_a_large_page_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(explanation_page, "LARGEST", 10_000)
    with pytest.raises(DataError, match="give fewer lists"):
        write_explanation_page(explained(), tmp_path / "a.html")
    assert not (tmp_path / "a.html").exists()


def test_the_largest_usual_page_is_below_two_megabytes(tmp_path):
    rng = np.random.default_rng(0)
    phi_NF = rng.normal(size=(2000, 80))
    columns = tuple(f"user_category.click_per_impression.rate.{f}d" for f in range(80))
    answers = tuple(
        AnswerList(str(u), ["A title of usual length for a video"] * 20, ["A sentence. " * 15] * 20,
                   phi_NF[:20].sum(axis=1), np.zeros(20), phi_NF[:20], phi_NF[:20])
        for u in range(20)
    )  # fmt: skip
    whole = Explained("t", columns, ("history",) * 80, phi_NF, phi_NF, ["x" * 30] * 2000, answers)
    write_explanation_page(whole, tmp_path / "a.html")
    assert (tmp_path / "a.html").stat().st_size < 2_000_000


def test_what_does_not_fit_is_refused(tmp_path):
    given = explained()
    answers = given.lists[0]
    wrong = [
        replace(given, groups=GROUPS[:2]),
        replace(given, titles=given.titles[1:]),
        replace(given, value_NF=given.value_NF[1:]),
        replace(given, phi_NF=np.full_like(given.phi_NF, np.inf)),
        replace(given, lists=(replace(answers, titles=answers.titles[1:]),)),
        replace(given, lists=(replace(answers, score_K=answers.score_K + 1),)),
    ]
    for bad in wrong:
        with pytest.raises(DataError):
            write_explanation_page(bad, tmp_path / "a.html")
    assert not (tmp_path / "a.html").exists()


def run(path, actions, width=1000):
    """States of the page after each action, from its own script on a small document."""
    if (node := shutil.which("node")) is None:
        pytest.skip("node is not installed; it runs the page's script")
    shim = Path(__file__).with_name("page_dom.js")
    command = [node, str(shim), str(path), json.dumps(actions), str(width)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    states = json.loads(done.stdout)
    for state in states:
        assert not re.search("NaN|undefined|Infinity", state["markup"])
    return states


@pytest.mark.parametrize("width", [1000, 390])
def test_the_script_draws_every_tab(path, width):
    first, swarm, dependence, answers = run(path, [["tab", 1], ["tab", 2], ["tab", 3]], width)
    assert first["markup"].count("<rect") == 3
    assert swarm["markup"].count("<circle") == 150
    assert dependence["markup"].count("<circle") == 50
    for name in COLUMNS:
        assert name in first["text"]
        assert name in swarm["text"]
    for k in range(4):
        assert f"Shown because {k}." in answers["text"]
    assert "<script" not in answers["markup"]
    assert HOSTILE in answers["text"]


def test_keys_move_between_tabs_and_points(path):
    keys = [
        ["key", "ArrowLeft"],
        ["key", "ArrowRight"],
        ["key", "ArrowRight"],
        ["key", "End"],
        ["key", "Home"],
    ]
    assert [state["id"] for state in run(path, keys)] == [
        "importance", "answers", "importance", "swarm", "answers", "importance",
    ]  # fmt: skip
    *_, one, two, back = run(
        path, [["tab", 1], ["walk", "ArrowRight"], ["walk", "ArrowDown"], ["walk", "ArrowLeft"]]
    )
    given = explained()
    assert one["hover"].startswith(f"{HOSTILE}: {COLUMNS[0]} = ")
    assert two["hover"].startswith(f"item 1: {COLUMNS[0]} = ")
    assert f"{abs(given.phi_NF[1, 0]):.2f}" in two["hover"]
    assert back["hover"] == one["hover"]


def test_hovering_names_item_value_and_part(path):
    (*_, state) = run(path, [["tab", 1], ["over", 7]])
    assert state["hover"].startswith("item 7: ")
    assert "part of the score" in state["hover"]


def test_choosing_features_and_answers_draws_anew(path):
    *_, state = run(path, [["tab", 2], ["select", 0, 1], ["select", 1, 0]])
    assert f"Dependence on {COLUMNS[1]}" in state["markup"]
    assert f"Blue: {COLUMNS[0]} is low" in state["text"]
    assert state["focus"] == "select"
    *_, before, after = run(path, [["tab", 3], ["select", 1, 2], ["select", 2, 3]])
    score_K = explained().lists[0].score_K
    assert "A: film 2" in after["text"]
    verdict = "above" if score_K[2] >= score_K[3] else "below"
    assert f"Why A stands {verdict} B: film 3" in after["text"]
    assert "B: film 1" in before["text"]
    for k in (2, 3):
        assert f"{score_K[k]:.2f}" in after["text"]
    *_, same = run(path, [["tab", 3], ["select", 2, 0]])
    assert "Why A" not in same["text"]


def test_without_lists_the_page_says_so(tmp_path):
    write_explanation_page(replace(explained(1), lists=()), tmp_path / "a.html")
    *_, swarm, dependence, answers = run(tmp_path / "a.html", [["tab", 1], ["tab", 2], ["tab", 3]])
    assert swarm["markup"].count("<circle") == 3
    assert dependence["markup"].count("<circle") == 1
    assert "No lists of answers" in answers["text"]
