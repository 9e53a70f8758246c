"""Who is served, who is sent on, who is turned away: exact at the threshold."""
import pytest

import harness
from harness import Listener, request


def relays_known(root, count=1):
    def seen():
        relays = root.stats()["relays"]
        return len([r for r in relays if r["healthy"]]) == count
    harness.wait_for(seen, f"{count} healthy relays", 10)


def test_redirects_start_exactly_at_the_limit(start):
    root = start.root(relay_limit=5)
    relay = start.relay(root)
    relays_known(root)
    here = []
    for i in range(5):
        one = Listener(root.url)
        assert one.status == 200, f"listener {i + 1} of 5"
        here.append(one)
    for _ in range(3):
        with Listener(root.url, path="/stream.mp3?x=1&y=%20z") as sent:
            assert sent.status == 302
            where, ticket = sent.headers["location"].split("&ticket=")
            assert where == f"{relay.url}/stream.mp3?x=1&y=%20z&hop=1" and len(ticket) == 44
            assert sent.headers["access-control-allow-origin"] == "*"
            assert "no-store" in sent.headers["cache-control"]
            assert sent.headers["content-length"] == "0"
    # agents that can't follow are served here
    with Listener(root.url, headers={"User-Agent": "ESP8266HTTPClient"}) as radio:
        assert radio.status == 200
    # one leaves, one place is free again
    here.pop().close()
    harness.wait_for(lambda: root.stats()["listeners"] == 4, "the root saw the listener go")
    with Listener(root.url) as again:
        assert again.status == 200
        with Listener(root.url) as more:
            assert more.status == 302
    for one in here:
        one.close()


def test_zero_sends_everybody(start):
    root = start.root(relay_limit=0)
    start.relay(root)
    relays_known(root)
    with Listener(root.url) as one:
        assert one.status == 302


def test_without_a_relay_up_to_the_maximum(start):
    root = start.root(relay_limit=2, max_listeners=4)
    here = [Listener(root.url) for _ in range(4)]
    assert [one.status for one in here] == [200] * 4
    with Listener(root.url) as one:
        assert one.status == 503
        assert int(one.headers["retry-after"]) >= 1
    assert request(root.url, "/stream.mp3", "HEAD").status == 503
    for one in here:
        one.close()
    harness.wait_for(lambda: root.stats()["listeners"] == 0, "all counted out")


def test_a_full_relay_gets_nobody_and_says_so(start):
    root = start.root(relay_limit=1, max_listeners=3)
    relay = start.relay(root, max_listeners=2)
    relays_known(root)
    first = Listener(root.url)
    at_relay = [Listener(relay.url) for _ in range(2)]
    assert [one.status for one in at_relay] == [200, 200]
    with Listener(relay.url) as over:
        assert over.status == 503 and "retry-after" in over.headers
    harness.wait_for(lambda: root.stats()["relays"][0]["listeners"] == 2, "the report arrived", 6)
    with Listener(root.url) as second:
        assert second.status == 200  # no relay has room: served here within max_listeners
    for one in [first, *at_relay]:
        one.close()


def test_wrong_token_is_refused_and_said(start, scratch):
    wrong = f"{scratch}/wrong.token"
    with open(wrong, "w") as f:
        f.write("not-the-token\n")
    root = start.root(relay_limit=0)
    relay = start.relay(root, token_file=wrong)
    harness.wait_for(lambda: "refuses this relay" in relay.log(), "the relay says what is wrong", 10)
    assert root.stats()["relays"] == []
    with Listener(root.url) as one:
        assert one.status == 200
    with Listener(relay.url, timeout=60) as one:
        assert one.status == 503


@pytest.mark.parametrize("presented", [None, "wrong"])
def test_link_needs_the_token(station, presented):
    headers = {"Authorization": f"Bearer {presented}"} if presented else {}
    assert request(station.url, "/link?mount=main", headers=headers).status in (401, 403)
