// Elements are built, never parsed from text: what a database says stays text.

const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes (`on...` are listeners, `class`, `data`, `text`) and children; null children are left out. */
export function h(tag, attributes = {}, ...children) {
  const svg = tag.startsWith("svg:");
  const element = svg ? document.createElementNS(SVG, tag.slice(4)) : document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "data") Object.assign(element.dataset, value);
    else if (key === "style") for (const [name, it] of Object.entries(value)) element.style.setProperty(name, it);
    else if (key === "value" && "value" in element) element.value = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  for (const child of children.flat(2)) if (child !== null && child !== undefined && child !== false) element.append(child);
  return element;
}

/** Make `children` all that is in `element`; null children are left out. */
export const fill = (element, ...children) => element.replaceChildren(...children.flat(2).filter((child) => child !== null && child !== undefined && child !== false));

export const $ = (id) => document.getElementById(id);

/** A picture with a line in its place where its file can not be shown. */
export function picture(src, attributes = {}, line = "") {
  const shown = h("img", { src, ...attributes });
  shown.addEventListener("error", () => shown.replaceWith(h("span", { class: "no-image" }, line)), { once: true });
  return shown;
}

export const percent = (probability) => (probability === null || probability === undefined ? "–" : `${Math.round(100 * probability)} %`);

export const number = (value, decimals = 0) =>
  value === null || value === undefined ? "–" : value.toLocaleString("en-US", { maximumFractionDigits: decimals }).replaceAll(",", "\u202f");

/** "2 Nov 2026" of XtalTrak's "2026-11-02 14:03:00". */
export function day(text) {
  if (!text) return "no date";
  const moment = new Date(text.replace(" ", "T"));
  return Number.isNaN(moment.getTime()) ? text : moment.toLocaleDateString("en-GB", { day: "numeric", month: "short", year: "numeric" });
}

export const plusDays = (days) => (days === null || days === undefined ? "" : days === 0 ? "day 0" : `+${days} d`);

/** Where an image is; `version` lets the browser keep it. */
export const imageUrl = (id, kind, name, version = "") =>
  `/images/${id}/${kind}/${encodeURIComponent(name)}${version ? `?v=${version}` : ""}`;
