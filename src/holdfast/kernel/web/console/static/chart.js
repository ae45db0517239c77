// Charts: the points that the page has, and those that progress events add.
"use strict";

const charts = new Map();
const KEPT = 600;
function startCharts(root) {
  for (const figure of root.querySelectorAll("[data-chart]:not([data-started])")) {
    figure.dataset.started = "yes";
    const style = getComputedStyle(document.documentElement);
    const [ink, line, accent] = ["--quiet", "--line", "--accent"].map((name) => style.getPropertyValue(name));
    const place = figure.querySelector(".plot");
    const unit = figure.dataset.unit;
    const data = JSON.parse(figure.dataset.chart);
    const axis = { stroke: ink, grid: { stroke: line, width: 1 }, ticks: { stroke: line } };
    const values = (_, ticks) => ticks.map((tick) => (unit === "B/s" ? `${(tick / 1048576).toFixed(1)} MiB/s` : `${tick} ${unit}`));
    const plot = new uPlot({
      width: Math.max(240, place.clientWidth - 16), height: 180, legend: { show: false }, cursor: { drag: { x: false } },
      scales: { y: { range: (_, low, high) => [0, Math.max(high || 0, 1) * 1.1] } },
      axes: [axis, { ...axis, size: 80, values }],
      series: [{}, { stroke: accent, width: 2, points: { show: data[0].length < 3 } }],
    }, data, place);
    charts.set(figure, { plot, data });
  }
}
document.addEventListener("holdfast:event", ({ detail: event }) => {
  for (const [figure, chart] of charts) {
    if (!figure.isConnected) { chart.plot.destroy(); charts.delete(figure); continue; }
    const [key, field] = (figure.dataset.chartBind ?? ":").split(":");
    const [topic, id] = key.split("/");
    if (!event.topic.startsWith(topic) || String(event.data.id) !== id || event.data[field] === undefined) continue;
    chart.data[0].push(Date.parse(event.created_at) / 1000);
    chart.data[1].push(event.data[field]);
    for (const column of chart.data) if (column.length > KEPT) column.shift();
    chart.plot.setData(chart.data);
  }
});
startCharts(document);
document.addEventListener("htmx:load", (event) => startCharts(event.detail.elt.parentElement ?? document));
