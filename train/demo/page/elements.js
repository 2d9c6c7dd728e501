// Pieces of the page, made from data; text never becomes markup.

export const find = (selector) => document.querySelector(selector);

export const percent = (share) =>
  share > 0 && share < 0.01 ? "< 1 %" : `${Math.round(100 * share)} %`;

export function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// A picture in its place; the one before is let go.
export async function showBlob(box, blob) {
  const image = box.querySelector("img") ?? box.appendChild(make("img", { alt: "" }));
  const before = image.src;
  image.src = URL.createObjectURL(blob);
  await image.decode().catch(() => {});
  if (before) URL.revokeObjectURL(before);
}

// Something over the middle of a pixel of a picture.
export function over(box, element, [y, x], { height, width }) {
  element.style.left = `${(100 * (x + 0.5)) / width}%`;
  element.style.top = `${(100 * (y + 0.5)) / height}%`;
  box.append(element);
}

// The pixel [y, x] of a picture under a pointer.
export function pixelUnder(event, image, { height, width }) {
  const box = image.getBoundingClientRect();
  const at = (offset, length, count) =>
    Math.min(Math.max(Math.floor((offset / length) * count), 0), count - 1);
  return [
    at(event.clientY - box.top, box.height, height),
    at(event.clientX - box.left, box.width, width),
  ];
}

export function legendRow(entry) {
  const swatch = make("span", { className: "swatch" });
  swatch.style.background = entry.color;
  const fill = make("i");
  fill.style.width = `${100 * entry.share}%`;
  const title = `${entry.name}: ${percent(entry.share)} of the pixels, mean confidence ${percent(entry.confidence)}`;
  return make(
    "button",
    { title },
    swatch,
    make("span", { className: "class" }, entry.name),
    make("span", { className: "share" }, percent(entry.share)),
    make("span", { className: "sure" }, percent(entry.confidence)),
    make("span", { className: "bar" }, fill),
  );
}
