// What the visitor does, and what the page then asks for and shows.

import { Superseded, ask } from "./ask.js";
import { find, legendRow, make, over, percent, pixelUnder, showBlob } from "./elements.js";

const STEPS = 4; // maps of a basis that are shown
const NAMED = 0.01; // share of the picture from which a class has its name on it
const PAUSE = 120; // ms that a slider rests before the server is asked

let network, photo = null, pixel = null, basis = null;
let view = "overlay", entries = [];

// What is said.

function say(text) {
  find("#message").hidden = !text;
  find("#message span").textContent = text;
}

let doing = 0;

function busy(change) {
  doing += change;
  find("#busy").hidden = !doing;
  document.body.ariaBusy = String(doing > 0);
}

async function trying(action) {
  busy(1);
  try {
    return await action();
  } catch (error) {
    if (!(error instanceof Superseded)) say(error.message);
    return null;
  } finally {
    busy(-1);
  }
}

const resting = new Map();

// An action once nothing of its kind has happened for a while.
function later(kind, action) {
  forget(kind);
  busy(1);
  const act = () => {
    action();
    forget(kind);
  };
  resting.set(kind, setTimeout(act, PAUSE));
}

function forget(kind) {
  if (!resting.has(kind)) return;
  clearTimeout(resting.get(kind));
  resting.delete(kind);
  busy(-1);
}

find("#message button").onclick = () => say("");

// The images.

let uploads = Promise.resolve(); // one after the other: none ends another

const upload = (files) => (uploads = uploads.then(() => trying(() => uploadAll(files))));

async function uploadAll(files) {
  say("");
  const problems = [];
  let shown = false;
  for (const file of files) {
    try {
      if (file.size > network.max_bytes)
        throw new Error(`${file.name}: cannot be shown: ${network.too_large}`);
      const url = `pictures?name=${encodeURIComponent(file.name)}`;
      const found = await ask("upload", url, { method: "POST", body: file });
      const button = hang("#own", found.name, `pictures/${found.key}/image.png`, () => open(found, button));
      if (!shown) open(found, button);
      shown = true;
    } catch (error) {
      problems.push(error.message);
    }
  }
  if (problems.length) say(problems.join("\n"));
}

function hang(where, name, url, onclick) {
  const image = make("img", { src: url, alt: name, loading: "lazy" });
  const button = make("button", { title: name, ariaPressed: "false", onclick }, image);
  find(`${where} .strip`).append(button);
  find(where).hidden = false;
  return button;
}

async function openExample(index, button) {
  say("");
  const found = await trying(() => ask("open", `examples/${index}`, { method: "POST" }));
  if (found) open(found, button);
}

function open(found, button) {
  for (const other of document.querySelectorAll(".strip button"))
    other.ariaPressed = String(other === button);
  photo = found;
  pixel = basis = null;
  entries = [];
  const [height, width] = found.original;
  const same = height === found.height && width === found.width;
  const note = same ? "" : `, seen at ${found.width} × ${found.height}`;
  find("#caption").textContent = `${found.name}: ${width} × ${height} pixels${note}`;
  const box = find("#picture");
  box.classList.remove("empty");
  box.classList.toggle("small", Math.max(found.height, found.width) < 300);
  box.style.maxWidth = `calc(70vh * ${found.width / found.height})`;
  return show();
}

// What is seen of an image.

function address(name, more = {}) {
  const query = new URLSearchParams({
    threshold: find("#threshold").value / 100,
    strength: find("#strength").value / 100,
    ...(network.iterations && { iterations: find("#iterations").value }),
    ...more,
  });
  return `pictures/${photo.key}/${name}?${query}`;
}

function show() {
  if (!photo) return;
  const download = find("#download");
  download.href = address("mask.png");
  download.download = `${photo.name}_mask.png`;
  download.hidden = false;
  return Promise.all([showPicture(), showLegend(), showBases()]);
}

const showPicture = (name = `${view}.png`, more = {}) =>
  trying(async () => {
    await showBlob(find("#picture"), await ask("picture", address(name, more)));
    annotate();
  });

const showLegend = () =>
  trying(async () => {
    const found = await ask("legend", address("legend"));
    entries = found.classes;
    find("#legend").replaceChildren(...entries.map(spotlit));
    find("#mean").textContent = `mean confidence ${percent(found.confidence)}`;
    annotate();
  });

function spotlit(entry) {
  const row = legendRow(entry);
  const light = () =>
    later("spotlight", () => showPicture("spotlight.png", { label: entry.label }));
  const back = () => {
    forget("spotlight");
    showPicture();
  };
  Object.assign(row, { onmouseenter: light, onfocus: light, onmouseleave: back, onblur: back });
  return row;
}

function annotate() {
  const box = find("#picture");
  for (const old of box.querySelectorAll(".name, .mark")) old.remove();
  if (find("#names").checked && (view === "overlay" || view === "mask"))
    for (const { name, share, point } of entries)
      if (share >= NAMED) over(box, make("span", { className: "name" }, name), point, photo);
  if (pixel) over(box, make("span", { className: "mark" }), pixel, photo);
}

// The bases.

const showBases = () =>
  trying(async () => {
    if (!network.bases) return;
    const more = pixel ? { y: pixel[0], x: pixel[1] } : {};
    const found = await ask("bases", address("bases", more));
    find("#attention").hidden = false;
    find("#hint").textContent = pixel
      ? `Row ${pixel[0]}, column ${pixel[1]}: its ${network.bases} responsibilities sum to one; these are the largest.`
      : `Click a pixel of a picture. These of the ${network.bases} bases vary most over this one.`;
    if (!found.some((one) => one.basis === basis)) basis = found[0].basis;
    find("#bases").replaceChildren(...found.map(chip));
    await showMaps();
  });

function chip({ basis: number, share, here }) {
  const text = here === null ? "" : `, ${percent(here)} of this pixel`;
  return make(
    "button",
    {
      ariaPressed: String(number === basis),
      title: `the strongest of ${percent(share)} of the pixels`,
      onclick: (event) => {
        basis = number;
        for (const other of find("#bases").children)
          other.ariaPressed = String(other === event.currentTarget);
        trying(showMaps);
      },
    },
    `basis ${number}${text}`,
  );
}

async function showMaps() {
  const of = { photo, pixel, basis };
  const last = Number(find("#iterations").value);
  const steps = [...Array(last).keys()].map((step) => step + 1);
  const chosen = steps.length > STEPS ? [...steps.slice(0, STEPS - 1), last] : steps;
  const blobs = [];
  for (const step of chosen) {
    blobs.push(await ask("map", address("basis.png", { basis, step })));
    if (photo !== of.photo || pixel !== of.pixel || basis !== of.basis) return;
  }
  const figures = chosen.map((step) => {
    const box = make("div", { className: find("#picture").className });
    box.onclick = choosePixel;
    if (pixel) over(box, make("span", { className: "mark" }), pixel, photo);
    const text = `basis ${basis} after ${step} iteration${step > 1 ? "s" : ""}`;
    return make("figure", {}, box, make("figcaption", {}, text));
  });
  await Promise.all(figures.map((figure, i) => showBlob(figure.firstChild, blobs[i])));
  for (const old of document.querySelectorAll("#maps img")) URL.revokeObjectURL(old.src);
  find("#maps").replaceChildren(...figures);
}

function choosePixel(event) {
  const image = event.currentTarget.querySelector("img");
  if (!photo || !image) return;
  pixel = pixelUnder(event, image, photo);
  basis = null;
  annotate();
  showBases();
}

// What the visitor moves.

function listen() {
  const drop = find("#drop"), input = find("#file");
  input.onchange = async () => {
    await upload([...input.files]);
    input.value = "";
  };
  for (const kind of ["dragover", "dragleave", "drop"])
    document.addEventListener(kind, (event) => {
      event.preventDefault();
      drop.classList.toggle("over", kind === "dragover");
      if (kind === "drop" && event.dataTransfer.files.length) upload([...event.dataTransfer.files]);
    });
  for (const tab of document.querySelectorAll("#views button"))
    tab.onclick = () => {
      view = tab.dataset.view;
      for (const other of document.querySelectorAll("#views button"))
        other.ariaSelected = String(other === tab);
      if (photo) showPicture();
    };
  slide("#iterations", (value) => value, show);
  slide("#strength", (value) => `${value} %`, () => photo && showPicture());
  slide("#threshold", (value) => `${value} %`, show);
  find("#names").onchange = () => photo && annotate();
  find("#picture").onclick = choosePixel;
}

function slide(selector, text, then) {
  const slider = find(selector), output = slider.parentElement.querySelector("output");
  const tell = () => (output.value = text(slider.value));
  slider.oninput = () => {
    tell();
    later(selector, then);
  };
  tell();
}

async function start() {
  network = await trying(() => ask("network", "network"));
  if (!network) return;
  const { title, classes, iterations, max_iterations: most, examples } = network;
  const attention = iterations ? "" : ", without EM attention";
  find("#network").textContent = `${title}, ${classes} classes${attention}`;
  find("#iterations-row").hidden = !iterations;
  Object.assign(find("#iterations"), { max: most || 1, value: iterations || 1 });
  listen();
  const buttons = examples.map((name, index) =>
    hang("#examples", name, `examples/${index}.png`, (event) => openExample(index, event.currentTarget)),
  );
  if (buttons.length) openExample(0, buttons[0]);
}

start();
