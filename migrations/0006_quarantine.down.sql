ALTER TABLE sessions DROP COLUMN take_overs, DROP COLUMN quarantined_at, DROP COLUMN quarantine_reason;
