#!/usr/bin/env python3
"""What relays' reports cost a root: relays in other processes, each with a connection over TLS and a credential of its
own, report every 2 s; what air and the store use of the processor meanwhile is for reports, ledger and statistics."""
import argparse
import base64
import calendar
import contextlib
import hashlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time

from measure import Rows, cpu_s, harness

BENCH = os.path.join(harness.BUILD, "bench-reports")
RELAYS, EVERY_S, CLIENTS = 10000, 2, 2
STRETCHES = 4  # of the time, of which the cheapest counts: what else the machine does makes things dearer, never cheaper
REGIONS = ["eu-de", "eu-fr", "eu-nl", "eu-pl", "na-us", "na-ca", "as-jp", "sa-br", ""]


def enrolled(state, credentials, count):
    """The roster of a root that so many relays have enrolled at, and their credentials in a file."""
    now, rows = int(time.time()), []
    with open(credentials, "w") as f:
        for i in range(count):
            secret = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("=")
            f.write(secret + "\n")
            rows.append({"name": f"relay-{i:05d}", "kind": "forever", "region": REGIONS[i % len(REGIONS)],
                         "allotment_bytes": 20 * 10**12 if i % 3 else 0, "reset_day": 1, "price_per_gb": i % 20 / 1000,
                         "uplink_bps": 10**9, "drained": False, "added_s": now, "enrolled_s": now, "uncalled": True,
                         "credential": hashlib.sha256(secret.encode()).hexdigest()})
    os.makedirs(state, exist_ok=True)
    path = os.path.join(state, "relays.json")
    with open(path, "w") as f:
        json.dump({"version": 1, "relays": rows}, f)
    os.chmod(path, 0o600)


class Network:
    """Relays that report until the end."""

    def __init__(self, port, credentials, count):
        today = time.gmtime()
        month_s = calendar.timegm((today.tm_year, today.tm_mon, 1, 0, 0, 0))
        share = -(-count // CLIENTS)
        self.clients = [subprocess.Popen([BENCH, *map(str, (port, credentials, month_s, first, min(share, count - first)))],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
                        for first in range(0, count, share)]
        for client in self.clients:
            assert client.stdout.readline() == "ready\n", "a report was not taken"

    def told(self):
        for client in self.clients:
            client.stdin.write("\n")
            client.stdin.flush()
        said = [json.loads(client.stdout.readline()) for client in self.clients]
        return {"waited_most_s": max(s["waited_most_s"] for s in said),
                **{key: sum(s[key] for s in said) for key in ("answers", "bytes", "waited_s", "lost")}}

    def stop(self):
        for client in self.clients:
            client.kill()
            client.wait()


def profile(pid, path, seconds):
    return subprocess.Popen(["perf", "record", "-q", "-F", "997", "-g", "-p", str(pid), "-o", path, "--", "sleep", str(seconds)])


def cost(before, after, took_s):
    """Of a stretch of time, for each report."""
    count = after[0]["answers"] - before[0]["answers"]
    return {"seconds": took_s, "reports": count, "bytes": (after[0]["bytes"] - before[0]["bytes"]) / count,
            "lost": after[0]["lost"] - before[0]["lost"], "waited_ms": (after[0]["waited_s"] - before[0]["waited_s"]) / count * 1e3,
            "waited_most_ms": after[0]["waited_most_s"] * 1e3, "air_us": (after[1] - before[1]) / count * 1e6,
            "store_us": (after[2] - before[2]) / count * 1e6}


def measure(scratch, relays=RELAYS, seconds=48, perf=None):
    state, credentials = os.path.join(scratch, "reports"), os.path.join(scratch, "credentials")
    crate = harness.make_crate(os.path.join(scratch, "crate"), 2, 64)
    enrolled(state, credentials, relays)
    with contextlib.ExitStack() as stack:
        root = harness.Root(crate, state, relay_limit=0, mounts=["low:64", "high:192"])
        stack.callback(root.stop)
        air, store = [root.process.pid], root.worker("store")
        network = Network(root.port + 1, credentials, relays)
        stack.callback(network.stop)
        harness.wait_for(lambda: root.stats()["cluster"]["nodes"] == relays + 1, "all relays count", 20)
        network.told()
        time.sleep(2 * EVERY_S)  # what the first answers brought together has come apart
        if perf:
            stack.callback(profile(air[0], perf, seconds).wait)
        stretches = []
        for _ in range(STRETCHES):
            before, begin = (network.told(), cpu_s(air), cpu_s(store)), time.monotonic()
            time.sleep(seconds / STRETCHES)
            after, took_s = (network.told(), cpu_s(air), cpu_s(store)), time.monotonic() - begin
            stretches.append(cost(before, after, took_s))
        assert root.stats()["cluster"]["nodes"] == relays + 1, "relays were lost"
        return {"relays": relays, "rate": RELAYS / EVERY_S, **min(stretches, key=lambda s: s["air_us"] + s["store_us"])}


def show(rows, said):
    """For 10,000 relays, whatever rate the clients kept up."""
    rows.show("reports, of bytes", f"{said['reports']} {said['bytes']:.0f}",
              f"{said['relays']} connections, {said['reports'] / said['seconds']:.0f} a second for {said['seconds']:.0f} s")
    rows.show("an answer comes after, mean and longest, ms", f"{said['waited_ms']:.1f} {said['waited_most_ms']:.0f}")
    rows.show("connections lost meanwhile", str(said["lost"]))
    rows.show("of it air, for each report, us", f"{said['air_us']:.1f}")
    rows.show("and the store, us", f"{said['store_us']:.1f}")
    rows.target("share of a core for 10,000 relays, all in all", (said["air_us"] + said["store_us"]) * said["rate"] / 1e6, 0.5,
                aim=0.25)


def main():
    parse = argparse.ArgumentParser(description=__doc__)
    parse.add_argument("--relays", type=int, default=RELAYS)
    parse.add_argument("--seconds", type=int, default=48)
    parse.add_argument("--perf", metavar="FILE", help="a profile of air meanwhile")
    given, rows = parse.parse_args(), Rows()
    with tempfile.TemporaryDirectory() as scratch:
        said = measure(scratch, given.relays, given.seconds, given.perf)
    rows.head(f"reports of {given.relays} relays")
    show(rows, said)
    return rows.done()


if __name__ == "__main__":
    sys.exit(main())
