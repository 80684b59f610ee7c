"""What travels between page and server: no answer too early, and the right thing after every cut."""

from __future__ import annotations

import asyncio
import json
from statistics import mean

import pytest
from playwright.async_api import expect

from serve_app.errors import CLOSE_CODES
from tests.browser.questions import PLANET

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="session")]

_SECRET = "Only the close may tell this."
_PLANET = {**PLANET, "explanation": _SECRET}
_TYPED = {
    "kind": "typed",
    "text": "What is our galaxy called?",
    "accepted": ["Milky Way"],
    "time_limit_ms": 60_000,
    "explanation": _SECRET,
}


@pytest.mark.parametrize("question", [_PLANET, _TYPED], ids=["single", "typed"])
async def test_nothing_that_a_page_hears_before_the_close_tells_the_answer(
    stage, make_network, question
):
    session = stage.session(question)
    wires = [make_network() for _ in range(3)]
    host = await stage.host(session, wires[0])
    board = await stage.board(session, wires[1])
    mia = await stage.join(session, "Mia", wires[2])
    await stage.join(session, "Ben")
    await stage.press(host, "Start")
    if question is _TYPED:
        await mia.get_by_label("Your answer").fill("Andromeda")
        await mia.keyboard.press("Enter")
    else:
        await mia.get_by_role("button", name="C Venus").click()
    await expect(mia.get_by_text("Answer received")).to_be_visible()
    await expect(board.locator(".answer-count")).to_have_text("1 of 2 answered")
    for wire in wires:
        heard = "".join(wire.heard)
        assert question["text"] in heard
        for telling in (_SECRET, "Milky Way", '"correct":', '"points":1', '"distribution":'):
            assert telling not in heard
    await stage.press(host, "Close now")
    await expect(board.locator(".explanation")).to_have_text(_SECRET)
    assert _SECRET in "".join(wires[1].heard)


async def test_tap_that_was_lost_on_its_way_is_sent_again_word_for_word(stage, network):
    session = stage.session(_PLANET)
    host = await stage.host(session)
    mia = await stage.join(session, "Mia", network)
    await stage.press(host, "Start")
    network.swallowed = '"type":"answer"'
    await mia.get_by_role("button", name="B Jupiter").click()
    await expect(mia.get_by_text("Sending…")).to_be_visible()
    network.mend()
    await network.close(1012)
    await expect(mia.get_by_role("heading", name="Correct!")).to_be_visible()
    answers = [message for message in network.said if '"type":"answer"' in message]
    assert len(answers) == 2
    assert answers[0] == answers[1]
    assert json.loads(answers[0]) == {"type": "answer", "opening": 1, "choices": [1]}
    await stage.press(host, "Final result")
    await expect(host.locator(".podium")).to_be_visible()
    assert [a["choices"] for a in stage.site.results(session)["answers"]] == [[1]]


async def page_with_connection(stage):
    """A page that has opened no socket, and the address of the module that would."""
    page = await stage.open("/host")
    return page, await page.get_attribute("link[href$='/js/lib/connection.js']", "href")


async def test_close_code_decides_whether_a_page_comes_back(stage):
    page, module = await page_with_connection(stage)
    # The page's own connection on sockets that are open at once and closed with a code.
    sockets = await page.evaluate(
        """async ([module, codes]) => {
            const { Connection } = await import(module);
            let opened = 0;
            globalThis.WebSocket = class {
                static OPEN = 1;
                readyState = 1;
                constructor() { opened += 1; this.send = this.close = () => {}; last = this; }
            };
            let last = null;
            const counts = {};
            for (const code of codes) {
                const lastSeen = () => ({ epoch: 0, version: 0 });
                const nobody = () => {};
                const credentials = { forHello: async () => "" };
                const made = { credentials, lastSeen, onMessage: nobody, onState: nobody };
                const connection = new Connection(made);
                opened = 0;
                globalThis.setTimeout = (callback) => { callback(); return 1; };
                connection.start();
                last.onclose({ code });
                counts[code] = opened;
            }
            return counts;
        }""",
        [module, [entry.code for entry in CLOSE_CODES.values()] + [1001, 1006]],
    )
    expected = {str(entry.code): entry.reconnect for entry in CLOSE_CODES.values()}
    expected |= {"1001": True, "1006": True}
    assert {code: opened == 2 for code, opened in sockets.items()} == expected


async def test_waits_between_tries_grow_have_a_bound_and_are_spread(stage):
    page, module = await page_with_connection(stage)
    waits_ms = await page.evaluate(
        """async (module) => {
            const { Connection } = await import(module);
            let last = null;
            globalThis.WebSocket = class {
                constructor() { this.close = () => {}; last = this; }
            };
            const lastSeen = () => ({ epoch: 0, version: 0 });
            const nobody = () => {};
            const credentials = { forHello: async () => "" };
            const waits = [];
            globalThis.setTimeout = (callback, ms) => { waits.push(ms); callback(); return 1; };
            for (let client = 0; client < 200; client += 1) {
                new Connection({ credentials, lastSeen, onMessage: nobody, onState: nobody }).start();
                for (let cut = 0; cut < 8; cut += 1) last.onclose({ code: 1012 });
            }
            return waits;
        }""",
        module,
    )
    by_try = [waits_ms[n::8] for n in range(8)]
    assert len(waits_ms) == 1_600
    assert all(min(waits) >= 200 and max(waits) <= 5_000 for waits in by_try)
    assert max(by_try[0]) <= 1_000
    assert all(max(waits) > 2 * min(waits) for waits in by_try)
    assert mean(by_try[0]) < mean(by_try[1]) < mean(by_try[2]) < mean(by_try[7])


async def test_pages_that_are_cut_together_come_back_to_their_places(stage, make_network):
    session = stage.session(_PLANET)
    host = await stage.host(session)
    wires = [make_network() for _ in range(4)]
    phones = [await stage.join(session, f"P{n}", wire) for n, wire in enumerate(wires)]
    await stage.press(host, "Start")
    for phone in phones:
        await expect(phone.locator(".pad")).to_have_count(4)
    await asyncio.gather(*(wire.close(1012) for wire in wires))
    for phone in phones:
        await expect(phone.get_by_role("alert")).to_have_count(0)
        await phone.get_by_role("button", name="B Jupiter").click()
    await expect(host.locator(".choice.is-right")).to_be_visible()


async def test_page_whose_server_never_speaks_tries_again_by_itself(stage, network):
    session = stage.session(_PLANET)
    network.is_down = True
    board = await stage.board(session, network)
    await expect(board.get_by_text("Connecting…")).to_be_visible()
    network.mend()
    await expect(board.locator(".join-card")).to_be_visible(timeout=15_000)


async def test_return_of_the_network_is_not_waited_for(stage, network):
    session = stage.session(_PLANET)
    mia = await stage.join(session, "Mia", network)
    await network.cut()
    await expect(mia.get_by_role("alert")).to_contain_text("Disconnected")
    # A socket opened now reaches nobody, and nothing but its silence would tell.
    await network.opened(2)
    network.mend()
    await mia.evaluate("dispatchEvent(new Event('online'))")
    await expect(mia.get_by_role("alert")).to_have_count(0, timeout=3_000)
