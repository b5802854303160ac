"""What a recipe may say of features, what it becomes, and what is refused with which words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muma.config import parse
from muma.errors import ConfigError
from muma.features.config import FeaturesConfig
from muma.features.feature import Feature
from muma.features.keys import COMPONENTS, KeyKind
from muma.features.measure import Measure
from muma.features.plan import Plan
from muma.features.span import UNITS, parse_span, show_span
from muma.features.window import AllTime, Decay, Sliding, parse_window

PATH = "muma.features.families"
COUNT = {"use": f"{PATH}.count.Count", "keys": ["user"]}


def plan(blocks=None, **more):
    return Plan(parse(FeaturesConfig, {"blocks": blocks or {}, **more}, where="features"))


def count(**changes):
    return plan({"mine": COUNT | changes})


def block(family, **changes):
    return plan({"mine": {"use": f"{PATH}.{family}", "keys": ["user"]} | changes})


def where(**filter_):
    return plan({"mine": COUNT}, filters={"mine": filter_})


WRONG = {
    "unknown filter": (lambda: count(of=["clik"]), "unknown filter 'clik'; allowed: any, click"),
    "unknown filter of a rate": (
        lambda: block("rate.Rate", pairs=[["click", "seen"]]), "unknown filter 'seen'; allowed"),
    "unknown filter of a sequence": (
        lambda: plan(sequences={"s": {"of": "nothing"}}), "unknown filter 'nothing'; allowed"),
    "unknown member of a session": (
        lambda: block("session.Session", member="nothing"), "unknown filter 'nothing'; allowed"),
    "unknown key": (lambda: count(keys=["usr"]), "unknown component 'usr'; allowed: user, item"),
    "key of three": (lambda: count(keys=["user x item x author"]), "name one component, or two"),
    "key twice": (lambda: count(keys=["user x user"]), "name one component, or two different"),
    "global in a pair": (lambda: count(keys=["user x global"]), "'global' stands alone"),
    "friends behind": (lambda: count(keys=["item x friends"]), "'friends' comes first"),
    "no key": (lambda: count(keys=[]), "features.blocks.mine.keys"),
    "no pane": (lambda: count(windows=["1h"]), "'1h' names no pane; write length/pane"),
    "no span": (lambda: count(windows=["1y/1h"]), "'1y' is not a length of time; write it as 30s"),
    "nothing long": (lambda: count(windows=["0h/5m"]), "'0h' is not a length of time"),
    "pane that does not divide": (
        lambda: count(windows=["1h/7m"]), "'1h/7m': the length is not a whole number of panes"),
    "pane longer than window": (lambda: count(windows=["5m/1h"]), "not a whole number of panes"),
    "unknown family": (lambda: block("count.Cuont"), "has no class 'Cuont'; did you mean 'Count'"),
    "unknown module": (lambda: block("counts.Count"), "there is no module"),
    "not a family": (lambda: block("total.MeasuredConfig"), "it has no features and no values"),
    "unknown option": (lambda: count(window=["1h/5m"]), "unknown key 'window'; did you mean 'windows'"),
    "no use": (lambda: plan({"mine": {"keys": ["user"]}}), "features.blocks.mine.use"),
    "two of one name": (
        lambda: count(windows=["1h/5m", "1h/1m"]), "two features have the name 'user.any.count.1h'"),
    "two blocks of one name": (
        lambda: plan({"a": COUNT, "b": COUNT}), "two features have the name 'user.any.count.1d'"),
    "nothing at all": (plan, "neither a block nor a sequence; name at least one"),
    "negative under decay": (
        lambda: block("total.Sum", measure="value", windows=["decay/1h"]),
        "'value' can be negative and does not decay"),
    "short half-life": (
        lambda: plan({"mine": COUNT | {"windows": ["decay/199s"]}}, lateness="10m"),
        "half-life of decay199s cannot take events 10m late; make it at least a third"),
    "spread under decay": (
        lambda: block("spread.StdDev", windows=["decay/1h"]), "cannot be read over the window 'decay1h'"),
    "extremes under decay": (
        lambda: block("extremes.MinMax", windows=["decay/1h"]), "minimum or maximum cannot be read"),
    "recency under decay": (
        lambda: block("recency.Recency", windows=["decay/1h"]), "a recency cannot be read"),
    "distinct under decay": (
        lambda: block("distinct.Distinct", windows=["decay/1h"]), "a distinct count cannot be read"),
    "count with a horizon": (
        lambda: count(windows=["all/90d"]), "forgets by the time of the last event: only a recency"),
    "unknown measure": (lambda: block("mean.Mean", measure="dwel"), "'dwel' is unknown; allowed: one"),
    "sum of an id": (lambda: block("total.Sum", measure="author"), "id 'author' means nothing"),
    "unit of nothing": (lambda: block("total.Sum", unit=0), "unit must be >= 1"),
    "distinct of a measure": (
        lambda: block("distinct.Distinct", what="value"), "cannot count 'value'; allowed: user"),
    "odd registers": (lambda: block("distinct.Distinct", registers=48), "48 is not a power of two"),
    "few registers": (lambda: block("distinct.Distinct", registers=8), "greater than or equal to 16"),
    "share of one": (lambda: block("share.Share"), "a share needs a pair as key, such as 'user x"),
    "gap of nothing": (lambda: block("session.Session", gap="soon"), "'soon' is not a length of time"),
    "which session": (lambda: block("session.Session", which=["last"]), "'open' or 'closed'"),
    "half-life of an item": (
        lambda: plan({"mine": {"use": f"{PATH}.item_age.ItemAge", "half_life": "1"}}),
        "'1' is not a length of time"),
    "offset of a clock": (
        lambda: plan({"mine": {"use": f"{PATH}.clock.Clock", "utc_offset_hours": 15}}),
        "less than or equal to 14"),
    "certain prior": (lambda: block("rate.Rate", prior_rate=1.0), "less than 1"),
    "unknown kind": (lambda: where(kinds=["klick"]), "unknown kind 'klick'; allowed: impression"),
    "unknown domain": (lambda: where(domains=["tv"]), "unknown domain 'tv'; allowed: news"),
    "context without ctx_": (
        lambda: where(context={"tab": ["1"]}), "context column 'tab' must begin with 'ctx_'"),
    "empty area": (
        lambda: where(kinds=["fixation"], area=[0.5, 0, 0.5, 1]), "is empty; write [x0, y0, x1, y1]"),
    "area of clicks": (
        lambda: where(kinds=["click"], area=[0, 0, 1, 1]), "an area is of fixations: set kinds ="),
    "filter called any": (
        lambda: plan({"mine": COUNT}, filters={"any": {}}), "'any' has the name of a built-in one"),
    "filter called as a kind": (
        lambda: plan({"mine": COUNT}, filters={"click": {"domains": ["news"]}}),
        "'click' has the name of a built-in one; choose another"),
    "name with a dot": (
        lambda: plan({"mine": COUNT}, filters={"a.b": {}}), "a name is made of letters, digits"),
    "lateness": (lambda: plan({"mine": COUNT}, lateness="late"), "'late' is not a length of time"),
    "sequence of nothing": (lambda: plan(sequences={"s": {"length": 0}}), "greater than or equal to 1"),
    "horizon of a sequence": (
        lambda: plan(sequences={"s": {"horizon": "far"}}), "'far' is not a length of time"),
    "key of a sequence": (
        lambda: plan(sequences={"s": {"key": "me"}}), "unknown component 'me'; allowed: user"),
    "unknown section": (lambda: plan({"mine": COUNT}, filter={}), "unknown key 'filter'; did you mean"),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_recipe_is_refused_with_the_way_out(case):
    make, words = WRONG[case]
    with pytest.raises(ConfigError) as caught:
        make()
    assert words in str(caught.value)


def test_a_block_is_every_combination_in_order():
    made = count(
        keys=["user", "user x category"], of=["click", "any"], windows=["1h/5m", "decay/7d"]
    )
    assert made.columns == (
        "user.click.count.1h", "user.click.count.decay7d",
        "user.any.count.1h", "user.any.count.decay7d",
        "user_category.click.count.1h", "user_category.click.count.decay7d",
        "user_category.any.count.1h", "user_category.any.count.decay7d",
    )  # fmt: skip
    assert [kind.name for kind in made.kinds] == ["user", "user x category"]
    assert made.components == ("user", "category")


COLUMNS = {
    "total.Sum": ({"measure": "value"}, ["user.any.value.sum.1d"]),
    "mean.Mean": ({}, ["user.any.dwell_ms.mean.1d"]),
    "spread.StdDev": ({}, ["user.any.dwell_ms.std.1d"]),
    "extremes.MinMax": ({}, ["user.any.dwell_ms.min.1d", "user.any.dwell_ms.max.1d"]),
    "rate.Rate": ({}, ["user.click_per_impression.rate.1d"]),
    "recency.Recency": ({}, ["user.any.recency_s.all90d"]),
    "distinct.Distinct": ({"what": "author"}, ["user.any.distinct_author.1d"]),
    "topk.TopK": ({"k": 1}, ["user.any.top1_category.1d", "user.any.top1_share.1d"]),
    "share.Share": ({"keys": ["user x author"]}, ["user_author.any.share.1d"]),
    "session.Session": (
        {"which": ["open"], "gap": "90s"},
        [f"user.session.{name}.open90s" for name in (
            "events", "length_s", "since_start_s", "since_end_s", "dwell_ms", "dwell_mean_ms",
            "n_click")]),
    "gaze.Gaze": ({}, ["user.gaze.fixation.dwell_ms.1d", "user.gaze.fixation.share.1d"]),
}  # fmt: skip


@pytest.mark.parametrize("family", COLUMNS)
def test_columns_of_each_family(family):
    changes, columns = COLUMNS[family]
    assert list(block(family, **changes).columns) == columns


def test_families_share_the_state_of_equal_windows():
    blocks = {
        "a": COUNT | {"windows": ["1h/5m"]},
        "b": {"use": f"{PATH}.mean.Mean", "keys": ["user"], "windows": ["2h/5m", "1h/5m"]},
        "c": {"use": f"{PATH}.rate.Rate", "keys": ["user"], "pairs": [["any", "any"]],
              "windows": ["1h/5m"]},
    }  # fmt: skip
    states = plan(blocks).kinds[0].states
    assert len(states) == 1
    assert states[0].slots == 24 + 1  # the longest window, and a pane for what comes early
    assert len(states[0].partials) == 3


def test_a_filter_may_repeat_a_built_in_one():
    plan({"mine": COUNT}, filters={"click": {"kinds": ["click"]}})


def test_a_recipe_may_hold_sequences_alone():
    made = plan(sequences={"recent": {"length": 7, "horizon": "2d"}})
    ((spec, _, _),) = made.sequences
    assert (spec.length, spec.horizon, made.columns) == (7, 2 * UNITS["d"], ())


def test_explain_names_what_is_read():
    ((name, reads, columns),) = count(of=["click"], windows=["1h/5m"]).explain()
    assert (name, columns) == ("mine", ("user.click.count.1h",))
    assert reads == "add one of click by user over 1h"


def test_features_of_different_shape_cannot_share_a_block(monkeypatch):
    from muma.features.families.count import Count

    whole = Count.features
    monkeypatch.setattr(Count, "features", lambda self: [*whole(self), Feature(("a", "b"))])
    with pytest.raises(ConfigError, match="features of one block must have one shape"):
        count()


spans = st.builds(
    lambda n, unit: n * UNITS[unit], st.integers(1, 10_000), st.sampled_from([*UNITS])
)


@given(spans)
def test_a_span_is_read_as_it_is_shown(span):
    assert parse_span(show_span(span)) == span
    assert parse_span(f"  {show_span(span)} ") == span


@given(st.integers(1, 10_000), st.sampled_from([*UNITS]))
def test_a_span_is_shown_in_the_largest_whole_unit(n, unit):
    shown = show_span(n * UNITS[unit])
    larger = [u for u in UNITS if UNITS[u] > UNITS[shown.lstrip("0123456789")]]
    assert all(n * UNITS[unit] % UNITS[u] for u in larger)


@given(st.text(max_size=8))
def test_any_other_text_is_no_span(text):
    said = repr(text)
    try:
        said, span = "", parse_span(text)
    except ConfigError as error:
        said, span = str(error), 0
    assert span > 0 or repr(text) in said


@given(spans, st.integers(1, 500))
def test_windows_are_read_as_they_are_written(pane, panes):
    text = f"{show_span(pane * panes)}/{show_span(pane)}"
    window = parse_window(text)
    assert window == Sliding(pane * panes, pane)
    assert window.panes == panes
    assert parse_window(f"decay/{show_span(pane)}") == Decay(pane)
    assert parse_window(f"all/{show_span(pane)}") == AllTime(pane)
    assert parse_window("all") == AllTime()
    assert window.label == show_span(pane * panes)


@given(spans, spans)
def test_a_pane_must_divide_its_window(length, pane):
    text = f"{show_span(length)}/{show_span(pane)}"
    if length % pane:
        with pytest.raises(ConfigError, match="not a whole number of panes"):
            parse_window(text)
    else:
        assert parse_window(text) == Sliding(length, pane)


@given(st.lists(st.sampled_from(COMPONENTS), min_size=1, max_size=2, unique=True))
def test_a_key_is_read_as_it_is_written(parts):
    text = " x ".join(parts)
    if len(parts) == 2 and ("global" in parts or parts[1] == "friends"):
        with pytest.raises(ConfigError):
            KeyKind.parse(text)
    else:
        kind = KeyKind.parse(text)
        assert (kind.name, kind.label, kind.components) == (text, "_".join(parts), tuple(parts))


@pytest.mark.parametrize(("column", "unit", "low", "high"), [
    ("dwell_ms", 1, 0, 2**31), ("completion", 10, 0, 100), ("value", 3, -(2**52) // 3, 2**52 // 3),
])  # fmt: skip
def test_bounds_of_a_measure_in_units(column, unit, low, high):
    measure = Measure(column, unit)
    assert (measure.low, measure.high) == (low, high)


def test_some_columns_of_a_plan():
    whole = plan({"mine": COUNT, "age": {"use": f"{PATH}.item_age.ItemAge"}})
    part = whole.select([whole.columns[-1]])
    assert part.columns == (whole.columns[-1],)
    assert not part.needed[whole.kind("user")]
    with pytest.raises(ConfigError, match="no 'nothing' among the"):
        whole.select(["nothing"])
    with pytest.raises(ConfigError, match="asked for twice"):
        whole.select([whole.columns[0], whole.columns[0]])
    with pytest.raises(ConfigError, match="sequences: there is no 'recent'"):
        whole.select([], ["recent"])
