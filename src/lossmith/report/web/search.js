const { column, brief, fixed } = lossmith;
const given = data.candidates;
const [generation, member, fitness, status] = ["generation", "member", "fitness", "status"].map((name) => column(given[name]));
const coefficients = given.coefficients ? column(given.coefficients) : null;

const formula = (number) => {
  if (given.texts) return given.texts[number] ?? "";
  if (!coefficients) return "";
  const count = given.terms.length;
  let text = "";
  given.terms.forEach((term, place) => {
    const value = coefficients[number * count + place];
    if (value === 0) return;
    const size = brief(Math.abs(value));
    const body = size === "1" && term ? term : `${size} ${term}`.trim();
    text += text ? ` ${value < 0 ? "−" : "+"} ${body}` : (value < 0 ? "−" : "") + body;
  });
  return text || "0";
};

const figure = (number) =>
  Number.isNaN(fitness[number])
    ? given.statuses[status[number]]
    : `${given.name} ${fixed(fitness[number], given.digits, given.unit)}`;
const told = (number) => {
  const what = formula(number);
  // Counted from 1, as the axis is.
  return `generation ${generation[number] + 1}, candidate ${member[number] + 1}: ${figure(number)}${what ? `\nφ = ${what}` : ""}`;
};

// Members of a generation stand side by side.
const largest = member.reduce((most, one) => Math.max(most, one), 1);
const x = Float32Array.from(generation, (one, number) => one + 1 + 0.62 * (member[number] / largest - 0.5));
const winner = given.winner
  ? generation.findIndex((one, number) => one === given.winner[0] && member[number] === given.winner[1])
  : -1;
const history = data.charts.history;
const many = generation.length > 3000;
history.dots = [{ x, y: fitness, color: "muted", alpha: many ? 0.25 : 0.5, radius: many ? 1.5 : 2.4, tip: told }];
if (winner >= 0) {
  const tip = () => `${told(winner)}\nthe winner, after training with fresh seeds`;
  history.dots.push({ x: [x[winner]], y: [fitness[winner]], color: "accent", alpha: 1, radius: 6, shape: "ring", tip });
}
lossmith.charts(root, data.charts);

// A cell that begins like a formula of a spreadsheet is none.
const cell = (text) => `"${(/^\s*[=+@\t\r＝＋－＠-]/.test(text) ? `'${text}` : text).replaceAll('"', '""')}"`;
const button = root.querySelector("[data-save]");
button.hidden = false;
button.addEventListener("click", () => {
  const lines = ["generation,member,status,fitness,phi"];
  for (let k = 0; k < generation.length; k += 1) {
    const value = Number.isNaN(fitness[k]) ? "" : Number(fitness[k].toPrecision(7)) / (given.unit ? 100 : 1);
    lines.push(`${generation[k]},${member[k]},${given.statuses[status[k]]},${value},${cell(formula(k))}`);
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([`${lines.join("\n")}\n`], { type: "text/csv" }));
  link.download = "candidates.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
});
