-- Which primary has a session's log, chosen once. The first primary, the catalogue, has an entry for
-- every session; those of other primaries' sessions find them and hold their PINs, nothing more.
ALTER TABLE sessions ADD COLUMN shard smallint NOT NULL DEFAULT 0;
