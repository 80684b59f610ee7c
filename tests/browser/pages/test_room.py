"""What a room sees at once: the way to join on every projector, and an end that nobody hears early."""

from __future__ import annotations

import base64
import json

import pytest
from playwright.async_api import expect

from tests.browser.questions import PLANET

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

_PROJECTORS = [
    (800, 600),
    (960, 540),
    (1024, 576),
    (1024, 768),
    (1152, 864),
    (1280, 720),
    (1280, 800),
    (1280, 1024),
    (1366, 768),
    (1600, 1200),
    (1920, 1080),
    (3840, 2160),
]
#: The digits themselves: what a line of text needs is more than the box of its paragraph shows.
_APART = """() => {
    const boxOf = (one) => {
        const range = document.createRange();
        range.selectNodeContents(one);
        return range.getBoundingClientRect();
    };
    const pin = boxOf(document.querySelector(".pin"));
    const code = document.querySelector(".qr").getBoundingClientRect();
    const card = document.querySelector(".join-card").getBoundingClientRect();
    const inside = (box) => box.left >= card.left && box.right <= card.right
        && box.top >= card.top && box.bottom <= card.bottom && card.bottom <= innerHeight;
    const covers = pin.right > code.left && pin.bottom > code.top && pin.top < code.bottom;
    return { covers, inside: inside(pin) && inside(code), pin: pin.height, code: code.height };
}"""


async def _with_a_pin_of_eight(page, session, pin):
    """Let a board believe that its session has another PIN."""
    head, payload, signature = session["viewer_token"].split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    told = (
        base64.urlsafe_b64encode(json.dumps({**claims, "pin": pin}).encode()).decode().rstrip("=")
    )

    async def viewer(route):
        body = {"session_id": session["session_id"], "token": f"{head}.{told}.{signature}"}
        await route.fulfill(status=201, json=body)

    async def ticket(route):
        headers = {
            **route.request.headers,
            "authorization": f"Bearer {session['viewer_token']}",
        }
        await route.continue_(headers=headers)

    await page.route("**/api/pins/*/viewers", viewer)
    await page.route("**/api/sessions/*/tickets", ticket)
    await page.reload()


@pytest.mark.parametrize("digits", [6, 8])
async def test_the_code_never_covers_the_pin(stage, digits):
    session = stage.session(PLANET)
    board = await stage.board(session)
    if digits == 8:
        await _with_a_pin_of_eight(board, session, "88888888")
        await expect(board.locator(".pin")).to_have_text("8888 8888")
    await expect(board.locator(".pin")).to_be_visible()
    await board.evaluate("document.fonts.ready")
    for many in (False, True):
        if many:
            await stage.crowd(session, *(f"Player number {n}" for n in range(30)))
            await expect(board.locator(".lobby.many")).to_be_visible()
        for width, height in _PROJECTORS:
            await board.set_viewport_size({"width": width, "height": height})
            found = await board.evaluate(_APART)
            where = f"{width}x{height}, {digits} digits, many: {many}: {found}"
            assert not found["covers"], where
            assert found["inside"], where
            assert found["pin"] >= height / 16, f"too small to read: {where}"
            assert found["code"] >= height / 5, f"too small to scan: {where}"
            await stage.shoot(f"join-{digits}-{many}", **{f"{width}x{height}": board})


async def _finished(stage, choice):
    """A quiz that is over: its board, and the phone of one of the two who both chose the same."""
    session = stage.session(PLANET)
    host = await stage.host(session)
    board = await stage.board(session)
    mia, ben = await stage.join(session, "Mia"), await stage.join(session, "Ben")
    await stage.press(host, "Start")
    for phone in (mia, ben):
        await phone.get_by_role("button", name=choice).click()
    await stage.press(host, "Final result")
    return board, mia


async def test_a_phone_says_who_won_when_the_big_screen_does(stage):
    board, mia = await _finished(stage, "B Jupiter")
    await expect(mia.get_by_role("heading", name="And the winner is…")).to_be_visible()
    await stage.shoot("winner-is", phone=mia)
    await expect(mia.get_by_role("heading", name="You won!")).to_be_focused()
    assert await board.locator(".step-1.shown").count() == 1
    await mia.reload()
    await expect(mia.get_by_role("heading", name="You won!")).to_be_visible()


async def test_nobody_wins_anything_for_no_points(stage):
    board, mia = await _finished(stage, "A Mars")
    await expect(mia.get_by_role("heading", name="Well played!")).to_be_visible()
    await expect(board.get_by_text("Nobody scored this time")).to_be_visible()
    await expect(board.locator(".runners-up li")).to_have_count(2)
    assert await board.locator(".step, .confetti").count() == 0
    await stage.shoot("no-points", board=board, phone=mia)


async def test_a_new_screen_begins_at_its_top(stage):
    long = {
        **PLANET,
        "text": "Every word of this long question counts. " * 18,
        "choices": [f"Choice {n}: " + "quite a lot of text to read " * 5 for n in range(8)],
        "explanation": "There is a lot to say about this. " * 20,
    }
    session = stage.session(long, long)
    host = await stage.host(session, viewport={"width": 390, "height": 844})
    mia = await stage.join(session, "Mia")
    await stage.press(host, "Start")
    await mia.get_by_role("button", name="H Choice 7").click()
    scrolled = "() => scrollY > 0"
    await expect(mia.get_by_role("heading", name="Not this time")).to_be_visible()
    await mia.wait_for_function("() => scrollY === 0")
    await host.evaluate("scrollTo(0, document.body.scrollHeight)")
    await host.wait_for_function(scrolled)
    await stage.press(host, "Scoreboard")
    await host.wait_for_function("() => scrollY === 0")
    await mia.evaluate("scrollTo(0, document.body.scrollHeight)")
    await mia.wait_for_function(scrolled)
    await stage.press(host, "Next question")
    await expect(mia.locator(".pad")).to_have_count(8)
    await mia.wait_for_function("() => scrollY === 0")


async def test_keys_move_on_after_a_click_on_another_button(stage):
    session = stage.session(PLANET, PLANET)
    host = await stage.host(session)
    await expect(host.get_by_text("Waiting for players…")).to_be_visible()
    await host.wait_for_timeout(700)
    await host.keyboard.press("Space")
    await host.keyboard.press("ArrowRight")
    mia = await stage.join(session, "Mia")
    await expect(host.locator(".name-chip")).to_have_count(1)
    await expect(mia.get_by_role("heading", name="You’re in!")).to_be_visible()
    await stage.press(host, "Start")
    await expect(host.get_by_role("button", name="Close now")).to_be_visible()
    await stage.press(host, "+10 s")
    await host.wait_for_timeout(700)
    await host.keyboard.press("Space")
    await expect(host.get_by_role("button", name="Scoreboard")).to_be_visible()
    await host.wait_for_timeout(700)
    # A button that the keyboard has reached keeps its own keys, and leaves the arrow free.
    await host.get_by_role("button", name="Lock the game").focus()
    await host.keyboard.press("ArrowRight")
    await expect(host.get_by_role("button", name="Next question")).to_be_visible()
    await host.keyboard.press("Space")
    await expect(host.get_by_role("button", name="Unlock the game")).to_be_visible()
