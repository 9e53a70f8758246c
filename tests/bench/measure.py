"""What the benchmarks share: a network of their own, CPU and memory of processes, rows that say target and reached."""
import contextlib
import json
import os
import pwd
import secrets
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import harness  # noqa: E402

LOAD = os.path.join(harness.BUILD, "forever-load")


def own_network():
    """Starts the script again in a network namespace whose loopback has an MTU of 1500 (with loopback's own 65536
    a flight is one segment, which flatters), where that is allowed; True when it runs in one."""
    if os.environ.get("FOREVER_BENCH_NETWORK"):
        return os.environ["FOREVER_BENCH_NETWORK"] == "own"
    how = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--net", "--map-root-user"]
    able = shutil.which("unshare") and shutil.which("ip") and subprocess.run(
        [*how, "ip", "link", "set", "lo", "mtu", "1500", "up"], stderr=subprocess.DEVNULL).returncode == 0
    if not able:
        return False
    inside = 'ip link set lo mtu 1500 up && exec "$@"'
    os.environ["FOREVER_BENCH_NETWORK"] = "own"
    os.execvp("unshare", [*how, "sh", "-c", inside, "sh", sys.executable, *sys.argv])


def say_network(own):
    print("network: " + ("a namespace of its own, loopback MTU 1500" if own else
                         "the machine's loopback with its large MTU: figures flatter"))
    print(f"load of this machine before: {os.getloadavg()[0]:.2f} on {os.cpu_count()} cores")


def family(pid):
    """A process and all its descendants."""
    children = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{name}/stat") as f:
            children.setdefault(int(f.read().rsplit(")", 1)[1].split()[1]), []).append(int(name))
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        todo += children.get(one, [])
    return found


def cpu_s(pids):
    """CPU of the threads of these processes, from the scheduler's own nanoseconds."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{task}/schedstat") as f:
                    total += int(f.read().split()[0])
    return total / 1e9


def rollup(pid, *keys):
    """Bytes of some rows of smaps_rollup, added up."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/smaps_rollup") as f:
        return sum(int(line.split()[1]) * 1024 for line in f if line.split(":")[0] in keys)
    return 0


def pss(pids):
    return sum(rollup(pid, "Pss") for pid in pids)


def private_dirty(pid):
    """What grows with listeners. The ring counts apart: a file's pages, which nobody else happens to map."""
    total, ring = 0, False
    with open(f"/proc/{pid}/smaps") as f:
        for line in f:
            if line[0] in "0123456789abcdef":
                ring = line.rstrip().endswith(".ring")
            elif line.startswith("Private_Dirty:") and not ring:
                total += int(line.split()[1]) * 1024
    return total


@contextlib.contextmanager
def crowd(url, count, seconds, *options, ramp=None):
    """A crowd that hears; the object's report() waits for its end and gives what it has to say."""
    class Crowd:
        def report(self):
            out = process.communicate(timeout=seconds + 120)[0]
            assert out.strip(), "the load generator ended without a report"
            return json.loads(out.strip().splitlines()[-1])

    ramp = ramp if ramp is not None else max(1, count / 800)
    process = subprocess.Popen([LOAD, "--announce", "--listeners", str(count), "--ramp", str(ramp), "--seconds",
                                str(seconds), *map(str, options), url], stdout=subprocess.PIPE, text=True)
    try:
        if process.stdout.readline() != "ready\n":
            raise SystemExit(f"{url}: the listeners did not all hear something")
        yield Crowd()
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def cpu_over(pids, seconds):
    """Share of a core over so many seconds."""
    cpu, begin = cpu_s(pids), time.monotonic()
    time.sleep(seconds)
    return (cpu_s(pids) - cpu) / (time.monotonic() - begin)


def icecast(folder, port, passwords, relay, clients):
    """Debian's icecast2 on that port; its configuration as Debian ships it, but for the limits."""
    os.makedirs(folder, exist_ok=True)
    user = "icecast2" if any(u.pw_name == "icecast2" for u in pwd.getpwall()) else "nobody"
    path = os.path.join(folder, "icecast.xml")
    with open(path, "w") as f:
        f.write(f"""<icecast>
<limits><clients>{clients}</clients><sources>2</sources><queue-size>524288</queue-size><burst-size>65535</burst-size>
<client-timeout>30</client-timeout><header-timeout>15</header-timeout><source-timeout>10</source-timeout></limits>
<authentication>{passwords}
<admin-user>admin</admin-user><admin-password>{secrets.token_hex(8)}</admin-password></authentication>
<hostname>localhost</hostname><location>here</location><admin>nobody</admin>
<listen-socket><port>{port}</port><bind-address>127.0.0.1</bind-address></listen-socket>
{relay}
<paths><basedir>/usr/share/icecast2</basedir><logdir>{folder}</logdir><webroot>/usr/share/icecast2/web</webroot>
<adminroot>/usr/share/icecast2/admin</adminroot></paths>
<logging><accesslog>access.log</accesslog><errorlog>error.log</errorlog><loglevel>1</loglevel></logging>
<security><chroot>0</chroot>
<changeowner><user>{user}</user><group>nogroup</group></changeowner></security>
</icecast>""")
    os.chmod(os.path.dirname(folder), 0o755)  # it gives its rights up before it opens its logs
    os.chmod(folder, 0o777)
    return harness.Program([shutil.which("icecast2"), "-c", path], os.path.join(folder, "log"))


class Rows:
    """Rows of a table as they come; done() says how many targets were missed."""

    def __init__(self):
        self.missed = 0

    def head(self, text):
        print(text, flush=True)

    def show(self, name, value, note=""):
        print(f"  {name:<46}{value:>14}  {note}".rstrip(), flush=True)

    def target(self, name, reached, most, unit="", aim=None, digits=2):
        well = reached <= most
        self.missed += not well
        note = f"target <= {most:g}{unit}" + (f", aim {aim:g}{unit}" if aim is not None else "")
        self.show(name, f"{reached:.{digits}f}{unit}", note + ("" if well else "   MISSED"))

    def done(self):
        print("all targets reached" if not self.missed else f"{self.missed} targets missed")
        return 1 if self.missed else 0


MIB = 2**20
