"""A feature and its value in words: `item.age_s` = 777600 is "being 9 days old".

Every phrase is a noun phrase that states the value and nothing more, so that it stays true whatever
the sign of the feature's part. Some have a `clause` that tells the same fact as a sentence.
One template a family of features; a name that fits none gets its own words and its value.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pydantic import Field

from muma.config import Config
from muma.ranking.units import duration, number, share, window


class WordsConfig(Config):
    """The words of a house.

    Attributes:
        item, items: what it recommends.
        events: filter -> (one, many), as nouns.
        verbs: filter -> past participle, as in "you have clicked 3 videos".
        sources: candidate source -> what it says when it scores an item above 0.
    """

    item: str = "video"
    items: str = "videos"
    events: dict[str, tuple[str, str]] = Field(
        default={
            "impression": ("showing", "showings"),
            "click": ("click", "clicks"),
            "play": ("play", "plays"),
            "long_view": ("long view", "long views"),
            "like": ("like", "likes"),
            "share": ("share", "shares"),
            "comment": ("comment", "comments"),
            "follow": ("follow", "follows"),
            "any": ("event", "events"),
        }
    )
    verbs: dict[str, str] = Field(
        default={"click": "clicked", "play": "played", "like": "liked", "long_view": "watched"}
    )
    sources: dict[str, str] = Field(
        default={
            "markov": "viewers of your last {item} went on to it",
            "item_knn": "people who chose your recent {items} chose it too",
        }
    )

    def counted(self, of: str, n: float) -> str:
        """`3 clicks`, `1 click`, `no clicks`; an unknown filter is named as it is."""
        one, many = self.events.get(of, (f"{_plain(of)} event", f"{_plain(of)} events"))
        return f"no {many}" if n == 0 else f"{number(n)} {one if n == 1 else many}"

    def many(self, of: str) -> str:
        """`clicks`."""
        return self.events.get(of, ("", f"{_plain(of)} events"))[1]

    def one(self, of: str) -> str:
        """`click`."""
        return self.events.get(of, (f"{_plain(of)} event", ""))[0]


@dataclass(frozen=True)
class Subject:
    """What is known of the item by name; None says "its category"."""

    category: str | None = None
    author: str | None = None


@dataclass(frozen=True)
class Phrase:
    """`noun` states the value; `clause`, if there is one, tells it as a sentence of its own."""

    noun: str
    clause: str | None = None


def describe(
    column: str, value: float, *, words: WordsConfig | None = None, about: Subject | None = None
) -> Phrase:
    """Put a feature's value into words.

    Args:
        column: name of the feature.
        value: its value; NaN is a missing one.
        words: the house's words.
        about: names of the item's category and author.

    Example:
        >>> describe("item.age_s", 9 * 86_400.0).noun
        'being 9 days old'
        >>> describe("user_category.click.count.7d", 12.0, about=Subject(category="11")).clause
        'you have clicked 12 videos of category 11 in the last 7 days'
        >>> describe("x.y", 0.52).noun
        'its x y (0.52)'
    """
    words, about = words or WordsConfig(), about or Subject()
    for pattern, template in TEMPLATES.items():
        if (found := re.fullmatch(pattern, column)) is None:
            continue
        if math.isnan(value):
            return Phrase(f"having no known {_fallback(column)}")
        return template(found.groupdict(), value, words, about)
    if math.isnan(value):
        return Phrase(f"having no known {_fallback(column)}")
    return Phrase(f"its {_fallback(column)} ({number(value)})")


Template = Callable[[dict[str, str], float, WordsConfig, Subject], Phrase]


def _plain(name: str) -> str:
    return re.sub(r"[._]+", " ", name).strip()


def _fallback(column: str) -> str:
    """`item.click_per_impression.rate.7d` -> `item click per impression rate in the last 7 days`."""
    stem, _, last = column.rpartition(".")
    try:
        return f"{_plain(stem)} {window(last)}" if stem else _plain(column)
    except ValueError:
        return _plain(column)


def _category(about: Subject) -> str:
    return "its category" if about.category is None else f"category {about.category}"


def _author(about: Subject) -> str:
    return "its author" if about.author is None else about.author


def _around(key: str, about: Subject, words: WordsConfig) -> tuple[str, str]:
    """What stands before and after a noun to say whose it is: ("your ", " in category 11")."""
    own = {"user": "your ", "item": "its ", "friends": "", "domain": "", "global": ""}
    if key in own:
        after = {"friends": " by people you follow", "domain": f" on all {words.items} of its kind",
                 "global": f" on all {words.items}"}  # fmt: skip
        return own[key], after.get(key, "")
    whole, _, part = key.partition("_")
    on = {
        "item": " on it",
        "category": f" in {_category(about)}",
        "author": f" on {_author(about)}",
    }
    by = {"user": ("your ", ""), "friends": ("", " by people you follow")}
    if whole in by and part in on:
        return by[whole][0], on[part] + by[whole][1]
    if key in on:
        return "the ", on[key]
    return "the ", f" by {_plain(key)}"


def _count(m: dict[str, str], value: float, words: WordsConfig, about: Subject) -> Phrase:
    before, after = _around(m["key"], about, words)
    when, of = window(m["w"]), m["of"]
    if value == 0:
        return Phrase(f"having {words.counted(of, 0)}{_of(m['key'], about, words)} {when}")
    noun = f"{before}{words.counted(of, value)}{after} {when}"
    user, _, part = m["key"].partition("_")
    if user == "user" and part in ("", "category", "author") and of in words.verbs:
        ending = {"": "", "category": f" of {_category(about)}", "author": f" by {_author(about)}"}
        things = words.item if value == 1 else words.items
        return Phrase(
            noun, f"you have {words.verbs[of]} {number(value)} {things}{ending[part]} {when}"
        )
    return Phrase(noun)


def _of(key: str, about: Subject, words: WordsConfig) -> str:
    """Whose it is, after the noun only: " of yours in category 11"."""
    before, after = _around(key, about, words)
    return {"your ": " of yours", "its ": " on it"}.get(before, "") + after


def _rate(m: dict[str, str], value: float, words: WordsConfig, about: Subject) -> Phrase:
    before, after = _around(m["key"], about, words)
    rate = f"rate of {words.many(m['top'])} per {words.one(m['bottom'])}"
    return Phrase(f"{before or 'the '}{rate}{after} {window(m['w'])} ({number(value)})")


def _statistic(m: dict[str, str], value: float, words: WordsConfig, about: Subject) -> Phrase:
    before, after = _around(m["key"], about, words)
    name = {"mean": "average", "sum": "total", "std": "spread of", "min": "smallest",
            "max": "largest"}[m["what"]]  # fmt: skip
    what = {"dwell_ms": "viewing time", "completion": "completion", "value": "rating",
            "position": "place in the list"}.get(m["measure"], _plain(m["measure"]))  # fmt: skip
    shown = number(value)
    if m["measure"] == "dwell_ms":
        shown = duration(value / 1000)
    elif m["measure"] == "completion" and m["what"] != "sum":
        shown = share(value)
    over = "" if m["of"] == "any" else f" over {words.many(m['of'])}"
    return Phrase(f"{before or 'the '}{name} {what}{over}{after} {window(m['w'])} ({shown})")


def _share(m: dict[str, str], value: float, words: WordsConfig, about: Subject) -> Phrase:
    whole, _, part = m["key"].partition("_")
    who = {"user": "your ", "friends": "the "}.get(whole, f"the {_plain(whole)}'s ")
    by = " by people you follow" if whole == "friends" else ""
    what = {"category": _category(about), "author": _author(about)}.get(part, f"its {_plain(part)}")
    all_of = f"{who}{words.many(m['of'])}{by} {window(m['w'])}"
    return Phrase(f"the {share(value)} of {all_of} that went to {what}")


def _recency(m: dict[str, str], value: float, words: WordsConfig, about: Subject) -> Phrase:
    before, after = _around(m["key"], about, words)
    return Phrase(f"{before or 'the '}last {words.one(m['of'])}{after}, {duration(value)} ago")


def _session(m: dict[str, str], value: float, words: WordsConfig, about: Subject) -> Phrase:
    del about
    which = "this session" if m["w"].startswith("open") else "the session before"
    what = m["what"]
    if what == "events" or what.startswith("n_"):
        of = "any" if what == "events" else what[2:]
        return Phrase(f"having {words.counted(of, value)} in {which}")
    name = {"length_s": "length", "since_start_s": "time since the start",
            "since_end_s": "time since the last event", "dwell_ms": "total viewing time",
            "dwell_mean_ms": "average viewing time"}[what]  # fmt: skip
    return Phrase(f"the {name} of {which} ({duration(value / (1000 if 'ms' in what else 1))})")


def _age(m: dict[str, str], value: float, words: WordsConfig, about: Subject) -> Phrase:
    del m, words, about
    return Phrase(f"being {duration(value)} old")


def _freshness(m: dict[str, str], value: float, words: WordsConfig, about: Subject) -> Phrase:
    del words, about
    return Phrase(f"its freshness of {share(value)}, which halves every {window(m['w'], '')}")


def _clock(m: dict[str, str], value: float, words: WordsConfig, about: Subject) -> Phrase:
    del words, about
    if m["what"] == "hour":
        return Phrase(f"the hour of the day ({int(value)}:00)")
    if m["what"] == "weekday":
        return Phrase(f"the day of the week ({DAYS[int(value) % 7]})")
    if m["what"] == "weekend":
        return Phrase("its being the weekend" if value else "its not being the weekend")
    return Phrase("the time of day")


DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


def _gaze(m: dict[str, str], value: float, words: WordsConfig, about: Subject) -> Phrase:
    before, after = _around(m["key"], about, words)
    area = "the screen" if m["area"] == "fixation" else f"the {_plain(m['area'])}"
    shown = duration(value / 1000) if m["what"] == "dwell_ms" else share(value)
    whose = {"your ": "your eyes", "its ": "eyes on it"}.get(before, "eyes")
    verb = "time" if m["what"] == "dwell_ms" else "share of attention"
    return Phrase(f"the {verb} of {whose}{after} on {area} {window(m['w'])} ({shown})")


def _distinct(m: dict[str, str], value: float, words: WordsConfig, about: Subject) -> Phrase:
    before, after = _around(m["key"], about, words)
    plural = {"category": "categories", "item": words.items, "user": "people"}
    things = plural.get(m["what"], f"{m['what']}s")
    of = words.many(m["of"])
    n = number(round(value))
    return Phrase(f"about {n} different {things} in {before}{of}{after} {window(m['w'])}")


def _top(m: dict[str, str], value: float, words: WordsConfig, about: Subject) -> Phrase:
    before, after = _around(m["key"], about, words)
    rank = {"1": "most", "2": "second most", "3": "third most"}.get(
        m["rank"], f"{m['rank']}th most"
    )
    shown = f"number {number(value)}" if m["what"] == "category" else share(value)
    which = "category" if m["what"] == "category" else "category's share"
    return Phrase(
        f"the {rank} frequent {which} of {before}{words.many(m['of'])}{after} {window(m['w'])} ({shown})"
    )


def _candidate(m: dict[str, str], value: float, words: WordsConfig, about: Subject) -> Phrase:
    del about
    source = m["source"]
    told = words.sources.get(source) if value > 0 else None
    names = {"interest": "the model of your interests", "popularity": "general popularity"}
    noun = f"its score from {names.get(source, _plain(source))} ({number(value)})"
    if source != "popularity" and not abs(value) > 0:  # the same for every item: nothing to go by
        noun = "having no history of yours to go by"
    return Phrase(noun, told and told.format(item=words.item, items=words.items))


def _position(m: dict[str, str], value: float, words: WordsConfig, about: Subject) -> Phrase:
    del m, words, about
    return Phrase(f"the place in the list it was judged for ({number(value)})")


def _attribute(m: dict[str, str], value: float, words: WordsConfig, about: Subject) -> Phrase:
    del words, about
    whose = {"user_attr": "your", "item_attr": "its", "context": "the request's"}[m["key"]]
    return Phrase(f"{whose} {_plain(m['what'])} ({number(value)})")


_KEY, _OF, _W = r"(?P<key>[a-z_]+)", r"(?P<of>\w+)", r"(?P<w>\w+)"
TEMPLATES: Mapping[str, Template] = {
    rf"{_KEY}\.session\.(?P<what>events|\w+_s|dwell_ms|dwell_mean_ms|n_\w+)\.{_W}": _session,
    rf"{_KEY}\.gaze\.(?P<area>\w+)\.(?P<what>dwell_ms|share)\.{_W}": _gaze,
    rf"{_KEY}\.{_OF}\.count\.{_W}": _count,
    rf"{_KEY}\.(?P<top>\w+)_per_(?P<bottom>\w+)\.rate\.{_W}": _rate,
    rf"{_KEY}\.{_OF}\.(?P<measure>\w+)\.(?P<what>mean|sum|std|min|max)\.{_W}": _statistic,
    rf"{_KEY}\.{_OF}\.share\.{_W}": _share,
    rf"{_KEY}\.{_OF}\.recency_s\.{_W}": _recency,
    rf"{_KEY}\.{_OF}\.distinct_(?P<what>\w+)\.{_W}": _distinct,
    rf"{_KEY}\.{_OF}\.top(?P<rank>\d+)_(?P<what>category|share)\.{_W}": _top,
    r"item\.age_s": _age,
    rf"item\.freshness\.{_W}": _freshness,
    r"clock\.(?P<what>hour|hour_sin|hour_cos|weekday|weekend)": _clock,
    r"candidate\.(?P<source>[\w-]+)": _candidate,
    r"(context\.)?position": _position,
    r"(?P<key>user_attr|item_attr|context)\.(?P<what>[\w.]+)": _attribute,
}
"""Regular expression of a whole column name -> its template, in the order they are tried."""
