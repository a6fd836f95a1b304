// Thumbnails from sheets: one file shows 48 drops, loaded when the first of them comes into view.

/** `observe(tile, place)` puts the thumbnail of the drop at that place of the plate into the tile, once it is near the screen. */
export function sheetLoader(plate) {
  const { columns, tiles } = plate.sheet;
  const waiting = new Map();
  const loaded = new Map();

  function load(index) {
    if (!loaded.has(index)) {
      const url = `/sheets/${encodeURIComponent(plate.plate.barcode)}/${plate.inspection}/${plate.sheets[index]}.jpg`;
      const image = new Image();
      image.src = url;
      loaded.set(index, image.decode().then(() => url, () => null));
    }
    return loaded.get(index);
  }

  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      observer.unobserve(entry.target);
      const place = waiting.get(entry.target);
      waiting.delete(entry.target);
      show(entry.target, place);
    }
  }, { rootMargin: "300px" });

  async function show(tile, place) {
    const index = Math.floor(place / tiles);
    const url = await load(index);
    const picture = tile.firstElementChild;
    if (!url) {
      tile.classList.add("missing");
      return;
    }
    const within = place % tiles;
    const rows = Math.ceil(Math.min(tiles, plate.drops.length - index * tiles) / columns);
    picture.style.backgroundImage = `url("${url}")`;
    picture.style.backgroundSize = `${columns * 100}% ${rows * 100}%`;
    picture.style.backgroundPosition = `${(100 * (within % columns)) / (columns - 1)}% ${rows > 1 ? (100 * Math.floor(within / columns)) / (rows - 1) : 0}%`;
    tile.dataset.shown = "yes";
    performance.mark("thumbnail");
  }

  return {
    observe(tile, place) {
      waiting.set(tile, place);
      observer.observe(tile);
    },
  };
}
