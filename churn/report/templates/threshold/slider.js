// Each slider that isn't running yet; a notebook may show several, or one twice.
for (const root of document.querySelectorAll("[data-churn-threshold]:not([data-running])")) {
  root.dataset.running = "yes";
  const rows = JSON.parse(root.dataset.rows);
  const input = (name) => root.querySelector(`input[name=${name}]`);
  const show = (name, text) => {
    const place = root.querySelector(`[data-show=${name}]`);
    if (place) place.textContent = text;
  };
  const count = (n) => (n === null ? "–" : Math.round(n).toLocaleString("en"));
  const percent = (share) => (share === null ? "–" : `${Math.round(100 * share)}%`);
  const number = (name) => Math.max(0, Number(input(name).value) || 0);

  const profit = (row) => {
    const value = number("value");
    if (!value) return null;
    const kept = Math.min(number("save"), 100) / 100;
    return row.expected * kept * value - row.n_users * number("cost");
  };

  const note = () => {
    if (!number("value")) {
      return "No profit is shown until you state what a user who stays is worth: the log doesn't know it.";
    }
    return `This assumes that ${number("save")} in 100 of those who would leave stay because of a message; only a group without messages shows how many really do.`;
  };

  const update = () => {
    const row = rows[Number(input("threshold").value)];
    const from = percent(row.threshold);
    const n = count(row.n_users);
    input("threshold").setAttribute("aria-valuetext", from);
    show("sentence", `From ${from}: ${n} users, of whom ${count(row.expected)} are expected to leave.`);
    show("users", `${n} (${percent(row.n_users / rows[0].n_users)})`);
    show("expected", count(row.expected));
    show("churned", count(row.n_churned));
    show("others", count(row.n_others));
    show("reached", percent(row.reached_rate));
    show("selected", percent(row.user_rate));
    show("profit", count(profit(row)));
    show("note", note());
    show("toml", row.toml);
    show("copied", "");
  };

  const copy = async () => {
    const lines = root.querySelector("pre");
    try {
      await navigator.clipboard.writeText(lines.textContent);
      show("copied", "copied");
    } catch {
      // Without leave to use the clipboard the lines are selected for the reader.
      getSelection().selectAllChildren(lines);
      show("copied", "selected: copy it with the keyboard");
    }
  };

  root.addEventListener("input", update);
  root.querySelector("button").addEventListener("click", copy);
  root.querySelector(".churn-still").hidden = true;
  root.querySelector(".churn-live").hidden = false;
  update();
}
