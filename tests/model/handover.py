"""The protocol of docs/adr/0013, as small as it can be: one answer, some actors that follow each other.

A state is what PostgreSQL, the broker and the actors know; a step is anything that may happen next, in
any order: time that passes, a message that arrives, a connection that is lost on one side only, a
process that ends. :func:`explore` looks at every state that can be reached.

Each actor would accept another answer of the same participant, so its number stands for the answer.
What an actor has acknowledged must be what the tables will have in the end.

Left out, because the simulation has them (``tests/simulation``): writers that die, messages that come
twice, restored phases and deadlines.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

_NONE = 0


class Word(IntEnum):
    """What the broker's confirm says while no reading of the epoch is young."""

    NOTHING = 0
    #: Who may acknowledge, if it came over the connection that was there at the last reading.
    OF_THE_LAST_READING = 1
    #: The same over any connection.
    OF_ANY = 2


class Rules(NamedTuple):
    """What is in force. Each can be taken away, to see that it is needed.

    Attributes:
        mailbox: one connection at a time may publish for the session.
        barrier: a successor folds the tables only when its barrier is stored.
        wait: a successor waits until readings of the epoch that are older than its own are not young.
        set_aside: writers store nothing of an epoch that a stored barrier has ended.
        word: when the broker's word is enough to acknowledge; a young reading always is.
        split: the broker is several nodes that are cut off from each other, and gives the mailbox out
            again while its owner lives.
        outages: how often PostgreSQL goes away.
        connections: how many each actor may open; as many actors as numbers.
    """

    mailbox: bool = True
    barrier: bool = True
    wait: bool = True
    set_aside: bool = True
    word: Word = Word.OF_THE_LAST_READING
    split: bool = False
    outages: int = 1
    connections: tuple[int, ...] = (2, 1)


class Phase(IntEnum):
    """How far an actor is."""

    UNBORN = 0
    CLAIMED = 1
    WAITED = 2
    BARRIER_SENT = 3
    SERVING = 4
    GONE = 5


class Answer(IntEnum):
    """How far the answer is that an actor has accepted."""

    NOT_GIVEN = 0
    DECIDED = 1
    SENT = 2
    CONFIRMED = 3
    ACKNOWLEDGED = 4


class Actor(NamedTuple):
    """What one actor knows. Connections are numbered from 1 for each actor; 0 is none.

    Attributes:
        connection: the one that it believes to have.
        opened: how many it has opened.
        vouched: the last one that it had opened at its last reading of the epoch.
        is_young: whether that reading is young.
        answer, over: how far its answer is, and over which connection it was sent.
        confirm: of its answer, on its way back: over which connection.
    """

    phase: Phase = Phase.UNBORN
    connection: int = _NONE
    opened: int = 0
    vouched: int = _NONE
    is_young: bool = False
    answer: Answer = Answer.NOT_GIVEN
    over: int = _NONE
    confirm: int = _NONE


class Message(NamedTuple):
    """An actor's answer, or its barrier."""

    epoch: int
    is_barrier: bool


class Wire(NamedTuple):
    """A connection as the broker sees it, with what it has not taken from it yet."""

    epoch: int
    number: int
    messages: tuple[Message, ...] = ()


class State(NamedTuple):
    """Everything. Actor n (from 1) has epoch n and accepts answer n.

    Attributes:
        stored: the answer in the tables; 0 for none.
        barrier: the highest epoch whose barrier is stored.
        acknowledged: the answers that somebody has a receipt for.
    """

    actors: tuple[Actor, ...]
    epoch: int = 0
    is_database_up: bool = True
    outages_left: int = 0
    wires: tuple[Wire, ...] = ()
    queue: tuple[Message, ...] = ()
    stored: int = _NONE
    barrier: int = 0
    acknowledged: frozenset[int] = frozenset()

    def actor(self, epoch: int) -> Actor:
        """The actor of an epoch."""
        return self.actors[epoch - 1]

    def having(self, epoch: int, **changes: object) -> State:
        """The same with one actor changed."""
        actors = list(self.actors)
        actors[epoch - 1] = self.actor(epoch)._replace(**changes)
        return self._replace(actors=tuple(actors))


def steps(state: State, rules: Rules) -> Iterator[tuple[str, State]]:
    """Everything that may happen next, with what it is called."""
    yield from _of_database(state, rules)
    yield from _of_broker(state)
    for epoch, actor in enumerate(state.actors, 1):
        if actor.phase is Phase.UNBORN:
            if state.is_database_up and state.epoch == epoch - 1:
                yield f"{epoch} claims the session", _claimed(state, epoch)
        elif actor.phase is not Phase.GONE:
            yield f"{epoch} dies", _gone(state, epoch)
            yield from _of_readings(state, epoch, actor)
            yield from _of_take_over(state, rules, epoch, actor)
            yield from _of_connections(state, rules, epoch, actor)
            yield from _of_answer(state, rules, epoch, actor)


def _of_database(state: State, rules: Rules) -> Iterator[tuple[str, State]]:
    if not state.is_database_up:
        yield "PostgreSQL is back", state._replace(is_database_up=True)
        return
    if state.outages_left:
        left = state.outages_left - 1
        yield "PostgreSQL is away", state._replace(is_database_up=False, outages_left=left)
    if state.queue:
        yield "a writer stores", _written(state, rules)


def _written(state: State, rules: Rules) -> State:
    first, *rest = state.queue
    stored, barrier = state.stored, state.barrier
    if first.is_barrier:
        barrier = max(barrier, first.epoch)
    elif (first.epoch >= barrier or not rules.set_aside) and not stored:
        stored = first.epoch
    return state._replace(queue=tuple(rest), stored=stored, barrier=barrier)


def _of_broker(state: State) -> Iterator[tuple[str, State]]:
    for wire in state.wires:
        others = tuple(other for other in state.wires if other != wire)
        name = f"connection {wire.number} of {wire.epoch}"
        # Nothing tells the actor; confirms that were sent may still arrive.
        yield f"the broker ends {name}", state._replace(wires=others)
        if wire.messages:
            first, *rest = wire.messages
            wires = tuple(sorted((*others, wire._replace(messages=tuple(rest)))))
            taken = state._replace(wires=wires, queue=(*state.queue, first))
            if not first.is_barrier:
                taken = taken.having(wire.epoch, confirm=wire.number)
            yield f"the broker takes a message of {name}", taken


def _of_readings(state: State, epoch: int, actor: Actor) -> Iterator[tuple[str, State]]:
    if actor.is_young:
        yield f"the reading of {epoch} is old", state.having(epoch, is_young=False)
    if state.is_database_up:
        yield f"{epoch} reads the epoch", _read(state, epoch)


def _read(state: State, epoch: int) -> State:
    if state.epoch != epoch:
        return _gone(state, epoch)
    return state.having(epoch, is_young=True, vouched=state.actor(epoch).opened)


def _of_take_over(
    state: State, rules: Rules, epoch: int, actor: Actor
) -> Iterator[tuple[str, State]]:
    if actor.phase is Phase.CLAIMED:
        # Readings of others are from before the claim: since then they find another epoch.
        is_over = not any(one.is_young for one in state.actors[: epoch - 1])
        if is_over or not rules.wait:
            yield f"{epoch} has waited", state.having(epoch, phase=Phase.WAITED)
    if actor.phase is Phase.WAITED and rules.barrier and actor.connection:
        sent = _sent(state, epoch, Message(epoch, is_barrier=True))
        yield f"{epoch} sends its barrier", sent.having(epoch, phase=Phase.BARRIER_SENT)
    if actor.phase is Phase.BARRIER_SENT and not actor.connection:
        yield f"{epoch} begins its barrier anew", state.having(epoch, phase=Phase.WAITED)
    is_passed = actor.phase is Phase.BARRIER_SENT and state.barrier >= epoch
    if state.is_database_up and (is_passed or (actor.phase is Phase.WAITED and not rules.barrier)):
        if state.epoch != epoch:
            yield f"{epoch} finds a later epoch", _gone(state, epoch)
        else:
            # A stored answer is acknowledged again at any time: that it is stored says it all.
            known = Answer.ACKNOWLEDGED if state.stored else Answer.NOT_GIVEN
            yield f"{epoch} folds", state.having(epoch, phase=Phase.SERVING, answer=known)


def _of_connections(
    state: State, rules: Rules, epoch: int, actor: Actor
) -> Iterator[tuple[str, State]]:
    if actor.connection:
        # Whether or not the broker knows.
        yield f"{epoch} loses its connection", _disconnected(state, epoch)
        return
    if actor.phase < Phase.WAITED or actor.opened == rules.connections[epoch - 1]:
        return
    if state.wires and rules.mailbox:
        for wire in state.wires:
            if wire.epoch < epoch and state.actor(wire.epoch).phase is not Phase.GONE:
                yield f"{epoch} leaves word for {wire.epoch}", _gone(state, wire.epoch)
    if not (state.wires and rules.mailbox) or rules.split:
        number = actor.opened + 1
        wires = tuple(sorted((*state.wires, Wire(epoch, number))))
        opened = state._replace(wires=wires).having(epoch, connection=number, opened=number)
        yield f"{epoch} opens connection {number}", opened


def _of_answer(state: State, rules: Rules, epoch: int, actor: Actor) -> Iterator[tuple[str, State]]:
    if actor.phase is not Phase.SERVING:
        return
    if actor.answer is Answer.NOT_GIVEN:
        yield f"{epoch} accepts an answer", state.having(epoch, answer=Answer.DECIDED)
    elif actor.answer is Answer.DECIDED and actor.connection:
        sent = _sent(state, epoch, Message(epoch, is_barrier=False))
        yield (
            f"{epoch} sends its answer",
            sent.having(epoch, answer=Answer.SENT, over=actor.connection),
        )
    elif actor.answer is Answer.SENT and actor.confirm == actor.over:
        yield f"{epoch} has the confirm", state.having(epoch, answer=Answer.CONFIRMED)
    elif actor.answer is Answer.CONFIRMED:
        is_vouched_for = rules.word is Word.OF_ANY or (
            rules.word is Word.OF_THE_LAST_READING and actor.over == actor.vouched
        )
        if is_vouched_for or actor.is_young:
            acknowledged = state.acknowledged | {epoch}
            yield (
                f"{epoch} acknowledges",
                state._replace(acknowledged=acknowledged).having(epoch, answer=Answer.ACKNOWLEDGED),
            )


def _claimed(state: State, epoch: int) -> State:
    # The first has nobody to wait for, and nothing to fold.
    phase = Phase.SERVING if epoch == 1 else Phase.CLAIMED
    return state._replace(epoch=epoch).having(epoch, phase=phase)


def _gone(state: State, epoch: int) -> State:
    """Of no further interest; the broker may have messages of its connection yet."""
    actors = list(state.actors)
    actors[epoch - 1] = Actor(Phase.GONE)
    return state._replace(actors=tuple(actors))


def _sent(state: State, epoch: int, message: Message) -> State:
    """Into the wire; what the broker has ended already goes nowhere."""
    number = state.actor(epoch).connection
    wires = tuple(
        wire._replace(messages=(*wire.messages, message))
        if (wire.epoch, wire.number) == (epoch, number)
        else wire
        for wire in state.wires
    )
    return state._replace(wires=wires)


def _disconnected(state: State, epoch: int) -> State:
    """Confirms that were on their way are lost; what was not confirmed is sent again."""
    actor = state.actor(epoch)
    answer = Answer.DECIDED if actor.answer is Answer.SENT else actor.answer
    return state.having(epoch, connection=_NONE, answer=answer, confirm=_NONE)


def broken(state: State, rules: Rules) -> str | None:
    """What a state does that must never be, if anything."""
    end = state
    while end.queue:
        end = _written(end, rules)
    for answer in state.acknowledged:
        if answer != end.stored:
            what = f"answer {end.stored}" if end.stored else "nothing"
            return f"answer {answer} is acknowledged, and the tables will have {what}"
    return None


class Found(NamedTuple):
    """What came of it.

    Attributes:
        states: how many states were looked at.
        problem: what is wrong, or None.
        trace: the steps to it, the fewest that lead there.
    """

    states: int
    problem: str | None
    trace: list[str]


def explore(rules: Rules) -> Found:
    """Look at every state, those first that take the fewest steps; stop at the first that is broken."""
    start = State((Actor(),) * len(rules.connections), outages_left=rules.outages)
    came: dict[State, tuple[State, str] | None] = {start: None}
    waiting = deque([start])
    while waiting:
        state = waiting.popleft()
        if problem := broken(state, rules):
            return Found(len(came), problem, _trace(came, state))
        for name, following in steps(state, rules):
            if following not in came:
                came[following] = (state, name)
                waiting.append(following)
    return Found(len(came), None, [])


def _trace(came: dict[State, tuple[State, str] | None], state: State) -> list[str]:
    names = []
    while (before := came[state]) is not None:
        state, name = before
        names.append(name)
    return names[::-1]
