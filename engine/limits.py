"""Every bound of the system: value, unit, reason. Relations between them are asserted at import.

A name ends in its unit and then in ``_MAX`` or ``_MIN`` where it is a bound; a name without either
is a fixed duration or size.
"""

from typing import Final

# --- a quiz -----------------------------------------------------------------------------------

#: Questions in one quiz. Kahoot imports 100; self-paced practice sets are larger.
QUIZ_QUESTIONS_MAX: Final = 2_000
#: Characters in a quiz's title.
TITLE_CHARS_MAX: Final = 200
#: Cells in a row of a spreadsheet. Source: Microsoft, "Excel specifications and limits".
SHEET_COLUMNS_MAX: Final = 16_384
#: Characters in a quiz's description or attribution.
DESCRIPTION_CHARS_MAX: Final = 2_000
#: Characters in a question. Kahoot warns above 120; OpenTriviaQA's longest is about 600.
QUESTION_CHARS_MAX: Final = 1_000
#: Choices of one question; more than Kahoot's 4 to 6 is often asked for. A choice is a bit in a mask.
CHOICES_MAX: Final = 8
#: A question with fewer choices is not a question.
CHOICES_MIN: Final = 2
#: Characters in one choice. Kahoot warns above 75.
CHOICE_CHARS_MAX: Final = 300
#: Accepted spellings of a typed answer.
ACCEPTED_MAX: Final = 20
#: Characters in the explanation shown after the close.
EXPLANATION_CHARS_MAX: Final = 1_000
#: Shortest and longest time to answer. Kahoot's choices lie between 5 s and 240 s.
TIME_LIMIT_MS_MIN: Final = 1_000
TIME_LIMIT_MS_MAX: Final = 600_000
#: Body of one quiz in JSON, bytes.
QUIZ_BYTES_MAX: Final = 4 * 1024 * 1024
#: Items of a file that an import looks at, and so the lines of its report: ten times what fits a
#: quiz. OpenTriviaQA's largest file has 2,486.
IMPORT_ITEMS_MAX: Final = 20_000
#: Lines of a file, blank ones not counted, that an import looks at: 4 MiB of OpenTriviaQA have half as
#: many. At 1 to 2 us each they bound the import's CPU time to half a second.
IMPORT_LINES_MAX: Final = 250_000
#: Quizzes that one page of a listing holds.
LISTING_ROWS_MAX: Final = 100

# --- a session --------------------------------------------------------------------------------

#: Digits of a PIN: a million of them, far above the live sessions of one deployment.
PIN_DIGITS: Final = 6
#: Digits of a PIN where somebody might guess: a hundred million of them.
PIN_LONG_DIGITS: Final = 8
#: Letters of a PIN, of twenty that are used: 64 million of them.
PIN_LETTERS: Final = 6
#: Characters that are looked at where a PIN is expected; people put spaces and hyphens between.
PIN_TYPED_CHARS_MAX: Final = 32
#: Participants of one session. Kahoot's largest plan allows 2,000 in a live game.
PARTICIPANTS_MAX: Final = 5_000
#: Participants that a session ever has, the removed included: a lobby that bots have filled is
#: emptied and fills with people, but its memory does not grow for ever.
PARTICIPANT_ID_MAX: Final = 20_000
#: Participants that one message removes; "all that match" takes several messages.
REMOVED_AT_ONCE_MAX: Final = 500
#: The session locks itself when, of those who joined within the window, more than so many and more
#: than half never connected although they had this long. A page connects as soon as it has joined,
#: so a hall that scans the code together is no flood however large it is; a program that only joins
#: is one.
FLOOD_WINDOW_MS: Final = 60_000
FLOOD_GRACE_MS: Final = 8_000
FLOOD_UNSEEN_MAX: Final = 50
#: Answers of one session: 5,000 people and 200 questions, or 500 and 2,000. Nobody is let in who could
#: give more; docs/adr/0026-answers-of-one-session.md has what was measured at this number.
ANSWERS_MAX: Final = 1_000_000
#: Characters in a nickname, as people count them (grapheme clusters); fits a phone's line and a podium.
NICKNAME_CHARS_MAX: Final = 24
#: Digits of a personal code behind the participant's number.
RETURN_CODE_DIGITS: Final = 6
#: How often one participant may come back on another device; each time is an event that stays.
RETURNS_MAX: Final = 20
#: Personal codes that are looked at, of one session, and of one session from one address. A guesser who
#: uses all of a session's finds the place of one participant after a week.
RETURN_TRIES_PER_MIN_MAX: Final = 60
RETURN_TRIES_BURST_MAX: Final = 120
RETURN_TRIES_ADDRESS_PER_MIN_MAX: Final = 10
RETURN_TRIES_ADDRESS_BURST_MAX: Final = 30
#: Bytes of a nickname in UTF-8: five families of four, or 24 syllables of Devanagari.
NICKNAME_BYTES_MAX: Final = 256
#: Marks on one letter of a nickname; Hebrew has four, Tibetan five. More grow into the lines beside it.
NICKNAME_MARKS_MAX: Final = 6
#: Characters in a join key or a command id (a UUID is 36).
KEY_CHARS_MAX: Final = 64
KEY_CHARS_MIN: Final = 8
#: Characters of a typed answer.
TYPED_CHARS_MAX: Final = 200
#: Time the question stands alone before its answers open; 0 leaves it out.
PREVIEW_MS_MAX: Final = 30_000
PREVIEW_MS_DEFAULT: Final = 4_000
#: Characters that are read within ``PREVIEW_MS_DEFAULT``, and what each further one takes: 250 words a
#: minute, of 5 letters and a space. A longer question stands alone for so much longer, up to the bound.
PREVIEW_CHARS: Final = 80
READING_MS_PER_CHAR: Final = 40
#: One extension of an open question by the host.
EXTEND_MS_MIN: Final = 1_000
EXTEND_MS_MAX: Final = 300_000
#: How far ahead the end of self-paced play may be set; a session that nobody touches ends by itself later.
DEADLINE_MS_MIN: Final = 1_000
DEADLINE_MS_MAX: Final = 5 * 3_600_000
#: Host commands remembered for repeats.
COMMANDS_REMEMBERED_MAX: Final = 256
#: Live sessions of one primary: each holds one PostgreSQL connection of 400.
SESSIONS_LIVE_MAX: Final = 200

# --- time on the answer path --------------------------------------------------------------------

#: A question closes so long after its deadline, so that what was in a batcher then still counts.
CLOSE_GRACE_MS: Final = 400
#: The most that a replica's measurement of the elapsed time may lie below the actor's own
#: (delivery of the question and of the answer); more is taken for a fresh socket and earns nothing.
DELIVERY_SLACK_MS_MAX: Final = 2_000
#: A deadline that passed while the session was away moves to its return plus this.
RECOVERY_GRACE_MS: Final = 3_000
#: Under this time the speed policy pays in full. Source: Kahoot support, "How points work".
FULL_POINTS_MS: Final = 500
#: An answer that came sooner after its question's opening was given by nobody who had read it: people
#: take longer to press a button at a mere sign. It counts, and results mark it. Source: Woods et al.
#: 2015, "Factors influencing the latency of simple reaction time" (mean 213 ms without the delays of
#: the equipment).
HUMAN_MS_MIN: Final = 200
#: Events that a SessionActor may hold unconfirmed; above it answers get ``overloaded``.
OUTBOX_EVENTS_MAX: Final = 50_000
#: Rows of one append to the log.
APPEND_ROWS_MAX: Final = 2_000
#: How long a batch waits for its confirmation before its answers are told ``retry``.
CONFIRM_WAIT_MS: Final = 5_000
#: What a client told ``retry`` or ``overloaded`` should wait.
RETRY_AFTER_MS: Final = 1_000

#: Rows of a session that are read by one statement: some milliseconds, for the server and for the loop.
READ_PAGE_ROWS: Final = 2_000

# --- the broker between actors and tables ----------------------------------------------------------

#: Queues that sessions share; some tens at the most, or RabbitMQ's throughput falls.
PARTITIONS: Final = 8
#: Primaries, each with its own ``PARTITIONS`` queues. A session's id has a byte for its number.
SHARDS_MAX: Final = 4
#: Deliveries of one message before the broker gives it up. It counts a writer's crash against all that
#: the writer held, so this is never to be reached; without any limit RabbitMQ would put what comes back
#: behind what came later.
DELIVERIES_MAX: Final = 1_000_000
#: Messages that one writer holds unacknowledged of one partition.
WRITER_HOLDS_MAX: Final = 500
#: A message that so many writers took alone, and ended before it was stored, goes to the dead letters.
STORE_TRIES_MAX: Final = 5
#: How often a writer replays what the broker gave up, and how many dead letters it looks at then.
REPLAY_INTERVAL_MS: Final = 60_000
REPLAY_MESSAGES_MAX: Final = 500
#: Rows that a writer stores in one transaction.
WRITE_ROWS_MAX: Final = 5_000
#: How often an actor reads its epoch, and how long a reading is good for.
EPOCH_READ_INTERVAL_MS: Final = 1_000
LEASE_MS: Final = 3_000
#: How long an answer waits for a reading of the epoch before the broker's word must do.
EPOCH_ANSWER_MS: Final = 1_000
#: What a successor waits beyond the lease of one that may still live.
LEASE_MARGIN_MS: Final = 500

# --- batches, replica to actor -------------------------------------------------------------------

#: Items of one batch; at 60 bytes each a batch stays under Ray's 100 KiB for inlined arguments.
BATCH_ITEMS_MAX: Final = 1_000
#: Batches of one session that a replica has in flight at once.
BATCHES_IN_FLIGHT_MAX: Final = 2
#: Items that must wait before a second batch may be in flight (measured: below it, no gain).
BATCH_PIPELINE_ITEMS_MIN: Final = 64
#: Items that a replica holds for one session; above it answers get ``overloaded``.
BATCHER_ITEMS_MAX: Final = 20_000
#: Deadline of one call to an actor; a paused actor would let it hang for ever.
ACTOR_CALL_MS_MAX: Final = 8_000
#: How long a replica sends a batch again by itself before it tells the clients ``retry``.
BATCH_RETRY_MS_MAX: Final = 12_000

# --- websockets and HTTP -------------------------------------------------------------------------

#: One message from a client, bytes: a typed answer of 200 four-byte characters, or a token.
MESSAGE_BYTES_MAX: Final = 4_096
#: Body of a small HTTP request (answers, joins, commands), bytes.
BODY_BYTES_MAX: Final = 16 * 1024
#: Bodies of up to ``QUIZ_BYTES_MAX`` that a replica holds at once; further ones get ``overloaded``. They
#: are parsed one after the other, on a thread.
LARGE_BODIES_MAX: Final = 8
#: Results that a replica sends at once, in all and of one session: a host may fetch both forms. Each holds
#: the quiz, everybody's names and one page of answers. Further ones get ``overloaded``.
DOWNLOADS_MAX: Final = 8
DOWNLOADS_SESSION_MAX: Final = 2
#: How long one of them may take in all (a million answers are 130 MB: 2 Mbit/s bring them), and how long
#: its reader may take nothing.
DOWNLOAD_MS_MAX: Final = 600_000
DOWNLOAD_STALL_MS_MAX: Final = 20_000
#: Characters of an HTTP error's detail; what a client sent may stand in it.
ERROR_DETAIL_CHARS_MAX: Final = 1_000
#: One frame to viewers, bytes.
FRAME_BYTES_MAX: Final = 64 * 1024
#: A socket that has not said hello by then is closed. Pages say it as soon as the socket is open, which
#: takes one round trip: on the slowest of phones, with a lost packet, some three seconds.
HELLO_MS_MAX: Final = 5_000
#: Sockets of a replica that have not said hello, at all and from one address: a school behind one address
#: comes back in the same second, and every phone needs its place for one round trip.
NEWCOMERS_MAX: Final = 4_000
NEWCOMERS_PER_ADDRESS_MAX: Final = 1_000
#: Handshakes that a replica takes in one turn of its loop, some 0.5 ms each; a crowd that connects in
#: one instant holds up those who are connected by no more than that.
HANDSHAKES_PER_TURN_MAX: Final = 4
#: Handshakes that a replica takes within a second, and at once, whose hello has not come: each costs
#: some 2 ms. A hello gives its place back, so a thousand phones that need half a second for it are in
#: within two.
HANDSHAKES_UNPROVEN_PER_S_MAX: Final = 150
HANDSHAKES_UNPROVEN_BURST_MAX: Final = 300
#: Handshakes that wait for their turn, and what one of them takes, bytes.
HANDSHAKES_WAITING_MAX: Final = 7_000
HANDSHAKE_BYTES: Final = 12_000
#: A socket that has said nothing for so long counts as silent until it says hello.
HELLO_SOON_MS: Final = 1_000
#: An address of which more sockets were silent than said hello, by so many, is a stranger. One of them is
#: forgotten in a second, but for this no more are counted than the third number.
SILENT_ADDRESS_MAX: Final = 30
SILENT_FORGOTTEN_PER_S: Final = 1
SILENT_COUNTED_MAX: Final = 60
#: Handshakes of a stranger's address within a second, and at once; how many wait; further ones are
#: refused. And how many HAProxy hands on within a second once so many were refused within ten.
STRANGER_HANDSHAKES_PER_S_MAX: Final = 2
STRANGER_HANDSHAKES_BURST_MAX: Final = 4
STRANGER_WAITING_MAX: Final = 4
STRANGER_PASSED_PER_S_MAX: Final = 4
STRANGER_REFUSALS_10_S_MAX: Final = 20
#: How long HAProxy holds what it does not hand on before it refuses it.
STRANGER_HELD_MS: Final = 3_000
#: Messages that one socket may send within a second. A page sends a ping in five seconds, and whoever
#: plays at the own pace a question's ``ask`` and its answer: six a second for the fastest thumb.
MESSAGES_PER_S_MAX: Final = 20
#: The most that the setting of that rate may be: for load generators, which are many people in one.
MESSAGES_PER_S_LOAD_MAX: Final = 10_000
#: Seconds of that rate that may come at once: a page that comes back says again what is open.
MESSAGES_BURST_S: Final = 3
#: A socket that has sent more than that is not read from for so long: what its peer sends in the
#: meantime stays with the peer, and costs nothing here.
MESSAGES_REST_MS: Final = 500
#: Pings, pongs and fragments of one socket within a second, and at once. Browsers send a pong for each
#: of our pings and no fragments; libraries ping every some seconds.
SMALL_FRAMES_PER_S_MAX: Final = 10
SMALL_FRAMES_BURST_MAX: Final = 100
#: Malformed messages, and messages beyond the rate, of one socket before it is closed.
FAULTS_PER_SOCKET_MAX: Final = 50
#: Answers and moves of one socket that may wait for their reply.
SOCKET_PENDING_MAX: Final = 64
#: Questions of self-paced play that one socket has asked for and not answered, whose moment is
#: remembered; a page asks for one at a time.
SOCKET_ASKED_MAX: Final = 64
#: Joins of one session that are let through within a second, and at once: a whole hall that
#: scans the code together, but no flood.
JOINS_PER_S_MAX: Final = 200
JOINS_BURST_MAX: Final = 2_000
#: Joins that a replica takes from what all replicas share, at once, and how long it may keep them.
JOINS_CREDIT_MAX: Final = 64
JOINS_CREDIT_MS: Final = 500
#: Joins of one session that are let through from one address: a school of 1,000 people that scan the
#: code together, and latecomers; and joins of all sessions from one address.
JOINS_ADDRESS_SESSION_PER_S_MAX: Final = 2
JOINS_ADDRESS_SESSION_BURST_MAX: Final = 1_200
JOINS_ADDRESS_PER_S_MAX: Final = 30
JOINS_ADDRESS_BURST_MAX: Final = 3_000
#: Look-ups of PINs from one address: each of 3,000 people finds the session, then joins.
LOOKUPS_ADDRESS_PER_S_MAX: Final = 200
LOOKUPS_ADDRESS_BURST_MAX: Final = 6_000
#: QR codes drawn for one address; browsers keep them, and each takes a millisecond of the pages' loop.
QR_CODES_PER_S_MAX: Final = 5
QR_CODES_BURST_MAX: Final = 100
#: Reads of sessions by HTTP with one token from one address: views, scoreboards, presence, results. Pages
#: read them over a websocket, but for the host's; who polls does so once in a second or two.
READS_TOKEN_PER_S_MAX: Final = 5
READS_TOKEN_BURST_MAX: Final = 50
#: The same with whatever tokens from one address: a school that polls behind it.
READS_ADDRESS_PER_S_MAX: Final = 200
READS_ADDRESS_BURST_MAX: Final = 2_000
#: Look-ups from one address that find nothing: some typing errors for each class of a school. A guesser
#: of six-digit PINs among 200 live sessions finds one after 5,000 tries, which takes four hours.
PIN_MISSES_PER_MIN_MAX: Final = 20
PIN_MISSES_BURST_MAX: Final = 60
#: Of those, how many are answered at once; the others wait like what is refused.
PIN_MISSES_SWIFT: Final = 5
#: PINs of one address that a replica looks up at the same time.
PIN_LOOKUPS_WAITING_MAX: Final = 20
#: PINs of one address that were found, and may be looked up whatever else the address does.
PINS_FOUND_MAX: Final = 8
#: Addresses that a replica remembers for any of these, and tokens with their addresses for reads.
ADDRESSES_REMEMBERED_MAX: Final = 10_000
#: How long a refusal to an address is held back; longer by one second for each so many that wait for
#: the same address, and for each so many that wait on the replica. Beyond these bounds a refusal is told
#: at once.
HELD_MS: Final = 1_000
HELD_ADDRESS_STEP: Final = 50
HELD_STEP: Final = 100
HELD_ADDRESS_MAX: Final = 500
HELD_MAX: Final = 1_000
#: Open websockets of one replica; further ones are closed with ``replica_full``.
CONNECTIONS_PER_REPLICA_MAX: Final = 20_000
#: Connections from one address (an IPv6 one: its /64), to HAProxy and to one replica: a full session
#: behind one address, and more.
CONNECTIONS_PER_ADDRESS_MAX: Final = 6_000
#: New connections from one address to HAProxy within ten seconds: a thousand phones that open the page,
#: each with up to six connections, come at once.
CONNECTIONS_PER_ADDRESS_10_S_MAX: Final = 6_000
#: How long HAProxy waits for a request's line, headers and small body; for another request on the same
#: connection; for a client that has to send or to take something; and for a sign of life on a websocket,
#: which the replica pings.
REQUEST_MS_MAX: Final = 10_000
KEEP_ALIVE_MS: Final = 20_000
CLIENT_SILENCE_MS_MAX: Final = 30_000
TUNNEL_SILENCE_MS_MAX: Final = 300_000
#: How long a long body (an imported quiz) may take to come; half a megabit a second brings the longest.
LONG_BODY_MS_MAX: Final = 70_000
#: Bytes that may wait for one socket's peer before it counts as slow: frames, pongs and questions are
#: left out, and it gets the newest when all has left.
SOCKET_BUFFER_BYTES_MAX: Final = 128 * 1024
#: Bytes that may wait for one socket's peer at all: with what it is owed (receipts and other outcomes of
#: what it submitted). Past it the socket is closed with ``slow_consumer``.
SOCKET_WAITING_BYTES_MAX: Final = 320 * 1024
#: A socket for whose peer something has waited so long without a break is closed the same way. The
#: system and HAProxy hold some hundred kilobytes before anything waits here.
SLOW_MS_MAX: Final = 15_000
#: Bytes that may wait for all peers of a replica; past it the sockets that hold most are closed.
REPLICA_WAITING_BYTES_MAX: Final = 192 * 1024 * 1024
#: One outcome of what a client submitted, bytes: a receipt of a typed answer, each character escaped.
OUTCOME_BYTES_MAX: Final = TYPED_CHARS_MAX * 6 + 300
#: What one open websocket takes in a replica when nothing waits, bytes; measured 29,300 without what
#: Serve keeps for it.
SOCKET_BYTES: Final = 50_000
#: Memory of one replica of the Notificator, bytes: what a container's limit has to allow.
REPLICA_BYTES_MAX: Final = 2 * 1024**3
#: Proxies one behind the other that are believed: no request is read further back than this.
PROXIES_MAX: Final = 8
#: How long a browser keeps the id by which a removal holds for it; longer than a session lives.
DEVICE_COOKIE_S: Final = 24 * 3_600
#: How long a replica believes whether a session is locked, and how long a join page waits for that.
DOOR_TTL_MS: Final = 1_000
DOOR_ANSWER_MS_MAX: Final = 500
#: People in one page of a host's roster, and pages that the hosts of one session may read within a
#: second, and at once: all of a full session.
ROSTER_PAGE_ROWS_MAX: Final = 100
ROSTER_READS_PER_S_MAX: Final = 10
ROSTER_READS_BURST_MAX: Final = 60
#: Characters of a search in a roster; a nickname has no more, but what is typed may.
ROSTER_SEARCH_CHARS_MAX: Final = 64
#: Who joined within this is "new" in the host's roster.
ROSTER_RECENT_MS: Final = 60_000
#: Life of a token. Pages renew one that has less than half of it left.
TOKEN_LIFE_S: Final = 12 * 3_600
TOKEN_RENEW_S: Final = TOKEN_LIFE_S // 2
#: Renewals that one replica makes a second, and at once: each looks a session up.
RENEWALS_PER_S_MAX: Final = 50
RENEWALS_BURST_MAX: Final = 500
#: Life of a ticket for a hello, and when a socket that lives is given the next one.
TICKET_LIFE_S: Final = 90
TICKET_RENEW_S: Final = 40
#: How often each replica looks for keys that were rotated and tokens that were revoked.
TOKENS_CHECK_INTERVAL_MS: Final = 2_000
#: A new key is believed by everybody for so long before it signs.
KEY_SETTLE_S: Final = 10
#: Keys that are believed at once, and the characters of the shortest (256 bits, as HS256 wants).
KEYS_MAX: Final = 4
SECRET_CHARS_MIN: Final = 32

# --- logs ----------------------------------------------------------------------------------------

#: Characters of one record, and of a traceback: what a client sent may stand in both.
LOG_LINE_CHARS_MAX: Final = 2_000
LOG_TRACE_CHARS_MAX: Final = 16_000
#: Records of one place in the code within so many seconds; further ones are counted.
LOG_LINES_MAX: Final = 20
LOG_WINDOW_S: Final = 10

# --- Redis beside the channels --------------------------------------------------------------------

#: How long anybody waits for Redis, and how long it is left alone once it was waited for in vain.
CACHE_ANSWER_MS_MAX: Final = 200
CACHE_REST_MS: Final = 1_000
#: How long others wait for the one who fills a key.
CACHE_FILL_MS: Final = 300
#: How long the quiz of a session stays in Redis: longer than most are played.
PINNED_QUIZ_TTL_MS: Final = 60 * 60 * 1_000
#: How long what is known of a PIN may be old.
SESSION_INFO_TTL_MS: Final = 5_000
#: How often a replica reads which PINs are live, at most: a PIN that it does not know waits for the
#: next time. And how long a PIN counts as live without being read again.
LIVE_PINS_INTERVAL_MS: Final = 200
LIVE_PINS_TTL_MS: Final = 5_000
#: How often a replica reads a session's view, its scoreboard, and who is connected, for all who ask by
#: HTTP. A client that polls sees frames no faster.
VIEW_READ_INTERVAL_MS: Final = 100
SCOREBOARD_READ_INTERVAL_MS: Final = 250
PRESENCE_READ_INTERVAL_MS: Final = 250
#: Rows of one page of the scoreboard; and how long a replica keeps how many whole ones for those who
#: read further pages, each of some hundred kilobytes at the most.
SCOREBOARD_PAGE_ROWS_MAX: Final = 100
SCOREBOARD_KEPT_MS: Final = 2_000
SCOREBOARDS_KEPT_MAX: Final = 20
#: How often a replica tells who is connected to it, and after which time nobody believes it.
PRESENCE_INTERVAL_MS: Final = 3_000
PRESENCE_TTL_MS: Final = 8_000
#: How often a replica looks whether somebody has come or gone, and tells that at once.
PRESENCE_LOOK_MS: Final = 500

# --- reads from replicas of the database ------------------------------------------------------------

#: A read replica that may lag further behind the primary is not read from.
REPLICA_LAG_MS_MAX: Final = 3_000
#: How often each process measures its read replicas; a lag is known no finer than this.
REPLICA_CHECK_INTERVAL_MS: Final = 500
#: A read that a replica has not answered by then is asked of the primary. Each page of a session's
#: results is a read of its own. The longest, the sums over a session of ``ANSWERS_MAX`` answers, takes
#: about a second.
REPLICA_READ_MS_MAX: Final = 2_000
#: Positions of the primary that are remembered for a replica that has not reached them.
REPLICA_POSITIONS_MAX: Final = 64
#: Whoever has written reads from the primary for so long.
OWN_WRITES_MS: Final = 10_000

#: How long a replica waits for the database before it is not ready; a probe waits no longer.
READY_MS_MAX: Final = 2_000

# --- metrics --------------------------------------------------------------------------------------

#: How long a scrape waits for those of other replicas, which read the same files.
SCRAPE_WAIT_MS_MAX: Final = 5_000
#: Metrics files that were torn by the end of their process and are kept to be looked at.
TORN_FILES_MAX: Final = 10

# --- the live view -------------------------------------------------------------------------------

#: At most one scoreboard frame per session and tick.
FRAME_INTERVAL_MS: Final = 100
#: The same in self-paced play, where the scoreboard moves with every answer for as long as it
#: lasts: each participant would otherwise get ten frames for every answer of its own.
SELF_PACED_FRAME_INTERVAL_MS: Final = 1_000
#: ``(epoch, version)`` is repeated so often, so that a lost last frame is noticed.
BEAT_INTERVAL_MS: Final = 1_000
#: Silence on a session's channel after which a replica asks the actor for a snapshot.
CHANNEL_SILENCE_MS: Final = 2_500
#: Rows of the scoreboard in a frame: what a projector can show.
SCOREBOARD_ROWS_MAX: Final = 10
#: Newest nicknames in a frame: what a lobby can show.
ROSTER_ROWS_MAX: Final = 60

# --- life of actors ------------------------------------------------------------------------------

#: A finished session's actor stays so long for those who still look, then leaves; a default.
LINGER_MS: Final = 600_000
#: Take-overs of a session that may be begun one after the other without one that lasts, before it is
#: quarantined; and how long a session must run until its take-over counts as one that lasts. Kills
#: from outside rarely come eight times in a row within seconds; a fault that is stored does.
TAKE_OVERS_MAX: Final = 8
TAKE_OVER_LASTS_MS: Final = 5_000
#: Tries of an append that fails although the store is there, before the actor leaves and the session is
#: taken over anew: about 1.5 s. A take-over in which that happens does not last.
APPEND_FAILURES_MAX: Final = 6
#: Pauses between two take-overs, the first and the longest; all together about 20 s.
TAKE_OVER_PAUSE_MS_MIN: Final = 500
TAKE_OVER_PAUSE_MS_MAX: Final = 4_000
#: How long an actor that met an event of a later version waits before it leaves for one that may know
#: it: the first time, and at most; each time twice as long as the time before. All together outlast the
#: minutes that an upgrade takes (docs/adr/0029-events-of-the-next-version.md).
DECLINED_PAUSE_MS_MIN: Final = 5_000
DECLINED_PAUSE_MS_MAX: Final = 120_000
#: Characters that are kept of why a session was quarantined.
QUARANTINE_REASON_CHARS_MAX: Final = 500
#: A cancelled session's actor stays for its last frame, and for the host's reply, to arrive.
CANCELLED_LINGER_MS: Final = 500
#: Blank actors beyond those that are always kept: as many as were given away within the window, and
#: one for so many live sessions, but never more than the maximum, nor more than the share of the free
#: memory holds. When none was given away for the rest time, they end.
OPENINGS_WINDOW_MS: Final = 3_000
SESSIONS_PER_WARM_ACTOR: Final = 50
EXTRA_WARM_ACTORS_MAX: Final = 8
POOL_MEMORY_PERCENT: Final = 25
POOL_REST_MS: Final = 30_000
#: How long a blank actor may take to start before the next one no longer waits for it.
ACTOR_START_MS_MAX: Final = 30_000
#: A lobby or a game that nobody touched for so long is cancelled.
IDLE_MS_MAX: Final = 6 * 3_600_000

assert CHOICES_MIN <= CHOICES_MAX
assert QUIZ_QUESTIONS_MAX < IMPORT_ITEMS_MAX <= IMPORT_LINES_MAX
assert PARTICIPANTS_MAX < PARTICIPANT_ID_MAX
assert JOINS_CREDIT_MAX < JOINS_BURST_MAX
assert min(JOINS_ADDRESS_BURST_MAX, JOINS_BURST_MAX) > JOINS_ADDRESS_SESSION_BURST_MAX, (
    "one address does not use up what others have"
)
assert READS_TOKEN_PER_S_MAX * 10 <= READS_ADDRESS_PER_S_MAX, "one token leaves room for the others"
assert READS_TOKEN_BURST_MAX * 10 <= READS_ADDRESS_BURST_MAX
assert READS_ADDRESS_BURST_MAX > JOINS_ADDRESS_SESSION_BURST_MAX, "all who have joined read at once"
assert PARTICIPANTS_MAX <= READS_TOKEN_BURST_MAX * SCOREBOARD_PAGE_ROWS_MAX, "the whole scoreboard"
assert PIN_MISSES_SWIFT < PIN_MISSES_BURST_MAX
assert PIN_LETTERS < PIN_LONG_DIGITS < PIN_TYPED_CHARS_MAX
assert FLOOD_GRACE_MS < FLOOD_WINDOW_MS
assert TOKEN_LIFE_S < DEVICE_COOKIE_S
assert ROSTER_PAGE_ROWS_MAX * ROSTER_READS_BURST_MAX > PARTICIPANTS_MAX, "all pages at once"
assert REMOVED_AT_ONCE_MAX * (len(str(PARTICIPANT_ID_MAX)) + 1) + 512 < MESSAGE_BYTES_MAX, (
    "the largest removal is one message"
)
assert 2 * TOKENS_CHECK_INTERVAL_MS < KEY_SETTLE_S * 1_000, "one look may fail"
assert 2 * TICKET_RENEW_S < TICKET_LIFE_S, "a page that was cut off holds a ticket that is good"
assert PARTICIPANTS_MAX * 100 <= ANSWERS_MAX, "Kahoot's largest quiz takes as many people as any"
assert 2 * DOWNLOADS_SESSION_MAX <= DOWNLOADS_MAX, "one session does not take all places"
assert DOWNLOAD_STALL_MS_MAX < CLIENT_SILENCE_MS_MAX, "told apart from a connection that is lost"
assert PREVIEW_CHARS * READING_MS_PER_CHAR <= PREVIEW_MS_DEFAULT <= PREVIEW_MS_MAX
assert PRESENCE_LOOK_MS < PRESENCE_INTERVAL_MS
assert 2 * PRESENCE_INTERVAL_MS < PRESENCE_TTL_MS, "one report may be lost"
assert 1 << CHOICES_MAX <= 2**15, "a choice mask is stored in a smallint"
assert BATCH_PIPELINE_ITEMS_MIN < BATCH_ITEMS_MAX <= BATCHER_ITEMS_MAX
assert SHARDS_MAX * PARTITIONS <= 40, "RabbitMQ's throughput falls beyond some tens of queues"  # noqa: PLR2004
assert 1 + WRITER_HOLDS_MAX.bit_length() + STORE_TRIES_MAX < 20, (  # noqa: PLR2004
    "a poisonous message is alone and dead before its neighbours reach the limit of older queues"
)
assert (
    sum(
        min(DECLINED_PAUSE_MS_MIN << tries, DECLINED_PAUSE_MS_MAX)
        for tries in range(TAKE_OVERS_MAX - 1)
    )
    > 5 * 60_000
), "a session that waits for an actor of a later version is not quarantined within a usual upgrade"
assert EPOCH_READ_INTERVAL_MS < LEASE_MS, "a reading is renewed before it is too old"
assert CONFIRM_WAIT_MS < ACTOR_CALL_MS_MAX < BATCH_RETRY_MS_MAX
assert TYPED_CHARS_MAX * 4 + 512 < MESSAGE_BYTES_MAX <= BODY_BYTES_MAX
assert REPLICA_CHECK_INTERVAL_MS + REPLICA_READ_MS_MAX < REPLICA_LAG_MS_MAX, (
    "one slow look is no lag"
)
assert REPLICA_LAG_MS_MAX * 2 < OWN_WRITES_MS, "with room for a client's clock that counts seconds"
assert FRAME_BYTES_MAX < SOCKET_BUFFER_BYTES_MAX
assert NEWCOMERS_PER_ADDRESS_MAX * 2 <= NEWCOMERS_MAX < CONNECTIONS_PER_REPLICA_MAX
assert HANDSHAKES_PER_TURN_MAX <= HANDSHAKES_UNPROVEN_BURST_MAX < NEWCOMERS_PER_ADDRESS_MAX
assert HELLO_SOON_MS < HELLO_MS_MAX
assert SILENT_ADDRESS_MAX < SILENT_COUNTED_MAX < HANDSHAKES_UNPROVEN_BURST_MAX
assert SILENT_FORGOTTEN_PER_S < STRANGER_HANDSHAKES_PER_S_MAX < STRANGER_PASSED_PER_S_MAX, (
    "whoever stays silent stays a stranger"
)
assert PARTICIPANTS_MAX < HANDSHAKES_WAITING_MAX < CONNECTIONS_PER_REPLICA_MAX
assert PARTICIPANTS_MAX < CONNECTIONS_PER_ADDRESS_MAX <= CONNECTIONS_PER_REPLICA_MAX // 3
assert FRAME_INTERVAL_MS < BEAT_INTERVAL_MS < CHANNEL_SILENCE_MS
assert CLOSE_GRACE_MS < DELIVERY_SLACK_MS_MAX
assert DEADLINE_MS_MAX < IDLE_MS_MAX
assert HUMAN_MS_MIN < FULL_POINTS_MS
assert (
    SOCKET_BUFFER_BYTES_MAX + FRAME_BYTES_MAX + SOCKET_PENDING_MAX * OUTCOME_BYTES_MAX
    <= SOCKET_WAITING_BYTES_MAX
), "a socket that has just become slow still gets all that it is owed"
# An event loop's own books of small writes may take as much again as the bytes that wait.
assert (
    CONNECTIONS_PER_REPLICA_MAX * (SOCKET_BYTES + MESSAGE_BYTES_MAX)
    + HANDSHAKES_WAITING_MAX * (HANDSHAKE_BYTES + MESSAGE_BYTES_MAX)
    + 2 * REPLICA_WAITING_BYTES_MAX
    <= REPLICA_BYTES_MAX * 3 // 4
), "a full replica of which as many sockets as may be are slow, with room for Python and the rooms"
assert (
    ROSTER_ROWS_MAX * (NICKNAME_BYTES_MAX + 40)
    + SCOREBOARD_ROWS_MAX * (NICKNAME_BYTES_MAX + 120)
    + (CHOICES_MAX * CHOICE_CHARS_MAX + QUESTION_CHARS_MAX + EXPLANATION_CHARS_MAX) * 4
    + ACCEPTED_MAX * TYPED_CHARS_MAX * 4
    <= FRAME_BYTES_MAX
), "the largest possible snapshot fits one frame"
# A line of the results holds three cells for each question, beside six.
assert 3 * QUIZ_QUESTIONS_MAX + 6 <= SHEET_COLUMNS_MAX
