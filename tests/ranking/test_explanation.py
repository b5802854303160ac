"""Explanations add up, what-if equals scoring by hand, and sentences say only what the signs say."""

import math
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from muma.errors import ConfigError, DataError
from muma.ranking.explanation import Explanation, Part, explain, what_if, why_above, without
from muma.ranking.groups import GROUPS, GroupsConfig, group_columns, group_of, sum_groups
from muma.ranking.multi import MultiRanker, MultiRankerConfig
from muma.ranking.phrases import TEMPLATES, Subject, WordsConfig, describe
from muma.ranking.ranker import Examples, Slate
from muma.ranking.sentences import SentencesConfig, sentence, sentence_above, sentence_without
from muma.ranking.units import duration, number, share, window

COLUMNS = ("user_category.click.count.7d", "item.age_s", "item.freshness.1d", "clock.hour", "odd")
WEIGHT_F = np.array([0.5, -2.0, 1.0, 0.25, 3.0])
MEAN_F = np.array([1.0, 2.0, 0.5, 12.0, 0.0])


def score(value_NF):
    return np.nan_to_num(value_NF.astype(np.float64) - MEAN_F) @ WEIGHT_F + 0.7


def attribute(value_NF):
    """The exact Shapley values of a linear model with independent features: w (x - mean)."""
    phi_NF = np.nan_to_num(value_NF.astype(np.float64) - MEAN_F) * WEIGHT_F
    return np.column_stack([phi_NF, np.full(len(phi_NF), 0.7)])


def slate_of(value_NF):
    value_NF = np.asarray(value_NF, np.float32)
    order_N = np.argsort(-score(value_NF), kind="stable")
    value_NF = value_NF[order_N]
    return Slate(order_N + 100, score(value_NF), value_NF, COLUMNS, {}, attribute)


VALUES = arrays(np.float32, (4, 5), elements=st.floats(-8, 8, width=16) | st.just(np.nan))


@settings(max_examples=60, deadline=None)
@given(VALUES, st.integers(0, 3), st.integers(0, 3))
def test_scores_and_their_differences_add_up(value_NF, a, b):
    slate = slate_of(value_NF)
    found = explain(slate, a)
    assert found.item == slate.item_N[a]
    assert found.total == pytest.approx(found.score, abs=1e-9)
    assert found.base + sum(found.groups.values()) == pytest.approx(found.score, abs=1e-9)
    assert {part.name for part in found.parts} == set(COLUMNS)
    sizes = [abs(part.contribution) for part in found.parts]
    assert sizes == sorted(sizes, reverse=True)
    apart = why_above(slate, a, b)
    assert apart.total == pytest.approx(slate.score_N[a] - slate.score_N[b], abs=1e-9)
    assert sum(apart.groups.values()) == pytest.approx(apart.gap, abs=1e-9)
    back = {part.name: part.contribution for part in why_above(slate, b, a).parts}
    assert all(part.contribution == -back[part.name] for part in apart.parts)


def test_a_feature_that_lifts_all_alike_explains_no_order():
    slate = slate_of([[1, 2, 0, 20, 0], [0, 2, 0, 20, 0]])
    assert {p.name: p.contribution for p in explain(slate, 0).parts}["clock.hour"] == 2.0
    assert {p.name: p.contribution for p in why_above(slate, 0, 1).parts}["clock.hour"] == 0.0


@settings(max_examples=60, deadline=None)
@given(VALUES, st.integers(0, 3), st.booleans(), st.floats(-4, 4, width=16))
def test_what_if_is_scoring_by_hand(value_NF, place, everyone, value):
    slate = slate_of(value_NF)
    found = what_if(slate, score, place, {"item.freshness.1d": value}, everyone=everyone)
    other_NF = slate.value_NF.copy()
    if everyone:
        other_NF[:, 2] = value
    else:
        other_NF[place, 2] = value
    order = sorted(range(4), key=lambda n: -score(other_NF)[n])
    assert found.rank_after == order.index(place) + 1
    assert found.score_after == score(other_NF)[place]
    assert (found.rank_before, found.score_before) == (place + 1, slate.score_N[place])
    assert slate.value_NF[place, 2] == value_NF[slate.item_N[place] - 100, 2] or np.isnan(
        slate.value_NF[place, 2]
    )


def test_without_a_group_its_part_is_gone():
    slate = slate_of([[9, 0, 1, 0, 0], [0, 1, 0, 0, 0]])
    changes = without(COLUMNS, "item")
    assert list(changes) == ["item.age_s", "item.freshness.1d"]
    assert all(math.isnan(value) for value in changes.values())
    found = what_if(slate, score, 0, changes)
    gone = explain(slate, 0).groups["item"]
    assert found.score_before - found.score_after == pytest.approx(gone)
    assert found.rank_after == 1
    assert sentence_without("freshness", found) == "Without freshness: rank 1 as before."
    assert without(COLUMNS, "item", reference={"item.age_s": 2.0})["item.age_s"] == 2.0


def test_wrong_questions_are_refused():
    slate = slate_of([[9, 0, 1, 0, 0], [0, 1, 0, 0, 0]])
    for place in (-1, 2):
        with pytest.raises(ConfigError, match="allowed are 0 to 1"):
            explain(slate, place)
    with pytest.raises(ConfigError, match="empty"):
        why_above(slate.take(np.array([], int)), 0, 0)
    with pytest.raises(ConfigError, match=r"no feature 'item\.ag'.*item\.age_s"):
        what_if(slate, score, 0, {"item.ag": 1.0})
    with pytest.raises(ConfigError, match="no feature is of group 'gaze'; there are: history"):
        without(COLUMNS, "gaze")
    with pytest.raises(DataError, match="explain a slate with the ranker that scored it"):
        explain(
            Slate(slate.item_N, slate.score_N + 0.01, slate.value_NF, COLUMNS, {}, attribute), 0
        )


def test_every_kind_of_column_has_its_group():
    known = {
        "user.click.count.1h": "history", "user_author.click.count.7d": "history",
        "user_item.play.recency_s.all90d": "history", "user_category.click.share.7d": "history",
        "item.click_per_impression.rate.7d": "item", "item.age_s": "item", "item_attr.duration": "item",
        "author.click.count.7d": "author", "category.click.count.7d": "category",
        "friends.click.count.7d": "social", "friends_item.click.count.7d": "social",
        "user.gaze.headline.share.7d": "gaze", "user.session.events.open30m": "session",
        "user.play.dwell_ms.mean.open30m": "session", "user.click.count.closed30m": "session",
        "clock.weekend": "context", "position": "context", "context.device": "context",
        "global.click.count.1h": "context", "user_attr.age": "profile",
        "candidate.interest": "interest", "candidate.markov": "candidates",
        "candidate.interesting": "candidates", "userland": "other", "": "other",
    }  # fmt: skip
    assert {column: group_of(column) for column in known} == known
    assert set(known.values()) == set(GROUPS)


def test_own_rules_come_first():
    config = GroupsConfig(rules={"item.click*": "popularity", "item.*": "thing"})
    assert group_of("item.click.count.1h", config) == "popularity"
    assert group_of("item.age_s", config) == "thing"
    assert group_of("user.click.count.1h", config) == "history"


@given(
    st.lists(st.sampled_from([*COLUMNS, "candidate.als", "friends.click.count.1h"]), unique=True)
)
def test_groups_part_the_columns(columns):
    found = group_columns(columns)
    assert sorted(name for names in found.values() for name in names) == sorted(columns)
    phi_NF = np.arange(3.0 * len(columns)).reshape(3, len(columns))
    total = sum(sum_groups(phi_NF, columns).values(), start=np.zeros(3))
    np.testing.assert_allclose(total, phi_NF.sum(axis=1))


ABOUT = Subject(category="11", author="Ann")
PHRASES = {
    ("user.click.count.1h", 1): ("your 1 click in the last hour", "you have clicked 1 video in the last hour"),
    ("user.impression.count.1d", 30): ("your 30 showings in the last day", None),
    ("user.click.count.1d", 0): ("having no clicks of yours in the last day", None),
    ("user_category.long_view.count.7d", 12): ("your 12 long views in category 11 in the last 7 days", "you have watched 12 videos of category 11 in the last 7 days"),
    ("user_category.long_view.count.7d", 0): ("having no long views of yours in category 11 in the last 7 days", None),
    ("user_author.like.count.all", 2): ("your 2 likes on Ann so far", "you have liked 2 videos by Ann so far"),
    ("user_item.play.count.all90d", 1): ("your 1 play on it in the last 90 days", None),
    ("item.click.count.7d", 1200): ("its 1,200 clicks in the last 7 days", None),
    ("item.click.count.7d", 0): ("having no clicks on it in the last 7 days", None),
    ("category.like.count.decay1d", 2.5): ("the 2.5 likes in category 11 lately (halved every day)", None),
    ("friends_item.click.count.1d", 3): ("3 clicks on it by people you follow in the last day", None),
    ("friends.click.count.1d", 3): ("3 clicks by people you follow in the last day", None),
    ("global.click.count.1h", 9): ("9 clicks on all videos in the last hour", None),
    ("item.zap.count.1h", 4): ("its 4 zap events in the last hour", None),
    ("item.click_per_impression.rate.7d", 0.5234): ("its rate of clicks per showing in the last 7 days (0.52)", None),
    ("user_category.click_per_impression.rate.1d", 0.05): ("your rate of clicks per showing in category 11 in the last day (0.05)", None),
    ("user.play.dwell_ms.mean.1h", 12_400): ("your average viewing time over plays in the last hour (12 seconds)", None),
    ("item.play.completion.max.7d", 0.9): ("its largest completion over plays in the last 7 days (90%)", None),
    ("item.rating.value.std.all", 1.25): ("its spread of rating over rating events so far (1.2)", None),
    ("author.play.dwell_ms.sum.1d", 7_200_000): ("the total viewing time over plays on Ann in the last day (2 hours)", None),
    ("user_category.click.share.7d", 0.347): ("the 35% of your clicks in the last 7 days that went to category 11", None),
    ("user.click.recency_s.all90d", 3 * 3600): ("your last click, 3 hours ago", None),
    ("item.click.recency_s.all", 60): ("its last click, 1 minute ago", None),
    ("user.session.events.open30m", 5): ("having 5 events in this session", None),
    ("user.session.n_click.closed30m", 0): ("having no clicks in the session before", None),
    ("user.session.length_s.open30m", 600): ("the length of this session (10 minutes)", None),
    ("user.session.dwell_mean_ms.open30m", 8000): ("the average viewing time of this session (8 seconds)", None),
    ("item.age_s", 777600): ("being 9 days old", None),
    ("item.freshness.1d", 0.5): ("its freshness of 50%, which halves every day", None),
    ("clock.hour", 14): ("the hour of the day (14:00)", None),
    ("clock.hour_sin", 0.5): ("the time of day", None),
    ("clock.weekday", 0): ("the day of the week (Monday)", None),
    ("clock.weekend", 0): ("its not being the weekend", None),
    ("clock.weekend", 1): ("its being the weekend", None),
    ("user.gaze.headline.dwell_ms.7d", 2500): ("the time of your eyes on the headline in the last 7 days (2 seconds)", None),
    ("item.gaze.fixation.share.7d", 0.25): ("the share of attention of eyes on it on the screen in the last 7 days (25%)", None),
    ("user.click.distinct_category.7d", 6.8): ("about 7 different categories in your clicks in the last 7 days", None),
    ("user.click.top2_category.7d", 4): ("the second most frequent category of your clicks in the last 7 days (number 4)", None),
    ("user.click.top1_share.7d", 0.4): ("the most frequent category's share of your clicks in the last 7 days (40%)", None),
    ("candidate.markov", 0.2): ("its score from markov (0.2)", "viewers of your last video went on to it"),
    ("candidate.markov", 0.0): ("having no history of yours to go by", None),
    ("candidate.popularity", 0.0): ("its score from general popularity (0)", None),
    ("candidate.interest", -1.5): ("its score from the model of your interests (-1.5)", None),
    ("position", 3): ("the place in the list it was judged for (3)", None),
    ("context.device", 2): ("the request's device (2)", None),
    ("user_attr.age_range", 4): ("your age range (4)", None),
    ("item_attr.duration_ms", 12): ("its duration ms (12)", None),
    ("my.own", 0.52): ("its my own (0.52)", None),
    ("shop.click rank.7d", 0.52): ("its shop click rank in the last 7 days (0.52)", None),
    ("item.click.count.7d", math.nan): ("having no known item click count in the last 7 days", None),
}  # fmt: skip


@pytest.mark.parametrize(("column", "value"), PHRASES)
def test_phrases(column, value):
    found = describe(column, float(value), about=ABOUT)
    assert (found.noun, found.clause) == PHRASES[column, value]


def test_no_template_is_untested():
    used = set()
    for column, _ in PHRASES:
        used.add(next((rule for rule in TEMPLATES if re.fullmatch(rule, column)), None))
    assert used == {*TEMPLATES, None}


def test_nameless_subjects_and_own_words():
    found = describe("user_category.click.count.7d", 2.0, words=WordsConfig(items="stories"))
    assert found.clause == "you have clicked 2 stories of its category in the last 7 days"


def parts_of(**contribution):
    names = {"count": ("user_category.click.count.7d", 12.0), "markov": ("candidate.markov", 0.3),
             "age": ("item.age_s", 777600.0), "rate": ("item.click_per_impression.rate.7d", 0.52),
             "hour": ("clock.hour", 14.0)}  # fmt: skip
    parts = [
        Part(n, group_of(n), v, contribution[k]) for k, (n, v) in names.items() if k in contribution
    ]
    return tuple(sorted(parts, key=lambda part: -abs(part.contribution)))


def told(place=0, **contribution):
    return sentence(Explanation(place, 1, 0.0, 0.0, parts_of(**contribution)), about=ABOUT)


def test_sentences():
    assert told(count=1.0, markov=0.8, age=-0.5) == (
        "Shown first: you have clicked 12 videos of category 11 in the last 7 days, and viewers of "
        "your last video went on to it; being 9 days old held it back."
    )
    assert told(2, rate=0.4) == (
        "Shown third: its rate of clicks per showing in the last 7 days (0.52) raised it."
    )
    assert told(20, age=-0.4) == "Shown 21st: being 9 days old held it back."
    assert told(11) == "Shown 12th."
    assert told(count=0.0, age=0.0) == "Shown first."


def test_what_is_the_same_for_all_is_named_last():
    assert "hour" not in told(hour=5.0, rate=0.1)
    assert told(hour=5.0) == "Shown first: the hour of the day (14:00) raised it."


def test_small_parts_and_outvoted_groups_are_not_named():
    assert "clicked" not in told(count=0.1, markov=1.0)
    assert "clicks per showing" not in told(rate=0.5, age=-0.9)  # the item as a whole held it back


@given(st.lists(st.floats(-2, 2, width=16), min_size=4, max_size=4))
def test_signs_decide_what_a_sentence_claims(phi):
    found = told(**dict(zip(("count", "markov", "age", "rate"), phi, strict=True)))
    raised, _, held = found.partition(";")
    facts = {"count": "category 11", "markov": "your last video", "age": "9 days old",
             "rate": "per showing"}  # fmt: skip
    if "held it back" in raised:
        raised, held = "", raised
    for (name, fact), part in zip(facts.items(), phi, strict=True):
        if part <= 0:
            assert fact not in raised, name
        if part >= 0:
            assert fact not in held, name


def test_sentence_of_a_difference_has_its_sign():
    slate = slate_of([[9, 0, 1, 0, 0], [0, 1, 0, 0, 0]])
    assert sentence_above(why_above(slate, 0, 1), config=SentencesConfig(reasons=1)) == (
        "It scores higher: you have clicked 9 videos of its category in the last 7 days."
    )
    assert sentence_above(why_above(slate, 1, 0)).startswith("It scores lower: having no clicks")
    assert sentence_above(why_above(slate, 0, 0)) == "It scores the same."


def test_units_at_their_edges():
    assert [number(x) for x in (math.nan, math.inf, -math.inf)] == [
        "unknown",
        "very large",
        "very small",
    ]
    assert share(math.nan) == "unknown"
    assert share(0.0) == "0%"
    assert duration(-90.0) == "-1 minute"
    assert duration(0.0) == "0 seconds"
    for label in ("", "7", "decay", "7x", "opened"):
        with pytest.raises(ValueError, match="no window"):
            window(label)


def test_a_real_ranker_is_explained_to_a_millionth():
    rng = np.random.default_rng(2)
    value_NF = rng.normal(size=(900, 5)).astype(np.float32)
    label_N = (rng.random(900) < 1 / (1 + np.exp(-value_NF[:, 0] + value_NF[:, 1]))).astype(float)
    whole = Examples(COLUMNS, value_NF, label_N, np.arange(900) // 10)
    train, later = whole.rows(np.arange(600)), whole.rows(np.arange(600, 900))
    engine = {"trees": 20, "leaves": 8}
    config = MultiRankerConfig.model_validate({
        "labels": {"click": 1.0, "like": 0.5},
        "fixed": {"clock.hour": 1.0},
        "pair": {"resamples": 0, "first": {"use": "muma.ranking.engines.xgboost.XGBoostEngine", **engine},
                 "second": {"use": "muma.ranking.engines.lightgbm.LightGBMEngine", **engine}},
    })  # fmt: skip
    ranker = MultiRanker(config).fit(
        {"click": train, "like": train}, later={"click": later, "like": later}
    )
    slate = ranker.rank(np.ascontiguousarray(value_NF[:12]), np.arange(12))
    for place in range(12):
        assert explain(slate, place).total == pytest.approx(slate.score_N[place], abs=1e-6)
        apart = why_above(slate, 0, place)
        assert apart.total == pytest.approx(slate.score_N[0] - slate.score_N[place], abs=1e-6)
    found = what_if(slate, ranker.score, 0, without(COLUMNS, "history"))
    by_hand = slate.value_NF.copy()
    by_hand[0, 0] = np.nan
    assert found.score_after == ranker.score(by_hand)[0]
    assert found.rank_after > found.rank_before == 1
    assert sentence(explain(slate, 0)).startswith("Shown first: ")
