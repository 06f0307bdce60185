// What follows a product: y = activate(residual + gamma * (scale * sum + bias)), for one column or for four.

@group(0) @binding(3) var<storage, read> bias: array<{{ real }}>;
@group(0) @binding(4) var<storage, read_write> y: array<{{ real }}>;
@group(0) @binding(5) var<storage, read> residual: array<{{ real }}>; //% i residual
@group(0) @binding(6) var<storage, read> gamma: array<{{ real }}>; //% i gamma

// x / 2 * (1 + erf(x / sqrt(2))), by Abramowitz and Stegun 7.1.26 for the tail of erf.
fn gelu(x: {{ real }}) -> {{ real }} {
    let z = min(abs(x), {{ real }}(12.0)) * 0.70710678;
    let t = 1.0 / (1.0 + 0.3275911 * z);
    let p = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    return max(x, {{ real }}()) - 0.70710678 * z * p * exp(-z * z);
}

fn quick_gelu(x: {{ real }}) -> {{ real }} {
    return x / (1.0 + exp(min(-1.702 * x, {{ real }}(80.0))));
}

fn relu(x: {{ real }}) -> {{ real }} {
    return max(x, {{ real }}());
}

// What is the same for all rows of a column.
struct Ends {
    scale: {{ real }},
    bias: {{ real }},
    gamma: {{ real }}, //% i gamma
}

fn ends(at: u32) -> Ends {
    let column = min(at, {{ width }} - 1u);
    var found: Ends;
    found.scale = scale(column);
    found.bias = bias[column];
    found.gamma = gamma[column]; //% i gamma
    return found;
}

fn store(row: u32, column: u32, sum: {{ real }}, end: Ends) {
    let width = {{ width }};
    if (row < dims.m && column < width) {
        let value = sum * end.scale + end.bias;
        y[row * width + column] = {{ activate }}({{ before }}value);
    }
}
