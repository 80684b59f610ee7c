"""The model with more connections and actors than the tests have time for: ``python -m tests.model``."""

from __future__ import annotations

import sys

from rich.console import Console

from tests.model.handover import Rules, Word, explore

#: What must hold in every state.
_SOUND = {
    "two actors, one of them with two connections": Rules(),
    "three actors": Rules(connections=(1, 1, 1)),
}
#: What must break in some state, because a part is taken away.
_UNSOUND = {
    "no barrier": Rules(barrier=False),
    "no mailbox": Rules(mailbox=False),
    "the word of any connection": Rules(word=Word.OF_ANY),
    "no wait": Rules(wait=False),
    "a broker in two parts": Rules(split=True),
}


def main() -> None:
    """Command line."""
    console = Console(soft_wrap=True, highlight=False)
    failed = False
    for rules in (_SOUND, _UNSOUND):
        for name, one in rules.items():
            found = explore(one)
            console.print(f"{name}: {found.states:,} states, {found.problem or 'none is broken'}")
            if (found.problem is None) is not (rules is _SOUND):
                failed = True
                for step in found.trace:
                    console.print(f"  {step}")
    sys.exit(failed)


if __name__ == "__main__":
    main()
