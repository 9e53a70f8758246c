"""The relay network in virtual time, at a reduced size: the bounds that hold at any (`make sim` is the whole)."""
import os
import subprocess
import sys

import harness


def test_a_crowd_a_month_and_a_tree_keep_their_bounds():
    seed = harness.draw_seed()
    told = subprocess.run([os.path.join(harness.TOP, "tests/sim/run"), "--quick", "--seed", str(seed)],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=harness.HANG_S,
                          env={**os.environ, "BUILD": os.environ.get("BUILD", "build")}, check=False)
    print(told.stdout, file=sys.stderr)
    assert told.returncode == 0, f"seed {seed}\n{told.stdout}"
