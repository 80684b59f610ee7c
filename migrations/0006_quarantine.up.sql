-- Sessions that no actor can take over are set aside instead of being tried for ever.

-- Take-overs that were begun since the last one that lasted: one that ends its process counts, too.
ALTER TABLE sessions ADD COLUMN take_overs integer NOT NULL DEFAULT 0;
-- When the session was set aside, and why. ended_at is set with it, so that programs of the version
-- before let it rest as well.
ALTER TABLE sessions ADD COLUMN quarantined_at timestamptz;
ALTER TABLE sessions ADD COLUMN quarantine_reason text;
