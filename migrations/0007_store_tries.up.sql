-- Messages that a writer was about to store alone, and has neither stored nor given up: whatever ended it
-- in between may be the message's doing. A handful of rows, and only after crashes.
CREATE TABLE store_tries (
    digest    bytea NOT NULL,
    writer_id uuid NOT NULL,
    noted_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (digest, writer_id)
);
