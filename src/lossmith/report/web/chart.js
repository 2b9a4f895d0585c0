"use strict";
// lossmith.chart(place, spec): a chart of lines and dots. The spec:
//   label; x: {label, values, whole, min, max}; y: {label, unit, digits, min, max}; height
//   lines: [{name, values, color, width, dash, faint}]; band: {low, high}; rules: [{name, value, color}]
//   dots: [{x, y, color, alpha, radius, shape, tip: (number) => text, or tips: [texts]}]
lossmith.chart = (place, spec) => {
  const { tip, column, fixed } = lossmith;
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const font = (size) => `${size}px system-ui, sans-serif`;
  // The widest label beside a line.
  const widest = 240;
  const lines = spec.lines ?? [];
  const rules = spec.rules ?? [];
  const dots = (spec.dots ?? []).map((one) => ({ radius: 2.4, alpha: 0.5, ...one, x: column(one.x), y: column(one.y) }));
  const xs = column(spec.x.values);
  const text = (value) => (value == null ? "–" : fixed(value, spec.y.digits ?? 1, spec.y.unit ?? ""));
  const narrow = () => place.clientWidth < 620;
  const named = lines.filter((one) => !one.faint);

  const head = document.createElement("p");
  head.className = "chart-head";
  head.textContent = spec.y.label;
  const legend = document.createElement("p");
  legend.className = "legend";
  for (const one of [...named, ...rules, ...dots.filter((some) => some.name)]) {
    const entry = document.createElement("span");
    const swatch = document.createElement("i");
    swatch.className = one.x ? "swatch dot" : one.dash || "value" in one ? "swatch dashed" : "swatch";
    swatch.style.color = `var(--${one.color})`;
    entry.append(swatch, one.name);
    legend.append(entry);
  }
  const canvas = document.createElement("div");
  const foot = document.createElement("p");
  foot.className = "chart-foot";
  foot.textContent = spec.x.label;
  const live = document.createElement("p");
  live.className = "sr-only";
  live.setAttribute("aria-live", "polite");
  place.append(head, legend, canvas, foot, live);
  place.tabIndex = 0;
  place.setAttribute("role", "group");
  place.setAttribute("aria-roledescription", "chart");
  place.setAttribute("aria-label", `${spec.label}. Arrow keys read it point by point; a table follows.`);

  const scale = (bounds, values) => {
    let [low, high] = [Infinity, -Infinity];
    for (const some of values) {
      for (const one of some) {
        if (one == null || Number.isNaN(one)) continue;
        if (one < low) low = one;
        if (one > high) high = one;
      }
    }
    if (low > high) [low, high] = [0, 1];
    const room = 0.05 * (high - low) || 0.5;
    return [bounds.min ?? low - room, bounds.max ?? high + room];
  };
  const across = scale(spec.x, [xs, ...dots.map((one) => one.x)]);
  const bands = spec.band ? [spec.band.low, spec.band.high] : [];
  const upward = scale(spec.y, [
    ...lines.map((one) => one.values),
    ...bands,
    ...dots.map((one) => one.y),
    rules.map((one) => one.value),
  ]);
  const clamp = (value) => (Number.isNaN(value) || value == null ? upward[0] : Math.min(upward[1], Math.max(upward[0], value)));

  let plot = null;
  let drawn = { width: 0, ratio: 0 };

  // As much of a label as there is room for; the legend has the whole of it.
  const cut = (ctx, label, room) => {
    if (ctx.measureText(label).width <= room) return label;
    let text = label;
    while (text && ctx.measureText(`${text}…`).width > room) text = text.slice(0, -1);
    return `${text.trimEnd()}…`;
  };

  // Labels beside the ends of lines, moved apart.
  const labels = (u) => {
    const { ctx, bbox } = u;
    const ratio = devicePixelRatio;
    const found = [];
    for (const one of named) {
      let last = one.values.length - 1;
      while (last >= 0 && one.values[last] == null) last -= 1;
      if (last >= 0) found.push({ ...one, from: u.valToPos(xs[last], "x", true), at: u.valToPos(clamp(one.values[last]), "y", true) });
    }
    for (const one of rules) found.push({ ...one, at: u.valToPos(clamp(one.value), "y", true) });
    found.sort((a, b) => a.at - b.at);
    const gap = 15 * ratio;
    found.forEach((one, k) => {
      one.to = k ? Math.max(one.at, found[k - 1].to + gap) : one.at;
    });
    const over = found.length ? found.at(-1).to - (bbox.top + bbox.height) : 0;
    for (let k = found.length - 1, limit = bbox.top + bbox.height; over > 0 && k >= 0; k -= 1, limit = found[k + 1].to - gap) {
      found[k].to = Math.min(found[k].to, limit);
    }
    ctx.font = font(12 * ratio);
    ctx.textBaseline = "middle";
    ctx.textAlign = "left";
    const right = bbox.left + bbox.width;
    for (const one of found) {
      ctx.fillStyle = ctx.strokeStyle = color(one.color);
      if (right - one.from > 12 * ratio) {
        // A line that ends early is led to its label.
        ctx.globalAlpha = 0.7;
        ctx.lineWidth = ratio;
        ctx.setLineDash([ratio, 4 * ratio]);
        ctx.beginPath();
        ctx.moveTo(one.from + 3 * ratio, one.at);
        ctx.lineTo(right + 5 * ratio, one.to);
        ctx.stroke();
        ctx.setLineDash([]);
        ctx.globalAlpha = 1;
      }
      ctx.fillText(cut(ctx, one.short ?? one.name, (widest - 16) * ratio), right + 8 * ratio, one.to);
    }
  };

  const draw = (u) => {
    const { ctx, bbox } = u;
    const ratio = devicePixelRatio;
    ctx.save();
    for (const one of rules) {
      const at = Math.round(u.valToPos(one.value, "y", true)) + 0.5;
      if (one.value < upward[0] || one.value > upward[1]) continue;
      ctx.strokeStyle = color(one.color);
      ctx.lineWidth = ratio;
      ctx.setLineDash([4 * ratio, 4 * ratio]);
      ctx.beginPath();
      ctx.moveTo(bbox.left, at);
      ctx.lineTo(bbox.left + bbox.width, at);
      ctx.stroke();
      ctx.setLineDash([]);
    }
    for (const one of dots) {
      ctx.globalAlpha = one.alpha;
      ctx.fillStyle = ctx.strokeStyle = color(one.color);
      const size = one.radius * ratio;
      for (let k = 0; k < one.x.length; k += 1) {
        const [left, top] = [u.valToPos(one.x[k], "x", true), u.valToPos(clamp(one.y[k]), "y", true)];
        ctx.beginPath();
        if (Number.isNaN(one.y[k]) || one.y[k] < upward[0] || one.y[k] > upward[1]) {
          // Beyond the scale, or without a figure: a mark on its edge.
          ctx.moveTo(left, top - 2 * size);
          ctx.lineTo(left, top);
          ctx.lineWidth = ratio;
          ctx.stroke();
        } else if (one.shape === "ring") {
          ctx.arc(left, top, size, 0, 2 * Math.PI);
          ctx.lineWidth = 2 * ratio;
          ctx.stroke();
        } else {
          ctx.arc(left, top, size, 0, 2 * Math.PI);
          ctx.fill();
        }
      }
    }
    ctx.globalAlpha = 1;
    if (!narrow()) labels(u);
    ctx.restore();
  };

  const nearest = (u, left, top) => {
    let found = null;
    let best = 24 * 24;
    for (const one of dots) {
      for (let k = 0; k < one.x.length; k += 1) {
        const [dx, dy] = [u.valToPos(one.x[k], "x") - left, u.valToPos(clamp(one.y[k]), "y") - top];
        const distance = dx * dx + dy * dy;
        if (distance < best) [best, found] = [distance, { one, k }];
      }
    }
    return found;
  };
  const said = ({ one, k }) => (one.tips ? one.tips[k] : one.tip(k));

  const line = (k, top) => {
    const where = `${spec.x.name ?? spec.x.label} ${fixed(xs[k], spec.x.whole ? 0 : 2)}`;
    const known = lines.filter((one) => one.values[k] != null);
    if (!known.length) return "";
    const close = [...known].sort((a, b) => Math.abs(at(a, k) - top) - Math.abs(at(b, k) - top));
    const shown = known.length > 4 ? close.slice(0, 1) : known;
    return [where, ...shown.map((one) => `${one.name}: ${text(one.values[k])}`)].join("\n");
  };
  const at = (one, k) => plot.valToPos(clamp(one.values[k]), "y");

  const hover = (u) => {
    const { left, top } = u.cursor;
    if (left == null || left < 0) return tip.hide();
    const dot = nearest(u, left, top);
    const content = dot ? said(dot) : lines.length && u.cursor.idx != null ? line(u.cursor.idx, top) : "";
    const area = u.over.getBoundingClientRect();
    if (content) tip.show(area.left + left, area.top + top, content);
    else tip.hide();
    return content;
  };

  const room = () => {
    const measure = document.createElement("canvas").getContext("2d");
    measure.font = font(12);
    return 16 + Math.max(0, ...[...named, ...rules].map((one) => measure.measureText(one.short ?? one.name).width));
  };

  const build = () => {
    const width = Math.floor(place.clientWidth);
    const ratio = devicePixelRatio;
    if (!width || (drawn.width === width && drawn.ratio === ratio)) return;
    drawn = { width, ratio };
    plot?.destroy();
    const wanted = room();
    legend.hidden = !narrow() && wanted <= widest && !dots.some((one) => one.name);
    const axis = {
      stroke: () => color("muted"),
      font: font(12),
      ticks: { show: false },
      grid: { stroke: () => color("line"), width: 1 },
    };
    const whole = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 100000, 1000000];
    const digits = (splits) => {
      const step = splits.length > 1 ? Math.abs(splits[1] - splits[0]) : 1;
      let count = 0;
      while (count < 8 && Math.abs(step * 10 ** count - Math.round(step * 10 ** count)) > 1e-6 * 10 ** count * step) count += 1;
      return count;
    };
    const shadows = spec.band ? [spec.band.high, spec.band.low] : [];
    plot = new uPlot(
      {
        width,
        height: spec.height ?? 300,
        padding: [10, narrow() ? 12 : Math.min(widest, wanted), 0, 0],
        legend: { show: false },
        cursor: { drag: { x: false, y: false }, y: false, points: { show: !dots.length, size: 6 } },
        scales: { x: { time: false, range: () => across }, y: { range: () => upward } },
        axes: [
          {
            ...axis,
            grid: { show: false },
            size: 28,
            incrs: spec.x.whole ? whole : undefined,
            values: (_, splits) => splits.map((one) => fixed(one, spec.x.whole ? 0 : digits(splits))),
          },
          { ...axis, size: 54, values: (_, splits) => splits.map((one) => fixed(one, digits(splits), spec.y.unit ?? "")) },
        ],
        bands: spec.band ? [{ series: [lines.length + 1, lines.length + 2], fill: () => color("band") }] : [],
        series: [
          {},
          ...lines.map((one) => ({
            stroke: () => color(one.color),
            width: one.width ?? 2,
            dash: one.dash ? [5, 4] : undefined,
            points: { show: xs.length === 1 },
            spanGaps: false,
            pxAlign: 0,
          })),
          ...shadows.map(() => ({ stroke: "transparent", width: 0, points: { show: false } })),
        ],
        hooks: { draw: [draw], setCursor: [hover] },
      },
      [xs, ...lines.map((one) => one.values), ...shadows],
      canvas,
    );
    plot.over.addEventListener("pointerleave", tip.hide);
  };

  // By keyboard: from dot to dot, or along the lines.
  let spot = -1;
  const all = dots.flatMap((one) => Array.from(one.x, (_, k) => ({ one, k })));
  place.addEventListener("keydown", (event) => {
    const count = all.length || xs.length;
    const steps = { ArrowRight: spot + 1, ArrowLeft: spot - 1, Home: 0, End: count - 1, PageDown: spot + 10, PageUp: spot - 10 };
    if (!(event.key in steps) || !count || !plot) return;
    event.preventDefault();
    spot = Math.max(0, Math.min(count - 1, steps[event.key]));
    const dot = all[spot];
    const x = dot ? dot.one.x[dot.k] : xs[spot];
    const known = lines.find((one) => one.values[spot] != null);
    const y = dot ? clamp(dot.one.y[dot.k]) : known ? clamp(known.values[spot]) : upward[0];
    const [left, top] = [plot.valToPos(x, "x"), plot.valToPos(y, "y")];
    plot.setCursor({ left, top }, false);
    const content = dot ? said(dot) : line(spot, top);
    const area = plot.over.getBoundingClientRect();
    tip.show(area.left + left, area.top + top, content);
    live.textContent = content;
  });
  place.addEventListener("blur", tip.hide);
  new ResizeObserver(build).observe(place);
  addEventListener("recolor", () => plot?.redraw(false));
  build();
};
lossmith.charts = (root, specs) => {
  for (const place of root.querySelectorAll("[data-chart]")) lossmith.chart(place, specs[place.dataset.chart]);
};
