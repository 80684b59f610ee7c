"""The host's controls in the browser: time, early ends, and presses that must not count twice."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from serve_app.pages.app import qr_svg
from tests.browser.questions import PLANET

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

_PLANET = {**PLANET, "time_limit_ms": 20_000}


async def test_lobby_shows_the_code_of_the_join_address(stage):
    session = stage.session(_PLANET)
    board = await stage.board(session)
    code = board.get_by_role("img", name="QR code of the address to join")
    await expect(code).to_have_attribute("src", f"/qr/{session['pin']}.svg")
    assert await code.evaluate("async img => { await img.decode(); return img.naturalWidth > 0; }")
    drawn = await board.evaluate(
        "async path => (await fetch(path)).text()", f"/qr/{session['pin']}.svg"
    )
    assert drawn == qr_svg(stage.site.base_url, session["pin"]).decode()


async def test_host_sees_how_many_of_the_players_are_connected(stage):
    session = stage.session(_PLANET)
    host = await stage.host(session)
    mia = await stage.join(session, "Mia")
    await stage.join(session, "Ben")
    connected = host.locator(".host-connected")
    await expect(connected).to_have_text("2 of 2 connected", timeout=20_000)
    await mia.context.close()
    await expect(connected).to_have_text("1 of 2 connected", timeout=30_000)


async def test_extension_gives_everybody_the_same_time_more(stage):
    session = stage.session(_PLANET)
    host = await stage.host(session)
    board = await stage.board(session)
    mia = await stage.join(session, "Mia")
    await stage.press(host, "Start")
    await expect(mia.locator(".pad")).to_have_count(4)
    await stage.press(host, "+10 s")
    left = "timer => parseInt(timer.getAttribute('aria-label'))"
    for page in (host, board, mia):
        await expect(page.get_by_role("timer")).to_have_accessible_name(
            re.compile(r"^(2[1-9]|30) seconds left$")  # more than the question had at first
        )
    times = [await page.get_by_role("timer").evaluate(left) for page in (host, board, mia)]
    assert max(times) - min(times) <= 2


async def test_finishing_in_mid_question_shows_the_podium_to_everybody(stage):
    session = stage.session(_PLANET, _PLANET)
    host = await stage.host(session)
    board = await stage.board(session)
    mia = await stage.join(session, "Mia")
    await stage.join(session, "Ben")
    await stage.press(host, "Start")
    await mia.get_by_role("button", name="B Jupiter").click()
    await expect(mia.get_by_text("Answer received")).to_be_visible()
    await stage.press(host, "End…")
    await stage.press(host, "Finish and show the result")
    await expect(mia.get_by_role("heading", name="You won!")).to_be_visible()
    for page in (host, board):
        await expect(page.locator(".step-1.shown .nickname")).to_have_text("Mia")


async def test_cancelling_tells_everybody(stage):
    session = stage.session(_PLANET)
    host = await stage.host(session)
    board = await stage.board(session)
    mia = await stage.join(session, "Mia")
    await stage.press(host, "End…")
    await stage.press(host, "Cancel the quiz")
    await expect(host.get_by_role("heading", name="This quiz was cancelled")).to_be_visible()
    for page in (board, mia):
        await expect(
            page.get_by_role("heading", name="The host has ended this quiz")
        ).to_be_visible()


async def test_double_click_moves_on_once(stage):
    session = stage.session(_PLANET, preview_ms=30_000)
    host = await stage.host(session)
    await stage.join(session, "Mia")
    await host.get_by_role("button", name="Start", exact=True).dblclick()
    await expect(host.get_by_role("button", name="Show answers now")).to_be_visible()
    await host.wait_for_timeout(500)
    await expect(host.get_by_role("button", name="Show answers now")).to_be_visible()
    await expect(host.locator(".choice")).to_have_count(0)


async def test_press_made_while_offline_is_carried_out_once(stage, network):
    session = stage.session(_PLANET, _PLANET)
    host = await stage.host(session, network)
    await stage.join(session, "Mia")
    await stage.press(host, "Start")
    await expect(host.get_by_role("button", name="Close now")).to_be_visible()
    await network.cut()
    await expect(host.get_by_role("alert")).to_contain_text("Disconnected")
    await stage.press(host, "Close now")
    await stage.press(host, "Close now")
    await expect(host.get_by_role("status").filter(has_text="Sending…")).to_be_visible()
    network.mend()
    await expect(host.get_by_role("button", name="Scoreboard")).to_be_visible(timeout=20_000)
    assert sum('"step":"close"' in message for message in network.said) == 1
