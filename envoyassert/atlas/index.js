"use strict";
// Filters the table of an index: by words, by how runs ended, by Envoy. Without it all is shown.
(() => {
  const form = document.getElementById("filters");
  const rows = [...document.querySelectorAll(".matrix tbody tr")];
  const search = form.elements.namedItem("search");
  const state = form.elements.namedItem("state");
  const envoy = form.elements.namedItem("envoy");
  const shown = document.getElementById("shown");

  function holds(row) {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const text = row.textContent.toLowerCase();
    const cells = [...row.querySelectorAll("td")].filter(
      (cell) => !envoy.value || cell.dataset.envoy === envoy.value);
    const ended = cells.some(
      (cell) => cell.dataset.states && (!state.value || cell.dataset.states.split(" ").includes(state.value)));
    return ended && words.every((word) => text.includes(word));
  }

  function filter() {
    let left = 0;
    for (const row of rows) {
      row.hidden = !holds(row);
      left += row.hidden ? 0 : 1;
    }
    for (const cell of document.querySelectorAll(".matrix [data-envoy]")) {
      cell.hidden = Boolean(envoy.value) && cell.dataset.envoy !== envoy.value;
    }
    shown.textContent = `${left} of ${rows.length} scenarios`;
  }

  form.hidden = false;
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  filter();
})();
