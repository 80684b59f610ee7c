"""Pages of everybody who is in: searched, selected, newest first."""

import pytest

from engine import limits
from engine.phases import Step
from engine.roster import RosterFilter, roster_page
from engine.testing.driver import SessionDriver


@pytest.fixture
def driver():
    driver = SessionDriver()
    for number in range(1, 251):
        driver.join(f"Player {number}")
        driver.wait(1_000)
    return driver


def page(driver, search="", only=RosterFilter.ALL, before=0, rows=100, unseen=frozenset()):
    return roster_page(driver.state, unseen, driver.now_ms, search, only, before, rows)


def test_pages_go_through_everybody_newest_first(driver):
    seen, before = [], 0
    while True:
        matching, people = page(driver, before=before)
        assert matching == 250
        seen += [person.participant_id for person in people]
        if len(people) < 100:
            break
        before = people[-1].participant_id
    assert seen == list(range(250, 0, -1))


def test_a_removal_between_two_pages_leaves_nobody_out(driver):
    _, first = page(driver)
    driver.move(Step.REMOVE, several=[person.participant_id for person in first])
    matching, second = page(driver, before=first[-1].participant_id)
    assert (matching, second[0].participant_id) == (150, 150)


def test_a_search_looks_into_names_whatever_the_case(driver):
    driver.join("Zoë")
    assert [p.nickname for p in page(driver, " ZOË ")[1]] == ["Zoë"]
    matching, people = page(driver, "player 24")
    assert (matching, people[0].nickname, people[-1].nickname) == (11, "Player 249", "Player 24")
    assert page(driver, "nobody") == (0, [])


def test_the_newest_and_those_who_never_connected_can_be_told_apart(driver):
    matching, people = page(driver, only=RosterFilter.RECENT)
    assert matching == limits.ROSTER_RECENT_MS // 1_000 - 1
    assert all(person.joined_ms_ago < limits.ROSTER_RECENT_MS for person in people)
    unseen = {7, 8, 250}
    matching, people = page(driver, only=RosterFilter.NEVER_CONNECTED, unseen=unseen)
    assert [person.participant_id for person in people] == [250, 8, 7]
    assert not any(person.has_connected for person in people)
    assert all(person.has_connected for person in page(driver)[1])


def test_those_who_have_not_answered_are_told_while_a_question_is_open(driver):
    waiting = RosterFilter.UNANSWERED
    assert page(driver, only=waiting) == (0, [])
    driver.move(Step.START)
    for who in range(1, 249):
        driver.answer(who, 0)
    matching, people = page(driver, only=waiting)
    assert (matching, [person.participant_id for person in people]) == (2, [250, 249])
    driver.move(Step.CLOSE)
    assert page(driver, only=waiting) == (0, [])
