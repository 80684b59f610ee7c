"""Attacks beside a quiz of honest people: ``make abuse``, and a short form in ``make test``.

How one trial goes, always on a live site with real servers:

1. A process of its own (:mod:`tests.abuse.honest`) plays a quiz of 100 people over websockets, then
   lets people join a fresh session by PIN, 200 at once. That gives the figures *before*.
2. Another 100 people join the next quiz. Then the attack starts, in a process of its own
   (:mod:`tests.abuse.attacker`), and says when it is at its full strength.
3. The quiz is played and the storm of joins repeated while the attack goes on: figures *during*.
4. The attack is told to stop. What must hold is judged: the claims that all trials share (see
   :func:`tests.abuse.trial.judge`), and those of the scenario.

The memory of every process of the product is looked at four times a second throughout.

How to add a scenario
---------------------

Write one module named after the attack, ``tests/abuse/a2_pins.py``, with one name that the harness
looks for::

    async def attack(ground: Ground) -> None:
        async with ground.http(ground.address(1)) as http:
            ground.at_strength()
            while not ground.is_over:
                async with http.get(f"{ground.url}/api/pins/{guess()}") as reply:
                    ground.counts[f"HTTP {reply.status}"] += 1

    def judge(evidence: Evidence) -> list[Claim]:
        return [Claim("guesses are refused", evidence.counts["HTTP 429"] > 0)]

    SCENARIO = Scenario("A2: guessing PINs", attack, judge, joins_ratio_min=0.9)

``attack`` runs until ``ground.is_over`` and may hold as much as ``ground.scaled(count)`` says: the
short form is a tenth of the long one. It takes its source addresses from ``ground.address(number)``
(127.66.0.0/16), so that limits by address tell attackers from honest people, who come from
127.0.0.1. What it counts in ``ground.counts`` is printed and reaches ``judge``. If it needs a session
of its own, ``prepare(site)`` opens one with the operator's powers and returns what the attackers know
(JSON; ``ground.prepared``). The PIN of the honest quiz is ``ground.quiz_pin``: attackers may look at
it as viewers, and must not join, since the checks of the honest quiz know its people. The PIN that is
stormed during the attack is ``ground.storm_pin``: there they may join.

``judge`` returns what must hold after the attack, each claim in words. It runs in the process of the
harness, which has the site: use ``evidence.is_short`` where a claim needs the whole attack. Claims
must not depend on the speed of the machine in the short form.

``memory_growth_mb_max`` is by how much any one process of the product may grow beyond its peak before
the attack. State it from the bound in ``engine/limits.py`` that holds it.
"""
