"""What is refused, with which status, and that the answer says so without a word about the inside."""

import json

import pytest

from door_support import CALLS, NOW, house

GOOD = {"event_id": "e", "user_id": "u", "kind": "click"}
RECOMMEND = "/v1/recommendations"


def problem(response, status):
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    told = response.json()
    assert told["status"] == status
    assert told["type"].startswith("urn:muma:")
    assert told["request_id"] == response.headers["x-request-id"]
    assert "Traceback" not in response.text
    assert ".py" not in response.text
    return told


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({"cuont": 3}, "cuont"),
        ({"filters": {"tag": ["a"]}}, "tag"),
        ({"time": 5}, "time"),
        ({"tenant": "other"}, "tenant"),
        ({"request_id": "a"}, "request_id"),
        ({"count": 0}, "count"),
        ({"count": 201}, "count"),
        ({"count": 1.5}, "count"),
        ({"count": "3"}, "count"),
        ({"count": True}, "count"),
        ({"count": None}, "count"),
        ({"user": ""}, "user"),
        ({"user": "x" * 201}, "user"),
        ({"user": "a\nb"}, "user"),
        ({"user": "a\n"}, "user"),
        ({"user": "\x00"}, "user"),
        ({"user": "\x7f"}, "user"),
        ({"user": 7}, "user"),
        ({"session": ["n1"] * 1_001}, "session"),
        ({"exclude": ["a\tb"]}, "exclude"),
        ({"domains": ["radio"]}, "domains"),
        ({"context": {"page": ["a"]}}, "context"),
        ({"context": {"page": True}}, "context"),
        ({"context": {f"c{n}": 1 for n in range(51)}}, "context"),
        ({"age": -1}, "age"),
        ({"age": 151}, "age"),
        ({"deadline_ms": 0}, "deadline_ms"),
        ({"deadline_ms": 10_001}, "deadline_ms"),
        ({"consent": ["all"]}, "consent"),
        ({"explain": "yes"}, "explain"),
        ({"explain": 1}, "explain"),
        ([], "object"),
        (3, "object"),
        ("text", "object"),
        (None, "object"),
    ],
)
def test_a_wrong_wish(at, body, named):
    told = problem(at.http.post(RECOMMEND, content=json.dumps(body), headers=_sent(at)), 422)
    assert named in told["detail"]


def test_the_engines_own_word_about_a_wish(at):
    told = problem(at.call("POST", RECOMMEND, {"context": {"moon": "full"}}), 422)
    assert told["detail"] == "context: unknown name 'moon'; allowed: page, device"


@pytest.mark.parametrize(
    "text",
    [b"", b" ", b"{", b"{}}", b"{'a': 1}", b'{"a"}', b"\xff\xfe", b'{"user": "\xff"}', b"NaN",
     b'{"user": "\\ud800"}', b"\xef\xbb\xbf{}", b'{"age": NaN}', b'{"age": Infinity}'],
)  # fmt: skip
def test_what_is_no_json(at, text):
    problem(at.http.post(RECOMMEND, content=text, headers=_sent(at)), 400)


@pytest.mark.parametrize(
    "text", [b'{"context": {"page": 1e999}}', b'{"context": {"page": -1e999}}']
)
def test_no_infinities(at, text):
    problem(at.http.post(RECOMMEND, content=text, headers=_sent(at)), 422)


@pytest.mark.parametrize("value", [b"NaN", b"Infinity", b"-Infinity", b"1e999", b"-1e999"])
def test_no_event_with_a_number_that_is_none(at, value):
    text = b'{"event_id": "e", "user_id": "u", "kind": "rating", "value": ' + value + b"}"
    for body in (text, b"[" + text + b"]"):
        sent = at.http.post("/v1/events", content=body, headers=_sent(at))
        assert sent.status_code in (400, 422)


@pytest.mark.parametrize("path", [RECOMMEND, "/v1/rank", "/v1/events"])
@pytest.mark.parametrize("deep", [17, 1_000, 100_000])
def test_deep_json(at, path, deep):
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        body = opening * deep + b"1" + closing * deep
        assert at.http.post(path, content=body, headers=_sent(at)).status_code in (400, 422)


@pytest.mark.parametrize(("deep", "status"), [(13, 200), (14, 400), (150, 400), (100_000, 400)])
def test_depth_where_no_type_bounds_it(fresh, deep, status):
    inner = b"[" * deep + b"]" * deep  # beneath the body, its list and the rule: 3 more
    body = b'{"rules": [{"id": "a", "x": ' + inner + b"}]}"
    headers = {**_sent(fresh), "if-match": "*"}
    sent = fresh.http.put("/v1/rules", content=body, headers=headers)
    assert sent.status_code == status
    if status == 400:
        assert problem(sent, 400)["type"] == "urn:muma:too-deep"


@pytest.mark.parametrize(
    "kind",
    ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
     "application/jsonp", "application/json; charset=latin-1", "application/xml", "*/*"],
)  # fmt: skip
def test_another_type_than_json(at, kind):
    for method, path, body, _ in CALLS:
        if body is not None:
            headers = {**_sent(at), "content-type": kind, "if-match": "*"}
            sent = at.http.request(method, path, content=json.dumps(body), headers=headers)
            problem(sent, 415)


@pytest.mark.parametrize(
    "kind", ["application/json", "Application/JSON", 'application/json; charset="UTF-8"']
)
def test_ways_to_say_json(at, kind):
    headers = {**_sent(at), "content-type": kind}
    assert at.http.post(RECOMMEND, content="{}", headers=headers).status_code == 200


def test_a_packed_body_is_not_unpacked(at):
    headers = {**_sent(at), "content-encoding": "gzip"}
    problem(at.http.post(RECOMMEND, content=b"\x1f\x8b", headers=headers), 415)


def test_a_body_of_the_largest_size_and_one_byte_more(at):
    body = b'{"user": "u1"' + b" " * ((1 << 20) - 14) + b"}"
    assert len(body) == 1 << 20
    assert at.http.post(RECOMMEND, content=body, headers=_sent(at)).status_code == 200
    problem(at.http.post(RECOMMEND, content=body + b" ", headers=_sent(at)), 413)


def test_a_large_body_that_does_not_say_its_size(at):
    def pieces():
        for _ in range(40):
            yield b" " * 32_768

    problem(at.http.post(RECOMMEND, content=pieces(), headers=_sent(at)), 413)


def test_too_many_events_at_once(at):
    many = [{**GOOD, "event_id": str(n)} for n in range(1_001)]
    assert problem(at.call("POST", "/v1/events", many), 413)["detail"].startswith(
        "a batch may hold 1000"
    )
    assert at.call("POST", "/v1/events", many[:1_000]).json()["accepted"] == 1_000
    problem(at.call("POST", "/v1/events", []), 422)


@pytest.mark.parametrize(
    "path",
    ["/v1/users/%00", "/v1/users/a%0A", "/v1/users/%ff", "/v1/users/" + "x" * 201,
     "/v1/decisions/%7F", "/v1/items/%0a/similar", "/v1/items?item_id=%00", "/v1/items",
     "/v1/items?item_id=", "/v1/items?item_id=a&x=1", "/v1/items/n1/similar?count=0",
     "/v1/items/n1/similar?count=nan", "/v1/items/n1/similar?count=1&count=2",
     "/v1/items/n1/similar?colour=red", "/v1/items/n1/similar?domains=radio"],
)  # fmt: skip
def test_addresses_that_will_not_do(at, path):
    problem(at.call("GET", path), 422)


def test_an_id_of_many_bytes_is_measured_in_characters(at):
    assert at.call("POST", RECOMMEND, {"user": "ü" * 200}).status_code == 200
    assert at.call("GET", "/v1/users/" + "%C3%BC" * 200).status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/v1", 404), ("GET", "/v2/rank", 404),
     ("GET", "/v1/rank", 405), ("PATCH", "/v1/rules", 405), ("POST", "/healthz", 405),
     ("TRACE", "/healthz", 405), ("BREW", "/healthz", 405)],
)  # fmt: skip
def test_addresses_and_methods_that_are_not_there(at, method, path, status):
    sent = at.call(method, path)
    problem(sent, status)
    assert ("allow" in sent.headers) == (status == 405)


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("a-b_c.1:2", True), ("x" * 100, True), ("x" * 101, False), ("", False), ("a b", False),
     ("a\u00e4", False), ("<script>", False), ("a,b", False)],
)  # fmt: skip
def test_whose_request_id_it_is(at, sent, kept):
    headers = {"x-request-id": sent.encode("latin-1")}
    got = at.call("POST", RECOMMEND, {}, headers=headers)
    assert (got.headers["x-request-id"] == sent) == kept
    assert got.json()["request_id"] == got.headers["x-request-id"]
    assert len(got.headers["x-request-id"]) <= 100


def test_each_wrong_event_is_named_and_the_others_are_taken(fresh):
    sent = [
        {**GOOD, "event_id": "0"},
        {**GOOD, "event_id": "1", "timestamp": NOW + 300_000_000},
        {**GOOD, "event_id": "2", "timestamp": NOW + 300_000_001},
        {**GOOD, "event_id": "3", "timestamp": -1},
        {**GOOD, "event_id": "4", "kind": "stare"},
        "no event",
        {**GOOD, "event_id": "6", "colour": "red"},
        {**GOOD, "event_id": "7", "kind": "fixation", "x": 0.5, "y": 0.5},
        {**GOOD, "event_id": "8", "kind": "fixation", "x": 0.5, "y": 0.5, "consent": ["gaze"]},
        {**GOOD, "event_id": "9", "kind": "fixation", "consent": ["gaze"]},
        {**GOOD, "event_id": "a", "propensity": 0.0},
        {**GOOD, "event_id": "b", "item_id": "a\nb"},
        {"event_id": "c"},
        {**GOOD, "event_id": "d", "request_id": "r1"},
    ]
    answer = fresh.call("POST", "/v1/events", sent).json()
    assert [fault["index"] for fault in answer["refused"]] == [2, 3, 4, 5, 6, 7, 9, 10, 11, 12]
    assert all(fault["reason"] for fault in answer["refused"])
    assert answer["accepted"] == 4
    held = fresh.mine.intake.events
    assert sorted(held) == ["0", "1", "8", "d"]
    assert held["0"].timestamp == NOW
    assert held["1"].timestamp == NOW + 300_000_000
    assert held["d"].request_id == "d:r1"


def test_a_batch_of_which_nothing_is_right(at):
    told = problem(at.call("POST", "/v1/events", [{}, {"event_id": 3}]), 422)
    assert [fault["index"] for fault in told["errors"]] == [0, 1]


def test_bounds_can_be_set(tmp_path):
    bounds = {"most_bytes": 200, "most_events": 2, "skew_s": 0.0}
    with house(tmp_path, config=bounds) as opened:
        problem(opened.call("POST", RECOMMEND, {"user": "u" * 200}), 413)
        problem(opened.call("POST", "/v1/events", [GOOD] * 3), 413)
        problem(opened.call("POST", "/v1/events", {**GOOD, "timestamp": NOW + 1}), 422)
        assert opened.call("POST", "/v1/events", {**GOOD, "timestamp": NOW}).status_code == 200


def _sent(house):
    return {
        "authorization": f"Bearer {house.tokens['admin']}",
        "content-type": "application/json",
    }
