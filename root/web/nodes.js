"use strict";
/* Where to listen when the node this page came from does not answer: the station's playlist names its other nodes, and
 * each of them says, as that one does (/api/listen), where a listener is served, and what is heard there. */

const LEARN_MS = 60000;
const PATIENCE_MS = 3000;
let nodes = []; // addresses, the likeliest first
let learntAt = -Infinity;

async function learnNodes() {
  if (performance.now() - learntAt < LEARN_MS) return;
  const answer = await fetch("/stream.m3u", { cache: "no-store" });
  if (!answer.ok) return;
  const lines = (await answer.text()).split("\n").filter((line) => line.startsWith("http"));
  const origins = new Set(lines.map((line) => new URL(line).origin));
  origins.delete(location.origin);
  nodes = [...origins];
  learntAt = performance.now();
}

const askNode = (url) => fetch(url, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) })
  .then((answer) => { if (!answer.ok) throw new Error(answer.status); return answer.json(); });

/* {url, from, loop, title} of the first node that answers, the stream from that position on; null when none does. */
async function listenElsewhere(position, burst) {
  for (const node of nodes) {
    try {
      const there = await askNode(`${node}/api/listen?burst=${burst}`);
      const url = new URL(there.url);
      if (!there.loop) {
        url.searchParams.set("from", position);
        return { url: url.href, from: position, loop: false, title: "" };
      }
      const status = await askNode(`${new URL(there.node).origin}/status-json.xsl`);
      return { url: url.href, from: position, loop: true, title: [status.icestats.source].flat()[0].title };
    } catch {
      // the next one
    }
  }
  return null;
}
