"""What the studio does with the longest blends that the planner allows, and with large covers, stays within its memory."""
import glob
import json
import os
import sys

import harness
import usage

sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bench", "mix"))
import longest  # noqa: E402
import studio_memory  # noqa: E402

# The studio's limit is 96 MB. Beside what is done here, it holds the rest of the blend on the air (4 MB), a limiter, an
# encoder and the decoders of that (4 MB); tests/bench/mix/run --studio-only measures a station.
LIMIT_KB = 86_000
COVER_BYTES, COVERED_KB = 20_000_000, 70_000  # of short tracks; each cover that is held adds one


def test_the_longest_blend_is_rehearsed_and_rendered(tmp_path):
    library = longest.make(os.path.join(harness.BUILD, "long-pair"), 2)
    state, out = str(tmp_path), str(tmp_path / "blend.mp3")
    longest.prepare(library, state)
    used = usage.of([harness.ROOT, "audition", *(os.path.join(library, f"long-{i}.wav") for i in (0, 1)), "--state", state,
                     "--around", "1", "--out", out], limit_s=harness.HANG_S)
    assert used.code == 0
    told = json.loads(used.said)
    length = told["end_s"] - told["start_s"]
    print(f"{told['technique']} of {length:.1f} s: {used.high_kb} KiB")
    assert told["technique"] == "blend" and length > longest.LEAST_S and told["certificate"]["passed"], told
    assert used.high_kb * 1.024 <= LIMIT_KB * (10 if harness.is_sanitized() else 1), f"{used.high_kb} KiB"


def test_covers_are_not_held_while_tracks_play(crate, tmp_path):
    """Both tracks of a transition have a cover of 20 MB; there are up to four decoders at once."""
    picture, tracks = str(tmp_path / "cover.png"), [str(tmp_path / f"{i}.mp3") for i in (0, 1)]
    studio_memory.cover(picture, COVER_BYTES)
    for source, track in zip(sorted(glob.glob(os.path.join(crate, "*.wav"))), tracks):
        studio_memory.run_ffmpeg("-ss", "10", "-t", "30", "-i", source, "-i", picture, "-map", "0:a", "-map", "1:v", "-c:a",
                                 "libmp3lame", "-b:a", "128k", "-c:v", "copy", "-disposition:v", "attached_pic", track)
        assert os.path.getsize(track) > COVER_BYTES * 0.95
    used = usage.of([harness.ROOT, "audition", *tracks, "--around", "1", "--out", str(tmp_path / "out.mp3")],
                    limit_s=harness.HANG_S)
    print(f"{used.high_kb} KiB")
    assert used.code == 0 and used.high_kb * 1.024 <= COVERED_KB * (10 if harness.is_sanitized() else 1), f"{used.high_kb} KiB"


def test_what_is_counted_is_not_the_runners():
    """However large the process that measures has become, what a small one takes is told."""
    size = 8 * usage.LEAST_KB << 10
    ballast = bytearray(b"x" * size)
    used = usage.of(["/bin/sh", "-c", f"echo {len(ballast)}; exit 3"])
    assert (used.said.strip(), used.code) == (str(size), 3)
    assert used.high_kb <= usage.LEAST_KB, f"{used.high_kb} KiB"
