// One drop as a framed thumbnail: the frame is the ARTscore's class, the flag a person's score.

import { h, imageUrl, percent } from "./dom.js";

export const newest = (drop) => drop.people[drop.people.length - 1] ?? null;

/** What a screen reader says, and the tooltip shows. */
export function description(drop) {
  const parts = [drop.label];
  if (drop.hidden) parts.push("hidden until you score");
  else if (drop.art) {
    const art = drop.art;
    parts.push(`ARTscore ${art.score ? `${art.score} ${art.title} ${percent(art.probability)}` : art.title}`);
    if (art.crystal !== null) parts.push(`crystal ${percent(art.crystal)}`);
    if (art.wrong?.length) parts.push(`called wrong by ${art.wrong.join(", ")}`);
  } else parts.push("no ARTscore");
  const said = newest(drop);
  if (said) parts.push(`${said.who ?? "a person"}: ${said.score} ${said.title}`);
  if (drop.earlier?.length) parts.push(`crystals at inspection ${drop.earlier.map((hit) => `#${hit.number}`).join(", ")}`);
  if (drop.missing) parts.push("image missing");
  return parts.join(", ");
}

/** A new tile; `picture` is put in by whoever knows where the thumbnail is. */
export function makeTile(drop, role = "gridcell") {
  const tile = h("div", { class: "tile", role, tabindex: "-1", data: { id: String(drop.id) } },
    h("div", { class: "pic" }), h("span", { class: "code", "aria-hidden": "true" }), h("span", { class: "person", "aria-hidden": "true" }),
    h("span", { class: "hit", "aria-hidden": "true" }));
  paintTile(tile, drop);
  return tile;
}

/** Bring frame, code, flag and marks of a tile up to date. */
export function paintTile(tile, drop) {
  const keep = ["tile", ...["selected", "dim", "chosen"].filter((name) => tile.classList.contains(name))];
  if (drop.art?.class) keep.push(`k-${drop.art.class}`, "framed");
  else keep.push("plain");
  if (drop.missing) keep.push("missing");
  if (drop.seen) keep.push("seen");
  if (drop.disagree) keep.push("disagree");
  if (drop.art?.wrong?.length) keep.push("wrong");
  tile.className = keep.join(" ");
  const [, code, flag, hit] = tile.children;
  code.textContent = drop.art?.score ?? (drop.hidden ? "" : { unsure: "?", no_drop: "∅", failed: "!" }[drop.art?.state] ?? "");
  const said = newest(drop);
  flag.className = said ? `person ${said.class ? `k-${said.class}` : ""}` : "person none";
  flag.textContent = said ? said.score ?? "" : "";
  hit.className = drop.earlier?.length ? "hit shown" : "hit";
  const text = description(drop);
  tile.setAttribute("aria-label", text);
  tile.title = text;
}

/** The tile's thumbnail as an image of its own, loaded when it comes into view. */
export function ownThumbnail(tile, drop) {
  const picture = tile.firstElementChild;
  if (drop.missing || !drop.image) {
    tile.classList.add("missing");
    return;
  }
  const image = h("img", { src: imageUrl(drop.id, "thumbnail", drop.image), alt: "", loading: "lazy", decoding: "async" });
  image.addEventListener("error", () => { image.remove(); tile.classList.add("missing"); });
  picture.replaceChildren(image);
}
