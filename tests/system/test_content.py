"""What the analysis says of the music: phrases, parts and what they hold, on tracks whose arrangement is known."""
import glob
import json
import os
import subprocess

import pytest

import harness
from harness import ROOT

CUT_BARS = 3


def read_truth(wav):
    """Seconds of every bar's beginning."""
    with open(wav[:-4] + ".beats", encoding="utf-8") as lines:
        return [float(t) for t, place in (line.split() for line in lines) if place == "1"]


@pytest.fixture(scope="module")
def heard(scratch):
    """[(bars of the track, those missing at its beginning, analysis)]: three whole tracks, and one without its first
    three bars."""
    crate = harness.make_crate(os.path.join(scratch, "content"), 3, 112, seed=21)
    whole = sorted(glob.glob(f"{crate}/*.wav"))
    truths, files = [(read_truth(f), 0) for f in whole], list(whole)
    for f in whole[:1]:
        bars, short = read_truth(f), f"{crate}/short-{len(files)}.flac"
        cut = bars[CUT_BARS] - 0.02
        subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-ss", f"{cut:.4f}", "-i", f, short], check=True)
        truths.append(([b - cut for b in bars], CUT_BARS))
        files.append(short)
    done = subprocess.run([ROOT, "analyse", "--json", *files], stdout=subprocess.PIPE, text=True, check=True,
                          timeout=harness.HANG_S, stdin=subprocess.DEVNULL)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [r["file"] for r in found] == files
    return [(bars, missing, r) for (bars, missing), r in zip(truths, found)]


def test_phrases_begin_where_they_do(heard):
    for bars, _, r in heard:
        assert r["metre"] == 4 and r["phrase_confidence"] > 0.5, r["file"]
        phrase = r["downbeats_s"][r["phrase_bar"]]
        bar = min(range(len(bars)), key=lambda i: abs(bars[i] - phrase))
        assert abs(bars[bar] - phrase) < 0.05 and bar % 8 == 0, (r["file"], phrase, bar)
        assert r["phrase16_bar"] in (r["phrase_bar"], r["phrase_bar"] + 8)


def test_parts_begin_with_phrases_and_are_named(heard):
    for bars, missing, r in heard:
        if missing:
            continue
        labels = [s["label"] for s in r["sections"]]
        assert labels[0] == "intro" and labels[-1] == "outro" and "breakdown" in labels and "drop" in labels, (r["file"], labels)
        for s in r["sections"][1:]:
            bar = min(range(len(bars)), key=lambda i: abs(bars[i] - s["start_s"]))
            assert abs(bars[bar] - s["start_s"]) < 0.05 and bar % 8 == 0, (r["file"], s)


def test_character(heard):
    """Dance music without a voice, some four onsets a second."""
    for _, _, r in heard:
        assert 0.6 < r["danceability"] <= 1 and 0.3 < r["energy"] <= 1, r["file"]
        assert r["vocal"] < 0.2 and 3 < r["onset_density"] < 9, r["file"]
        assert len(r["key_scores"]) == 24 and max(r["key_scores"]) == 1, r["file"]
