ALTER TABLE sessions DROP COLUMN shard;
