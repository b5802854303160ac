"""Tenants: names, prefixes, and what a caller sees of them."""

import pytest

from muma.errors import ConfigError
from muma.serving.recommending import Ask
from muma.serving.tenants import Tenants
from muma.testing.small_service import small_tenant


def test_a_prefix_is_inside_only():
    tenant = small_tenant(prefix="a:")
    answer = tenant.engine.answer(Ask(tenant.inside("r1"), time=0)).answer
    assert answer.request_id == "a:r1"
    assert tenant.outside(answer).request_id == "r1"


def test_names_find_tenants():
    tenants = Tenants([small_tenant("a"), small_tenant("b")])
    assert tenants.get("a").name == "a"
    assert tenants.get("c") is None
    assert [tenant.name for tenant in tenants] == ["a", "b"]


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ([("a", ""), ("a", "")], "share a name"),
        ([("a", "x"), ("b", "xy")], "begins"),
        ([("a", "x"), ("b", "x")], "begins"),
    ],
)
def test_tenants_that_could_be_mistaken_for_each_other(named, message):
    with pytest.raises(ConfigError, match=message):
        Tenants([small_tenant(name, prefix=prefix) for name, prefix in named])
