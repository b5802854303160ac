"""A page over the small service, whose engine here tells features, parts of scores and a history."""

import re
from contextlib import contextmanager
from dataclasses import replace
from html import unescape
from html.parser import HTMLParser

import msgspec
import numpy as np

from door_support import NOW, house
from muma.serving.recommending import Hit

COLUMNS = ("user.click.count.1d", "user.click.recency_s.all90d", "item.click.count.1d")
BAD = "<script>alert('x')</script>"


def telling(tenant):
    """The tenant with an engine that tells more than the small one does."""
    engine, plain, known = tenant.engine, tenant.engine.answer, tenant.engine.user

    def answer(ask):
        found = plain(ask)
        clicks = engine.histories.get(ask.user, [])
        mine = [len(clicks), 0.0 if clicks else np.nan]
        value_NF = np.column_stack([np.tile(mine, (len(found.item_N), 1)), found.value_NF])
        slots = tuple(
            msgspec.structs.replace(
                one, groups={"item": 0.5, "history": -0.25}, probability={"click": 0.125}
            )
            for one in found.answer.items
        )
        found = replace(
            found, answer=replace(found.answer, items=slots), columns=COLUMNS,
            value_NF=value_NF.astype(np.float32), hits=(Hit("no-gore", "removed", ("v9",), 3),),
        )  # fmt: skip
        engine.log[ask.request_id] = found
        return found

    def user(name):
        told = known(name)
        rows = [{"item": item, "time": NOW, "kind": "click"} for item in told["clicks"]]
        return {"features": {}, "history": rows[::-1], "as_of": told["as_of"]}

    engine.answer, engine.user = answer, user
    return tenant


@contextmanager
def paged(folder, *, change=telling, **more):
    """The house with a page; `change` may replace parts of its tenant."""
    with house(folder, change=change, **more) as opened:
        opened.http.follow_redirects = False
        both = opened.keys.create(tenant=opened.mine.name, roles=("read", "write"), name="both")
        opened.known["both"], opened.tokens["both"] = both
        yield opened


def enter(opened, key="both"):
    """Sign in with one of the keys."""
    sent = opened.http.get(f"/?key={opened.tokens[key]}", follow_redirects=False)
    assert sent.status_code == 303
    assert sent.headers["location"] == "/"


def fields(text, act, on):
    """The form of a button, as a browser would send it."""
    found = [form for form in forms(text) if (form.get("act"), form.get("on")) == (act, on)]
    assert len(found) == 1, (act, on)
    return found[0]


def forms(text):
    """The hidden fields of every form."""
    reader = _Forms()
    reader.feed(text)
    return reader.forms


def shown(text):
    """What a reader sees, in one line."""
    bare = re.sub(r"<svg.*?</svg>", " ", text, flags=re.DOTALL)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", bare)))


class _Forms(HTMLParser):
    def __init__(self):
        super().__init__()
        self.forms = []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "form":
            self.forms.append({})
        elif tag == "input" and given.get("type") == "hidden":
            self.forms[-1][given["name"]] = given["value"]
