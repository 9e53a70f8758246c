"""HLS with real players, and with real caches in front of it."""
import os
import re
import struct
import threading
import urllib.parse

import harness
import pytest

SEGMENT = 196  # frames


def playlist(url, least=3, path="/hls/stream/index.m3u8"):
    """[(branch, position)] of a media playlist, once there are enough."""
    def listed():
        answer = harness.request(url, path)
        return re.findall(r"^(\d+)-(\d+)\.mp3$", answer.body.decode(), re.M) if answer.status == 200 else []
    found = harness.wait_for(lambda: len(listed()) >= least and listed(), f"{least} segments have aired", 30)
    return [(int(branch), int(position)) for branch, position in found]


def fetch(url, branch, position):
    answer = harness.request(url, f"/hls/stream/{branch}-{position}.mp3")
    assert answer.status == 200, answer.body
    return answer


def strip(segment):
    """(tag, frames)"""
    assert segment[:3] == b"ID3"
    size = 0
    for byte in segment[6:10]:
        size = size << 7 | byte
    return segment[:10 + size], segment[10 + size:]


def counter(url, name):
    text = harness.request(url, "/metrics").body.decode()
    return int(float(re.search(rf"^{name} (\S+)", text, re.M).group(1)))


def test_segments_are_the_stream(station):
    names = playlist(station.url)
    for (_, a), (_, b) in zip(names, names[1:]):
        assert b == a + SEGMENT
    tags, frames = zip(*[strip(fetch(station.url, *name).body) for name in names[-3:]])
    for tag, (_, position) in zip(tags, names[-3:]):
        stamp = tag[tag.index(b"transportStreamTimestamp\0") + 25:][:8]
        assert struct.unpack(">Q", stamp)[0] == position * 115200 // 49 % 2**33
    with harness.Listener(station.url, f"/stream.mp3?from={names[-3][1]}") as listener:
        assert listener.position == names[-3][1]
        size = harness.frame_offset(192, names[-3][1] + 3 * SEGMENT) - harness.frame_offset(192, names[-3][1])
        assert b"".join(frames) == listener.read(size)


def test_ffmpeg_plays_it(station, tmp_path):
    playlist(station.url)
    out = str(tmp_path / "hls.mp3")
    status, said = harness.ffmpeg("-nostdin", "-v", "warning", "-i", station.url + "/hls/index.m3u8", "-t", "8",
                                  "-c", "copy", "-f", "mp3", "-write_xing", "0", "-id3v2_version", "0", out)
    assert status == 0 and "rror" not in said, said
    with open(out, "rb") as f:
        frames = harness.split_frames(f.read())
    assert len(frames) > 7.5 / harness.FRAME_S
    harness.assert_clean_audio(out)


NGINX = """daemon off; master_process off; pid {dir}/pid; error_log {dir}/error.log;
events {{ worker_connections 256; }}
http {{
  access_log off; client_body_temp_path {dir}/b; proxy_temp_path {dir}/t; fastcgi_temp_path {dir}/f;
  uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s;
  proxy_cache_path {dir}/cache keys_zone=hls:1m max_size=64m;
  server {{
    listen 127.0.0.1:{port};
    location /hls/ {{ proxy_pass {root}; proxy_cache hls; proxy_cache_lock on; add_header X-Cache $upstream_cache_status; }}
  }}
}}
"""


def nginx(root_url, port, folder):
    os.makedirs(folder)
    path = os.path.join(folder, "nginx.conf")
    with open(path, "w") as f:
        f.write(NGINX.format(dir=folder, port=port, root=root_url))
    return ["/usr/sbin/nginx", "-c", path, "-e", os.path.join(folder, "error.log")]


def varnish(root_url, port, folder):
    os.makedirs(folder)
    return ["/usr/sbin/varnishd", "-F", "-j", "none", "-n", folder, "-a", f"127.0.0.1:{port}", "-b",
            urllib.parse.urlsplit(root_url).netloc, "-s", "malloc,32m", "-p", "thread_pools=1"]


@pytest.mark.parametrize("cache", [nginx, varnish])
def test_a_cache_asks_once_for_each_segment(station, tmp_path, cache):
    names = playlist(station.url)[-3:]
    port = harness.free_port()
    proxy = harness.Program(cache(station.url, port, str(tmp_path / "cache")), str(tmp_path / "log"))
    url = f"http://127.0.0.1:{port}"
    try:
        def up():
            assert proxy.alive(), proxy.log()
            try:
                return harness.request(url, "/hls/index.m3u8").status == 200
            except OSError:
                return False
        harness.wait_for(up, "the cache answers", 30)
        before = counter(station.url, "forever_hls_segments_total")
        bodies, errors = [], []

        def listen():
            try:
                for name in names:
                    bodies.append((name, fetch(url, *name).body))
            except Exception as error:  # noqa: BLE001 - told below
                errors.append(error)
        threads = [threading.Thread(target=listen) for _ in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not errors, errors
        assert len(bodies) == 12 * len(names)
        for name in names:
            assert len({body for n, body in bodies if n == name}) == 1
        assert counter(station.url, "forever_hls_segments_total") - before == len(names)
        # playlists are renewed: what airs later is listed through the cache
        newest = names[-1][1]
        harness.wait_for(lambda: playlist(url)[-1][1] > newest, "the cache's playlist moves on", 15)
    finally:
        proxy.stop()


def test_names_last_over_a_restart(start):
    root = start.root(bitrate=128)
    names = playlist(root.url, 1)
    kept = {name: fetch(root.url, *name) for name in names}
    root.kill()
    again = start.root(library=None, state=root.state, port=root.port, bitrate=128)
    for name, answer in kept.items():
        after = fetch(again.url, *name)
        assert after.body == answer.body
        assert after.headers["ETag"] == answer.headers["ETag"]
    assert playlist(again.url, 1)[-1][1] >= names[-1][1]
