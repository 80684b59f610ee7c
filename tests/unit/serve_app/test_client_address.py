"""Where a request came from: proxies are believed when they are named, clients never."""

import pytest

from engine import limits
from serve_app.client_address import UNKNOWN, ClientAddresses

HAPROXY = "127.0.0.1"


def key(peer, *forwarded, proxies=()):
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    scope = {"client": (peer, 1) if peer else None, "headers": [(b"host", b"x"), *headers]}
    return ClientAddresses(proxies).of(scope)


@pytest.mark.parametrize(
    ("peer", "said", "expected"),
    [
        (HAPROXY, "192.0.2.7", "192.0.2.7"),
        ("::1", "192.0.2.7", "192.0.2.7"),
        ("::ffff:127.0.0.1", "192.0.2.7", "192.0.2.7"),
        (HAPROXY, "2001:db8:0:1:a:b:c:d", "2001:db8:0:1::/64"),
        (HAPROXY, "[2001:db8:0:1:ffff::9]:443", "2001:db8:0:1::/64"),
        (HAPROXY, "fe80::1%eth0", "fe80::/64"),
        (HAPROXY, "::ffff:192.0.2.7", "192.0.2.7"),
        (HAPROXY, "192.0.2.7:5123", "192.0.2.7"),
        (HAPROXY, " 192.0.2.7 ", "192.0.2.7"),
        (HAPROXY, "127.0.0.2", "127.0.0.2"),
        (HAPROXY, "::1", "::1"),
        (HAPROXY, "::2", "::/64"),
    ],
)
def test_what_haproxy_appended_is_the_client(peer, said, expected):
    assert key(peer, said) == expected


def test_a_client_that_names_others_is_still_itself():
    assert key(HAPROXY, "198.51.100.1, 192.0.2.7") == "192.0.2.7"
    assert key(HAPROXY, "198.51.100.1", "192.0.2.7") == "192.0.2.7", "HAProxy's header is its own"
    assert key(HAPROXY, "127.0.0.1, 192.0.2.7") == "192.0.2.7"
    assert key("192.0.2.7", "198.51.100.1") == "192.0.2.7", "it is no proxy that we know"


def test_a_named_proxy_is_believed_and_no_other():
    chain = "203.0.113.1, 198.51.100.1, 192.0.2.7, 10.1.2.3"
    assert key(HAPROXY, chain) == "10.1.2.3"
    assert key(HAPROXY, chain, proxies=["10.0.0.0/8"]) == "192.0.2.7"
    assert key(HAPROXY, chain, proxies=["10.0.0.0/8", "192.0.2.7"]) == "198.51.100.1"
    assert key("10.9.9.9", "192.0.2.7", proxies=["10.0.0.0/8"]) == "192.0.2.7"
    v6 = "2001:db8:9::1"
    assert key(HAPROXY, f"192.0.2.7, {v6}", proxies=["2001:db8:9::/48"]) == "192.0.2.7"


def test_one_proxy_of_a_network_is_not_its_whole_64():
    assert key("2001:db8::1", "192.0.2.7", proxies=["2001:db8::1"]) == "192.0.2.7"
    assert key("2001:db8::2", "192.0.2.7", proxies=["2001:db8::1"]) == "2001:db8::/64"


@pytest.mark.parametrize(
    "junk",
    [
        "",
        "unknown",
        "_hidden",
        "192.0.2",
        "1.2.3.4:x",
        "[::1",
        "[::1]x",
        "a:b",
        "\xff",
        "9" * 9_999,
    ],
)
def test_an_entry_that_cannot_be_read_ends_the_search(junk):
    proxies = ["10.0.0.1"]
    assert key(HAPROXY, f"198.51.100.1,{junk}, 10.0.0.1", proxies=proxies) == "10.0.0.1"
    assert key(HAPROXY, f"198.51.100.1,{junk}") == HAPROXY


def test_where_all_are_trusted_the_first_of_them_is_the_client():
    assert key(HAPROXY, "10.0.0.2, 10.0.0.1", proxies=["10.0.0.0/8"]) == "10.0.0.2"
    assert key(HAPROXY) == HAPROXY


def test_no_request_is_read_back_for_ever():
    chain = ", ".join(f"10.0.0.{n}" for n in range(200, 0, -1))
    assert key(HAPROXY, chain, proxies=["10.0.0.0/8"]) == f"10.0.0.{limits.PROXIES_MAX}"


@pytest.mark.parametrize("peer", ["", "a socket"])
def test_a_peer_without_an_address_is_unknown(peer):
    assert key(peer, "192.0.2.7") == UNKNOWN
