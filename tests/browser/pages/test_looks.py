"""What a person chooses about the looks of the pages, and how they are kept."""

import asyncio

import pytest
from playwright.async_api import expect

from tests.browser.questions import PLANET

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

_BACKGROUND = "getComputedStyle(document.documentElement).getPropertyValue('--night')"


async def test_the_theme_is_the_systems_until_the_switch_is_pressed_and_is_remembered(stage):
    page = await stage.open("/", color_scheme="light")
    assert await page.evaluate(_BACKGROUND) == "#eef2f6"
    await page.get_by_role("button", name="Switch to the dark theme").click()
    assert await page.evaluate(_BACKGROUND) == "#0b1720"
    await page.reload()
    await expect(page.get_by_role("button", name="Switch to the light theme")).to_be_visible()
    assert await page.evaluate(_BACKGROUND) == "#0b1720"
    await page.emulate_media(color_scheme="dark")
    await page.get_by_role("button", name="Switch to the light theme").click()
    await page.goto(f"{stage.site.base_url}/library")
    assert await page.evaluate(_BACKGROUND) == "#eef2f6"


_COUNT_TONES = """
  window.tones = 0;
  const make = AudioContext.prototype.createOscillator;
  AudioContext.prototype.createOscillator = function () { window.tones += 1; return make.call(this); };
"""


async def test_a_board_sounds_only_where_the_switch_is_on_and_remembers_it(stage):
    session = stage.session(PLANET)
    board = await stage.board(session)
    await board.context.add_init_script(_COUNT_TONES)
    await board.reload()
    switch = board.get_by_role("button", name="Sound")
    await expect(switch).to_have_attribute("aria-pressed", "false")
    await board.wait_for_timeout(1_000)  # two tones of the lobby's, if there were any
    assert await board.evaluate("tones") == 0
    await switch.click()
    async with asyncio.timeout(20):
        while await board.evaluate("tones") < 2:
            await board.wait_for_timeout(200)
    await board.reload()
    await expect(switch).to_have_attribute("aria-pressed", "true")
    await switch.click()
    await expect(switch).to_have_attribute("aria-pressed", "false")
    phone = await stage.join(session, "Mia")
    await expect(phone.get_by_role("button", name="Sound")).to_have_count(0)


async def test_only_the_host_sees_the_key_who_is_missing_and_what_comes_next(stage):
    session = stage.session(PLANET, {**PLANET, "text": "And which the longest?", "correct": [2]})
    host = await stage.host(session)
    board = await stage.board(session)
    mia = await stage.join(session, "Mia")
    await stage.join(session, "Ben")
    await stage.press(host, "Start")
    own = host.locator(".prompter")
    await expect(own.locator("summary")).to_have_text("Only you see this")
    await expect(own.get_by_text("Jupiter")).to_have_count(0)
    await own.locator("summary").click()
    await expect(own).to_contain_text("B: Jupiter")
    await expect(own).to_contain_text("And which the longest?")
    await expect(own.locator(".missing bdi")).to_have_text(["Ben", "Mia"])
    await mia.get_by_role("button", name="B Jupiter").click()
    await expect(own.locator(".missing bdi")).to_have_text(["Ben"])
    await stage.everywhere(host, "prompter")
    await expect(board.locator(".prompter")).to_have_count(0)


async def test_a_code_that_was_asked_for_opens_the_console_on_a_phone(stage):
    session = stage.session(PLANET)
    host = await stage.host(session)
    await stage.press(host, "Use a phone")
    dialog = host.get_by_role("dialog", name="Host on your phone")
    await expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    await expect(dialog.get_by_role("img")).to_have_count(0)
    async with host.expect_response("**/host_codes") as answer:
        await dialog.get_by_role("button", name="Show the code").click()
    assert (await answer.value).status == 201
    await expect(
        dialog.get_by_role("img", name="QR code that opens the host console")
    ).to_be_visible()
    await dialog.get_by_role("button", name="Done").click()
    await expect(dialog).to_have_count(0)
