"use strict";
/* The player. What is shown follows what is heard, not what is on air: the stream is asked for from a known
 * position, so the position heard is that one plus the time the audio element has played. While nothing plays,
 * the air's own position is shown. A position is a number of frames since the station's first one.
 *
 * A browser whose connection breaks asks the same node again and again, and plays what it holds meanwhile. When that
 * node does not come back, the station is asked once more, by a second element, and that one takes over a moment later
 * at the very frame: while the first one still plays. When the station itself does not answer, another node of it is
 * asked (nodes.js): for the programme while it holds some, then for the loop. */

const POLL_MS = 5000;
// where a listener starts behind the air: the buffer outlasts a restart of its node
const BEHIND_S = Math.min(30, Math.max(0, Number(new URLSearchParams(location.search).get("burst") ?? 15)));
const STALL_MS = 8000;
const STALL_LOOP_MS = 2000; // while there is no programme, and the loop is there to be heard; or while the station is away
const GONE_MS = 5000; // the browser has asked in vain for so long: by now the station knows, too
const ASKS_MS = 3000; // it asks more often than this
const JOIN_S = 1.5; // the second element has so long to get ready

const $ = (id) => document.getElementById(id);
let audio = $("audio");
let spare = null; // the element that takes over, at position spareFrom
let spareFrom = 0;
let spareTimer = null;
let spareAfter = 0; // not before
let firstBreak = 0; // of connections since when none held
let lastBreak = -Infinity;
let joined = false; // this element took over from another: it is heard from its first moment
let programme = null; // the last answer of /api/segments
let answeredAt = 0; // performance.now() of it
let station = null; // the last answer of /api/now
let startPosition = 0; // of the stream that plays
let wanted = false; // the listener wants music
let retry = null;
let lastTime = 0;
let lastMoved = 0;
let shown = "";
let loops = false; // the loop is heard, since there is no programme: its address has no position
let stood = 0; // where the programme stood then: what lies before it was heard
let away = false; // the station does not answer

const frameSeconds = () => (programme ? programme.frame_s : 1152 / 44100);

function airPosition() {
  if (!programme) return 0;
  return programme.position + (performance.now() - answeredAt) / 1000 / frameSeconds();
}

function heardPosition() {
  if (!wanted || (audio.currentTime === 0 && !joined)) return airPosition();
  return startPosition + audio.currentTime / frameSeconds();
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function clock(seconds) {
  const s = Math.max(0, Math.round(seconds));
  return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, "0")}`;
}

const startOf = (segment) => segment.start_sample / 1152;
const endOf = (segment) => segment.end_sample / 1152;

/* Tracks in order of their first sound, from segments: [{track, title, artist, from, to}]. */
function tracksOf(segments) {
  const list = [];
  for (const segment of segments) {
    for (const track of segment.tracks) {
      const last = list.findLast((t) => t.track === track.track && t.to >= startOf(segment) - 2);
      if (last) last.to = endOf(segment);
      else list.push({ ...track, from: startOf(segment), to: endOf(segment) });
    }
  }
  return list;
}

function titleAt(position) {
  let found = null;
  for (const title of programme.titles) if (title.position <= position) found = title;
  return found;
}

function showCover(id) {
  const image = $("art");
  const path = id ? `/art/${id}` : "";
  if (image.dataset.path === path) return;
  image.dataset.path = path;
  image.hidden = true;
  if (!path) return;
  // asked for quietly first: many tracks have no picture, and a missing one is no error to complain about
  const quiet = `${path}?quiet=1`;
  fetch(quiet).then((answer) => {
    if (answer.status !== 200 || image.dataset.path !== path) return;
    image.src = quiet; // from the cache
    image.hidden = false;
  }).catch(() => {});
}

function describe(segment, track) {
  const facts = [];
  if (segment.technique && segment.technique !== "play") facts.push(segment.technique === "live" ? "live" : `mixing: ${segment.technique}`);
  if (track && track.tempo_bpm) facts.push(`${track.tempo_bpm.toFixed(1)} BPM`);
  if (track && track.camelot) facts.push(track.camelot);
  if (track && track.album) facts.push(track.album);
  return facts.join(" · ");
}

function announce(title, artist) {
  if ("mediaSession" in navigator && window.MediaMetadata)
    navigator.mediaSession.metadata = new MediaMetadata({ title, artist, album: station ? station.station : "" });
}

function render() {
  if (!programme) return;
  const position = heardPosition();
  const segments = programme.segments;
  const segment = segments.find((s) => startOf(s) <= position && position < endOf(s));
  const tracks = tracksOf(segments);
  const title = station && station.loop && (loops || !wanted) ? station : titleAt(position);
  const playing = tracks.findLast((t) => t.from <= position && title && t.title === title.title && t.artist === title.artist)
    || tracks.findLast((t) => t.from <= position);
  const name = title ? title.title || title.text : "Nothing on air yet";
  const artist = title ? title.artist || "" : "The first track is being prepared.";
  if (shown !== `${name}\n${artist}`) {
    shown = `${name}\n${artist}`;
    setText($("title"), name);
    setText($("artist"), artist);
    announce(name, artist);
    document.title = wanted ? `▶ ${name}` : `${name} · ${station ? station.station : "forever"}`;
    showCover(playing ? playing.track : 0);
  }
  setText($("state"), wanted && audio.currentTime > 0 ? "You hear" : "On air");
  if (playing) {
    const share = Math.min(1, Math.max(0, (position - playing.from) / (playing.to - playing.from)));
    $("bar").style.transform = `scaleX(${share.toFixed(4)})`;
    setText($("facts"), segment ? describe(segment, playing) : "");
  }
  const index = playing ? tracks.indexOf(playing) : -1;
  list($("next"), tracks.slice(index + 1, index + 9), (t) => `in ${clock((t.from - position) * frameSeconds())}`);
  list($("past"), tracks.slice(0, Math.max(0, index)).reverse().slice(0, 8),
    (t) => `${clock((position - t.from) * frameSeconds())} ago`);
}

/* One line per track; nodes are kept, so that a reader or a selection is not disturbed. */
function list(node, tracks, when) {
  while (node.children.length > tracks.length) node.lastElementChild.remove();
  while (node.children.length < tracks.length) {
    const line = document.createElement("li");
    for (const part of ["name", "who", "time"]) {
      const span = document.createElement("span");
      span.className = part;
      line.append(span);
    }
    node.append(line);
  }
  tracks.forEach((track, i) => {
    const [name, who, time] = node.children[i].children;
    setText(name, track.title || "Untitled");
    setText(who, track.artist || "");
    setText(time, when(track));
  });
}

async function poll() {
  try {
    const [now, segments] = await Promise.all(
      ["/api/now", "/api/segments"].map((path) => fetch(path, { cache: "no-store" }).then((a) => a.json())));
    station = now;
    programme = segments;
    away = false;
    answeredAt = performance.now();
    if (wanted && loops && !now.loop) connect(Math.max(stood, airPosition() - BEHIND_S / frameSeconds()));
    setText($("station"), now.station);
    setText($("listeners"), now.listeners === 1 ? "1 listener" : `${now.listeners} listeners`);
    render();
    await learnNodes();
  } catch {
    away = true; // the programme at hand reaches minutes ahead: go on with it
  }
}

/* Playing */

function notice(text) {
  setText($("notice"), text);
}

function showButton() {
  $("play").setAttribute("aria-pressed", String(wanted));
  $("play").setAttribute("aria-label", wanted ? "Stop" : "Play");
}

const address = (position) => `/stream.mp3?from=${position}&burst=${BEHIND_S}`;

function begin(position, joins) {
  startPosition = position;
  joined = joins;
  lastTime = 0;
  lastBreak = -Infinity;
  lastMoved = performance.now();
}

/* there: another node to listen at (nodes.js), null for where the station sends us. */
function connect(position, there = null) {
  begin(Math.max(0, Math.floor(position)), false);
  dropSpare();
  if (there) {
    if (there.loop && !loops) stood = startPosition;
    station = { ...station, loop: there.loop, position: stood, title: there.title, artist: "" };
  }
  loops = Boolean(station && station.loop);
  if (loops) stood = station.position;
  audio.src = there ? there.url : address(startPosition); // the browser goes on by itself after a cut
  audio.play().catch((error) => {
    if (error.name === "AbortError") return;
    if (error.name === "NotAllowedError") { stop(); notice("Press play once more: the browser asked for it."); }
  });
}

/* Another node, while what is held lasts. */

function dropSpare() {
  if (!spare) return;
  clearInterval(spareTimer);
  spare.removeAttribute("src");
  spare.load();
  spare = null;
}

async function moveOn() {
  spareAfter = performance.now() + PATIENCE_MS; // one question at a time
  const there = away ? await listenElsewhere(Math.floor(heardPosition() + JOIN_S / frameSeconds()), BEHIND_S) : null;
  if (!wanted || spare || (there && there.loop)) return; // the loop waits until what is held has been heard
  spareFrom = there ? there.from : Math.floor(heardPosition() + JOIN_S / frameSeconds());
  spare = document.createElement("audio");
  spare.id = audio.id;
  spare.preload = "auto";
  spare.volume = audio.volume;
  spare.addEventListener("error", () => {
    if (spare) spareAfter = performance.now() + 500 + Math.random() * 1500;
    dropSpare();
  });
  spare.src = there ? there.url : address(spareFrom);
  spareTimer = setInterval(takeOver, 20);
}

function takeOver() {
  const until = (spareFrom - startPosition) * frameSeconds() - audio.currentTime;
  const dry = audio.readyState < HTMLMediaElement.HAVE_FUTURE_DATA;
  if (spare.readyState < HTMLMediaElement.HAVE_FUTURE_DATA || (until > 0.02 && !dry)) return;
  const [old, next] = [audio, spare];
  clearInterval(spareTimer);
  clearTimeout(retry);
  spare = retry = null;
  notice("");
  old.pause();
  // timers of a page that nobody looks at are late
  if (until < -0.1 && next.seekable.length && next.seekable.end(0) > -until) next.currentTime = -until;
  old.replaceWith(next);
  audio = next;
  listenTo(next);
  begin(spareFrom, true);
  next.play().catch((error) => {
    if (error.name !== "NotAllowedError") return;
    next.replaceWith(old); // that one was pressed, and may
    audio = old;
    connect(spareFrom);
  });
  old.removeAttribute("src");
  old.load();
}

/* Each connection of the element that ended, or was not made: told by the browser. */
function watchConnections(list) {
  const now = performance.now();
  for (const entry of list.getEntries()) {
    if (!entry.name.includes("/stream.mp3?") || (spare && entry.name.includes(`from=${spareFrom}&`))) continue;
    if (now - lastBreak > ASKS_MS) firstBreak = now;
    lastBreak = now;
  }
  if (wanted && !spare && now - lastBreak < ASKS_MS && now - firstBreak > GONE_MS && now > spareAfter && audio.currentTime > 0)
    moveOn();
}

function start() {
  wanted = true;
  notice("");
  showButton();
  connect(airPosition() - BEHIND_S / frameSeconds());
}

function stop() {
  wanted = false;
  clearTimeout(retry);
  retry = null;
  dropSpare();
  audio.pause();
  audio.removeAttribute("src");
  audio.load();
  showButton();
  notice("");
  shown = "";
  render();
}

/* The stream ended or stands still: ask again from the very frame that was heard last. */
function resume() {
  if (!wanted || retry || spare) return;
  const position = heardPosition();
  notice("Connecting again…");
  retry = setTimeout(async () => {
    const there = away ? await listenElsewhere(Math.floor(position), BEHIND_S) : null;
    retry = null;
    if (wanted) connect(position, there);
  }, 500 + Math.random() * 1500);
}

function watch() {
  if (wanted) {
    if (audio.currentTime !== lastTime) {
      if (audio.currentTime > 0.5) notice("");
      lastTime = audio.currentTime;
      lastMoved = performance.now();
    } else if (performance.now() - lastMoved > ((away || (station && station.loop)) && !loops ? STALL_LOOP_MS : STALL_MS)) {
      lastMoved = performance.now();
      resume();
    }
  }
  render();
}

$("play").addEventListener("click", () => (wanted ? stop() : start()));
function listenTo(element) {
  for (const kind of ["ended", "error"])
    element.addEventListener(kind, () => { if (element === audio && wanted && element.getAttribute("src")) resume(); });
}
listenTo(audio);
if (window.PerformanceObserver) new PerformanceObserver(watchConnections).observe({ type: "resource" });
const volume = $("volume");
try { volume.value = localStorage.getItem("volume") ?? "1"; } catch { /* storage may be off */ }
audio.volume = Number(volume.value);
volume.addEventListener("input", () => {
  audio.volume = Number(volume.value);
  try { localStorage.setItem("volume", volume.value); } catch { /* as above */ }
});
document.addEventListener("keydown", (event) => {
  if (event.code !== "Space" || event.target.closest("button, input, a")) return;
  event.preventDefault();
  $("play").click();
});
if ("mediaSession" in navigator) {
  navigator.mediaSession.setActionHandler("play", () => { if (!wanted) start(); });
  navigator.mediaSession.setActionHandler("pause", () => { if (wanted) stop(); });
}
showButton();
poll();
setInterval(poll, POLL_MS);
setInterval(watch, 500);
