"""What the tests of the API share."""

import httpx
import pytest

from serve_app.api.app import create_api_app


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
