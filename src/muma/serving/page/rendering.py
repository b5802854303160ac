"""Templates, static files and the headers of a page.

Everything that a template shows is escaped. Nothing is loaded from elsewhere, and no script or style
stands in the page itself, so that its Content-Security-Policy can forbid both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.resources import files
from typing import Any

import jinja2
from litestar import Response
from litestar.datastructures import Cookie

from muma.serving.page import words

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
KINDS = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
STATIC: Mapping[str, bytes] = {
    one.name: one.read_bytes()
    for one in (files("muma.serving.page") / "static").iterdir()
    if one.is_file()
}
FOREVER = "public, max-age=31536000, immutable"


def versioned(name: str) -> str:
    """Address of a static file; it changes with the file.

    Raises:
        KeyError: there is no such file.
    """
    return f"/page/static/{name}?v={_digest(STATIC[name])}"


def page(
    template: str,
    context: Mapping[str, Any],
    *,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    cookies: tuple[Cookie, ...] = (),
) -> Response:
    """A template as an answer."""
    text = _environment.get_template(template).render(context)
    return Response(
        text.encode(),
        status_code=status,
        media_type="text/html",
        headers={"content-security-policy": POLICY, **(headers or {})},
        cookies=list(cookies),
    )


def moved(address: str, *, cookies: tuple[Cookie, ...] = ()) -> Response:
    """See another address, by GET."""
    return Response(
        b"", status_code=303, media_type="text/plain", headers={"location": address},
        cookies=list(cookies),
    )  # fmt: skip


def _digest(raw: bytes) -> str:
    return hashlib.blake2b(raw, digest_size=6).hexdigest()


_environment = jinja2.Environment(
    loader=jinja2.PackageLoader("muma.serving.page"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)
_environment.globals["static"] = versioned
_environment.filters.update(
    {name: getattr(words, name) for name in (
        "ago", "feature", "group", "milliseconds", "percent", "setting", "signed", "source", "when",
    )}
)  # fmt: skip
