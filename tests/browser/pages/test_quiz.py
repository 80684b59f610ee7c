"""A quiz is played in the browser; the network fails in every way that it does in a classroom."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import pytest
from playwright.async_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

_PLANET = {
    "kind": "single",
    "text": "Which planet of the solar system has the shortest day?",
    "choices": ["Mars", "Jupiter", "Venus", "Earth"],
    "correct": [1],
    "time_limit_ms": 60_000,
    "explanation": "Jupiter turns once in just under ten hours.",
}
_MOONS = {
    "kind": "multiple",
    "text": "Which of these are moons of Saturn?",
    "choices": ["Titan", "Europa", "Enceladus", "Io", "Mimas", "Ganymede", "Rhea", "Triton"],
    "correct": [0, 2, 4, 6],
    "time_limit_ms": 60_000,
    "points": "double",
}
_GALAXY = {
    "kind": "typed",
    "text": "What is the name of the galaxy that we live in?",
    "accepted": ["Milky Way", "The Milky Way"],
    "time_limit_ms": 60_000,
}


async def test_host_two_phones_and_board_play_a_whole_quiz(stage):
    session = stage.session(_PLANET, _MOONS, _GALAXY, preview_ms=1_500)
    pin = session["pin"]
    host = await stage.host(session)
    board = await stage.board(session)
    await expect(board.get_by_label(f"PIN {' '.join(pin)}")).to_be_visible()
    mia = await stage.join(session, "Mia")
    ben = await stage.join(session, "Ben")
    screens = {"host": host, "board": board, "phone": mia}

    await expect(board.locator(".name-chip")).to_have_count(2)
    await expect(host.get_by_role("button", name="Remove Mia")).to_be_visible()
    await stage.shoot("lobby", **screens)

    await stage.press(host, "Start")
    await expect(mia.locator(".opens-in")).to_be_visible()
    await expect(mia.locator(".pad")).to_have_count(0)
    await expect(board.get_by_role("heading", name=_PLANET["text"])).to_be_visible()
    await stage.shoot("preview", **screens)
    await expect(mia.locator(".pad")).to_have_count(4)
    await expect(board.locator(".ring")).to_be_visible()
    await stage.shoot("question", **screens)

    await mia.get_by_role("button", name="B Jupiter").click()
    await expect(mia.get_by_text("Answer received")).to_be_visible()
    await expect(board.locator(".answer-count")).to_have_text("1 of 2 answered")
    await expect(board.locator(".right-badge")).to_have_count(0)
    await stage.shoot("received", phone=mia)
    await ben.get_by_role("button", name="C Venus").click()

    await expect(mia.get_by_role("heading", name="Correct!")).to_be_visible()
    await expect(ben.get_by_role("heading", name="Not this time")).to_be_visible()
    await expect(ben.locator(".result-note")).to_contain_text("B: Jupiter")
    await expect(ben.locator(".ahead")).to_contain_text("behind Mia")
    await expect(board.locator(".choice.is-right")).to_contain_text("Jupiter")
    await expect(board.locator(".choice .tally b")).to_have_text(["0%", "50%", "50%", "0%"])
    widths = "bars => bars.map((bar) => Math.round(100 * bar.offsetWidth / bar.parentElement.offsetWidth))"
    assert await board.locator(".choice .fill").evaluate_all(widths) == [0, 50, 50, 0]
    await stage.shoot("result", **screens)
    await stage.press(host, "Scoreboard")
    await expect(board.locator(".score-row")).to_have_count(2)
    await expect(board.locator(".scoreboard.moved")).to_be_visible()
    await expect(board.locator(".highlight.fast")).to_contain_text("Mia")
    await stage.shoot("scoreboard", **screens)

    await stage.press(host, "Next question")
    await stage.press(host, "Show answers now")
    for name in ("A Titan", "C Enceladus", "H Triton", "H Triton", "E Mimas", "G Rhea"):
        await mia.get_by_role("button", name=name).click()
    await mia.get_by_role("button", name="Send A, C, E, G").click()
    await expect(mia.get_by_text("Answer received")).to_be_visible()
    await stage.press(host, "+10 s")
    await stage.press(host, "Close now")
    await expect(mia.locator(".streak")).to_have_text("2 correct in a row")
    await expect(ben.get_by_role("heading", name="No answer")).to_be_visible()
    await stage.press(host, "Scoreboard")

    await stage.press(host, "Next question")
    await stage.press(host, "Show answers now")
    for page, text in ((mia, "the  MILKY way"), (ben, "Andromeda")):
        await page.get_by_label("Your answer").fill(text)
        await page.keyboard.press("Enter")
    await expect(mia.get_by_role("heading", name="Correct!")).to_be_visible()
    await expect(board.locator(".accepted-text").first).to_have_text("Milky Way")
    await stage.press(host, "Final result")

    await expect(mia.get_by_role("heading", name="You won!")).to_be_visible()
    await expect(ben.get_by_role("heading", name="Well played!")).to_be_visible()
    await ben.get_by_text("Your answers").click()
    await expect(ben.locator(".own-review li")).to_have_text(
        [
            re.compile("✕ C: Venus.*Correct: B: Jupiter"),
            re.compile("No answer.*A: Titan, C: Enceladus"),
            re.compile("Andromeda.*Milky Way"),
        ]
    )
    await stage.shoot("review", phone=ben)
    await expect(board.locator(".step-1.shown .nickname")).to_have_text("Mia")
    await stage.shoot("podium", **screens)
    await stage.press(host, "See the results")
    questions = host.locator(".question-result")
    await expect(questions).to_have_count(3)
    await expect(questions.filter(has_text=_PLANET["text"])).to_contain_text("50% correct")
    await expect(questions.filter(has_text=_GALAXY["text"])).to_contain_text("Andromeda")
    await expect(host.locator("tbody th")).to_have_text(["Mia", "Ben"])
    await stage.everywhere(host, "results")
    async with host.expect_download() as download:
        await stage.press(host, "Download table (CSV)")
    table = Path(await (await download.value).path()).read_text("utf-8-sig").splitlines()
    assert table[0].startswith("rank,name,points,answered,right")
    assert [line.split(",")[1] for line in table[1:]] == ["Mia", "Ben"]
    async with host.expect_download() as download:
        await stage.press(host, "Download Excel (XLSX)")
    with zipfile.ZipFile(await (await download.value).path()) as book:
        questions, people = (book.read(f"xl/worksheets/sheet{n}.xml").decode() for n in (1, 2))
    assert "B: Jupiter" in questions
    assert "Andromeda" in people
    await stage.press(host, "Answers of Ben")
    await expect(host.locator(".person-answers li")).to_have_text(
        [re.compile("C: Venus"), re.compile("No answer"), re.compile("Andromeda")]
    )
    await host.emulate_media(media="print")
    await expect(host.locator(".question-result").first).to_be_visible()
    await expect(host.locator("button:visible")).to_have_count(0)


async def test_reload_in_mid_question_keeps_place_and_tap(stage):
    session = stage.session(_PLANET)
    host = await stage.host(session)
    mia = await stage.join(session, "Mia")
    await stage.join(session, "Ben")
    await stage.press(host, "Start")
    await mia.get_by_role("button", name="B Jupiter").click()
    await expect(mia.get_by_text("Answer received")).to_be_visible()
    await mia.reload()
    await expect(mia.locator(".pad.chosen")).to_contain_text("Jupiter")
    await expect(mia.get_by_text("Answer received")).to_be_visible()
    await expect(mia.locator(".play-bar .nickname")).to_have_text("Mia")
    await expect(host.locator(".answer-count")).to_have_text("1 of 2 answered")
    await host.reload()
    await expect(host.get_by_role("button", name="Close now")).to_be_visible()


async def test_tap_made_while_offline_arrives_exactly_once(stage, network):
    session = stage.session(_PLANET)
    host = await stage.host(session)
    mia = await stage.join(session, "Mia", network)
    await stage.press(host, "Start")
    await expect(mia.locator(".pad")).to_have_count(4)
    await network.cut()
    await expect(mia.get_by_role("alert")).to_contain_text("Disconnected")
    await mia.get_by_role("button", name="B Jupiter").click()
    await expect(mia.get_by_text("Sending…")).to_be_visible()
    await stage.shoot("disconnected", phone=mia)
    network.mend()
    await expect(mia.get_by_role("heading", name="Correct!")).to_be_visible(timeout=20_000)
    await expect(mia.get_by_role("alert")).to_have_count(0)
    await stage.press(host, "Final result")
    await expect(host.locator(".podium")).to_be_visible()
    assert [a["choices"] for a in stage.site.results(session)["answers"]] == [[1]]


async def test_tap_offline_survives_a_reload(stage, network):
    session = stage.session(_PLANET)
    host = await stage.host(session)
    mia = await stage.join(session, "Mia", network)
    await stage.press(host, "Start")
    await expect(mia.locator(".pad")).to_have_count(4)
    await network.cut()
    await mia.get_by_role("button", name="B Jupiter").click()
    await expect(mia.get_by_text("Sending…")).to_be_visible()
    network.mend()
    await mia.reload()
    await expect(mia.get_by_role("heading", name="Correct!")).to_be_visible(timeout=20_000)


async def test_lost_receipt_is_asked_for_again_and_one_answer_is_stored(stage, network):
    session = stage.session(_PLANET)
    host = await stage.host(session)
    mia = await stage.join(session, "Mia", network)
    await stage.join(session, "Ben")
    await stage.press(host, "Start")
    network.swallowed = '"type":"receipt"'
    await mia.get_by_role("button", name="B Jupiter").click()
    await expect(host.locator(".answer-count")).to_have_text("1 of 2 answered")
    await expect(mia.get_by_text("Sending…")).to_be_visible()
    await network.cut()
    network.mend()
    await expect(mia.get_by_text("Answer received")).to_be_visible(timeout=20_000)
    await stage.press(host, "Close now")
    await stage.press(host, "Final result")
    await expect(host.locator(".podium")).to_be_visible()
    assert len(stage.site.results(session)["answers"]) == 1


async def test_answer_that_comes_after_the_close_is_told_plainly(stage, network):
    session = stage.session(_PLANET)
    host = await stage.host(session)
    mia = await stage.join(session, "Mia", network)
    await stage.press(host, "Start")
    await expect(mia.locator(".pad")).to_have_count(4)
    await network.cut()
    await mia.get_by_role("button", name="B Jupiter").click()
    await stage.press(host, "Close now")
    await expect(host.locator(".choice.is-right")).to_be_visible()
    network.mend()
    await expect(mia.get_by_role("heading", name="Not counted")).to_be_visible(timeout=20_000)
    await expect(mia.locator(".result-note").first).to_contain_text("Too late")


# What a browser's page translation does: every text node gives way to an element with other words.
_TRANSLATE = """() => {
    const texts = document.createTreeWalker(document.getElementById("app"), NodeFilter.SHOW_TEXT);
    const found = [];
    while (texts.nextNode()) found.push(texts.currentNode);
    for (const text of found) {
        if (!text.data.trim() || text.parentElement.closest("[translate=no]")) continue;
        const font = document.createElement("font");
        font.append(document.createElement("font"));
        font.firstChild.textContent = `<${text.data}>`;
        text.replaceWith(font);
    }
}"""


async def test_a_translated_page_shows_the_new_question_and_never_the_old_one(stage):
    session = stage.session(_PLANET, _GALAXY, _MOONS, preview_ms=1_000)
    host = await stage.host(session)
    board = await stage.board(session)
    mia = await stage.join(session, "Mia")
    pages = (host, board, mia)

    async def asked(question):
        for page in pages:
            heading = page.get_by_role("heading", level=1, name=question["text"])
            await expect(heading).to_be_visible()
            for other in (_PLANET, _GALAXY, _MOONS):
                if other is not question:
                    await expect(page.get_by_text(other["text"])).to_have_count(0)
            await page.evaluate(_TRANSLATE)

    await stage.press(host, "Start")
    await asked(_PLANET)
    await expect(mia.locator(".pad")).to_have_count(4)
    await mia.evaluate(_TRANSLATE)
    await mia.locator(".pad").nth(1).click()
    await expect(mia.get_by_role("heading", name="Correct!")).to_be_visible()
    for page in pages:
        await page.evaluate(_TRANSLATE)
    for question in (_GALAXY, _MOONS):
        await host.locator(".main-action").click()
        await expect(board.locator(".score-row")).to_have_count(1)
        for page in pages:
            await page.evaluate(_TRANSLATE)
        await host.locator(".main-action").click()
        await asked(question)
        await expect(mia.locator(".typed-form, .pads")).to_be_visible()
        await mia.evaluate(_TRANSLATE)
        await host.locator(".main-action").click()  # its words may be translated
        await expect(mia.get_by_role("heading", name="No answer")).to_be_visible()
