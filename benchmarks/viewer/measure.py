"""The viewer as a program of its own, asked over HTTP as a browser does, and by a browser itself where there is one."""

from __future__ import annotations

import json
import re
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import HTTPCookieProcessor, OpenerDirector, build_opener

from benchmarks.viewer.archive import PLATE
from crystal_search.errors import CrystalSearchError

_START_SECONDS = 120.0


@contextmanager
def serving(settings_file: Path) -> Iterator[tuple[str, str]]:
    """The viewer's address, and the one that signs in."""
    call = [sys.executable, "-m", "crystal_search", "serve", "--settings", str(settings_file), "--port", "0"]
    process = subprocess.Popen(call, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"(http://[^/\s]+)/sign-in\?token=\S+", line)
        if not found:
            raise CrystalSearchError("the viewer did not start: see above")
        yield found[1], found[0]
    finally:
        process.terminate()
        process.wait(60)


def signed_in(sign_in: str) -> OpenerDirector:
    """A client with a session of its own."""
    client = build_opener(HTTPCookieProcessor(CookieJar()))
    client.open(sign_in, timeout=_START_SECONDS).read()
    return client


def ask(client: OpenerDirector, url: str) -> tuple[float, bytes]:
    """Seconds and content of an answer."""
    began = time.perf_counter()
    content: bytes = client.open(url, timeout=60).read()
    return time.perf_counter() - began, content


def plate_times(address: str, sign_in: str, repeats: int) -> dict[str, float]:
    """Median seconds of what a plate's page asks for, one after the other; the first sheets are made, the later ones are kept."""
    client = signed_in(sign_in)
    api = f"{address}/api/plates/{PLATE}/1"
    _, content = ask(client, api)
    sheets = [f"{address}/sheets/{PLATE}/1/{version}.jpg" for version in json.loads(content)["sheets"]]
    cold = sum(ask(client, url)[0] for url in sheets)
    pages = [ask(client, f"{address}/plates/{PLATE}/1")[0] for _ in range(repeats)]
    data = [ask(client, api)[0] for _ in range(repeats)]
    warm = [sum(ask(client, url)[0] for url in sheets) for _ in range(repeats)]
    drops = [ask(client, f"{address}/api/drops/{number}")[0] for number in range(1, repeats + 1)]
    return {
        "page": statistics.median(pages), "data": statistics.median(data), "sheets_first": cold, "sheets": statistics.median(warm),
        "drop": statistics.median(drops),
    }  # fmt: skip


def crowd(address: str, sign_in: str, users: int, pages_each: int) -> dict[str, float]:
    """Many users open the plate at once, each ``pages_each`` times: errors, and seconds of a page with its data and sheets."""
    seconds: list[float] = []
    errors: list[str] = []

    def user() -> None:
        try:
            client = signed_in(sign_in)
            for _ in range(pages_each):
                page, _ = ask(client, f"{address}/plates/{PLATE}/1")
                data, content = ask(client, f"{address}/api/plates/{PLATE}/1")
                sheets = sum(ask(client, f"{address}/sheets/{PLATE}/1/{version}.jpg")[0] for version in json.loads(content)["sheets"])
                seconds.append(page + data + sheets)
        except (URLError, OSError, ValueError) as error:
            errors.append(str(error))

    threads = [threading.Thread(target=user) for _ in range(users)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ordered = sorted(seconds) or [float("nan")]
    return {"users": users, "errors": len(errors), "median": statistics.median(ordered), "p95": ordered[int(0.95 * (len(ordered) - 1))]}


def browser_times(address: str, sign_in: str) -> dict[str, float] | None:
    """By the browser's own clock: the plate with every thumbnail, and the next drop. None without Chromium and Playwright."""
    program = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        return None
    if program is None:
        return None
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=flags)
        page = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
        page.set_default_timeout(120_000)
        page.goto(sign_in)
        complete = [_complete(page, address) for _ in range(5)]
        page.goto(f"{address}/drops/1")
        page.locator("#head", has_text="1 of 288").wait_for()
        page.wait_for_timeout(1500)
        for number in range(2, 12):
            page.keyboard.press("ArrowRight")
            page.locator("#head", has_text=f"{number} of 288").wait_for()
            page.wait_for_timeout(400)
        steps = page.evaluate("performance.getEntriesByName('next-drop').slice(1).map(entry => entry.duration)")
        browser.close()
    return {"plate": statistics.median(complete), "next_drop": statistics.median(steps) / 1000}


def _complete(page: Any, address: str) -> float:
    """Seconds from the start of the navigation until the last of 288 thumbnails was there."""
    page.goto(f"{address}/plates/{PLATE}/1")
    tiles = page.locator("#plate .tile[data-shown]")
    while tiles.count() < 288:
        page.wait_for_timeout(20)
    last = page.evaluate("Math.max(...performance.getEntriesByName('thumbnail').map(entry => entry.startTime))")
    return float(last) / 1000
