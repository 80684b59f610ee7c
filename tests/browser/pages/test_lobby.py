"""The host's means against those who disturb: the lock, the list of everybody, removal for good."""

import asyncio
import re

import pytest
from playwright.async_api import expect

from tests.browser.questions import PLANET

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

_PLANET = {**PLANET, "time_limit_ms": 20_000}


async def test_a_locked_game_lets_nobody_new_in_and_says_so_before_a_name_is_typed(stage):
    session = stage.session(_PLANET)
    host = await stage.host(session)
    board = await stage.board(session)
    mia = await stage.join(session, "Mia")
    await stage.press(host, "Lock the game")
    for page in (host, board):
        await expect(page.get_by_text("The game is locked.")).to_be_visible()
    await stage.everywhere(host, "locked")
    await stage.shoot("locked", board=board)
    await mia.reload()
    await expect(mia.get_by_role("heading", name="You’re in!")).to_be_visible()

    ben = await stage.phone(f"/play?pin={session['pin']}")
    locked = ben.get_by_role("heading", name="The host has locked this game")
    await expect(locked).to_be_visible()
    await expect(ben.locator("#nickname")).to_have_count(0)
    await stage.shoot("locked-out", phone=ben)
    await stage.press(host, "Unlock the game")
    await expect(board.get_by_text("Join at")).to_be_visible()
    async with asyncio.timeout(20):
        while await locked.is_visible():  # what a replica knows of the lock may be a second old
            await stage.press(ben, "Try again")
            await ben.wait_for_timeout(200)
    await ben.fill("#nickname", "Ben")
    await stage.press(host, "Lock the game")
    await expect(host.get_by_role("button", name="Unlock the game")).to_be_visible()
    await ben.get_by_role("button", name="Let me in").click()
    await expect(ben.get_by_role("alert")).to_contain_text("The host has locked this game")


async def test_a_flood_is_told_in_plain_words_and_undone_with_one_tap(stage, network):
    session = stage.session(_PLANET)
    host = await stage.host(session, network)
    network.reworded = ('"lock":"host"', '"lock":"flood"')
    await stage.crowd(session, *(f"Bot {n}" for n in range(3)))
    await stage.press(host, "Lock the game")
    banner = host.get_by_role("alert").filter(has_text="Someone is flooding your game")
    await expect(banner).to_contain_text("We locked it.")
    await stage.everywhere(host, "flooded")
    await banner.get_by_role("button", name="See who joined").click()
    dialog = host.get_by_role("dialog", name="Players")
    await expect(dialog.get_by_role("radio", name="Never connected")).to_be_checked()
    await expect(dialog.locator("bdi")).to_have_text([re.compile("^Bot [012]$")] * 3)
    await dialog.get_by_role("button", name="Done").click()
    await banner.get_by_role("button", name="Unlock").click()
    await expect(banner).to_have_count(0)
    await expect(host.get_by_role("button", name="Lock the game")).to_be_visible()


async def test_all_that_match_a_search_are_removed_with_one_press(stage):
    session = stage.session(_PLANET)
    host = await stage.host(session)
    mia = await stage.join(session, "Mia")
    await stage.crowd(session, *(f"Bot {n}" for n in range(125)), "Robert")
    await expect(host.locator(".roster-title b")).to_have_text("127")
    await stage.press(host, "+ 67 more")
    dialog = host.get_by_role("dialog", name="Players")
    rows = dialog.locator(".players-list .players-row")
    await expect(rows).to_have_count(100)
    await expect(rows.last).to_contain_text(re.compile("Bot"))
    await stage.everywhere(host, "players")
    await dialog.get_by_role("button", name="Show more").click()
    await expect(rows).to_have_count(127)
    await expect(rows.last).to_contain_text("Mia")
    await dialog.get_by_label("Find a player").fill("BOT ")
    everybody = dialog.get_by_role("checkbox", name="Select all 125")
    await everybody.click()
    await expect(dialog.get_by_role("button", name="Remove 125 players…")).to_be_enabled()
    await stage.shoot("players-selected", laptop=host)
    await dialog.get_by_role("button", name="Remove 125 players…").click()
    await dialog.get_by_role("button", name="Remove 125", exact=True).click()
    await expect(dialog.get_by_text("Nobody matches.")).to_be_visible()
    await dialog.get_by_label("Find a player").fill("")
    await expect(rows).to_have_count(2)
    await dialog.get_by_role("button", name="Done").click()
    await expect(host.locator(".roster-title b")).to_have_text("2")
    await expect(mia.get_by_text("2 players here")).to_be_visible()


async def test_the_list_of_players_is_worked_with_the_keyboard_alone(stage):
    session = stage.session(_PLANET)
    host = await stage.host(session)
    await stage.crowd(session, "Ada", "Ben", "Cleo")
    await expect(host.locator(".roster-title b")).to_have_text("3")
    await host.get_by_role("button", name="Players", exact=True).focus()
    await host.keyboard.press("Enter")
    dialog = host.get_by_role("dialog", name="Players")
    await expect(dialog.locator(".players-list .players-row")).to_have_count(3)
    await dialog.get_by_role("checkbox", name=re.compile("^Ben")).focus()
    await host.keyboard.press("Space")
    await dialog.get_by_role("button", name="Remove 1 player…").focus()
    await host.keyboard.press("Enter")
    await dialog.get_by_role("button", name="Remove 1", exact=True).focus()
    await host.keyboard.press("Enter")
    await expect(dialog.locator(".players-list bdi")).to_have_text([re.compile("^(Ada|Cleo)$")] * 2)
    await host.keyboard.press("Escape")
    await expect(dialog).to_have_count(0)
    await expect(host.get_by_role("button", name="Start", exact=True)).to_be_visible()


async def test_who_is_removed_does_not_come_back_under_a_new_name(stage):
    session = stage.session(_PLANET)
    host = await stage.host(session)
    mia = await stage.join(session, "Mia")
    await stage.press(host, "Remove Mia")
    await expect(host.get_by_role("button", name="Keep")).to_be_focused()
    await stage.press(host, "Remove")
    await expect(mia.get_by_role("heading")).to_have_text("The host removed you from this quiz.")
    await mia.evaluate("localStorage.clear()")
    await mia.goto(f"{stage.site.base_url}/play?pin={session['pin']}")
    await mia.fill("#nickname", "Somebody else")
    await mia.get_by_role("button", name="Let me in").click()
    await expect(mia.get_by_role("alert")).to_have_text("The host removed you from this quiz.")
    await expect(host.locator(".roster-title b")).to_have_text("0")
    await stage.join(session, "Ben")


async def test_answers_that_no_human_gave_are_told_to_the_host_and_may_be_left_out(stage):
    """What is told is written here: how quick a program is depends on the machine."""
    session = stage.session(_PLANET)
    host = await stage.host(session)
    fast = {"participant_id": 1, "nickname": "Mia", "answers": 1}
    told_by_the_server = {"elapsed_ms_below": 200, "items": [fast]}
    await host.route("**/too_fast", lambda route: route.fulfill(json=told_by_the_server))
    mia = await stage.join(session, "Mia")
    await stage.press(host, "Start")
    await mia.get_by_role("button", name="B Jupiter").click()
    await stage.press(host, "Final result")
    await stage.press(host, "See the results")
    told = host.locator(".too-fast")
    await expect(told).to_contain_text(
        "1 answer came faster than anybody can read the choices (under 0.2 s): Mia (1)."
    )
    await stage.everywhere(host, "too-fast")
    for query, leaves_out in (
        ("?format=csv", False),
        ("?format=csv&leave_out_too_fast=true", True),
    ):
        if leaves_out:
            await told.get_by_role("checkbox").check()
        async with host.expect_request(f"**/results{query}"), host.expect_download() as file:
            await stage.press(host, "Download table (CSV)")
        text = (await (await file.value).path()).read_text("utf-8-sig")
        assert text.startswith("rank,name,points,answered,right,too fast"), text
        assert "\n1,Mia," in text
