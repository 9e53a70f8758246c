"""What a test starts, and that it ends; tests that wait beside each other."""
import os
import secrets
import shutil
from concurrent.futures import ThreadPoolExecutor

import harness


class Stage:
    """Programs and states of one test. end() stops what still runs."""

    def __init__(self, states, scratch, token):
        self.states, self.scratch, self.token, self.running = states, scratch, token, []

    @property
    def crate(self):
        return self.states.crate

    def folder(self, name="state"):
        """A name for a folder, which is not there yet."""
        return os.path.join(self.scratch, name + "-" + secrets.token_hex(4))

    def state(self, aired=0):
        """A copy of the analysed state; aired: one of a station that has been on air, with so many kbit/s."""
        folder = self.folder()
        shutil.copytree(self.states.aired(aired) if aired else self.states.analysed, folder)
        return folder

    def root(self, library=None, state=None, aired=False, **options):
        options.setdefault("relay_token_file", self.token)
        state = state or self.state(options.get("bitrate", 128) if aired else 0)
        self.running.append(harness.Root(library or self.crate, state, **options))
        return self.running[-1]

    def relay(self, root, state=None, token_file=None, **options):
        self.running.append(harness.Relay(root, state or self.folder("relay"), token_file or self.token, **options))
        return self.running[-1]

    def end(self):
        """All at the same time."""
        ending = [program for program in reversed(self.running) if program.ask_to_end()]
        for program in ending:
            program.ended()


class States:
    """State folders to copy."""

    AIRED_S = 15

    def __init__(self, shared, crate):
        self.shared, self.crate = shared, crate

    @property
    def analysed(self):
        """Every track of the crate is analysed and nothing has been aired."""
        return harness.once(os.path.join(self.shared, "analysed"), lambda state: harness.analyse(self.crate, state))

    def aired(self, kbps):
        """Of a station with so many kbit/s that holds AIRED_S seconds. They lie behind the air once as much time has
        passed, whether it runs or not: the next to start on this goes on there, and has a past to begin bursts in."""
        def make(kept):
            state = kept + "-first"
            shutil.copytree(self.analysed, state)
            root = harness.Root(self.crate, state, wait=False, bitrate=kbps, lead=self.AIRED_S)
            try:
                root.wait_up()
                harness.wait_for(lambda: root.stats()["lead_s"] > self.AIRED_S - 1, "it holds its lead", 30)
            finally:
                root.kill()
            for name in os.listdir(state):
                if name.startswith(("library", "main.ring")):
                    shutil.copy(os.path.join(state, name), kept)
            shutil.rmtree(state)
        return harness.once(os.path.join(self.shared, f"aired-{kbps}"), make)


class Together:
    """Tests of one file that mostly wait: `together = Together(3)`, and before each `@together`. The first of those
    that were selected begins them all, so many at a time, in their order; each reports for itself. A test takes a
    Stage of its own."""

    def __init__(self, at_once):
        self.at_once, self.bodies, self.outcomes = at_once, [], {}

    def __call__(self, body):
        def test(stages, request):
            self.begin(stages, {item.name for item in request.session.items})
            self.outcomes[body].result()
        test.__name__, test.__doc__, test.__module__ = body.__name__, body.__doc__, body.__module__
        self.bodies.append(body)
        return test

    def begin(self, stages, selected):
        if self.outcomes:
            return
        pool = ThreadPoolExecutor(self.at_once)
        for body in self.bodies:
            if body.__name__ in selected:
                self.outcomes[body] = pool.submit(self.run, body, stages)
        pool.shutdown(wait=False)

    @staticmethod
    def run(body, stages):
        stage = stages()
        try:
            body(stage)
        finally:
            stage.end()
