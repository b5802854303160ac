"""What the page shows, and what it does not let through."""

from dataclasses import replace

import msgspec
import pytest

from door_support import NOW, without
from muma.errors import StoreError
from muma.serving.parts import Item, Rules
from muma.testing.small_service import small_tenant
from page_support import BAD, enter, fields, forms, paged, shown, telling


def cards(text):
    """Items in slot order."""
    return [form["on"] for form in forms(text) if form.get("act") == "watch"]


def test_an_answer_is_shown_with_what_it_rests_on(opened):
    sent = opened.http.get("/?user=u1&count=3")
    text, kept = shown(sent.text), opened.mine.engine.log[f"d:{sent.headers['x-request-id']}"]
    assert cards(sent.text) == [one.item for one in kept.answer.items]
    assert kept.ask.user == "u1"
    assert kept.ask.explain
    for slot, one in enumerate(kept.answer.items, start=1):
        assert f"{slot} {one.title} category {one.category} · " in text
        assert f"among {kept.support_K[slot - 1]}" in text
    assert "Many are reading it now." in text
    assert "the item itself +0.50" in text
    assert "viewer's history \N{MINUS SIGN}0.25" in text
    assert "click 12%" in text
    assert "from popularity" in text
    assert text.count("explored") == sum(one.explored for one in kept.answer.items)
    assert "no-gore removed 3 items: v9" in text
    assert "softmax-1" in text
    assert "Latest events Rain all week" in text  # u1 has clicked n2
    assert f'href="/page/decisions/{sent.headers["x-request-id"]}"' in sent.text
    assert "Degraded" not in text
    assert 'x="0.0" y="1" width="33.3"' in sent.text  # the bar below 0
    assert 'x="33.3" y="1" width="66.7"' in sent.text


def test_the_evidence_is_readable(opened):
    sent = opened.http.get("/?user=u1&count=3")
    name = sent.headers["x-request-id"]
    page = opened.http.get(f"/page/decisions/{name}")
    assert page.status_code == 200
    text, kept = shown(page.text), opened.mine.engine.log[f"d:{name}"]
    assert f"Evidence of an answer {name}" in text
    assert 'for <a href="/?user=u1">u1</a>' in page.text
    assert f"All {len(kept.item_N)} candidates" in text
    for one in kept.answer.items:
        assert page.text.count(one.title) == 2  # among the slots, and above its features
    assert "clicks, last day 1" in text
    assert "time since the last click 0 s" in text
    assert "d:" not in text


@pytest.mark.parametrize("path", ["/page/decisions/none", "/page/decisions/%00", "/?count=999"])
def test_problems_are_pages(opened, path):
    sent = opened.http.get(path)
    assert sent.status_code in (404, 422)
    assert sent.headers["content-type"].startswith("text/html")
    assert sent.headers["x-request-id"] in sent.text
    assert "That did not work" in sent.text


def test_a_deed_goes_through_the_intake_and_shows_what_it_changed(opened):
    first = opened.http.get("/?user=u1&count=3")
    item = cards(first.text)[1]
    form = fields(first.text, "watch", item)
    done = opened.http.post("/page/act", data=form)
    assert done.status_code == 303
    assert done.headers["location"].startswith("/?user=u1&count=3&after=")
    events = list(opened.mine.intake.events.values())
    assert [event.kind for event in events] == ["impression", "click", "long_view"]
    for event in events:
        assert (event.user_id, event.item_id, event.position) == ("u1", item, 1)
        assert event.request_id == f"d:{first.headers['x-request-id']}"
        assert event.timestamp == NOW
        assert event.domain in ("news", "video")
    then = opened.http.get(done.headers["location"].partition("#")[0])
    text = shown(then.text)
    assert f"Watched {item} . The events ( impression, click, long view ) were on the disk" in text
    assert "Features of the viewer: 1 changed, 1 did not" in text
    assert "clicks, last day 1 ↑ 2" in text
    before, after = cards(first.text), cards(then.text)
    assert f"{len(set(after) - set(before))} new" in text
    assert then.text.count('class="tag new"') == len(set(after) - set(before))
    for gone in set(before) - set(after):
        assert opened.mine.items.get([gone])[0].title in then.text
    again = opened.http.post("/page/act", data=form)  # sent twice: nothing is counted twice
    assert again.headers["location"].endswith("ms=0#changed")
    assert len(opened.mine.intake.events) == 3


@pytest.mark.parametrize(("act", "last"), [("like", "like"), ("skip", "hide")])
def test_other_deeds(opened, act, last):
    page = opened.http.get("/?user=u1&count=2").text
    done = opened.http.post("/page/act", data=fields(page, act, cards(page)[0]))
    kinds = [event.kind for event in opened.mine.intake.events.values()]
    assert kinds == ["impression", last]
    assert "ms=-1" in done.headers["location"]  # the small engine learns from clicks alone
    assert "did not know of them" in shown(
        opened.http.get(done.headers["location"].partition("#")[0]).text
    )


def test_a_play_is_sent_where_the_length_is_known(opened):
    opened.mine.items.put([Item("n1", title="Long", domain="news", duration_ms=60_000)])
    page = opened.http.get("/?user=u1").text
    opened.http.post("/page/act", data=fields(page, "watch", "n1"))
    plays = [one for one in opened.mine.intake.events.values() if one.kind == "play"]
    assert [(one.dwell_ms, one.item_duration_ms) for one in plays] == [(60_000, 60_000)]


def test_an_anonymous_session_stays_in_the_address(opened):
    page = opened.http.get("/?count=2").text
    assert "For an anonymous session" in shown(page)
    one, two = cards(page)
    done = opened.http.post("/page/act", data=fields(page, "watch", one))
    address = done.headers["location"].partition("#")[0]
    assert address.startswith(f"/?item={one}&count=2&after=")
    then = opened.http.get(address)
    assert opened.mine.engine.log[f"d:{then.headers['x-request-id']}"].ask.session == (one,)
    done = opened.http.post("/page/act", data=fields(page, "skip", two))
    hidden = opened.http.get(done.headers["location"].partition("#")[0])
    assert two not in cards(hidden.text)
    assert opened.mine.engine.log[f"d:{hidden.headers['x-request-id']}"].ask.user is None
    assert not opened.mine.intake.events


def test_new_and_unknown_viewers(opened):
    sent = opened.http.get("/page/new?count=6")
    assert sent.status_code == 303
    assert sent.headers["location"].startswith("/?user=viewer-")
    other = opened.http.get("/page/new").headers["location"]
    assert other != sent.headers["location"]
    text = opened.http.get("/?user=u123").text
    assert "Nobody called u123 is known yet" in shown(text)
    assert cards(text)
    assert 'href="/?user=u1"' not in text  # begins with "u1", not with "u12"
    opened.mine.engine.learn("u12x", "n1", time=NOW)
    assert 'href="/?user=u12x"' in opened.http.get("/?user=u123").text


def test_suggestions(opened):
    opened.mine.engine.learn("ann&b", "n1", time=NOW)
    assert '<option value="ann&amp;b">' in opened.http.get("/").text
    assert opened.http.get("/page/users?q=an").json() == {"users": ["ann&b"]}
    assert opened.http.get("/page/users?q=zz").json() == {"users": []}
    assert opened.http.get("/page/users?q=%0a").status_code == 422


def test_without_profiling(opened):
    sent = opened.http.get("/?user=u1&profile=off")
    assert "without profiling ·" in shown(sent.text)
    assert not opened.mine.engine.log[f"d:{sent.headers['x-request-id']}"].ask.profiling


def test_whatever_is_shown_is_escaped(tmp_path, impatient):
    bad = Item(BAD, title=f"{BAD}{{{{ 7 * 7 }}}}", category=BAD, domain="news", tags=(BAD,))

    def hostile(tenant):
        made = small_tenant(items=(bad,), prefix="d:")
        rule = {"id": BAD, "kind": BAD, "note": BAD, BAD: [BAD], "select": {BAD: BAD}}
        made.rules.get = lambda: Rules(BAD, (rule,))
        made = telling(made)
        plain = made.engine.answer

        def answer(ask):
            found = plain(ask)
            slots = tuple(
                msgspec.structs.replace(
                    one, reason=BAD, groups={BAD: 1.0}, sources=(BAD,), rules=(BAD,),
                    probability={BAD: 0.5},
                )
                for one in found.answer.items
            )  # fmt: skip
            told = replace(
                found.answer, items=slots, degraded=(BAD,), versions={BAD: BAD}, stages_us={BAD: 3}
            )
            hits = tuple(replace(hit, rule=BAD, action=BAD, items=(BAD,)) for hit in found.hits)
            columns = (f"user.{BAD}", f"candidate.{BAD}", BAD)
            found = replace(found, answer=told, hits=hits, columns=columns)
            made.engine.log[ask.request_id] = found
            return found

        made.engine.answer = answer
        return made

    with paged(tmp_path, change=hostile) as opened:
        enter(opened)
        opened.mine.engine.learn(BAD, BAD, time=NOW)
        first = opened.http.get("/", params={"user": BAD})
        form = fields(first.text, "watch", BAD)
        done = opened.http.post("/page/act", data=form)
        pages = [
            first.text,
            opened.http.get(done.headers["location"].partition("#")[0]).text,
            opened.http.get(f"/page/decisions/{first.headers['x-request-id']}").text,
            opened.http.get("/", params={"user": "unknown" + BAD}).text,
            opened.http.get("/", params={BAD: BAD}).text,
        ]
    for text in pages[:4]:
        assert "&lt;script&gt;" in text
        assert "{{ 7 * 7 }}" in text or text == pages[3]
    for text in pages:
        assert BAD not in text
        assert "alert('x')" not in text
        assert text.count("<script") == 1


def test_a_degraded_answer_says_so(tmp_path):
    def degraded(tenant):
        tenant = telling(tenant)
        plain = tenant.engine.answer

        def answer(ask):
            found = plain(ask)
            told = ("history: the feature store cannot be read", "rank: no time was left")
            return replace(found, answer=replace(found.answer, degraded=told))

        tenant.engine.answer = answer
        return tenant

    with paged(tmp_path, change=degraded) as opened:
        enter(opened)
        text = shown(opened.http.get("/?user=u1").text)
    assert "Degraded. Left out of this answer: history: the feature store cannot be read" in text


def test_an_empty_catalogue(tmp_path, impatient):
    with paged(tmp_path, change=lambda _: telling(small_tenant(items=(), prefix="d:"))) as opened:
        enter(opened)
        sent = opened.http.get("/?user=u1")
        assert sent.status_code == 200
        assert "There is nothing to show" in shown(sent.text)
        page = opened.http.get(f"/page/decisions/{sent.headers['x-request-id']}")
        assert "All 0 candidates" in shown(page.text)
        after = opened.http.get(f"/?user=u1&after={sent.headers['x-request-id']}")
        assert "No feature of the viewer is other than before" in shown(after.text)


def test_parts_that_are_not_offered_are_left_out(tmp_path):
    gone = ("intake", "decisions", "items", "rules", "directory", "audit", "models", "forgetting")
    with paged(tmp_path, change=without(**dict.fromkeys(gone))) as opened:
        enter(opened)
        page = opened.http.get("/?user=u1&after=gone")
        assert page.status_code == 200
        assert "not kept, so there is nothing to compare" in shown(page.text)
        done = opened.http.post("/page/act", data=fields(page.text, "watch", "n1"))
        assert done.status_code == 404
        assert "the intake of events is not here" in shown(done.text)


def test_the_past_of_another_user_is_no_past(opened):
    first = opened.http.get("/?user=u1").headers["x-request-id"]
    text = shown(opened.http.get(f"/?user=u2&after={first}").text)
    assert "What changed" in text
    assert "Features of the viewer" not in text
    assert "not kept, so there is nothing to compare" in text


def test_a_full_disk_is_said(opened):
    def full(events, *, received_at):
        raise StoreError("no room") from OSError(28, "No space left on device")

    page = opened.http.get("/?user=u1").text
    opened.mine.intake.put = full
    sent = opened.http.post("/page/act", data=fields(page, "watch", "n1"))
    assert sent.status_code == 507
    assert "the disk is full" in shown(sent.text)


def test_forms_are_bounded(opened):
    token = forms(opened.http.get("/").text)[0]["token"]
    good = {"token": token, "act": "like", "on": "n1", "position": "0", "request_id": "r"}
    for change, status in (
        ({"act": "erase"}, 422), ({"on": ""}, 422), ({"on": "a\x00"}, 422), ({"extra": "1"}, 422),
        ({"position": "-1"}, 422), ({"position": "x"}, 422), ({"view": "/?evil=1"}, 422),
        ({"view": "/?user=u1&count=1000"}, 422), ({"on": "x" * 2_000_000}, 413),
    ):  # fmt: skip
        sent = opened.http.post("/page/act", data={**good, **change})
        assert sent.status_code == status, change
        assert sent.headers["content-type"].startswith("text/html")
    assert opened.http.post("/page/act", json=good).status_code == 415
    headers = {"content-type": "application/x-www-form-urlencoded"}
    sent = opened.http.post("/page/act", content=b"\xff\xfe", headers=headers)
    assert sent.status_code == 422
    assert not opened.mine.intake.events


def test_a_deed_cannot_lead_elsewhere(opened):
    page = opened.http.get("/").text
    form = fields(page, "watch", "n1")
    for view in ("//evil.example/?user=u1", "https://evil.example", "/?key=muma_x&user=u1"):
        sent = opened.http.post("/page/act", data={**form, "view": view})
        assert sent.status_code in (303, 422)
        assert sent.headers.get("location", "/?").startswith("/?")
        assert "key" not in sent.headers.get("location", "")


def test_rules_in_force_are_shown(opened):
    rules = [
        {"id": "no-gore", "kind": "without", "select": {"tags_any": ["gore"]}, "note": "law"},
        {"id": "cap", "kind": "topic_cap", "enabled": False, "most": 2},
    ]
    opened.call("PUT", "/v1/rules", {"rules": rules})
    text = shown(opened.http.get("/").text)
    assert "no-gore without law select tags any: gore" in text
    assert "cap topic cap · switched off most 2" in text
    assert opened.mine.rules.get().version in text
