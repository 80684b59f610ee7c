"""One attack beside honest people, from the quiet before it to what must hold after it."""

from __future__ import annotations

import importlib
import pkgutil
import random
import time
from collections import Counter
from contextlib import ExitStack
from typing import NamedTuple

import msgspec

import tests.abuse
from engine.testing.factories import make_quiz
from tests.abuse.attacker import Account
from tests.abuse.honest import Go, PlayQuiz, StormIn
from tests.abuse.memory import Memory, Watch
from tests.abuse.partner import Partner
from tests.abuse.scenario import Briefing, Claim, Evidence, Honest, Quiz, Scenario, Storm
from tests.site import LiveSite

#: Honest people's 99th percentile during an attack, as a multiple of the one before; and what it may
#: always be: below it, the machine decides.
_P99_RATIO_MAX, _P99_MS_ALWAYS = 2.0, 15.0
#: How long the site rests after an attack before its memory is looked at, seconds.
_REST_S = 3.0
#: How long one step of a trial may take, and an attack that nobody ends, seconds.
_STEP_S_MAX, _ATTACK_S_MAX = 120.0, 240.0
#: Processes of these kinds come and go by themselves.
_PASSING = ("SessionActor", "Ray's own", "database", "other")


class Scale(NamedTuple):
    """How much honest people do."""

    people: int
    questions: int
    storm_rounds: int


LONG, SHORT = Scale(people=100, questions=8, storm_rounds=5), Scale(20, 2, 1)


class Trial(NamedTuple):
    """What was tried, and what came of it."""

    scenario: Scenario
    evidence: Evidence
    claims: list[Claim]

    @property
    def broken(self) -> list[str]:
        """What does not hold, in words."""
        return [claim.text for claim in self.claims if not claim.holds]


def scenarios() -> dict[str, Scenario]:
    """Every scenario by the name of its module, in order."""
    found = {}
    for name in sorted(module.name for module in pkgutil.iter_modules(tests.abuse.__path__)):
        if name != "__main__":
            module = importlib.import_module(f"tests.abuse.{name}")
            scenario = getattr(module, "SCENARIO", None)
            if scenario is not None:
                found[name] = scenario
    return found


def run(site: LiveSite, module: str, scale: Scale) -> Trial:
    """Try one scenario on a live site."""
    scenario = scenarios()[module]
    with ExitStack() as ends:
        bystanders = _Bystanders(site, scale, ends)
        own = [bystanders.pid]
        watch = Watch(own)
        watch.start()
        ends.callback(watch.end)

        before = None
        if scale is LONG:
            storm_pin = bystanders.open_lobby()
            bystanders.join_quiz()
            before = bystanders.live_through(storm_pin)
        prepared = scenario.prepare(site)
        storm_pin, quiz_pin = bystanders.open_lobby(), bystanders.join_quiz()
        quiet = watch.take()

        attacker = ends.enter_context(Partner("tests.abuse.attacker", module))
        own.append(attacker.pid)
        is_short = scale is SHORT
        briefing = Briefing(
            site.stack.local_url, quiz_pin, storm_pin, is_short, _ATTACK_S_MAX, prepared
        )
        attacker.say(briefing)
        attacker.hear(str, _STEP_S_MAX)
        during = bystanders.live_through(storm_pin)
        attacker.ask_to_end()
        account = attacker.hear(Account, _STEP_S_MAX)
        loud = watch.take()
        if scale is LONG:
            time.sleep(_REST_S)
        after = watch.take()
        evidence = Evidence(
            site,
            is_short,
            Counter(account.counts),
            account.seconds,
            account.cpu_s,
            before,
            during,
            Memory.of(quiet, loud, after),
            prepared,
        )
        return Trial(scenario, evidence, judge(scenario, evidence))


class _Bystanders:
    """The process of the honest people."""

    def __init__(self, site: LiveSite, scale: Scale, ends: ExitStack) -> None:
        self._site, self._scale, self._ends = site, scale, ends
        arguments = (site.stack.local_url, site.operator_token)
        self._partner = ends.enter_context(Partner("tests.abuse.honest", *arguments))
        self.pid = self._partner.pid

    def open_lobby(self) -> str:
        """The PIN of a fresh session, which ends with the trial."""
        session = self._site.open_session(msgspec.to_builtins(make_quiz()), {})
        self._ends.callback(self._site.cancel, session)
        return session["pin"]

    def join_quiz(self) -> str:
        """Have everybody join a quiz; its PIN."""
        people, questions, _ = self._scale
        self._partner.say(PlayQuiz(people, questions, random.randrange(2**32)))
        return str(self._partner.hear(str, _STEP_S_MAX))

    def live_through(self, storm_pin: str) -> Honest:
        """Play the quiz that was joined, then storm a lobby."""
        self._partner.say(Go())
        quiz = self._partner.hear(Quiz, _STEP_S_MAX)
        self._partner.say(StormIn(storm_pin, self._scale.storm_rounds))
        return Honest(quiz, self._partner.hear(Storm, _STEP_S_MAX))


def judge(scenario: Scenario, evidence: Evidence) -> list[Claim]:
    """The claims that all trials share, then those of the scenario.

    Nothing wrong was accepted and nobody honest was refused for good; no process of the product
    ended or grew beyond its bound. In the long form also: the 99th percentile of honest
    acknowledgements at most doubled, and joins kept the share that the scenario states.
    """
    quiz, storm = evidence.during.quiz, evidence.during.storm
    claims = [
        Claim(f"honest quiz: {problem}", False) for problem in (*quiz.problems, *storm.problems)
    ]
    claims.append(Claim(f"{quiz.answers} answers and {storm.joins} joins are right", not claims))
    most, process = evidence.memory.growth()[0]
    claims.append(
        Claim(
            f"no process grows by more than {scenario.memory_growth_mb_max:.0f} MB"
            f" ({process.kind}, process {process.pid}: by {most:.0f} MB)",
            most <= scenario.memory_growth_mb_max,
        )
    )
    gone = [kind for kind in evidence.memory.gone if kind not in _PASSING]
    claims.append(Claim(f"no process ends {gone or ''}", not gone))
    if evidence.before is not None:
        claims += _speed_claims(scenario, evidence.before, evidence.during)
    return claims + scenario.judge(evidence)


def _speed_claims(scenario: Scenario, before: Honest, during: Honest) -> list[Claim]:
    p99_max = max(_P99_RATIO_MAX * before.quiz.ack_ms_p99, _P99_MS_ALWAYS)
    p99 = during.quiz.ack_ms_p99
    claims = [Claim(f"honest p99 of {p99:.0f} ms is at most {p99_max:.0f} ms", p99 <= p99_max)]
    if scenario.joins_ratio_min is not None:
        ratio = during.storm.per_s / before.storm.per_s
        text = f"honest joins keep {ratio:.2f} of their rate, at least {scenario.joins_ratio_min}"
        claims.append(Claim(text, ratio >= scenario.joins_ratio_min))
    return claims
