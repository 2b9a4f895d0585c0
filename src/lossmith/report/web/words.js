// What a loss does, in plain words, and as Python.
const WORDS = (() => {
  "use strict";

  const { text } = DOCUMENTS;
  // As report/words.py has them, so that a report and its explorer say the same of a loss.
  const LOWEST = 0.01, HIGHEST = 0.99, POINTS = 491, HARDER = 1.15, WEAKER = 0.85, SHORTEST = 0.02;
  const BELIEF = Array.from({ length: POINTS }, (_, k) => LOWEST + ((HIGHEST - LOWEST) * k) / (POINTS - 1));

  // With that many digits after the point, 0 or 1; what lies in the middle goes to the even one, as in Python.
  function fixed(value, digits) {
    const scale = 10 ** digits, low = Math.floor(value * scale), isMiddle = value % (1 / 2 ** digits) === 0.5 / 2 ** digits;
    return (isMiddle ? (low + (low % 2)) / scale : value).toFixed(digits);
  }
  // With one digit, as Python writes it.
  const short = (value) =>
    value > 0 && value < 1e-4 ? value.toExponential(0).replace(/-(\d)$/, (_, power) => `-0${power}`) : String(Number(value.toPrecision(1)));
  const percent = (share) => (share >= 0.01 ? `${fixed(100 * share, 0)} %` : `${short(100 * share)} %`);
  const left = (share) => (share < 0.005 ? "with nothing left" : `with ${percent(share)} of its pull left`);
  function times(factor) {
    const digits = factor >= 9.95 ? fixed(factor, 0) : factor >= 0.995 ? fixed(factor, 1) : short(factor);
    return `${digits} times`;
  }

  // First and last places of the runs in which a ratio is as wanted.
  function runs(ratio, wanted) {
    const found = [];
    ratio.forEach((value, k) => {
      if (!wanted(value)) return;
      const last = found[found.length - 1];
      if (last && last[1] === k - 1) last[1] = k;
      else found.push([k, k]);
    });
    return found.filter(([low, high]) => BELIEF[high] - BELIEF[low] >= SHORTEST);
  }

  function during(low, high) {
    const many = `${percent(BELIEF[low])} to ${percent(BELIEF[high])}`;
    if (low === 0 && high === POINTS - 1) return "whatever the network gives the label";
    if (low === 0) return `on labels that the network gives less than ${percent(BELIEF[high])}`;
    if (high === POINTS - 1) return `from the moment the network gives a label ${percent(BELIEF[low])}`;
    const isHalf = BELIEF[low] <= 0.5 && 0.5 <= BELIEF[high];
    return isHalf ? `while the network half believes a label (${many})` : `while the network gives a label ${many}`;
  }

  // Where it pulls harder than cross-entropy, and where less.
  function pulls(ratio) {
    const found = [];
    for (const [low, high] of runs(ratio, (value) => value > HARDER)) {
      let most = low;
      for (let k = low; k <= high; k++) if (ratio[k] > ratio[most]) most = k;
      found.push(`It pulls harder than cross-entropy ${during(low, high)}: ${times(ratio[most])} as hard at ${percent(BELIEF[most])}.`);
    }
    for (const [low, high] of runs(ratio, (value) => value > 0 && value < WEAKER)) {
      if (low === 0) {
        found.push(
          "It lets go of labels that the network hardly believes, where wrong ones are: below " +
            `${percent(BELIEF[high])} it pulls less than cross-entropy, ${left(ratio[0])} at ${percent(BELIEF[0])}.`,
        );
      } else if (high === POINTS - 1) {
        found.push(
          `What is learned counts less than with cross-entropy: from ${percent(BELIEF[low])} on it pulls less, ` +
            `${left(ratio[high])} at ${percent(BELIEF[high])}.`,
        );
      } else {
        found.push(`It pulls less than cross-entropy ${during(low, high)}.`);
      }
    }
    return found;
  }

  // Where it pushes a label down. Zones are of ε, which is what the label is not given.
  function pushes(found, start) {
    return found.flatMap((zone) => {
      const low = 1 - zone.high, high = 1 - zone.low;
      if (zone.sign >= 0 || high - low < 1e-3) return [];
      if (high > HIGHEST && low <= 0) return ["It pushes every label down: the sign of the loss may be turned."];
      if (high > HIGHEST) {
        return [
          `Once the network gives a label more than ${percent(low)}, it pushes it down again, which keeps the network ` +
            "from being too sure.",
        ];
      }
      if (high <= start) {
        return [`Labels that the network gives less than ${percent(high)} it pushes further down: it takes them for wrong.`];
      }
      return [`It pushes labels down that the network gives ${percent(low)} to ${percent(high)}.`];
    });
  }

  // Sentences about a loss, by its model and its zones of ε: those of plain_words in report/words.py.
  function sentences({ loss, it, classes, margin }, zones) {
    const start = 1 / classes, gain = margin / classes;
    if (margin <= 0) {
      const never = "it does not pull the label up: training may never begin.";
      return [`While the network gives every class ${percent(start)}, ${never}`, ...pushes(zones, start)];
    }
    const ratio = BELIEF.map((h) => LOSSES.steps(it, 1 - h, classes)[1] / (1 - h) / gain);
    const shape = pulls(ratio), found = [...shape, ...pushes(zones, start)];
    if (!found.length) found.push("It pulls as cross-entropy does.");
    if (shape.length && runs(ratio, (value) => value >= WEAKER && value <= HARDER).length) {
      found.push(`Elsewhere it pulls about as hard as cross-entropy, within ${fixed(100 * (HARDER - 1), 0)} %.`);
    }
    if (!(gain > 1 / 1.05 && gain < 1.05)) {
      found.push(`Its first steps are ${times(gain)} those of cross-entropy; the learning rate makes up for it.`);
    }
    const { alpha, isWhole } = loss.kind === "power" ? SMOOTHING.inside(loss, classes) : { alpha: null };
    if (alpha !== null && alpha > 1e-9 && alpha < 1) {
      const part = isWhole ? "It is" : "Its terms with log h are those of";
      found.push(`${part} a loss with label smoothing, α = ${text(alpha, 2)}.`);
    }
    return found;
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
