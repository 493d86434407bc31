"use strict";
// The page of `attngan serve`: forms to requests, answers to pictures. A caption reaches the page as text alone, never
// as markup.

const $ = (selector, within = document) => within.querySelector(selector);

/** An element with attributes and children; `text` is its text. */
function make(name, attributes = {}, ...children) {
  const { text, ...others } = attributes;
  const element = Object.assign(document.createElement(name), others);
  if (text !== undefined) element.textContent = text;
  element.append(...children);
  return element;
}

/** Asks the server; an error has a sentence for the visitor. */
async function ask(path, request, signal) {
  let response;
  try {
    response = await fetch(path, {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(request), signal,
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error("the server does not answer: is it still running?");
  }
  const answer = await response.json().catch(() => ({ error: `the server answers with status ${response.status}` }));
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

/** Seed, truncation and generators, which both forms share. */
function settings() {
  const form = $("#draw");
  return {
    seed: Number(form.elements.seed.value),
    truncation: form.elements.truncation.value === "" ? null : Number(form.elements.truncation.value),
  };
}

function generators() {
  return [...document.querySelectorAll("input[name=generator]:checked")];
}

const isOnly = () => document.querySelectorAll("input[name=generator]").length === 1;

/**
 * Lets a form draw: one request a generator, one after another, each answer shown as it comes. What was asked before is
 * given up.
 */
function answers(form, results, message, request, show) {
  let given = new AbortController();
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    given.abort();
    given = new AbortController();
    const { signal } = given;
    const chosen = generators();
    tell(message, chosen.length ? "" : "choose a generator");
    results.replaceChildren();
    for (const generator of chosen) {
      const result = make("div", { className: "result wait" });
      if (!isOnly()) {
        result.append(make("h3", { text: generator.value },
          make("span", { className: "small", text: generator.dataset.title })));
      }
      results.append(result);
      try {
        show(result, await request(generator, signal), generator);
      } catch (error) {
        if (error.name === "AbortError") return;
        if (isOnly()) { result.remove(); tell(message, error.message); }
        else result.append(make("p", { className: "message", text: error.message }));
      }
      result.classList.remove("wait");
    }
  });
}

function tell(message, text) {
  message.textContent = text;
  message.hidden = !text;
}

/** What of a caption is not known or not read, in a line; null where all is. */
function remarks(told, which = "") {
  const lines = [];
  if (told.unknown.length) {
    lines.push(`unknown word${told.unknown.length > 1 ? "s" : ""}${which}: ${told.unknown.join(", ")}`);
  }
  if (told.note) lines.push(told.note + which);
  return lines.length ? make("p", { className: "message remark", text: lines.join("; ") }) : null;
}

function picture(drawn) {
  const image = make("img", { src: drawn.png, alt: drawn.name });
  const seen = make("div", { className: "seen" }, image);
  const link = make("a", { href: drawn.png, download: drawn.name, text: "PNG" });
  return make("figure", {}, seen, make("figcaption", { text: `no. ${drawn.number} · ` }, link));
}

// --- pictures of a caption, attention over its words, one word changed ------------------------------------------------

/** Lays over each picture where a word acted: dark where it has little weight. */
function attend(pictures, answer, position) {
  const [rows, columns] = answer.map_size;
  pictures.querySelectorAll(".seen").forEach((seen, number) => {
    const canvas = $("canvas", seen) ?? seen.appendChild(make("canvas", { width: columns, height: rows }));
    const weights = atob(answer.pictures[number].attention[position].map);
    const pixels = new ImageData(columns, rows);
    for (let place = 0; place < rows * columns; place++) {
      const share = weights.charCodeAt(place) / 255;
      const light = [255, 226, 130], dark = [8, 11, 16];
      light.forEach((level, channel) => {
        pixels.data[4 * place + channel] = share * level + (1 - share) * dark[channel];
      });
      pixels.data[4 * place + 3] = 255 * (0.8 * (1 - share) + 0.2 * share);
    }
    canvas.getContext("2d").putImageData(pixels, 0, 0);
  });
  pictures.classList.add("attending");
}

function meanShare(answer, position) {
  const shares = answer.pictures.map((drawn) => drawn.attention[position].share);
  return shares.reduce((sum, share) => sum + share, 0) / shares.length;
}

const HINTS = {
  attends: "Point at a word to see where it acted; click it to change it.",
  not: "Click a word to change it: the noise stays the same.",
};

/** Words, pictures, and what a click on a word brings about. */
function showDrawn(block, answer, request, generator) {
  const remark = remarks(answer);
  if (remark) block.append(remark);
  const pictures = make("div", { className: "pictures" }, ...answer.pictures.map(picture));
  if (!answer.words.length) return block.append(pictures);

  const attends = answer.pictures[0].attention.length > 0;
  const usual = attends ? HINTS.attends : HINTS.not;
  const hint = make("p", { className: "hint", text: usual });
  const change = make("form", { className: "change", hidden: true });
  let pinned = null;

  const buttons = answer.words.map((word, position) => {
    const button = make("button", { type: "button", text: word });
    if (answer.unknown.includes(word)) {
      button.classList.add("unknown");
      button.title = "unknown: read as any rare word";
    }
    button.addEventListener("pointerenter", (event) => { if (event.pointerType === "mouse") light(position); });
    button.addEventListener("pointerleave", () => light(pinned));
    button.addEventListener("focus", () => light(position));
    button.addEventListener("blur", () => light(pinned));
    button.addEventListener("click", () => {
      pinned = pinned === position ? null : position;
      light(pinned);
      offerChange();
    });
    return button;
  });

  function light(position) {
    buttons.forEach((button, number) => {
      button.classList.toggle("active", number === position);
      button.setAttribute("aria-pressed", String(number === pinned));
    });
    if (position === null || !attends) {
      pictures.classList.remove("attending");
      hint.textContent = usual;
    } else {
      attend(pictures, answer, position);
      const percent = Math.round(100 * meanShare(answer, position));
      hint.textContent = `“${answer.words[position]}” has ${percent} % of the attention; bright is where it acted.`;
    }
  }

  function offerChange() {
    change.hidden = pinned === null;
    if (pinned === null) return;
    const position = pinned;
    const other = make("input", { type: "text", maxLength: 40, required: true, placeholder: "another word" });
    other.setAttribute("list", "known-words");
    change.replaceChildren(
      make("label", { text: `instead of “${answer.words[position]}” ` }, other),
      make("button", { type: "submit", text: "Draw with the same noise" }),
    );
    change.onsubmit = async (event) => {
      event.preventDefault();
      const caption = withWord(request.caption, answer.words, position, other.value.trim());
      const changed = make("div", { className: "changed wait" }, changedTitle(caption));
      block.append(changed);
      try {
        const asked = { ...request, caption: caption.join("") };
        showDrawn(changed, await ask("/api/draw", asked), asked, generator);
      } catch (error) {
        changed.append(make("p", { className: "message", text: error.message }));
      }
      changed.classList.remove("wait");
    };
  }

  block.append(make("div", { className: "words" }, ...buttons), hint, change, pictures);
}

/** The caption before a word, another word in its place, and the caption after it. */
function withWord(caption, words, position, other) {
  const plain = (word) => word.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  const same = words.slice(0, position).filter((word) => word === words[position]).length;
  const found = [...caption.matchAll(/[\p{L}\p{M}\p{N}_]+/gu)].filter((match) => plain(match[0]) === words[position]);
  const match = found[same];
  if (!match) return [`${caption} `, other, ""];
  return [caption.slice(0, match.index), other, caption.slice(match.index + match[0].length)];
}

function changedTitle([before, word, after]) {
  return make("h4", {}, before, make("b", { text: word }), after);
}

// --- from one caption to another --------------------------------------------------------------------------------------

function showInterpolation(block, answer, first, second) {
  const { pictures } = answer;
  for (const remark of [remarks(answer.first, " (from)"), remarks(answer.second, " (to)")]) {
    if (remark) block.append(remark);
  }
  const image = make("img", { alt: "the picture on the way" });
  const link = make("a", { text: "PNG" });
  const share = make("span");
  const slider = make("input", { type: "range", min: 0, max: pictures.length - 1, step: 1, value: 0 });
  slider.setAttribute("aria-label", "place on the way");
  const film = pictures.map((drawn, step) => {
    const small = make("img", { src: drawn.png, alt: "" });
    small.addEventListener("click", () => { slider.value = step; slider.dispatchEvent(new Event("input")); });
    return small;
  });
  function show() {
    const drawn = pictures[Number(slider.value)];
    image.src = link.href = drawn.png;
    link.download = drawn.name;
    share.textContent = `${Math.round(100 * drawn.share)} % of the second caption · `;
    film.forEach((small, step) => small.classList.toggle("shown", step === Number(slider.value)));
  }
  slider.addEventListener("moved", show);
  slider.addEventListener("input", () => {  // the generators beside it go along
    block.parentElement.querySelectorAll("input[type=range]").forEach((other) => {
      other.value = slider.value;
      other.dispatchEvent(new Event("moved"));
    });
  });
  show();
  block.classList.add("way");
  block.append(
    make("figure", {}, make("div", { className: "seen" }, image), make("figcaption", {}, share, link)),
    make("div", {}, slider,
      make("div", { className: "ends" }, make("span", { text: first }), make("span", { text: second })),
      make("div", { className: "film" }, ...film)),
  );
}

// --- forms ------------------------------------------------------------------------------------------------------------

const drawForm = $("#draw");

answers(drawForm, $("#drawn"), $("#draw-message"), async (generator, signal) => {
  const request = { generator: generator.value, count: Number(drawForm.elements.count.value), ...settings() };
  if (drawForm.elements.caption) request.caption = drawForm.elements.caption.value;
  keepInAddress(request);
  return [await ask("/api/draw", request, signal), request];
}, (result, [answer, request], generator) => showDrawn(result, answer, request, generator));

$("#another").addEventListener("click", () => {
  drawForm.elements.seed.value = Math.floor(Math.random() * 100000);
  drawForm.requestSubmit();
});

const wayForm = $("#interpolate");
if (wayForm) {
  const fields = wayForm.elements;
  answers(wayForm, $("#interpolated"), $("#interpolate-message"), (generator, signal) => ask("/api/interpolate", {
    generator: generator.value, first: fields.first.value, second: fields.second.value,
    steps: Number(fields.steps.value), ...settings(),
  }, signal), (result, answer) => showInterpolation(result, answer, fields.first.value, fields.second.value));
}

// the address says what is shown: reloading it, or passing it on, draws the same
function keepInAddress({ caption = "", seed, count, truncation }) {
  const address = new URLSearchParams({ caption, seed, count, truncation: truncation ?? "" });
  history.replaceState(null, "", `#${address}`);
}

if (location.hash) {
  for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
    const field = drawForm.elements[name];
    if (field && ["caption", "seed", "count", "truncation"].includes(name)) field.value = value;
  }
  drawForm.requestSubmit();
}
