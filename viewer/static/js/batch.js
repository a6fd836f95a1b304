// A batch that waits for approval, with its pictures.

import { api, change, classByName, notice, tell } from "./core.js";
import { $, fill, h, percent } from "./dom.js";
import { makeTile, ownThumbnail } from "./tiles.js";

const { batch: name, role } = document.body.dataset;

async function load(after) {
  const page = await api(`/api/batches/${encodeURIComponent(name)}?after=${after}`);
  $("state").textContent = page.state;
  if (page.state === "held" && role === "admin") {
    fill($("approve"), h("button", { type: "button", class: "main", onclick: approve }, "Approve: write into XtalTrak"));
  } else fill($("approve"));
  if (!after) {
    fill($("counts"), page.counts.map((row) => h("li", { class: row.class ? `chip k-${row.class}` : "chip" }, `${[row.score, row.title].filter(Boolean).join(" ")} `, h("b", {}, row.count))));
  }
  for (const image of page.images) {
    const title = classByName[image.class]?.title ?? image.class;
    const label = `${String.fromCharCode(64 + image.row)}${String(image.column).padStart(2, "0")}${String.fromCharCode(96 + image.subwell)}`;
    const drop = { ...image, label, people: [], hidden: false, art: { class: image.class, score: image.score, title, probability: image.probability, crystal: null } };
    const tile = makeTile(drop, "link");
    tile.tabIndex = 0;
    ownThumbnail(tile, drop);
    tile.addEventListener("click", () => { location.href = `/drops/${image.id}`; });
    tile.addEventListener("keydown", (event) => { if (event.key === "Enter") tile.click(); });
    $("pictures").append(h("div", { role: "listitem", class: "captioned" }, tile,
      h("span", { class: "caption" }, h("b", {}, label), h("span", { class: "where" }, `${image.barcode} #${image.inspection}`), h("span", { class: "value" }, `${image.score} ${percent(image.probability)}`))));
  }
  if (!after && !page.images.length) $("pictures").append(h("p", { class: "muted" }, "No scored image of this batch that you may see."));
  fill($("more"), page.next ? h("button", { type: "button", class: "quiet", onclick: () => load(page.next).catch(tell) }, "More pictures") : "");
}

async function approve() {
  try {
    await change(`/api/batches/${encodeURIComponent(name)}/approve`, {});
    notice("Approved: set-autoscore writes it.");
    fill($("approve"));
    $("state").textContent = "approved";
  } catch (error) {
    tell(error);
  }
}

load(0).catch(tell);
