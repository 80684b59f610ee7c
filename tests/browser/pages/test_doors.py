"""What lets a page in: tokens that nobody can read, tickets, links that were lost, and leaked ones."""

import json
import re

import jwt
import pytest
from playwright.async_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

_PLANET = {"kind": "single", "text": "Which?", "choices": ["a", "b"], "correct": [1]}


def hellos(network):
    """The tokens of the hellos that a page has said."""
    said = [json.loads(message) for message in network.said]
    return [message["token"] for message in said if message["type"] == "hello"]


def grouped(pin):
    """A PIN as pages show it."""
    return f"{pin[:3]} {pin[3:]}"


def is_ticket(token):
    return jwt.get_unverified_header(token)["typ"] == "ticket+jwt"


async def heard_requests(page):
    """Address and Referer of every request that the page makes from now on."""
    heard = []
    page.on("request", lambda one: heard.append(f"{one.url} {one.headers.get('referer', '')}"))
    return heard


async def test_tokens_leave_the_address_bar_at_once_and_pages_can_be_reloaded(stage):
    session = stage.session(_PLANET)
    operator, host = stage.site.operator_token, session["host_token"]
    for path, token, shown in (
        ("/library", operator, "Quizzes"),
        ("/host", host, "Start"),
        ("/board", session["viewer_token"], session["pin"][:3]),
    ):
        page = await stage.open(f"{path}#token={token}")
        await expect(page.locator("#app")).to_contain_text(shown)
        assert page.url == f"{stage.site.base_url}{path}"
        assert token not in await page.title()
        requests = await heard_requests(page)
        await page.reload()
        await expect(page.locator("#app")).to_contain_text(shown)
        # Nor does any page that is gone to, or come back to, have it in its address.
        await page.goto(f"{stage.site.base_url}/")
        await page.go_back()
        await expect(page.locator("#app")).to_contain_text(shown)
        assert page.url == f"{stage.site.base_url}{path}"
        assert requests
        assert not [one for one in requests if token in one]
        content = await page.content()
        assert token not in content


async def test_another_link_that_is_opened_on_its_own_page_is_taken(stage):
    first, second = stage.session(_PLANET), stage.session(_PLANET)
    host = await stage.host(first)
    await expect(host.locator(".host-pin")).to_contain_text(grouped(first["pin"]))
    await host.evaluate("token => { location.hash = `token=${token}`; }", second["host_token"])
    await expect(host.locator(".host-pin")).to_contain_text(grouped(second["pin"]))
    assert "#" not in host.url


async def test_a_page_says_hello_with_tickets_and_comes_back_without_a_request(stage, make_network):
    session = stage.session(_PLANET)
    wires = [make_network(), make_network()]
    host = await stage.host(session, wires[0])
    phone = await stage.join(session, "Mia", wires[1])
    await expect(host.get_by_role("button", name="Start")).to_be_visible()
    for page, wire in ((host, wires[0]), (phone, wires[1])):
        requests = await heard_requests(page)
        count = len(hellos(wire))
        await wire.close(1012)
        await wire.opened(count + 1)
        await expect(page.locator(".banner-cut")).to_have_count(0)
        assert [is_ticket(token) for token in hellos(wire)] == [True] * (count + 1)
        assert not [one for one in requests if "/tickets" in one]


async def test_a_page_whose_api_is_away_says_hello_with_its_token(stage, make_network):
    session = stage.session(_PLANET)
    wire = make_network()
    host = await stage.open("/", wire)
    await host.route("**/api/**", lambda route: route.abort())
    await host.goto(f"{stage.site.base_url}/host#token={session['host_token']}")
    await expect(host.get_by_role("button", name="Start")).to_be_visible()
    assert hellos(wire) == [session["host_token"]]


async def test_a_host_who_has_lost_the_link_is_back_through_the_operator(stage):
    session = stage.session(_PLANET)
    lost = await stage.host(session)
    await stage.press(lost, "Start")
    await lost.context.close()
    library = await stage.open(f"/library#token={stage.site.operator_token}")
    await library.get_by_role("button", name=re.compile(f"^Host .*{session['pin']}")).click()
    await expect(library.locator(".host-pin")).to_contain_text(grouped(session["pin"]))
    await stage.press(library, "Close now")
    await expect(library.locator(".answer-count")).to_contain_text("0 of 0 answered")
    assert library.url == f"{stage.site.base_url}/host"


async def test_a_leaked_link_ends_at_once_and_the_players_stay(stage, make_network):
    session = stage.session(_PLANET)
    wire = make_network()
    thief, phone = await stage.host(session), await stage.join(session, "Mia", wire)
    await expect(thief.get_by_role("button", name="Start")).to_be_visible()
    library = await stage.open(f"/library#token={stage.site.operator_token}")
    name = re.compile(f"^End old host links .*{session['pin']}")
    await library.get_by_role("button", name=name).click()
    await library.get_by_role("button", name="End them").click()
    said = thief.get_by_role("heading").filter(has_text="not valid any more")
    await expect(said).to_be_visible()
    await expect(thief.get_by_role("link", name="library")).to_be_visible()
    await stage.press(library, "Start")
    await expect(phone.locator(".pad")).to_have_count(2)
    assert wire.opened_count == 1


async def test_a_player_whose_token_was_ended_is_back_in_its_place(stage):
    session = stage.session(_PLANET)
    phone = await stage.join(session, "Mia")
    with stage.site.api() as api:
        path = f"/sessions/{session['session_id']}/revocations"
        answered = api.post(path, json={"roles": ["participant"]})
        assert answered.status_code == 201
    host = await stage.host(session)
    await expect(host.locator("#app")).to_contain_text("Mia")
    await stage.press(host, "Start")
    await expect(phone.locator(".pad")).to_have_count(2)
    await expect(phone.locator(".nickname")).to_have_text("Mia")


async def test_a_big_screen_whose_token_was_ended_is_back_by_itself(stage):
    session = stage.session(_PLANET)
    board = await stage.board(session)
    await expect(board.locator(".lobby")).to_be_visible()
    with stage.site.api() as api:
        path = f"/sessions/{session['session_id']}/revocations"
        for _ in range(2):  # the one that it fetches then, too
            async with board.expect_response(re.compile(r"/viewers$")):
                assert api.post(path, json={"roles": ["viewer"]}).status_code == 201
            await expect(board.locator(".lobby")).to_be_visible()
    await stage.press(await stage.host(session), "Start")
    await expect(board.get_by_role("heading", name=_PLANET["text"])).to_be_visible()


async def test_a_page_renews_its_token_when_half_of_its_life_is_over(stage):
    page = await stage.open("/play?pin=000000")
    link = await page.get_attribute("link[href$='/js/lib/session.js']", "href")
    told = await page.evaluate(
        """async (module) => {
            const { Credentials } = await import(module);
            const made = (exp) => `x.${btoa(JSON.stringify({ sid: "s", exp }))}.x`;
            const asked = [];
            const kept = [];
            globalThis.fetch = async (path, { headers }) => {
                asked.push([path, headers.authorization]);
                return { ok: true, text: async () => JSON.stringify({ token: made(50_000) }) };
            };
            const credentials = new Credentials(made(30_000), { onToken: (one) => kept.push(one) });
            const at = (nowS) => ({ msUntil: (ms) => Math.max(0, ms - nowS * 1000) });
            await credentials.renewAtNeed(at(8_399));
            const early = asked.length;
            await credentials.renewAtNeed(at(8_400));
            await credentials.renewAtNeed(at(8_500));
            return [early, asked, kept, credentials.token, made(30_000), made(50_000)];
        }""",
        link.replace("session.js", "credentials.js"),
    )
    early, asked, kept, token, before, after = told
    assert early == 0
    assert asked == [["/api/sessions/s/tokens", f"Bearer {before}"]]
    assert kept == [token] == [after]


async def test_a_host_whose_tab_is_gone_finds_the_session_its_results_and_the_next_one(stage):
    session = stage.session(_PLANET)
    library = await stage.open(f"/library#token={stage.site.operator_token}")
    await stage.join(session, "Mia")
    # A new tab: nothing but what the browser keeps.
    tab = await library.context.new_page()
    await library.close()
    await tab.goto(f"{stage.site.base_url}/library")
    await stage.everywhere(tab, "library")
    running = tab.locator(".running-row").filter(has_text=grouped(session["pin"]))
    await expect(running.get_by_role("link", name="Big screen")).to_be_visible()
    await running.get_by_role("button", name=re.compile("^Host")).click()
    await stage.press(tab, "Start")
    await expect(tab.get_by_role("link", name="Library")).to_be_visible()
    await stage.press(tab, "Close now")
    await stage.press(tab, "Final result")
    await expect(tab.get_by_role("button", name="Play again")).to_be_visible()
    await stage.everywhere(tab, "host-end")
    await stage.press(tab, "See the results")
    await expect(tab.locator("tbody th")).to_have_text("Mia")
    await tab.get_by_role("link", name="Library").click()
    played = tab.get_by_role("button", name=re.compile("^Results of The solar system"))
    await played.first.click()
    await expect(tab.locator("tbody th")).to_have_text("Mia")
    await stage.press(tab, "Play again")
    await expect(tab.locator(".host-pin")).not_to_contain_text(grouped(session["pin"]))
    await expect(tab.get_by_role("button", name="Start", exact=True)).to_be_visible()
    await stage.press(tab, "End…")
    await stage.press(tab, "Cancel the quiz")
    await tab.get_by_role("link", name="Library").click()
    await stage.press(tab, "Sign out")
    await tab.goto(f"{stage.site.base_url}/library")
    await expect(tab.get_by_role("heading")).to_have_text("This page needs the operator’s link")


async def test_whoever_has_lost_the_page_comes_back_on_another_phone_with_the_points(stage):
    session = stage.session(_PLANET, _PLANET)
    host = await stage.host(session)
    mia = await stage.join(session, "Mia")
    code = (await mia.locator(".own-code b").text_content()).strip()
    await stage.shoot("own-code", phone=mia)
    await stage.press(host, "Start")
    await mia.locator(".pad").nth(1).click()
    points = mia.locator(".play-bar .play-points")
    await expect(mia.get_by_role("heading", name="Correct!")).to_be_visible()
    won = await points.text_content()
    await expect(mia.locator(".own-code b")).to_have_text(code)

    other = await stage.phone(f"/play?pin={session['pin']}")
    await other.get_by_label("Your name").fill("Mia")
    await other.keyboard.press("Enter")
    field = other.get_by_label("Your code")
    await expect(field).to_be_visible()
    await field.fill("1-000")
    await other.get_by_role("button", name="Come back").click()
    await expect(other.locator("#code-note")).to_have_text("A code looks like 7-482 913.")
    wrong = code[:-1] + str((int(code[-1]) + 1) % 10)
    await field.fill(wrong)
    await other.get_by_role("button", name="Come back").click()
    await expect(other.locator("#code-note")).to_have_text("Nobody in this quiz has this code.")
    for width, height in ((320, 640), (390, 844)):
        await other.set_viewport_size({"width": width, "height": height})
        await stage.shoot("come-back", **{f"{width}": other})
    await field.fill(code)
    await other.keyboard.press("Enter")
    await expect(other.get_by_role("heading", name="Correct!")).to_be_visible()
    await expect(other.locator(".play-bar .play-points")).to_have_text(won)

    await mia.get_by_role("button", name="Play here").click()
    await expect(mia.get_by_text("You came back on another device")).to_be_visible()
    await stage.press(host, "Scoreboard")
    await stage.press(host, "Next question")
    await other.locator(".pad").nth(1).click()
    await expect(other.get_by_role("heading", name="Correct!")).to_be_visible()
    await stage.press(host, "Final result")
    await expect(host.locator(".podium")).to_be_visible()
    results = stage.site.results(session)
    assert [a["opening"] for a in results["answers"]] == [1, 2]
    assert [row["nickname"] for row in results["scoreboard"]] == ["Mia"]
