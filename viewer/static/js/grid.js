// The grid's pulse: how far each stage is and how fast; asked for again every few seconds while one looks.

import { api, keys, tell } from "./core.js";
import { $, fill, h, number } from "./dom.js";

const SECONDS = 4;
let timer = 0;

async function refresh() {
  clearTimeout(timer);
  if (!document.hidden) {
    try {
      show(await api("/api/grid"));
    } catch (error) {
      tell(error);
    }
  }
  timer = setTimeout(refresh, SECONDS * 1000);
}

function show(pulse) {
  if (!pulse.images) {
    $("fresh").textContent = pulse.trouble ?? "counting …";
    return;
  }
  const age = Math.max(0, Math.round((Date.now() - Date.parse(pulse.at)) / 1000));
  $("fresh").textContent = pulse.trouble ? `${pulse.trouble} (below: ${age} s ago)` : `${age < 8 ? "live" : `${age} s ago`} · ${pulse.grid === "boinc" ? "BOINC" : "this machine"}`;
  const images = pulse.images;
  const done = images.scored + images.unsure + images.no_drop;
  const made = [
    h("ol", { class: "stages" },
      stage("Read from XtalTrak", number(pulse.archive.known), pulse.archive.share === null ? "nothing yet" : `${(100 * pulse.archive.share).toFixed(pulse.archive.share > 0.999 ? 0 : 1)} % of the archive`, pulse.archive.share),
      stage("Waiting", number(images.claimed), `${number(pulse.workUnits.packed ?? 0)} work units packed`),
      stage("With volunteers", number(images.in_work), `${number(pulse.workUnits.submitted ?? 0)} work units out`),
      stage("Evaluated", number(done), `${number(images.scored)} scored · ${number(images.unsure)} unsure · ${number(images.no_drop)} no drop`),
      stage("Batches", number((pulse.batches.open ?? 0) + (pulse.batches.held ?? 0) + (pulse.batches.approved ?? 0)), `${number(pulse.batches.held ?? 0)} held · ${number(pulse.batches.imported ?? 0)} imported`),
      stage("Into XtalTrak", number(pulse.written.lastDay), "rows in 24 hours")),
    h("div", { class: "cards" }, paceCard(pulse), lagCard(pulse), capacityCard(pulse), pulse.boinc ? boincCard(pulse.boinc) : null),
    pulse.admin && pulse.held.length ? table("Batches that wait for approval", ["batch", "search", "since"], pulse.held.map((batch) => [
      h("a", { href: `/batches/${encodeURIComponent(batch.name)}` }, batch.name), batch.search, when(batch.created)])) : null,
    table("Computers of the last 24 hours", ["client", "runtime", "provider", "results", "last"], pulse.hosts.map((host) => [host.client, host.runtime, host.provider, number(host.results), when(host.last)])),
    pulse.errors.length ? table("Images that stopped, in the newest 200 batches", ["state", "why", "images", "for example"],
      pulse.errors.map((error) => [error.state, error.kind, number(error.count), error.example ?? ""])) : null,
    pulse.admin && pulse.refused.length ? table("Results that were refused", ["work unit", "why", "when"], pulse.refused.map((one) => [one.workUnit, one.reason, when(one.at)])) : null,
  ];
  fill($("grid"), made.filter(Boolean));
}

function stage(title, value, more, share = null) {
  return h("li", { class: "stage-card" }, h("span", { class: "stage-title" }, title), h("b", {}, value), h("span", { class: "muted small" }, more),
    share === null ? null : h("span", { class: "meter-track", role: "img", "aria-label": more }, h("span", { class: "meter-fill", style: { width: `${100 * share}%` } })));
}

const when = (text) => new Date(text).toLocaleString("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

function paceCard(pulse) {
  const most = Math.max(1, ...pulse.perHour);
  const bars = pulse.perHour.map((count, hour) => h("svg:rect", { x: hour * 10 + 1, y: 50 - (48 * count) / most, width: 8, height: (48 * count) / most || 0.5, class: "bar-rect" }, h("svg:title", {}, `${23 - hour} h ago: ${count}`)));
  return h("section", { class: "card" }, h("h2", {}, "Images back"), h("p", { class: "big" }, number(pulse.lastHour), h("small", {}, " in the last hour")),
    h("svg:svg", { viewBox: "0 0 240 52", preserveAspectRatio: "none", class: "spark", role: "img", "aria-label": `${pulse.lastDay} images in 24 hours` }, bars),
    h("p", { class: "muted small" }, `${number(pulse.lastDay)} in 24 hours`, pulse.archive.left ? ` · ${number(pulse.archive.left)} left` : " · nothing left",
      pulse.archive.end ? ` · through about ${new Date(pulse.archive.end).toLocaleString("en-GB", { day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit" })}` : ""));
}

function lagCard({ lag }) {
  const text = (hours) => (hours < 1 ? `${Math.round(hours * 60)} min` : hours < 48 ? `${hours.toFixed(1)} h` : `${(hours / 24).toFixed(1)} d`);
  return h("section", { class: "card" }, h("h2", {}, "From imaging to score"),
    lag.median === null ? h("p", { class: "muted" }, "No image of the last 30 days came back today.")
      : [h("p", { class: "big" }, text(lag.median), h("small", {}, " median")), h("p", { class: "muted small" }, `nine of ten within ${text(lag.ninth)}, of ${number(lag.images)} images`)]);
}

/** The pace beside what the imagers make, on one scale. */
function capacityCard({ capacity }) {
  const most = Math.max(capacity.full, capacity.perHour) * 1.08;
  const line = (value, title) => h("span", { class: "mark", style: { left: `${(100 * value) / most}%` } }, h("span", {}, title));
  const enough = capacity.perHour >= capacity.full ? "keeps up even with full incubators" : capacity.perHour >= capacity.standard ? "keeps up at the standard rate" : "is below the imagers' standard rate";
  return h("section", { class: "card" }, h("h2", {}, "Capacity"), h("p", { class: "big" }, number(capacity.perHour), h("small", {}, " images an hour")),
    h("div", { class: "gauge", role: "img", "aria-label": `${Math.round(capacity.perHour)} images an hour; ${capacity.imagers} imagers make ${Math.round(capacity.standard)}, with full incubators ${Math.round(capacity.full)}` },
      h("span", { class: "meter-fill", style: { width: `${(100 * capacity.perHour) / most}%` } }), line(capacity.standard, "standard"), line(capacity.full, "full")),
    h("p", { class: "muted small" }, `The pace of 24 hours ${enough}: ${capacity.imagers} imagers make ${number(capacity.standard)} an hour, ${number(capacity.full)} with full incubators (P30).`));
}

function boincCard(boinc) {
  const server = boinc.server;
  return h("section", { class: "card" }, h("h2", {}, "BOINC"), h("p", { class: "big" }, number(server?.computers ?? null), h("small", {}, " computers with recent credit")),
    h("p", { class: "muted small" }, boinc.trouble ?? `${number(boinc.progress.queued)} to be created · ${number(boinc.progress.at_boinc)} at BOINC · ${number(boinc.progress.in_inbox)} came back`),
    server?.daemons_down?.length ? h("p", { class: "called" }, `Not running: ${server.daemons_down.join(", ")}`) : null);
}

function table(title, columns, rows) {
  return h("section", { class: "card wide" }, h("h2", {}, title), rows.length ? h("table", {}, h("thead", {}, h("tr", {}, columns.map((column) => h("th", { scope: "col" }, column)))),
    h("tbody", {}, rows.map((row) => h("tr", {}, row.map((cell) => h("td", {}, cell)))))) : h("p", { class: "muted" }, "None."));
}

keys([{ title: "Grid", keys: [["r", "ask again now", { r: refresh }]] }]);
document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
refresh();
