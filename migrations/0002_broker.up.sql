-- What the broker in front of the writers needs: a session's partition, and how far it is stored.

-- The partition is chosen once, by a stable hash, and never changes while the session lives.
ALTER TABLE sessions ADD COLUMN partition smallint NOT NULL DEFAULT 0;
-- The highest barrier that a writer has stored: batches of an earlier epoch count for nothing.
ALTER TABLE sessions ADD COLUMN barrier_epoch bigint NOT NULL DEFAULT 0;
ALTER TABLE sessions ADD COLUMN barrier_number bigint NOT NULL DEFAULT 0;
-- Where the actor of the present epoch runs, so that its successor can tell whether it is dead.
ALTER TABLE sessions ADD COLUMN actor_node text;
ALTER TABLE sessions ADD COLUMN actor_pid integer;

-- Batches of actors that had been replaced: never acknowledged, never scored, kept for a look.
CREATE TABLE superseded (
    session_id uuid NOT NULL,
    epoch      bigint NOT NULL,
    body       bytea NOT NULL,
    stored_at  timestamptz NOT NULL DEFAULT now()
);
