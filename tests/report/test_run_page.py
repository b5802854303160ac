"""The run's page and the calibration picture: whole, escaped, one file."""

import base64
from html.parser import HTMLParser

import numpy as np
import pytest

from muma.errors import DataError
from muma.evaluation.metrics.calibration import reliability
from muma.report.calibration import draw_calibration
from muma.report.run_page import PageTable, Picture, Section, write_run_page


class _Page(HTMLParser):
    """Cells by row, headings, images, links; and whether every element is closed in order."""

    VOID = frozenset({"meta", "img", "br", "link"})

    def __init__(self):
        super().__init__()
        self.open, self.rows, self.headings, self.images, self.links = [], [], [], [], []

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag == "img":
            self.images.append((named["alt"], named["src"]))
        if tag == "a":
            self.links.append(named["href"])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1].append(data)
        if self.open and self.open[-1] == "h2":
            self.headings.append(data)


def read(path):
    page = _Page()
    page.feed(path.read_text())
    assert page.open == []
    return page


def test_the_page_holds_everything_and_closes_it(tmp_path):
    picture = tmp_path / "a.png"
    picture.write_bytes(b"\x89PNG not really")
    sections = [
        Section(
            "Numbers & <names>",
            notes=["a < b"],
            tables=[PageTable(("model", "AUC"), [["<b>bold</b>", "0.7"], ["it's", "0.6"]])],
            pictures=[Picture(picture, 'said "so"')],
            links=[("more", "explanation.html?a=1&b=2")],
        ),
        Section("nothing in it"),
    ]
    write_run_page("a <run>", sections, tmp_path / "report.html")
    page = read(tmp_path / "report.html")
    assert page.headings == ["Numbers & <names>"]
    assert page.rows == [["model", "AUC"], ["<b>bold</b>", "0.7"], ["it's", "0.6"]]
    ((alt, source),) = page.images
    assert alt == 'said "so"'
    kind, data = source.split(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data) == picture.read_bytes()
    assert page.links == ["explanation.html?a=1&b=2"]
    text = (tmp_path / "report.html").read_text()
    assert "<title>a &lt;run&gt;</title>" in text
    assert 'name="viewport"' in text
    assert "http" not in text


def test_a_page_of_nothing_is_a_page(tmp_path):
    write_run_page("empty", [], tmp_path / "report.html")
    assert read(tmp_path / "report.html").rows == []


def test_text_with_two_percent_signs_stays(tmp_path):
    write_run_page("100%%body%%", [Section("x", notes=["%%style%%"])], tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "<h1>100%%body%%</h1>" in text
    assert '<p class="note">%%style%%</p>' in text


def test_a_crooked_table_is_refused(tmp_path):
    crooked = [Section("x", tables=[PageTable(("a", "b"), [["1"]])])]
    with pytest.raises(DataError, match="1 cells, its table has 2 columns"):
        write_run_page("x", crooked, tmp_path / "report.html")


def test_calibration_is_drawn_for_each_label(tmp_path):
    rng = np.random.default_rng(0)
    p_N = rng.random(2_000)
    label_N = (rng.random(2_000) < p_N).astype(float)
    found = {
        name: {"pipeline": reliability(label_N, p_N), "other": reliability(label_N, p_N**2)}
        for name in ("click", "long_view")
    }
    draw_calibration(found, tmp_path / "two.png", title="two")
    draw_calibration({"click": found["click"]}, tmp_path / "one.png", title="one")
    sizes = [(tmp_path / f"{name}.png").read_bytes() for name in ("two", "one")]
    widths = [int.from_bytes(data[16:20], "big") for data in sizes]
    assert widths[0] == pytest.approx(2 * widths[1], abs=4)
    with pytest.raises(DataError, match="no label"):
        draw_calibration({}, tmp_path / "none.png", title="none")
