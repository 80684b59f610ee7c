-- Every statement of the services. Each has a name and a sentence; actors/sql.py loads them.

-- ===== who may act for a session =====

-- name: take_over
-- The live session of an actor's name, with its epoch raised: all earlier actors are fenced now.
-- $2 is what the try adds to those that were begun and have not lasted.
UPDATE sessions SET epoch = epoch + 1, take_overs = take_overs + $2
WHERE actor_name = $1 AND ended_at IS NULL
RETURNING session_id, epoch, settings, quiz_id, quiz_version, partition, actor_node, actor_pid,
          take_overs;

-- name: take_over_lasted
UPDATE sessions SET take_overs = 0 WHERE session_id = $1 AND epoch = $2 RETURNING session_id;

-- name: quarantine
-- Set a session aside that cannot be taken over. It counts as ended: its PIN and its place are free.
-- No row when there is a later actor.
UPDATE sessions SET ended_at = now(), quarantined_at = now(), quarantine_reason = $3
WHERE session_id = $1 AND epoch = $2 AND ended_at IS NULL
RETURNING session_id;

-- name: quarantined
-- The sessions of a primary ($1) that are set aside, oldest first.
SELECT s.session_id, s.pin, q.title, s.quarantined_at, s.quarantine_reason, s.take_overs
FROM sessions AS s JOIN quizzes AS q USING (quiz_id)
WHERE s.quarantined_at IS NOT NULL AND s.shard = $1
ORDER BY s.quarantined_at, s.session_id;

-- name: reopen_entry
-- The catalogue's entry of another primary's session that is live again.
UPDATE sessions SET ended_at = NULL WHERE session_id = $1 RETURNING session_id;

-- name: retry_quarantined
-- A session that was set aside is live again; the first who asks for it has it given an actor.
UPDATE sessions SET ended_at = NULL, quarantined_at = NULL, quarantine_reason = NULL,
    take_overs = 0, actor_name = NULL
WHERE session_id = $1 AND quarantined_at IS NOT NULL
RETURNING session_id;

-- name: quiz_body
-- One version of a quiz as sessions pin it, also when it is out of the library by now.
SELECT body FROM quiz_versions WHERE quiz_id = $1 AND version = $2;

-- name: session_quiz
-- The quiz as a session pins it, for its host.
SELECT v.body FROM sessions AS s
JOIN quiz_versions AS v ON v.quiz_id = s.quiz_id AND v.version = s.quiz_version
WHERE s.session_id = $1;

-- name: assign_actor
-- Compare-and-set: give the session an actor if it still has the one that was lost (or none).
UPDATE sessions SET actor_name = $2
WHERE session_id = $1 AND actor_name IS NOT DISTINCT FROM $3 AND ended_at IS NULL
RETURNING session_id;

-- name: end_abandoned
-- Free the PINs of sessions whose actor is gone ($1: the ones that are not): when the time to look
-- at a finished one is over ($2 ms), or when nothing was stored of an unfinished one for $3 ms. Not of
-- those that another primary than this one ($4) has.
UPDATE sessions AS s SET ended_at = now(), finished_at = coalesce(finished_at, now()),
    cancelled = cancelled OR finished_at IS NULL
WHERE s.ended_at IS NULL AND s.shard = $4
  AND (s.actor_name IS NULL OR s.actor_name <> ALL ($1::text[]))
  AND CASE WHEN s.finished_at IS NOT NULL
      THEN s.finished_at < now() - $2::int * interval '1 ms'
      ELSE s.created_at < now() - $3::int * interval '1 ms'
        AND NOT EXISTS (
            SELECT FROM answers AS a WHERE a.session_id = s.session_id
              AND a.at_ms > extract(epoch FROM now()) * 1000 - $3)
        AND NOT EXISTS (
            SELECT FROM participants AS p WHERE p.session_id = s.session_id
              AND p.at_ms > extract(epoch FROM now()) * 1000 - $3)
        AND NOT EXISTS (
            SELECT FROM session_events AS e WHERE e.session_id = s.session_id
              AND (e.event::jsonb ->> 'at_ms')::bigint > extract(epoch FROM now()) * 1000 - $3)
      END
RETURNING s.session_id;

-- name: note_finished
-- The quiz is over; its actor stays for those who still look. No row when there is a later actor.
UPDATE sessions AS s SET finished_at = coalesce(finished_at, now()),
    cancelled = EXISTS (
        SELECT FROM session_events AS e
        WHERE e.session_id = s.session_id AND e.event::jsonb ->> 'type' = 'cancelled'
    )
WHERE actor_name = $1 AND epoch = $2
RETURNING session_id;

-- name: note_ended
-- The actor leaves; the PIN is free again. No row when there is a later actor.
UPDATE sessions SET ended_at = coalesce(ended_at, now()), finished_at = coalesce(finished_at, now())
WHERE actor_name = $1 AND epoch = $2
RETURNING session_id;

-- name: withdraw_session
-- A new session that could be given no actor; nobody knows of it yet.
DELETE FROM sessions WHERE session_id = $1 AND actor_name IS NULL RETURNING session_id;

-- ===== the log; every append is fenced in the same statement (docs/adr/0003-fencing.md) =====

-- name: append_answers
WITH fence AS MATERIALIZED (
    SELECT epoch FROM sessions WHERE session_id = $1 AND epoch = $2 FOR SHARE
), stored AS (
    INSERT INTO answers (session_id, epoch, opening_no, participant_id, question_index,
                         choice_mask, text, elapsed_ms, correct, points, seq, at_ms)
    SELECT $1, fence.epoch, a.*
    FROM fence, unnest($3::int[], $4::int[], $5::int[], $6::smallint[], $7::text[], $8::int[],
                       $9::boolean[], $10::int[], $11::bigint[], $12::bigint[]) AS a
    ON CONFLICT DO NOTHING
)
SELECT EXISTS (SELECT FROM fence) AS fence;

-- name: append_joins
WITH fence AS MATERIALIZED (
    SELECT epoch FROM sessions WHERE session_id = $1 AND epoch = $2 FOR SHARE
), stored AS (
    INSERT INTO participants (session_id, epoch, participant_id, join_key, nickname, seq, at_ms,
                              device)
    SELECT $1, fence.epoch, p.*
    FROM fence, unnest($3::int[], $4::text[], $5::text[], $6::bigint[], $7::bigint[],
                       $8::text[]) AS p
    ON CONFLICT DO NOTHING
)
SELECT EXISTS (SELECT FROM fence) AS fence;

-- name: append_events
WITH fence AS MATERIALIZED (
    SELECT epoch FROM sessions WHERE session_id = $1 AND epoch = $2 FOR SHARE
), stored AS (
    INSERT INTO session_events (session_id, epoch, seq, event)
    SELECT $1, fence.epoch, e.*
    FROM fence, unnest($3::bigint[], $4::text[]) AS e
    ON CONFLICT DO NOTHING
)
SELECT EXISTS (SELECT FROM fence) AS fence;

-- name: stored_events
-- A page of at most $2 rows behind a key, as the next one.
SELECT seq, event FROM session_events
WHERE session_id = $1 AND seq > $3 ORDER BY seq LIMIT $2;

-- name: stored_joins
SELECT participant_id, join_key, nickname, seq, at_ms, device FROM participants
WHERE session_id = $1 AND participant_id > $3 ORDER BY participant_id LIMIT $2;

-- name: answers_by_opening
SELECT opening_no, count(*)::int AS answers, max(participant_id) AS last_participant
FROM answers WHERE session_id = $1
GROUP BY opening_no ORDER BY opening_no;

-- name: stored_answers
-- A page that was counted before (actors/answer_pages.py).
SELECT opening_no, participant_id, question_index, choice_mask, text, elapsed_ms, correct, points,
       seq, at_ms
FROM answers
WHERE session_id = $1 AND opening_no BETWEEN $2 AND $3 AND participant_id BETWEEN $4 AND $5
ORDER BY opening_no, participant_id;

-- ===== sessions =====

-- name: create_session
-- A session of a quiz's newest version; no row when the PIN is taken or the quiz is not there.
INSERT INTO sessions (session_id, quiz_id, quiz_version, pin, settings, partition, shard)
SELECT $1, q.quiz_id, q.version, $3, $4, $5, $6
FROM quizzes AS q WHERE q.quiz_id = $2 AND q.deleted_at IS NULL
ON CONFLICT (pin) WHERE ended_at IS NULL DO NOTHING
RETURNING session_id;

-- name: session_by_pin
SELECT s.session_id, s.pin, q.title, s.settings::jsonb ->> 'mode' AS mode, s.actor_name,
       s.finished_at, s.ended_at, s.quarantined_at
FROM sessions AS s JOIN quizzes AS q USING (quiz_id)
WHERE s.pin = $1 AND s.ended_at IS NULL;

-- name: live_pins
-- The PINs of all live sessions; sessions_live_pin has them.
SELECT pin FROM sessions WHERE ended_at IS NULL;

-- name: session_by_id
SELECT s.session_id, s.pin, q.title, s.settings::jsonb ->> 'mode' AS mode, s.actor_name,
       s.finished_at, s.ended_at, s.quarantined_at
FROM sessions AS s JOIN quizzes AS q USING (quiz_id)
WHERE s.session_id = $1;

-- name: revoke_tokens
-- Tokens of a session's roles ($2) that were given before a moment are not believed any more.
INSERT INTO token_revocations (session_id, role, before_ms)
SELECT $1, role, $3 FROM unnest($2::text[]) AS role
ON CONFLICT (session_id, role) DO UPDATE
SET before_ms = greatest(token_revocations.before_ms, excluded.before_ms);

-- name: revoked_tokens
-- All revocations since a moment: older ones concern no token that lives.
SELECT session_id, role, before_ms FROM token_revocations WHERE before_ms > $1;

-- name: live_sessions
-- How many live, by the primary that has them.
SELECT shard, count(*) AS live FROM sessions WHERE ended_at IS NULL GROUP BY shard;

-- ===== several primaries (docs/adr/0016-sharding.md) =====

-- name: create_session_on_shard
-- A session beside the catalogue, with a copy of the quiz version that it pins; no row when another
-- live one here has the PIN.
WITH quiz AS (
    INSERT INTO quizzes (quiz_id, title, question_count, version) VALUES ($2, $8, $9, $7)
    ON CONFLICT (quiz_id) DO UPDATE SET title = excluded.title, version = excluded.version,
        question_count = excluded.question_count
    WHERE quizzes.version < excluded.version
), body AS (
    INSERT INTO quiz_versions (quiz_id, version, body) VALUES ($2, $7, $10)
    ON CONFLICT DO NOTHING
)
INSERT INTO sessions (session_id, quiz_id, quiz_version, pin, settings, partition, shard)
VALUES ($1, $2, $7, $3, $4, $5, $6)
ON CONFLICT (pin) WHERE ended_at IS NULL DO NOTHING
RETURNING session_id;

-- name: entries
-- The catalogue's entries of another primary's sessions, as far as it has not been told their end.
SELECT session_id FROM sessions WHERE ended_at IS NULL AND shard = $1;

-- name: ends_of
SELECT session_id, finished_at, ended_at, cancelled FROM sessions
WHERE session_id = ANY($1::uuid[]);

-- name: tell_ends
UPDATE sessions AS s SET finished_at = e.finished_at, ended_at = e.ended_at, cancelled = e.cancelled
FROM unnest($1::uuid[], $2::timestamptz[], $3::timestamptz[], $4::boolean[])
    AS e (session_id, finished_at, ended_at, cancelled)
WHERE s.session_id = e.session_id AND s.ended_at IS NULL;

-- ===== the library of quizzes =====

-- name: create_quiz
WITH quiz AS (
    INSERT INTO quizzes (quiz_id, title, question_count, version) VALUES ($1, $2, $3, 1)
    RETURNING quiz_id, title, question_count, version, created_at
), body AS (
    INSERT INTO quiz_versions (quiz_id, version, body) VALUES ($1, 1, $4)
)
SELECT * FROM quiz;

-- name: update_quiz
-- A new immutable version; running sessions keep theirs.
WITH quiz AS (
    UPDATE quizzes SET title = $2, question_count = $3, version = version + 1, updated_at = now()
    WHERE quiz_id = $1 AND deleted_at IS NULL
    RETURNING quiz_id, title, question_count, version, created_at
), body AS (
    INSERT INTO quiz_versions (quiz_id, version, body) SELECT quiz_id, version, $4 FROM quiz
)
SELECT * FROM quiz;

-- name: get_quiz
SELECT q.quiz_id, q.title, q.question_count, q.version, q.created_at, v.body
FROM quizzes AS q JOIN quiz_versions AS v USING (quiz_id, version)
WHERE q.quiz_id = $1 AND q.deleted_at IS NULL;

-- name: get_quiz_version
-- One earlier state of a quiz, with the listing's row of its newest.
SELECT q.quiz_id, q.title, q.question_count, v.version, q.created_at, v.body
FROM quizzes AS q JOIN quiz_versions AS v USING (quiz_id)
WHERE q.quiz_id = $1 AND v.version = $2 AND q.deleted_at IS NULL;

-- name: list_quizzes
-- A page of the library, newest first, behind the row that the cursor names (null: the first page).
SELECT quiz_id, title, question_count, version, created_at
FROM quizzes
WHERE deleted_at IS NULL
  AND ($2::timestamptz IS NULL OR (created_at, quiz_id) < ($2, $3::uuid))
ORDER BY created_at DESC, quiz_id DESC
LIMIT $1;

-- name: delete_quiz
-- Sessions keep their version, so the row stays.
UPDATE quizzes SET deleted_at = now() WHERE quiz_id = $1 AND deleted_at IS NULL RETURNING quiz_id;

-- ===== results, from the tables alone =====

-- name: result_session
SELECT s.session_id, s.pin, s.settings, s.created_at, s.finished_at, s.cancelled, v.body
FROM sessions AS s
JOIN quiz_versions AS v ON v.quiz_id = s.quiz_id AND v.version = s.quiz_version
WHERE s.session_id = $1;

-- name: result_scoreboard
-- Standard competition ranking; the removed are left out; equal points in the order of joining.
-- Answers that took less than $4 ms are counted apart; with $5 they earn nothing and do not count.
WITH removed AS (
    SELECT (event::jsonb ->> 'participant_id')::int AS participant_id
    FROM session_events
    WHERE session_id = $1 AND event::jsonb ->> 'type' = 'removed'
), totals AS (
    SELECT p.participant_id, p.nickname,
           coalesce(sum(a.points) FILTER (WHERE NOT $5::boolean OR a.elapsed_ms >= $4::int), 0)::int AS points,
           count(*) FILTER (WHERE NOT $5 AND a.points IS NOT NULL OR a.elapsed_ms >= $4)::int
               AS answered,
           count(*) FILTER (WHERE a.correct AND (NOT $5 OR a.elapsed_ms >= $4))::int AS correct,
           count(*) FILTER (WHERE a.elapsed_ms < $4)::int AS too_fast
    FROM participants AS p
    LEFT JOIN answers AS a USING (session_id, participant_id)
    WHERE p.session_id = $1 AND p.participant_id NOT IN (SELECT participant_id FROM removed)
    GROUP BY p.participant_id, p.nickname
)
SELECT participant_id, nickname, points, rank() OVER (ORDER BY points DESC)::int AS rank,
       answered, correct, too_fast
FROM totals
ORDER BY points DESC, participant_id
OFFSET $2 LIMIT $3;

-- name: result_too_fast
-- Who has answered within less than $2 ms, most often first; the removed are left out.
SELECT p.participant_id, p.nickname, count(*)::int AS answers
FROM answers AS a JOIN participants AS p USING (session_id, participant_id)
WHERE a.session_id = $1 AND a.elapsed_ms < $2 AND a.participant_id NOT IN (
    SELECT (event::jsonb ->> 'participant_id')::int
    FROM session_events
    WHERE session_id = $1 AND event::jsonb ->> 'type' = 'removed'
)
GROUP BY p.participant_id, p.nickname
ORDER BY answers DESC, p.participant_id
LIMIT $3;

-- name: result_participants
-- Everybody who ever joined, in the order of joining; the removed too, because their answers stay.
WITH removed AS (
    SELECT (event::jsonb ->> 'participant_id')::int AS participant_id
    FROM session_events
    WHERE session_id = $1 AND event::jsonb ->> 'type' = 'removed'
)
SELECT participant_id, nickname, participant_id IN (SELECT participant_id FROM removed) AS removed
FROM participants WHERE session_id = $1
ORDER BY participant_id;

-- name: result_openings
-- How each opening was answered by those who are still in; ``picks`` has, for each choice that there
-- may be, how many picked it. Answers that took less than $2 ms are counted, too; with $3 they are out.
WITH removed AS (
    SELECT (event::jsonb ->> 'participant_id')::int AS participant_id
    FROM session_events
    WHERE session_id = $1 AND event::jsonb ->> 'type' = 'removed'
)
SELECT opening_no, min(question_index) AS question_index, count(*)::int AS answered,
       count(*) FILTER (WHERE correct)::int AS correct,
       ARRAY[
           count(*) FILTER (WHERE choice_mask & 1 <> 0), count(*) FILTER (WHERE choice_mask & 2 <> 0),
           count(*) FILTER (WHERE choice_mask & 4 <> 0), count(*) FILTER (WHERE choice_mask & 8 <> 0),
           count(*) FILTER (WHERE choice_mask & 16 <> 0), count(*) FILTER (WHERE choice_mask & 32 <> 0),
           count(*) FILTER (WHERE choice_mask & 64 <> 0), count(*) FILTER (WHERE choice_mask & 128 <> 0)
       ] AS picks,
       count(*) FILTER (WHERE elapsed_ms < $2::int)::int AS too_fast
FROM answers
WHERE session_id = $1 AND (NOT $3::boolean OR elapsed_ms >= $2)
  AND participant_id NOT IN (SELECT participant_id FROM removed)
GROUP BY opening_no
ORDER BY opening_no;

-- name: answers_of_people
-- All answers of some people ($3) to some openings ($2), by as many looks into the primary key: the
-- server cannot take the session for a small one and read all of it.
SELECT a.*
FROM unnest($3::int[]) AS person (id) CROSS JOIN unnest($2::int[]) AS opening (number)
CROSS JOIN LATERAL (
    SELECT opening_no, participant_id, question_index, choice_mask, text, elapsed_ms, correct, points
    FROM answers
    WHERE session_id = $1 AND opening_no = opening.number AND participant_id = person.id
    OFFSET 0
) AS a;

-- name: list_sessions
-- Sessions, newest first, behind the row that the cursor names.
SELECT s.session_id, s.quiz_id, s.pin, q.title, s.created_at, s.finished_at, s.ended_at
FROM sessions AS s JOIN quizzes AS q USING (quiz_id)
WHERE $2::timestamptz IS NULL OR (s.created_at, s.session_id) < ($2, $3::uuid)
ORDER BY s.created_at DESC, s.session_id DESC
LIMIT $1;

-- name: is_finished
-- Whether everything that was stored of a session can be read here.
SELECT finished_at IS NOT NULL AS finished FROM sessions WHERE session_id = $1;

-- ===== reads from replicas =====

-- name: primary_position
-- How far the primary has written its log, in bytes: what is committed by now stands before it.
SELECT (pg_current_wal_lsn() - '0/0')::bigint AS position, system_identifier
FROM pg_control_system();

-- name: replica_position
-- How far a replica has replayed that log; null on a server that follows none.
SELECT CASE WHEN pg_is_in_recovery() THEN (pg_last_wal_replay_lsn() - '0/0')::bigint END AS position,
       system_identifier
FROM pg_control_system();

-- ===== the cluster profile: behind the broker =====

-- name: session_epoch
-- Who may act for a session; read every second by the one who does.
SELECT epoch FROM sessions WHERE session_id = $1;

-- name: note_place
-- Where the actor of this epoch runs; no row when there is a later one already.
UPDATE sessions SET actor_node = $3, actor_pid = $4 WHERE session_id = $1 AND epoch = $2
RETURNING session_id;

-- name: stored_barrier
-- How far a session's queue is stored.
SELECT barrier_epoch, barrier_number FROM sessions WHERE session_id = $1;

-- name: barriers
SELECT session_id, barrier_epoch FROM sessions WHERE session_id = ANY($1::uuid[]);

-- name: store_barriers
UPDATE sessions AS s SET barrier_epoch = b.epoch, barrier_number = b.number
FROM unnest($1::uuid[], $2::bigint[], $3::bigint[]) AS b (session_id, epoch, number)
WHERE s.session_id = b.session_id
  AND (s.barrier_epoch, s.barrier_number) < (b.epoch, b.number);

-- name: store_answers
-- Rows of many sessions; the first under a key stands, so that a message may come twice.
INSERT INTO answers (session_id, epoch, opening_no, participant_id, question_index, choice_mask,
                     text, elapsed_ms, correct, points, seq, at_ms)
SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::int[], $4::int[], $5::int[], $6::smallint[],
                     $7::text[], $8::int[], $9::boolean[], $10::int[], $11::bigint[], $12::bigint[])
ON CONFLICT DO NOTHING;

-- name: store_joins
INSERT INTO participants (session_id, epoch, participant_id, join_key, nickname, seq, at_ms,
                          device)
SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::int[], $4::text[], $5::text[], $6::bigint[],
                     $7::bigint[], $8::text[])
ON CONFLICT DO NOTHING;

-- name: store_events
INSERT INTO session_events (session_id, epoch, seq, event)
SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::text[])
ON CONFLICT DO NOTHING;

-- name: store_superseded
INSERT INTO superseded (session_id, epoch, body)
SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::bytea[]);

-- name: note_try
-- A writer is about to store a message alone; how many others were and have not stored it.
WITH noted AS (
    INSERT INTO store_tries (digest, writer_id) VALUES ($1, $2) ON CONFLICT DO NOTHING
)
SELECT count(*) AS others FROM store_tries WHERE digest = $1 AND writer_id <> $2;

-- name: forget_tries
DELETE FROM store_tries WHERE digest = $1 OR noted_at < now() - interval '7 days';
