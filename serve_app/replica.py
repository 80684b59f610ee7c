"""What every replica of a service holds: settings, tokens, database pools, gateway, metrics."""

from __future__ import annotations

import asyncio

import asyncpg

from actors.cache import Cache
from actors.collector import collect_seldom
from actors.directory import Directory
from actors.postgres import Pool, create_pool
from actors.read_replicas import ReadReplicas
from actors.settings import Settings
from actors.shards import Shards
from actors.tasks import PacedWork, SharedWork
from engine import limits
from engine.ids import SessionId
from migrations import check_schemas
from serve_app.address_guard import AddressGuard
from serve_app.auth import Tokens
from serve_app.batcher import Gateway
from serve_app.client_address import ClientAddresses
from serve_app.doors import Doors
from serve_app.presence import Present
from serve_app.rate import KeyedBuckets, Rate, TokenBucket
from serve_app.session_reads import SessionReads
from serve_app.shared_rate import SharedRate
from serve_app.token_watch import TokenWatch

#: Connections of one replica to each primary: look-ups and reads only, never one per answer.
_POOL_SIZE = 8
_ROSTER_RATE = Rate(limits.ROSTER_READS_PER_S_MAX, limits.ROSTER_READS_BURST_MAX)
_RENEWAL_RATE = Rate(limits.RENEWALS_PER_S_MAX, limits.RENEWALS_BURST_MAX)
_RETURN_RATE = Rate(limits.RETURN_TRIES_PER_MIN_MAX / 60, limits.RETURN_TRIES_BURST_MAX)
_ADDRESS_RETURN_RATE = Rate(
    limits.RETURN_TRIES_ADDRESS_PER_MIN_MAX / 60, limits.RETURN_TRIES_ADDRESS_BURST_MAX
)
_JOIN_RATE = Rate(limits.JOINS_PER_S_MAX, limits.JOINS_BURST_MAX)


class Replica:
    """The parts that services share; made once per process."""

    def __init__(self, settings: Settings, shards: Shards[Pool]) -> None:
        self.settings = settings
        self.shards = shards
        #: Of the catalogue, the only primary where there is one.
        self.pool = shards.catalogue
        #: Where requests come from, as keys of limits.
        self.addresses = ClientAddresses(settings.proxies)
        self.tokens = Tokens.of(settings)
        self.token_watch = TokenWatch(self.tokens, self.pool)
        self.renewals = TokenBucket(_RENEWAL_RATE)
        self.reads = ReadReplicas(self.pool, settings.database_url, settings.replicas)
        self.cache = Cache(settings.redis_url)
        self.directory = Directory(shards, settings.ray_namespace, self.cache)
        self.gateway = Gateway(self.directory)
        #: Joins by session: a flood of them must not drown the session, nor its neighbours.
        self.joins = SharedRate(self.cache, "joins", _JOIN_RATE, limits.SESSIONS_LIVE_MAX)
        #: Personal codes that were tried, by session, and by address and session.
        self.returns = SharedRate(self.cache, "returns", _RETURN_RATE, limits.SESSIONS_LIVE_MAX)
        self.address_returns = SharedRate(
            self.cache, "returns-address", _ADDRESS_RETURN_RATE, limits.ADDRESSES_REMEMBERED_MAX
        )
        self.session_reads = SessionReads(self.gateway)
        self.presences = PacedWork[SessionId, Present](limits.PRESENCE_READ_INTERVAL_MS)
        #: Look-ups of PINs and joins by address.
        self.guard = AddressGuard(self.cache, self.directory)
        #: Pages of hosts' rosters by session.
        self.rosters = KeyedBuckets(_ROSTER_RATE, limits.SESSIONS_LIVE_MAX)
        self.doors = Doors(self.gateway)
        #: The question whether the catalogue takes writes.
        self._asking = SharedWork[str, list[asyncpg.Record]]()

    @classmethod
    async def create(cls) -> Replica:
        """Read the environment, check the schema, open the pools.

        Raises:
            SettingsError, SchemaMismatch: the service must not start.
        """
        settings = Settings.from_env()
        await check_schemas(settings.primaries)
        pools = [await create_pool(url, _POOL_SIZE) for url in settings.primaries]
        collect_seldom()
        replica = cls(settings, Shards(pools))
        await replica.token_watch.start()
        return replica

    async def require_writable(self) -> None:
        """Return when the catalogue takes writes; however many ask at once, it is asked once.

        Raises:
            AWAY, asyncpg.PostgresError: it does not, or has not said so within ``READY_MS_MAX``.
        """
        async with asyncio.timeout(limits.READY_MS_MAX / 1000):
            await self._asking.do("catalogue", lambda: self.pool.fetch("SELECT 1"))

    async def close(self) -> None:
        """Give the connections back."""
        await self.token_watch.close()
        await self.reads.close()
        await self.cache.close()
        for pool in self.shards.databases:
            await pool.close()
