"""Names of real people are allowed, whatever script they are written in; twins are not."""

import pytest

from engine import limits
from engine.commands import Join
from engine.errors import Conflict, Malformed
from engine.events import Joined
from engine.names import clean_nickname, clusters, fold_nickname, look_of_nickname
from engine.phases import Step
from engine.session import decide
from engine.testing.driver import START_MS, SessionDriver

FAMILY = "👨‍👩‍👧‍👦"
SCOTLAND, ENGLAND = (
    "\U0001f3f4" + "".join(chr(0xE0000 + ord(c)) for c in tags) + "\U000e007f"
    for tags in ("gbsct", "gbeng")
)


@pytest.mark.parametrize(
    "nickname",
    [
        "مهدی\u200cزاده",
        f"Isla {SCOTLAND}",
        ENGLAND,
        FAMILY * 4,
        "🇨🇭" * limits.NICKNAME_CHARS_MAX,
        "Nguyễn Thị Ánh",
        "क्षत्रिय श्रीनिवासमूर्ति",
        "שָׁלוֹם",
        "ཀྲྀཾ",
        "👩🏽‍🚀 Ada",
        "김철수",
        "O’Neill-Łukasz",
    ],
    ids=ascii,
)
def test_real_names_are_allowed_as_they_are(nickname):
    assert clean_nickname(nickname) == nickname


@pytest.mark.parametrize(
    "nickname",
    [
        "Isla \U000e0067\U000e0062",
        "\U0001f3f4\U000e0067\U000e007f",
        "\U0001f3f4\U000e0067\U000e0062\U000e0073",
        "\u200c",
        "a\u200e",
        "Z" + "\u0301" * (limits.NICKNAME_MARKS_MAX + 2) + "a",
        FAMILY * 11,
        "🇨🇭" * (limits.NICKNAME_CHARS_MAX + 1),
    ],
    ids=ascii,
)
def test_what_is_unseen_or_too_long_is_refused(nickname):
    with pytest.raises(Malformed) as caught:
        clean_nickname(nickname)
    assert caught.value.code == "nickname_invalid"


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Zoe\u0308", 3),
        (FAMILY * 4, 4),
        (SCOTLAND + ENGLAND, 2),
        ("🇨🇭🇦🇹a🇩🇪", 4),
        ("👍🏽👍", 2),
        ("क्षि", 1),
        ("\u1112\u1161\u11ab", 1),
        ("김철수", 3),
        ("می\u200cخواهم", 7),
        ("", 0),
    ],
    ids=ascii,
)
def test_characters_are_counted_as_people_see_them(text, count):
    found = list(clusters(text))
    assert len(found) == count
    assert "".join(found) == text


@pytest.mark.parametrize(
    ("known", "twin"),
    [
        ("Mia", "Mi\u0430"),
        ("Mi\u0430", "MIA"),
        ("MAX", "М\u0430\u0445"),
        ("Ben", "\u0412en"),
        ("Ivo", "\u0406vo"),
        ("Kevin", "\u039ae\u03bdin"),
        ("Lara", "Lar\u0251"),
        ("مهدی", "مه\u200cدی"),
        ("Mia", "M\ufe0fia"),
    ],
    ids=ascii,
)
def test_a_twin_is_refused_stored_or_on_its_way(known, twin):
    driver = SessionDriver()
    (joined,) = decide(driver.state, Join("some-key", known), START_MS, driver.pending).events
    assert isinstance(joined, Joined)
    driver.pending.add(joined)
    for _ in range(2):
        with pytest.raises(Conflict) as caught:
            driver.join(twin)
        assert caught.value.code == "nickname_taken"
        driver.pending.discard(joined)
        driver.do_event(joined)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Amy", "Arny"),
        ("Маша", "Даша"),
        ("Αλέξης", "Αλέξια"),
        (SCOTLAND, ENGLAND),
        ("Ян", "Яна"),
    ],
    ids=ascii,
)
def test_different_names_stay_different(one, other):
    assert fold_nickname(one) != fold_nickname(other)
    assert look_of_nickname(one) != look_of_nickname(other)


def test_a_name_is_free_again_once_its_owner_was_removed():
    driver = SessionDriver()
    who = driver.join("Mia")
    driver.move(Step.REMOVE, who=who)
    assert driver.join("Mi\u0430") != who


@pytest.mark.parametrize("name", ["Маша", "mаrIA", "Αννα", "ΝΊΚΟΣ", "Ваня"])
def test_case_makes_no_other_name(name):
    assert fold_nickname(name.upper()) == fold_nickname(name.lower())
