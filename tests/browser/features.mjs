// Generated features around 30 centres, the same in every run: rows to pack, and queries near some of them.

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { run } from "./toy.mjs";

const CENTRES = 30;

export function writeNpy(path, rows) {
  const header = `{'descr': '<f4', 'fortran_order': False, 'shape': (${rows.length}, ${rows[0].length}), }\n`;
  const size = Buffer.alloc(2);
  size.writeUInt16LE(header.length);
  const values = Buffer.from(Float32Array.from(rows.flat()).buffer);
  writeFileSync(path, Buffer.concat([Buffer.from("\x93NUMPY\x01\x00", "latin1"), size, Buffer.from(header), values]));
}

/** Packs features into an index of `folder` for each structure, named by it; gives `queries` queries. */
export function packFeatures(folder, structures, { rows: count, dimension, queries }) {
  const features = new Features(count, dimension);
  const { rows, names } = features.write(folder);
  const model = join(folder, "model-wide");
  run("toy-model", "--dimension", String(dimension), "--out", model);
  for (const structure of structures) {
    run("pack", "--model", model, "--features", rows, "--names", names, "--structure", structure, "-o", join(folder, structure));
  }
  return features.queries(queries);
}

export class Features {
  #state = 12345;

  constructor(count, dimension) {
    const around = (centre, spread) => centre.map((c, j) => c + (spread * this.#bell()) / (1 + j / 6));
    const centres = Array.from({ length: CENTRES }, () => around(Array(dimension).fill(0.3), 1));
    this.rows = Array.from({ length: count }, () => around(centres[Math.floor(this.#uniform() * CENTRES)], 0.5));
  }

  /** Writes the matrix and the names that `pack` takes; gives their paths. */
  write(folder) {
    const paths = { rows: join(folder, "rows.npy"), names: join(folder, "names.txt") };
    writeNpy(paths.rows, this.rows);
    writeFileSync(paths.names, this.rows.map((_, i) => `${i}.png`).join("\n"));
    return paths;
  }

  queries(count) {
    return Array.from({ length: count }, (_, i) => this.rows[i * 911].map((x) => x + 0.1 * this.#bell()));
  }

  #uniform() {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return this.#state / 2 ** 32;
  }

  #bell() {
    let sum = -6;
    for (let i = 0; i < 12; i++) sum += this.#uniform();
    return sum;
  }
}
