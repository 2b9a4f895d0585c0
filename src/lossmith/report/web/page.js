"use strict";
window.lossmith = (() => {
  const box = document.createElement("div");
  box.className = "tip";
  box.setAttribute("aria-hidden", "true");
  box.hidden = true;
  document.body.append(box);

  const tip = {
    show(x, y, text) {
      box.textContent = text;
      box.hidden = false;
      const { width, height } = box.getBoundingClientRect();
      const left = x + 14 + width > innerWidth - 8 ? x - 14 - width : x + 14;
      const top = y + 14 + height > innerHeight - 8 ? y - 14 - height : y + 14;
      box.style.left = `${Math.max(8, Math.min(left, innerWidth - width - 8))}px`;
      box.style.top = `${Math.max(8, top)}px`;
    },
    hide() {
      box.hidden = true;
    },
  };

  // What carries a text shows it under the pointer, and when it has the focus.
  const told = (event) => (event.target instanceof Element ? event.target.closest("[data-tip]") : null);
  document.addEventListener("pointerover", (event) => {
    const found = told(event);
    if (found) tip.show(event.clientX, event.clientY, found.dataset.tip);
  });
  document.addEventListener("pointerout", (event) => {
    if (told(event)) tip.hide();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") tip.hide();
  });

  const columns = { f4: Float32Array, u4: Uint32Array, u1: Uint8Array };
  const column = (given) => {
    if (Array.isArray(given) || ArrayBuffer.isView(given)) return given;
    const kind = Object.keys(given)[0];
    const bytes = Uint8Array.from(atob(given[kind]), (one) => one.charCodeAt(0));
    return new columns[kind](bytes.buffer);
  };

  // As Python's format(value, ".4g"), with a sign that is as wide as a plus.
  const brief = (value, digits = 4) => {
    if (value === 0) return "0";
    const power = Number(value.toExponential(digits - 1).split("e")[1]);
    const text =
      power < -4 || power >= digits
        ? value
            .toExponential(digits - 1)
            .replace(/\.?0+e/, "e")
            .replace(/e([+-])(\d)$/, "e$10$2")
        : value.toPrecision(digits).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
    return text.replace("-", "−");
  };

  // Very large and very small numbers have a power of ten.
  const fixed = (value, digits, unit = "") => {
    const size = Math.abs(value);
    if (size >= 1e7 || (size >= 1e-12 && size < 0.1 ** digits / 2)) return brief(value) + unit;
    if (value === 0 && digits > 4) return `0${unit}`;
    const text = value.toFixed(digits);
    return (Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−")) + unit;
  };

  // A page that is served while a study runs is loaded again and again: what was unfolded stays so.
  if (location.protocol.startsWith("http")) {
    const folds = [...document.querySelectorAll("main details")];
    const kept = JSON.parse(sessionStorage.getItem("unfolded") ?? "[]");
    folds.forEach((fold, number) => {
      fold.open = fold.open || kept.includes(number);
      fold.addEventListener("toggle", () => {
        const open = folds.flatMap((one, place) => (one.open ? [place] : []));
        sessionStorage.setItem("unfolded", JSON.stringify(open));
      });
    });
  }

  // What is folded is printed, too.
  let unfolded = [];
  addEventListener("beforeprint", () => {
    unfolded = [...document.querySelectorAll("main details:not([open])")];
    for (const fold of unfolded) fold.open = true;
    document.documentElement.dataset.print = "";
    dispatchEvent(new Event("recolor"));
  });
  addEventListener("afterprint", () => {
    for (const fold of unfolded) fold.open = false;
    delete document.documentElement.dataset.print;
    dispatchEvent(new Event("recolor"));
  });
  for (const query of ["(prefers-color-scheme: dark)", "print"]) {
    matchMedia(query).addEventListener("change", () => dispatchEvent(new Event("recolor")));
  }

  // The section that is read is marked in the list of sections.
  const list = document.querySelector("nav ul");
  const links = new Map([...document.querySelectorAll("nav a")].map((one) => [one.hash.slice(1), one]));
  const seen = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        for (const link of links.values()) link.removeAttribute("aria-current");
        const link = links.get(target.id);
        if (!link) continue;
        link.setAttribute("aria-current", "true");
        // On a narrow screen the list is one line, which scrolls.
        list.scrollLeft = link.offsetLeft - (list.clientWidth - link.offsetWidth) / 2;
      }
    },
    { rootMargin: "-15% 0px -75% 0px" },
  );
  for (const section of document.querySelectorAll("main > section")) seen.observe(section);

  return { tip, column, brief, fixed };
})();
