"""Every family under both engines, held against the brute-force reference."""

import inspect

from muma.features.families.clock import Clock
from muma.features.families.count import Count
from muma.features.families.distinct import Distinct
from muma.features.families.extremes import MinMax
from muma.features.families.gaze import Gaze
from muma.features.families.item_age import ItemAge
from muma.features.families.mean import Mean
from muma.features.families.rate import Rate
from muma.features.families.recency import Recency
from muma.features.families.session import Session
from muma.features.families.share import Share
from muma.features.families.spread import StdDev
from muma.features.families.topk import TopK
from muma.features.families.total import Sum
from muma.testing.discovery import classes_in
from muma.testing.feature_suite import FeatureSuite

PATH = "muma.features.families"
AREAS = {
    "head": {"kinds": ["fixation"], "area": [0.0, 0.0, 1.0, 0.3]},
    "left": {"kinds": ["fixation"], "area": [0.0, 0.0, 0.5, 1.0]},
}
FILTERS = {
    "tab1": {"kinds": ["click"], "context": {"ctx_tab": [1, "2"]}},
    "news_seen": {"kinds": ["click", "impression"], "domains": ["news"]},
    "video": {"domains": ["video"]},
}
WINDOWS = ["1h/5m", "6h/1h", "1d/1h", "all"]


class TestCount(FeatureSuite):
    component = Count
    filters = FILTERS
    blocks = {
        "count": {
            "use": f"{PATH}.count.Count",
            "keys": ["user", "item", "author", "category", "domain", "global"],
            "of": ["any", "click", "tab1", "news_seen", "fixation"],
            "windows": [*WINDOWS, "7d/7d"],
        }
    }


class TestCountOfPairs(FeatureSuite):
    component = Count
    filters = FILTERS
    blocks = {
        "pairs": {
            "use": f"{PATH}.count.Count",
            "keys": [
                "user x item", "user x author", "user x category", "user x domain", "author x domain",
                "item x user",
            ],
            "of": ["any", "video"],
            "windows": ["6h/1h", "decay/2h"],
        }
    }  # fmt: skip


class TestFriends(FeatureSuite):
    component = Count
    filters = FILTERS
    blocks = {
        "friends": {
            "use": f"{PATH}.count.Count",
            "keys": ["friends", "friends x item", "friends x category", "friends x user"],
            "of": ["click", "fixation"],
            "windows": ["6h/1h", "all", "decay/2h"],
        },
        "sessions": {"use": f"{PATH}.session.Session", "keys": ["friends"], "gap": "10m"},
    }
    sequences = {"theirs": {"key": "friends", "of": "click", "length": 5}}


class TestDecay(FeatureSuite):
    """Half-lives from a third of the lateness to a week."""

    component = Count
    filters = FILTERS
    blocks = {
        "count": {
            "use": f"{PATH}.count.Count",
            "keys": ["user", "item", "global"],
            "of": ["click", "any"],
            "windows": ["decay/200s", "decay/1h", "decay/7d"],
        },
        "sum": {
            "use": f"{PATH}.total.Sum",
            "keys": ["user"],
            "windows": ["decay/200s", "decay/1h"],
        },
    }


class TestSum(FeatureSuite):
    component = Sum
    blocks = {
        measure: {
            "use": f"{PATH}.total.Sum",
            "keys": ["user", "category"],
            "of": ["play", "any"],
            "windows": WINDOWS + ([] if measure == "value" else ["decay/1h"]),
            "measure": measure,
            "unit": unit,
        }
        for measure, unit in {"dwell_ms": 1, "completion": 10, "value": 1, "position": 3}.items()
    }


class TestMean(FeatureSuite):
    component = Mean
    blocks = {
        measure: {
            "use": f"{PATH}.mean.Mean",
            "keys": ["user", "item"],
            "of": ["any", "rating"],
            "windows": WINDOWS + ([] if measure == "value" else ["decay/1h"]),
            "measure": measure,
            "unit": unit,
        }
        for measure, unit in {"dwell_ms": 100, "completion": 1, "value": 7, "position": 1}.items()
    }


class TestStdDev(FeatureSuite):
    component = StdDev
    blocks = {
        measure: {
            "use": f"{PATH}.spread.StdDev",
            "keys": ["user", "item"],
            "windows": WINDOWS,
            "measure": measure,
            "unit": unit,
        }
        for measure, unit in {"dwell_ms": 100, "completion": 1, "value": 100}.items()
    }


class TestMinMax(FeatureSuite):
    component = MinMax
    blocks = {
        measure: {
            "use": f"{PATH}.extremes.MinMax",
            "keys": ["user", "author"],
            "of": ["any", "play"],
            "windows": WINDOWS,
            "measure": measure,
            "unit": unit,
        }
        for measure, unit in {"dwell_ms": 1, "completion": 1, "value": 3, "position": 2}.items()
    }


class TestRate(FeatureSuite):
    component = Rate
    filters = FILTERS
    blocks = {
        "smoothed": {
            "use": f"{PATH}.rate.Rate",
            "keys": ["item", "user", "domain"],
            "pairs": [["click", "impression"], ["tab1", "any"]],
            "windows": [*WINDOWS, "decay/1h"],
        },
        "raw": {
            "use": f"{PATH}.rate.Rate",
            "keys": ["author"],
            "windows": ["6h/1h", "decay/1h"],
            "prior_trials": 0.0,
        },
    }


class TestRecency(FeatureSuite):
    component = Recency
    filters = FILTERS
    blocks = {
        "recency": {
            "use": f"{PATH}.recency.Recency",
            "keys": ["user", "item", "user x item", "user x author"],
            "of": ["any", "click", "tab1"],
            "windows": ["all", "all/90d", "all/2h", "6h/1h"],
        }
    }


class TestDistinct(FeatureSuite):
    component = Distinct
    blocks = {
        what: {
            "use": f"{PATH}.distinct.Distinct",
            "keys": ["user", "item", "global"],
            "of": ["any", "click"],
            "windows": ["6h/1h", "all"],
            "what": what,
            "registers": registers,
        }
        for what, registers in {"item": 64, "user": 16, "author": 32, "category": 128}.items()
    }


class TestTopK(FeatureSuite):
    component = TopK
    blocks = {
        "top": {
            "use": f"{PATH}.topk.TopK",
            "keys": ["user", "item"],
            "of": ["any", "click"],
            "windows": ["6h/1h", "all", "decay/1h"],
        },
        "few": {
            "use": f"{PATH}.topk.TopK",
            "keys": ["global"],
            "windows": ["1d/1h", "decay/1h"],
            "k": 4,
            "buckets": 2,
        },
    }


class TestShare(FeatureSuite):
    component = Share
    blocks = {
        "share": {
            "use": f"{PATH}.share.Share",
            "keys": ["user x category", "user x author", "friends x item"],
            "of": ["any", "click"],
            "windows": ["6h/1h", "all", "decay/1h"],
        }
    }


class TestSession(FeatureSuite):
    component = Session
    filters = FILTERS
    blocks = {
        "user": {
            "use": f"{PATH}.session.Session",
            "keys": ["user", "item"],
            "gap": "30m",
            "counts": ["click", "tab1", "any"],
        },
        "below_lateness": {
            "use": f"{PATH}.session.Session",
            "keys": ["user", "item", "global"],
            "gap": "5m",
        },
        "short": {
            "use": f"{PATH}.session.Session",
            "gap": "1m",
            "member": "click",
            "counts": ["any", "play"],
            "horizon": "2h",
        },
    }


class TestItemAge(FeatureSuite):
    component = ItemAge
    blocks = {
        born: {"use": f"{PATH}.item_age.ItemAge", "born": born, "half_life": life}
        for born, life in {"either": "1d"}.items()
    }


class TestItemAgePublished(FeatureSuite):
    component = ItemAge
    blocks = {
        "age": {"use": f"{PATH}.item_age.ItemAge", "born": "published", "half_life": "1m"},
    }


class TestItemAgeFirstSeen(FeatureSuite):
    component = ItemAge
    blocks = {
        "age": {"use": f"{PATH}.item_age.ItemAge", "born": "first_seen", "half_life": "7h"},
    }


class TestClock(FeatureSuite):
    component = Clock
    blocks = {"clock": {"use": f"{PATH}.clock.Clock", "utc_offset_hours": 5.75}}


class TestGaze(FeatureSuite):
    component = Gaze
    filters = AREAS
    blocks = {
        "gaze": {
            "use": f"{PATH}.gaze.Gaze",
            "keys": ["user", "user x item"],
            "of": ["head", "left", "fixation"],
            "windows": ["6h/1h", "all", "decay/1h"],
        },
        "part": {"use": f"{PATH}.gaze.Gaze", "keys": ["item"], "of": ["head"], "whole": "left"},
    }


class TestSequences(FeatureSuite):
    """Sequences alone: a recipe may have no block."""

    filters = {**FILTERS, **AREAS}
    sequences = {
        "recent": {"length": 8},
        "last": {"of": "tab1", "length": 1},
        "viewers": {"key": "item", "of": "play", "length": 4, "horizon": "2h"},
        "affair": {"key": "user x category", "length": 3, "horizon": "90d"},
        "eyes": {"of": "head", "length": 6},
    }


class TestEverythingAtOnce(FeatureSuite):
    """Families share states; a short lateness and a long one."""

    filters = {**FILTERS, **AREAS}
    lateness = "2h"
    blocks = {
        **TestMean.blocks,
        **TestSession.blocks,
        **TestTopK.blocks,
        **TestGaze.blocks,
        "more": {
            "use": f"{PATH}.count.Count",
            "keys": ["user", "friends x item", "item"],
            "windows": ["2d/5m", "decay/40m"],
        },
        "distinct": {"use": f"{PATH}.distinct.Distinct", "keys": ["user"], "windows": ["1d/1h"]},
    }
    sequences = {"recent": {"length": 8}}


def test_every_family_has_a_suite():
    suites = [s for s in globals().values() if inspect.isclass(s) and issubclass(s, FeatureSuite)]
    families = {c for c in classes_in(PATH) if {"features", "values"} <= set(dir(c))}
    assert len(families) >= 14
    assert families <= {suite.component for suite in suites}
