"""A door to a small service: two tenants, a key for every role, and a clock that stands still."""

from contextlib import contextmanager
from dataclasses import dataclass, replace

from litestar.testing import TestClient

from muma.serving.http.app import build
from muma.serving.http.door import Door
from muma.serving.http.service import DoorConfig, Service
from muma.serving.keys import Key, KeyFile
from muma.serving.parts import Item
from muma.serving.tenants import Tenant, Tenants
from muma.testing.small_service import ITEMS, small_tenant

NOW = 1_767_600_000_000_000
OTHERS = (Item("secret-1", title="Not yours", domain="news"), Item("n1", title="Theirs"))

# method, path, body, role: one good call of every route that needs a key
CALLS = [
    ("POST", "/v1/recommendations", {"user": "u1", "count": 2}, "read"),
    ("POST", "/v1/rank", {"items": ["n1", "n2"]}, "read"),
    ("POST", "/v1/events", {"event_id": "e1", "user_id": "u1", "kind": "click"}, "write"),
    ("GET", "/v1/items/n1/similar", None, "read"),
    ("GET", "/v1/users/u1", None, "read"),
    ("GET", "/v1/users/u1/consent", None, "read"),
    ("PUT", "/v1/users/u1/consent", {"gaze": True}, "write"),
    ("DELETE", "/v1/users/u1", None, "admin"),
    ("GET", "/v1/decisions/r1", None, "read"),
    ("GET", "/v1/items?item_id=n1", None, "read"),
    ("PUT", "/v1/items", {"items": [{"item_id": "n9"}]}, "write"),
    ("GET", "/v1/rules", None, "read"),
    ("PUT", "/v1/rules", {"rules": [{"id": "a", "kind": "tag"}]}, "admin"),
    ("POST", "/v1/rules/preview", {"rules": [{"id": "a"}], "users": ["u1"]}, "write"),
    ("DELETE", "/v1/rules/a", None, "admin"),
    ("DELETE", "/v1/rules", None, "admin"),
    ("GET", "/v1/models", None, "read"),
    ("POST", "/v1/models/2/promote", None, "admin"),
    ("POST", "/v1/models/rollback", None, "admin"),
    ("GET", "/metrics", None, "admin"),
]


@dataclass
class House:
    """A running application in this process."""

    http: TestClient
    door: Door
    keys: KeyFile
    tokens: dict[str, str]
    known: dict[str, Key]
    mine: Tenant
    other: Tenant

    def call(self, method, path, json=None, *, key="admin", headers=None, **more):
        """A request with one of the keys; key=None sends none."""
        sent = {} if key is None else {"authorization": f"Bearer {self.tokens[key]}"}
        if path.startswith("/v1/rules") and method in ("PUT", "DELETE"):
            sent["if-match"] = "*"
        sent.update(headers or {})
        return self.http.request(method, path, json=json, headers=sent, **more)


@contextmanager
def house(folder, *, change=lambda tenant: tenant, config=None, routes=(), **service):
    """Open the door; `change` may replace parts of the tenant that is asked."""
    keys = KeyFile(folder / "keys.json", clock=lambda: NOW, look_again_s=0)
    log = {}
    mine = change(small_tenant(items=ITEMS, log=log, prefix="d:", change=_past))
    other = small_tenant("other", items=OTHERS, log=log, prefix="o:")
    tokens, known = {}, {}
    for role in ("read", "write", "admin"):
        known[role], tokens[role] = keys.create(tenant=mine.name, roles=(role,), name=role)
    known["other"], tokens["other"] = keys.create(tenant="other", roles=("admin",), name="other")
    config = DoorConfig(operators=mine.name, **(config or {}))
    made = Service(Tenants([mine, other]), keys, lambda: NOW, config=config, **service)
    door = build(made, routes=routes)
    with TestClient(door) as http:
        yield House(http, door, keys, tokens, known, mine, other)


def with_engine(**methods):
    """A change of the tenant: some of its engine's methods are others."""

    def change(tenant):
        for name, method in methods.items():
            setattr(tenant.engine, name, method)
        return tenant

    return change


def without(**parts):
    """A change of the tenant: some of its parts are others."""
    return lambda tenant: replace(tenant, **parts)


def _past(engine):
    engine.learn("u1", "n2", time=NOW - 60_000_000)
