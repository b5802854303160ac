"""`/` and `/page/...`: the page's addresses. Each works as a plain form; nothing here needs JavaScript."""

from __future__ import annotations

import secrets
from functools import partial
from typing import Any

import msgspec
from litestar import Request, Response, Router, get, post

from muma.serving.http.body import answer, path_id, query
from muma.serving.http.problem import Problem, not_found, noted
from muma.serving.http.service import DoorConfig
from muma.serving.page import acting, shown
from muma.serving.page.access import (
    Visitor,
    check_form,
    check_site,
    drop_key,
    enter,
    enter_with,
    held_key,
    keep_key,
    runtime_of,
)
from muma.serving.page.asking import Text, View, act_of, ask_of, form_of, view_of
from muma.serving.page.changes import Changes, compare
from muma.serving.page.deciding import tell
from muma.serving.page.rendering import FOREVER, KINDS, POLICY, STATIC, moved, page, versioned
from muma.serving.parts import Rules
from muma.serving.recommending import Evidence

SUGGESTED, LATEST = 12, 8


class UsersQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of `/page/users`."""

    q: Text = ""


@get("/")
async def show(request: Request) -> Response:
    """The page; with `?key=` the key is put in the cookie first."""
    view = query(request, View)
    if view.key is not None:
        check_site(request, typed=True)
        enter_with(request, view.key)
        return moved(view.address(), cookies=(keep_key(request, view.key),))
    if held_key(request) is None:
        return page("signin.html", {"said": None})
    visitor = enter(request)
    return page("page.html", await _context(visitor, view))


@post("/page/enter", status_code=200)
async def sign_in(request: Request) -> Response:
    """Take a key and keep it in the cookie."""
    check_site(request)
    form = await form_of(request, _config(request))
    key = form.get("key", "").strip()
    enter_with(request, key)
    return moved("/", cookies=(keep_key(request, key),))


@post("/page/leave", status_code=200)
async def sign_out(request: Request) -> Response:
    """Forget the key."""
    check_site(request)
    check_form(enter(request), await form_of(request, _config(request)))
    return moved("/", cookies=(drop_key(request),))


@get("/page/new")
async def new_viewer(request: Request) -> Response:
    """Somebody nobody has seen yet."""
    enter(request)
    view = query(request, View).here()
    name = f"viewer-{secrets.token_hex(4)}"
    return moved(view.address(user=name, item=(), hide=()))


@post("/page/act", status_code=200)
async def act(request: Request) -> Response:
    """A button of a card: send its events, then show the page again."""
    check_site(request)
    visitor = enter(request)
    form = await form_of(request, visitor.caller.config)
    check_form(visitor, form)
    done = act_of(form)
    view = view_of(done.view).here()
    if not view.user:
        return moved(_in_session(view, done))
    if not visitor.may_write:
        raise Problem(403, "role", "sending events needs a key with the role write")
    ms = await acting.send(done, view.user, visitor.caller)
    return moved(view.address(after=done.request_id, act=done.act, on=done.on, ms=ms) + "#changed")


@get("/page/users")
async def users(request: Request) -> Response:
    """Known users that begin as asked, for the search box."""
    visitor = enter(request)
    found = await _suggested(visitor, query(request, UsersQuery).q)
    return answer({"users": found})


@get("/page/decisions/{request_id:str}")
async def decision(request: Request) -> Response:
    """The evidence of one answer."""
    visitor, name = enter(request), path_id(request, "request_id")
    found = await _remembered(visitor, name)
    if found is None:
        raise not_found("that decision")
    context = {
        **_everywhere(visitor),
        "request_id": name,
        "evidence": found,
        "answer": visitor.caller.tenant.outside(found.answer),
        "told": tell(found, visitor.caller.tenant),
    }
    return page("decision.html", context)


@get("/page/static/{name:str}")
async def static(request: Request) -> Response:
    """A file of the page; its address changes with its content."""
    name = str(request.path_params["name"])
    if name not in STATIC:
        raise not_found("that file")
    newest = request.url.query == versioned(name).partition("?")[2]
    headers = {
        "cache-control": FOREVER if newest else "no-cache",
        "content-security-policy": POLICY,
    }
    kind = KINDS[name[name.rindex(".") :]]
    return Response(STATIC[name], media_type=kind, headers=headers)


def answer_problem(request: Request, error: Exception) -> Response:
    """Errors of the page are pages; who has no good key sees the form for one."""
    problem, request_id = noted(request, error)
    context: dict[str, Any] = {"said": problem.detail}
    headers = {n: v for n, v in problem.headers.items() if n != "www-authenticate"}
    if problem.status == 401:
        context["said"] = "That key is not good (any more). Ask whoever runs the service for one."
        cookies = () if held_key(request) is None else (drop_key(request),)
        return page("signin.html", context, status=401, headers=headers, cookies=cookies)
    context |= {"problem": problem, "request_id": request_id}
    return page("problem.html", context, status=problem.status, headers=headers)


PAGE = Router(
    "/",
    route_handlers=[show, sign_in, sign_out, new_viewer, act, users, decision, static],
    exception_handlers={Exception: answer_problem},
)


async def _context(visitor: Visitor, view: View) -> dict[str, Any]:
    """Everything that the page shows."""
    caller, tenant = visitor.caller, visitor.caller.tenant
    before = await _remembered(visitor, view.after) if view.after else None
    evidence = await caller.runtime.answer(tenant.engine.answer, ask_of(view, caller))
    if evidence.answer.degraded:
        caller.runtime.metrics.add("muma_answers_degraded_total")
    changes: Changes | None = None
    if before is not None and before.ask.user == evidence.ask.user:
        changes = compare(before, evidence)
    known = await acting.known(view.user, caller) if view.user else {}
    session = [{"item": name, "time": None} for name in reversed(view.item)]
    told = known if view.user else {"history": session}
    named = [one.item for one in evidence.answer.items]
    named += [view.on or "", *(str(row.get("item", "")) for row in shown.rows(told)[:LATEST])]
    items = await shown.items_of([name for name in named if name], caller)
    kept = Rules("", ())
    if tenant.rules is not None:
        kept = await caller.runtime.work(tenant.rules.get)
    return {
        **_everywhere(visitor),
        "view": view,
        "here": view.here(),
        "answer": tenant.outside(evidence.answer),
        "evidence": evidence,
        "cards": shown.cards(evidence, items, changes),
        "changes": changes,
        "lost": view.after is not None and changes is None,
        "kinds": acting.KINDS,
        "sent": acting.kinds_of(view.act, items.get(view.on or "")) if view.act else (),
        "patience_s": acting.PATIENCE_S,
        "known": bool(known),
        "past": shown.past(told, items, LATEST),
        "events": len(shown.rows(told)),
        "rules_version": kept.version,
        "rules": shown.rules(kept.rules),
        "suggested": await _suggested(visitor, ""),
        "similar": [] if known or not view.user else await _suggested(visitor, view.user[:3]),
    }


def _everywhere(visitor: Visitor) -> dict[str, Any]:
    return {"visitor": visitor, "token": visitor.token, "now": visitor.caller.now}


async def _suggested(visitor: Visitor, beginning: str) -> list[str]:
    part = visitor.caller.tenant.directory
    if part is None:
        return []
    return list(await visitor.caller.runtime.work(part.users, beginning, SUGGESTED))


async def _remembered(visitor: Visitor, request_id: str) -> Evidence | None:
    """The evidence of an answer of this tenant, if it is kept."""
    tenant = visitor.caller.tenant
    if tenant.decisions is None:
        return None

    look_up = partial(tenant.decisions.get, tenant.inside(request_id), tenant=tenant.name)
    found = await visitor.caller.runtime.work(look_up)
    return found if found is not None and found.ask.tenant == tenant.name else None


def _in_session(view: View, done: Any) -> str:
    """An anonymous visitor's deeds stand in the address alone."""
    taken = view.item if done.act == "skip" else (*view.item, done.on)[-100:]
    hide = (*view.hide, done.on)[-100:] if done.act == "skip" else view.hide
    after = view.address(item=taken, hide=hide, after=done.request_id, act=done.act, on=done.on)
    return after + "#changed"


def _config(request: Request) -> DoorConfig:
    return runtime_of(request).service.config
