-- The library, the live sessions, and the log of what happened in them.
-- session_id leads every key of the log, so that the log can be sharded by it.

-- A quiz in the library; its contents stand in quiz_versions.
CREATE TABLE quizzes (
    quiz_id        uuid PRIMARY KEY,
    title          text NOT NULL,
    question_count integer NOT NULL,
    version        integer NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    updated_at     timestamptz NOT NULL DEFAULT now(),
    deleted_at     timestamptz
);

-- Serves: list the library, newest first.
CREATE INDEX quizzes_listing ON quizzes (created_at DESC, quiz_id) WHERE deleted_at IS NULL;

-- One immutable state of a quiz. A session pins one, whatever happens to the quiz later.
CREATE TABLE quiz_versions (
    quiz_id    uuid NOT NULL REFERENCES quizzes,
    version    integer NOT NULL,
    body       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (quiz_id, version)
);

-- One live playing of a quiz. epoch judges which SessionActor may write (see docs/adr).
CREATE TABLE sessions (
    session_id   uuid PRIMARY KEY,
    quiz_id      uuid NOT NULL,
    quiz_version integer NOT NULL,
    pin          text NOT NULL,
    settings     text NOT NULL,
    epoch        bigint NOT NULL DEFAULT 0,
    -- Ray's name of the actor that this session is assigned to, set once by compare-and-set.
    actor_name   text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    -- When the quiz was finished or cancelled; the actor lingers a while for those who still look.
    finished_at  timestamptz,
    cancelled    boolean NOT NULL DEFAULT false,
    -- When the actor left; from then on the PIN is free again.
    ended_at     timestamptz,
    FOREIGN KEY (quiz_id, quiz_version) REFERENCES quiz_versions
);

-- Serves: find the live session of a PIN; keeps a PIN unique among live sessions.
CREATE UNIQUE INDEX sessions_live_pin ON sessions (pin) WHERE ended_at IS NULL;
-- Serves: a restarted actor looks up which session it is.
CREATE UNIQUE INDEX sessions_actor ON sessions (actor_name) WHERE actor_name IS NOT NULL;
-- Serves: list the sessions, newest first.
CREATE INDEX sessions_listing ON sessions (created_at DESC, session_id);

CREATE TABLE participants (
    session_id     uuid NOT NULL,
    participant_id integer NOT NULL,
    join_key       text NOT NULL,
    nickname       text NOT NULL,
    seq            bigint NOT NULL,
    epoch          bigint NOT NULL,
    at_ms          bigint NOT NULL,
    PRIMARY KEY (session_id, participant_id),
    UNIQUE (session_id, join_key)
);

-- One accepted answer. opening_no, not the question, is in the key: a re-opened question is asked anew.
CREATE TABLE answers (
    session_id     uuid NOT NULL,
    opening_no     integer NOT NULL,
    participant_id integer NOT NULL,
    question_index integer NOT NULL,
    choice_mask    smallint NOT NULL,
    text           text NOT NULL,
    elapsed_ms     integer NOT NULL,
    correct        boolean NOT NULL,
    points         integer NOT NULL,
    seq            bigint NOT NULL,
    epoch          bigint NOT NULL,
    at_ms          bigint NOT NULL,
    PRIMARY KEY (session_id, opening_no, participant_id)
);

-- Phase changes and the host's commands, as JSON behind their tag (engine/events.py).
CREATE TABLE session_events (
    session_id uuid NOT NULL,
    seq        bigint NOT NULL,
    epoch      bigint NOT NULL,
    event      text NOT NULL,
    PRIMARY KEY (session_id, seq)
);
