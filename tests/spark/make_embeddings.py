"""Makes the same rows twice: as Parquet files of embeddings, and as clip-retrieval writes them.

    python make_embeddings.py PLACE

PLACE/embeddings/part-*.parquet has the columns embedding, url, caption; PLACE/clip holds the same rows in the
order of the files. The first file is the smallest, so that an engine which starts with large ones has them in
another order. One row has no direction, some have no caption.
"""

import os
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

DIMENSION = 32
FILES = [150, 900, 400, 1050]

place = sys.argv[1]
for folder in ["embeddings", "clip/img_emb", "clip/metadata"]:
    os.makedirs(os.path.join(place, folder), exist_ok=True)
chance = np.random.Generator(np.random.PCG64(5))
centres = chance.standard_normal((30, DIMENSION), dtype=np.float32)
first = 0
for file, count in enumerate(FILES):
    rows = centres[chance.integers(0, len(centres), count)]
    rows = rows + 0.7 * chance.standard_normal((count, DIMENSION), dtype=np.float32)
    if file == 1:
        rows[17] = 0
    urls = [f"https://example.org/{first + row}.jpg" for row in range(count)]
    captions = [None if row % 7 == 3 else f"caption {first + row}, “quoted”" for row in range(count)]
    table = {"url": pa.array(urls, pa.string()), "caption": pa.array(captions, pa.string())}
    np.save(os.path.join(place, f"clip/img_emb/img_emb_{file}.npy"), rows)
    pq.write_table(pa.table(table), os.path.join(place, f"clip/metadata/metadata_{file}.parquet"))
    table["embedding"] = pa.array(list(rows), pa.list_(pa.float32()))
    pq.write_table(pa.table(table), os.path.join(place, f"embeddings/part-{file}.parquet"), row_group_size=200)
    first += count
