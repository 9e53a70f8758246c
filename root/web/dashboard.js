"use strict";
/* The dashboard: /api/stats every two seconds, into tables and tiles; the transition on air, or the next one, with what
 * was measured of it. */

const POLL_MS = 2000;
const $ = (id) => document.getElementById(id);
let previous = null; // the last answer, for rates

function bytes(n) {
  const units = ["B", "kB", "MB", "GB", "TB", "PB"];
  let i = 0;
  while (n >= 1000 && i < units.length - 1) { n /= 1000; i++; }
  return `${i === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)} ${units[i]}`;
}

function duration(s) {
  if (s >= 86400) return `${Math.floor(s / 86400)} d ${Math.floor(s / 3600) % 24} h`;
  if (s >= 3600) return `${Math.floor(s / 3600)} h ${Math.floor(s / 60) % 60} min`;
  return s >= 60 ? `${Math.floor(s / 60)} min ${Math.floor(s) % 60} s` : `${Math.floor(s)} s`;
}

function set(name, value) {
  const node = document.querySelector(`[data-stat=${name}]`);
  const text = String(value);
  if (node.textContent !== text) node.textContent = text;
}

/* Rows of cells [text, class]; nodes are kept where they stand. */
function table(body, rows) {
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((cells, r) => {
    const row = body.rows[r] || body.insertRow();
    cells.forEach(([text, kind], c) => {
      const cell = row.cells[c] || row.insertCell();
      if (cell.textContent !== String(text)) cell.textContent = text;
      cell.className = kind || "";
    });
  });
}

function workerRow(worker) {
  const good = worker.state === "serving" || worker.state === "replacing";
  const idle = worker.state === "waiting" && !worker.restarts; // one that is only there when it is needed
  return [[worker.role], [worker.job ? `${worker.state}, track ${worker.job}` : idle ? "not needed now" : worker.state, good ? "good" : idle ? "" : "bad"],
    [worker.pid || "–", "n"], [worker.generation || "–", "n"], [worker.restarts, "n"],
    [worker.uptime_s === undefined ? "–" : duration(worker.uptime_s), "n"]];
}

/* The transition that sounds, else the next one: what it joins, how, and its certificate. */
function showJoin(programme) {
  const join = programme.segments.find((s) => s.technique !== "play" && s.technique !== "live" && s.end_s > 0);
  $("join").hidden = !join;
  if (!join) return;
  const name = (track) => track ? track.title || "untitled" : "?";
  const when = join.start_s <= 0 ? "now" : `in ${duration(join.start_s)}`;
  const how = join.skip ? ["skip"] : [join.technique];
  if (join.bars) how.push(join.bars === 1 ? "1 bar" : `${join.bars} bars`);
  if (join.tempo_change_pct) how.push(`tempo ${join.tempo_change_pct > 0 ? "+" : "−"}${Math.abs(join.tempo_change_pct).toFixed(1)} %`);
  set("join-head", `Transition ${when}: ${name(join.tracks[0])} → ${name(join.tracks[join.tracks.length - 1])}`);
  set("join-how", how.join(", "));
  const c = join.certificate;
  const verdict = document.querySelector("[data-stat=join-verdict]");
  verdict.className = `verdict ${!c ? "" : c.passed ? "good" : "bad"}`;
  set("join-verdict", !c ? "not measured" : c.passed ? "certificate passed" : `certificate: ${c.failed.join(", ").replaceAll("_", " ")}`);
  const facts = [];
  const fact = (label, value, unit, digits = 1) => { if (value !== undefined) facts.push(`${label} ${value.toFixed(digits)} ${unit}`.trim()); };
  if (c) {
    if (c.beat_error_ms) fact("beats apart", c.beat_error_ms.median, "ms");
    fact("loudness step", c.loudness_step_lu, "LU");
    fact("hole", c.hole_lu, "LU");
    fact("bump", c.bump_lu, "LU");
    fact("consonance", c.consonance, "", 2);
    if (c.tries) facts.push(`${c.tries} other ${c.tries === 1 ? "way" : "ways"} given up`);
  }
  set("join-facts", facts.join(" · ") || "–");
}

/* What is wrong with the station itself, for the list on top; relays.js adds the relays. */
const troubles = { station: [], relays: [] };

function showTroubles() {
  const all = [...troubles.station, ...troubles.relays];
  const list = $("attention");
  while (list.children.length > all.length) list.lastChild.remove();
  all.forEach(([level, what, words], i) => {
    const row = list.children[i] || list.appendChild(document.createElement("li"));
    const text = `${what}: ${words}`;
    if (row.textContent !== text) {
      row.textContent = "";
      row.appendChild(document.createElement("b")).textContent = what;
      row.append(`: ${words}`);
    }
    row.className = level;
  });
  $("all-well").hidden = all.length > 0;
}

function stationTroubles(stats) {
  const found = [];
  if (stats.starved) found.push(["bad", "Programme", "it has run dry: nothing is on air"]);
  else if (stats.lead_s < stats.lead_target_s / 4 && stats.uptime_s > 120 && stats.live.state !== "on air")
    found.push(["note", "Programme", `only ${stats.lead_s.toFixed(0)} s are ready ahead of the air, of ${stats.lead_target_s.toFixed(0)} s`]);
  if (stats.listeners >= stats.max_listeners) found.push(["bad", "Root", "full: listeners are turned away"]);
  if (stats.process.fd_limit && stats.process.fds > 0.9 * stats.process.fd_limit)
    found.push(["bad", "Root", `runs out of descriptors: ${stats.process.fds} of ${stats.process.fd_limit}`]);
  for (const worker of stats.workers)
    if (worker.restarts > 2 && (worker.state === "waiting" || worker.state === "ended")) found.push(["bad", `Worker ${worker.role}`, "it keeps ending; see the log"]);
  if (stats.analysis.failed) found.push(["note", "Library", `${stats.analysis.failed} ${stats.analysis.failed === 1 ? "track" : "tracks"} can't be used`]);
  troubles.station = found;
  showTroubles();
}

function show(stats, now) {
  $("station").textContent = stats.station;
  set("listeners", stats.listeners);
  set("limit", `relays from ${stats.relay_limit} on, at most ${stats.max_listeners}`);
  set("listeners_total", stats.listeners_total);
  set("peak", stats.peak);
  set("lead", `${stats.lead_s.toFixed(0)} s`);
  $("lead").value = Math.min(1, stats.lead_s / stats.lead_target_s);
  set("bytes", bytes(stats.bytes_out + stats.link_bytes_out));
  if (previous && stats.time > previous.time) {
    const sent = stats.bytes_out + stats.link_bytes_out - previous.bytes_out - previous.link_bytes_out;
    set("rate", `${bytes(Math.max(0, sent) / (stats.time - previous.time))}/s`);
    set("cpu", `${(100 * Math.max(0, stats.process.cpu_s - previous.process.cpu_s) / (stats.time - previous.time)).toFixed(1)} %`);
  }
  set("uptime", duration(stats.uptime_s));
  set("version", stats.version);
  set("memory", bytes(stats.process.private_bytes));
  set("onair", now.text || (now.on_air ? "untitled" : "nothing yet"));
  set("position", stats.position);
  set("branch", stats.branch);
  set("starvations", stats.starvations);
  const a = stats.analysis;
  $("analysis").value = a.total ? (a.analysed + a.failed) / a.total : 0;
  set("analysis", `${a.total} tracks: ${a.analysed} analysed, ${a.failed} failed, ${a.pending} to go` + (a.outdated ? `, ${a.outdated} to be heard again` : ""));
  stationTroubles(stats);
  table($("agents"), Object.entries(stats.agents).map(([family, n]) => [[family], [n, "n"]]));
  table($("workers"), stats.workers.map(workerRow));
  previous = stats;
}

async function poll() {
  try {
    const [stats, now, programme] = await Promise.all(
      ["/api/stats", "/api/now", "/api/segments"].map((path) => fetch(path, { cache: "no-store" }).then((a) => a.json())));
    show(stats, now);
    showJoin(programme);
    $("notice").textContent = "";
  } catch {
    $("notice").textContent = "The station does not answer; trying again.";
  }
}

poll();
setInterval(poll, POLL_MS);
