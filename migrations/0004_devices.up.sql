-- From which device somebody joined: a fingerprint of the browser's own id within the session, empty
-- where there is none. Whom the host removes does not come back from the same device.
ALTER TABLE participants ADD COLUMN device text NOT NULL DEFAULT '';
