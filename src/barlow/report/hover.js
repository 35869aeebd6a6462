// Shows the values under the pointer. The page is complete without it.
(() => {
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  document.body.append(tip);

  const show = (event, lines) => {
    tip.replaceChildren(...lines.map((line) => Object.assign(document.createElement("div"), { textContent: line })));
    tip.hidden = false;
    const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
    tip.style.left = Math.max(4, Math.min(event.clientX + 14, room)) + "px";
    tip.style.top = Math.max(4, event.clientY - tip.offsetHeight - 12) + "px";
  };
  const hide = () => { tip.hidden = true; };
  const tidy = (value) => value.toLocaleString("en", { maximumSignificantDigits: 4 });

  for (const chart of document.querySelectorAll("[data-curves]")) {
    const data = JSON.parse(chart.dataset.curves);
    const place = (x) => (x - data.low) / (data.high - data.low);
    const cursor = chart.querySelector(".cursor");
    chart.addEventListener("pointermove", (event) => {
      const box = chart.getBoundingClientRect();
      const at = (event.clientX - box.left) / box.width;
      const nearest = (xs) => xs.reduce((best, x, i) => (Math.abs(place(x) - at) < Math.abs(place(xs[best]) - at) ? i : best), 0);
      const found = data.curves.map((curve) => ({ curve, i: nearest(curve.x) }));
      const x = found[0].curve.x[found[0].i];
      cursor.setAttribute("x1", 100 * place(x) + "%");
      cursor.setAttribute("x2", 100 * place(x) + "%");
      cursor.setAttribute("visibility", "visible");
      show(event, [`${tidy(x)} ${data.unit}`, ...found.map(({ curve, i }) => `${curve.name}  ${tidy(curve.y[i])}`)]);
    });
    chart.addEventListener("pointerleave", () => { cursor.setAttribute("visibility", "hidden"); hide(); });
  }

  for (const map of document.querySelectorAll("[data-cells]")) {
    const cells = JSON.parse(map.dataset.cells);
    map.addEventListener("pointermove", (event) => {
      const box = map.getBoundingClientRect();
      const row = Math.floor(((event.clientY - box.top) / box.height) * cells.length);
      const column = Math.floor(((event.clientX - box.left) / box.width) * cells.length);
      const value = cells[row]?.[column];
      if (value === undefined) return hide();
      show(event, [`${map.dataset.unit} ${row} and ${column}: ${(value / 100).toFixed(2)}`]);
    });
    map.addEventListener("pointerleave", hide);
  }
})();
