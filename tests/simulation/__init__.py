"""A deterministic simulation of both profiles: real code, virtual time, faults from a seed.

Real are SessionActor with SessionHost, Outbox, BrokerLog or DirectLog, Publisher, EpochLease and
the hand-over, the statements' callers in session_store, LoneConnection, CheckpointWriter with
Tables, and the replicas' Batcher. Not real are the drivers below them (``aio_pika.connect``,
``asyncpg.connect``), Ray, Redis and the people. ``python -m tests.simulation --seed N --profile P``
plays one seed again.
"""
