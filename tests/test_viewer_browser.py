"""The viewer in headless Chromium: every page and key, accessibility, and what goes wrong in the middle."""

from __future__ import annotations

import os
import re
import sqlite3
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import BrowserContext, Page, Route, expect
from sqlalchemy import delete, update
from viewer_browser import DROPS, browser, chosen, context, lab, open_drop, open_plate, page, press, server, signed_in, until
from viewer_lab import BIG, KINDS, PLATE, SMALL, ViewerLab, drawing

from crystal_search.ledger.schema import batches, images
from crystal_search.ledger.viewer_tables import viewer_sessions

pytestmark = pytest.mark.browser


# ---- the plate page --------------------------------------------------------------------------------------------------


def test_a_plate_shows_both_evaluations_of_every_drop(page: Page, lab: ViewerLab) -> None:
    lab.person(lab.id(PLATE, "A01"), "01", "Carl", 7)
    open_plate(page)
    tiles = page.locator("#plate .tile")
    expect(tiles).to_have_count(DROPS)
    first = page.locator(f'.tile[data-id="{lab.id(PLATE, "A01")}"]')
    # the first drop of inspection 1 is KINDS[1]
    assert KINDS[1] == "crystals_bad_form"
    expect(first).to_have_attribute("aria-label", re.compile("^A01a, ARTscore 22 Crystals bad form 75 %, crystal 90 %, Carl: 01 Clear"))
    assert first.evaluate("tile => getComputedStyle(tile).boxShadow").startswith("rgb(214, 39, 40)")
    expect(first.locator(".person")).to_have_text("01")
    expect(first).to_have_class(re.compile("disagree"))
    # a thumbnail is pixels of the drop, not an empty tile
    expect(first).to_have_attribute("data-shown", "yes")
    assert "/sheets/" in first.locator(".pic").evaluate("picture => picture.style.backgroundImage")


def test_moving_by_keys(page: Page) -> None:
    open_plate(page)
    assert chosen(page) == "A01a"
    press(page, "ArrowRight", "ArrowRight", "ArrowRight")
    assert chosen(page) == "A02a"  # three drops in a well
    press(page, "ArrowLeft")
    assert chosen(page) == "A01d"
    press(page, "q", "ArrowDown")
    assert chosen(page) == "A01d"  # below a in its well
    press(page, "ArrowDown")
    assert chosen(page) == "B01a"
    press(page, "ArrowUp", "ArrowUp")
    assert chosen(page) == "A01a"
    press(page, "e")
    assert chosen(page) == "D06d"
    press(page, "ArrowRight")
    assert chosen(page) == "D06d"
    press(page, "q", ".")
    page.wait_for_url(f"**/plates/{PLATE}/2")
    expect(page.locator(".tile.chosen")).to_have_count(1)
    press(page, ",")
    page.wait_for_url(f"**/plates/{PLATE}/1")


@pytest.mark.parametrize("of_drop_page", [False, True], ids=["plate", "drop"])
def test_a_key_for_each_of_the_twelve_classes(page: Page, lab: ViewerLab, of_drop_page: bool) -> None:
    keys = {
        "1": "23", "2": "22", "3": "21", "4": "11", "5": "13", "6": "12", "7": "31", "8": "32", "9": "33", "0": "34", "c": "01", "f": "02",
    }  # fmt: skip
    if of_drop_page:
        open_drop(page, lab.id(PLATE, "A01"))
    else:
        open_plate(page)
    for at, key in enumerate(keys):
        if of_drop_page:
            expect(page.locator("#head")).to_contain_text(f"{at + 1} of {DROPS}")
        press(page, key)
    until(lambda: len(lab.scores("Berta")) == 12, page)
    rows = lab.scores("Berta")
    assert [row[3] for row in rows] == list(keys.values())
    assert len({row[1] for row in rows}) == 12  # it went on by itself
    assert {row[5] for row in lab.scores()} == {"Berta"}
    press(page, "u")
    until(lambda: len(lab.scores("Berta")) == 11, page)
    assert [row[3] for row in lab.scores("Berta")] == list(keys.values())[:-1]
    press(page, "a")
    expect(page.locator("#notices")).to_contain_text("Auto-advance is off")


def test_scoring_several_at_once_and_taking_it_back(page: Page, lab: ViewerLab) -> None:
    open_plate(page)
    press(page, "Shift+ArrowRight", "Shift+ArrowRight", "Shift+ArrowDown")
    expect(page.locator("#panel h2")).to_have_text(re.compile(r"^\d+ drops$"))
    count = page.locator(".tile.selected").count()
    assert count > 3
    press(page, "Escape")
    expect(page.locator(".tile.selected")).to_have_count(0)
    press(page, "q", "Space", "ArrowRight", "ArrowRight", "Space", "c")
    until(lambda: len(lab.scores("Berta")) == 2, page)
    assert {row[1] for row in lab.scores("Berta")} == {lab.id(PLATE, "A01"), lab.id(PLATE, "A01", subwell=4)}
    press(page, "u")
    until(lambda: lab.scores("Berta") == [], page)


def test_filters_and_order(page: Page, lab: ViewerLab) -> None:
    lab.person(lab.id(PLATE, "B01"), "23", "Carl", 7)
    open_plate(page)
    page.locator('#legend [data-group="crystal"]').click()
    # of 14 kinds three are crystals: drop n of inspection 1 is KINDS[(n + 1) % 14]
    crystals = sum(KINDS[(at + 1) % 14].startswith("crystals") for at in range(DROPS))
    expect(page.locator("#count")).to_have_text(f"{crystals} of {DROPS} drops")
    page.locator('#legend [data-group="crystal"]').click()
    for value, count in (
        ("person", f"1 of {DROPS}"),
        ("mine", f"0 of {DROPS}"),
        ("unscored", f"{DROPS - 1} of {DROPS}"),
        ("disagree", f"1 of {DROPS}"),
        ("by:Carl", f"1 of {DROPS}"),
        ("class:null_experiment", f"{sum(KINDS[(at + 1) % 14] == 'null_experiment' for at in range(DROPS))} of {DROPS}"),
        ("all", f"{DROPS} drops"),
    ):
        page.locator("#filter").select_option(value)
        expect(page.locator("#count")).to_contain_text(count)
    page.locator("#filter").select_option("earlier")
    later = {at for at in range(DROPS) if KINDS[(at + 2) % 14].startswith("crystals")}
    expect(page.locator("#count")).to_have_text(f"{len(later)} of {DROPS} drops")
    page.locator("#filter").select_option("all")
    page.locator("#subwell").select_option("3")
    expect(page.locator("#plate .tile")).to_have_count(24)
    page.locator("#subwell").select_option("all")
    page.locator("#plate .tile").first.click()
    press(page, "s")
    first = page.locator("#plate .tile").first
    expect(first).to_have_attribute("aria-label", re.compile("crystal 90 %"))
    assert page.locator("#plate .well").count() == 0
    press(page, "s")
    expect(page.locator("#plate .well")).to_have_count(24)
    press(page, "+", "+", "+")
    expect(page.locator("#plate")).to_have_class(re.compile("size-3"))
    expect(page.locator("#plate .tile img").first).to_be_visible()
    press(page, "-")
    expect(page.locator("#plate")).to_have_class(re.compile("size-2"))


def test_keys_mean_the_drop_again_after_the_mouse(page: Page) -> None:
    open_plate(page)
    page.locator(".menu summary").click()
    expect(page.locator(".menu a").first).to_be_visible()
    press(page, "Escape")
    expect(page.locator(".menu a").first).not_to_be_visible()
    page.locator("#dark").click()
    press(page, "Enter")
    page.wait_for_url("**/drops/*")


def test_the_next_unseen(page: Page, lab: ViewerLab) -> None:
    here = page.locator(f'.tile[data-id="{lab.id(PLATE, "A01")}"]')
    with page.expect_response("**/api/seen") as told:
        open_plate(page)
        expect(here).to_have_class(re.compile("seen"))
    assert told.value.ok
    press(page, "n")
    assert chosen(page) == "A01c"
    open_plate(page)
    expect(here).to_have_class(re.compile("seen"))


def test_blind_until_one_has_scored(page: Page, lab: ViewerLab) -> None:
    lab.person(lab.id(PLATE, "A01"), "13", "Carl", 7)
    open_plate(page)
    press(page, "b")
    expect(page.locator("#plate .tile.framed")).to_have_count(0)
    expect(page.locator("#panel")).to_contain_text("Blind: it shows when you have scored this drop")
    assert "Carl" not in page.locator("body").inner_text()
    press(page, "q", "1")
    expect(page.locator("#plate .tile.framed")).to_have_count(1)
    press(page, "q")
    expect(page.locator("#panel")).to_contain_text("Carl")
    expect(page.locator("#panel")).to_contain_text("22 Crystals bad form")
    page.goto("/")
    expect(page.locator("#tabs")).not_to_contain_text("Crystals first")
    press(page, "b")
    expect(page.locator("#tabs")).to_contain_text("Crystals first")


def test_an_answer_that_comes_late_does_not_undo_the_switch_to_blind(page: Page) -> None:
    """Blind and back before the first answer is there: the older answer comes last, and is not shown."""
    waiting: list[Route] = []
    page.route("**/api/worklist?blind=false", lambda route: waiting.append(route) if not waiting else route.continue_())
    page.goto("/")
    until(lambda: waiting, page)
    press(page, "b")
    expect(page.locator("#tabs")).to_contain_text("Plates")
    with page.expect_response("**/api/worklist?blind=false"):
        waiting[0].continue_()
    page.wait_for_timeout(300)
    expect(page.locator("#tabs")).not_to_contain_text("Crystals first")


def test_the_artscore_is_wrong(page: Page, lab: ViewerLab) -> None:
    here = lab.id(PLATE, "C05")
    open_plate(page, drop=here)
    press(page, "x")
    expect(page.locator(f'.tile[data-id="{here}"]')).to_have_class(re.compile("wrong"))
    expect(page.locator("#panel")).to_contain_text("Called wrong by Berta")
    press(page, "Enter")
    page.wait_for_url(f"**/drops/{here}")
    expect(page.locator("#panel")).to_contain_text("Called wrong by Berta")
    press(page, "x")
    expect(page.locator("#panel")).not_to_contain_text("Called wrong by Berta")


# ---- the drop page ---------------------------------------------------------------------------------------------------


def test_the_drop_page_shows_regions_scale_course_and_both_evaluations(page: Page, lab: ViewerLab) -> None:
    here = lab.id(PLATE, "A01", 2)
    lab.person(here, "01", "Carl", 7)
    open_drop(page, here)
    expect(page.locator("#stage .region")).to_have_count(1)
    expect(page.locator("#stage .region-label")).to_have_text(re.compile("75 %$"))
    expect(page.locator("#stage .drop-outline")).to_have_count(1)
    expect(page.locator("#stage .scale-bar")).to_have_text("50 µm")
    expect(page.locator("#course .step")).to_have_count(2)
    expect(page.locator("#course [aria-current]")).to_contain_text("+7 d")
    for text in ("tiny", "2026-11-20 12:00:00", "Carl", "20 Nov 2026", "Person and ARTscore differ", "Since #1"):
        expect(page.locator("#panel")).to_contain_text(text)
    press(page, "o")
    expect(page.locator("#stage .region")).to_have_count(0)
    press(page, "o", "d")
    expect(page.locator("#stage .region")).to_have_count(1)
    expect(page.locator("#stage .drop-outline")).to_have_count(0)
    press(page, "d", ",")
    page.wait_for_url(f"**/drops/{lab.id(PLATE, 'A01', 1)}")
    expect(page.locator("#head")).to_contain_text("day 0")
    press(page, ".")
    expect(page.locator("#head")).to_contain_text("+7 d")
    press(page, "k")
    expect(page.locator("#stage .other-image.blink")).to_be_visible()
    press(page, "k")
    expect(page.locator("#stage .other-image.difference")).to_be_visible()
    press(page, "k")
    expect(page.locator("#stage .other-image")).to_be_hidden()


def test_the_outline_and_all_classes_as_long_as_the_result_is_kept(page: Page, lab: ViewerLab) -> None:
    """The second drop's result is there; of the third the ledger has the box, and the classes of the best regions."""
    open_drop(page, lab.id(PLATE, "A01", subwell=3))
    expect(page.locator("#stage polygon.drop-outline")).to_have_attribute("points", "160,40 260,120 160,200 60,120")
    expect(page.locator("#stage polygon.drop-outline")).to_have_css("fill", "none")
    expect(page.locator("#panel")).to_contain_text("All classes")
    press(page, "d")
    expect(page.locator("#stage .drop-outline")).to_have_count(0)
    press(page, "d", "ArrowRight")
    expect(page.locator("#stage rect.drop-outline")).to_have_count(1)
    expect(page.locator("#panel")).to_contain_text("Classes in the best regions")


def test_going_through_the_drops(page: Page, lab: ViewerLab) -> None:
    open_drop(page, lab.id(PLATE, "A01"))
    expect(page.locator("#head")).to_contain_text(f"1 of {DROPS}")
    press(page, "ArrowRight")
    expect(page.locator("#head")).to_contain_text(f"2 of {DROPS}")
    press(page, "e")
    expect(page.locator("#head h1")).to_have_text("D06d")
    press(page, "ArrowLeft", "q")
    expect(page.locator("#head h1")).to_have_text("A01a")
    press(page, "l")
    expect(page.locator("#notices")).to_contain_text("The zoom is kept")
    press(page, "v")
    expect(page.locator("#notices")).to_contain_text("one image only")
    press(page, "Escape")
    page.wait_for_url(f"**/plates/{PLATE}/1#*")


def test_zoom_pan_and_measure(page: Page, lab: ViewerLab) -> None:
    open_drop(page, lab.id(PLATE, "A01"))
    plane = page.locator("#stage .plane")
    before = plane.bounding_box()
    assert before is not None
    label = page.locator("#stage .region-label").first
    high = label.bounding_box()
    press(page, "+")
    after = plane.bounding_box()
    assert after is not None
    assert after["width"] == pytest.approx(1.4 * before["width"], rel=0.01)
    larger = label.bounding_box()
    assert high is not None
    assert larger is not None
    assert larger["height"] == pytest.approx(high["height"], rel=0.1), "words do not grow over the crystal"
    press(page, "-", "z")
    pixel = plane.bounding_box()
    assert pixel is not None
    assert pixel["width"] > before["width"]
    stage = page.locator("#stage").bounding_box()
    assert stage is not None
    x, y = stage["x"] + stage["width"] / 2, stage["y"] + stage["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 30, y + 10)
    page.mouse.up()
    moved = plane.bounding_box()
    assert moved is not None
    assert (moved["x"] - pixel["x"], moved["y"] - pixel["y"]) == (pytest.approx(30), pytest.approx(10))
    press(page, "z", "m")
    scale = before["width"] / 320  # px of the screen for one of the image
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60 * scale, y + 80 * scale)
    page.mouse.up()
    # 100 px of an HF image, 1.131 um each
    assert float(str(page.locator("#stage .measure-text").text_content()).split()[0]) == pytest.approx(113.1, abs=1.2)


def test_uv_beside_visible(page: Page, lab: ViewerLab, server: tuple[str, Any]) -> None:
    here = lab.id(SMALL, "A01")
    name = lab.name(here).replace("_HF_", "_UV_")
    lab.file(here).with_name(name).write_bytes(drawing(5, (200, 150)))
    lab.execute("INSERT INTO I_IMAGES VALUES (?, ?)", here, name)
    viewer = server[1].state.viewer.lab
    viewer.settings = viewer.settings.model_copy(update={"viewer": viewer.settings.viewer.model_copy(update={"uv_profiles": ["UV"]})})
    open_drop(page, here)
    expect(page.locator("#head .steps button")).to_have_text(["HF", "UV"])
    press(page, "v")
    expect(page.locator("#head .steps [aria-pressed=true]")).to_have_text("UV")
    expect(page.locator("#panel .file")).to_contain_text("200 \u00d7 150 px")
    expect(page.locator("#stage .scale-bar")).to_contain_text("scale unknown")
    page.close()  # it may still be asking for the image
    lab.execute("DELETE FROM I_IMAGES WHERE IMAGENAME = ?", name)


def test_the_overlay_that_the_volunteer_drew(page: Page, lab: ViewerLab) -> None:
    here = lab.id(PLATE, "A01")
    answer = page.request.get(f"/images/{here}/overlay/{lab.name(here)}")
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.body() == drawing(3)
    other = lab.id(PLATE, "B01")
    gone = page.request.get(f"/images/{other}/overlay/{lab.name(other)}")
    assert (gone.status, "no overlay" in gone.json()["error"]) == (404, True)


# ---- work list, grid, batch ------------------------------------------------------------------------------------------


def test_the_work_list(page: Page, lab: ViewerLab) -> None:
    lab.person(lab.id(BIG, "A01"), "01", "Carl", 7)
    page.goto("/")
    expect(page.locator("#list .lead")).to_contain_text("to find 95 % of the crystals")
    shown = page.locator("#list .tile")
    expect(shown.first).to_have_attribute("aria-label", re.compile("crystal 90 %"))
    press(page, "ArrowDown")
    expect(shown.first).to_be_focused()
    press(page, "ArrowRight")
    expect(shown.nth(1)).to_be_focused()
    press(page, "3")
    expect(page.locator("#list .tile")).to_have_count(1)
    press(page, "4")
    expect(page.locator("#list")).to_contain_text("None so far")
    press(page, "2")
    expect(page.locator("#list tbody tr")).to_have_count(4)
    row = page.locator("#list tbody tr", has_text=SMALL)
    expect(row).to_have_class("new")
    expect(row).to_contain_text("0 of 24")
    press(page, "1", "q", "Enter")
    page.wait_for_url("**/drops/*")
    expect(page.locator("#head")).to_contain_text("1 of ")
    press(page, "ArrowRight")
    expect(page.locator("#head")).to_contain_text("2 of ")
    press(page, "Escape")
    page.wait_for_url(lambda url: url.endswith("/"))
    open_plate(page, SMALL)
    page.wait_for_load_state("networkidle")
    page.goto("/")
    press(page, "2")
    expect(page.locator("#list tbody tr", has_text=SMALL)).to_have_class("")


def test_a_plate_without_artscores_is_not_one_without_crystals(page: Page) -> None:
    def none_of_the_first(route: Route) -> None:
        content = route.fetch().json()
        content["plates"][0] |= {"groups": {}, "crystals": 0}
        route.fulfill(json=content)

    page.route("**/api/worklist*", none_of_the_first)
    page.goto("/")
    expect(page.locator("#list .tile").first).to_be_visible()
    press(page, "2")
    expect(page.locator("#list tbody tr").first).to_contain_text("no ARTscores yet")


def test_finding_a_plate(context: BrowserContext, page: Page) -> None:
    page.goto("/grid")
    press(page, "/")
    page.keyboard.type("BIG")
    expect(page.locator("#plates-found option")).to_have_count(1)
    page.keyboard.type("00001")
    press(page, "Enter")
    page.wait_for_url(f"**/plates/{BIG}/1")
    context.expected.append("404")  # type: ignore[attr-defined]
    page.goto("/plates/NONE")  # who mistyped finds it from there
    press(page, "g")
    page.wait_for_url("**/grid")
    press(page, "w")
    page.wait_for_url(lambda url: url.endswith("/"))


def test_the_grids_pulse_is_live(page: Page, lab: ViewerLab) -> None:
    page.goto("/grid")
    evaluated = page.locator(".stage-card", has_text="Evaluated")
    expect(evaluated.locator("b")).to_have_text("192")  # 2 x 72 + 24 + 24
    expect(page.locator("#grid")).to_contain_text(
        "3 imagers make 665 an hour, 2\u202f080 with full incubators"
    )  # 3 x 3600 / 16.25 and / 5.19
    with lab.ledger() as ledger, ledger.begin() as connection:
        to_failed = update(images).where(images.c.state == "no_drop", images.c.barcode == BIG)
        count = connection.execute(to_failed.values(state="failed", reason="missing: secret_name.jpg")).rowcount
    assert count == sum(KINDS[(at + 1) % 14] == "no_drop" for at in range(24))
    expect(evaluated.locator("b")).to_have_text(str(192 - count))  # without a reload
    expect(page.locator("#grid")).to_contain_text("secret_name.jpg")
    with lab.ledger() as ledger, ledger.begin() as connection:
        connection.execute(update(images).where(images.c.state == "failed").values(state="no_drop", reason=None))


def test_a_batch_is_looked_at_and_approved(page: Page, lab: ViewerLab) -> None:
    kinds = [
        KINDS[(at + number) % 14]
        for drops, inspections in ((DROPS, 2), (24, 1), (24, 1))
        for number in range(1, inspections + 1)
        for at in range(drops)
    ]
    of_each = [kinds.count(kind) for kind in KINDS]  # the table's order, then unsure and no drop
    page.goto("/grid")
    page.get_by_role("link", name="batch-1").click()
    page.wait_for_url("**/batches/batch-1")
    expect(page.locator("#pictures .tile").first).to_have_class(re.compile("k-crystals_harvestable"))
    expect(page.locator("#counts li").first).to_have_text(f"23 Crystals harvestable {of_each[0]}")
    expect(page.locator("#counts li")).to_have_text([re.compile(rf" {count}$") for count in of_each])
    before = page.locator("#pictures .tile").count()
    page.get_by_role("button", name="More pictures").click()
    until(lambda: page.locator("#pictures .tile").count() > before, page)
    page.get_by_role("button", name="Approve").click()
    expect(page.locator("#state")).to_have_text("approved")
    with lab.ledger() as ledger, ledger.begin() as connection:
        assert connection.execute(batches.select()).one().approved_by == "Berta"
        connection.execute(update(batches).values(state="held", approved_by=None))


# ---- what goes wrong -------------------------------------------------------------------------------------------------


def test_a_sign_in_that_ends_in_the_middle_loses_no_score(
    context: BrowserContext, page: Page, lab: ViewerLab, server: tuple[str, Any]
) -> None:
    context.expected.append("401")  # type: ignore[attr-defined]
    open_plate(page)
    with lab.ledger() as ledger, ledger.begin() as connection:
        connection.execute(delete(viewer_sessions))
    press(page, "1", "2")
    expect(page.locator("#notices")).to_contain_text("You are signed out. 2 scores wait in this browser and will be sent.")
    assert lab.scores() == []
    other = context.new_page()
    other.goto(f"/sign-in?token={server[1].state.viewer.gate.local_token}")
    context.expected.append("403")  # type: ignore[attr-defined]  # the page's own token is an old one, and is renewed
    other.close()
    page.bring_to_front()
    page.evaluate("window.dispatchEvent(new Event('focus'))")  # which a window without a screen does not get
    until(lambda: [row[3] for row in lab.scores("Berta")] == ["23", "22"], page)
    expect(page.locator("#notices")).not_to_contain_text("signed out")


def test_what_could_not_be_sent_is_taken_back_in_the_browser(context: BrowserContext, page: Page, lab: ViewerLab) -> None:
    context.expected.append("503|404")  # type: ignore[attr-defined]
    open_plate(page)
    page.route("**/api/scores", lambda route: route.fulfill(status=503, json={"error": "XtalTrak is locked; try again later"}))
    press(page, "1")
    expect(page.locator("#notices")).to_contain_text("1 score waits")
    press(page, "u")
    expect(page.locator("#notices")).to_contain_text("Undone: 1 score of yours")
    expect(page.locator("#notices")).not_to_contain_text("waits")
    page.unroute("**/api/scores")
    press(page, "q", "2")
    until(lambda: [row[3] for row in lab.scores("Berta")] == ["22"], page)


def test_a_viewer_that_is_away_loses_no_score_even_over_a_reload(context: BrowserContext, page: Page, lab: ViewerLab) -> None:
    context.expected.append("ERR_FAILED|ERR_CONNECTION")  # type: ignore[attr-defined]
    open_plate(page)
    page.route("**/api/scores", lambda route: route.abort())
    press(page, "3")
    expect(page.locator("#notices")).to_contain_text("1 score waits in this browser")
    page.unroute("**/api/scores")
    open_plate(page)
    until(lambda: [row[3] for row in lab.scores("Berta")] == ["21"], page)


def test_a_database_that_is_away_is_told_and_comes_back(
    context: BrowserContext, page: Page, lab: ViewerLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    context.expected.append("503")  # type: ignore[attr-defined]
    monkeypatch.setattr("crystal_search.databases.BUSY_SECONDS", 0.2)
    open_plate(page)
    page.wait_for_load_state("networkidle")
    holder = sqlite3.connect(lab.database, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    press(page, "1")
    expect(page.locator("#notices")).to_contain_text(re.compile("locked.* 1 score waits in this browser and will be sent"))
    holder.close()
    until(lambda: len(lab.scores("Berta")) == 1, page)  # by itself, a few seconds later
    expect(page.locator("#notices")).not_to_contain_text("locked")


def test_somebody_else_scores_the_drop_on_ones_screen(page: Page, lab: ViewerLab) -> None:
    open_plate(page)
    lab.person(lab.id(PLATE, "A01"), "13", "Carl", 7)
    press(page, "1")
    expect(page.locator("#notices")).to_contain_text("Carl has scored this drop too: 13 Precipitate. Both scores stay.")
    assert [(row[3], row[5]) for row in lab.scores()] == [("13", "Carl"), ("23", "Berta")]


def test_missing_broken_and_changed_images(context: BrowserContext, page: Page, lab: ViewerLab) -> None:
    context.expected.append("404|422")  # type: ignore[attr-defined]
    gone, broken, changed = (lab.id(SMALL, label) for label in ("B01", "C01", "D01"))
    lab.file(gone).unlink()
    for drop, content in ((broken, b"no image"), (changed, drawing(9))):
        lab.file(drop).unlink()
        lab.file(drop).write_bytes(content)
    os.utime(lab.file(changed), (1_900_000_000, 1_900_000_000))
    open_plate(page, SMALL, drop=gone)
    expect(page.locator(f'.tile[data-id="{gone}"]')).to_have_class(re.compile("missing"))
    expect(page.locator("#panel")).to_contain_text("is missing")
    page.locator(f'.tile[data-id="{broken}"]').click()
    expect(page.locator("#panel")).to_contain_text("can not be shown")
    for drop, says in (
        (gone, "is missing: see NOP00001/1 in the image root"),
        (broken, "no readable image"),
        (changed, "after it was scored"),
    ):
        page.goto(f"/drops/{drop}")
        expect(page.locator(".stage-note")).to_contain_text(says)
    press(page, "1")  # one may score all the same what one knows
    until(lambda: len(lab.scores("Berta")) == 1, page)


def test_no_script_of_a_name_is_executed(page: Page, lab: ViewerLab) -> None:
    here = lab.id(PLATE, "A01")
    evil = "<img src=x onerror=alert(1)>"
    lab.person(here, "<b>", evil, 7)
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    open_plate(page)
    expect(page.locator("#panel")).to_contain_text(evil)
    expect(page.locator("h1")).to_contain_text("<script>document.title='executed'</script>")
    open_drop(page, here)
    expect(page.locator("#panel")).to_contain_text(evil)
    page.goto("/")
    press(page, "2")
    expect(page.locator("#list table")).to_contain_text("<script>")
    assert "executed" not in page.title()
    assert page.locator("img[src=x]").count() == 0


# ---- for everybody ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(1280, 800), (820, 1180)], ids=["laptop", "tablet"])
def test_every_page_is_accessible_and_fits(context: BrowserContext, page: Page, lab: ViewerLab, size: tuple[int, int]) -> None:
    context.expected.append("404|422")  # type: ignore[attr-defined]  # a plate that is not there, and the files that a test above broke
    page.set_viewport_size({"width": size[0], "height": size[1]})
    lab.person(lab.id(PLATE, "A01"), "01", "Carl", 7)
    paths = {
        f"/plates/{PLATE}/1": ".tile.chosen", f"/drops/{lab.id(PLATE, 'A01')}": "#course .step", "/": "#list .tile", "/grid": ".stages",
        "/batches/batch-1": "#pictures .tile", "/plates/NONE": ".problem", "/sign-in": ".card",
    }  # fmt: skip
    axe = Axe()
    for path, shown in paths.items():
        page.goto(path)
        expect(page.locator(shown).first).to_be_visible()
        # axe takes seconds; the pages of a tablet hold nothing that a laptop's do not
        themes = () if size[0] < 1000 else ("light", "dark") if shown in ("#course .step", ".stages") else ("light",)
        for theme in themes:
            page.evaluate("theme => document.documentElement.classList.toggle('dark', theme === 'dark')", theme)
            found = axe.run(page).response["violations"]
            serious = [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found if one["impact"] in ("serious", "critical")]
            assert serious == [], (path, theme)
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0], path
    page.goto("/")
    expect(page.locator("#list .k-crystals_harvestable").first).to_be_visible()
    press(page, "?")
    expect(page.locator("#help")).to_contain_text("blind")
    press(page, "Escape")
    expect(page.locator("#help")).not_to_be_visible()
    page.locator("#safe").click()
    colour = "getComputedStyle(document.querySelector('.k-crystals_harvestable')).getPropertyValue('--c')"
    assert page.evaluate(colour) == "#d55e00"
    page.locator("#safe").click()
    assert page.evaluate(colour) == "#d62728"
