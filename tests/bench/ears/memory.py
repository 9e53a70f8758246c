#!/usr/bin/python3
"""memory: how much memory the analysis of long recordings takes, and how fast it is.

    memory.py [--program build/forever-root] [--minutes 10,180] [--limit-mb 64,96]

Makes music of each length (a synthesised crate of tracks again and again, as FLAC), analyses it in a process of its own
and prints VmHWM as the kernel counts it and the speed on one core. Exit status 1 beyond a limit."""
import argparse
import glob
import json
import os
import subprocess
import sys
import tempfile

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..")
sys.path.insert(0, os.path.join(TOP, "tests"))
import usage  # noqa: E402

CRATE_S = 300  # of music in the crate


def make(folder, crate, minutes):
    path = os.path.join(folder, f"{minutes}.flac")
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-stream_loop", str(minutes * 60 // CRATE_S + 1), "-i", crate, "-t",
                    str(minutes * 60), "-c:a", "flac", "-compression_level", "0", path], check=True)
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--program", default=os.path.join(TOP, "build", "forever-root"))
    parser.add_argument("--minutes", default="10,119,180", help="just below two hours most is kept")
    parser.add_argument("--limit-mb", default="64,96,96")
    options = parser.parse_args()
    lengths = [int(n) for n in options.minutes.split(",")]
    limits = [float(n) for n in options.limit_mb.split(",")]
    bad = 0
    with tempfile.TemporaryDirectory(prefix="forever-ears-") as folder:
        maker = os.path.join(os.path.dirname(options.program), "forever-crate")
        subprocess.run([maker, "--out", folder, "--tracks", "1", "--seconds", str(CRATE_S)], check=True)
        crate = sorted(glob.glob(f"{folder}/*.wav"))[0]
        for minutes, limit in zip(lengths, limits):
            path = make(folder, crate, minutes)
            used = usage.of([os.path.abspath(options.program), "analyse", "--json", path])
            os.unlink(path)
            if used.code:
                sys.exit(f"the analysis of {path} failed: status {used.code}")
            heard, high_mb = json.loads(used.said), used.high_kb / 1024
            wrong = high_mb > limit or abs(heard["duration_s"] - minutes * 60) > 1
            bad += wrong
            print("%4d minutes: VmHWM %5.1f MB (limit %.0f), %4.0f times real time%s" %
                  (minutes, high_mb, limit, heard["duration_s"] / used.cpu_s, "  FAILED" if wrong else ""), flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
