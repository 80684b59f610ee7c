-- Tokens of a session's role that were given before a moment are not believed any more. On the
-- catalogue, whichever primary has the session. One row for each role; replicas read them all every two
-- seconds, as long as a token lives.
CREATE TABLE token_revocations (
    session_id uuid NOT NULL,
    role       text NOT NULL,
    -- Milliseconds since 1970, on the clock of the replica that revoked.
    before_ms  bigint NOT NULL,
    PRIMARY KEY (session_id, role)
);

-- Serves: what was revoked while tokens that it concerns may live.
CREATE INDEX token_revocations_newest ON token_revocations (before_ms);
