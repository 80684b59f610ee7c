"""Every pair of a phase and a step leads where the table says, or is refused and does nothing."""

import pytest

from engine.errors import Conflict
from engine.model import Mode, ScoringPolicy, SessionSettings
from engine.phases import TRANSITIONS, Phase, Step, phase_diagram
from engine.recovery import snapshot
from engine.testing.driver import PLAIN, SELF_PACED, SessionDriver
from engine.testing.factories import make_question, make_quiz

PREVIEWED = SessionSettings(preview_ms=4_000)
TO_PHASE: dict[Phase, tuple[SessionSettings, tuple[Step, ...]]] = {
    Phase.LOBBY: (PLAIN, ()),
    Phase.PREVIEW: (PREVIEWED, (Step.START,)),
    Phase.QUESTION_OPEN: (PLAIN, (Step.START,)),
    Phase.QUESTION_CLOSED: (PLAIN, (Step.START, Step.CLOSE)),
    Phase.SCOREBOARD: (PLAIN, (Step.START, Step.CLOSE, Step.NEXT)),
    Phase.SELF_PACED_OPEN: (SELF_PACED, (Step.START,)),
    Phase.FINISHED: (PLAIN, (Step.START, Step.FINISH)),
    Phase.CANCELLED: (PLAIN, (Step.CANCEL,)),
}
MOVING = [step for step in Step if step not in (Step.REMOVE, Step.LOCK, Step.UNLOCK)]


def at(phase):
    settings, steps = TO_PHASE[phase]
    driver = SessionDriver(make_quiz(make_question(), make_question()), settings)
    driver.join("Mia")
    driver.moves(*steps)
    if phase is Phase.SELF_PACED_OPEN:
        driver.move(Step.DEADLINE, extra_ms=5_000)
    assert driver.state.phase is phase
    return driver


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("step", MOVING)
def test_each_step_leads_where_the_table_says_or_is_refused(phase, step):
    driver = at(phase)
    before = snapshot(driver.state)
    driver.wait(60_000)  # every deadline has passed, so that `due` is due
    if step in TRANSITIONS[phase]:
        driver.move(step, extra_ms=5_000)
        assert driver.state.phase in TRANSITIONS[phase][step]
    else:
        with pytest.raises(Conflict, match=f"{step} is not possible in phase {phase}") as caught:
            driver.move(step, extra_ms=5_000)
        assert caught.value.code == "wrong_phase"
        assert snapshot(driver.state) == before


@pytest.mark.parametrize("phase", Phase)
def test_somebody_can_be_removed_in_every_phase(phase):
    driver = at(phase)
    driver.move(Step.REMOVE, who=1)
    assert driver.state.phase is phase
    assert 1 not in driver.state.scoreboard


def test_every_target_of_the_table_is_reached():
    """START and NEXT have several targets; each is the one for some session."""
    self_paced = SessionSettings(mode=Mode.SELF_PACED, scoring=ScoringPolicy.ACCURACY)
    start = {
        settings: SessionDriver(make_quiz(), settings)
        for settings in (PLAIN, PREVIEWED, self_paced)
    }
    for driver in start.values():
        driver.move(Step.START)
    reached = tuple(start[settings].state.phase for settings in (PREVIEWED, PLAIN, self_paced))
    assert reached == TRANSITIONS[Phase.LOBBY][Step.START]

    more, last = at(Phase.QUESTION_CLOSED), SessionDriver(make_quiz(make_question()))
    last.moves(Step.START, Step.CLOSE)
    more.move(Step.NEXT)
    last.move(Step.NEXT)
    reached = (more.state.phase, last.state.phase)
    assert reached == TRANSITIONS[Phase.QUESTION_CLOSED][Step.NEXT]

    previewed = SessionDriver(make_quiz(), PREVIEWED)
    previewed.moves(Step.START, Step.NEXT, Step.CLOSE, Step.NEXT, Step.NEXT)
    plain = at(Phase.SCOREBOARD)
    plain.move(Step.NEXT)
    reached = (previewed.state.phase, plain.state.phase)
    assert reached == TRANSITIONS[Phase.SCOREBOARD][Step.NEXT]


def test_every_phase_is_in_the_table_and_only_two_are_the_end():
    assert set(TRANSITIONS) == set(Phase)
    assert {phase for phase in Phase if not TRANSITIONS[phase]} == {
        phase for phase in Phase if phase.is_over
    }


def test_the_diagram_has_every_transition():
    lines = phase_diagram().splitlines()
    assert lines[0] == "stateDiagram-v2"
    for phase, steps in TRANSITIONS.items():
        for step, targets in steps.items():
            for target in targets:
                arrow = f"    {phase} --> {target}: "
                assert any(
                    line.startswith(arrow) and step in line.removeprefix(arrow).split(", ")
                    for line in lines
                )
