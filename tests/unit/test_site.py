"""What tests do to a live site themselves."""

from types import SimpleNamespace

import httpx
import pytest

from actors.settings import Settings
from tests.site import LiveSite

SESSION = {"session_id": "7", "host_token": "a host's"}


def view(phase):
    return httpx.Response(200, json={"view": {"phase": phase, "opening_no": 1}})


@pytest.fixture
def make_site(monkeypatch):
    """A site that answers looks at a session's view with these, one after the other."""

    def make(*answers):
        waiting = list(answers)
        settings = Settings(
            database_url="postgresql://nowhere",
            redis_url="redis://nowhere",
            secret="s" * 32,
            public_url="http://site",
        )

        def handle(request):
            return httpx.Response(200) if request.method == "POST" else waiting.pop(0)

        client = httpx.Client(base_url="http://site/api", transport=httpx.MockTransport(handle))
        site = LiveSite(SimpleNamespace(settings=settings), None)
        monkeypatch.setattr(site, "api", lambda: client)
        return site, waiting

    return make


@pytest.mark.parametrize("last", [view("cancelled"), view("finished"), httpx.Response(410)])
def test_a_session_is_cancelled_until_it_is_seen_to_be_over(make_site, last):
    site, waiting = make_site(view("lobby"), httpx.Response(503), view("lobby"), last)
    site.cancel(SESSION)
    assert waiting == []


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500])
def test_no_other_error_is_taken_for_the_end_of_a_session(make_site, status):
    site, _ = make_site(httpx.Response(status))
    with pytest.raises(AssertionError, match=str(status)):
        site.cancel(SESSION)
