// The image with zoom and pan, the regions over it, a scale bar, a measure, and another image to compare with.

import { h, imageUrl } from "./dom.js";

const MOST = 16;
/** px that a finger goes sideways, with all of the image in sight, to mean the next drop. */
const SWIPE = 70;

export class Stage {
  /** `onSwipe(by)`: a finger went over an image that is all in sight, to the left (1) or to the right (-1). */
  constructor(box, onSwipe = () => {}) {
    this.box = box;
    this.onSwipe = onSwipe;
    this.image = h("img", { class: "main-image", alt: "", draggable: "false" });
    this.other = h("img", { class: "other-image", alt: "", draggable: "false", hidden: true });
    this.svg = h("svg:svg", { class: "regions", "aria-hidden": "true" });
    this.plane = h("div", { class: "plane" }, this.image, this.other, this.svg);
    this.bar = h("div", { class: "scale-bar" });
    this.note = h("div", { class: "stage-note", role: "status" });
    box.replaceChildren(this.plane, this.bar, this.note);
    this.shown = null;
    this.zoom = 1;
    this.x = 0;
    this.y = 0;
    this.overlay = true;
    this.outline = true;
    this.measuring = false;
    this.points = [];
    /** The scale for which regions and labels were drawn. */
    this.drawn = 0;
    this.pointers = new Map();
    this.ticket = 0;
    this.listen();
    new ResizeObserver(() => this.layout()).observe(box);
  }

  /** Show one image of a drop view. The screen-size copy comes first, the original behind it. Resolves when pixels are there. */
  async show(id, image, { keepZoom = false } = {}) {
    const ticket = ++this.ticket;
    const same = this.shown?.width === image?.width && this.shown?.height === image?.height;
    this.shown = image;
    this.points = [];
    this.compare(null);
    this.note.textContent = image?.problem ?? "";
    this.note.hidden = !image?.problem;
    if (!image || !image.width) {
      this.image.removeAttribute("src");
      this.image.hidden = true;
      this.svg.replaceChildren();
      this.bar.hidden = true;
      return;
    }
    this.image.hidden = false;
    this.image.alt = image.name;
    this.image.src = imageUrl(id, "screen", image.name, image.version);
    if (!keepZoom || !same) this.fit();
    else this.layout();
    this.draw();
    await this.image.decode().catch(() => {});
    if (ticket !== this.ticket) return;
    this.original = imageUrl(id, "original", image.name, image.version);
    this.sharpen();
  }

  /** The original's pixels once one looks closer than the screen-size copy shows. */
  async sharpen() {
    if (!this.original || this.image.getAttribute("src") === this.original || this.scale() * this.zoom < Math.min(1, 1280 / Math.max(this.shown.width, this.shown.height))) return;
    const ticket = this.ticket;
    const full = new Image();
    full.src = this.original;
    await full.decode().catch(() => {});
    if (ticket === this.ticket) this.image.src = this.original;
  }

  /** Another image over this one: `mode` is "blink" (shown alone) or "difference"; null takes it away. */
  compare(url, mode = "blink") {
    this.other.hidden = !url;
    this.other.className = `other-image ${mode}`;
    this.plane.classList.toggle("differs", Boolean(url) && mode === "difference");
    if (url) this.other.src = url;
  }

  /** px of the screen for one px of the image when all of it is in sight. */
  scale() {
    if (!this.shown?.width) return 1;
    return Math.min(this.box.clientWidth / this.shown.width, this.box.clientHeight / this.shown.height);
  }

  /** Height in px of the image of text that is so many px high on the screen: one zooms in to see the crystal, not larger letters. */
  text(px) {
    return px / (this.scale() * this.zoom);
  }

  fit() {
    this.zoom = 1;
    this.x = this.y = 0;
    this.layout();
  }

  zoomAt(factor, cx = this.box.clientWidth / 2, cy = this.box.clientHeight / 2) {
    const zoom = Math.min(MOST / this.scale(), Math.max(1, this.zoom * factor));
    const real = zoom / this.zoom;
    this.x = cx - this.box.clientWidth / 2 - (cx - this.box.clientWidth / 2 - this.x) * real;
    this.y = cy - this.box.clientHeight / 2 - (cy - this.box.clientHeight / 2 - this.y) * real;
    this.zoom = zoom;
    if (zoom === 1) this.x = this.y = 0;
    this.layout();
    this.sharpen();
  }

  /** One px of the image is one of the screen, or all of it is in sight. */
  toggleZoom(cx, cy) {
    if (this.zoom > 1.01) this.fit();
    else this.zoomAt(Math.max(1 / this.scale(), 2), cx, cy);
  }

  layout() {
    if (!this.shown?.width) return;
    this.box.classList.toggle("zoomed", this.zoom > 1.01);
    const scale = this.scale() * this.zoom;
    const width = this.shown.width * scale;
    const height = this.shown.height * scale;
    const limit = (offset, size, room) => Math.max(-Math.max(0, (size - room) / 2), Math.min(Math.max(0, (size - room) / 2), offset));
    this.x = limit(this.x, width, this.box.clientWidth);
    this.y = limit(this.y, height, this.box.clientHeight);
    this.plane.style.width = `${width}px`;
    this.plane.style.height = `${height}px`;
    this.plane.style.transform = `translate(${(this.box.clientWidth - width) / 2 + this.x}px, ${(this.box.clientHeight - height) / 2 + this.y}px)`;
    if (scale !== this.drawn) this.draw();
    this.drawBar(scale);
  }

  draw() {
    const image = this.shown;
    this.drawn = this.scale() * this.zoom;
    this.svg.replaceChildren();
    if (!image?.width) return;
    this.svg.setAttribute("viewBox", `0 0 ${image.width} ${image.height}`);
    const rectangle = ([x0, y0, x1, y1], name) => h("svg:rect", { x: x0, y: y0, width: x1 - x0, height: y1 - y0, class: name, "vector-effect": "non-scaling-stroke" });
    if (this.outline && image.outline.length) {
      this.svg.append(h("svg:polygon", { points: image.outline.map((point) => point.join()).join(" "), class: "drop-outline", "vector-effect": "non-scaling-stroke" }));
    } else if (this.outline && image.dropBox) this.svg.append(rectangle(image.dropBox, "drop-outline"));
    if (this.overlay) {
      for (const chop of [...image.chops].reverse()) {
        this.svg.append(h("svg:g", { class: `k-${chop.class} chop` }, rectangle(chop.box, "halo"), rectangle(chop.box, "region"),
          h("svg:title", {}, `${chop.title} ${Math.round(100 * chop.probability)} %`)));
      }
      this.label(image);
    }
    this.drawMeasure();
  }

  /** Class and probability above each region, below or not at all where another one's words stand already. */
  label(image) {
    const size = this.text(12.5);
    const taken = [];
    for (const chop of image.chops) {
      const text = `${chop.title} ${Math.round(100 * chop.probability)} %`;
      const width = text.length * size * 0.56;
      const x = Math.max(0, Math.min(chop.box[0], image.width - width));
      const free = (y) => y > size && y < image.height && taken.every(([x0, y0, w]) => x > x0 + w || x + width < x0 || Math.abs(y - y0) > size * 1.3);
      const y = [chop.box[1] - size * 0.45, chop.box[3] + size * 1.1, chop.box[1] + size * 1.2].find(free);
      if (y === undefined) continue;
      taken.push([x, y, width]);
      this.svg.append(h("svg:text", { x, y, class: "region-label", "font-size": size }, text));
    }
  }

  drawBar(scale) {
    const um = this.shown.umPerPx;
    const per = um ? um / scale : 1 / scale;
    const wanted = per * 140;
    const power = 10 ** Math.floor(Math.log10(wanted));
    const length = [5, 2, 1].map((step) => step * power).find((step) => step <= wanted) ?? power;
    this.bar.hidden = false;
    this.bar.style.width = `${length / per}px`;
    this.bar.textContent = um ? (length >= 1000 ? `${length / 1000} mm` : `${length} µm`) : `${length} px, scale unknown`;
  }

  // ---- measuring -----------------------------------------------------------------------------------------------

  toggleMeasure() {
    this.measuring = !this.measuring;
    this.points = [];
    this.box.classList.toggle("measuring", this.measuring);
    this.draw();
    return this.measuring;
  }

  point(event) {
    const frame = this.plane.getBoundingClientRect();
    return [(event.clientX - frame.left) / (frame.width / this.shown.width), (event.clientY - frame.top) / (frame.height / this.shown.height)];
  }

  drawMeasure() {
    if (!this.measuring || this.points.length < 2) return;
    const [[x0, y0], [x1, y1]] = this.points;
    const length = Math.hypot(x1 - x0, y1 - y0);
    const um = this.shown.umPerPx;
    this.measured = um ? `${(length * um).toFixed(length * um < 100 ? 1 : 0)} µm` : `${length.toFixed(0)} px (scale unknown)`;
    const size = this.text(15);
    this.svg.append(h("svg:line", { x1: x0, y1: y0, x2: x1, y2: y1, class: "measure-halo", "vector-effect": "non-scaling-stroke" }),
      h("svg:line", { x1: x0, y1: y0, x2: x1, y2: y1, class: "measure", "vector-effect": "non-scaling-stroke" }),
      h("svg:text", { x: (x0 + x1) / 2, y: (y0 + y1) / 2 - size / 2, class: "measure-text", "font-size": size }, this.measured));
  }

  // ---- mouse, fingers ------------------------------------------------------------------------------------------

  listen() {
    this.box.addEventListener("wheel", (event) => {
      event.preventDefault();
      const frame = this.box.getBoundingClientRect();
      this.zoomAt(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0018)), event.clientX - frame.left, event.clientY - frame.top);
    }, { passive: false });
    this.box.addEventListener("dblclick", (event) => {
      const frame = this.box.getBoundingClientRect();
      if (!this.measuring) this.toggleZoom(event.clientX - frame.left, event.clientY - frame.top);
    });
    this.box.addEventListener("pointerdown", (event) => {
      if (!this.shown?.width || event.button > 0) return;
      this.box.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, event);
      this.swipe = event.pointerType === "touch" && this.pointers.size === 1 && this.zoom <= 1.01 && !this.measuring ? event : null;
      if (this.measuring && this.pointers.size === 1) this.points = [this.point(event), this.point(event)];
    });
    this.box.addEventListener("pointermove", (event) => {
      const before = this.pointers.get(event.pointerId);
      if (!before) return;
      if (this.pointers.size === 2) this.pinch(before, event);
      else if (this.measuring) {
        this.points[1] = this.point(event);
        this.draw();
      } else {
        this.x += event.clientX - before.clientX;
        this.y += event.clientY - before.clientY;
        this.layout();
      }
      this.pointers.set(event.pointerId, event);
    });
    this.box.addEventListener("pointerup", (event) => {
      const along = event.clientX - (this.swipe?.clientX ?? event.clientX);
      if (Math.abs(along) > SWIPE && Math.abs(along) > 2 * Math.abs(event.clientY - this.swipe.clientY)) this.onSwipe(along < 0 ? 1 : -1);
    });
    for (const name of ["pointerup", "pointercancel"]) {
      this.box.addEventListener(name, (event) => {
        this.pointers.delete(event.pointerId);
        this.swipe = null;
      });
    }
  }

  pinch(before, event) {
    const other = [...this.pointers.values()].find((pointer) => pointer.pointerId !== event.pointerId);
    const gap = (pointer) => Math.hypot(pointer.clientX - other.clientX, pointer.clientY - other.clientY);
    const frame = this.box.getBoundingClientRect();
    // the image goes with the fingers: their middle has moved half as far as the one that moved
    this.x += (event.clientX - before.clientX) / 2;
    this.y += (event.clientY - before.clientY) / 2;
    this.zoomAt(gap(event) / Math.max(1, gap(before)), (event.clientX + other.clientX) / 2 - frame.left, (event.clientY + other.clientY) / 2 - frame.top);
  }
}
