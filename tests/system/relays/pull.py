"""One pull for any number of listeners, none for nobody."""
import concurrent.futures
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
def test_no_visit_is_too_short_to_cost_more_than_its_time(start):
    """A visit of T seconds costs the root its burst, 2 T and the linger at most, however short it is."""
    linger_s, rate = 6, 128 * 125
    root = start.root(aired=True, relay_limit=0, lead=20)
    harness.wait_for(lambda: root.stats()["position"] > 100, "some seconds have aired", 15)

    def pulled(relay):
        lines = harness.request(relay.url, "/metrics").body.decode()
        return float(re.search(r'forever_mount_ingress_bytes_total{mount="stream"} (\S+)', lines).group(1))

    def visit(length_s):
        relay = start.relay(root, name=f"visit-{length_s:g}".replace(".", "-"), idle_linger=linger_s)
        on_air, begin = root.stats()["position"], time.monotonic()
        with Listener(relay.url) as one:
            one.read(2000)
            time.sleep(max(0, begin + length_s - time.monotonic()))
            length_s = time.monotonic() - begin
        harness.wait_for(lambda: "nobody listens any more: closed" in relay.log(), "the pull ends", 15)
        first = int(re.search(r"starts at frame (\d+)", relay.log()).group(1))
        return pulled(relay), rate * ((on_air - first) * harness.FRAME_S + 2 * length_s + linger_s), length_s

    with concurrent.futures.ThreadPoolExecutor() as pool:
        for cost, most, length_s in pool.map(visit, (0, 0.2, 1)):
            assert rate * linger_s / 3 < cost <= most, f"{length_s:.2f} s cost {cost:.0f} bytes, {most:.0f} at most"
