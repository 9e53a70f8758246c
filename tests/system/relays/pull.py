"""One pull for any number of listeners, none for nobody."""
import concurrent.futures
import itertools
import re
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


@together
def test_no_visit_costs_more_than_its_time_and_the_linger(start):
    """A visit of T seconds costs the root its burst, 2 T and the linger at most, however short either is."""
    burst_s, rate, names = 4, 128 * 125, itertools.count()
    root = start.root(aired=True, relay_limit=0, lead=20)
    harness.wait_for(lambda: root.stats()["position"] > 160, "a burst has aired", 15)

    def visit(linger_s, length_s):
        """Seconds beyond the burst and twice the time."""
        relay = start.relay(root, name=f"visit-{next(names)}", idle_linger=linger_s)
        begin = time.monotonic()
        with Listener(relay.url) as one:
            one.read(2000)
            time.sleep(max(0, begin + length_s - time.monotonic()))
        length_s = time.monotonic() - begin
        harness.wait_for(lambda: "nobody listens any more: closed" in relay.log(), "the pull ends", 15)
        lines = harness.request(relay.url, "/metrics").body.decode()
        cost = float(re.search(r'forever_mount_ingress_bytes_total{mount="stream"} (\S+)', lines).group(1))
        assert cost > rate * (burst_s - 2 + linger_s / 3), "it was worth a visit"
        return cost / rate - burst_s - 2 * length_s

    def check(linger_s, length_s):
        harness.within(linger_s, lambda: visit(linger_s, length_s),
                       f"linger {linger_s} s, visit of {length_s} s, beyond the burst and twice its time")

    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(check, (0, 0, 1, 1), (0, 0.5, 0, 0.3)))
