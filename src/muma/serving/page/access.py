"""Who may see the page: a key in a cookie, and forms that come from the page itself.

The cookie is HttpOnly and SameSite=Strict, over TLS also Secure, and ends with the browser's session. A
form carries a token that is made of the key, so that nobody without the key can make one:

    token = HMAC-SHA256(key, "muma page")

and a browser that says it comes from another site is sent away whatever it carries.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from litestar import Request
from litestar.datastructures import Cookie

from muma.serving.http.caller import RUNTIME, Caller, Runtime, let_in
from muma.serving.http.problem import Problem
from muma.serving.keys import Role

PLAIN, SECURE = "muma_key", "__Host-muma_key"
LONGEST = 200


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody with a good key.

    Attributes:
        caller: as for every other route.
        token: for the page's forms.
    """

    caller: Caller
    token: str

    @property
    def may_write(self) -> bool:
        """Whether events may be sent with the key."""
        return self.caller.key.may("write")


def enter(request: Request, role: Role = "read") -> Visitor:
    """Let a visitor in by the cookie.

    Raises:
        Problem: 401, 403 or 429.
    """
    return enter_with(request, held_key(request) or "", role)


def enter_with(request: Request, key: str, role: Role = "read") -> Visitor:
    """Let a visitor in by a key.

    Raises:
        Problem: 401, 403 or 429.
    """
    runtime, scope = runtime_of(request), request.scope
    found = runtime.service.keys.find(key) if 0 < len(key) <= LONGEST else None
    return Visitor(let_in(scope, runtime, found, role), form_token(key))


def runtime_of(request: Request) -> Runtime:
    """The process's."""
    return request.app.state[RUNTIME]


def held_key(request: Request) -> str | None:
    """What the cookie holds."""
    return request.cookies.get(_name(request))


def form_token(key: str) -> str:
    """Token of the forms of whoever holds a key.

    Example:
        >>> form_token("a") == form_token("a") != form_token("b")
        True
    """
    return hmac.new(key.encode(), b"muma page", hashlib.sha256).hexdigest()


def keep_key(request: Request, key: str) -> Cookie:
    """The cookie that keeps a key."""
    return Cookie(
        key=_name(request), value=key, path="/", httponly=True, samesite="strict",
        secure=is_secure(request),
    )  # fmt: skip


def drop_key(request: Request) -> Cookie:
    """The cookie that makes a browser forget its key."""
    return Cookie(
        key=_name(request), value="", max_age=0, path="/", httponly=True, samesite="strict",
        secure=is_secure(request),
    )  # fmt: skip


def is_secure(request: Request) -> bool:
    """Whether TLS ends here, or in front of here."""
    return request.scope["scheme"] == "https" or runtime_of(request).service.config.hsts


def check_site(request: Request, *, typed: bool = False) -> None:
    """Refuse what a page of another site has sent.

    Args:
        request: with what the browser says of where it comes from; older browsers say nothing.
        typed: whether an address that was typed, or opened by another program, will do.

    Raises:
        Problem: 403.
    """
    if _elsewhere(request.headers, typed=typed):
        raise Problem(403, "other-site", "this came from another site; open the page itself")


def check_form(visitor: Visitor, form: Mapping[str, Any]) -> None:
    """Refuse a form that this page did not make for this key.

    Raises:
        Problem: 403.
    """
    given = str(form.get("token", ""))
    if not hmac.compare_digest(given.encode(), visitor.token.encode()):
        raise Problem(403, "form", "this form is not of this page; open the page again and retry")


def _elsewhere(headers: Mapping[str, str], *, typed: bool) -> bool:
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site not in (("same-origin", "none") if typed else ("same-origin",))
    origin = headers.get("origin")
    if origin is None or origin == "null":  # nothing said: a form's token decides
        return False
    return urlsplit(origin).netloc.lower() != headers.get("host", "").lower()


def _name(request: Request) -> str:
    return SECURE if is_secure(request) else PLAIN
