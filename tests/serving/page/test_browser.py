"""The page in a browser: headless Chromium against a trained service in a process of its own."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from muma.app.config import read_recipe
from muma.app.service.make import keys_of
from muma.app.training import train_recipe
from ranked_support import BLOCKS, write_feed
from served_support import RUN, now_us

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium on this machine")
ARGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip
WANTED = """
[features.filters.wanted]
kinds = ["click", "like"]

[features.sequences.wanted]
key = "user"
of = "wanted"
length = 300
"""
RULE = {"id": "no-a1", "kind": "blocked", "items": ["a1"], "note": "not today"}
# every visible text and the nearest opaque ground behind it
CONTRAST = """() => {
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
    .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
  const ground = (node) => {
    for (; node; node = node.parentElement) {
      const found = rgb(getComputedStyle(node).backgroundColor);
      if (found.length === 3 || found[3] === 1) return found;
    }
    return [255, 255, 255];
  };
  const poor = [], walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let seen = 0;
  while (walker.nextNode()) {
    const node = walker.currentNode.parentElement;
    if (!walker.currentNode.textContent.trim() || !node.checkVisibility()) continue;
    if (node.closest("svg, .unseen, option, script")) continue;
    const [a, b] = [light(rgb(getComputedStyle(node).color)), light(ground(node))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    seen += 1;
    if (ratio < 4.5) poor.push([walker.currentNode.textContent.trim(), ratio]);
  }
  return [seen, poor];
}"""


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Address and key of a service that was trained on a small feed."""
    folder = tmp_path_factory.mktemp("page")
    recipe = write_feed(folder / "feed", blocks=BLOCKS + WANTED)
    config = read_recipe(recipe)
    train_recipe(config)
    _, token = keys_of(config, clock=now_us).create(
        tenant="default", roles=("read", "write", "admin"), name="test"
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    told = {
        "factory": "muma.app.service.make.make",
        "arguments": {"recipe": str(recipe), "time_of": "log"},
        "port": port,
    }
    log = (folder / "log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, json.dumps(told)], stderr=log,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        until = time.monotonic() + 90
        while True:
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < until
            try:
                if httpx.get(url + "/readyz").status_code == 200:
                    break
            except httpx.TransportError:
                time.sleep(0.1)
        headers = {"authorization": f"Bearer {token}", "if-match": "*"}
        put = httpx.put(url + "/v1/rules", json={"rules": [RULE]}, headers=headers)
        assert put.status_code == 200, put.text
        ask = {"user": "u1", "explain": True, "deadline_ms": 10_000}  # what is compiled, is
        assert httpx.post(
            url + "/v1/recommendations", json=ask, headers=headers, timeout=60
        ).is_success
        yield url, token
        assert token not in (folder / "log").read_text()
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        log.close()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=list(ARGS))
        yield found
        found.close()


@contextmanager
def visit(browser, served, *, sign_in=True, **options):
    """A page of a new browser; nothing may go wrong or go elsewhere while it is open."""
    url, token = served
    wrong = []
    context = browser.new_context(base_url=url, **options)
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request", lambda sent: None if sent.url.startswith(url + "/") else wrong.append(sent.url)
    )
    page.on(
        "response",
        lambda got: wrong.append(f"{got.status} {got.url}") if got.status >= 400 else None,
    )
    try:
        if sign_in:
            page.goto(f"/?key={token}")
            assert page.url == url + "/"  # the key is not in the address any more
        yield page
        assert wrong == []
    finally:
        context.close()


def slots(page):
    return page.locator(".card").evaluate_all("all => all.map((one) => one.dataset.item)")


def features(page):
    """Feature -> (before, after), of the table of changes."""
    rows = page.locator(".diff tbody tr")
    cells = rows.evaluate_all(
        "all => all.map((row) => [...row.cells].map((cell) => cell.innerText.trim()))"
    )
    return {name: (old, new.lstrip("↑↓• \n")) for name, old, new in cells}


def test_pick_a_viewer_see_cards_and_watch_one(browser, served):
    with visit(browser, served) as page:
        page.get_by_label("Viewer", exact=True).fill("u7")
        page.get_by_role("button", name="Show").click()
        page.get_by_role("heading", name="For u7").wait_for()
        before = slots(page)
        assert len(before) == 12
        assert "a1" not in before  # the editors' rule
        assert page.get_by_text("not today").is_visible()
        card = page.locator(".card").first
        assert card.locator(".reason").inner_text().startswith("Shown first")
        assert card.locator(".bars tr").count() >= 2
        assert re.search(r"\d% chance of this slot, among \d+", card.inner_text())
        card.get_by_role("button", name="Watch").click()
        page.get_by_role("heading", name="What changed").wait_for()
        changed = features(page)
        old, new = changed["clicks, last day"]
        assert float(new) == float(old) + 1
        assert float(changed["impressions, last day"][1]) == float(
            changed["impressions, last day"][0]
        ) + 1  # fmt: skip
        after = slots(page)
        assert before != after
        tags = page.locator(".card").evaluate_all(
            "all => all.map((one) => one.querySelector('.tag.new') !== null)"
        )
        assert tags == [name not in before for name in after]
        assert page.locator(".gone li").count() == len(set(before) - set(after))
        assert before[0] in page.locator(".past li").first.inner_text()
        said = page.get_by_role("status").last
        playwright.expect(said).to_contain_text("features changed")
        page.get_by_role("link", name="full evidence").click()
        page.get_by_role("heading", name="Slots").wait_for()
        assert page.locator("section[aria-labelledby=slots] tbody tr").count() == 12
        assert page.locator("tr.shown").count() == 12


def test_with_the_keyboard_alone(browser, served):
    with visit(browser, served) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        until_focus(page, "#user")
        page.keyboard.type("u9")
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="For u9").wait_for()
        until_focus(page, ".card:nth-child(2) [data-act=like]")
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"  # it can be seen where one is
        item = slots(page)[1]
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="What changed").wait_for()
        assert f"Liked {item}." in page.locator(".changes").inner_text()
        assert "impressions, last day" in features(page)
        focused = "document.activeElement.closest('.card:nth-child(2)') !== null"
        assert page.evaluate(focused)  # one goes on where one was
        item = slots(page)[1]
        page.keyboard.press("w")
        page.get_by_text(f"Watched {item}.").wait_for()
        assert "clicks, last day" in features(page)


def until_focus(page, selector, most=200):
    """Press Tab until an element has the focus."""
    for _ in range(most):
        if page.evaluate("(s) => document.activeElement.matches(s)", selector):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{selector} cannot be reached by Tab")


def test_without_javascript(browser, served):
    with visit(browser, served, sign_in=False, java_script_enabled=False) as page:
        page.goto("/")
        page.get_by_label("API key").fill(served[1])
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("link", name="A new viewer").click()
        assert "is known yet" in page.locator(".note").first.inner_text()
        before = slots(page)
        page.locator(".card").first.get_by_role("button", name="Watch").click()
        page.get_by_role("heading", name="What changed").wait_for()
        assert page.url.endswith("#changed")
        assert page.locator(".diff .new, .diff .up").count() >= 2
        assert before[0] in page.locator(".past li").first.inner_text()
        page.get_by_role("button", name="Sign out").click()
        assert page.get_by_label("API key").is_visible()


def test_on_a_phone_nothing_is_wider_than_the_screen(browser, served):
    phone = {"width": 360, "height": 740}
    with visit(browser, served, viewport=phone) as page:
        wide = "document.documentElement.scrollWidth"
        assert page.evaluate(wide) == 360
        page.goto("/?user=" + "w" * 150)
        assert page.evaluate(wide) == 360
        page.goto("/?user=u3")
        assert page.evaluate(wide) == 360
        page.locator(".card").first.get_by_role("button", name="Like").click()
        page.get_by_role("heading", name="What changed").wait_for()
        assert page.evaluate(wide) == 360
        assert page.evaluate("document.activeElement.id") == "changed"
        size = page.locator(".acts button").first.bounding_box()
        assert size["height"] >= 44  # for a thumb
        page.get_by_role("link", name="full evidence").click()
        page.get_by_role("heading", name="Slots").wait_for()
        assert page.evaluate(wide) == 360


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_every_text_stands_out_from_its_ground(browser, served, scheme):
    with visit(browser, served, color_scheme=scheme) as page:
        page.goto("/?user=u5")
        page.locator(".card").first.get_by_role("button", name="Skip").click()
        page.get_by_role("heading", name="What changed").wait_for()
        page.wait_for_timeout(1_700)  # what fades has faded
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        seen, poor = page.evaluate(CONTRAST)
        assert seen > 150
        assert poor == []
        page.get_by_role("link", name="full evidence").click()
        page.get_by_role("heading", name="Slots").wait_for()
        assert page.evaluate(CONTRAST)[1] == []
        assert (ground == "rgb(251, 250, 247)") == (scheme == "light")


def test_everything_has_a_name_and_a_place(browser, served):
    with visit(browser, served, reduced_motion="reduce") as page:
        page.goto("/?user=u5")
        for role in ("banner", "search", "main", "complementary"):
            assert page.get_by_role(role).count() == 1, role
        assert page.get_by_role("heading", level=1).count() == 1
        unnamed = page.locator("button, a, input:not([type=hidden]), select").evaluate_all(
            "all => all.filter((one) => !(one.innerText || one.getAttribute('aria-label')"
            " || (one.labels && one.labels.length))).map((one) => one.outerHTML)"
        )
        assert unnamed == []
        twice = page.evaluate(
            "() => { const ids = [...document.querySelectorAll('[id]')].map((one) => one.id);"
            " return ids.filter((id, n) => ids.indexOf(id) !== n); }"
        )
        assert twice == []
        page.locator(".card").first.get_by_role("button", name="Like").click()
        page.get_by_role("heading", name="What changed").wait_for()
        moving = page.evaluate(
            "() => document.getAnimations().filter((one) => one.playState === 'running').length"
        )
        assert moving == 0


@pytest.mark.slow
def test_suggestions_follow_what_is_typed(browser, served):
    with visit(browser, served) as page:
        page.get_by_label("Viewer", exact=True).press_sequentially("u4")
        option = page.locator("#users option[value=u41]")
        option.wait_for(state="attached")
        names = page.locator("#users option").evaluate_all("all => all.map((one) => one.value)")
        assert all(name.startswith("u4") for name in names)


@pytest.mark.slow
def test_a_key_that_is_not_good_any_more_leads_to_the_form(browser, served):
    with visit(browser, served, sign_in=False) as page:
        page.goto("/")
        page.get_by_label("API key").fill(served[1])
        page.get_by_role("button", name="Sign in").press("Enter")
        page.get_by_role("heading", name="For an anonymous session").wait_for()
        page.context.clear_cookies()
        page.goto("/")
        assert page.get_by_label("API key").is_visible()
