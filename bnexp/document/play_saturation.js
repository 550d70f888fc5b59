
/* A stack of layers h = f(x W), forward and backward; where it is normalized, batch normalization stands before f. */

function times(x, weight) {  // (B, F) (F, F)
  return x.map(row => {
    const sums = weight[0].map(() => 0);
    row.forEach((value, feature) => { for (let unit = 0; unit < sums.length; unit++) sums[unit] += value * weight[feature][unit]; });
    return sums;
  });
}
const transposed = matrix => matrix[0].map((_, column) => matrix.map(row => row[column]));
const normOf = matrix => Math.sqrt(matrix.reduce((sum, row) => sum + row.reduce((own, value) => own + value * value, 0), 0));

const ACTIVATED = {
  tanh: {of: Math.tanh, slope: h => 1 - h * h, from: -1, place: h => h},
  sigmoid: {of: z => 1 / (1 + Math.exp(-z)), slope: h => h * (1 - h), from: 0, place: h => 2 * h - 1},
};  // `place` is where an output lies between -1 and 1
const NORM_EPS = 1e-5;

/* Each unit, a row of the transposed (F, B), by its own mean and variance; gamma is 1 and beta 0. */
function normalizedUnits(units) {
  const all = units.map(moments);
  const deviations = all.map(({variance}) => Math.sqrt(variance + NORM_EPS));
  return {deviations, x_hat: units.map((unit, at) => unit.map(value => (value - all[at].mean) / deviations[at]))};
}

function throughNormalization(gradients, {deviations, x_hat}) {
  return gradients.map((own, unit) => {
    const along = meanOf(own.map((value, at) => value * x_hat[unit][at])), mean = meanOf(own);
    return own.map((value, at) => (value - mean - x_hat[unit][at] * along) / deviations[unit]);
  });
}

function passedThrough({x, weights, arriving, saturated, edges}, {std, norm, activation}) {
  const {of, slope, place} = ACTIVATED[activation];
  let h = x;
  const layers = weights.map(drawn => {
    const weight = drawn.map(row => row.map(value => std * value)), units = transposed(times(h, weight));
    const normalized = norm === "bn" ? normalizedUnits(units) : null;
    h = transposed(normalized ? normalized.x_hat : units).map(row => row.map(of));
    return {weight, normalized, h};
  });
  let gradient = arriving;
  return layers.reverse().map(({weight, normalized, h}) => {
    const above = normOf(gradient), byZ = transposed(gradient.map((row, at) => row.map((value, unit) => value * slope(h[at][unit]))));
    gradient = times(transposed(normalized ? throughNormalization(byZ, normalized) : byZ), transposed(weight));
    const outputs = h.flat(), placed = outputs.map(place);
    return {
      shares: sharesOf(placed, edges),
      saturated: placed.filter(value => Math.abs(value) > saturated).length / placed.length,
      std: Math.sqrt(moments(outputs).variance),
      factor: normOf(gradient) / above,
    };
  }).reverse();
}

function whatSaturationDid(layers, {norm, std}) {
  const last = layers.at(-1), through = layers.reduce((product, {factor}) => product * factor, 1);
  const passed = Number.isFinite(through) ? `On its way down through all ${layers.length} layers a gradient is multiplied by ${digits(through)}.`
    : "No gradient passes.";
  const scaled = norm === "bn" && std > 0 ? " With bn the scale of the weights changes next to nothing, unless they are so small that eps counts." : "";
  return `In the last layer ${percent(last.saturated)} of the outputs are saturated. ${passed}${scaled}`;
}

PLAYED.saturation = {
  compute: passedThrough,
  show(layers, settings, {edges, saturated}) {
    const {from} = ACTIVATED[settings.activation], ends = edges.length - 2;
    const top = Math.max(...layers.flatMap(({shares}) => shares));
    const rows = layers.map(({shares, saturated, std, factor}, at) => {
      const svg = bars(`Histogram of h of layer ${at + 1}`, `shares_${at + 1}`, shares, top, bin => bin % ends ? "" : "end");
      return [String(at + 1), made("td", {class: "bars"}, svg), cell(`saturated_${at + 1}`, saturated, percent),
        cell(`std_${at + 1}`, std), cell(`factor_${at + 1}`, factor)];
    });
    const heads = [`h, from ${from} to 1`, "saturated", "std of h", "gradient"], table = tableOf(heads, rows);
    table.tHead.rows[0].cells[0].textContent = "layer";
    table.tHead.rows[0].cells[1].className = "";  // its pictures begin at the left
    const half = (1 - saturated) * (1 - from) / 2;
    return {words: whatSaturationDid(layers, settings), parts: [table, made("p", {class: "notes"},
      `A bar is the share of the outputs in its bin, up to ${percent(top)}. Saturated is what lies within ${setting(Number(half.toFixed(4)))} of `
      + `${from} or 1. Gradient is the norm of the gradient by the input of a layer, over that by its output h.`)]};
  },
};
