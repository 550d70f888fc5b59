
/* One feature, batch after batch: batch normalization in training and at inference, as in bnexp/norms/reference.py. */

function batchNormalized({offset, draws, edges}, {batch_size, scale, gamma, beta, eps, momentum, batches}) {
  const inputs = draws.slice(0, batches).map(row => row.slice(0, batch_size).map(draw => offset + scale * draw));
  let running = {mean: 0, variance: 1};
  const trail = inputs.map(x => {
    const {mean, variance} = moments(x), unbiased = variance * batch_size / (batch_size - 1);
    running = {
      mean: (1 - momentum) * running.mean + momentum * mean,
      variance: (1 - momentum) * running.variance + momentum * unbiased,
    };
    return {mean, variance, unbiased, running};
  });
  const x = inputs.at(-1), batch = trail.at(-1);
  const by = ({mean, variance}) => {
    const y = x.map(value => gamma * (value - mean) / Math.sqrt(variance + eps) + beta);
    return {values: y, shares: sharesOf(y, edges), ...moments(y), by: {mean, variance, slope: gamma / Math.sqrt(variance + eps)}};
  };
  return {x: {values: x, shares: sharesOf(x, edges), ...batch}, training: by(batch), inference: by(running), trail};
}

function whatBatchNormDid({x, training, inference}, {batch_size, gamma, eps, momentum, batches}) {
  const size = ({mean, variance}) => `mean ${decimals(mean)} and standard deviation ${decimals(Math.sqrt(variance))}`;
  const words = [`In training the output has ${size(training)}, at inference ${size(inference)}.`];
  if (x.variance === 0) words.push("The feature does not vary: in training its output is beta, whatever gamma is.");
  else if (gamma === 0) words.push("gamma is 0: every output is beta.");
  else if (eps > 0.01 * x.variance)
    words.push("eps is not small beside the variance, and keeps the standard deviation below that of gamma.");
  else if (batch_size === 2)
    words.push("Of two examples only which is the larger is left in training: all outputs are beta + gamma or beta - gamma.");
  if (momentum === 0) words.push("With momentum 0 the running statistics stay where they began, at 0 and 1.");
  else if (momentum === 1) words.push("With momentum 1 the running statistics are those of the last batch alone, with its unbiased variance.");
  else if ((1 - momentum) ** batches > 0.05)
    words.push(`${percent((1 - momentum) ** batches)} of the running statistics is still what they began with, 0 and 1.`);
  return words.join(" ");
}

/* The running statistic as a line, and that of each batch as a point. */
function trailOf(what, key, points, line, most) {
  const all = [...points, ...line, 0, 1], low = Math.min(...all), high = Math.max(...all);
  const at = (value, step) => [(step + 0.5) / most * 100, 100 - (value - low) / (high - low) * 100];
  const dot = (value, step) => { const [x, y] = at(value, step); return `M${x},${y}h0`; };
  const name = `${what}: each batch (points), running (line)`, svg = picture(name,
    drawn("path", {d: points.map(dot).join(""), class: "dots"}),
    drawn("path", {d: `M${line.map(at).join("L")}${line.length > 1 ? "" : "h0"}`, class: "line"}));
  svg.dataset.numbers = key;
  svg.dataset.values = JSON.stringify(line);
  return framed(name, svg, ["batch 1", "", String(most)], [low, high].map(decimals));
}

PLAYED.batchnorm = {
  compute: batchNormalized,
  show(results, settings, {edges, draws}) {
    const {x, training, inference, trail} = results, middle = edges.length >> 1;
    const most = Math.max(...[x, training, inference].flatMap(one => one.shares));
    const top = [0.1, 0.2, 0.35, 0.5, 0.7, 1].find(share => most <= share);
    const ends = [`below ${edges[1]}`, String(edges[middle]), `above ${edges.at(-2)}`];
    const histogram = (name, key, {shares}) =>
      framed(name, bars(`Histogram of ${name}`, `${key}_shares`, shares, top, () => key), ends, ["0", `${100 * top} %`]);
    const row = (name, key, pick, ...who) =>
      [name, ...[x, training, inference].map((one, at) => who[at] ? cell(`${who[at]}_${key}`, pick(one), decimals) : cell(null))];
    const all = ["x", "training", "inference"], normalized = ["", "training", "inference"];
    const trails = [
      trailOf("mean", "running_means", trail.map(one => one.mean), trail.map(one => one.running.mean), draws.length),
      trailOf("unbiased variance", "running_variances", trail.map(one => one.unbiased), trail.map(one => one.running.variance), draws.length),
    ];
    return {words: whatBatchNormDid(results, settings), parts: [
      made("div", {class: "side"}, histogram("x", "x", x), histogram("y in training", "training", training),
        histogram("y at inference", "inference", inference)),
      tableOf(["x", "y in training", "y at inference"], [
        row("mean", "mean", one => one.mean, ...all),
        row("variance, divided by B", "variance", one => one.variance, ...all),
        row("variance, divided by B - 1", "unbiased", one => one.unbiased, "x"),
        row("of the first example", "first", one => one.values[0], ...all),
        row("normalized by mean", "by_mean", one => one.by.mean, ...normalized),
        row("normalized by variance", "by_variance", one => one.by.variance, ...normalized),
        row("gamma / sqrt(variance + eps)", "slope", one => one.by.slope, ...normalized),
      ]),
      made("div", {class: "side"}, ...trails),
    ]};
  },
};
