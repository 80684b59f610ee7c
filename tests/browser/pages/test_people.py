"""The pages and the people in front of them: names, keyboards, removal, second tabs, long texts."""

from __future__ import annotations

import json
import re

import pytest
from playwright.async_api import expect

from tests.browser.questions import PLANET

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

_LONGEST = {
    "kind": "single",
    "text": "Every word of this long question counts. " * 15,
    "choices": [f"Choice {n}: " + "quite a lot of text to read " * 5 for n in range(8)],
    "correct": [3],
    "time_limit_ms": 60_000,
    "explanation": "There is a lot to say about this. " * 20,
}
_TYPED = {
    "kind": "typed",
    "text": "What is our galaxy called?",
    "accepted": ["Milky Way"],
    "time_limit_ms": 60_000,
}


async def test_markup_in_a_nickname_is_shown_as_text(stage):
    session = stage.session(PLANET)
    name = "<b onclick=alert(1)>x"
    host = await stage.host(session)
    board = await stage.board(session)
    await stage.join(session, name)
    await expect(board.locator(".name-chip")).to_have_text(name)
    await expect(host.locator(".name-chip bdi")).to_have_text(name)
    assert await host.locator("[onclick]").count() == 0
    assert await board.locator("[onclick]").count() == 0


async def test_a_taken_or_blank_nickname_is_told_beside_the_field(stage):
    session = stage.session(PLANET)
    await stage.join(session, "Mia")
    page = await stage.phone(f"/play?pin={session['pin']}")
    await page.get_by_role("button", name="Let me in").click()
    await expect(page.locator("#nickname-note")).to_have_text("Type a name first.")
    await page.get_by_label("Your name").fill("MIA")
    await page.keyboard.press("Enter")
    await expect(page.locator("#nickname-note")).to_contain_text("has this name already")
    await page.get_by_label("Your name").fill("W" * 25)
    await expect(page.locator("#nickname-note")).to_have_text("At most 24 characters.")


async def _press_key(host, key, *, while_offered):
    """Move on as soon as a host who looks at the screen would, and the page takes it for meant."""
    await expect(host.get_by_role("button", name=while_offered, exact=True)).to_be_visible()
    await host.wait_for_timeout(700)
    await host.keyboard.press(key)


async def test_quiz_is_hosted_and_played_with_the_keyboard_alone(stage):
    session = stage.session(PLANET, _TYPED, preview_ms=2_000)
    host = await stage.host(session)
    page = await stage.open("/")
    await expect(page.get_by_label("PIN on the big screen")).to_be_focused()
    await page.keyboard.type(session["pin"])
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("Your name")).to_be_focused()
    await page.keyboard.type("Mia")
    await page.keyboard.press("Enter")
    await expect(host.locator(".name-chip")).to_have_count(1)

    await _press_key(host, "Space", while_offered="Start")
    await expect(page.get_by_role("heading", name=PLANET["text"])).to_be_focused()
    await expect(page.locator(".pad")).to_have_count(4)
    await expect(page.get_by_role("heading", name=PLANET["text"])).to_be_focused()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("button", name="B Jupiter")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Correct!")).to_be_focused()

    await _press_key(host, "ArrowRight", while_offered="Scoreboard")
    await _press_key(host, "Enter", while_offered="Next question")
    await expect(host.get_by_role("button", name="Show answers now")).to_be_visible()
    await expect(page.get_by_label("Your answer")).to_be_focused(timeout=10_000)
    await page.keyboard.type("milky way")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Correct!")).to_be_visible()
    await _press_key(host, "ArrowRight", while_offered="Final result")
    await expect(host.locator(".podium")).to_be_visible()


async def test_screen_readers_are_told_question_and_result(stage):
    session = stage.session({**PLANET, "time_limit_ms": 12_500}, preview_ms=1_500)
    host = await stage.host(session)
    board = await stage.board(session)
    mia = await stage.join(session, "Mia")
    said = mia.locator("#announcer")
    assert await said.get_attribute("aria-live") == "polite"
    await stage.press(host, "Start")
    await expect(said).to_contain_text(PLANET["text"])
    await expect(said).to_contain_text("Answers are open")
    await expect(said).to_contain_text("seconds left")
    await mia.get_by_role("button", name="B Jupiter").click()
    await expect(said).to_have_text(
        re.compile(r"^Correct! \+\d+ points\. You are 1st with \d+ points")
    )
    await expect(board.locator("#announcer")).to_contain_text("The correct answer: B: Jupiter")


async def test_removed_participant_sees_it_and_is_not_asked_to_wait(stage):
    session = stage.session(PLANET)
    host = await stage.host(session)
    mia = await stage.join(session, "Mia")
    ben = await stage.join(session, "Ben")
    await host.get_by_role("button", name="Remove Mia").click()
    await stage.press(host, "Remove")
    await expect(mia.get_by_role("heading")).to_have_text("The host removed you from this quiz.")
    await stage.shoot("removed", phone=mia)
    await expect(host.locator(".name-chip")).to_have_count(1)
    await mia.reload()
    await expect(mia.get_by_role("heading")).to_have_text("The host removed you from this quiz.")
    await expect(ben.get_by_role("heading", name="You’re in!")).to_be_visible()


async def test_second_tab_takes_the_place_and_the_first_can_take_it_back(stage):
    session = stage.session(PLANET)
    first = await stage.join(session, "Mia")
    second = await first.context.new_page()
    await second.goto(first.url)
    await expect(second.get_by_role("heading", name="You’re in!")).to_be_visible()
    await expect(first.get_by_role("heading")).to_contain_text("another tab")
    await first.get_by_role("button", name="Play here").click()
    await expect(first.get_by_role("heading", name="You’re in!")).to_be_visible()
    await expect(second.get_by_role("heading")).to_contain_text("another tab")


async def test_self_paced_play_says_at_once_what_an_answer_was_worth(stage):
    first = {**PLANET, "explanation": "It turns in ten hours."}
    session = stage.session(first, _TYPED, mode="self_paced", scoring="accuracy.v1")
    host = await stage.host(session)
    mia = await stage.join(session, "Mia")
    await stage.press(host, "Start")
    await mia.get_by_role("button", name="B Jupiter").click()
    await expect(mia.get_by_text("Correct! +1,000 points")).to_be_visible()
    await expect(mia.locator(".review .explanation")).to_have_text("It turns in ten hours.")
    await stage.shoot("self-paced", phone=mia)
    await expect(host.get_by_text("1 of 2 answers given")).to_be_visible()
    await stage.everywhere(host, "self-paced")
    await mia.reload()
    await expect(mia.get_by_label("Your answer")).to_be_visible()
    await mia.get_by_label("Your answer").fill("Andromeda")
    await mia.keyboard.press("Enter")
    await expect(mia.get_by_text("Not this time")).to_be_visible()
    await expect(mia.locator(".review")).to_contain_text("Milky Way")
    await mia.get_by_role("button", name="Finish").click()
    await expect(mia.locator(".waiting")).to_contain_text("1,000 points")
    await stage.press(host, "End…")
    await stage.press(host, "Finish and show the result")
    await expect(mia.get_by_role("heading", name="You won!")).to_be_visible()


async def test_longest_texts_fit_the_projector_and_never_widen_the_phone(stage):
    session = stage.session(_LONGEST)
    host = await stage.host(session)
    board = await stage.board(session)
    mia = await stage.join(session, "W" * 24)
    await stage.press(host, "Start")
    await expect(mia.locator(".pad")).to_have_count(8)
    # Waited for: the text is sized anew when its font has come.
    fits = """() => {
        const box = document.querySelector(".stage-question");
        return box && box.scrollHeight <= box.clientHeight + 1
            && box.scrollWidth <= box.clientWidth + 1;
    }"""
    await board.wait_for_function(fits)
    assert await mia.evaluate("document.documentElement.scrollWidth <= innerWidth")
    heights = await mia.locator(".pad").evaluate_all("all => all.map(pad => pad.offsetHeight)")
    assert min(heights) >= 48
    await stage.shoot("long", board=board, phone=mia)
    await stage.press(host, "Close now")
    await expect(board.locator(".explanation")).to_be_visible()
    await board.wait_for_function(fits)
    assert await mia.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_nothing_moves_for_those_who_asked_for_stillness(stage):
    session = stage.session(PLANET)
    host = await stage.host(session)
    board = await stage.board(session, reduced_motion="reduce")
    mia = await stage.join(session, "Mia")
    await stage.press(host, "Start")
    await mia.get_by_role("button", name="B Jupiter").click()
    await stage.press(host, "Final result")
    await expect(board.locator(".podium")).to_be_visible()
    # Sooner than the podium is revealed to others.
    await expect(board.locator(".step-1.shown")).to_be_visible(timeout=1_000)
    assert await board.locator("canvas").count() == 0


async def test_ranks_move_on_the_board_unless_stillness_is_asked_for(stage):
    double = {**PLANET, "points": "double"}
    session = stage.session(PLANET, double, PLANET, scoring="accuracy.v1")
    host = await stage.host(session)
    boards = [
        await stage.board(session),
        await stage.board(session, reduced_motion="reduce"),
    ]
    mia, ben = await stage.join(session, "Mia"), await stage.join(session, "Ben")
    moves = (
        "list => list.getAnimations({ subtree: true })"
        ".filter(move => move.effect.getKeyframes().some(frame => 'transform' in frame)).length"
    )
    await stage.press(host, "Start")
    await mia.get_by_role("button", name="B Jupiter").click()
    await ben.get_by_role("button", name="C Venus").click()
    await stage.press(host, "Scoreboard")
    await stage.press(host, "Next question")
    await ben.get_by_role("button", name="B Jupiter").click()
    await mia.get_by_role("button", name="C Venus").click()
    await expect(host.get_by_role("button", name="Scoreboard")).to_be_visible()
    await stage.press(host, "Scoreboard")
    for board in boards:
        await expect(board.locator(".score-row .nickname")).to_have_text(["Ben", "Mia"])
    assert await boards[0].locator(".scoreboard").evaluate(moves) == 2
    assert await boards[1].locator(".scoreboard").evaluate(moves) == 0


async def test_whoever_joins_after_the_close_is_told_when_to_play(stage):
    session = stage.session(PLANET, PLANET)
    host = await stage.host(session)
    await stage.join(session, "Mia")
    await stage.press(host, "Start")
    await stage.press(host, "Close now")
    ben = await stage.join(session, "Ben")
    await expect(ben.get_by_text("You play from the next question on.")).to_be_visible()
    await stage.press(host, "Scoreboard")
    await stage.press(host, "Next question")
    await expect(ben.locator(".pad")).to_have_count(4)


async def test_everything_to_press_on_a_phone_is_48_pixels_high(stage):
    session = stage.session(PLANET, _TYPED, mode="self_paced", scoring="accuracy.v1")
    host = await stage.host(session, viewport={"width": 390, "height": 844})
    landing = await stage.phone("/")
    joining = await stage.phone(f"/play?pin={session['pin']}")
    await expect(joining.get_by_label("Your name")).to_be_visible()
    wrong = await stage.phone("/play?pin=000000")
    await expect(wrong.get_by_role("link")).to_be_visible()
    mia = await stage.join(session, "Mia")
    await expect(host.locator(".name-chip")).to_have_count(1)
    heights = (
        "all => all.filter(one => one.offsetHeight && one.offsetHeight < 48)"
        ".map(one => `${one.textContent}: ${one.offsetHeight}`)"
    )
    targets = "button, a, input, select, summary"
    for page in (landing, joining, wrong, host):
        assert await page.locator(targets).evaluate_all(heights) == []
    await stage.press(host, "Start")
    await mia.get_by_role("button", name="B Jupiter").click()
    await expect(mia.get_by_role("button", name="Next question")).to_be_visible()
    assert await mia.locator(targets).evaluate_all(heights) == []
    await mia.get_by_role("button", name="Next question").click()
    await expect(mia.get_by_label("Your answer")).to_be_visible()
    assert await mia.locator(targets).evaluate_all(heights) == []


async def test_operator_imports_a_file_and_opens_a_session(stage):
    library = await stage.open(f"/library#token={stage.site.operator_token}")
    text = (
        "#Q Which is the red planet?\n^ Mars\nA Mars\nB Venus\n\n#Q Broken one\n^ Nowhere\nA Here\n"
    )
    await stage.press(library, "Import a quiz")
    await library.set_input_files(
        "input[type=file]",
        {"name": "planets.txt", "mimeType": "text/plain", "buffer": text.encode()},
    )
    await library.get_by_role("button", name="Import", exact=True).click()
    report = library.locator(".import-report")
    await expect(report).to_contain_text("1 question imported, 1 item left out")
    await stage.shoot("library", laptop=library)
    broken = "".join(f"#Q Broken {number}\n^ Nowhere\nA Here\n\n" for number in range(450))
    await library.set_input_files(
        "input[type=file]",
        {"name": "many.txt", "mimeType": "text/plain", "buffer": (text + "\n" + broken).encode()},
    )
    await library.get_by_role("button", name="Import", exact=True).click()
    await expect(report).to_contain_text("451 items left out")
    await expect(report.locator("tbody tr")).to_have_count(200)
    for more, shown in ((200, 400), (51, 451)):
        await report.get_by_role("button", name=f"Show {more} more of 451").click()
        await expect(report.locator("tbody tr")).to_have_count(shown)
    await expect(report.get_by_role("button")).to_have_count(0)
    own = {"title": "Its own title", "questions": [PLANET, {**PLANET, "kind": "quiz"}]}
    for name, data in (
        ("x.json", json.dumps(own).encode()),
        ("x.txt", b"%PDF-1.7"),
        ("y.txt", b"a;b"),
    ):
        file = {"name": name, "mimeType": "text/plain", "buffer": data}
        await library.set_input_files("input[type=file]", file)
        await library.get_by_role("button", name="Import", exact=True).click()
        if name == "x.json":
            await expect(report).to_contain_text("Its own title: 1 question imported")
            await expect(report).to_contain_text("kind: 'quiz' is none of single, multiple")
    await expect(library.locator(".importer .field-error")).to_have_text(
        "This file cannot be imported: its format is not known; "
        "Rayquiz (JSON) and OpenTriviaQA (text) can be imported."
    )
    await library.get_by_role("button", name="Cancel").click()
    await library.get_by_role("searchbox", name="Search quizzes").fill("no quiz has this name")
    await expect(library.locator(".card")).to_have_count(0)
    await library.get_by_role("searchbox", name="Search quizzes").fill("PLANETS")
    await library.get_by_role("button", name="Play planets").first.click()
    presets = {
        "Class": ["live", "speed_half_floor.v1", False, 4_000],
        "Homework": ["self_paced", "accuracy.v1", False, 4_000],
        "Party": ["live", "speed_half_floor.v1", True, 2_000],
    }
    for name, wanted in presets.items():
        await library.get_by_role("radio", name=name).check()
        async with library.expect_request("**/api/sessions") as opened:
            # Sent once for each, and answered for the last one only.
            if name != "Party":
                await library.route("**/api/sessions", lambda route: route.abort(), times=1)
            await library.get_by_role("button", name="Open the lobby").click()
        settings = (await opened.value).post_data_json["settings"]
        shown = ("mode", "scoring", "streak_bonus", "preview_ms")
        assert [settings[field] for field in shown] == wanted
        if name != "Party":
            await expect(library.locator(".settings .field-error")).not_to_be_empty()
    await library.wait_for_url(re.compile(r"/host$"))
    await expect(library.get_by_role("button", name="Start")).to_be_visible()


@pytest.mark.parametrize(
    ("style", "typed", "shown", "rule"),
    [
        ("digits6", "123-456", "123 456", "A PIN has 6 digits."),
        ("digits8", "12345678", "1234 5678", "A PIN has 8 digits."),
        ("letters", "bcd fgh", "BCD FGH", "A PIN has 6 letters."),
    ],
)
async def test_a_pin_of_any_style_is_typed_as_people_type_it(stage, style, typed, shown, rule):
    page = await stage.phone("/")

    async def restyle(route):
        response = await route.fetch()
        text = (await response.text()).replace('content="digits6"', f'content="{style}"')
        await route.fulfill(response=response, body=text)

    await page.route(f"{stage.site.base_url}/", restyle)
    await page.reload()
    field = page.get_by_label("PIN on the big screen")
    await field.press_sequentially(typed[:3])
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_have_text(rule)
    await field.press_sequentially(typed[3:])
    await expect(field).to_have_value(shown)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading")).to_have_text(f"No quiz is running under {shown}.")


async def test_a_page_that_is_told_to_wait_says_so_and_tries_again_by_itself(stage):
    session = stage.session(PLANET)
    tries = []

    def refuse_first(then):
        async def handle(route):
            tries.append(then)
            if tries.count(then) > 1:
                await route.fallback()
                return
            problem = {"code": "too_many", "detail": "joins: too many", "retryable": True}
            await route.fulfill(status=429, headers={"retry-after": "1"}, json=problem)

        return handle

    page = await stage.phone("/")
    await page.route("**/api/pins/*", refuse_first("look"))
    await page.route("**/api/pins/*/participants", refuse_first("join"))
    await page.goto(f"{stage.site.base_url}/play?pin={session['pin']}")
    waiting = "Many people are joining. Trying again…"
    await expect(page.get_by_role("heading")).to_have_text(waiting)
    await page.get_by_label("Your name").fill("Mia")
    await page.keyboard.press("Enter")
    await expect(page.locator("button.primary[type=submit]")).to_have_text(waiting)
    await expect(page.locator(".play-bar .nickname")).to_have_text("Mia")
    assert tries == ["look", "look", "join", "join"]


async def test_a_wrong_pin_and_a_forged_token_are_told(stage):
    page = await stage.phone("/play?pin=000000")
    await expect(page.get_by_role("heading")).to_contain_text("No quiz is running")
    host = await stage.open("/host#token=not.a.token")
    await expect(host.get_by_role("heading")).to_contain_text("not valid any more")


async def test_tabs_say_where_the_quiz_is_and_lobbies_have_a_heading(stage):
    session = stage.session(PLANET, _TYPED, preview_ms=1_000)
    host = await stage.host(session)
    board = await stage.board(session)
    mia = await stage.join(session, "Mia")
    pages = (host, board, mia)
    title = "The solar system · Rayquiz"
    for page in pages:
        await expect(page.get_by_role("heading", level=1)).to_have_count(1)
        await expect(page).to_have_title(f"Lobby · {title}")
    moves = {
        "Start": "Question 1 of 2",
        "Close now": "Answer to question 1 of 2",
        "Scoreboard": "Scoreboard",
    }
    for name, state in moves.items():
        await stage.press(host, name)
        for page in pages:
            await expect(page).to_have_title(f"{state} · {title}")
    await stage.press(host, "End…")
    await stage.press(host, "Finish and show the result")
    for page in pages:
        await expect(page).to_have_title(f"Final result · {title}")


async def test_the_focus_goes_back_to_what_opened_a_dialog(stage):
    session = stage.session(PLANET)
    host = await stage.host(session)
    await stage.join(session, "Mia")
    end = host.get_by_role("button", name="End…")
    await end.focus()
    await host.keyboard.press("Enter")
    await expect(host.get_by_role("button", name="Go on")).to_be_focused()
    await host.keyboard.press("Enter")
    await expect(end).to_be_focused()
    remove = host.get_by_role("button", name="Remove Mia")
    await remove.focus()
    await host.keyboard.press("Enter")
    await expect(host.get_by_role("dialog")).to_be_visible()
    await host.keyboard.press("Escape")
    await expect(remove).to_be_focused()


async def test_everybody_sees_the_deadline_of_self_paced_play_and_it_ends_by_itself(stage):
    session = stage.session(PLANET, _TYPED, mode="self_paced", scoring="accuracy.v1")
    host = await stage.host(session)
    board = await stage.board(session)
    mia = await stage.join(session, "Mia")
    await stage.press(host, "Start")
    await expect(mia.locator(".pad")).to_have_count(4)
    await host.get_by_label("Deadline").select_option("in 1 minute")
    left = re.compile(r"^Time left: (1:00|0:[1-5]\d)$")
    for page in (host, board, mia):
        await expect(page.locator(".deadline")).to_have_text(left)
    await stage.shoot("deadline", host=host, board=board, phone=mia)
    move = {"command_id": "a-sooner-end", "step": "deadline", "phase": "self_paced_open"}
    with stage.site.api(session["host_token"]) as api:
        path = f"/sessions/{session['session_id']}/moves"
        moved = api.post(path, json={**move, "opening": 0, "extra_ms": 2_000})
        assert moved.status_code == 200, moved.text
    await expect(host.get_by_text("Nobody scored this time")).to_be_visible()
    await expect(mia.get_by_text("Well played!")).to_be_visible()
