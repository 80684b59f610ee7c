"""New connections enter in order, a few in each turn of the loop."""

import asyncio

from serve_app.websocket.entrance import Entrance


async def turn():
    await asyncio.sleep(0)


async def test_a_crowd_enters_in_order_a_few_in_each_turn():
    entrance, entered = Entrance(3), []
    for number in range(8):
        entrance.queue(lambda number=number: entered.append(number))
    assert entered == []
    for count in (3, 6, 8, 8):
        await turn()
        assert entered == list(range(count))
    assert len(entrance) == 0


async def test_who_comes_during_a_turn_waits_for_the_next():
    entrance, entered = Entrance(2), []
    entrance.queue(lambda: entrance.queue(lambda: entered.append("later")))
    entrance.queue(lambda: entered.append("now"))
    await turn()
    assert entered == ["now"]
    await turn()
    assert entered == ["now", "later"]


async def test_one_that_fails_holds_up_nobody():
    entrance, entered = Entrance(1), []
    asyncio.get_running_loop().set_exception_handler(
        lambda _loop, _context: entered.append("failed")
    )
    entrance.queue(lambda: 1 / 0)
    entrance.queue(lambda: entered.append("after"))
    await turn()
    await turn()
    assert entered == ["failed", "after"]
