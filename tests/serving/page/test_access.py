"""Keys, cookies, forms of other sites, pace."""

import logging

import pytest

from door_support import with_engine
from muma.serving.limits import LimitsConfig
from muma.serving.page.rendering import STATIC, versioned
from page_support import enter, fields, forms, paged, shown, telling

ROUTES = ["/", "/page/new", "/page/users", "/page/decisions/r1"]


def test_without_a_key_there_is_only_the_form(tmp_path):
    with paged(tmp_path) as opened:
        first = opened.http.get("/")
        assert first.status_code == 200
        assert "API key" in shown(first.text)
        for path in ROUTES[1:]:
            sent = opened.http.get(path)
            assert sent.status_code == 401, path
            assert "API key" in shown(sent.text)
        for path in ("/page/act", "/page/leave"):
            sent = opened.http.post(path, data={"token": "x"})
            assert sent.status_code == 401, path
        assert not opened.mine.engine.log


@pytest.mark.parametrize("wrong", ["", "muma_0", "x" * 300, "muma_\xe9"])
def test_a_wrong_key_is_told_and_not_kept(tmp_path, wrong):
    with paged(tmp_path) as opened:
        sent = opened.http.post("/page/enter", data={"key": wrong})
        assert sent.status_code == 401
        assert "not good" in shown(sent.text)
        assert "set-cookie" not in sent.headers
        asked = opened.http.get("/", params={"key": wrong})
        assert asked.status_code in (401, 422)
        assert "set-cookie" not in asked.headers


def test_the_form_and_the_address_put_the_key_into_a_strict_cookie(tmp_path):
    with paged(tmp_path) as opened:
        for sent in (
            opened.http.post("/page/enter", data={"key": f" {opened.tokens['read']} "}),
            opened.http.get(f"/?key={opened.tokens['read']}&user=u1"),
        ):
            assert sent.status_code == 303
            assert sent.headers["location"] in ("/", "/?user=u1")
            kept = sent.headers["set-cookie"]
            assert kept.startswith(f"muma_key={opened.tokens['read']};")
            for word in ("HttpOnly", "Path=/", "SameSite=strict"):
                assert word in kept
            assert "Secure" not in kept  # no TLS here
            assert "max-age" not in kept.lower()
        assert opened.http.get("/").status_code == 200


def test_over_tls_the_cookie_is_secure(tmp_path):
    with paged(tmp_path, config={"hsts": True}) as opened:
        sent = opened.http.get(f"/?key={opened.tokens['read']}")
        assert sent.headers["set-cookie"].startswith("__Host-muma_key=")
        assert "Secure" in sent.headers["set-cookie"]
        assert "Domain" not in sent.headers["set-cookie"]


def test_a_revoked_key_is_forgotten(opened):
    opened.keys.revoke(opened.known["both"].id)
    sent = opened.http.get("/")
    assert sent.status_code == 401
    assert "Max-Age=0" in sent.headers["set-cookie"]


def test_signing_out(opened):
    token = forms(opened.http.get("/").text)[0]["token"]
    assert opened.http.post("/page/leave", data={"token": "0"}).status_code == 403
    sent = opened.http.post("/page/leave", data={"token": token})
    assert sent.status_code == 303
    assert "Max-Age=0" in sent.headers["set-cookie"]
    assert "API key" in shown(opened.http.get("/").text)


def test_no_log_holds_a_key_or_a_query(tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    with paged(tmp_path) as opened:
        enter(opened)
        opened.http.get("/?user=somebody-particular")
        opened.http.get("/?key=muma_wrong")
        text = "\n".join(str(vars(record)) for record in caplog.records)
    assert '"route": "/"' in text or "'route': '/'" in text
    ours = [r for r in caplog.records if r.name.startswith("muma")]
    told = "\n".join(str(vars(record)) for record in ours)
    secret = opened.tokens["both"].rpartition("_")[2]
    for word in (secret, "somebody-particular", "muma_wrong", "?"):
        assert word not in told


def test_a_read_only_key_shows_and_does_not_act(tmp_path):
    with paged(tmp_path) as opened:
        enter(opened, "read")
        page = opened.http.get("/?user=u1").text
        assert "may read but not write" in shown(page)
        assert not [form for form in forms(page) if "act" in form]
        form = {
            "token": forms(page)[0]["token"], "act": "watch", "on": "n1", "position": "0",
            "request_id": "r", "view": "/?user=u1",
        }  # fmt: skip
        sent = opened.http.post("/page/act", data=form)
        assert sent.status_code == 403
        assert "role write" in shown(sent.text)
        assert not opened.mine.intake.events


def test_a_key_without_read_is_turned_away(tmp_path):
    with paged(tmp_path) as opened:
        sent = opened.http.get("/", params={"key": opened.tokens["write"]})
        assert sent.status_code == 403
        assert "set-cookie" not in sent.headers


@pytest.mark.parametrize(
    ("headers", "good"),
    [
        ({"sec-fetch-site": "same-origin"}, True),
        ({"origin": "http://testserver.local"}, True),
        ({"origin": "null"}, True),
        ({}, True),
        ({"sec-fetch-site": "cross-site"}, False),
        ({"sec-fetch-site": "same-site", "origin": "http://testserver.local"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"origin": "https://evil.example"}, False),
    ],
)
def test_forms_come_from_the_page_itself(opened, headers, good):
    form = fields(opened.http.get("/?user=u1").text, "watch", "n1")
    sent = opened.http.post("/page/act", data=form, headers=headers)
    assert sent.status_code == (303 if good else 403)
    assert bool(opened.mine.intake.events) == good


@pytest.mark.parametrize("token", ["", "0" * 64, None, "é"])
def test_a_form_without_the_right_token_does_nothing(opened, token):
    form = fields(opened.http.get("/?user=u1").text, "watch", "n1")
    del form["token"]
    if token is not None:
        form["token"] = token
    sent = opened.http.post("/page/act", data=form)
    assert sent.status_code == 403
    assert "not of this page" in shown(sent.text)
    assert not opened.mine.intake.events


def test_a_token_is_of_one_key(tmp_path):
    with paged(tmp_path) as opened:
        enter(opened, "admin")
        form = fields(opened.http.get("/?user=u1").text, "watch", "n1")
        enter(opened)
        assert opened.http.post("/page/act", data=form).status_code == 403


def test_another_site_cannot_sign_somebody_in(tmp_path):
    with paged(tmp_path) as opened:
        elsewhere = {"sec-fetch-site": "cross-site"}
        key = opened.tokens["read"]
        for sent in (
            opened.http.get(f"/?key={key}", headers=elsewhere),
            opened.http.post("/page/enter", data={"key": key}, headers=elsewhere),
        ):
            assert sent.status_code == 403
            assert "set-cookie" not in sent.headers
        typed = opened.http.get(f"/?key={key}", headers={"sec-fetch-site": "none"})
        assert typed.status_code == 303


def test_the_page_keeps_the_pace_of_its_key(tmp_path):
    def slow(tenant):
        object.__setattr__(tenant, "limits", LimitsConfig(rate_per_s=0.01, burst=3))
        return telling(tenant)

    with paged(tmp_path, change=slow) as opened:
        enter(opened)
        statuses = [opened.http.get("/").status_code for _ in range(3)]
        assert statuses == [200, 200, 429]
        sent = opened.http.get("/")
        assert int(sent.headers["retry-after"]) >= 1
        assert "too often" in shown(sent.text)


def test_headers_forbid_whatever_is_not_the_pages_own(opened):
    for path, status in (("/", 200), ("/?count=0", 422), ("/page/decisions/none", 404)):
        sent = opened.http.get(path)
        assert sent.status_code == status
        policy = sent.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert sent.headers["x-frame-options"] == "DENY"
        assert sent.headers["x-content-type-options"] == "nosniff"
        assert sent.headers["cache-control"] == "no-store"
        assert sent.headers["content-type"] == "text/html; charset=utf-8"
        for word in ("<style", " style=", "javascript:", " onclick", "http://", "https://"):
            assert word not in sent.text
        assert sent.text.count("<script") == 1


def test_static_files_are_the_packages_and_nothing_else(tmp_path):
    with paged(tmp_path) as opened:
        for name, raw in STATIC.items():
            sent = opened.http.get(versioned(name))
            assert sent.content == raw
            assert "immutable" in sent.headers["cache-control"]
            assert opened.http.get(f"/page/static/{name}").headers["cache-control"] == "no-cache"
            assert b"http://" not in raw.replace(b"http://www.w3.org/2000/svg", b"")
        for name in ("none.css", "..%2frouting.py", "%2e%2e"):
            assert opened.http.get(f"/page/static/{name}").status_code == 404
    assert {"page.css", "page.js", "icon.svg"} <= set(STATIC)


def test_a_service_may_go_without_a_page(tmp_path):
    with paged(tmp_path, config={"page": False}) as opened:
        sent = opened.http.get("/")
        assert sent.status_code == 404
        assert sent.json()["status"] == 404


def test_another_tenants_decisions_are_not_there(tmp_path):
    with paged(tmp_path) as opened:
        named = {"x-request-id": "theirs"}
        opened.call("POST", "/v1/recommendations", {"count": 1}, key="other", headers=named)
        enter(opened)
        for name in ("theirs", "o:theirs", "o%3Atheirs"):
            assert opened.http.get(f"/page/decisions/{name}").status_code == 404


def test_a_failure_inside_is_a_page_without_insides(tmp_path, caplog):
    def broken(ask):
        raise RuntimeError("secret place")

    with paged(tmp_path, change=with_engine(answer=broken)) as opened:
        enter(opened)
        sent = opened.http.get("/")
        assert sent.status_code == 503
        assert "secret" not in sent.text
        assert sent.headers["x-request-id"] in sent.text
        assert sent.headers["retry-after"]
