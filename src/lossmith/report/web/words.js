// What a loss does, in plain words, and as Python.
const WORDS = (() => {
  "use strict";

  const { text } = DOCUMENTS;
  // From how much on a pull is another than cross-entropy's, and what counts as little and as much.
  const ALIKE = 1.1, LITTLE = 0.25, MUCH = 2;
  // Nearer to 0 and 1 a pull beside cross-entropy's, which vanishes there, says nothing.
  const LOW = 0.01;
  const percent = (h) => `${text(100 * h, 2)} %`;

  // How hard the label is pulled, in units of cross-entropy with the same first gradient: [[h, ratio], …].
  function pulls(curve) {
    const gain = curve.margin / curve.classes;
    const points = curve.output.map((h, k) => [h, curve.pull[k] / ((1 - h) * gain)]);
    return points.filter(([h]) => h >= LOW && h <= 1 - LOW);
  }

  const kindOf = (ratio) => (ratio < 0 ? "away" : ratio > ALIKE ? "harder" : ratio < 1 / ALIKE ? "gentler" : "alike");

  function runs(points) {
    const found = [];
    for (const [h, ratio] of points) {
      const kind = kindOf(ratio), last = found[found.length - 1];
      if (last?.kind === kind) {
        last.high = h;
        if (Math.abs(ratio) > Math.abs(last.most)) Object.assign(last, { most: ratio, where: h });
      } else {
        found.push({ kind, low: h, high: h, most: ratio, where: h });
      }
    }
    const wide = found.filter((run) => run.kind === "away" || run.high - run.low > 0.04);
    return wide.length > 1 ? wide.filter((run) => run.kind !== "alike") : wide;
  }

  function place(run, first, last) {
    if (run.low <= first && run.high >= last) return "throughout";
    if (run.low <= first) return `until the label has ${percent(run.high)} of the output`;
    if (run.high >= last) return `once the label has ${percent(run.low)}`;
    return `while the label has ${percent(run.low)} to ${percent(run.high)}`;
  }

  function courses(found, first, last) {
    const at = (run) => place(run, first, last), many = found.filter((run) => run.kind === "gentler").length > 1;
    const parts = [];
    for (const run of found) {
      const times = run.most > 1.5 ? ` (up to ${text(run.most, 2)} times)` : "";
      if (run.kind === "harder") parts.push(`pulls harder than cross-entropy${times} ${at(run)}`);
      if (run.kind === "away") parts.push(`pushes the label down again ${at(run)}`);
      if (run.kind === "alike") parts.push(`pulls about as hard as cross-entropy ${at(run)}`);
      if (run.kind === "gentler" && !many) parts.push(`pulls more gently than cross-entropy ${at(run)}`);
    }
    if (many) parts.push("pulls more gently elsewhere");
    return parts;
  }

  function listed(parts) {
    if (parts.length < 3) return parts.join(" and ");
    return `${parts.slice(0, -1).join(", ")}, and ${parts[parts.length - 1]}`;
  }

  // Sentences about a curve: {classes, margin, growth, output, pull, isCrossEntropy}.
  function sentences(curve) {
    const gain = curve.margin / curve.classes, n = `${curve.classes.toLocaleString("en")} classes`;
    if (curve.isCrossEntropy) return ["This is cross-entropy, up to a factor: the loss that all others are compared with."];
    if (!(gain > 1e-12)) {
      return [
        `With ${n}, where all outputs are equal, it does not pull the label up: a network hardly leaves its start.`,
        ...(curve.pull.some((one) => one > 0) ? [] : ["It pulls nowhere."]),
      ];
    }
    const factor = text(gain, 3), points = pulls(curve), found = runs(points);
    const first = points[0][0], last = points[points.length - 1][0], said = [];
    said.push(
      Math.abs(gain - 1) < 0.05
        ? `With ${n} it starts as fast as cross-entropy.`
        : `With ${n} its first gradients are ${factor} times cross-entropy's, as with a learning rate ${factor} times as large.`,
    );
    if (found.length) {
      said.push(`At equal first gradients it ${listed(courses(found, first, last))}.`);
    }
    const low = points[0][1], high = points[points.length - 1][1];
    if (low < 0) said.push("It pushes samples away whose label the network hardly believes.");
    else if (low < LITTLE) said.push("It lets go of samples whose label the network hardly believes, wrong labels among them.");
    else if (low > MUCH) said.push("It insists on samples whose label the network hardly believes, right or wrong.");
    if (high < 0) said.push("It never lets a sample be certain.");
    else if (high < LITTLE) said.push("It leaves samples alone once they are learned.");
    if (curve.growth > 0) {
      said.push("At the start, outputs grow apart whatever the label: many networks then predict one class for all.");
    }
    return said;
  }

  // Intervals of the target output: "pulls from 0 to 0.31, pushes from 0.31 to 1".
  function zones(found) {
    const verbs = { 1: "pulls", "-1": "pushes", 0: "does nothing" };
    const parts = [...found].reverse().map((zone) => {
      const low = 1 - zone.high, high = 1 - zone.low;
      return `${verbs[zone.sign]} from ${text(low, 4)} to ${text(high, 4)}`;
    });
    return parts.join(", ");
  }

  // --- Python. ---

  function quoted(given) {
    const inner = [...given].map((one) => {
      const code = one.codePointAt(0);
      if (one === '"' || one === "\\") return `\\${one}`;
      if (code >= 32 && code < 127) return one;
      return code > 0xffff ? `\\U${code.toString(16).padStart(8, "0")}` : `\\u${code.toString(16).padStart(4, "0")}`;
    });
    return `"${inner.join("")}"`;
  }

  function literal(value) {
    if (value === null) return "None";
    if (typeof value === "string") return quoted(value);
    if (typeof value === "number") return Object.is(value, -0) ? "0" : String(value);
    if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
    return `{${Object.entries(value).map(([key, one]) => `${quoted(key)}: ${literal(one)}`).join(", ")}}`;
  }

  // Code that makes the loss of a state: what was chosen, where numbers come from, and the smoothing.
  function python(state, loss) {
    const lines = ["import lossmith"], numbers = state.numbers.map(literal), n = state.classes;
    if (state.source === "named") {
      lines.push("", `loss = lossmith.find(${quoted([state.name, ...numbers].join(":"))}, classes=${n})`);
    } else if (state.source === "lambda") {
      lines.push("", `loss = lossmith.taylor([${numbers.join(", ")}])`);
    } else if (state.source === "acting") {
      lines.push("from lossmith.losses import polynomial", "");
      const [ch, chh, chy, t] = numbers;
      lines.push(`loss = polynomial(ch=${ch}, chh=${chh}, chy=${chy}, cy=${t})`);
    } else if (state.source === "residual") {
      lines.unshift("import torch", "");
      lines.push("from lossmith.search import residual", "");
      lines.push(`loss = residual(torch.tensor([${numbers.join(", ")}], dtype=torch.float64), classes=${n})`);
    } else {
      lines.push("", `loss = lossmith.Loss.from_json(${literal(DOCUMENTS.documentOf(loss))})`);
    }
    if (state.smoothing > 0) lines.push(`loss = loss.smoothed(${literal(state.smoothing)}, ${n})`);
    lines.push("criterion = lossmith.Criterion(loss)", "");
    return lines.join("\n");
  }

  return { sentences, zones, python, quoted };
})();
