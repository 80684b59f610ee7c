DROP TABLE superseded;
ALTER TABLE sessions DROP COLUMN actor_pid;
ALTER TABLE sessions DROP COLUMN actor_node;
ALTER TABLE sessions DROP COLUMN barrier_number;
ALTER TABLE sessions DROP COLUMN barrier_epoch;
ALTER TABLE sessions DROP COLUMN partition;
