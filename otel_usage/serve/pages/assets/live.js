// Events as they arrive: the server says each by a server-sent event, as the texts of one row.
"use strict";

(() => {
  const place = document.querySelector("[data-live]");
  if (!place) return;
  const state = document.querySelector(".pulse");
  const body = place.querySelector("tbody");
  const most = 200; // rows on the page; older ones go
  const source = new EventSource(place.dataset.live);
  const say = (name, text) => {
    state.dataset.state = name;
    state.textContent = text;
  };
  source.addEventListener("open", () => say("open", "Listening. What arrives is shown here within a second."));
  source.addEventListener("error", () => say("lost", "The connection is lost; trying again."));
  source.addEventListener("usage", (event) => {
    const { cells, outcome } = JSON.parse(event.data);
    if (!body) { // the first event of all: the page stays, and says what to look at now
      const [time, what, kind, ended, took] = cells;
      say("arrived", `Arrived at ${time}: ${[what, kind, ended, took].filter((text) => text !== "–").join(", ")}`);
      document.querySelector("[data-then]").hidden = false;
      if (kind !== "first_run") source.close(); // that one comes before the run itself
      return;
    }
    const row = document.createElement("tr");
    row.className = "new";
    cells.forEach((text, n) => {
      const cell = document.createElement(n === 1 ? "th" : "td");
      if (n === 1) cell.scope = "row";
      if (n === 3) cell.className = `outcome ${outcome}`;
      cell.textContent = text;
      row.append(cell);
    });
    body.prepend(row);
    while (body.rows.length > most) body.rows[most].remove();
    document.querySelector("[data-nothing]")?.remove();
  });
})();
