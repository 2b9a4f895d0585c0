// Loss documents: checked where they come from a file or a link, built where they come from a name or from numbers.
const DOCUMENTS = (() => {
  "use strict";

  const { refuse } = LOSSES;
  const KEPT_FOR_PYTHON = new Set(["forward", "schedule", "blend", "mixed"]);
  const LARGEST_POWER = 1000, MOST_LABELS = 100, LARGEST_NUMBER = 1e30, DIGITS = 4;

  // --- What a user may bring. ---

  const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
  const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

  // A text that stays on its line: no control characters, no change of direction.
  function plain(text) {
    const shown = String(text).replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, (one) =>
      /[\u00ad\u200c\u200d]/.test(one) ? one : `\\u{${one.codePointAt(0).toString(16)}}`);
    const letters = [...shown];
    return letters.length > LOSSES.LONGEST_NAME ? `${letters.slice(0, LOSSES.LONGEST_NAME).join("")}…` : shown;
  }

  function brief(value) {
    const text = JSON.stringify(value) ?? String(value);
    return plain(text.length > 80 ? `${text.slice(0, 80)}…` : text);
  }

  function part(document, key) {
    if (!Object.hasOwn(document, key)) refuse(`the loss file has no "${key}"`);
    return document[key];
  }

  // A number of a loss; a list of them is a population.
  function number(document, key, low, high, closed = true) {
    const value = part(document, key);
    if (Array.isArray(value)) refuse("the loss file holds a population; save the one member that you want");
    if (!isNumber(value) || value > high || (closed ? value < low : value <= low)) {
      const range = `a number ${closed ? "from" : "above"} ${low} to ${high}`;
      refuse(`"${key}" of the loss file is ${brief(value)}; it must be ${range}`);
    }
    return value;
  }

  function checkPower(logPower) {
    if (!(logPower <= 60)) refuse("the powers of the loss are larger than any training holds; give a smaller power");
  }

  const BODIES = {
    power(document) {
      const terms = part(document, "terms"), coefficients = part(document, "coefficients");
      const isTerm = (term) =>
        Array.isArray(term) && term.length === 3 && isNumber(term[0]) && Math.abs(term[0]) <= LARGEST_POWER &&
        Number.isInteger(term[1]) && term[1] >= 0 && term[1] <= MOST_LABELS && (term[2] === 0 || term[2] === 1);
      if (!Array.isArray(terms) || terms.length > LOSSES.MOST_TERMS || !terms.every(isTerm)) {
        refuse('"terms" of the loss file must be a list of [power of h, power of y, factors of log h]');
      }
      if (Array.isArray(coefficients) && coefficients.some(Array.isArray)) {
        refuse("the loss file holds a population; save the one member that you want");
      }
      const fits = Array.isArray(coefficients) && coefficients.length === terms.length && coefficients.every(isNumber);
      if (!fits) refuse('"coefficients" of the loss file must be a list of numbers, one for each term');
      if (new Set(terms.map(String)).size < terms.length) refuse("the loss file names a term twice; add the two");
      return { terms: terms.map((term) => [...term]), coefficients: [...coefficients] };
    },
    "shifted-power"(document) {
      const body = { shift: number(document, "shift", 0, 1e6), power: number(document, "power", 0, 100) };
      checkPower(body.power * Math.log1p(body.shift));
      return body;
    },
    "flipped-power"(document) {
      const body = { shift: number(document, "shift", 1.001, 1e6), power: number(document, "power", 0, 100, false) };
      checkPower(body.power * Math.log(body.shift));
      return body;
    },
    "fractional-focal": (document) => ({ focusing: number(document, "focusing", 0, 1000) }),
    "jensen-shannon": (document) => ({ weight: number(document, "weight", 1e-6, 1 - 1e-9) }),
    expression(document) {
      if (Object.hasOwn(document, "trees")) {
        refuse("the loss file holds a population; save the one member that you want");
      }
      return { tree: tree(part(document, "tree")) };
    },
    sum(document, depth) {
      const parts = part(document, "parts"), weights = part(document, "weights");
      const fits = Array.isArray(parts) && parts.length > 0 && parts.length <= LOSSES.MOST_TERMS;
      if (!fits || !Array.isArray(weights) || weights.length !== parts.length || !weights.every(isNumber)) {
        refuse('"parts" of the loss file must be a list of losses, and "weights" a number for each of them');
      }
      const inner = parts.map((one) => checked(one, depth + 1));
      refuseTransformed(inner);
      return { parts: inner, weights: [...weights] };
    },
    normalized(document, depth) {
      const base = checked(part(document, "base"), depth + 1);
      if (!LOSSES.model(base).sums) refuse("a normalized loss is one of a sum over classes; the loss file has another");
      return { base };
    },
    sharpened(document, depth) {
      const base = checked(part(document, "base"), depth + 1);
      refuseTransformed([base]);
      return { base, sharpening: number(document, "sharpening", 0, 1e12) };
    },
    "normalized-negative": () => ({}),
    clipped: (document, depth) => ({
      base: checked(part(document, "base"), depth + 1),
      threshold: number(document, "threshold", 1e-6, Number.MAX_VALUE),
    }),
  };

  function refuseTransformed(losses) {
    if (losses.some((loss) => LOSSES.model(loss).transformed)) {
      refuse("the loss file has a loss of transformed logits inside of another; transform the logits of the whole");
    }
  }

  function tree(document) {
    let count = 0;
    const built = (one, depth) => {
      count += 1;
      if (count > LOSSES.MOST_NODES || depth > LOSSES.MOST_DEPTH) refuse("the formula of the loss file is too large");
      if (one === "h" || one === "y") return one;
      if (isNumber(one) && Math.abs(one) <= LARGEST_NUMBER) return one + 0;
      const known = Array.isArray(one) && typeof one[0] === "string" && Object.hasOwn(LOSSES.OPERATORS, one[0]);
      if (!known || one.length - 1 !== LOSSES.OPERATORS[one[0]][0]) {
        refuse(`the formula of the loss file has ${brief(one)}, which is no operator, h, y or number`);
      }
      return [one[0], ...one.slice(1).map((operand) => built(operand, depth + 1))];
    };
    const found = built(document, 0);
    if (!JSON.stringify(found).includes('"h"')) refuse("the formula of the loss file holds no h, the output");
    return found;
  }

  // A loss file or a part of a link: a copy of what is known in it, or a Refusal.
  function checked(document, depth = 1) {
    if (!isObject(document) || document.format !== "lossmith.loss") {
      refuse('this is not a loss file: it has no "format": "lossmith.loss"');
    }
    if (depth > LOSSES.DEEPEST) refuse(`the loss file nests more than ${LOSSES.DEEPEST} deep`);
    const version = part(document, "version");
    if (version !== 1 && version !== 2) {
      refuse(`the loss file has version ${brief(version)}, this page reads versions 1 and 2`);
    }
    const kind = version === 1 ? "power" : part(document, "kind");
    if (typeof kind === "string" && KEPT_FOR_PYTHON.has(kind)) {
      refuse(`this page cannot compute a loss of the kind ${kind}; lossmith explore FILE --html PAGE draws it`);
    }
    if (typeof kind !== "string" || !LOSSES.kinds.has(kind)) {
      refuse(`this page knows no kind of loss ${brief(kind)}; lossmith explore FILE --html PAGE may draw it`);
    }
    const classes = part(document, "classes"), name = part(document, "name");
    if (classes !== null && !(Number.isInteger(classes) && classes >= 2 && classes <= LOSSES.MOST_CLASSES)) {
      refuse(`"classes" of the loss file is ${brief(classes)}; it must be null or a whole number from 2`);
    }
    if (typeof name !== "string") refuse(`"name" of the loss file is ${brief(name)}; it must be a text`);
    const body = BODIES[kind](document, depth), inner = body.base ? [body.base] : body.parts ?? [];
    return { kind, name: plain(name), classes: common([classes, ...inner.map((one) => one.classes)]), ...body };
  }

  function common(counts) {
    const known = [...new Set(counts.filter((one) => one !== null))];
    if (known.length > 1) refuse("the loss file puts losses for different numbers of classes together");
    return known.length ? known[0] : null;
  }

  // The document of a loss, as files hold it.
  function documentOf({ kind, name, classes, ...body }) {
    const inner = { ...body };
    if (inner.base) inner.base = documentOf(inner.base);
    if (inner.parts) inner.parts = inner.parts.map(documentOf);
    return { format: "lossmith.loss", version: 2, kind, name, classes, ...inner };
  }

  // --- Losses by name (losses/catalog.py, rivals.py, evolved.py). ---

  function powers(name, terms, classes = null) {
    const kept = terms.filter((term) => term[3] !== 0);
    return { kind: "power", name, classes, terms: kept.map((t) => t.slice(0, 3)), coefficients: kept.map((t) => t[3]) };
  }

  const crossEntropy = powers("cross-entropy", [[0, 1, 1, 1]]);
  const absolute = powers("MAE", [[1, 1, 0, 1], [0, 1, 0, -1]]);
  const normalizedEntropy = { kind: "normalized", name: "NCE", classes: null, base: crossEntropy };
  const agce = (q, a) => ({ kind: "shifted-power", name: "AGCE", classes: null, shift: a, power: q });
  const weighted = (name, active, passive, weight) =>
    ({ kind: "sum", name, classes: null, parts: [active, passive], weights: [1, weight] });

  // Of each number: where its slider goes from and to, and between which bounds any number is taken.
  const at = (from, to, least, most, open = "") => ({ from, to, least, most, open });
  const NAMED = {
    poly: [[at(-1, 10, -Infinity, Infinity)], ([e]) =>
      powers("PolyLoss", [[0, 1, 1, 1], [1, 1, 0, e], [0, 1, 0, -e]])],
    focal: [[at(0, 6, 0, 1000)], ([focusing]) => {
      if (!Number.isInteger(focusing) || focusing > 56) {
        return { kind: "fractional-focal", name: "focal", classes: null, focusing };
      }
      return powers("focal", LOSSES.choose(focusing).map((c, m) => [m, 1, 1, m % 2 ? -c : c]));
    }],
    gce: [[at(0.01, 1, 0, 1, "low")], ([q]) => powers("GCE", [[q, 1, 0, 1 / q], [0, 1, 0, -1 / q]])],
    "label-smoothing": [[at(0, 0.9, 0, 1, "high")], ([alpha], n) => smoothed(crossEntropy, alpha, n)],
    bootstrapping: [[at(0, 1, 0, 1)], ([beta]) => powers("bootstrapping", [[0, 1, 1, beta], [1, 0, 1, 1 - beta]])],
    "logit-clip": [[at(0.1, 10, 1e-6, Infinity)], ([threshold]) =>
      ({ kind: "clipped", name: "LogitClip", classes: null, base: crossEntropy, threshold })],
    agce: [[at(0.05, 3, 0, 100)], ([q]) => agce(q, 0.6)],
    aul: [[at(0.1, 8, 0, 35, "low")], ([p]) =>
      ({ kind: "flipped-power", name: "AUL", classes: null, shift: 5.5, power: p })],
    "nce-rce": [[at(0, 10, 0, Infinity)], ([w]) => weighted("NCE + RCE", normalizedEntropy, absolute, 4 * w)],
    "nce-agce": [[at(0, 10, 0, Infinity)], ([w]) => weighted("NCE + AGCE", normalizedEntropy, agce(1.5, 6), w)],
    anl: [[at(0, 10, 0, Infinity)], ([w]) =>
      weighted("NCE + NNCE", normalizedEntropy, { kind: "normalized-negative", name: "NNCE", classes: null }, w)],
    "epsilon-softmax": [[at(0, 1000, 0, Infinity)], ([w]) => {
      const sharp = { kind: "sharpened", name: "sharpened", classes: null, base: crossEntropy, sharpening: 1e5 };
      return weighted("ε-softmax", sharp, absolute, 2 * w);
    }],
    "negative-smoothing": [[at(-6, -0.05, -Infinity, 0, "high")], ([r], n) =>
      powers("negative smoothing", [[0, 1, 1, 1 - r], [0, 0, 1, r / n]], n)],
    forward: [[at(0, 0.89, 0, 1, "high")], ([rate], n) => {
      if (!(rate < 1 - 1 / n)) refuse(`forward takes a share of wrong labels below 1 − 1/n = ${text(1 - 1 / n)}`);
      const shift = rate / ((n - 1) * (1 - rate) - rate);
      return { kind: "shifted-power", name: "forward", classes: n, shift, power: 0 };
    }],
    "jensen-shannon": [[at(0.01, 0.99, 1e-6, 1 - 1e-9)], ([weight]) =>
      ({ kind: "jensen-shannon", name: "Jensen–Shannon", classes: null, weight })],
    "noise-robust": [[at(0, 0.9, 0, 1, "high")], ([wrong], n) => {
      const s = Math.sqrt(wrong);
      const terms = [[0, 1, 1, 1], [0, 0, 1, (s * 4.3) / n], [1, 1, 0, s * 12], [2, 0, 0, s * 12], [2, 1, 0, -s * 12]];
      return powers("noise-robust", terms, n);
    }],
    "smoothing-squares": [[at(0, 0.9, 0, 1, "high"), at(-5, 10, -Infinity, Infinity)], ([alpha, w], n) => {
      const base = smoothed(crossEntropy, alpha, n), terms = base.terms.map((term, k) => [...term, base.coefficients[k]]);
      return powers("label smoothing + Σh²", [...terms, [2, 0, 0, w]], base.classes);
    }],
  };

  // y → (1 − α) y + α/n (losses/terms.py), for a sum of powers.
  function smoothed(loss, alpha, n) {
    if (alpha === 0) return loss;
    const total = new Map(), kept = 1 - alpha, added = alpha / n;
    loss.terms.forEach(([i, j, log], k) => {
      for (let b = 0; b <= j; b++) {
        const c = loss.coefficients[k] * (LOSSES.choose(j)[b] * kept ** b * added ** (j - b)), key = `${i} ${b} ${log}`;
        total.set(key, [i, b, log, (total.get(key)?.[3] ?? 0) + c]);
      }
    });
    return powers(`${loss.name} smoothed`, [...total.values()], n);
  }

  // --- Losses by numbers: λ, the numbers that act, and the residual coordinates. ---

  const RESIDUAL = [[0, 0, 1], [2, 0, 0], [3, 0, 0], [2, 1, 0], [1, 1, 0]];
  const residualFactors = (n) => [1 / n, n / 4, n / 6, n / 4, n / 2];

  // λ as published; of others the centers are free, and 0 here.
  const PUBLISHED = {
    "paper/mnist": [-10.9408, 7.5216, 8.2896, 0.2415, 7.8726, 8.9666, 2.0184, 7.0513],
    "taylor-ce": [0.5, 0.5, 1, -1, 4 / 3, 2, -2, 0],
  };

  const BY_NUMBERS = {
    lambda: {
      symbols: ["λ0", "λ1", "λ2", "λ3", "λ4", "λ5", "λ6", "λ7"],
      meanings: ["label center", "output center", "u", "u²", "u³", "u v", "u² v", "u v²"],
      start: [0, 0, 0, -1, 0, 2, 0, 0],
      begins: "the mean squared error",
      label: "Taylor coefficients",
      range: () => 12,
      build(lam) {
        const total = new Map(), [y0, h0] = lam;
        const exponents = [[1, 0], [2, 0], [3, 0], [1, 1], [2, 1], [1, 2]];
        exponents.forEach(([i, j], m) => {
          for (let a = 0; a <= i; a++) {
            for (let b = 0; b <= j; b++) {
              const c = LOSSES.choose(i)[a] * (-h0) ** (i - a) * LOSSES.choose(j)[b] * (-y0) ** (j - b), key = `${a} ${b}`;
              total.set(key, [a, b, 0, (total.get(key)?.[3] ?? 0) + lam[m + 2] * c]);
            }
          }
        });
        return powers("Taylor polynomial", [...total.values()]);
      },
      place(loss) {
        const c = thirdOrder(loss);
        return c && [0, 0, c.c1, c.ch / 2, c.chh / 3, c.cy, c.chy / 2, c.cyy];
      },
    },
    acting: {
      symbols: ["ch", "chh", "chy", "t"],
      meanings: ["h", "h²", "h y", "y"],
      start: [-2, 0, 0, 2],
      begins: "the mean squared error",
      label: "numbers that act",
      range: (n) => 4 * n,
      build: ([ch, chh, chy, t]) =>
        powers("polynomial", [[2, 0, 0, ch / 2], [3, 0, 0, chh / 3], [2, 1, 0, chy / 2], [1, 1, 0, t]]),
      place(loss) {
        const c = thirdOrder(loss);
        return c && [c.ch, c.chh, c.chy, c.cy + c.cyy];
      },
    },
    residual: {
      symbols: ["x0", "x1", "x2", "x3", "x4"],
      meanings: ["smoothing", "h", "h²", "h y", "y"],
      start: [0, 0, 0, 0, 0],
      begins: "cross-entropy",
      label: "residual axes",
      range: () => 3,
      build(x, n) {
        const factors = residualFactors(n), terms = RESIDUAL.map((term, k) => [...term, factors[k] * x[k]]);
        return powers("residual", [[0, 1, 1, 1], ...terms], n);
      },
      place(loss, n) {
        if (loss.kind !== "power") return null;
        const found = actingTerms(loss), scale = found.get("0,1,1") ?? 0, factors = residualFactors(n);
        const known = new Set(["0,1,1", ...RESIDUAL.map(String)]);
        if (!(scale > 0) || [...found.keys()].some((key) => !known.has(key))) return null;
        return RESIDUAL.map((term, k) => (found.get(String(term)) ?? 0) / (scale * factors[k]));
      },
    },
  };

  // --- The numbers that stand in a loss, each of which a slider can move. ---

  const MOST_SLIDERS = 24;

  function leaves(one, path = []) {
    if (typeof one === "number") return [path];
    return Array.isArray(one) ? one.slice(1).flatMap((operand, k) => leaves(operand, [...path, k + 1])) : [];
  }
  const within = (one, path) => path.reduce((node, k) => node[k], one);
  const put = (one, path, value) =>
    path.length ? one.map((node, k) => (k === path[0] ? put(node, path.slice(1), value) : node)) : value;

  // [{ label, meaning, value, range, change }], where change gives the loss with another value in that place.
  function numbersOf(loss) {
    const found = [], add = (label, meaning, value, change) =>
      found.push({ label, meaning, value, range: Math.max(2, 2 * Math.abs(value)), change });
    const swapped = (list, k, value) => list.map((one, i) => (i === k ? value : one));
    if (loss.kind === "power") {
      loss.terms.forEach(([i, j, log], k) => {
        // A constant, and h alone, reach no gradient.
        if ((i === 0 && !log) || (i === 1 && j === 0 && !log)) return;
        const term = [symbol("h", i), symbol("y", j), log ? "log h" : ""].filter(Boolean).join(" ");
        const changed = (value) => ({ ...loss, coefficients: swapped(loss.coefficients, k, value) });
        add(term, "how much of this term", loss.coefficients[k], changed);
      });
    } else if (loss.kind === "sum") {
      loss.parts.forEach((one, k) =>
        add(`weight ${k + 1}`, `of ${one.name}`, loss.weights[k], (value) => ({ ...loss, weights: swapped(loss.weights, k, value) })));
    } else if (loss.kind === "expression") {
      const paths = leaves(loss.tree), lettered = paths.reduce((tree, path, k) => put(tree, path, `c${k + 1}`), loss.tree);
      paths.forEach((path, k) => {
        const around = path.length ? `in ${written(within(lettered, path.slice(0, -1)))}` : "";
        add(`c${k + 1}`, plain(around).slice(0, 80), within(loss.tree, path), (value) => ({ ...loss, tree: put(loss.tree, path, value) }));
      });
    }
    return found.length > MOST_SLIDERS ? [] : found;
  }

  // The coefficient of y log h.
  const weightOfEntropy = (loss) => (loss.kind === "power" ? (actingTerms(loss).get("0,1,1") ?? 0) : 0);

  function actingTerms(loss) {
    const pairs = loss.terms.map((term, k) => [String(term), loss.coefficients[k]]);
    return new Map(pairs.filter(([key, c], k) => c !== 0 && key !== "1,0,0" && (loss.terms[k][0] || loss.terms[k][2])));
  }

  // c1 … cyy of a polynomial of third order; null for any other loss.
  function thirdOrder(loss) {
    if (loss.kind !== "power") return null;
    const known = { "1,0,0": ["c1", 1], "2,0,0": ["ch", 2], "3,0,0": ["chh", 3] };
    Object.assign(known, { "2,1,0": ["chy", 2], "1,1,0": ["cy", 1], "1,2,0": ["cyy", 1] });
    const c = { c1: 0, ch: 0, chh: 0, chy: 0, cy: 0, cyy: 0 };
    for (const [k, term] of loss.terms.entries()) {
      if (loss.coefficients[k] === 0 || (term[0] === 0 && !term[2])) continue;
      const found = known[String(term)];
      if (!found) return null;
      c[found[0]] += found[1] * loss.coefficients[k];
    }
    return c;
  }

  // --- As text. ---

  // A number with four digits.
  function text(value, digits = DIGITS) {
    if (!Number.isFinite(value)) return Number.isNaN(value) ? "none" : value > 0 ? "∞" : "−∞";
    return String(Number(value.toPrecision(digits))).replace("-", "−");
  }

  const RAISED = { "-": "⁻", 0: "⁰", 1: "¹", 2: "²", 3: "³", 4: "⁴", 5: "⁵", 6: "⁶", 7: "⁷", 8: "⁸", 9: "⁹" };
  function symbol(name, exponent) {
    if (exponent === 0) return "";
    if (!Number.isInteger(exponent)) return `${name}^${text(exponent, 6)}`;
    return exponent === 1 ? name : name + [...String(exponent)].map((one) => RAISED[one]).join("");
  }

  // φ or L as a line of text.
  function formula(loss) {
    if (loss.kind === "power") {
      const largest = Math.max(0, ...loss.coefficients.map(Math.abs));
      const terms = loss.terms.map((term, k) => [...term, loss.coefficients[k]]);
      const kept = terms.filter((term) => Math.abs(term[3]) > 1e-14 * largest);
      kept.sort((a, b) => b[2] - a[2] || a[1] - b[1] || a[0] - b[0]);
      const parts = kept.map(([i, j, log, c], k) => {
        const product = [symbol("h", i), symbol("y", j), log ? "log h" : ""].filter(Boolean).join(" ");
        const size = text(Math.abs(c)), sign = c < 0 ? (k ? " − " : "−") : k ? " + " : "";
        return sign + (size === "1" && product ? product : `${size} ${product}`.trim());
      });
      return `φ = ${parts.join("") || "0"}`;
    }
    const inner = (one) => formula(one).replace(/^φ = /, "");
    if (loss.kind === "sum") {
      return `L = ${loss.parts.map((one, k) => `${text(loss.weights[k])} [${inner(one)}]`).join(" + ")}`;
    }
    const told = {
      "shifted-power": ({ shift: a, power: q }) =>
        q ? `φ = y ((${text(a)} + h)^${text(q)} − (${text(a)} + 1)^${text(q)}) / ${text(q)}`
          : `φ = y log((${text(a)} + h)/(${text(a)} + 1))`,
      "flipped-power": ({ shift: a, power: p }) =>
        `φ = −y ((${text(a)} − h)^${text(p)} − (${text(a)} − 1)^${text(p)}) / ${text(p)}`,
      "fractional-focal": ({ focusing }) => `φ = y (1 − h)^${text(focusing)} log h`,
      "jensen-shannon": ({ weight }) => `L = Jensen–Shannon divergence of label and output, π = ${text(weight)}`,
      expression: (one) => `φ = ${written(one.tree)}`,
      normalized: ({ base }) => `L = L₁ / Σ_labels L₁ with φ₁ = ${inner(base)}`,
      sharpened: ({ base, sharpening }) => `φ = ${inner(base)} with h for (h + ${text(sharpening)} e_max)/(1 + …)`,
      "normalized-negative": () => "L = 1 − Σ_k y_k (16.12 + log h_k) / Σ_k (16.12 + log h_k)",
      clipped: ({ base, threshold }) => `φ = ${inner(base)} of the logits f min(1, ${text(threshold)}/‖f‖)`,
    };
    return told[loss.kind](loss);
  }

  function written(one) {
    if (!Array.isArray(one)) return typeof one === "number" ? text(one) : one;
    const operands = one.slice(1).map(written);
    if ("+-*/".includes(one[0])) return `(${operands.join(` ${one[0] === "-" ? "−" : one[0]} `)})`;
    return one[0] === "neg" ? `(−${operands[0]})` : `${one[0]}(${operands[0]})`;
  }

  return {
    checked, documentOf, plain, brief, isObject, isNumber, NAMED, PUBLISHED, BY_NUMBERS, smoothed, thirdOrder, numbersOf, weightOfEntropy, formula, text,
  };
})();
