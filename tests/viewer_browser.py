"""The viewer in a browser, for tests: one server, one Chromium and one signed-in context a file, a page of its own for every test.

A test file imports the fixtures that it uses, directly or not. The browser's own complaints fail the test that caused them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from chromium import chromium
from playwright.sync_api import Browser, BrowserContext, Page, expect
from sqlalchemy import delete
from viewer_lab import BIG, EVIL, PLATE, SMALL, PlateOf, ViewerLab, make_viewer_lab, running

from crystal_search.ledger.viewer_tables import viewer_marks, viewer_plates_seen, viewer_seen

#: A loaded machine is slow, not wrong.
PATIENCE = 120_000
expect.set_options(timeout=PATIENCE)

#: A quarter of a plate of 96 wells with three drops each serves most tests: a browser takes a second for a whole one.
PLATES = (PlateOf(PLATE, 6, 4, (1, 3, 4), 2, "kinases", EVIL), PlateOf(BIG, 6, 4, (1,), 1, "phosphatases"), PlateOf(SMALL, 6, 4, (1,)))
DROPS = 72  # of PLATE


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> ViewerLab:
    return make_viewer_lab(tmp_path_factory.mktemp("viewer"), PLATES)


@pytest.fixture(scope="module")
def server(lab: ViewerLab) -> Iterator[tuple[str, Any]]:
    with running(lab) as found:
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def signed_in(browser: Browser, server: tuple[str, Any]) -> Iterator[BrowserContext]:
    """A browser that is signed in as Berta."""
    made = signed_in_context(browser, server, viewport={"width": 1280, "height": 800})
    yield made
    made.close()


@pytest.fixture
def context(signed_in: BrowserContext, lab: ViewerLab) -> Iterator[BrowserContext]:
    """It as it was when it came; at the end nothing may have gone wrong in it that the test did not expect."""
    yield from watched(signed_in, lab)


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


def signed_in_context(browser: Browser, server: tuple[str, Any], **options: Any) -> BrowserContext:
    address, app = server
    made = browser.new_context(base_url=address, **options)
    made.set_default_timeout(PATIENCE)
    made.wrong = []  # type: ignore[attr-defined]
    note = made.wrong.append  # type: ignore[attr-defined]
    made.on("console", lambda message: note(message.text) if message.type in ("error", "warning") else None)
    made.on("weberror", lambda error: note(str(error.error)))
    made.request.get(f"/sign-in?token={app.state.viewer.gate.local_token}")
    return made


def watched(context: BrowserContext, lab: ViewerLab) -> Iterator[BrowserContext]:
    """One test's time in a context: ``expected`` are the complaints that it provokes."""
    context.expected = []  # type: ignore[attr-defined]
    yield context
    if context.pages:
        page = context.pages[0]
        address = "/".join(page.url.split("/")[:3])
        context.new_cdp_session(page).send("Storage.clearDataForOrigin", {"origin": address, "storageTypes": "local_storage"})
    for page in context.pages:
        page.close()
    wrong, context.wrong[:] = list(context.wrong), []  # type: ignore[attr-defined]
    lab.execute("DELETE FROM I_SCORES")
    with lab.ledger() as ledger, ledger.begin() as connection:
        for table in (viewer_seen, viewer_plates_seen, viewer_marks):
            connection.execute(delete(table))
    unexpected = [line for line in wrong if not any(re.search(pattern, line) for pattern in context.expected)]  # type: ignore[attr-defined]
    assert unexpected == [], unexpected


def open_plate(page: Page, barcode: str = PLATE, number: int = 1, drop: int | None = None) -> None:
    page.goto(f"/plates/{barcode}/{number}{f'#{drop}' if drop else ''}")
    expect(page.locator(".tile.chosen")).to_have_count(1)


def open_drop(page: Page, drop: int) -> None:
    page.goto(f"/drops/{drop}")
    expect(page.locator("#panel .evaluation").first).to_be_visible()
    expect(page.locator("#head")).to_contain_text(" of ")


def chosen(page: Page) -> str:
    return str(page.locator(".tile.chosen").get_attribute("aria-label")).partition(",")[0]


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def until(condition: Callable[[], Any], page: Page) -> None:
    """Wait for what the page's own words do not tell."""
    for _ in range(PATIENCE // 50):
        if condition():
            return
        page.wait_for_timeout(50)
    raise AssertionError("it did not come")
