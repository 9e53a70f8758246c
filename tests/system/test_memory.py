"""What the studio does with the longest blends that the planner allows stays within its memory."""
import json
import os
import subprocess
import sys

import harness

sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bench", "mix"))
import longest  # noqa: E402

# The studio's limit is 96 MB. Beside what is done here, it holds the rest of the blend on the air (4 MB), a limiter, an
# encoder and the decoders of that (4 MB); tests/bench/mix/run --studio-only measures a station.
LIMIT_KB = 86_000


def test_the_longest_blend_is_rehearsed_and_rendered(tmp_path):
    library = longest.make(os.path.join(harness.BUILD, "long-tracks"))
    state, out = str(tmp_path), str(tmp_path / "blend.mp3")
    longest.prepare(library, state)
    process = subprocess.Popen([harness.ROOT, "audition", *(os.path.join(library, f"long-{i}.wav") for i in (0, 1)), "--state",
                                state, "--around", "1", "--out", out], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    assert process.returncode == 0
    told = json.loads(said)
    length = told["end_s"] - told["start_s"]
    print(f"{told['technique']} of {length:.1f} s: {used.ru_maxrss} kB")
    assert told["technique"] == "blend" and length > longest.LEAST_S and told["certificate"]["passed"], told
    assert used.ru_maxrss * 1.024 <= LIMIT_KB * (10 if harness.is_sanitized() else 1), f"{used.ru_maxrss} KiB"
