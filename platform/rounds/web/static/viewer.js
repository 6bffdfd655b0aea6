// The slice viewer: fetches slices and overlays, draws them, and moves through them by key, wheel and click.
"use strict";

(() => {
  const root = document.getElementById("viewer");
  if (!root) return;
  const data = root.dataset;
  const count = Number(data.slices);
  const base = `/api/labels/${data.label}`;
  const ratio = (Number(data.spacingY) * Number(data.rows)) / (Number(data.spacingX) * Number(data.columns));
  const picture = document.getElementById("picture");
  const strip = document.getElementById("strip");
  const opacity = document.getElementById("opacity");
  const trouble = document.getElementById("viewer-error");
  const AHEAD = 6;

  const state = {
    index: count - 1, mode: "fill", hidden: false, zoom: 1, panX: 0, panY: 0, step: -1,
    voxels: null, seen: new Set(), pins: new Set(), shown: -1,
  };
  const slices = new Map();
  const overlays = new Map();
  const outlines = new Map();

  function load(kept, url, index) {
    if (!kept.has(index)) {
      const image = new Image();
      const entry = { image, ready: false };
      entry.done = new Promise((resolve) => {
        image.onload = () => { entry.ready = true; resolve(true); };
        image.onerror = () => { kept.delete(index); resolve(false); };
      });
      image.src = url;
      kept.set(index, entry);
    }
    return kept.get(index);
  }
  const slice = (index) => load(slices, `${base}/slices/${index}.png`, index);
  const marked = (index) => data.revision !== "" && (state.voxels === null || state.voxels[index] > 0);
  const overlay = (index) =>
    marked(index) ? load(overlays, `${base}/overlays/${index}.png?r=${data.revision}`, index) : null;

  // Forget far slices: a browser that holds 600 decoded slices slows down everything else.
  function tidy() {
    for (const kept of [slices, overlays, outlines]) {
      for (const index of kept.keys()) if (Math.abs(index - state.index) > 60) kept.delete(index);
    }
  }

  async function show(index) {
    const wanted = Math.min(count - 1, Math.max(0, index));
    if (wanted !== state.index) state.step = Math.sign(wanted - state.index);
    state.index = wanted;
    tell();
    const under = slice(wanted);
    const over = overlay(wanted);
    const loaded = await Promise.all([under.done, over ? over.done : true]);
    if (state.index !== wanted) return; // another key came meanwhile
    trouble.hidden = loaded.every(Boolean);
    trouble.textContent = "This slice could not be loaded. Check your connection, then move one slice and back.";
    if (loaded.every(Boolean)) {
      state.shown = wanted;
      state.seen.add(wanted);
      document.dispatchEvent(new CustomEvent("slice-shown", { detail: state }));
    }
    draw();
    prefetch();
  }

  function prefetch() {
    tidy();
    for (let away = 1; away <= AHEAD; away += 1) {
      for (const index of [state.index + away * state.step, ...(away <= 2 ? [state.index - away * state.step] : [])]) {
        if (index >= 0 && index < count) { slice(index); overlay(index); }
      }
    }
  }

  // The outline of a mask: coloured pixels with a neighbour of another colour.
  function outline(index, image) {
    if (outlines.has(index)) return outlines.get(index);
    const made = document.createElement("canvas");
    const w = (made.width = image.naturalWidth);
    const h = (made.height = image.naturalHeight);
    const ctx = made.getContext("2d", { willReadFrequently: true });
    ctx.drawImage(image, 0, 0);
    const pixels = ctx.getImageData(0, 0, w, h);
    const from = new Uint32Array(pixels.data.buffer.slice(0));
    const to = new Uint32Array(pixels.data.buffer);
    for (let y = 0; y < h; y += 1) {
      for (let x = 0; x < w; x += 1) {
        const at = y * w + x;
        const inside = x > 0 && y > 0 && x < w - 1 && y < h - 1
          && from[at - 1] === from[at] && from[at + 1] === from[at]
          && from[at - w] === from[at] && from[at + w] === from[at];
        if (inside) to[at] = 0;
      }
    }
    ctx.putImageData(pixels, 0, 0);
    outlines.set(index, made);
    return made;
  }

  function draw() {
    const box = picture.getBoundingClientRect();
    const dense = window.devicePixelRatio || 1;
    const width = Math.round(box.width * dense);
    const height = Math.round(box.height * dense);
    if (picture.width !== width || picture.height !== height) { picture.width = width; picture.height = height; }
    const ctx = picture.getContext("2d");
    ctx.fillStyle = "#000";
    ctx.fillRect(0, 0, width, height);
    const under = slices.get(state.shown);
    if (!under || !under.ready) { drawStrip(); return; }
    const side = Math.min(width, height / ratio) * state.zoom;
    const at = [(width - side) / 2 + state.panX * dense, (height - side * ratio) / 2 + state.panY * dense, side, side * ratio];
    ctx.imageSmoothingEnabled = true;
    ctx.imageSmoothingQuality = "high";
    ctx.drawImage(under.image, ...at);
    const over = overlays.get(state.shown);
    if (over && over.ready && !state.hidden) {
      ctx.imageSmoothingEnabled = false;
      ctx.globalAlpha = state.mode === "outline" ? 1 : Number(opacity.value) / 100;
      ctx.drawImage(state.mode === "outline" ? outline(state.shown, over.image) : over.image, ...at);
      ctx.globalAlpha = 1;
    }
    drawStrip();
  }

  // The strip on the left: the stack from head to feet, where it carries mask, what was looked at, pins.
  function drawStrip() {
    const height = Math.max(1, Math.round(strip.getBoundingClientRect().height));
    if (strip.height !== height) strip.height = height;
    const ctx = strip.getContext("2d");
    ctx.clearRect(0, 0, 30, height);
    const most = Math.max(1, ...(state.voxels || [1]));
    const tall = Math.max(1, height / count);
    for (let index = 0; index < count; index += 1) {
      const y = ((count - 1 - index) / count) * height;
      if (state.seen.has(index)) { ctx.fillStyle = "#34414f"; ctx.fillRect(0, y, 4, Math.ceil(tall)); }
      if (state.voxels && state.voxels[index] > 0) {
        ctx.fillStyle = "#e0637c";
        ctx.fillRect(7, y, 4 + 16 * Math.sqrt(state.voxels[index] / most), Math.max(1, tall - 0.5));
      }
      if (state.pins.has(index)) { ctx.fillStyle = "#ffd166"; ctx.fillRect(22, y + tall / 2 - 3, 8, 6); }
    }
    ctx.strokeStyle = "#fff";
    ctx.lineWidth = 2;
    ctx.strokeRect(1, ((count - 1 - state.index) / count) * height, 28, Math.max(4, tall));
  }

  function tell() {
    document.getElementById("where").textContent = `slice ${state.index + 1} of ${count}`;
    document.getElementById("pinned").textContent = state.pins.has(state.index) ? "pinned" : "";
    const mode = data.revision === "" ? "no mask yet" : state.hidden ? "mask hidden" : `mask: ${state.mode}`;
    const area = state.voxels && !state.voxels[state.index] ? ", none on this slice" : "";
    document.getElementById("shown").textContent = `${mode}${state.hidden ? "" : area} · zoom ${state.zoom.toFixed(1)}`;
    document.getElementById("mode").textContent = state.hidden ? "overlay: off" : `overlay: ${state.mode}`;
    root.dataset.index = String(state.index);
    picture.setAttribute("aria-label", `CT slice ${state.index + 1} of ${count}, ${mode}`);
  }

  function nearest(direction) {
    if (!state.voxels) return;
    for (let index = state.index + direction; index >= 0 && index < count; index += direction) {
      if (state.voxels[index] > 0) { show(index); return; }
    }
  }

  const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
  function zoom(factor) {
    const before = state.zoom;
    state.zoom = clamp(state.zoom * factor, 1, 8);
    state.panX *= state.zoom / before;
    state.panY *= state.zoom / before;
    if (state.zoom === 1) { state.panX = 0; state.panY = 0; }
    tell();
    draw();
  }
  const shade = (by) => { opacity.value = String(Number(opacity.value) + by); draw(); };

  const actions = {
    up: (event) => show(state.index + (event && event.shiftKey ? 5 : 1)),
    down: (event) => show(state.index - (event && event.shiftKey ? 5 : 1)),
    top: () => show(count - 1),
    bottom: () => show(0),
    next: () => nearest(-1),
    prev: () => nearest(1),
    hide: () => { state.hidden = !state.hidden; tell(); draw(); },
    mode: () => { state.mode = state.mode === "fill" ? "outline" : "fill"; state.hidden = false; tell(); draw(); },
    fainter: () => shade(-10),
    stronger: () => shade(10),
    in: () => zoom(1.25),
    out: () => zoom(0.8),
    fit: () => { state.zoom = 1; state.panX = 0; state.panY = 0; tell(); draw(); },
    keys: () => document.getElementById("keys").showModal(),
  };
  const keys = {
    ArrowUp: "up", k: "up", ArrowDown: "down", j: "down", PageUp: "up", PageDown: "down", Home: "top", End: "bottom",
    n: "next", p: "prev", " ": "hide", o: "mode", "[": "fainter", "]": "stronger", "+": "in", "=": "in", "-": "out",
    0: "fit", "?": "keys",
  };
  const typing = (target) => target.matches("textarea, select, input:not([type=radio]):not([type=checkbox]):not([type=range])");

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    if (document.querySelector("dialog[open]")) return;
    const name = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!name || (event.key === " " && event.target.matches("a"))) return;
    event.preventDefault();
    actions[name](event);
  });
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-do], [data-goto]");
    if (!button) return;
    if (button.dataset.goto) show(Number(button.dataset.goto));
    else if (actions[button.dataset.do]) actions[button.dataset.do](event);
    if (!button.closest("dialog") && event.detail > 0 && button.dataset.do !== "keys") root.focus({ preventScroll: true });
  });
  let turned = 0;
  picture.addEventListener("wheel", (event) => {
    event.preventDefault();
    if (event.ctrlKey) { zoom(event.deltaY < 0 ? 1.1 : 0.91); return; }
    turned += event.deltaMode === 1 ? event.deltaY * 30 : event.deltaY;
    const steps = Math.trunc(turned / 30);
    if (!steps) return;
    turned = 0;
    show(state.index - clamp(steps, -1, 1));
  }, { passive: false });
  let grip = null;
  picture.addEventListener("pointerdown", (event) => {
    grip = [event.clientX - state.panX, event.clientY - state.panY];
    picture.setPointerCapture(event.pointerId);
    root.focus({ preventScroll: true });
  });
  picture.addEventListener("pointermove", (event) => {
    if (!grip || state.zoom === 1) return;
    [state.panX, state.panY] = [event.clientX - grip[0], event.clientY - grip[1]];
    draw();
  });
  picture.addEventListener("pointerup", () => { grip = null; });
  const jump = (event) => {
    const box = strip.getBoundingClientRect();
    show(count - 1 - Math.floor(((event.clientY - box.top) / box.height) * count));
  };
  strip.addEventListener("pointerdown", (event) => { strip.setPointerCapture(event.pointerId); jump(event); });
  strip.addEventListener("pointermove", (event) => { if (event.buttons) jump(event); });
  opacity.addEventListener("input", draw);
  new ResizeObserver(draw).observe(picture);

  async function extent() {
    if (data.revision === "") return;
    const answer = await fetch(`${base}/extent?r=${data.revision}`);
    if (!answer.ok) {
      trouble.hidden = false;
      trouble.textContent = (await answer.json()).message || "The mask could not be loaded.";
      return;
    }
    const known = await answer.json();
    state.voxels = known.voxels;
    if (data.start === "mask" && state.seen.size < 2) show(Math.max(0, state.voxels.indexOf(Math.max(...state.voxels))));
    root.dataset.ready = "yes";
    tell();
    drawStrip();
  }

  window.roundsViewer = { state, redraw: () => { tell(); drawStrip(); }, show };
  extent();
  show(state.index);
  root.focus({ preventScroll: true });
})();
