// The timeline of a page: every call as a mark on the lane of its thread, drawn on a canvas.
"use strict";
(async () => {
  const byId = (id) => document.getElementById(id);
  const data = await read(byId("data"));
  const count = data.t.length;
  const FAILED = 1;
  const OF_LISTENER = 2;
  const TOP = 46;
  const LANE = 30;
  const PAGE = 30;

  // Columns, and for each lane the places of its calls in order of time.
  const time = new Float64Array(count);
  for (let i = 0, now = 0; i < count; i++) time[i] = now += data.t[i];
  const inLane = data.lanes.map(() => []);
  for (let i = 0; i < count; i++) inLane[data.lane[i]].push(i);
  const arrowsOf = new Map();
  for (const arrow of data.arrows) {
    if (!arrowsOf.has(arrow[2])) arrowsOf.set(arrow[2], []);
    arrowsOf.get(arrow[2]).push(arrow);
  }
  const SHAPES = {
    socket: "circle", bind: "square", dup: "copy", listen: "triangle", serve: "diamond",
    accept: "tall", pass: "point", option: "small", close: "cross",
  };
  const NAMES = {
    socket: "socket()", bind: "bind()", dup: "copied", listen: "listen()", serve: "into an epoll",
    accept: "accept()", pass: "sent or received", option: "setsockopt()", close: "close()",
  };

  const canvas = byId("canvas");
  const pen = canvas.getContext("2d");
  const tip = byId("tip");
  let colours = {};
  let view = [0, 1];
  let selected = -1;
  let lit = new Set();
  let others = false;
  let lanes = [];
  let width = 0;
  let left = 90;
  let waiting = false;

  async function read(element) {
    if (element.type === "application/json") return JSON.parse(element.textContent);
    const bytes = Uint8Array.from(atob(element.textContent), (char) => char.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  }

  function clock(at) {
    if (!data.times) return `call ${at}`;
    return `${at < 0 ? "−" : "+"}${(Math.abs(at) / 1000).toFixed(3)} ms`;
  }

  // Where nothing is chosen, the stretch in which the listeners came to be.
  function spanOf(places) {
    let first = Infinity;
    let last = -Infinity;
    for (const place of places) {
      first = Math.min(first, time[place]);
      last = Math.max(last, time[place]);
    }
    if (first > last) return wholeRun();
    const margin = Math.max((last - first) * 0.08, data.times ? 200 : 1);
    return [first - margin, last + margin];
  }

  function wholeRun() {
    let first = count ? time[0] : 0;
    let last = count ? time[count - 1] : 1;
    for (const band of data.bands) last = Math.max(last, band.end);
    for (const client of data.clients) last = Math.max(last, client[1]);
    const margin = Math.max((last - first) * 0.02, 1);
    return [first - margin, last + margin];
  }

  function startUp() {
    const until = data.bands.length ? data.bands[0].end : Infinity;
    const places = Object.values(data.steps).flat();
    const early = places.filter((place) => time[place] <= until);
    return spanOf(early.length ? early : places);
  }

  function chooseLanes() {
    const used = new Set();
    for (let i = 0; i < count; i++) if (data.flags[i] & OF_LISTENER || lit.has(i)) used.add(data.lane[i]);
    lanes = data.lanes
      .map((lane, index) => ({ ...lane, index }))
      .filter((lane) => others || lane.role !== "other" || used.has(lane.index));
    if (!lanes.length) lanes = data.lanes.map((lane, index) => ({ ...lane, index }));
    canvas.style.height = `${height()}px`;
  }

  function height() {
    return TOP + lanes.length * LANE + (data.clients.length ? LANE : 0) + 6;
  }

  function fit() {
    const box = canvas.getBoundingClientRect();
    const ratio = window.devicePixelRatio || 1;
    width = Math.max(box.width, 200);
    left = width < 560 ? 70 : 120;
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height() * ratio);
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    const style = getComputedStyle(document.documentElement);
    for (const name of ["ink", "paper", "soft", "quiet", "line", "good", "bad", "note", "mark", "lane"]) {
      colours[name] = style.getPropertyValue(`--${name}`).trim();
    }
    later();
  }

  function later() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  }

  const toX = (at) => left + ((at - view[0]) / (view[1] - view[0])) * (width - left - 8);
  const toTime = (x) => view[0] + ((x - left) / (width - left - 8)) * (view[1] - view[0]);

  function bound(places, at) {
    let low = 0;
    let high = places.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (time[places[middle]] < at) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  function colourOf(place) {
    if (data.flags[place] & FAILED && SHAPES[data.kinds[data.kind[place]]]) return colours.bad;
    const kind = data.kinds[data.kind[place]];
    if (!(data.flags[place] & OF_LISTENER)) return colours.quiet;
    return kind === "listen" || kind === "serve" ? colours.good : kind === "dup" ? colours.note : colours.ink;
  }

  function shape(kind, x, y, size) {
    pen.beginPath();
    if (kind === "circle") pen.arc(x, y, size, 0, 7);
    else if (kind === "square") pen.rect(x - size, y - size, 2 * size, 2 * size);
    else if (kind === "triangle") {
      pen.moveTo(x - size, y + size);
      pen.lineTo(x + size, y + size);
      pen.lineTo(x, y - size);
      pen.closePath();
    } else if (kind === "diamond" || kind === "copy") {
      pen.moveTo(x, y - size - 1);
      pen.lineTo(x + size, y);
      pen.lineTo(x, y + size + 1);
      pen.lineTo(x - size, y);
      pen.closePath();
      if (kind === "copy") pen.rect(x + size, y - size, 2, 2 * size);
    } else if (kind === "point") {
      pen.moveTo(x - size, y);
      pen.lineTo(x + size, y - size);
      pen.lineTo(x + size, y + size);
      pen.closePath();
    } else if (kind === "tall") pen.rect(x - 1, y - 9, 2, 18);
    else if (kind === "cross") {
      pen.rect(x - size, y - 1, 2 * size, 2);
      pen.rect(x - 1, y - size, 2, 2 * size);
    } else if (kind === "small") pen.rect(x - 1, y - 5, 2, 10);
    else pen.rect(x - 0.5, y - 3, 1, 6);
    pen.fill();
  }

  function draw() {
    pen.clearRect(0, 0, width, height());
    pen.font = "12px system-ui, sans-serif";
    pen.textBaseline = "middle";
    drawBands();
    drawAxis();
    lanes.forEach((lane, row) => drawLane(lane, TOP + row * LANE));
    if (data.clients.length) drawClients(TOP + lanes.length * LANE);
    drawArrows();
    drawChosen();
  }

  function drawBands() {
    data.bands.forEach((band, index) => {
      const begin = Math.max(toX(band.begin), left);
      const end = Math.min(toX(band.end), width);
      if (end <= left || begin >= width) return;
      pen.fillStyle = index % 2 ? colours.lane : colours.soft;
      pen.fillRect(begin, 0, end - begin, height());
      pen.fillStyle = band.failed ? colours.bad : colours.ink;
      words(band.name, begin + 4, 12, end - begin - 8);
    });
  }

  function words(text, x, y, room) {
    if (room < 14) return;
    let shown = text;
    while (shown.length > 1 && pen.measureText(shown).width > room) shown = `${shown.slice(0, -2)}…`;
    pen.fillText(shown, x, y);
  }

  function drawAxis() {
    const span = view[1] - view[0];
    const steps = Math.max(Math.floor((width - left) / 110), 1);
    const raw = span / steps;
    const size = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((n) => n * size).find((n) => n >= raw);
    pen.fillStyle = colours.quiet;
    pen.strokeStyle = colours.line;
    pen.beginPath();
    for (let at = Math.ceil(view[0] / step) * step; at <= view[1]; at += step) {
      const x = toX(at);
      pen.moveTo(x, 34);
      pen.lineTo(x, height());
      const label = data.times ? `${Number((at / 1000).toPrecision(6))} ms` : `${Math.round(at)}`;
      pen.fillText(label, x + 3, 32);
    }
    pen.stroke();
  }

  function drawLane(lane, top) {
    const middle = top + LANE / 2;
    pen.strokeStyle = colours.line;
    pen.beginPath();
    pen.moveTo(left, middle);
    pen.lineTo(width, middle);
    pen.stroke();
    pen.fillStyle = colours.ink;
    pen.font = lane.role === "other" ? "11px system-ui, sans-serif" : "600 12px system-ui, sans-serif";
    words(lane.label, 4, lane.process ? middle - 6 : middle, left - 8);
    pen.font = "10px system-ui, sans-serif";
    if (lane.process) words(lane.process, 4, middle + 7, left - 8);
    const places = inLane[lane.index];
    const from = bound(places, view[0]);
    const to = bound(places, view[1]);
    pen.globalAlpha = lit.size ? 0.3 : 1;
    if (to - from > (width - left) / 2) drawDense(places, from, to, middle);
    else {
      for (let i = from; i < to; i++) {
        const place = places[i];
        const kind = data.kinds[data.kind[place]];
        pen.fillStyle = colourOf(place);
        const known = data.flags[place] & (OF_LISTENER | FAILED) ? SHAPES[kind] : undefined;
        shape(known, toX(time[place]), middle, 5);
      }
    }
    pen.globalAlpha = 1;
  }

  // More calls than pixels: a bar for each column, as high as it has calls, in the colour of the
  // most important one.
  function drawDense(places, from, to, middle) {
    const columns = Math.ceil((width - left) / 2);
    const numbers = new Uint32Array(columns);
    const chosen = new Int32Array(columns).fill(-1);
    const scale = (width - left - 8) / (view[1] - view[0]) / 2;
    let most = 1;
    for (let i = from; i < to; i++) {
      const place = places[i];
      const column = Math.min(((time[place] - view[0]) * scale) | 0, columns - 1);
      most = Math.max(most, ++numbers[column]);
      if (chosen[column] < 0 || rank(place) > rank(chosen[column])) chosen[column] = place;
    }
    for (let column = 0; column < columns; column++) {
      if (!numbers[column]) continue;
      const size = 2 + (11 * Math.log1p(numbers[column])) / Math.log1p(most);
      pen.fillStyle = colourOf(chosen[column]);
      pen.fillRect(left + column * 2, middle - size, 1.6, size * 2);
    }
  }

  const rank = (place) => data.kind[place] + (data.flags[place] & OF_LISTENER ? 100 : 0) + (data.flags[place] & FAILED ? 50 : 0);

  function drawClients(top) {
    pen.fillStyle = colours.ink;
    pen.font = "600 12px system-ui, sans-serif";
    words("clients", 4, top + LANE / 2, left - 8);
    const rows = 5;
    data.clients.forEach(([begin, end, , ok], index) => {
      const x = toX(begin);
      const wide = Math.max(toX(end) - x, 1.5);
      if (x + wide < left || x > width) return;
      pen.fillStyle = ok ? colours.good : colours.bad;
      const from = Math.max(x, left);
      pen.fillRect(from, top + 3 + (index % rows) * 5, x + wide - from, 3);
    });
  }

  function placeOf(mark) {
    const row = lanes.findIndex((lane) => lane.index === data.lane[mark]);
    return row < 0 ? null : [toX(time[mark]), TOP + row * LANE + LANE / 2];
  }

  function drawArrows() {
    const socket = selected >= 0 ? data.socket[selected] : -1;
    let shown = [];
    if (socket >= 0) shown = arrowsOf.get(socket) || [];
    else if (lit.size) shown = data.arrows.filter(([a, b]) => lit.has(a) || lit.has(b)).slice(0, 200);
    else if (data.arrows.length <= 80) shown = data.arrows;
    pen.strokeStyle = colours.mark;
    pen.fillStyle = colours.mark;
    for (const [source, target] of shown) {
      const a = placeOf(source);
      const b = placeOf(target);
      if (!a || !b || Math.max(a[0], b[0]) < left || Math.min(a[0], b[0]) > width) continue;
      const up = a[1] === b[1] ? 13 : 0;
      pen.lineWidth = socket >= 0 ? 2 : 1;
      pen.beginPath();
      pen.moveTo(a[0], a[1]);
      pen.bezierCurveTo(a[0] + (b[0] - a[0]) * 0.4, a[1] - up, b[0] - (b[0] - a[0]) * 0.4, b[1] - up, b[0], b[1]);
      pen.stroke();
      pen.beginPath();
      pen.moveTo(b[0] - 2, b[1]);
      pen.lineTo(b[0] - 8, b[1] - 4 - up / 3);
      pen.lineTo(b[0] - 8, b[1] + 4 - up / 3);
      pen.fill();
    }
    pen.lineWidth = 1;
  }

  function ring(mark, radius, colour, thick) {
    const at = placeOf(mark);
    if (!at || at[0] < left - 2) return;
    pen.strokeStyle = colour;
    pen.lineWidth = thick;
    pen.beginPath();
    pen.arc(at[0], at[1], radius, 0, 7);
    pen.stroke();
    pen.lineWidth = 1;
  }

  function drawChosen() {
    for (const mark of lit) {
      if (time[mark] < view[0] || time[mark] > view[1]) continue;
      const at = placeOf(mark);
      if (!at) continue;
      pen.fillStyle = colourOf(mark);
      shape(SHAPES[data.kinds[data.kind[mark]]], at[0], at[1], 5);
      ring(mark, 8, colours.mark, 2);
    }
    if (selected >= 0) ring(selected, 10, colours.mark, 3);
  }

  function describe(mark) {
    const lane = data.lanes[data.lane[mark]];
    const who = lane.process ? `${lane.label} of ${lane.process}` : lane.label;
    const socket = data.socket[mark] >= 0 ? `, kernel socket #${data.socket[mark]}` : "";
    return [clock(time[mark]), who, data.texts[data.text[mark]], socket];
  }

  function select(mark, centre) {
    selected = mark;
    const [at, who, call, socket] = describe(mark);
    const now = byId("now");
    now.textContent = `${at}, ${who}${socket}: `;
    const code = document.createElement("code");
    code.textContent = call;
    now.append(code);
    if (!lanes.some((lane) => lane.index === data.lane[mark])) {
      others = true;
      document.querySelector("[data-do=others]").setAttribute("aria-pressed", "true");
      chooseLanes();
      fit();
    }
    const span = view[1] - view[0];
    if (centre || time[mark] < view[0] || time[mark] > view[1]) {
      view = [time[mark] - span / 2, time[mark] + span / 2];
    }
    later();
  }

  function highlight(marks, said) {
    lit = new Set(marks);
    selected = -1;
    for (const element of document.querySelectorAll(".lit")) element.classList.remove("lit");
    const sockets = new Set(marks.map((mark) => data.socket[mark]).filter((socket) => socket >= 0));
    for (const socket of sockets) {
      for (const element of document.querySelectorAll(`[data-socket="s${socket}"]`)) element.classList.add("lit");
    }
    chooseLanes();
    view = spanOf(marks);
    byId("now").textContent = `${marks.length} ${marks.length === 1 ? "call" : "calls"} highlighted: ${said}. `;
    for (const mark of marks.slice(0, 3)) {
      const code = document.createElement("code");
      code.textContent = data.texts[data.text[mark]];
      byId("now").append(code, " ");
    }
    fit();
  }

  function clear() {
    lit = new Set();
    selected = -1;
    for (const element of document.querySelectorAll(".lit")) element.classList.remove("lit");
    byId("now").textContent = "No call is selected.";
    later();
  }

  function zoom(factor, at = (view[0] + view[1]) / 2) {
    const least = data.times ? 2 : 4;
    const span = Math.max((view[1] - view[0]) * factor, least);
    const whole = wholeRun();
    if (span > (whole[1] - whole[0]) * 1.5) return;
    const part = (at - view[0]) / (view[1] - view[0]);
    view = [at - span * part, at - span * part + span];
    later();
  }

  function pan(part) {
    const by = (view[1] - view[0]) * part;
    view = [view[0] + by, view[1] + by];
    later();
  }

  const actions = {
    startup: () => { view = startUp(); later(); },
    all: () => { view = wholeRun(); later(); },
    in: () => zoom(0.6),
    out: () => zoom(1 / 0.6),
    left: () => pan(-0.3),
    right: () => pan(0.3),
    clear,
    others: (button) => {
      others = !others;
      button.setAttribute("aria-pressed", String(others));
      chooseLanes();
      fit();
    },
  };
  for (const button of document.querySelectorAll("[data-do]")) {
    button.addEventListener("click", () => actions[button.dataset.do](button));
  }

  // The next call of a lane that is visible, from a time on.
  function step(direction) {
    if (!lanes.length) return;
    const lane = selected < 0 ? lanes[0].index : data.lane[selected];
    const places = inLane[lane];
    if (!places.length) return;
    const now = selected < 0 ? bound(places, view[0]) - (direction > 0 ? 1 : 0) : places.indexOf(selected);
    select(places[Math.min(Math.max(now + direction, 0), places.length - 1)]);
  }

  function change(direction) {
    const row = selected < 0 ? -1 : lanes.findIndex((lane) => lane.index === data.lane[selected]);
    for (let next = row + direction; next >= 0 && next < lanes.length; next += direction) {
      const places = inLane[lanes[next].index];
      if (!places.length) continue;
      const at = selected < 0 ? view[0] : time[selected];
      select(places[Math.min(bound(places, at), places.length - 1)]);
      return;
    }
  }

  function onSocket() {
    if (selected < 0 || data.socket[selected] < 0) return;
    const socket = data.socket[selected];
    const marks = [];
    for (let i = 0; i < count; i++) if (data.socket[i] === socket) marks.push(i);
    highlight(marks, `kernel socket #${socket}`);
  }

  const keys = {
    ArrowRight: () => step(1), ArrowLeft: () => step(-1), ArrowDown: () => change(1), ArrowUp: () => change(-1),
    "+": () => zoom(0.6), "=": () => zoom(0.6), "-": () => zoom(1 / 0.6), "0": () => actions.startup(),
    Home: () => count && select(0), End: () => count && select(count - 1), Enter: onSocket, Escape: clear,
  };
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.shiftKey && event.key === "ArrowRight") pan(0.1);
    else if (event.shiftKey && event.key === "ArrowLeft") pan(-0.1);
    else if (keys[event.key]) keys[event.key]();
    else return;
    event.preventDefault();
  });

  // The call under the pointer: the nearest one on its lane, the most important of equals.
  function under(x, y) {
    const row = Math.floor((y - TOP) / LANE);
    if (row < 0 || row >= lanes.length) return -1;
    const places = inLane[lanes[row].index];
    let best = -1;
    let least = 9;
    for (let i = bound(places, toTime(x - 8)); i < places.length; i++) {
      const away = toX(time[places[i]]) - x;
      if (away > 8) break;
      const near = Math.abs(away) - (rank(places[i]) >= 100 ? 2 : 0);
      if (near < least) [least, best] = [near, places[i]];
    }
    return best;
  }

  const pointers = new Map();
  let dragged = 0;
  canvas.addEventListener("pointerdown", (event) => {
    pointers.set(event.pointerId, event.offsetX);
    dragged = 0;
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!pointers.has(event.pointerId)) {
      hover(event);
      return;
    }
    const before = pointers.get(event.pointerId);
    const other = [...pointers].find(([id]) => id !== event.pointerId);
    pointers.set(event.pointerId, event.offsetX);
    if (other) {
      const was = Math.max(Math.abs(before - other[1]), 10);
      zoom(was / Math.max(Math.abs(event.offsetX - other[1]), 10), toTime((event.offsetX + other[1]) / 2));
    } else {
      dragged += Math.abs(event.offsetX - before);
      pan(-(event.offsetX - before) / (width - left - 8));
    }
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, (event) => {
      pointers.delete(event.pointerId);
      const mark = name === "pointerup" && dragged < 4 ? under(event.offsetX, event.offsetY) : -1;
      if (mark >= 0) select(mark);
    });
  }
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
  canvas.addEventListener("dblclick", (event) => zoom(0.4, toTime(event.offsetX)));
  canvas.addEventListener("wheel", (event) => {
    if (event.ctrlKey || event.metaKey) zoom(event.deltaY > 0 ? 1.2 : 1 / 1.2, toTime(event.offsetX));
    else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      pan(((event.deltaX || event.deltaY) / width) * 0.5);
    } else return;
    event.preventDefault();
  }, { passive: false });

  function hover(event) {
    const mark = under(event.offsetX, event.offsetY);
    tip.hidden = mark < 0;
    if (mark < 0) return;
    const [at, who, call] = describe(mark);
    tip.textContent = `${at}  ${who}  ${call}`;
    const room = canvas.clientWidth - tip.offsetWidth;
    tip.style.left = `${Math.max(Math.min(event.offsetX + 12, room), 0)}px`;
    tip.style.top = `${event.offsetY + 14}px`;
  }

  // Search: by text, over every call; fifty of them are shown at a time.
  let matches = [];
  let first = 0;
  function search() {
    const wanted = byId("query").value.trim().toLowerCase();
    const fits = data.texts.map((text) => text.toLowerCase().includes(wanted));
    const whose = data.lanes.map((lane) => wanted !== "" && lane.label.toLowerCase() === wanted);
    matches = [];
    for (let i = 0; i < count; i++) if (fits[data.text[i]] || whose[data.lane[i]]) matches.push(i);
    first = 0;
    list();
  }

  function list() {
    const rows = matches.slice(first, first + PAGE).map((mark) => {
      const [at, who, call] = describe(mark);
      const row = document.createElement("li");
      const button = document.createElement("button");
      button.type = "button";
      button.className = "call";
      const head = document.createElement("span");
      head.className = "at";
      head.textContent = `${at}  ${who}  `;
      button.append(head, call);
      button.addEventListener("click", () => select(mark, true));
      row.append(button);
      return row;
    });
    byId("calls").replaceChildren(...rows);
    const last = Math.min(first + PAGE, matches.length);
    byId("found").textContent = matches.length
      ? `${first + 1} to ${last} of ${matches.length} calls`
      : "no call has this text";
    byId("earlier").disabled = first === 0;
    byId("later").disabled = last >= matches.length;
  }
  byId("find").addEventListener("submit", (event) => event.preventDefault());
  byId("query").addEventListener("input", search);
  byId("earlier").addEventListener("click", () => { first = Math.max(first - PAGE, 0); list(); });
  byId("later").addEventListener("click", () => { first += PAGE; list(); });

  for (const button of document.querySelectorAll("[data-finding], [data-step]")) {
    button.hidden = false;
    button.addEventListener("click", () => {
      const finding = button.dataset.finding;
      const places = finding ? data.findings[finding] : data.steps[button.dataset.step];
      highlight([...places], button.dataset.about);
      byId("timeline").scrollIntoView();
      canvas.focus({ preventScroll: true });
    });
  }

  const key = byId("key");
  for (const [kind, name] of Object.entries(NAMES)) {
    const row = document.createElement("li");
    const sign = { circle: "●", square: "■", copy: "◆▮", triangle: "▲", diamond: "◆", tall: "┃", point: "◀", small: "╷", cross: "✚" };
    row.textContent = `${sign[SHAPES[kind]]} ${name}`;
    key.append(row);
  }

  byId("chart").hidden = false;
  chooseLanes();
  view = startUp();
  fit();
  search();
  new ResizeObserver(() => { if (Math.abs(canvas.getBoundingClientRect().width - width) > 1) fit(); }).observe(canvas);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", fit);
  window.addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll("details")) part.open = true;
  });
  document.documentElement.dataset.ready = "yes";
})();
