"""What the tests of the API share."""

import httpx
import pytest

from actors.postgres import create_pool
from actors.settings import Settings
from actors.shards import Shards
from serve_app.api.app import create_api_app
from serve_app.replica import Replica


@pytest.fixture
async def own_pool(own_postgres):
    """Connections to a server that the test may kill."""
    async with await create_pool(own_postgres.url, size_max=4) as pool:
        yield pool


@pytest.fixture
def make_replica(database_url):
    """A replica's parts over the pool of one primary."""

    def make(pool):
        settings = Settings(
            database_url=database_url,
            redis_url="redis://unused",
            secret="a secret of at least thirty-two bytes",
            public_url="http://test",
        )
        return Replica(settings, Shards([pool]))

    return make


@pytest.fixture
async def client(replica):
    """An operator's, of the API over the module's ``replica``."""
    app = create_api_app()
    app.state.replica = replica
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app),
        base_url="http://test",
        headers={"authorization": f"Bearer {replica.tokens.operator()}"},
    ) as client:
        yield client
