"""One pull for any number of listeners, none for nobody."""
import time

import harness
from harness import Listener
from relays import together


def links(root):
    return root.stats()["links"]


@together
def test_one_pull_for_five_hundred_and_none_for_nobody(start):
    root = start.root(aired=True, relay_limit=0, lead=10)
    relay = start.relay(root, idle_linger=2)
    harness.wait_for(lambda: root.stats()["position"] > 100, "some seconds have aired", 15)
    assert links(root) == 0, "nobody listens, nothing is pulled"
    crowd = []

    def wake():
        while crowd:
            crowd.pop().close()
        harness.wait_for(lambda: links(root) == 0, "the relay sleeps", 8)
        begin = time.monotonic()
        crowd.append(Listener(relay.url))
        crowd[0].read(2000)
        return time.monotonic() - begin
    harness.within(0.5, wake, "the first sound")
    crowd += [Listener(relay.url) for _ in range(499)]
    assert all(one.status == 200 for one in crowd)
    for one in crowd:
        assert len(one.read(30000)) == 30000
    assert links(root) == 1
    assert harness.established(root.port, relay.process.pid) <= 2, "one link, and at most one more for reports"
    harness.wait_for(lambda: root.stats()["relays"][0]["listeners"] == 500, "the report counts 500", 6)
    for one in crowd:
        one.close()
    harness.wait_for(lambda: links(root) == 0, "the pull ends after the linger", 8)
    harness.wait_for(lambda: root.stats()["relays"][0]["listeners"] == 0, "the report counts none", 6)
    with Listener(relay.url) as again:
        assert len(again.read(20000)) == 20000
    assert harness.wait_for(lambda: links(root) == 1, "the pull is back")
