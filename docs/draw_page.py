"""Draw the README's picture of the page: serve the trained demo, watch an item, keep what Chromium shows.

python docs/draw_page.py [a.b=c ...]

Needs a trained run (`make demo`), the `dev` extra and chromium; the arguments are settings as in `--set`.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import httpx
from playwright.sync_api import Page, sync_playwright

from muma.app.config import read_recipe
from muma.app.service.make import keys_of
from muma.cli.terminal import now_us

IMAGE = Path(__file__).parent / "img" / "page.png"
RECIPE = "recipes/demo.toml"
VIEWER, WATCHES, READY_S = "19674", 3, 120
ARGS = ("--headless", "--no-sandbox", "--disable-gpu")


def main(overrides: list[str]) -> None:
    """Serve, look, stop."""
    keys = keys_of(read_recipe(RECIPE, overrides=overrides), clock=now_us)
    key, token = keys.create(tenant="default", roles=("read", "write"), name="editor")
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).with_name("muma")), "serve", RECIPE, "--port", str(port)]
    command += ["--log-time", *(f"--set={one}" for one in ("serving.begin=test", *overrides))]
    service = subprocess.Popen(  # noqa: S603 - our own command
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _await(url, service)
        with sync_playwright() as started:
            path = shutil.which("chromium") or shutil.which("chromium-browser")
            browser = started.chromium.launch(executable_path=path, args=list(ARGS))
            page = browser.new_page(base_url=url, viewport={"width": 1280, "height": 980})
            page.set_default_timeout(1_000 * READY_S)  # the first answer may compile
            page.goto(f"/?key={token}")
            _draw(page)
            browser.close()
    finally:
        keys.revoke(key.id)
        service.terminate()
        service.wait(60)


def _await(url: str, service: subprocess.Popen) -> None:
    until = time.monotonic() + READY_S
    while time.monotonic() < until and service.poll() is None:
        try:
            if httpx.get(url + "/readyz").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise SystemExit("the service did not start; is the demo trained? run: make demo")


def _draw(page: Page) -> None:
    page.goto(f"/?user={VIEWER}")
    for turn in range(WATCHES):  # the first answers also compile
        page.locator(".card").nth(turn).get_by_role("button", name="Watch").click()
        page.locator("body:not([aria-busy])").wait_for()
    page.locator(".changes .up").first.wait_for()
    page.mouse.move(0, 0)
    page.wait_for_timeout(2_000)  # what fades has faded
    page.screenshot(path=str(IMAGE))


if __name__ == "__main__":
    main(sys.argv[1:])
