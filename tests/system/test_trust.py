"""What the analysis trusts: a voice that speaks has no beat, drums have one."""
import glob
import json
import subprocess

import harness
from harness import ROOT

TEXT = ("The station plays on through the night, and nobody who listens in the small hours knows who has gone home. "
        "A relay wakes when the first listener comes, and rests when the last one leaves. In between there is a stream "
        "of frames, each of them numbered, none of them lost. ") * 3


def test_speech_is_not_trusted_and_drums_are(crate, scratch):
    files = sorted(glob.glob(f"{crate}/*.wav"))[:1]
    for voice, words_a_minute in (("en", 150), ("en-us", 190), ("de", 130)):
        files.append(f"{scratch}/speech-{voice}.wav")
        subprocess.run(["espeak-ng", "-v", voice, "-s", str(words_a_minute), "-w", files[-1], TEXT], check=True)
    done = subprocess.run([ROOT, "analyse", "--json", *files], stdout=subprocess.PIPE, check=True, text=True, timeout=harness.HANG_S)
    drums, *speech = map(json.loads, done.stdout.splitlines())
    assert drums["tempo_confidence"] >= 0.5
    assert len(speech) == 3
    for track in speech:
        assert track["tempo_confidence"] < 0.5, (track["file"], track["tempo_bpm"], track["tempo_confidence"])
