"""A root that is killed, a relay that is killed: listeners should not notice the one, and get over the other."""
import json
import time

import harness
from harness import Crowd, metrics_of, relays_of, wait_for


def lead_at(relay):
    return metrics_of(relay)["forever_lead_seconds"]


def counts_are_true(root, relays, listeners):
    """Within one report the root knows how many listen, to the unit."""
    def true():
        told = relays_of(root)
        return all(told.get(r.url, {}).get("listeners") == n for r, n in zip(relays, listeners))
    wait_for(true, f"the root counts {listeners}", 5)
    for relay, n in zip(relays, listeners):
        said = metrics_of(relay)
        ended = sum(value for name, value in said.items() if name.startswith("forever_listener_sessions_total{"))
        assert said["forever_listener_starts_total"] - ended == said["forever_listeners"] == n


def test_the_root_is_killed_and_nobody_notices(start, fresh_state):
    """Two relays with two hundred listeners live on what they hold for 15 s; not a frame is missing or twice."""
    state, port = fresh_state(), harness.free_port()
    root = start.root(state=state, port=port, lead=20, relay_limit=0)
    relays = [start.relay(root, name=name, lead=20) for name in ("one", "two")]
    wait_for(lambda: root.stats()["position"] > 100 and len(relays_of(root)) == 2, "the relays report", 15)
    crowds = [Crowd(relays[0].url + "/stream.mp3", 100), Crowd(relays[1].url + "/stream.mp3", 100, "--listen")]
    try:
        wait_for(lambda: min(map(lead_at, relays)) > 18.5, "the relays hold a lead", 30)
        root.kill()
        died = time.monotonic()
        wait_for(lambda: time.monotonic() > died + 15, "fifteen seconds pass", 20)
        assert all(harness.request(r.url, "/health").status == 200 for r in relays), "they are well without it"
        root = start.root(state=state, port=port, lead=20, relay_limit=0, wait=False)
        wait_for(root.alive, "it is back")
        root.wait_up()
        wait_for(lambda: root.stats()["links"] == 2, "both have joined again", 6)
        counts_are_true(root, relays, [100, 100])
        for crowd in crowds:
            said = crowd.report()
            assert said["reconnects"] == said["trouble"]["resets"] == said["trouble"]["ends"] == 0, json.dumps(said)
            assert said["compared_bytes"] > said["bytes"] * 0.9, json.dumps(said)
        for relay in relays:
            said = metrics_of(relay)
            assert said["forever_encoder_starvation_total"] == 0 and said["forever_link_resets_total"] == 1
    finally:
        for crowd in crowds:
            crowd.__exit__()


def test_a_relay_is_killed_and_others_take_over(start):
    """Its listeners ask the root again and go on elsewhere, where there is room and no further."""
    root = start.root(relay_limit=0, max_listeners=50)
    relays = [start.relay(root, name=name, max_listeners=90) for name in ("one", "two", "three")]
    wait_for(lambda: root.stats()["position"] > 100 and len(relays_of(root)) == 3, "the relays report", 15)
    with Crowd(root.url + "/stream.mp3", 120, "--again", "--jitter", 2, "--pause", 4) as crowd:
        wait_for(lambda: sum(r["listeners"] for r in relays_of(root).values()) == 120, "all are counted", 6)
        relays.sort(key=lambda relay: relays_of(root)[relay.url]["listeners"])
        dead, lost = relays[-1], relays_of(root)[relays[-1].url]["listeners"]
        dead.kill()
        # it takes the root some seconds to know
        wait_for(lambda: not relays_of(root)[dead.url]["healthy"] and root.stats()["listeners_total"] == 120, "all listen elsewhere", 25)
        said = crowd.report(silence=True)
    assert lost >= 30 and said["cuts"]["count"] >= lost and said["cuts"]["in_time_share"] >= 0.99, json.dumps(said)
    room = {relay.url[7:]: 90 for relay in relays} | {root.url[7:]: 50}
    assert all(node["most"] <= room[at] for at, node in said["nodes"].items()), json.dumps(said)
    wait_for(lambda: sum(r["listeners"] for r in relays_of(root).values() if r["public_url"] != dead.url) == 0,
             "when they have gone, nobody is counted", 5)
    assert not relays_of(root)[dead.url]["healthy"]
