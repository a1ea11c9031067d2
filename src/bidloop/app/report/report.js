"use strict";
(() => {
  const report = JSON.parse(document.getElementById("data").textContent);
  const colours = ["#94a3b8", "#a16207", "#7c3aed", "#0b6e99", "#15803d", "#be185d", "#475569"];
  const colourOf = (name, i) => (name === "ours" ? "#0b6e99" : name.startsWith("hindsight") ? "#15803d" : colours[i % colours.length]);
  const number = (v) => (v == null ? "–" : Math.abs(v) >= 100 ? Math.round(v).toLocaleString("en") : v.toPrecision(3));

  function draw(id, options, data) {
    const element = document.getElementById(id);
    if (!element || !data[0].length) return;
    const width = () => Math.max(280, element.clientWidth);
    const plot = new uPlot({ width: width(), height: 260, ...options }, data, element);
    window.addEventListener("resize", () => plot.setSize({ width: width(), height: 260 }));
  }

  // Curves with different x are put on the union of their x, each interpolated by its own line.
  function joined(curves) {
    const xs = [...new Set(curves.flatMap((c) => c.x))].sort((a, b) => a - b);
    const columns = curves.map((c) => { const at = new Map(c.x.map((x, i) => [x, c.y[i]])); return xs.map((x) => (at.has(x) ? at.get(x) : null)); });
    return [xs, ...columns];
  }

  function lines(id, curves, { time = false, xLabel = "", yLabel = "", log = false } = {}) {
    draw(id, {
      scales: { x: { time, distr: log ? 3 : 1 }, y: { range: (u, min, max) => [Math.min(0, min), max || 1] } },
      axes: [{ label: xLabel, labelSize: 18, ...(time ? {} : { values: (u, vs) => vs.map((v) => (v == null ? "" : String(+v.toPrecision(3)))) }) },
             { label: yLabel, size: 64, values: (u, vs) => vs.map((v) => (v == null ? "" : v.toLocaleString("en"))) }],
      series: [{ label: xLabel || "time" }, ...curves.map((c, i) => ({
        label: c.name, stroke: colourOf(c.name, i), width: c.name === "ours" ? 3 : 1.6, spanGaps: true, points: { show: false },
        dash: c.name.startsWith("hindsight") ? [6, 4] : undefined, value: (u, v) => number(v) }))],
    }, joined(curves));
  }

  lines("spend", report.spend, { time: true, yLabel: report.currency });
  lines("clicks", report.clicks, { time: true, yLabel: "clicks" });
  lines("value", report.value, { time: true, yLabel: report.currency });
  lines("landscape", report.landscape, { xLabel: `bid (${report.bid_unit})`, yLabel: "probability of winning", log: true });

  lines("maturity", report.maturity, { xLabel: "days since the click", yLabel: "share reported" });

  const points = report.calibration;
  const xs = points.map((p) => p.predicted);
  draw("calibration", {
    scales: { x: { time: false, distr: 3 }, y: { distr: 3 } },
    axes: [{ label: "predicted click rate", labelSize: 18, values: (u, vs) => vs.map((v) => (v == null ? "" : String(+v.toPrecision(2)))) },
           { size: 70, label: "observed", values: (u, vs) => vs.map((v) => (v == null ? "" : String(+v.toPrecision(2)))) }],
    series: [{ label: "predicted", value: (u, v) => number(v) },
      { label: "perfect", stroke: "#94a3b8", dash: [5, 5], width: 1, points: { show: false }, value: (u, v) => number(v) },
      { label: "lower", stroke: "#7db7cf", width: 1, points: { show: false }, value: (u, v) => number(v) },
      { label: "upper", stroke: "#7db7cf", width: 1, points: { show: false }, value: (u, v) => number(v) },
      { label: "observed", stroke: "#0b6e99", width: 2, points: { show: true, size: 7, fill: "#0b6e99" }, value: (u, v) => number(v) }],
    bands: [{ series: [3, 2], fill: "rgba(11,110,153,.12)" }],
  }, [xs, xs, points.map((p) => p.lower || null), points.map((p) => p.upper || null), points.map((p) => p.observed || null)]);
})();
