"use strict";
/* The dashboard: /api/stats every two seconds, into tables and tiles. */

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

function relayRow(relay) {
  const state = !relay.healthy ? "silent" : relay.draining ? "draining" : relay.pulling ? "pulling" : "asleep";
  const lag = relay.lag_s === null ? "–" : `${(relay.lag_s * 1000).toFixed(0)} ms`;
  return [[`${relay.name} ${relay.public_url}`], [state, relay.healthy ? "good" : "bad"],
    [`${relay.listeners} / ${relay.max_listeners}`, "n"], [bytes(relay.bytes_out), "n"], [bytes(relay.bytes_in), "n"],
    [`${relay.lead_s.toFixed(0)} s`, "n"], [lag, "n"], [duration(relay.uptime_s), "n"], [relay.version]];
}

function workerRow(worker) {
  const good = worker.state === "serving" || worker.state === "replacing";
  return [[worker.role], [worker.job ? `${worker.state}, track ${worker.job}` : worker.state, good ? "good" : "bad"],
    [worker.pid || "–", "n"], [worker.generation || "–", "n"], [worker.restarts, "n"],
    [worker.uptime_s === undefined ? "–" : duration(worker.uptime_s), "n"]];
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
  table($("relays"), stats.relays.map(relayRow));
  $("no-relays").hidden = stats.relays.length > 0;
  table($("agents"), Object.entries(stats.agents).map(([family, n]) => [[family], [n, "n"]]));
  table($("workers"), stats.workers.map(workerRow));
  previous = stats;
}

async function poll() {
  try {
    const [stats, now] = await Promise.all(
      ["/api/stats", "/api/now"].map((path) => fetch(path, { cache: "no-store" }).then((a) => a.json())));
    show(stats, now);
    $("notice").textContent = "";
  } catch {
    $("notice").textContent = "The station does not answer; trying again.";
  }
}

poll();
setInterval(poll, POLL_MS);
