"""A deterministic simulation: real code, virtual time, faults from a seed.

Real are SessionActor with SessionHost, Outbox, BrokerLog or DirectLog, Publisher, EpochLease and
the hand-over, the statements' callers in session_store, LoneConnection, CheckpointWriter with
Tables, and the replicas' Gateway; in the profile ``sockets`` RedisPublisher, Subscriber, Hub, Room,
Viewer and PicowsConnection, too. Not real are the drivers below them (``aio_pika.connect``,
``asyncpg.connect``, redis-py, picows' transport), Ray and the people.
``python -m tests.simulation --seed N --profile P`` plays one seed again.
"""
