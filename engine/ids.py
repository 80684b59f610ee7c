"""Names for the numbers and strings that identify things, so that a type checker tells them apart."""

from typing import NewType

#: A quiz in the library; canonical UUID text.
QuizId = NewType("QuizId", str)
#: One live playing of a quiz; canonical UUID text.
SessionId = NewType("SessionId", str)
#: What people type to find a session, as ``engine.pins`` reads it; unique among live sessions.
Pin = NewType("Pin", str)
#: A participant within one session: 1, 2, 3 … in the order in which they joined.
ParticipantId = NewType("ParticipantId", int)
#: Position of a question in its quiz, from 0.
QuestionIndex = NewType("QuestionIndex", int)
#: One time that a question is open, from 1; a question opened again is another opening.
OpeningNo = NewType("OpeningNo", int)
#: Position of an event in its session's log, from 1; strictly rising, gaps are legal after a crash.
SessionSeq = NewType("SessionSeq", int)
#: Raised every time a SessionActor takes a session over; the highest one is the only live one.
Epoch = NewType("Epoch", int)
#: Counts the changes of a session's public view within one epoch, from 1.
FrameVersion = NewType("FrameVersion", int)
