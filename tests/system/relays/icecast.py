"""An Icecast server as a relay of ours: registered by its address, asked for its listeners, routed to, and dead when the
mount is gone. What it pulls itself is no listener."""
from harness import Listener, request, wait_for
from relays import together
from test_icecast import Icecast


@together
def test_icecast_is_a_relay(start):
    root = start.root(aired=True, relay_limit=0, lead=10)
    cast = Icecast(start.folder("icecast"), root.port, wait=False)
    said = root.ctl("relay", "add", "rented", "--icecast", cast.url + "/ours.mp3", "--max-listeners", "2", "--region", "eu")
    assert said.returncode == 0, said.stdout

    def relay():
        return next(r for r in root.stats()["relays"] if r["name"] == "rented")
    assert not relay()["healthy"]
    wait_for(lambda: "rented" in root.log() and "does not answer" in root.log(), "it is asked before it is there", 5)
    cast.start()
    try:
        wait_for(lambda: relay()["healthy"], f"it carries the stream: {root.log()[-500:]}", 8)
        stats = root.stats()
        assert (stats["accepted"], stats["listeners"], stats["links"]) == (0, 0, 1), "its pull is no listener"
        assert stats["link_bytes_out"] > 0 == stats["bytes_out"] and relay()["max_listeners"] == 2
        with Listener(root.url) as sent:
            assert sent.status == 302 and sent.headers["location"].split("?")[0] == cast.url + "/ours.mp3"
        # who is to resume is not sent to a server that can't
        listen = request(root.url, "/api/listen").json()
        assert listen["url"].startswith(root.url), listen
        with Listener(root.url, "/stream.mp3?from=1&nearest=1") as resumable:
            assert resumable.status == 200
        with Listener(cast.url, "/ours.mp3") as one, Listener(cast.url, "/ours.mp3") as two:
            assert one.read(20000) and two.read(20000)
            wait_for(lambda: relay()["listeners"] == 2 == root.stats()["listeners_total"], "both are known of", 5)
            wait_for(lambda: relay()["bytes_out"] > 0, "what it sends is estimated", 5)
            with Listener(root.url) as full:  # nobody is sent there any more
                assert full.status == 200
        shown = root.ctl("relay", "show", "rented").stdout
        assert "icecast" in shown and cast.url in shown, shown
    finally:
        missed = root.log().count("does not answer")
        cast.stop()
    # silent: what becomes of silent relays is the registry's to say
    wait_for(lambda: root.log().count("does not answer") == missed + 1, "it is missed", 5)
    wait_for(lambda: root.stats()["links"] == 0, "its pull has ended")
