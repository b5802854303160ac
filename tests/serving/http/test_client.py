"""The client against the small service and against services that are busy, away or strange."""

import asyncio
import inspect

import httpx
import pytest
from litestar.testing import AsyncTestClient

import muma
from door_support import house
from muma.client import AsyncClient, Client, Retries
from muma.client import client as module
from muma.errors import ServiceError
from muma.serving.http.app import build
from muma.serving.parts import Event, Item

AWAY = Retries(times=2, first_s=0.0)


@pytest.fixture
def client(fresh):
    """A client whose transport is the door of this process."""
    with Client("http://x.local", key=fresh.tokens["admin"], transport=_through(fresh)) as made:
        yield made


def _through(opened):
    def handle(request):
        path = request.url.raw_path.decode()
        sent = dict(request.headers)
        got = opened.http.request(request.method, path, content=request.content, headers=sent)
        return httpx.Response(got.status_code, headers=got.headers, content=got.content)

    return httpx.MockTransport(handle)


def scripted(*answers, seen=None):
    """A transport that gives these answers, one after the other."""
    left = list(answers)

    def handle(request):
        if seen is not None:
            seen.append(request)
        answer = left.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return httpx.MockTransport(handle)


def problem(status, **headers):
    body = {
        "type": "urn:muma:busy", "title": "T", "status": status, "detail": "why", "request_id": "r",
        "errors": [{"reason": "this", "index": 3}],
    }  # fmt: skip
    return httpx.Response(status, json=body, headers=headers)


ANSWER = {
    "request_id": "r", "items": [], "degraded": [], "versions": {}, "as_of": -1, "stages_us": {}
}  # fmt: skip


def test_it_is_one_of_the_public_names():
    assert muma.Client is Client


def test_every_method_against_the_service(client, fresh):
    assert client.ready()
    answer = client.recommend(user="u1", count=2, explain=True, request_id="mine")
    assert answer.request_id == "mine"
    assert len(answer.items) == 2
    assert client.decision("mine").answer == answer
    assert len(client.rank(["n1", "n2"], user="u1").items) == 2
    assert client.similar("n2", count=1, explain=True, domains=["news"]).items[0].item == "n1"
    sent = client.send([Event("e", "a/b", "click", item_id="n1"), {"event_id": "f"}])
    assert (sent.accepted, [fault.index for fault in sent.refused]) == (1, [1])
    assert client.user("a/b").known["clicks"] == ["n1"]
    assert not client.consent("a/b").given["gaze"]
    assert client.put_consent("a/b", gaze=True, social=None).said == {"gaze": True}
    assert client.consent("a/b").given == {"behaviour": True, "social": False, "gaze": True}
    assert client.erase("a/b").receipt["clicks"] == 1
    assert client.put_items([Item("x"), {"item_id": "y"}]).new == 2
    assert [item.item_id for item in client.items(["x", "no", "y"])] == ["x", "y"]
    rules = client.put_rules([{"id": "a"}, {"id": "b"}], version=client.rules().version)
    assert len(rules.rules) == 2
    seen = client.preview_rules([{"id": "r", "tags": ["rain"]}], ["a/b", "u1"], count=6)
    assert [one.known for one in seen.changes] == [False, True]
    assert {one.item: one.rules for one in seen.changes[1].gone} == {"n2": ("r",), "v1": ("r",)}
    rules = client.delete_rules("a", version=rules.version)
    assert client.delete_rules(version=rules.version).rules == ()
    assert client.promote("2").state == "live"
    assert client.roll_back().version == "1"
    assert len(client.models()) == 2


def test_both_clients_have_the_same_methods():
    def methods(kind):
        return {
            name: str(inspect.signature(method).replace(return_annotation="")) for name, method
            in vars(kind).items() if not name.startswith("_")
        }  # fmt: skip

    assert methods(Client) == methods(AsyncClient)


def test_the_client_for_event_loops(tmp_path):
    async def talk(door, key):
        async with AsyncTestClient(door) as http:

            async def handle(request):
                path = request.url.raw_path.decode()
                got = await http.request(
                    request.method, path, content=request.content, headers=dict(request.headers)
                )
                return httpx.Response(got.status_code, headers=got.headers, content=got.content)

            through = httpx.MockTransport(handle)
            async with AsyncClient("http://x.local", key=key, transport=through) as client:
                assert await client.ready()
                answer = await client.recommend(user="u1", count=2)
                assert (await client.decision(answer.request_id)).answer == answer
                assert (await client.send([Event("e", "u", "play")])).accepted == 1
                with pytest.raises(ServiceError, match="not here"):
                    await client.user("nobody")
        return True

    with house(tmp_path) as opened:
        door, token = opened.door, opened.tokens["admin"]
        talked = asyncio.run(talk(build(door.runtime.service), token))
    assert talked


def test_a_problem_is_told_in_full(client):
    with pytest.raises(
        ServiceError, match=r"GET /v1/users/nobody: 404 Not Found: that id"
    ) as caught:
        client.user("nobody")
    assert (caught.value.status, caught.value.kind) == (404, "not-found")
    with pytest.raises(ServiceError) as caught:
        client.put_rules([{}, {"id": "a"}, {}], version="*")
    assert caught.value.errors == ("rule 0: 'id' is missing", "rule 2: 'id' is missing")
    assert caught.value.request_id


def test_a_busy_service_is_asked_again_with_the_same_id(monkeypatch):
    waited, seen = [], []
    monkeypatch.setattr(module.time, "sleep", waited.append)
    through = scripted(
        problem(503, **{"retry-after": "2"}), httpx.ReadTimeout("slow"), problem(429),
        httpx.Response(200, json=ANSWER), seen=seen,
    )  # fmt: skip
    with Client("http://x", key="k", transport=through, retries=Retries(first_s=0.1)) as client:
        assert client.recommend(user="u").request_id == "r"
    assert len({request.headers["x-request-id"] for request in seen}) == 1
    assert len({request.content for request in seen}) == 1
    assert waited[0] >= 2
    assert 0.1 <= waited[1] <= 0.2
    assert 0.2 <= waited[2] <= 0.4


@pytest.mark.parametrize("answer", [problem(503), httpx.ConnectError("refused")])
def test_patience_ends(answer):
    seen = []
    through = scripted(*[answer] * 9, seen=seen)
    with Client("http://x", key="k", transport=through, retries=AWAY) as client:
        assert not client.ready()
        assert len(seen) == 3
        with pytest.raises(ServiceError, match="after 3 attempts"):
            client.rules()


def test_a_long_wait_is_not_waited():
    seen = []
    through = scripted(problem(503, **{"retry-after": "3600"}), seen=seen)
    with (
        Client("http://x", key="k", transport=through) as client,
        pytest.raises(ServiceError, match="503"),
    ):
        client.rules()
    assert len(seen) == 1


@pytest.mark.parametrize("wrong", [400, 401, 403, 404, 409, 412, 413, 415, 422, 428, 507])
def test_what_will_not_get_better_is_not_asked_again(wrong):
    seen = []
    with Client("http://x", key="k", transport=scripted(problem(wrong), seen=seen)) as client:
        with pytest.raises(ServiceError) as caught:
            client.recommend()
        assert caught.value.status == wrong
        assert caught.value.errors == ("[3] this",)
    assert len(seen) == 1


@pytest.mark.parametrize(
    "change",
    [lambda c: c.promote("2"), lambda c: c.roll_back(), lambda c: c.put_rules([], version="1"),
     lambda c: c.delete_rules(version="1")],
)  # fmt: skip
def test_a_change_is_made_once(change):
    for first in (httpx.ReadTimeout("slow"), problem(503)):
        seen = []
        with (
            Client(
                "http://x", key="k", transport=scripted(first, seen=seen), retries=AWAY
            ) as client,
            pytest.raises(ServiceError),
        ):
            change(client)
        assert len(seen) == 1
    seen = []
    through = scripted(httpx.ConnectError("refused"), problem(409), seen=seen)
    with Client("http://x", key="k", transport=through, retries=AWAY) as client:
        with pytest.raises(ServiceError) as caught:
            change(client)
        assert caught.value.status == 409
    assert len(seen) == 2


def test_answers_of_another_service():
    through = scripted(httpx.Response(200, text="<html>"), httpx.Response(502, text="<html>"))
    with Client("http://x", key="k", transport=through) as client:
        with pytest.raises(ServiceError, match="not of the expected form"):
            client.rules()
        with pytest.raises(ServiceError, match="status 502"):
            client.rules()


def test_the_key_is_not_shown():
    with Client("http://x", key="muma_secret") as client:
        assert "secret" not in repr(client)


@pytest.mark.parametrize("url", ["", "x", "http://", "http://x:abc", "ftp://x", "//x"])
def test_what_is_no_address(url):
    for kind in (Client, AsyncClient):
        with pytest.raises(ServiceError, match="no address"):
            kind(url, key="k")
