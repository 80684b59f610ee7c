"""Answering on a phone: what is not sent yet, long choices, and doors that are closed in time."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

_MOONS = {
    "kind": "multiple",
    "text": "Which of these are moons of Saturn?",
    "choices": ["Titan", "Europa", "Enceladus", "Io"],
    "correct": [0, 2],
    "time_limit_ms": 60_000,
}
_TYPED = {
    "kind": "typed",
    "text": "What is our galaxy called?",
    "accepted": ["Milky Way"],
    "time_limit_ms": 60_000,
}


async def test_what_is_ticked_when_time_is_up_is_sent_as_it_stands(stage):
    session = stage.session({**_MOONS, "time_limit_ms": 5_000})
    host = await stage.host(session)
    mia = await stage.join(session, "Mia")
    await stage.press(host, "Start")
    await mia.get_by_role("button", name="C Enceladus").click()
    await mia.get_by_role("button", name="A Titan").click()
    await expect(mia.get_by_text("Not sent yet")).to_be_visible()
    assert await mia.locator(".tick").count() == 0
    await stage.shoot("ticked", phone=mia)
    await expect(mia.get_by_role("heading", name="Correct!")).to_be_visible()
    await expect(mia.get_by_text("Sent as it stood when time was up.")).to_be_visible()
    await stage.press(host, "Final result")
    await expect(host.locator(".podium")).to_be_visible()
    assert [a["choices"] for a in stage.site.results(session)["answers"]] == [[0, 2]]


async def test_what_the_host_closes_before_it_was_sent_is_told_as_not_sent(stage):
    session = stage.session(_TYPED, _MOONS)
    host = await stage.host(session)
    mia = await stage.join(session, "Mia")
    await stage.press(host, "Start")
    await mia.get_by_label("Your answer").fill("Milky Way")
    await expect(mia.get_by_text("Not sent yet")).to_be_visible()
    await stage.press(host, "Close now")
    await expect(mia.get_by_role("heading", name="Not sent")).to_be_visible()
    await expect(mia.locator(".result-note").first).to_have_text(
        "The question was closed before you sent your answer: Milky Way"
    )
    await stage.shoot("not-sent", phone=mia)
    await stage.press(host, "Scoreboard")
    await stage.press(host, "Next question")
    await stage.press(host, "Close now")
    await expect(mia.get_by_role("heading", name="No answer")).to_be_visible()


async def test_a_long_choice_makes_no_other_one_tall_and_hidden_ones_are_told(stage):
    choices = [
        "Short",
        "A very long choice that goes on and on " * 5,
        *(f"Word {n}" for n in range(6)),
    ]
    session = stage.session({**_MOONS, "kind": "single", "choices": choices, "correct": [0]})
    host = await stage.host(session)
    mia = await stage.join(session, "Mia")
    await mia.set_viewport_size({"width": 390, "height": 560})
    await stage.press(host, "Start")
    await expect(mia.locator(".pad")).to_have_count(8)
    heights = await mia.locator(".pad").evaluate_all("all => all.map(pad => pad.offsetHeight)")
    assert heights[1] > 2 * heights[0]
    more = mia.get_by_role("button", name="More answers ↓")
    await expect(more).to_be_visible()
    await stage.shoot("more-answers", phone=mia)
    await more.click()
    await expect(mia.get_by_role("button", name="H Word 5")).to_be_in_viewport(ratio=0.9)
    await expect(more).to_have_count(0)


async def test_whoever_comes_too_late_is_told_before_a_name_is_typed(stage):
    session = stage.session(_MOONS, late_join=False)
    host = await stage.host(session)
    await stage.join(session, "Mia")
    await stage.press(host, "Start")
    late = await stage.phone(f"/play?pin={session['pin']}")
    heading = late.get_by_role("heading", name="This quiz has already started")
    # What a replica knows of the door may be a second old.
    while not await heading.is_visible():
        await late.reload()
        await expect(late.locator("h1")).to_be_visible()
    await expect(late.locator("#nickname")).to_have_count(0)
    await stage.shoot("too-late", phone=late)


@pytest.mark.parametrize("width", [320, 390])
async def test_the_whole_pin_is_seen_while_it_is_typed(stage, width):
    page = await stage.phone("/")
    await page.set_viewport_size({"width": width, "height": 640})
    field = page.get_by_label("PIN on the big screen")
    await field.press_sequentially("888888")
    await expect(field).to_have_value("888 888")
    assert await field.evaluate("field => field.scrollWidth <= field.clientWidth")
    await stage.shoot("pin", **{f"{width}": page})


@pytest.mark.parametrize("size", [(1024, 768), (800, 600), (1280, 800)])
async def test_words_on_the_board_stay_whole(stage, size):
    choices = [
        "Mars",
        "Jupiter",
        "Venus",
        "Uranus and Neptune",
        "Earth",
        "Saturn",
        "Ceres",
        "Pluto",
    ]
    texts = [f"{choice} without any doubt whatsoever" for choice in choices]
    session = stage.session({**_MOONS, "choices": texts})
    host = await stage.host(session)
    board = await stage.board(session, viewport={"width": size[0], "height": size[1]})
    mia = await stage.join(session, "Mia")
    await stage.press(host, "Start")
    await mia.get_by_role("button", name=re.compile("^A Mars")).click()
    await stage.press(host, "Close now")
    await expect(board.locator(".choice.is-right")).to_have_count(2)
    whole = """() => [...document.querySelectorAll(".choice-text")].every((one) => {
        const text = one.firstChild;
        const range = document.createRange();
        for (const word of text.data.matchAll(/\\S+/g)) {
            range.setStart(text, word.index);
            range.setEnd(text, word.index + word[0].length);
            if (new Set([...range.getClientRects()].map((box) => box.top)).size > 1) return false;
        }
        return true;
    })"""
    await board.wait_for_function(whole)
    await stage.shoot("whole-words", **{f"{size[0]}": board})


async def test_choices_that_differ_in_their_indentation_look_different(stage):
    lines = ["return x", "    return x", "if x:\n  return  x"]
    session = stage.session({**_MOONS, "kind": "single", "choices": lines, "correct": [1]})
    host = await stage.host(session)
    # Choices that still grow into their place would be measured.
    board = await stage.board(session, reduced_motion="reduce")
    mia = await stage.join(session, "Mia")
    await stage.press(host, "Start")
    shown = """all => all.map((one) => {
        const text = one.firstChild;
        const range = document.createRange();
        range.setStart(text, text.data.indexOf("return"));
        range.setEnd(text, text.length);
        const words = range.getBoundingClientRect();
        return [words.left - one.getBoundingClientRect().left, words.width];
    })"""
    for page, answers in ((mia, ".pad .choice-text"), (board, ".choice .choice-text")):
        await expect(page.locator(answers)).to_have_count(3)
        (plain, one), (four, _), (two, wide) = await page.locator(answers).evaluate_all(shown)
        space = (four - plain) / 4
        assert space > 3
        assert two - plain == pytest.approx(2 * space, abs=1)
        assert wide - one == pytest.approx(space, abs=1)
    await mia.get_by_role("button", name="A return x").click()
    await expect(mia.locator(".result-note strong")).to_have_css("white-space", "pre-wrap")
    await stage.shoot("code", phone=mia, board=board)


async def test_enter_that_ends_a_composition_sends_nothing(stage, network):
    session = stage.session({**_TYPED, "accepted": ["銀河"]})
    host = await stage.host(session)
    mia = await stage.phone(f"/play?pin={session['pin']}", network)
    devtools = await mia.context.new_cdp_session(mia)

    async def compose(text):
        place = {"selectionStart": len(text), "selectionEnd": len(text)}
        await devtools.send("Input.imeSetComposition", {"text": text, **place})
        await mia.keyboard.press("Enter")

    name = mia.get_by_label("Your name")
    await name.focus()
    await compose("美亜")
    await devtools.send("Input.insertText", {"text": "美亜"})
    await expect(name).to_have_value("美亜")
    await expect(mia.get_by_role("button", name="Let me in")).to_be_visible()
    await mia.keyboard.press("Enter")
    await expect(mia.locator(".play-bar .nickname")).to_have_text("美亜")
    await stage.press(host, "Start")
    field = mia.get_by_label("Your answer")
    await expect(field).to_be_focused()
    await compose("ぎんが")
    await devtools.send("Input.insertText", {"text": "銀河"})
    await expect(field).to_have_value("銀河")
    assert not any('"type":"answer"' in message for message in network.said)
    await mia.keyboard.press("Enter")
    await expect(mia.get_by_role("heading", name="Correct!")).to_be_visible()
    assert [m for m in network.said if '"type":"answer"' in m] == [
        '{"type":"answer","opening":1,"text":"銀河"}'
    ]
