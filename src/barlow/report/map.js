// The map: moves, shows pictures where there is room, answers clicks, keys and a lasso. All data stand in the page.
(() => {
  "use strict";
  const element = (id) => document.getElementById(id);
  const data = JSON.parse(element("map-data").textContent);
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const unpack = (text, Kind) => (text === undefined ? null : new Kind(bytes(text).buffer));
  const names = data.names, n = names.length, k = data.k || 0;
  const xy = unpack(data.xy, Float32Array);
  const near = unpack(data.neighbours, Int32Array), alike = unpack(data.similarities, Float32Array);
  const labels = unpack(data.labels, Int32Array), groups = unpack(data.groups, Int32Array);
  const duplicates = unpack(data.duplicates, Int32Array), outlier = unpack(data.outlier, Float32Array);
  const sizes = unpack(data.sizes, Uint8Array), waves = unpack(data.waves, Uint8Array);
  const isSound = data.media === "audio";
  const many = (count) => `${count.toLocaleString("en")} ${data.noun}${count === 1 ? "" : "s"}`;
  const groupName = (group) => data.group_names[group] ?? `group ${group + 1}`;
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  const darkness = matchMedia("(prefers-color-scheme: dark)");
  const MOST_ROWS = 60;

  // ---- pictures: sheets are decoded one after the other, and drawn when they are there

  const sheets = [...document.querySelectorAll("script.sheet")].map((holder) => {
    const image = new Image();
    image.src = holder.textContent;
    holder.remove();
    const sheet = { image, ready: false };
    sheet.loaded = image.decode().then(
      () => { sheet.ready = true; draw(); },
      () => say("A sheet of pictures cannot be shown"),
    );
    return sheet;
  });
  const inSheet = (data.a_row || 1) ** 2;
  const hasPicture = (i) => (sizes ? sizes[2 * i] > 0 : Boolean(waves));

  function drawPicture(pen, i, x, y, side, colour) {
    if (waves) return drawWave(pen, i, x, y, side, colour);
    const sheet = sheets[Math.floor(i / inSheet)];
    if (!sheet.ready) return null;
    const cell = i % inSheet, width = sizes[2 * i], height = sizes[2 * i + 1];
    const scale = side / Math.max(width, height), w = width * scale, h = height * scale;
    pen.imageSmoothingEnabled = !(data.tiny && scale * (devicePixelRatio || 1) > 1);
    pen.imageSmoothingQuality = "medium";
    const row = Math.floor(cell / data.a_row), column = cell % data.a_row;
    pen.drawImage(sheet.image, column * data.cell, row * data.cell, width, height, x - w / 2, y - h / 2, w, h);
    return [w, h];
  }

  function drawWave(pen, i, x, y, side, colour) {
    const count = data.wave_points, w = side, h = side * 0.56, step = w / count;
    pen.fillStyle = theme.card;
    pen.fillRect(x - w / 2, y - h / 2, w, h);
    pen.fillStyle = colour;
    for (let at = 0; at < count; at++) {
      const tall = Math.max(1, (waves[i * count + at] / 255) * (h - 6));
      pen.fillRect(x - w / 2 + at * step + step * 0.15, y - tall / 2, step * 0.7, tall);
    }
    return [w, h];
  }

  function shot(i, side, framed = false) {
    const canvas = document.createElement("canvas"), ratio = devicePixelRatio || 1;
    const [w, h] = waves ? [side, side * 0.56] : fitted(i, side);
    canvas.width = Math.round(w * ratio);
    canvas.height = Math.round(h * ratio);
    canvas.className = framed ? "shot framed" : "shot";
    Object.assign(canvas.style, { width: `${w}px`, height: `${h}px` });
    const paint = () => {
      const pen = canvas.getContext("2d");
      pen.scale(ratio, ratio);
      drawPicture(pen, i, w / 2, h / 2, Math.max(w, h), colourOf(i));
    };
    const sheet = sheets[Math.floor(i / inSheet)];
    if (waves || sheet?.ready) paint();
    else sheet?.loaded.then(paint);
    return canvas;
  }
  function fitted(i, side) {
    const [wide, tall] = [sizes[2 * i], sizes[2 * i + 1]], scale = side / Math.max(wide, tall);
    return [wide * scale, tall * scale];
  }

  // ---- sounds

  let player = null;
  function play(i) {
    player?.pause();
    const sound = data.sounds?.[i];
    if (!sound) return;
    player = new Audio(`data:audio/wav;base64,${sound}`);
    player.play().then(
      () => { element("map").dataset.played = names[i]; },
      () => say("This browser does not play the sound"),
    );
  }

  // ---- colours: what samples can be coloured by, each an entry for every sample

  let theme = {};
  function readTheme() {
    const style = getComputedStyle(document.documentElement);
    const value = (name) => style.getPropertyValue(`--${name}`).trim();
    theme = { card: value("card"), ink: value("ink"), soft: value("soft"), paper: value("paper"), rule: value("rule") };
    theme.quiet = value("bar-quiet");
    theme.accent = value("c1");
    theme.hot = value("c6");
    theme.palette = [1, 2, 3, 4, 6, 5].map((which) => value(`c${which}`)).concat(darkness.matches
      ? ["#f9a8d4", "#a3e635", "#c9a27e", "#67e8f9", "#fde047", "#a5a8f5", "#fca5a5", "#5eead4"]
      : ["#e377c2", "#7cb518", "#6b4226", "#17a2b8", "#e0a100", "#5b5fc7", "#7f1d1d", "#0f5e59"]);
    theme.ramp = darkness.matches ? ["#4b5563", "#6d6a80", "#9a6f93", "#cf7a8f", "#f4977d", "#ffd166"]
      : ["#c3c8cf", "#b9a9bd", "#b1779c", "#a8446f", "#8c1d40", "#5c0120"];
  }
  const categorical = (place) => theme.palette[place] ??
    `hsl(${(place * 137.508 + 20) % 360} ${place % 2 ? 48 : 66}% ${(darkness.matches ? 66 : 40) + (place % 3) * 5}%)`;

  const RANKS = [[0.5, "the half that fits best"], [0.8, "the next 30%"], [0.95, "the next 15%"], [0.98, "the next 3%"],
    [0.99, "the next 1%"], [1, "the 1% that fits least"]];
  const byOutlier = outlier ? [...outlier.keys()].sort((a, b) => outlier[b] - outlier[a]) : [];

  function named(id, title, of, nameOf, none) {
    const count = Math.max(-1, ...new Set(of)) + 1;
    const entry = (_, place) => ({ name: nameOf(place), colour: () => categorical(place) });
    const entries = Array.from({ length: count }, entry);
    entries.push({ name: none, colour: () => theme.quiet, under: true });
    return { id, title, entries, of: of.map((place) => (place < 0 ? count : place)) };
  }

  function everyKey() {
    const keys = [];
    if (labels) keys.push(named("label", "Class", labels, (place) => data.class_names[place], "no label"));
    if (groups) keys.push(named("group", "Group", groups, groupName, "in no group"));
    if (duplicates) {
      const copies = { name: "there more than once", colour: () => theme.hot, large: true };
      const rest = { name: "there once", colour: () => theme.quiet, under: true };
      const of = duplicates.map((group) => (group < 0 ? 1 : 0));
      keys.push({ id: "duplicate", title: "Near-copies", entries: [copies, rest], of });
    }
    if (outlier) {
      const of = new Int32Array(n);
      byOutlier.forEach((i, rank) => { of[i] = RANKS.findIndex(([share]) => (n - rank) / n <= share + 1e-9); });
      const entries = RANKS.map(([, name], step) => ({ name, colour: () => theme.ramp[step], large: step > 3 }));
      keys.push({ id: "outlier", title: "Outliers", entries, of, reversed: true });
    }
    const all = { name: "all", colour: () => theme.accent };
    keys.push({ id: "none", title: "Nothing", entries: [all], of: new Int32Array(n) });
    for (const one of keys) {
      one.entries.forEach((entry) => { entry.count = 0; });
      one.of.forEach((entry) => { one.entries[entry].count++; });
      // Quiet ones lie below, and a later outlier above an earlier one; among equals chance decides who is on top.
      one.order = Int32Array.from(shuffled).sort((a, b) => level(one, a) - level(one, b));
      one.first = Int32Array.from(shuffled).sort((a, b) => level(one, b) - level(one, a));
    }
    return keys;
  }
  const level = (one, i) => (one.id === "outlier" ? one.of[i] : one.entries[one.of[i]].under ? 0 : 1);

  function chance(seed) { // the same shuffle each time the page is opened
    return () => {
      seed = (seed + 0x6d2b79f5) | 0;
      let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
      mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
      return ((mixed ^ (mixed >>> 14)) >>> 0) / 4294967296;
    };
  }
  const shuffled = Array.from({ length: n }, (_, i) => i);
  for (let last = n - 1, random = chance(1); last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [shuffled[last], shuffled[other]] = [shuffled[other], shuffled[last]];
  }

  // ---- what is shown of all this now

  readTheme();
  const keys = everyKey();
  const state = {
    key: keys[0], only: new Set(), matches: null, // what is lit: entries of the key, and names that were looked for
    picked: -1, hover: -1, list: new Set(), lasso: false, pictures: true,
  };
  const view = { x: 0.5, y: 0.5, scale: 500 }; // the place in the middle, and pixels per unit
  const lit = new Uint8Array(n).fill(1);
  const colourOf = (i) => state.key.entries[state.key.of[i]].colour();
  let litCount = n, width = 1, height = 1;

  function relight() {
    litCount = 0;
    for (let i = 0; i < n; i++) {
      lit[i] = (!state.only.size || state.only.has(state.key.of[i])) && (!state.matches || state.matches[i]) ? 1 : 0;
      litCount += lit[i];
    }
    findRoom();
    draw();
  }

  // ---- room for pictures: each has a scale from which on it is shown, so that zooming in only ever adds some

  const appears = new Float32Array(n);
  const largestSide = isSound ? 70 : Math.max(84, Math.min(data.cell || 0, 112));
  const pictureSide = (scale) => Math.min(Math.max(30 * (scale / 600) ** 0.3, 26), largestSide);

  function findRoom() {
    appears.fill(Infinity);
    // What the colours single out, such as outliers, has its pictures first.
    let waiting = Array.from(state.key.first).filter((i) => lit[i] && hasPicture(i)), shown = [];
    for (let scale = 160; waiting.length && scale < 3e6; scale *= Math.SQRT2) {
      // Between pictures of the whole map dots are to be seen; closer, pictures may touch.
      const apart = (pictureSide(scale) * (scale < 1500 ? 1.7 - 0.6 * (scale / 1500) : 1.1)) / scale;
      const cells = new Map(), left = [];
      const cell = (place) => Math.floor(place / apart) + 2;
      const cellOf = (i, right, down) => (cell(xy[2 * i]) + right) * 4194304 + cell(xy[2 * i + 1]) + down;
      const put = (i) => {
        const at = cellOf(i, 0, 0);
        if (cells.has(at)) cells.get(at).push(i);
        else cells.set(at, [i]);
      };
      const collides = (i) => {
        for (let right = -1; right <= 1; right++) for (let down = -1; down <= 1; down++) {
          for (const j of cells.get(cellOf(i, right, down)) ?? []) {
            if (Math.abs(xy[2 * i] - xy[2 * j]) < apart && Math.abs(xy[2 * i + 1] - xy[2 * j + 1]) < apart) return true;
          }
        }
        return false;
      };
      shown.forEach(put);
      for (const i of waiting) {
        if (collides(i)) left.push(i);
        else { appears[i] = scale; shown.push(i); put(i); }
      }
      waiting = left;
    }
  }
  const isOpen = (i) => state.pictures && lit[i] === 1 && appears[i] <= view.scale;

  // ---- drawing: dots and pictures below; what follows the pointer above, so that hovering redraws little

  const base = element("dots"), over = element("over"), stage = element("stage");
  const pen = base.getContext("2d"), top = over.getContext("2d");
  const screenX = (i) => (xy[2 * i] - view.x) * view.scale + width / 2;
  const screenY = (i) => (xy[2 * i + 1] - view.y) * view.scale + height / 2;
  const dotRadius = () => Math.min(7, Math.max(1.6, (3.6 - Math.log10(n) * 0.45) * (view.scale / 700) ** 0.28));
  let due = false, onTop = []; // samples whose pictures are drawn above all

  function draw() {
    if (due) return;
    due = true;
    requestAnimationFrame(() => { due = false; drawNow(); });
  }

  function drawNow() {
    const began = performance.now();
    const radius = dotRadius(), side = pictureSide(view.scale);
    const full = discs(radius, 0.85), large = discs(radius * 1.5, 0.95), faint = discs(radius * 0.8, 0.22);
    const colours = state.key.entries.map((entry) => channels(entry.colour())), quiet = channels(theme.quiet);
    const forms = state.key.entries.map((entry) => (entry.large ? large : full));
    const open = [];
    wipe();
    for (const wanted of litCount < n ? [0, 1] : [1]) {
      for (const i of state.key.order) {
        if (lit[i] !== wanted) continue;
        const x = screenX(i), y = screenY(i);
        if (x < -side || y < -side || x > width + side || y > height + side) continue;
        if (wanted && isOpen(i)) { open.push(i); continue; }
        if (wanted) dab(forms[state.key.of[i]], x, y, colours[state.key.of[i]]);
        else dab(faint, x, y, quiet);
      }
    }
    pen.putImageData(ground, 0, 0);
    for (const i of open) framed(pen, i, screenX(i), screenY(i), side, colourOf(i), state.list.has(i) ? 3 : 1.6);
    stage.dataset.pictures = open.length;
    drawOver();
    return performance.now() - began;
  }

  // Dots are mixed into the pixels here: ten thousand calls of a canvas take ten times as long where no GPU helps.
  let ground = null, pixels = null;
  function wipe() {
    if (ground?.width !== base.width || ground.height !== base.height) {
      ground = pen.createImageData(base.width, base.height);
      pixels = ground.data;
    }
    const [red, green, blue] = channels(theme.paper);
    new Uint32Array(pixels.buffer).fill(((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0);
  }

  function discs(radius, alpha) { // a disc at each of 4 x 4 places within a pixel, so that dots glide
    const real = radius * (devicePixelRatio || 1), side = Math.ceil(2 * real) + 2, masks = [];
    for (let down = 0; down < 4; down++) for (let right = 0; right < 4; right++) {
      const mask = new Float32Array(side * side), x = side / 2 - 0.5 + right / 4, y = side / 2 - 0.5 + down / 4;
      for (let at = 0; at < mask.length; at++) {
        const away = Math.hypot((at % side) + 0.5 - x, Math.floor(at / side) + 0.5 - y);
        mask[at] = alpha * Math.min(1, Math.max(0, real + 0.5 - away));
      }
      masks.push(mask);
    }
    return { side, masks };
  }

  function dab({ side, masks }, x, y, colour) {
    const ratio = devicePixelRatio || 1, wide = base.width;
    const left = x * ratio - side / 2 + 0.5, above = y * ratio - side / 2 + 0.5;
    const firstX = Math.floor(left), firstY = Math.floor(above);
    const mask = masks[Math.floor((above - firstY) * 4) * 4 + Math.floor((left - firstX) * 4)];
    const [red, green, blue] = colour;
    for (let row = Math.max(0, -firstY), rows = Math.min(side, base.height - firstY); row < rows; row++) {
      for (let column = Math.max(0, -firstX), columns = Math.min(side, wide - firstX); column < columns; column++) {
        const alpha = mask[row * side + column];
        if (!alpha) continue;
        const at = 4 * ((firstY + row) * wide + firstX + column);
        pixels[at] += (red - pixels[at]) * alpha;
        pixels[at + 1] += (green - pixels[at + 1]) * alpha;
        pixels[at + 2] += (blue - pixels[at + 2]) * alpha;
      }
    }
  }

  const known = new Map();
  function channels(colour) { // of any colour that CSS has
    if (!known.has(colour)) {
      const one = make("canvas", { width: 1, height: 1 }).getContext("2d");
      one.fillStyle = colour;
      one.fillRect(0, 0, 1, 1);
      known.set(colour, [...one.getImageData(0, 0, 1, 1).data.slice(0, 3)]);
    }
    return known.get(colour);
  }

  function framed(pen, i, x, y, side, colour, thick) {
    const size = hasPicture(i) ? drawPicture(pen, i, x, y, side, colour) : null;
    if (!size) return ring(pen, x, y, dotRadius() + 1, colour, thick);
    pen.strokeStyle = colour;
    pen.lineWidth = thick;
    pen.strokeRect(x - size[0] / 2, y - size[1] / 2, size[0], size[1]);
    return size;
  }

  function ring(pen, x, y, radius, colour, thick) {
    pen.strokeStyle = colour;
    pen.lineWidth = thick;
    pen.beginPath();
    pen.arc(x, y, radius, 0, 7);
    pen.stroke();
  }

  function drawOver() {
    top.clearRect(0, 0, width, height);
    onTop = [];
    for (const i of state.list) if (!isOpen(i)) ring(top, screenX(i), screenY(i), dotRadius() + 1.6, theme.ink, 1.2);
    if (state.picked >= 0) drawPicked(state.picked);
    const over = state.hover;
    if (over >= 0 && over !== state.picked) ring(top, screenX(over), screenY(over), dotRadius() + 4, theme.accent, 2.5);
    if (path.length) {
      top.beginPath();
      path.forEach(([x, y]) => top.lineTo(x, y));
      top.closePath();
      top.fillStyle = theme.accent;
      top.globalAlpha = 0.14;
      top.fill();
      top.globalAlpha = 1;
      top.strokeStyle = theme.accent;
      top.lineWidth = 2;
      top.stroke();
    }
    if (aiming) {
      top.fillStyle = theme.ink;
      top.fillRect(width / 2 - 9, height / 2 - 1, 18, 2);
      top.fillRect(width / 2 - 1, height / 2 - 9, 2, 18);
    }
  }

  function drawPicked(i) {
    const found = neighboursOf(i), x = screenX(i), y = screenY(i);
    top.strokeStyle = theme.accent;
    top.lineWidth = 1.4;
    top.globalAlpha = 0.75;
    top.beginPath();
    for (const j of found) { top.moveTo(x, y); top.lineTo(screenX(j), screenY(j)); }
    top.stroke();
    top.globalAlpha = 1;
    // The nearest come first: where there is no room for the picture of a neighbour, it has a ring.
    const side = Math.max(34, pictureSide(view.scale) * 0.9), taken = [];
    onTop = [];
    for (const j of [i, ...found]) {
      const at = [screenX(j), screenY(j)];
      const free = taken.every(([x, y]) => Math.abs(x - at[0]) > side * 0.9 || Math.abs(y - at[1]) > side * 0.9);
      if (!free) { ring(top, ...at, dotRadius() + 3, theme.accent, 2); continue; }
      taken.push(at);
      onTop.push(j);
    }
    for (const j of [...onTop].reverse()) {
      framed(top, j, screenX(j), screenY(j), j === i ? side * 1.35 : side, theme.accent, j === i ? 4 : 2.5);
    }
  }

  const neighboursOf = (i) => (near ? Array.from(near.subarray(i * k, (i + 1) * k)).filter((j) => j >= 0) : []);
  const copiesOf = (i) => {
    if (!duplicates || duplicates[i] < 0) return [];
    return Array.from(duplicates.keys()).filter((j) => j !== i && duplicates[j] === duplicates[i]);
  };

  // ---- moving

  function resize() {
    const box = stage.getBoundingClientRect(), ratio = devicePixelRatio || 1;
    width = Math.max(1, box.width);
    height = Math.max(1, box.height);
    for (const canvas of [base, over]) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
      canvas.getContext("2d").setTransform(ratio, 0, 0, ratio, 0, 0);
    }
    drawNow();
  }

  function whole() {
    let [left, up, right, down] = [1, 1, 0, 0];
    for (let i = 0; i < n; i++) {
      left = Math.min(left, xy[2 * i]); right = Math.max(right, xy[2 * i]);
      up = Math.min(up, xy[2 * i + 1]); down = Math.max(down, xy[2 * i + 1]);
    }
    const scale = Math.min((width - 56) / Math.max(right - left, 1e-6), (height - 56) / Math.max(down - up, 1e-6));
    return { x: (left + right) / 2, y: (up + down) / 2, scale: Math.min(Math.max(scale, 40), 20000) };
  }

  let flight = 0;
  function fly(to) {
    cancelAnimationFrame(flight);
    const from = { ...view }, began = performance.now(), long = still.matches ? 0 : 260;
    const step = () => {
      const share = long ? Math.min(1, (performance.now() - began) / long) : 1, eased = 1 - (1 - share) ** 3;
      view.scale = from.scale * (to.scale / from.scale) ** eased;
      view.x = from.x + (to.x - from.x) * eased;
      view.y = from.y + (to.y - from.y) * eased;
      drawNow();
      if (share < 1) flight = requestAnimationFrame(step);
    };
    step();
  }

  const allowed = (scale) => Math.min(Math.max(scale, 0.5 * Math.min(width, height)), 2e6);

  function zoom(factor, x = width / 2, y = height / 2) {
    const scale = allowed(view.scale * factor);
    const placeX = view.x + (x - width / 2) / view.scale, placeY = view.y + (y - height / 2) / view.scale;
    Object.assign(view, { scale, x: placeX - (x - width / 2) / scale, y: placeY - (y - height / 2) / scale });
    draw();
  }

  function pan(right, down) {
    view.x = Math.min(1.3, Math.max(-0.3, view.x - right / view.scale));
    view.y = Math.min(1.3, Math.max(-0.3, view.y - down / view.scale));
    draw();
  }

  // ---- what is under a point of the screen: a picture that is open, else the nearest dot

  function under(x, y, reach) {
    const side = pictureSide(view.scale) / 2;
    const covers = (i) => Math.abs(screenX(i) - x) < side && Math.abs(screenY(i) - y) < side;
    const covered = onTop.find((i) => hasPicture(i) && covers(i));
    if (covered !== undefined) return covered;
    let best = -1, least = reach * reach;
    for (let i = 0; i < n; i++) {
      if (!lit[i]) continue;
      const away = ((screenX(i) - x) ** 2 + (screenY(i) - y) ** 2) * (isOpen(i) && covers(i) ? 1e-6 : 1);
      if (away < least) { least = away; best = i; }
    }
    return best;
  }

  // ---- pointer: drag, pinch, click, lasso

  const pointers = new Map();
  let path = [], moved = 0, pinch = null, lassoing = false, aiming = false;
  const spot = (event) => {
    const box = over.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };

  over.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    cancelAnimationFrame(flight);
    over.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, spot(event));
    hover(-1);
    aiming = false;
    if (pointers.size === 1) {
      moved = 0;
      lassoing = state.lasso || event.shiftKey;
      path = lassoing ? [spot(event)] : [];
    } else { path = []; lassoing = false; moved = 99; pinch = grip(); }
  });

  over.addEventListener("pointermove", (event) => {
    const at = spot(event), before = pointers.get(event.pointerId);
    if (!before) {
      if (event.pointerType !== "touch") hover(under(...at, 12), at);
      return;
    }
    moved += Math.hypot(at[0] - before[0], at[1] - before[1]);
    pointers.set(event.pointerId, at);
    if (pointers.size > 1) {
      const now = grip();
      pan(now.x - pinch.x, now.y - pinch.y);
      zoom(now.wide / pinch.wide, now.x, now.y);
      pinch = now;
    } else if (lassoing) { path.push(at); drawOver(); }
    else if (moved > 4) { over.classList.add("moving"); pan(at[0] - before[0], at[1] - before[1]); }
  });

  function grip() {
    const [[x, y], [otherX, otherY]] = [...pointers.values()];
    return { x: (x + otherX) / 2, y: (y + otherY) / 2, wide: Math.max(8, Math.hypot(x - otherX, y - otherY)) };
  }

  function release(event) {
    if (!pointers.delete(event.pointerId)) return;
    over.classList.remove("moving");
    if (pointers.size) { pinch = pointers.size > 1 ? grip() : null; return; }
    const drawn = path;
    path = [];
    if (event.type === "pointercancel") return drawOver();
    if (lassoing && moved > 8) enclose(drawn, event.altKey);
    else if (moved <= 8) pick(under(...spot(event), event.pointerType === "touch" ? 26 : 12), { sound: true });
    else drawOver();
  }
  over.addEventListener("pointerup", release);
  over.addEventListener("pointercancel", release);
  over.addEventListener("pointerleave", () => hover(-1));
  over.addEventListener("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 18 : event.deltaMode === 2 ? 300 : 1;
    const turned = Math.max(-240, Math.min(240, event.deltaY * lines));
    zoom(Math.exp(-turned * (event.ctrlKey ? 0.01 : 0.0018)), ...spot(event));
  }, { passive: false });
  over.addEventListener("dblclick", (event) => zoom(2, ...spot(event)));

  function enclose(polygon, off) {
    const within = shuffled.filter((i) => lit[i] && inside(polygon, screenX(i), screenY(i)));
    within.forEach((i) => (off ? state.list.delete(i) : state.list.add(i)));
    say(within.length ? `${many(within.length)} ${off ? "off" : "put on"} the list` : "Nothing inside the lasso");
    if (state.lasso) setLasso(false);
    showList();
  }

  function inside(polygon, x, y) {
    let within = false;
    for (let a = 0, b = polygon.length - 1; a < polygon.length; b = a++) {
      const [ax, ay] = polygon[a], [bx, by] = polygon[b];
      if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) within = !within;
    }
    return within;
  }

  const card = element("card");
  function hover(i, at) {
    over.classList.toggle("onto", i >= 0);
    if (i !== state.hover) {
      state.hover = i;
      card.hidden = i < 0;
      if (i >= 0) {
        const said = [make("div", {}, names[i]), aside("div", about(i).join(" · "))];
        card.replaceChildren(...(hasPicture(i) ? [shot(i, 150)] : []), ...said);
      }
      drawOver();
    }
    if (i < 0 || !at) return;
    const fits = at[0] + 18 + card.offsetWidth <= width;
    card.style.left = `${fits ? at[0] + 18 : Math.max(4, at[0] - 18 - card.offsetWidth)}px`;
    card.style.top = `${Math.max(4, Math.min(at[1] + 14, height - card.offsetHeight - 6))}px`;
  }

  // ---- the panel

  function make(tag, settings = {}, ...children) {
    const made = Object.assign(document.createElement(tag), settings);
    made.append(...children);
    return made;
  }
  const button = (words, onclick, settings = {}) => make("button", { type: "button", onclick, ...settings }, words);
  const closing = (close) => button("×", close, { className: "close", ariaLabel: "Close" });
  const headed = (title, close) => make("h2", {}, make("span", {}, title), close ? closing(close) : "");
  const h3 = (words) => make("h3", {}, words);
  const acts = (...buttons) => make("div", { className: "acts" }, ...buttons);
  const aside = (tag, words) => make(tag, { className: "aside" }, words);

  function about(i) {
    const said = [];
    if (labels) said.push(labels[i] < 0 ? "no label" : data.class_names[labels[i]]);
    if (groups && groups[i] >= 0) said.push(groupName(groups[i]));
    if (duplicates && duplicates[i] >= 0) said.push("there more than once");
    if (outlier && state.key.id === "outlier") said.push(`outlier score ${outlier[i].toPrecision(3)}`);
    return said;
  }

  function row(i, beside = "") {
    const made = button("", () => pick(i, { go: true, sound: true }), { className: "row", title: about(i).join(", ") });
    const words = make("span", { className: "words" }, names[i]);
    made.replaceChildren(hasPicture(i) ? shot(i, 44) : dotOf(i), words, aside("span", beside));
    return made;
  }
  function dotOf(i) {
    const dot = make("span", { className: "swatch" });
    dot.style.background = colourOf(i);
    return dot;
  }

  function pick(i, { go = false, sound = false } = {}) {
    state.picked = i;
    element("map").dataset.picked = i >= 0 ? names[i] : "";
    if (i >= 0 && sound) play(i);
    if (i >= 0 && go) {
      const x = screenX(i), y = screenY(i), seen = x >= 40 && y >= 40 && x <= width - 40 && y <= height - 40;
      if (!seen) fly({ x: xy[2 * i], y: xy[2 * i + 1], scale: view.scale });
    }
    showPicked();
    drawOver();
  }

  function showPicked() {
    const i = state.picked, box = element("chosen");
    box.hidden = i < 0;
    if (i < 0) return box.replaceChildren();
    const remark = data.remarks?.[i] ? [make("div", {}, data.remarks[i])] : [];
    const facts = about(i).map((fact) => aside("div", fact));
    const words = make("div", { className: "words" }, make("b", {}, names[i]), ...facts, ...remark);
    const large = make("div", { className: "big" }, ...(hasPicture(i) ? [shot(i, 128, true)] : []), words);
    const offers = [button(state.list.has(i) ? "Off the list" : "Put on the list", () => toggle(i))];
    const found = neighboursOf(i), copies = copiesOf(i);
    if (data.sounds?.[i]) offers.unshift(button("Play", () => play(i)));
    if (found.length) offers.push(button("List the neighbours", () => add([i, ...found])));
    if (found.length) offers.push(button("Show them all", () => show([i, ...found])));
    const title = data.noun.slice(0, 1).toUpperCase() + data.noun.slice(1);
    const parts = [headed(title, () => pick(-1)), large, acts(...offers)];
    const same = copies.slice(0, MOST_ROWS).map((j) => row(j));
    if (copies.length) parts.push(h3(`Near-copies of it: ${copies.length}`), ...same);
    if (near) {
      const missing = k - found.length, rest = missing ? `, ${missing} more not on the map` : "";
      parts.push(h3(found.length ? `Nearest by features${rest}` : "No neighbour of it is on the map"));
      const rank = (j) => near.subarray(i * k, (i + 1) * k).indexOf(j);
      parts.push(...found.map((j) => row(j, alike ? alike[i * k + rank(j)].toFixed(2) : "")));
    }
    box.replaceChildren(...parts);
    element("panel").scrollTop = 0;
  }

  function show(some) {
    const xs = some.map((i) => xy[2 * i]), ys = some.map((i) => xy[2 * i + 1]);
    const [left, right, up, down] = [Math.min(...xs), Math.max(...xs), Math.min(...ys), Math.max(...ys)];
    const [wide, tall] = [Math.max(right - left, 1e-4), Math.max(down - up, 1e-4)];
    const scale = Math.min((width - 140) / wide, (height - 140) / tall, 30000);
    fly({ x: (left + right) / 2, y: (up + down) / 2, scale: Math.max(scale, 60) });
  }

  function showKey() {
    const one = state.key, box = element("key");
    if (one.id === "none") return box.replaceChildren(headed(many(n)));
    const order = one.entries.map((_, place) => place).filter((place) => one.entries[place].count);
    if (one.reversed) order.reverse();
    const rows = order.map((place) => {
      const entry = one.entries[place], swatch = make("span", { className: "swatch" });
      swatch.style.background = entry.colour();
      const made = button("", () => isolate(place), { className: "row", ariaPressed: String(state.only.has(place)) });
      made.classList.toggle("off", state.only.size > 0 && !state.only.has(place));
      const words = make("span", { className: "words" }, entry.name);
      made.append(swatch, words, aside("span", entry.count.toLocaleString("en")));
      return made;
    });
    const everything = () => { state.only.clear(); showKey(); relight(); };
    const parts = [headed(one.title, state.only.size ? everything : null), ...rows];
    const hint = make("p", { className: "hint" }, "Click one to see it alone, another to add it.");
    if (state.only.size) parts.push(acts(button("List them", () => add(shuffled.filter((i) => lit[i])))));
    else if (order.length > 1) parts.push(hint);
    if (one.id === "outlier") {
      parts.push(h3("Those that fit least"), ...byOutlier.slice(0, 20).map((i) => row(i, outlier[i].toPrecision(3))));
    }
    if (one.id === "duplicate") parts.push(...groupsOfCopies());
    box.replaceChildren(...parts);
  }

  function groupsOfCopies() {
    const all = new Map();
    duplicates.forEach((group, i) => {
      if (group >= 0) all.set(group, all.get(group) ?? []).get(group).push(i);
    });
    const largest = [...all.values()].sort((a, b) => b.length - a.length);
    const rest = largest.length > MOST_ROWS ? `, the first ${MOST_ROWS} here` : "";
    const title = `${all.size.toLocaleString("en")} group${all.size === 1 ? "" : "s"}${rest}`;
    return [h3(title), ...largest.slice(0, MOST_ROWS).map((some) => row(some[0], `× ${some.length}`))];
  }

  function isolate(place) {
    if (!state.only.delete(place)) state.only.add(place);
    showKey();
    relight();
  }

  // ---- finding names

  const search = element("search");
  search.addEventListener("input", () => {
    const wanted = search.value.trim().toLowerCase();
    const className = (i) => (labels && labels[i] >= 0 ? data.class_names[labels[i]].toLowerCase() : "");
    const hit = (i) => names[i].toLowerCase().includes(wanted) || className(i) === wanted;
    state.matches = wanted ? Uint8Array.from(names, (_, i) => (hit(i) ? 1 : 0)) : null;
    relight();
    showFound(wanted);
  });
  const matching = () => names.map((_, i) => i).filter((i) => state.matches?.[i]);
  function showFound(wanted) {
    const box = element("found"), all = matching();
    box.hidden = !wanted;
    if (!wanted) return box.replaceChildren();
    const title = all.length ? `${many(all.length)} with “${wanted}”` : `No name has “${wanted}”`;
    const parts = [headed(title, () => clearSearch())];
    const offers = [button("List them", () => add(all)), button("Show them all", () => show(all))];
    if (all.length) parts.push(acts(...offers));
    parts.push(...all.slice(0, 12).map((i) => row(i)));
    if (all.length > 12) parts.push(aside("p", `and ${(all.length - 12).toLocaleString("en")} more on the map`));
    box.replaceChildren(...parts);
    element("panel").scrollTop = 0;
  }
  function clearSearch() {
    search.value = "";
    state.matches = null;
    relight();
    showFound("");
  }
  search.addEventListener("keydown", (event) => {
    const first = matching()[0];
    if (event.key === "Enter" && first !== undefined) pick(first, { go: true, sound: true });
    else if (event.key === "Escape") { clearSearch(); over.focus(); }
    else return;
    event.preventDefault();
  });

  // ---- the list: by lasso, search, key, or one by one; copied or kept as a file

  function add(some) {
    some.forEach((i) => state.list.add(i));
    say(`${many(state.list.size)} in the list`);
    showList();
  }
  function toggle(i) {
    if (!state.list.delete(i)) state.list.add(i);
    showList();
    if (i === state.picked) showPicked();
  }
  const listed = () => [...state.list].sort((a, b) => a - b);

  function showList() {
    const box = element("listed"), all = listed();
    element("map").dataset.listed = all.length;
    box.hidden = !all.length;
    draw();
    if (!all.length) return box.replaceChildren();
    const files = [["txt", asText], ["csv", asTable]];
    const saves = files.map(([ending, content]) => button(`Save .${ending}`, () => save(ending, content())));
    const clear = () => { state.list.clear(); showList(); };
    const parts = [headed(`List of ${many(all.length)}`, clear), acts(button("Copy names", copy), ...saves)];
    const some = all.slice(0, MOST_ROWS);
    if (sizes) {
      const small = (i) => button(shot(i, 40), () => pick(i, { go: true }), { title: names[i], ariaLabel: names[i] });
      parts.push(make("div", { className: "mosaic" }, ...some.filter(hasPicture).map(small)));
    } else parts.push(make("div", { className: "names" }, ...some.map((i) => row(i))));
    if (all.length > some.length) parts.push(aside("p", `and ${(all.length - some.length).toLocaleString("en")} more`));
    box.replaceChildren(...parts);
  }

  const asText = () => listed().map((i) => names[i] + "\n").join("");
  function asTable() {
    const quoted = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
    const columns = [["name", (i) => names[i]]];
    if (labels) columns.push(["label", (i) => (labels[i] < 0 ? "" : data.class_names[labels[i]])]);
    if (groups) columns.push(["group", (i) => (groups[i] < 0 ? "" : groupName(groups[i]))]);
    if (duplicates) columns.push(["near_copies", (i) => (duplicates[i] < 0 ? "" : String(duplicates[i] + 1))]);
    if (outlier) columns.push(["outlier_score", (i) => String(outlier[i])]);
    columns.push(["x", (i) => String(xy[2 * i])], ["y", (i) => String(xy[2 * i + 1])]);
    const lines = [columns.map(([name]) => name), ...listed().map((i) => columns.map(([, value]) => quoted(value(i))))];
    return lines.map((line) => line.join(",") + "\n").join("");
  }

  function save(ending, content) {
    const address = URL.createObjectURL(new Blob([content], { type: "text/plain" }));
    const link = make("a", { href: address, download: `list.${ending}` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 10000);
  }

  async function copy() {
    const content = asText();
    try { await navigator.clipboard.writeText(content); } catch {
      const area = make("textarea", { value: content });
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    say(`${many(state.list.size)}: names copied`);
  }

  // ---- tools and keys

  let sayUntil = 0;
  function say(words) {
    const box = element("said");
    box.textContent = words;
    box.classList.add("on");
    clearTimeout(sayUntil);
    sayUntil = setTimeout(() => box.classList.remove("on"), 2600);
  }

  function setLasso(on) {
    state.lasso = on;
    element("lasso").ariaPressed = String(on);
    over.classList.toggle("lasso", on);
    if (on) say("Draw around what you want in the list");
  }
  function setPictures(on) {
    state.pictures = on;
    element("pictures").ariaPressed = String(on);
    draw();
  }
  function setAbout(on) {
    element("about").hidden = !on;
    element("about-button").ariaExpanded = String(on);
    if (on) element("panel").scrollTop = 0;
  }

  const colour = element("colour");
  colour.append(...keys.map((one) => make("option", { value: one.id }, one.title)));
  colour.addEventListener("change", () => {
    state.key = keys.find((one) => one.id === colour.value);
    state.only.clear();
    showKey();
    relight();
  });
  element("lasso").onclick = () => setLasso(!state.lasso);
  element("pictures").onclick = () => setPictures(!state.pictures);
  element("pictures").hidden = !sizes && !waves;
  if (isSound) element("pictures").textContent = "Curves";
  element("in").onclick = () => zoomBy(1.6);
  element("out").onclick = () => zoomBy(1 / 1.6);
  element("fit").onclick = () => fly(whole());
  element("about-button").onclick = () => setAbout(element("about").hidden);
  const zoomBy = (factor) => fly({ ...view, scale: allowed(view.scale * factor) });

  function back() {
    if (path.length) { path = []; lassoing = false; drawOver(); }
    else if (state.lasso) setLasso(false);
    else if (state.picked >= 0) pick(-1);
    else if (state.matches) clearSearch();
    else if (state.only.size) { state.only.clear(); showKey(); relight(); }
    else if (state.list.size) { state.list.clear(); showList(); }
  }
  const KEYS = {
    ArrowLeft: () => pan(70, 0), ArrowRight: () => pan(-70, 0), ArrowUp: () => pan(0, 70), ArrowDown: () => pan(0, -70),
    "+": () => zoom(1.3), "=": () => zoom(1.3), "-": () => zoom(1 / 1.3),
    0: () => fly(whole()), Home: () => fly(whole()),
    "/": () => search.focus(), l: () => setLasso(!state.lasso), p: () => setPictures(!state.pictures), Escape: back,
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || ["INPUT", "SELECT"].includes(event.target.tagName)) return;
    const onMap = event.target === over, act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (onMap && event.key === "Enter") pick(under(width / 2, height / 2, Math.max(width, height)), { sound: true });
    else if (onMap && event.key === " " && state.picked >= 0) toggle(state.picked);
    else if (act) act();
    else return;
    if (onMap && (event.key.startsWith("Arrow") || "+=-".includes(event.key))) { aiming = true; drawOver(); }
    event.preventDefault();
  });
  over.addEventListener("blur", () => { aiming = false; drawOver(); });

  darkness.addEventListener("change", () => { readTheme(); showKey(); showPicked(); showList(); draw(); });
  new ResizeObserver(resize).observe(stage);
  resize();
  Object.assign(view, whole());
  relight();
  showKey();

  // For those who drive the page: where a sample stands on the screen, and how long one drawing takes.
  element("map").where = (i) => {
    const box = over.getBoundingClientRect();
    return [box.left + screenX(i), box.top + screenY(i)];
  };
  element("map").drawNow = drawNow;
})();
