// Charts: the points that the page has, and those that progress events add.
"use strict";

const charts = new Map();
const KEPT = 600;
const steps = ["", "Ki", "Mi", "Gi", "Ti"];
function worded(value, unit) {
  let step = 0;
  for (; value >= 1024 && step < steps.length - 1; step += 1) value /= 1024;
  return `${value < 10 && step ? value.toFixed(1) : Math.round(value)} ${steps[step]}${unit}`;
}
function colours(figure) {
  const probe = document.createElement("span");
  figure.append(probe);
  const found = ["quiet", "line", "accent"].map((name) => {
    probe.className = `ink-${name}`;
    return getComputedStyle(probe).color;
  });
  probe.remove();
  return found;
}
function draw(figure, data) {
  let [ink, line, accent] = colours(figure);
  const place = figure.querySelector(".plot");
  const lines = { stroke: () => line, width: 1 };
  const axis = { stroke: () => ink, grid: lines, ticks: { stroke: () => line } };
  const plot = new uPlot({
    width: place.clientWidth, height: 180, legend: { show: false }, cursor: { drag: { x: false } },
    scales: { y: { range: (_, low, high) => [0, Math.max(high || 0, 1) * 1.1] } },
    axes: [axis, { ...axis, size: 80, values: (_, ticks) => ticks.map((tick) => worded(tick, figure.dataset.unit)) }],
    series: [{}, { stroke: () => accent, width: 2 }],
  }, data, place);
  plot.recolour = () => {
    [ink, line, accent] = colours(figure);
    plot.redraw(false);
  };
  new ResizeObserver(() => plot.setSize({ width: place.clientWidth, height: 180 })).observe(place);
  return plot;
}
function startCharts(root) {
  for (const figure of root.querySelectorAll("[data-chart]:not([data-started])")) {
    figure.dataset.started = "yes";
    const data = JSON.parse(figure.dataset.chart);
    charts.set(figure, { data, plot: data[0].length > 1 ? draw(figure, data) : null });
  }
}
function add(figure, chart, moment, value) {
  chart.data[0].push(moment);
  chart.data[1].push(value);
  for (const column of chart.data) if (column.length > KEPT) column.shift();
  if (chart.plot) chart.plot.setData(chart.data);
  else if (chart.data[0].length > 1) {
    figure.querySelector("[data-none]")?.remove();
    chart.plot = draw(figure, chart.data);
  }
}
document.addEventListener("holdfast:event", ({ detail: event }) => {
  for (const [figure, chart] of charts) {
    if (!figure.isConnected) {
      chart.plot?.destroy();
      charts.delete(figure);
      continue;
    }
    const [key, field] = (figure.dataset.chartBind ?? ":").split(":");
    const value = event.data[field];
    if (key === `${event.topic}/${event.data.id}` && typeof value === "number") {
      add(figure, chart, Date.parse(event.created_at) / 1000, value);
    }
  }
});
function recolour() {
  for (const { plot } of charts.values()) plot?.recolour();
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", recolour);
new MutationObserver(recolour).observe(document.documentElement, { attributeFilter: ["data-theme"] });
startCharts(document);
document.addEventListener("htmx:load", (event) => startCharts(event.detail.elt.parentElement ?? document));
