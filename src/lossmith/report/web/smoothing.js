// The label smoothing inside of a sum of powers: what lossmith.theory.smoothing recognizes.
const SMOOTHING = (() => {
  "use strict";

  const TOLERANCE = 1e-9;

  // What acts with hard labels: coefficients of h^i (log h)^l in φ for y = 0, and what y = 1 adds.
  function parts(loss) {
    const free = new Map(), tied = new Map();
    loss.terms.forEach(([i, j, log], k) => {
      if ((i === 0 && !log) || (i === 1 && j === 0 && !log)) return;
      const into = j ? tied : free, key = `${i} ${log}`;
      into.set(key, (into.get(key) ?? 0) + loss.coefficients[k]);
    });
    return [free, tied];
  }

  // The ratio r with free = r · tied in all parts but h, whose free part never acts; NaN where there is none.
  function commonRatio(free, tied) {
    const whole = (tied.get("1 0") ?? 0) === 0 ? NaN : 0;
    const places = [...new Set([...free.keys(), ...tied.keys()])].filter((key) => key !== "1 0");
    if (!places.length) return whole;
    const over = places.map((key) => tied.get(key) ?? 0), under = places.map((key) => free.get(key) ?? 0);
    const norm = over.reduce((sum, c) => sum + c * c, 0);
    if (norm === 0) return under.every((c) => c === 0) ? whole : NaN;
    const ratio = over.reduce((sum, c, k) => sum + c * under[k], 0) / norm;
    const off = Math.max(...under.map((c, k) => Math.abs(c - ratio * over[k])));
    const largest = Math.max(...under.map(Math.abs), ...over.map(Math.abs));
    return off > TOLERANCE * largest ? NaN : ratio;
  }

  // The bases φ = g1 y b1(h) + g0 b0(h): the mean squared error, and Baikal.
  const BASES = [{ free: ["2 0", -1], tied: ["1 0", 2] }, { free: ["0 1", 1], tied: ["-1 0", -1] }];

  // α where the loss is such a base smoothed, times a positive factor; NaN elsewhere.
  function ofTwoParts(free, tied, base, n) {
    const [[place0, g0], [place1, g1]] = [base.free, base.tied];
    const scale = (free.get(place0) ?? 0) / g0, kept = (tied.get(place1) ?? 0) / g1, alpha = 1 - kept / scale;
    const wanted = new Map([[`free ${place0}`, scale * g0], [`tied ${place1}`, kept * g1]]);
    // Linear in h alone never acts, and parts() leaves it out.
    if (place1 !== "1 0") wanted.set(`free ${place1}`, ((scale * alpha) / n) * g1);
    const found = new Map([...[...free].map(([key, c]) => [`free ${key}`, c]), ...[...tied].map(([key, c]) => [`tied ${key}`, c])]);
    const off = [...new Set([...found.keys(), ...wanted.keys()])].map((key) => Math.abs((found.get(key) ?? 0) - (wanted.get(key) ?? 0)));
    const fits = scale > 0 && kept > 0 && alpha > -TOLERANCE && Math.max(...off) <= TOLERANCE * scale * Math.abs(g0);
    return fits ? Math.max(alpha, 0) : NaN;
  }

  // α of the loss as a whole or, where it has none, of its logarithms; null where there is none either.
  function inside(loss, n) {
    const [free, tied] = parts(loss), ratio = commonRatio(free, tied);
    let alpha = ratio >= 0 ? (n * ratio) / (1 + n * ratio) : NaN;
    for (const base of free.size ? BASES : []) if (!(alpha >= 0)) alpha = ofTwoParts(free, tied, base, n);
    if (alpha > 0) return { alpha, isWhole: true };
    const kept = tied.get("0 1") ?? 0, added = free.get("0 1") ?? 0, total = kept + n * added;
    return { alpha: kept === 0 || total === 0 ? null : (n * added) / total, isWhole: false };
  }

  return { inside };
})();
