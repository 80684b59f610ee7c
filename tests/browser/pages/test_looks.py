"""What a person chooses about the looks of the pages, and how they are kept."""

import pytest
from playwright.async_api import expect

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
