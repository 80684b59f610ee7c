ALTER TABLE participants DROP COLUMN device;
