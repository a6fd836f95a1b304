"""The viewer's pages on every plate and screen: from 24 to 1536 wells, on paper, on a tablet with fingers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect
from viewer_browser import (
    DROPS,
    PLATES,
    browser,
    chosen,
    context,
    open_drop,
    open_plate,
    page,
    press,
    server,
    signed_in,
    signed_in_context,
    until,
    watched,
)
from viewer_lab import BIG, PLATE, SMALL, PlateOf, ViewerLab, make_viewer_lab

pytestmark = pytest.mark.browser


#: Of the large plates some files are enough: where one is missing there is a tile all the same.
FULL, P384 = "FULL0001", "P3840001"
LARGE = (
    PlateOf(FULL, 12, 8, (1, 2, 3), files=48),
    PlateOf(P384, 24, 16, (1,), files=48),
    PlateOf(BIG, 48, 32, (1,), files=192),
)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> ViewerLab:
    return make_viewer_lab(tmp_path_factory.mktemp("viewer"), (*(plate for plate in PLATES if plate.barcode != BIG), *LARGE))


# ---- plates ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("barcode", "last", "drops", "columns", "rows"), [
    (SMALL, "D06a", 24, 6, 4), (FULL, "H12c", 288, 12, 8), (P384, "P24a", 384, 24, 16),
])  # fmt: skip
def test_plates_of_other_formats(page: Page, barcode: str, last: str, drops: int, columns: int, rows: int) -> None:
    open_plate(page, barcode)
    expect(page.locator("#plate .tile")).to_have_count(drops)
    expect(page.locator("#plate .well")).to_have_count(columns * rows)
    assert page.locator("#plate [role=columnheader]").all_text_contents()[1:] == [str(column) for column in range(1, columns + 1)]
    assert page.locator("#plate [role=rowheader]").all_text_contents() == list("ABCDEFGHIJKLMNOP"[:rows])
    press(page, "e")
    assert chosen(page) == last
    # all of it is in sight, without scrolling sideways
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    assert page.locator("#plate").evaluate("plate => plate.scrollWidth <= plate.clientWidth")


def test_a_plate_of_1536_wells(page: Page) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    open_plate(page, BIG)
    expect(page.locator("#plate .tile")).to_have_count(1536)
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    press(page, "e")
    assert chosen(page) == "AF48a"
    press(page, "ArrowUp", "ArrowLeft")
    assert chosen(page) == "AE47a"
    expect(page.locator("#plate .tile[data-shown]")).to_have_count(192)  # the others' files are missing
    expect(page.locator("#plate .tile.missing")).to_have_count(1536 - 192)
    assert len([url for url in asked if "/sheets/" in url]) == 4  # 48 drops a file
    press(page, "q", "+", "+", "+")
    expect(page.locator("#plate .tile img").first).to_be_visible()
    page.wait_for_timeout(300)
    assert 0 < len([url for url in asked if "/thumbnail/" in url]) < 300  # what is far away is not loaded


# ---- exports ---------------------------------------------------------------------------------------------------------


def test_exports(page: Page, lab: ViewerLab) -> None:
    lab.person(lab.id(PLATE, "A01"), "01", "=cmd()", 7)
    text = page.request.get(f"/plates/{PLATE}/1/scores.csv").text()
    header, first, *rest = text.splitlines()
    assert header.startswith("barcode,inspection,drop,column,row,subwell,image,artscore_status,artscore_class,artscore_score")
    assert first.startswith(f"{PLATE},1,A01a,1,1,1,")
    assert ",'=cmd()," in first  # a spreadsheet does not compute it
    assert len(rest) == DROPS - 1
    content = page.request.get(f"/plates/{PLATE}/1/scores.json").json()
    assert (content["plate"]["barcode"], len(content["drops"]), content["drops"][0]["person_score"]) == (PLATE, DROPS, "01")
    boxes = page.request.get(f"/plates/{PLATE}/1/boxes.json").json()
    first_box = boxes["annotations"][0]
    assert first_box["bbox"] == [100, 60, 64, 64]  # x, y, width and height of the chop 100,60 to 164,124
    assert {row["id"]: row["name"] for row in boxes["categories"]}[first_box["category_id"]] == "crystals_bad_form"
    assert boxes["images"][0]["person_score"] == "01"
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(f"/plates/{PLATE}/1/report.html")
    expect(page.locator("tbody tr")).to_have_count(DROPS)
    legend = page.locator(".legend .k-crystals_harvestable")
    assert legend.evaluate("key => getComputedStyle(key).borderLeftColor") == "rgb(214, 39, 40)"
    assert page.locator("img").first.evaluate("image => image.naturalWidth") > 0
    assert [url for url in asked if not url.startswith("data:")] == [page.url]  # nothing but itself
    assert len(page.pdf()) > 10_000


# ---- fingers ---------------------------------------------------------------------------------------------------------

TABLETS = {"landscape": (1024, 768), "portrait": (768, 1024)}


@pytest.fixture(scope="module", params=TABLETS)
def tablet(browser: Browser, server: tuple[str, Any], request: pytest.FixtureRequest) -> Iterator[BrowserContext]:
    width, height = TABLETS[request.param]
    made = signed_in_context(browser, server, viewport={"width": width, "height": height}, has_touch=True, is_mobile=True)
    yield made
    made.close()


@pytest.fixture
def touched(tablet: BrowserContext, lab: ViewerLab) -> Iterator[Page]:
    for watching in watched(tablet, lab):
        yield watching.new_page()


def fingers(page: Page, *paths: tuple[tuple[float, float], tuple[float, float]], steps: int = 8) -> None:
    """Fingers that go down together, move evenly from where to where, and are lifted."""
    session = page.context.new_cdp_session(page)

    def touch(kind: str, part: float) -> None:
        points = [{"x": x0 + part * (x1 - x0), "y": y0 + part * (y1 - y0), "id": at} for at, ((x0, y0), (x1, y1)) in enumerate(paths)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [] if kind == "touchEnd" else points})

    touch("touchStart", 0)
    for step in range(1, steps + 1):
        touch("touchMove", step / steps)
    page.wait_for_timeout(200)  # a finger that is lifted in full motion flings, and the next tap only stops that
    touch("touchEnd", 1)


def middle(page: Page, selector: str) -> tuple[float, float]:
    box = page.locator(selector).first.bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def plane(page: Page) -> dict[str, float]:
    found = page.locator("#stage .plane").bounding_box()
    assert found is not None
    return dict(found)


def test_two_fingers_zoom_where_they_are_and_one_moves(touched: Page, lab: ViewerLab) -> None:
    page = touched
    open_drop(page, lab.id(PLATE, "B02"))
    page.locator("#stage").scroll_into_view_if_needed()
    before = plane(page)
    x, y = middle(page, "#stage")
    x -= 40  # not the middle: what lies between the fingers has to stay there
    fingers(page, ((x - 30, y), (x - 90, y)), ((x + 30, y), (x + 90, y)))
    after = plane(page)
    assert after["width"] == pytest.approx(3 * before["width"], rel=0.05)
    part = (x - before["x"]) / before["width"]
    assert (x - after["x"]) / after["width"] == pytest.approx(part, abs=0.02)
    fingers(page, ((x, y), (x + 50, y + 25)))
    moved = plane(page)
    assert (moved["x"] - after["x"], moved["y"] - after["y"]) == (pytest.approx(50, abs=2), pytest.approx(25, abs=2))
    # both fingers the same way: the image goes with them, and stays as large
    fingers(page, ((x - 60, y), (x - 100, y)), ((x + 60, y), (x + 20, y)))
    dragged = plane(page)
    assert dragged["width"] == pytest.approx(moved["width"], rel=0.03)
    assert dragged["x"] - moved["x"] == pytest.approx(-40, abs=6)
    fingers(page, ((x - 120, y), (x - 10, y)), ((x + 120, y), (x + 10, y)))
    assert plane(page)["width"] == pytest.approx(before["width"], rel=0.02)
    expect(page.locator("#head")).to_contain_text("B02a")  # nothing of it was a swipe


def test_a_finger_goes_from_drop_to_drop(touched: Page, lab: ViewerLab) -> None:
    page = touched
    open_drop(page, lab.id(PLATE, "A01"))
    x, y = middle(page, "#stage")
    fingers(page, ((x + 80, y), (x - 80, y + 5)))
    expect(page.locator("#head h1")).to_have_text("A01c")
    fingers(page, ((x - 80, y), (x + 80, y + 5)))
    expect(page.locator("#head h1")).to_have_text("A01a")
    page.locator("#head [aria-label='Next drop']").tap()
    expect(page.locator("#head h1")).to_have_text("A01c")
    page.get_by_role("button", name="Measure").tap()
    fingers(page, ((x, y), (x - 100, y)))
    expect(page.locator("#stage .measure-text")).to_contain_text("µm")
    expect(page.locator("#head h1")).to_have_text("A01c")


def test_tapping_chooses_scores_and_takes_back(touched: Page, lab: ViewerLab) -> None:
    page = touched
    open_plate(page)
    tile = page.locator(f'.tile[data-id="{lab.id(PLATE, "B02")}"]')
    tile.tap()
    assert chosen(page) == "B02a"
    assert page.locator("#panel").evaluate("panel => panel.scrollWidth <= panel.clientWidth")
    page.locator("#panel [data-score='23']").tap()
    until(lambda: [row[1] for row in lab.scores("Berta")] == [lab.id(PLATE, "B02")], page)
    page.locator("#panel .undo").tap()
    until(lambda: lab.scores("Berta") == [], page)
    # held for a moment a drop is chosen, and the next taps choose more
    first, second = (page.locator(f'.tile[data-id="{lab.id(PLATE, label)}"]') for label in ("A01", "C03"))
    hold(page, first)
    second.tap()
    expect(page.locator(".tile.selected")).to_have_count(2)
    expect(page.locator("#panel h2")).to_have_text("2 drops")
    page.locator("#panel [data-score='01']").tap()
    until(lambda: {row[1] for row in lab.scores("Berta")} == {lab.id(PLATE, "A01"), lab.id(PLATE, "C03")}, page)
    hold(page, tile)
    expect(page.locator(".tile.selected")).to_have_count(1)
    page.locator("#choose-none").tap()
    expect(page.locator(".tile.selected")).to_have_count(0)
    page.get_by_role("button", name=re.compile("^Open")).tap()
    page.wait_for_url("**/drops/*")


def hold(page: Page, tile: Locator) -> None:
    tile.scroll_into_view_if_needed()
    box = tile.bounding_box()
    assert box is not None
    session = page.context.new_cdp_session(page)
    point = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    session.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [point]})
    expect(tile).to_have_class(re.compile("selected"))
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
