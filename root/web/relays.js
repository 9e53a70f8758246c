"use strict";
/* The dashboard's relays: what needs attention, a line for each with its allotment and a sparkline, and listeners over
 * time. From /api/relays, /api/ledger and /api/series; of many relays a page is asked for, never all. */

const RELAYS_MS = 4000, SERIES_MS = 30000, PAGE = 25, SPARK_S = 21600, SPARK_STEP = 600, NAMES = 50;
const SVG = "http://www.w3.org/2000/svg";
let shown = PAGE; // lines wanted
let wanted = ""; // in their names
let span = 86400; // of the chart
const sparks = new Map(); // name: {t, values}
let sparked = ""; // the names they were asked for

const get = (path) => fetch(path, { cache: "no-store" }).then((a) => { if (!a.ok) throw new Error(a.status); return a.json(); });
const number = (n) => Math.round(n).toLocaleString("en");

function make(kind, attributes = {}, ...children) {
  const node = document.createElementNS(SVG, kind);
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children);
  return node;
}

/* The least round number that is not less: 1, 2 or 5 times a power of ten. */
function roundUp(n) {
  if (n <= 5) return 5;
  const power = 10 ** Math.floor(Math.log10(n));
  return [1, 2, 5, 10].map((k) => k * power).find((k) => k >= n);
}

/* Pieces of a series without a gap: [[i, j], ...], j after the last. */
function pieces(t, step) {
  const out = [];
  for (let i = 0; i < t.length; i++) {
    if (i && t[i] - t[i - 1] === step) out[out.length - 1][1] = i + 1;
    else out.push([i, i + 1]);
  }
  return out;
}

/* Listeners over time */

function timeWords(t, long) {
  const d = new Date(t * 1000);
  return long ? d.toLocaleDateString("en", { day: "numeric", month: "short" }) : d.toLocaleTimeString("en", { hour: "2-digit", minute: "2-digit", hour12: false });
}

function chart(box, answer) {
  const all = answer.series.cluster, root = answer.series.root;
  const here = new Map(root.t.map((t, i) => [t, root.listeners.avg[i]]));
  const width = Math.max(280, box.clientWidth), height = width < 600 ? 170 : 210, left = 44, bottom = 22, top = 8;
  const most = roundUp(Math.max(0, ...all.listeners.max.filter((n) => n !== null)));
  const x = (t) => left + (width - left - 4) * (t - answer.from) / (answer.to - answer.from);
  const y = (n) => top + (height - top - bottom) * (1 - n / most);
  const svg = make("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img" });
  for (let k = 0; k <= 2; k++) {
    svg.append(make("line", { class: "grid", x1: left, x2: width, y1: y(most * k / 2), y2: y(most * k / 2) }),
      make("text", { x: left - 8, y: y(most * k / 2) + 4, "text-anchor": "end" }, (most * k / 2).toLocaleString("en", { notation: "compact" })));
  }
  const length = answer.to - answer.from, zone = new Date().getTimezoneOffset() * 60;
  const every = [3600, 3 * 3600, 6 * 3600, 86400, 2 * 86400, 14 * 86400, 28 * 86400].find((s) => length / s <= (width < 600 ? 4.5 : 8.5)) || 86400;
  for (let t = Math.ceil((answer.from - zone) / every) * every + zone; t < answer.to; t += every) {
    if (x(t) < left + 16 || x(t) > width - 24) continue;
    svg.append(make("text", { x: x(t), y: height - 5, "text-anchor": "middle" }, timeWords(t, every >= 86400)));
  }
  const area = (name, low, high) => {
    for (const [from, to] of pieces(all.t, answer.step)) {
      const there = [], back = [];
      for (let i = from; i < to; i++) {
        for (const t of [all.t[i], all.t[i] + answer.step]) {
          there.push(`${x(t).toFixed(1)} ${y(high(i)).toFixed(1)}`);
          back.unshift(`${x(t).toFixed(1)} ${y(low(i)).toFixed(1)}`);
        }
      }
      svg.append(make("path", { class: name, d: `M${there.join("L")}L${back.join("L")}Z` }));
    }
  };
  const rooted = (i) => Math.min(here.get(all.t[i]) ?? 0, all.listeners.avg[i]);
  area("area-root", () => 0, rooted);
  area("area-relays", rooted, (i) => all.listeners.avg[i]);
  const peak = Math.max(0, ...all.listeners.max.filter((n) => n !== null));
  const words = all.t.length ? `· at most ${number(peak)} at a time` : "· nothing is known of this time yet";
  svg.setAttribute("aria-label", `Listeners over time ${words}`);
  box.replaceChildren(svg);
  $("crowd-words").textContent = words;
}

/* A relay's line */

function sparkline(name) {
  const series = sparks.get(name), width = 132, height = 30;
  const svg = make("svg", { class: "spark", width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "no history yet" });
  if (!series || !series.t.length) return svg;
  const most = Math.max(1, ...series.values);
  const x = (t) => width * (t - series.from) / (series.to - series.from), y = (n) => height - 2 - (height - 4) * n / most;
  for (const [from, to] of pieces(series.t, SPARK_STEP)) {
    const points = [];
    for (let i = from; i < to; i++) points.push(`${x(series.t[i] + SPARK_STEP / 2).toFixed(1)} ${y(series.values[i]).toFixed(1)}`);
    if (points.length === 1) points.push(`${(x(series.t[from]) + 3).toFixed(1)} ${y(series.values[from]).toFixed(1)}`);
    svg.append(make("path", { class: "line", d: `M${points.join("L")}` }));
  }
  svg.setAttribute("aria-label", `at most ${number(most)} listeners`);
  return svg;
}

/* Used so far, and with a mark where the month ends if it goes on like this. */
function bar(month, scale) {
  const box = document.createElement("div");
  box.className = "bar-box";
  const used = box.appendChild(document.createElement("i"));
  used.className = month.used_bytes >= scale ? "used over" : "used";
  used.style.width = `${Math.min(100, 100 * month.used_bytes / scale)}%`;
  const mark = box.appendChild(document.createElement("i"));
  mark.className = month.projected_bytes > scale ? "mark over" : "mark";
  mark.style.left = `${Math.min(100, 100 * month.projected_bytes / scale)}%`;
  return box;
}

function monthCell(cell, relay, cost) {
  const month = relay.month;
  cell.replaceChildren();
  if (month.allotment_bytes) {
    cell.append(bar(month, month.allotment_bytes));
    cell.append(`${bytes(month.used_bytes)} of ${bytes(month.allotment_bytes)}`);
  } else {
    cell.append(bytes(month.used_bytes));
  }
  const small = cell.appendChild(document.createElement("span"));
  small.className = "small";
  const facts = [`→ ${bytes(month.projected_bytes)} by ${timeWords(month.until, true)}`];
  if (cost && cost.price_per_gb) facts.push(`costs ${cost.cost.toFixed(2)}`);
  small.textContent = facts.join(" · ");
}

function relayLine(row, relay, cost) {
  const cells = row.cells.length ? [...row.cells] : ["", "State", "Listeners", "Last 6 hours", "Billing month", "Sent there"].map((label) => {
    const cell = row.insertCell();
    if (label) cell.dataset.label = label;
    return cell;
  });
  const [name, state, listeners, spark, month, sent] = cells;
  row.className = relay.health.level;
  const tree = [relay.upstream && relay.upstream !== "root" ? `fed by ${relay.upstream}` : "",
    relay.feeds ? `feeds ${number(relay.feeds)} ${relay.feeds === 1 ? "relay" : "relays"}` : ""];
  if (name.dataset.name !== [relay.name, relay.public_url, ...tree].join(" ")) {
    name.dataset.name = [relay.name, relay.public_url, ...tree].join(" ");
    name.replaceChildren();
    name.appendChild(document.createElement("b")).textContent = relay.name;
    const place = name.appendChild(document.createElement("span"));
    place.className = "small";
    place.textContent = [relay.region, relay.kind === "icecast" ? "Icecast" : "", relay.public_url, ...tree].filter(Boolean).join(" · ");
  }
  const dot = state.firstChild || state.appendChild(document.createElement("i"));
  dot.className = "dot";
  state.replaceChildren(dot, relay.health.words);
  listeners.textContent = relay.max_listeners ? `${number(relay.listeners)} / ${number(relay.max_listeners)}` : number(relay.listeners);
  const key = `${relay.name} ${sparks.get(relay.name)?.to}`;
  if (spark.dataset.key !== key) {
    spark.dataset.key = key;
    spark.replaceChildren(sparkline(relay.name));
  }
  monthCell(month, relay, cost);
  sent.replaceChildren(number(relay.redirects));
  const used = sent.appendChild(document.createElement("span"));
  used.className = "small";
  used.textContent = `${number(relay.tickets.redeemed)} tickets used`;
  sent.className = "n";
}

function showRelays(list, ledger) {
  const costs = new Map(ledger.relays.map((line) => [line.name, line]));
  const body = $("relays");
  while (body.rows.length > list.relays.length) body.deleteRow(-1);
  list.relays.forEach((relay, i) => relayLine(body.rows[i] || body.insertRow(), relay, costs.get(relay.name)));
  $("relay-table").hidden = !list.total;
  $("no-relays").hidden = list.total > 0;
  $("find").hidden = list.total <= PAGE && !wanted;
  $("more").hidden = list.found <= list.relays.length;
  $("more").textContent = `Show more (${number(list.found - list.relays.length)} others)`;
  const sums = [];
  if (list.total) {
    const t = ledger.totals;
    sums.push(`${number(list.healthy)} of ${number(list.total)} report`, `${number(list.totals.listeners)} listeners there`,
      `${number(list.totals.redirects)} sent there since the start`,
      `${bytes(t.used_bytes)} this month, on course for ${bytes(t.projected_bytes)}`);
    if (t.projected_cost) sums.push(`costs ${t.cost.toFixed(2)} so far, ${t.projected_cost.toFixed(2)} by the month's end`);
    if (wanted) sums.push(`${number(list.found)} with "${wanted}" in their name`);
  }
  $("relay-sums").textContent = sums.join(" · ");
}

/* Those that share their words in one line, the worst first; what is not on this page as a number. */
function relayTroubles(worst) {
  const lines = new Map();
  for (const relay of worst.relays) {
    const { level, words } = relay.health;
    if (level === "good") continue;
    if (!lines.has(words)) lines.set(words, { level, words, names: [] });
    lines.get(words).names.push(relay.name);
  }
  let rest = worst.attention.bad + worst.attention.note;
  const found = [...lines.values()].slice(0, 8).map(({ level, words, names }) => {
    rest -= names.length;
    return [level, names.slice(0, 3).join(", ") + (names.length > 3 ? ` and ${number(names.length - 3)} others` : ""), words];
  });
  if (rest > 0) found.push(["note", `${number(rest)} other ${rest === 1 ? "relay" : "relays"}`, "see below"]);
  troubles.relays = found;
  showTroubles();
}

async function pollRelays() {
  try {
    const page = `sort=attention&limit=${shown}&find=${encodeURIComponent(wanted)}`;
    const asked = [get(`/api/relays?${page}`), get(`/api/ledger?${page}`)];
    if (wanted) asked.push(get("/api/relays?sort=attention"));
    const [list, ledger, worst] = await Promise.all(asked);
    showRelays(list, ledger);
    relayTroubles(worst || list);
    const names = list.relays.map((relay) => relay.name).sort().join();
    if (names !== sparked) pollSparks(names);
  } catch { /* dashboard.js says that the station does not answer */ }
}

async function pollSparks(names) {
  sparked = names;
  const list = names ? names.split(",") : [];
  for (let i = 0; i < list.length; i += NAMES) {
    try {
      const answer = await get(`/api/series?from=-${SPARK_S}&step=${SPARK_STEP}&relay=${list.slice(i, i + NAMES).map(encodeURIComponent).join()}`);
      for (const [name, columns] of Object.entries(answer.series))
        sparks.set(name, { t: columns.t, values: columns.listeners.max.map((n) => n ?? 0), from: answer.from, to: answer.to });
    } catch {
      sparked = ""; // asked again with the next answer
      return;
    }
  }
}

async function pollChart() {
  try {
    chart($("crowd"), await get(`/api/series?relay=cluster,root&from=-${span}`));
  } catch {
    $("crowd-words").textContent = "· can't be had at present";
    setTimeout(pollChart, RELAYS_MS);
  }
}

$("spans").addEventListener("click", (event) => {
  if (!event.target.dataset.span) return;
  span = Number(event.target.dataset.span);
  for (const button of $("spans").children) button.setAttribute("aria-pressed", button === event.target);
  pollChart();
});
$("more").addEventListener("click", () => { shown = Math.min(250, shown + 4 * PAGE); pollRelays(); });
$("find").addEventListener("input", () => { wanted = $("find").value.trim(); pollRelays(); });
addEventListener("resize", pollChart);

pollRelays();
pollChart();
setInterval(pollRelays, RELAYS_MS);
setInterval(() => { pollChart(); sparked = ""; }, SERIES_MS);
