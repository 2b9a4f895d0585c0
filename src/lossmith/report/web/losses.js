// Losses and their theory in JavaScript: what lossmith.losses and lossmith.theory compute, for one loss in float64.
// tests/test_explorer_browser.py compares it with Python. A loss is a checked document; nothing in it is code.
const LOSSES = (() => {
  "use strict";

  const LOWEST_LOG = -1e18, SMALLEST = 2.2250738585072014e-308, TINY = 1e-30, LARGEST_EXPONENT = 40, MOST_WHOLE = 60;
  const MOST_TERMS = 1000, MOST_CLASSES = 1e9, LONGEST_NAME = 200, DEEPEST = 16, MOST_NODES = 256, MOST_DEPTH = 64;

  // Why something that the user gave cannot be used, in a sentence.
  class Refusal extends Error {}
  const refuse = (sentence) => {
    throw new Refusal(sentence);
  };

  // --- The functions of h that sums of powers are made of, at x = log h (losses/powers.py). ---

  const raised = (x, i) => (i === 0 ? 1 : Math.exp(i === 1 ? x : i * x));
  const inside = (x, i, log) => (log ? raised(x, i) * x : raised(x, i));
  const insideSlope = (x, i, log) => {
    if (i === 0) return log ? 1 : 0;
    return log ? raised(x, i) * (i * x + 1) : raised(x, i) * i;
  };

  function power(x, i, log) {
    if (i >= 0) return inside(x, i, log);
    const start = Math.max(x, LARGEST_EXPONENT / i);
    return inside(start, i, log) + insideSlope(start, i, log) * (x - start);
  }

  function powerSlope(x, i, log) {
    return insideSlope(i < 0 ? Math.max(x, LARGEST_EXPONENT / i) : x, i, log);
  }

  const chooseTable = [[1]];
  function choose(n) {
    for (let row = chooseTable.length; row <= n; row++) {
      const above = chooseTable[row - 1];
      chooseTable.push([1, ...above.slice(1).map((value, k) => value + above[k]), 1]);
    }
    return chooseTable[n];
  }

  // A sum Σ c h^i (log h)^l, added up in powers of h or, where those are smaller, in powers of 1 − h (theory/slope.py).
  class Sum {
    constructor(terms, slope) {
      this.slope = slope;
      this.whole = terms.filter(([i]) => i >= 0 && i <= MOST_WHOLE && Number.isInteger(i));
      this.rest = terms.filter((term) => !this.whole.includes(term));
      // c h^i + b with a fraction i is c (h^i − 1) + (b + c) as well; a slope has no constant b.
      this.rising = slope ? [] : this.rest.filter(([i, log]) => i > 0 && !log);
      if (this.rising.length) {
        const constants = this.whole.filter(([i, log]) => i === 0 && !log);
        this.whole = this.whole.filter((term) => !constants.includes(term));
        this.rest = this.rest.filter((term) => !this.rising.includes(term));
        this.constant = constants.reduce((sum, term) => sum + term[2], 0);
      }
      if (this.whole.length) this.expand();
    }

    expand() {
      const degree = Math.max(...this.whole.map(([i]) => i));
      const columns = [new Array(degree + 1).fill(0), new Array(degree + 1).fill(0)];
      for (const [i, log, c] of this.whole) {
        if (this.slope) {
          columns[0][i] += log ? c : i * c;
          if (log) columns[1][i] += i * c;
        } else {
          columns[log][i] += c;
        }
      }
      const shifted = (column, absolute) =>
        column.map((_, k) => {
          let total = 0;
          for (let i = k; i <= degree; i++) {
            total += absolute ? Math.abs(column[i]) * choose(i)[k] : column[i] * (k % 2 ? -1 : 1) * choose(i)[k];
          }
          return total;
        });
      this.near = columns.map((column) => shifted(column, false));
      const sums = columns.map((column) => shifted(column, true));
      const isExact = columns.flat().every(Number.isInteger) && sums.flat().every((sum) => sum < 2 ** 53);
      this.lost = isExact ? null : sums;
    }

    // The value, and the size of what it was summed from.
    at(h, gap, x = Math.log(Math.max(h, SMALLEST))) {
      const basis = this.slope ? powerSlope : power;
      let [value, size] = added(this.rest, x, basis);
      if (this.whole.length) {
        const plain = added(this.whole, x, basis), near = this.aboutOne(gap, gap < 0.5 ? Math.log1p(-gap) : x);
        const better = near[1] < plain[1] ? near : plain;
        value += better[0];
        size += better[1];
      }
      if (this.rising.length) {
        const better = this.fromOne(x);
        value += better[0];
        size += better[1];
      }
      return [value, size];
    }

    aboutOne(gap, log) {
      let value = 0, size = 0, factor = 1;
      for (let k = 0; k < this.near[0].length; k++) {
        for (const l of [0, 1]) {
          const basis = l ? factor * log : factor, part = this.near[l][k] * basis;
          value += part;
          size += Math.abs(part) + (this.lost ? this.lost[l][k] * Math.abs(basis) : 0);
        }
        factor *= gap;
      }
      return [value, size];
    }

    fromOne(x) {
      const direct = added(this.rising, x, power);
      direct[0] += this.constant;
      direct[1] += Math.abs(this.constant);
      const coefficients = this.rising.map((term) => term[2]);
      let total = coefficients.reduce((sum, c) => sum + c, this.constant);
      const parts = coefficients.reduce((sum, c) => sum + Math.abs(c), Math.abs(this.constant));
      if (Math.abs(total) <= 4 * Number.EPSILON * parts) total = 0;
      let value = total, size = Math.abs(total);
      for (const [i, , c] of this.rising) {
        const part = c * Math.expm1(i * x);
        value += part;
        size += Math.abs(part);
      }
      return size < direct[1] ? [value, size] : direct;
    }
  }

  function added(terms, x, basis) {
    let value = 0, size = 0;
    for (const [i, log, c] of terms) {
      const part = c * basis(x, i, log);
      value += part;
      size += Math.abs(part);
    }
    return [value, size];
  }

  // --- Kinds that are sums over classes: φ and its slope g = h ∂φ/∂h at x = log h, for y = 0 or 1. ---

  class Powers {
    constructor(loss) {
      this.terms = loss.terms.map((term, k) => [...term, loss.coefficients[k]]);
      // What is no constant and not c1, neither of which reaches a gradient.
      this.acting = this.terms.filter(([i, j, log]) => (i !== 0 || log) && !(i === 1 && j === 0 && !log));
      const kept = (terms, y) => terms.filter(([, j]) => y || !j).map(([i, , log, c]) => [i, log, c]);
      const sums = (terms, slope) => [new Sum(kept(terms, 0), slope), new Sum(kept(terms, 1), slope)];
      this.whole = sums(this.terms, true);
      this.pulling = sums(this.acting, true);
      this.value = sums(this.terms, false);
    }

    phi(x, y) {
      return this.value[y].at(Math.exp(x), -Math.expm1(x), x)[0];
    }

    slope(x, y) {
      return this.whole[y].at(Math.exp(x), -Math.expm1(x), x)[0];
    }
  }

  const elementwise = {
    power: (loss) => new Powers(loss),
    "shifted-power": ({ shift: a, power: q }) => {
      const log = (x, h) => (a > 0 ? Math.log(Math.max(a + h, TINY)) : x);
      return {
        phi(x, y) {
          const l = log(x, Math.exp(x));
          return y * (q > 0 ? (Math.exp(q * l) - (a + 1) ** q) / q : l - Math.log1p(a));
        },
        slope(x, y) {
          const h = Math.exp(x);
          return y * (a > 0 ? h * Math.max(a + h, TINY) ** (q - 1) : Math.exp(q * x));
        },
      };
    },
    "flipped-power": ({ shift: a, power: p }) => ({
      phi: (x, y) => (-y * ((a - Math.exp(x)) ** p - (a - 1) ** p)) / p,
      slope: (x, y) => y * Math.exp(x) * (a - Math.exp(x)) ** (p - 1),
    }),
    "fractional-focal": ({ focusing: gamma }) => ({
      phi: (x, y) => y * Math.max(-Math.expm1(x), TINY) ** gamma * x,
      slope(x, y) {
        const rest = -Math.expm1(x), ratio = rest > 0 ? x / Math.max(rest, TINY) : -1;
        return y * Math.max(rest, TINY) ** gamma * (1 - gamma * Math.exp(x) * ratio);
      },
    }),
    "jensen-shannon": ({ weight: pi }) => {
      const rest = Math.log1p(-pi), scale = -(1 - pi) * rest;
      const parts = (x, y) => {
        const a = y ? Math.log(pi * y) : -Infinity, b = rest + x, top = Math.max(a, b);
        const logM = top + Math.log1p(Math.exp(Math.min(a, b) - top));
        const near = -Math.log1p(pi * (y * Math.exp(-Math.max(x, -30)) - 1));
        return [logM, x > -30 ? near : x - logM];
      };
      return {
        phi(x, y) {
          const [logM, ratio] = parts(x, y);
          return -(pi * -y * logM + (1 - pi) * Math.exp(x) * ratio) / scale;
        },
        slope: (x, y) => (-(1 - pi) * Math.exp(x) * parts(x, y)[1]) / scale,
      };
    },
    expression: ({ tree }) => formula(tree),
  };

  // --- Formulas (losses/expressions): value and θ = h ∂/∂h of a tree; null is the slope of what h does not move. ---

  const BOUND = 1e30, EDGES = [1, 2, 3, 4, 5, 6, 7, 8].map((p) => -40 / p), FARTHEST = -1e5;
  const bounded = (value) => Math.min(Math.max(value, -BOUND), BOUND);
  const divisor = (b) => (Math.abs(b) < TINY ? (b < 0 ? -TINY : TINY) : b);
  const times = (slope, factor) => (slope === null ? null : bounded(slope * factor));
  const plus = (s, t) => (s === null ? t : t === null ? s : s + t);
  const within = (value, slope) => (Math.abs(value) < BOUND ? slope : 0);

  const OPERATORS = {
    "+": [2, (a, b) => a + b, (v, a, b, s, t) => plus(s, t)],
    "-": [2, (a, b) => a - b, (v, a, b, s, t) => plus(s, t === null ? null : -t)],
    "*": [2, (a, b) => bounded(a * b), (v, a, b, s, t) => within(v, plus(times(s, b), times(t, a)))],
    "/": [2, (a, b) => bounded(a / divisor(b)), (v, a, b, s, t) => {
      const d = divisor(b), upper = s === null ? null : bounded(s / d);
      if (t === null) return within(v, upper);
      const lower = bounded(v * ((d === b ? t : 0) / d));
      return within(v, upper === null ? -lower : upper - lower);
    }],
    neg: [1, (a) => -a, (v, a, s) => -s],
    log: [1, (a) => Math.log(Math.max(Math.abs(a), TINY)), (v, a, s) => (Math.abs(a) > TINY ? bounded(s / a) : 0)],
    square: [1, (a) => Math.min(a * a, BOUND), (v, a, s) => within(v, bounded(2 * a * s))],
    sqrt: [1, (a) => Math.sqrt(Math.max(Math.abs(a), TINY)), (v, a, s) =>
      Math.abs(a) > TINY ? bounded((Math.sign(a) * s) / (2 * v)) : 0],
    exp: [1, (a) => Math.exp(Math.min(a, 60)), (v, a, s) => (a < 60 ? bounded(v * s) : 0)],
    tanh: [1, (a) => Math.tanh(a), (v, a, s) => (1 - v * v) * s],
  };
  const isLog = (node) => node[0] === "log" && node[1] === "h";
  const isGap = (node) => node[0] === "-" && node[1] === 1 && node[2] === "h";
  const moves = (tree) => (Array.isArray(tree) ? tree.slice(1).some(moves) : tree === "h");
  const nodes = (tree) => (Array.isArray(tree) ? [tree, ...tree.slice(1).flatMap(nodes)] : [tree]);

  // A function of x = log h and y that gives value and slope.
  function compiled(tree) {
    if (tree === "h") return (x) => [Math.exp(x), Math.exp(x)];
    if (tree === "y") return (x, y) => [y, null];
    if (typeof tree === "number") return () => [tree, null];
    if (isLog(tree)) return (x) => [x, 1];
    if (isGap(tree)) return (x) => [-Math.expm1(x), -Math.exp(x)];
    const [operands, value, slope] = OPERATORS[tree[0]], isMoving = moves(tree);
    const one = compiled(tree[1]), other = operands > 1 ? compiled(tree[2]) : null;
    if (!other) {
      return (x, y) => {
        const [a, s] = one(x, y), found = value(a);
        return [found, isMoving ? slope(found, a, s) : null];
      };
    }
    return (x, y) => {
      const [a, s] = one(x, y), [b, t] = other(x, y), found = value(a, b);
      return [found, isMoving ? slope(found, a, b, s, t) : null];
    };
  }

  function edgeOf(tree) {
    const divides = (node) =>
      Array.isArray(node) && !isLog(node) &&
      ((node[0] === "/" && moves(node[2])) || (["exp", "log"].includes(node[0]) && moves(node[1])));
    if (!nodes(tree).some(divides)) return null;
    const inner = nodes(tree)
      .filter((node) => Array.isArray(node) && ["/", "log", "sqrt"].includes(node[0]) && !isLog(node))
      .map((node) => node[node.length - 1])
      .filter(moves)
      .map(compiled);
    const whole = compiled(tree);
    const isMild = (x, y) => {
      const [value, slope] = whole(x, y);
      if (Math.abs(slope ?? 0) > 1e19 || Math.abs(value) >= BOUND) return false;
      return inner.every((one) => {
        const size = Math.min(Math.abs(one(x, y)[0]), BOUND);
        return size > 1e-28 || size === 0;
      });
    };
    return EDGES.find((x) => [0, 0.5, 1].every((y) => isMild(x, y))) ?? EDGES[EDGES.length - 1];
  }

  function formula(tree) {
    const edge = edgeOf(tree) ?? LOWEST_LOG, whole = compiled(tree);
    const run = (given, y) => {
      const x = Math.max(given, edge);
      let [value, slope] = whole(x, y);
      slope ??= 0;
      if (given < x) {
        if (Math.abs(slope) < 1e-14) slope = 0;
        value += slope * (Math.max(given, FARTHEST) - Math.max(x, FARTHEST));
      }
      return [bounded(value), bounded(slope)];
    };
    return { phi: (x, y) => run(x, y)[0], slope: (x, y) => run(x, y)[1] };
  }

  // --- Models of n classes: at outputs [of the target, of each other class], with x their logarithms. ---
  // `sums` says whether L = −Σ φ; `transformed` and `pulled` are there where a loss looks at transformed logits.

  const overClasses = (pair, n) => pair[0] + (n - 1) * pair[1];

  function logSoftmax([target, other], n) {
    const top = Math.max(target, other);
    const total = top + Math.log(Math.exp(target - top) + (n - 1) * Math.exp(other - top));
    return [target - total, other - total];
  }

  function ofElements(part) {
    return {
      sums: true,
      part,
      values: (x, n) => -(part.phi(x[0], 1) + (n - 1) * part.phi(x[1], 0)),
      slopes: (x) => [part.slope(x[0], 1), part.slope(x[1], 0)],
    };
  }

  const coupled = {
    sum(loss) {
      const parts = loss.parts.map(model), weights = loss.weights;
      const total = (values) => values.reduce((sum, value, k) => sum + weights[k] * value, 0);
      if (parts.every((part) => part.sums)) {
        return ofElements({
          phi: (x, y) => total(parts.map((each) => each.part.phi(x, y))),
          slope: (x, y) => total(parts.map((each) => each.part.slope(x, y))),
        });
      }
      return {
        values: (x, n) => total(parts.map((each) => each.values(x, n))),
        slopes(x, n) {
          const each = parts.map((part) => part.slopes(x, n));
          return [total(each.map((pair) => pair[0])), total(each.map((pair) => pair[1]))];
        },
      };
    },
    normalized(loss) {
      const { part, values, slopes } = model(loss.base);
      const total = (x, n) =>
        -(overClasses([part.phi(x[0], 1), part.phi(x[1], 1)], n) +
          (n - 1) * overClasses([part.phi(x[0], 0), part.phi(x[1], 0)], n));
      return {
        values: (x, n) => values(x, n) / total(x, n),
        slopes(x, n) {
          const a = slopes(x, n), share = values(x, n) / total(x, n);
          return x.map((one, k) => (a[k] - share * (part.slope(one, 1) + (n - 1) * part.slope(one, 0))) / total(x, n));
        },
      };
    },
    sharpened(loss) {
      const base = model(loss.base), m = loss.sharpening;
      const counts = (x, n) => (x[0] === x[1] ? [n, n] : x[0] > x[1] ? [1, 0] : [0, n - 1]);
      const moved = (x, n) =>
        counts(x, n).map((count, k) =>
          count ? Math.log1p((Math.expm1(x[k]) - (m * (count - 1)) / count) / (m + 1)) : x[k] - Math.log1p(m));
      return {
        values: (x, n) => base.values(moved(x, n), n),
        slopes(x, n) {
          const g = base.slopes(moved(x, n), n);
          return counts(x, n).map((count, k) => g[k] * (count ? Math.exp(x[k]) / (Math.exp(x[k]) + m / count) : 1));
        },
      };
    },
    "normalized-negative"() {
      const flipped = (x) => x.map((one) => Math.max(one - Math.log(1e-7), 0));
      return {
        values: (x, n) => 1 - flipped(x)[0] / overClasses(flipped(x), n),
        slopes(x, n) {
          const f = flipped(x), total = overClasses(f, n);
          return f.map((one, k) => (one > 0 ? ((k ? 0 : 1) - f[0] / total) / total : 0));
        },
      };
    },
    clipped(loss) {
      const base = model(loss.base);
      const scaled = (f, n) => {
        const largest = Math.max(Math.abs(f[0]), Math.abs(f[1]), 1e-6), part = f.map((one) => one / largest);
        const rest = Math.sqrt(Math.max(overClasses(part.map((one) => one * one), n), 1e-30));
        return [loss.threshold / largest / rest, part.map((one) => one / rest)];
      };
      const clip = (f, n) => f.map((one) => one * Math.min(scaled(f, n)[0], 1));
      return {
        values: base.values,
        slopes: base.slopes,
        transformed: (f, n) => (base.transformed ? base.transformed(clip(f, n), n) : clip(f, n)),
        pulled(v, f, n) {
          const inner = base.pulled ? base.pulled(v, clip(f, n), n) : v, [ratio, unit] = scaled(f, n);
          if (ratio > 1) return inner;
          const along = overClasses([unit[0] * inner[0], unit[1] * inner[1]], n);
          return inner.map((one, k) => ratio * (one - unit[k] * along));
        },
      };
    },
  };

  function model(loss) {
    const found = loss.kind in elementwise ? ofElements(elementwise[loss.kind](loss)) : coupled[loss.kind](loss);
    return { ...found, loss, powers: loss.kind === "power" ? found.part : null };
  }

  // --- Theory (lossmith.theory): at target output 1 − ε and ε/(n − 1) for each other class. ---

  function logitsOf(epsilon, n) {
    return [Math.log1p(-epsilon), Math.log(epsilon) - Math.log(n - 1)];
  }

  function centered(pair, n) {
    const mean = overClasses(pair, n) / n;
    return pair.map((one) => one - mean);
  }

  function value(it, epsilon, n) {
    if (it.powers) {
      const [free, tied] = it.powers.value, other = epsilon / (n - 1);
      return -(tied.at(1 - epsilon, epsilon)[0] + (n - 1) * free.at(other, 1 - other)[0]);
    }
    if (it.sums) return it.values([Math.log(1 - epsilon), Math.log(epsilon / (n - 1))], n);
    const given = centered(logitsOf(epsilon, n), n);
    return it.values(logSoftmax(it.transformed ? it.transformed(given, n) : given, n), n);
  }

  // Steps of the logits under one update: [of each non-target, of the target, size of what they are summed from].
  function steps(it, epsilon, n, form = "exact") {
    if (!it.sums) return stepsOfVectors(it, epsilon, n);
    const share = n - 1, other = epsilon / share, target = 1 - epsilon, distance = share * other;
    const hard = (sums, h, gap, y) => {
      if (it.powers) return sums[y].at(h, gap);
      const slope = it.part.slope(Math.log(h), y);
      return [slope, Math.abs(slope)];
    };
    const pulling = it.powers?.pulling;
    const [up, upSize] = hard(pulling, target, distance, 1), [down, downSize] = hard(pulling, other, 1 - other, 0);
    const a = distance * up - share * target * down;
    let b = -a / share, size = (distance * upSize + share * target * downSize) * (1 + 1 / share);
    if (form === "published") {
      const [full, fullSize] = hard(it.powers?.whole, other, 1 - other, 0), lost = ((2 * (n - 2)) / share) * distance;
      b += lost * full;
      size += lost * fullSize;
    }
    return [b, a, size];
  }

  function stepsOfVectors(it, epsilon, n) {
    let x = logitsOf(epsilon, n), rest = epsilon, isChanged = false;
    const given = centered(x, n);
    if (it.transformed) {
      const seen = it.transformed(given, n);
      isChanged = seen[0] !== given[0] || seen[1] !== given[1];
      if (isChanged) {
        x = logSoftmax(seen, n);
        rest = (n - 1) * Math.exp(x[1]);
      }
    }
    const g = it.slopes(x, n), up = rest * g[0], down = (1 - rest) * (n - 1) * g[1];
    const size = Math.abs(up) + Math.abs(down), step = [up - down, -(up - down) / (n - 1)];
    let moved = it.pulled ? it.pulled(step, given, n) : step;
    if (isChanged) moved = moved.map((one) => (Math.abs(one) <= 1e-14 * size ? 0 : one));
    return [moved[1], moved[0], isChanged || moved[0] !== 0 ? size : 0];
  }

  function strength(epsilon, step) {
    const target = 1 - epsilon, decay = Math.exp(-Math.abs(step));
    const change = -epsilon * target * Math.expm1(-Math.abs(step));
    return step > 0 ? change / (target + epsilon * decay) : -change / (epsilon + target * decay);
  }

  function attraction(it, epsilon, n, form = "exact") {
    const [b, a] = steps(it, epsilon, n, form);
    return strength(epsilon, a - b);
  }

  // [γ of the non-targets, γ of the target] where all outputs are 1/n.
  function nullEpoch(it, n) {
    const x = -Math.log(n), [target, other] = it.slopes([x, x], n);
    return [other * n, target * n];
  }

  function margin(it, n) {
    if (it.powers) {
      const tied = new Sum(it.powers.terms.filter(([, j]) => j).map(([i, , log, c]) => [i, log, c]), true);
      return tied.at(1 / n, 1 - 1 / n)[0] * n;
    }
    const zeros = [0, 0], x = logSoftmax(it.transformed ? it.transformed(zeros, n) : zeros, n);
    const g = it.slopes(x, n), total = overClasses(g, n), v = g.map((one, k) => Math.exp(x[k]) * total - one);
    return (-(it.pulled ? it.pulled(v, zeros, n) : v)[0] * n * n) / (n - 1);
  }

  // The terms h^i y^j (log h)^l of γ.
  function rule(terms) {
    return terms.flatMap(([i, j, log, c]) => [[i - 1, j, log, i * c], ...(log ? [[i - 1, j, 0, c]] : [])]);
  }

  // How fast outputs grow apart at the null epoch whatever the label; NaN where m ≤ 0 or it is no sum of powers.
  function biasGrowth(it, n) {
    const m = margin(it, n);
    if (!it.powers || !(m > 0)) return NaN;
    const slope = rule(it.powers.terms).map(([i, j, log, c]) => [i, log, j ? c / n : c]);
    return (new Sum(slope, true).at(1 / n, 1 - 1 / n)[0] * n) / m;
  }

  // γ of the non-targets and of the target as the outputs reach the labels, and its sign; null for other kinds.
  function zeroError(it) {
    if (!it.powers) return null;
    const limits = (terms) => {
      const total = new Map();
      for (const [i, j, log, c] of rule(terms)) {
        const key = `${i} ${j} ${log}`;
        total.set(key, [i, j, log, (total.get(key)?.[3] ?? 0) + c]);
      }
      let other = 0, target = 0;
      for (const [i, j, log, c] of [...total.values()].sort((a, b) => b[0] - a[0] || a[2] - b[2])) {
        target += log ? 0 : c;
        if (j > 0 || i > 0) continue;
        if (log || i < 0) other = c === 0 ? other : c * (log ? -Infinity : Infinity);
        else other += c;
      }
      const size = [...total.values()].reduce((sum, term) => sum + Math.abs(term[3]), 0);
      return [other, target, size];
    };
    const [other, target] = limits(it.powers.terms), acting = limits(it.powers.acting);
    const gap = acting[1] - acting[0], size = limits(it.powers.terms)[2];
    return { other, target, sign: Math.abs(gap) > 1e-12 * size ? Math.sign(gap) : 0 };
  }

  // --- Zones of ε in which a loss attracts (1), repels (−1), or does nothing (0): theory/attraction.py. ---

  const NOISE = 1e-14, NEAR = 0.05, SMOOTH = 1e-3, TAIL = 4, STRAIGHT = 0.05, HIGHEST = 36;
  const SHIFTS = [0, -1e-6, 1e-6, -1.2, -0.9, -0.6, -0.3, 0.3, 0.6, 0.9, 1.2];
  const sigmoid = (x) => (x < 0 ? Math.exp(x) / (1 + Math.exp(x)) : 1 / (1 + Math.exp(-x)));

  function scan(it) {
    const points = it.sums ? 4001 : 401, found = [];
    for (let x = -100; x < -20; x++) found.push(x);
    for (let k = 0; k < points; k++) found.push(-20 + (40 * k) / (points - 1));
    for (let k = 1; 20 + 0.1 * k < HIGHEST; k++) found.push(20 + 0.1 * k);
    return found;
  }

  function zones(it, n, form = "exact") {
    const at = (x) => steps(it, sigmoid(x), n, form);
    const relative = (x) => {
      const [b, a, size] = at(x);
      return Math.abs(a - b) > NOISE * size ? (a - b) / size : 0;
    };
    // The sign, and whether it is known.
    const signed = (x) => {
      if (it.powers) {
        const sign = Math.sign(relative(x));
        return [sign, sign !== 0];
      }
      const all = SHIFTS.map((shift) => at(Math.min(x + shift, HIGHEST))), values = all.map(([b, a]) => a - b);
      const size = all[0][2], sign = Math.abs(values[0]) > NOISE * size ? Math.sign(values[0]) : 0;
      const near = values.slice(0, 3), far = [...values.slice(3, 7), values[0], ...values.slice(7)];
      const largest = Math.max(...near.map(Math.abs));
      const smooth = Math.max(...near) - Math.min(...near) <= SMOOTH * largest && sign !== 0;
      const logs = far.map((one) => Math.log(Math.abs(one)));
      const bends = logs.slice(1, -1).map((one, k) => Math.abs(logs[k + 2] + logs[k] - 2 * one));
      const straight = far.every((one) => Math.sign(one) === sign) && bends.every((bend) => bend < STRAIGHT);
      return [sign, (smooth && (straight || Math.abs(x) < TAIL)) || (largest === 0 && size > 0)];
    };
    const points = scan(it), sizes = points.map((x) => Math.abs(relative(x))), found = [...points];
    for (let k = 1; k < points.length - 1; k++) {
      const [before, inner, after] = sizes.slice(k - 1, k + 2);
      if (!(inner < NEAR && inner <= before && inner <= after && before + after > 0)) continue;
      let center = points[k], width = (points[k + 1] - points[k - 1]) / 2;
      for (let round = 0; round < 4; round++) {
        const finer = Array.from({ length: 41 }, (_, i) => center + (-1 + i / 20) * width);
        const heights = finer.map((x) => Math.abs(relative(x)));
        found.push(...finer);
        center = finer[heights.indexOf(Math.min(...heights))];
        width /= 20;
      }
    }
    const known = [...new Set(found)].sort((a, b) => a - b).map((x) => [x, ...signed(x)]).filter((one) => one[2]);
    if (!known.length) return [{ low: 0, high: 1, sign: 0 }];
    const edges = [0], signs = [known[0][1]];
    for (let k = 1; k < known.length; k++) {
      if (known[k][1] === known[k - 1][1]) continue;
      let low = known[k - 1][0], high = known[k][0];
      for (let round = 0; round < 80; round++) {
        const middle = (low + high) / 2, [b, a] = at(middle);
        if (Math.sign(a - b) === known[k - 1][1]) low = middle;
        else high = middle;
      }
      edges.push(sigmoid((low + high) / 2));
      signs.push(known[k][1]);
    }
    edges.push(1);
    return signs.map((sign, k) => ({ low: edges[k], high: edges[k + 1], sign }));
  }

  return {
    Refusal, refuse, OPERATORS, DEEPEST, MOST_TERMS, MOST_CLASSES, MOST_NODES, MOST_DEPTH, LONGEST_NAME, choose,
    model, value, steps, attraction, nullEpoch, margin, biasGrowth, zeroError, zones,
    kinds: new Set([...Object.keys(elementwise), ...Object.keys(coupled)]),
  };
})();
