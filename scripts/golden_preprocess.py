#!/usr/bin/env python3
"""Writes the golden data of the preprocessing tests, with Pillow as the reference.

    python3 -m venv venv && venv/bin/pip install pillow==12.3.0 numpy
    venv/bin/python scripts/golden_preprocess.py

Writes tests/golden/preprocess/: `sources/` (small image files), and `golden.json`, which holds what
Pillow makes of them and of images that both sides compute (`picture`): SHA-256 of the RGB bytes
where the result must be equal bit for bit, a `.rgb` file of raw bytes beside the source where a JPEG
decoder may round differently. The torchvision steps are its formulas, written out in `torchvision`.

The reference is Pillow up to 12: its resize makes the horizontal pass first. Pillow 13.0 makes the
vertical pass first when it shrinks a tall image (higher than about twice the width), which moves a
few values there by a level or two.
"""

import hashlib
import io
import json
import pathlib
import shutil
import struct
import warnings
import zlib

import numpy as np
import PIL
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden" / "preprocess"
SOURCES = ROOT / "sources"
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def noise(count, seed):
    """Bytes that depend on their position only: the top 8 bits of SplitMix64."""
    z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z += np.uint64(seed)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((z ^ (z >> np.uint64(31))) >> np.uint64(56)).astype(np.uint8)


def picture(kind, width, height, seed):
    """RGB: `noise`, or `slope`, which is a gradient per channel with 4 bits of noise."""
    bytes_ = noise(width * height * 3, seed).reshape(height, width, 3)
    if kind == "noise":
        return Image.fromarray(bytes_)
    y, x = np.mgrid[0:height, 0:width]
    gradient = np.stack([x * 3, y * 5, x * 2 + y * 3], -1) % 240
    return Image.fromarray((gradient + (bytes_ >> 4)).astype(np.uint8))


def sha256(data):
    return hashlib.sha256(data).hexdigest()


# ---- files -------------------------------------------------------------------------------------


def png(width, height, depth, color_type, rows, chunks=()):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0)
    raw = b"".join(b"\0" + row for row in rows)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + b"".join(chunk(*extra) for extra in chunks)
        + chunk(b"IDAT", zlib.compress(raw))
        + chunk(b"IEND", b"")
    )


def bmp(width, height, bits, compression, data, masks=b"", palette=b""):
    offset = 14 + 40 + len(masks) + len(palette)
    header = struct.pack(
        "<IiiHHIIiiII", 40, width, height, 1, bits, compression, len(data), 0, 0, len(palette) // 4, 0
    )
    start = b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset)
    return start + header + masks + palette + data


def tiff(width, height, samples, bits, data, endian="<", photometric=2, tags=()):
    """One strip, uncompressed; `tags` are further pairs of number and 16-bit value."""
    count = 9 + len(tags)
    end = 8 + 2 + 12 * count + 4
    depths = struct.pack(f"{endian}{samples}H", *[bits] * samples)

    def entry(tag, kind, n, value):
        packed = {3: f"{endian}Hxx", 4: f"{endian}I"}[kind]
        return struct.pack(f"{endian}HHI", tag, kind, n) + struct.pack(packed, value)

    inline = samples <= 2
    depth_entry = struct.pack(f"{endian}HHI", 258, 3, samples) + (
        depths.ljust(4, b"\0") if inline else struct.pack(f"{endian}I", end)
    )
    tail = b"" if inline else depths
    entries = [
        entry(256, 4, 1, width), entry(257, 4, 1, height), depth_entry, entry(259, 3, 1, 1),
        entry(262, 3, 1, photometric), entry(273, 4, 1, end + len(tail)), entry(277, 3, 1, samples),
        entry(278, 4, 1, height), entry(279, 4, 1, len(data)),
    ]  # fmt: skip
    entries += [entry(tag, 3, 1, value) for tag, value in tags]
    magic = b"II*\0" if endian == "<" else b"MM\0*"
    directory = struct.pack(f"{endian}IH", 8, count) + b"".join(entries) + bytes(4)
    return magic + directory + tail + data


def gif_inside_screen(image, screen, at, transparent):
    """The image as the first frame of a larger screen."""
    plain = saved(image, "gif")
    table = 6 << (plain[10] & 7)
    frame = plain.index(b",", 13 + table)
    head = b"GIF89a" + struct.pack("<HH", *screen) + plain[10:13] + plain[13 : 13 + table]
    if transparent is not None:
        head += b"!\xf9\x04\x01\0\0" + bytes([transparent]) + b"\0"
    return head + b"," + struct.pack("<HHHH", *at, *image.size) + plain[frame + 9 :]


def saved(image, format_, **options):
    out = io.BytesIO()
    image.save(out, format_, **options)
    return out.getvalue()


def exact_sources():
    """Files whose RGB must equal Pillow's bit for bit."""
    width, height = 23, 17
    rgb = picture("slope", width, height, 1)
    alpha = Image.fromarray(noise(width * height, 2).reshape(height, width))
    rgba = rgb.copy()
    rgba.putalpha(alpha)
    grey = rgb.convert("L")
    palette = rgb.quantize(29)
    bits = grey.convert("1")
    turned = Image.Exif()
    turned[0x112] = 6

    def words(count, modulus=65536):
        raw = noise(count * 2, 3).view("<u2").astype(np.uint32)
        return (raw % modulus).astype("<u2")

    def big_rows(channels, modulus=65536):
        rows = words(width * height * channels, modulus).astype(">u2").reshape(height, -1)
        return [row.tobytes() for row in rows]

    yield "rgb.png", saved(rgb, "png")
    yield "rgb-1x1.png", saved(picture("noise", 1, 1, 4), "png")
    yield "rgb-orientation.png", saved(rgb, "png", exif=turned)
    yield "rgb-transparent-colour.png", saved(rgb, "png", transparency=rgb.getpixel((3, 3)))
    yield "rgba.png", saved(rgba, "png")
    yield "grey.png", saved(grey, "png")
    yield "grey-transparent-level.png", saved(grey, "png", transparency=100)
    yield "grey-alpha.png", saved(rgba.convert("LA"), "png")
    yield "bits.png", saved(bits, "png")
    yield "palette.png", saved(palette, "png")
    yield "palette-2-bits.png", saved(rgb.quantize(4), "png", bits=2)
    yield "palette-transparent.png", saved(palette, "png", transparency=3)
    yield "palette-alpha.png", saved(palette, "png", transparency=bytes(range(29)))
    for depth in (2, 4):
        row_bytes = (width * depth + 7) // 8
        rows = noise(row_bytes * height, 5).reshape(height, row_bytes)
        yield f"grey-{depth}-bits.png", png(width, height, depth, 0, [row.tobytes() for row in rows])
    level = (b"tRNS", struct.pack(">H", 77))
    yield "grey16.png", png(width, height, 16, 0, big_rows(1, 600))
    yield "grey16-full-range.png", png(width, height, 16, 0, big_rows(1))
    yield "grey16-transparent-level.png", png(width, height, 16, 0, big_rows(1, 600), [level])
    yield "grey16-alpha.png", png(width, height, 16, 4, big_rows(2))
    yield "rgb16.png", png(width, height, 16, 2, big_rows(3))
    yield "rgba16.png", png(width, height, 16, 6, big_rows(4))

    yield "rgb.webp", saved(rgb, "webp", lossless=True)
    yield "rgba.webp", saved(rgba, "webp", lossless=True, exact=True)
    yield "rgb-orientation.webp", saved(rgb, "webp", lossless=True, exif=turned)
    yield "lossy.webp", saved(rgb, "webp", quality=80)
    yield "lossy-alpha.webp", saved(rgba, "webp", quality=80)
    yield "animation.webp", saved(
        rgb, "webp", lossless=True, save_all=True, append_images=[rgb.rotate(180)]
    )

    yield "palette.gif", saved(palette, "gif")
    yield "transparent.gif", saved(palette, "gif", transparency=3)
    yield "grey.gif", saved(grey, "gif")
    yield "interlaced.gif", saved(palette, "gif", interlace=True)
    yield "animation.gif", saved(
        palette, "gif", save_all=True, append_images=[palette.transpose(Image.Transpose.ROTATE_180)]
    )
    for name, transparent in (("", None), ("-transparent", 7)):
        yield f"inside-screen{name}.gif", gif_inside_screen(palette, (40, 30), (5, 6), transparent)

    for mode, image in (("bits", bits), ("grey", grey), ("palette", palette), ("rgb", rgb), ("rgba", rgba)):
        yield f"{mode}.bmp", saved(image, "bmp")
    pixels = noise(24 * height * 4, 6).tobytes()
    yield "555.bmp", bmp(24, height, 16, 0, pixels[: 24 * height * 2])
    yield "565.bmp", bmp(
        24, height, 16, 3, pixels[: 24 * height * 2], struct.pack("<III", 0xF800, 0x7E0, 0x1F)
    )
    yield "32-bits.bmp", bmp(24, height, 32, 0, pixels)
    yield "top-down.bmp", bmp(24, -height, 24, 0, pixels[: 24 * height * 3])
    yield "palette-4-bits.bmp", bmp(24, height, 4, 0, pixels[: 12 * height], palette=pixels[:64])

    for mode, image in (("bits", bits), ("grey", grey), ("rgb", rgb), ("rgba", rgba), ("cmyk", rgb.convert("CMYK"))):
        yield f"{mode}.tif", saved(image, "tiff")
    yield "rgb-lzw.tif", saved(rgb, "tiff", compression="tiff_lzw")
    yield "rgb-deflate.tif", saved(rgb, "tiff", compression="tiff_adobe_deflate")
    yield "grey-packbits.tif", saved(grey, "tiff", compression="packbits")
    raw = words(12 * 9 * 4)
    for endian, name in (("<", "little"), (">", "big")):
        data = raw.astype(f"{endian}u2")
        yield f"rgb16-{name}.tif", tiff(12, 9, 3, 16, data[: 12 * 9 * 3].tobytes(), endian)
        low = (raw[: 12 * 9] % 600).astype(f"{endian}u2").tobytes()
        yield f"grey16-{name}.tif", tiff(12, 9, 1, 16, low, endian, photometric=1)
        levels = noise(12 * 9 * 4, 7).tobytes()
        for kind, extra in (("premultiplied", 1), ("straight", 2)):
            yield f"{kind}-{name}.tif", tiff(12, 9, 4, 8, levels, endian, tags=[(338, extra)])
    for orientation in range(1, 9):
        yield f"orientation-{orientation}.tif", tiff(
            12, 9, 3, 8, noise(12 * 9 * 3, 8).tobytes(), tags=[(274, orientation)]
        )

    yield "rgb.ppm", saved(rgb, "ppm")
    yield "grey.pgm", saved(grey, "ppm")
    yield "bits.pbm", saved(bits, "ppm")
    plain = " ".join(str(value) for value in noise(5 * 4 * 3, 9))
    yield "plain.ppm", f"P3\n# a comment\n5 4\n255\n{plain}\n".encode()
    yield "plain.pbm", b"P1\n4 2\n0 1 1 0\n1 0 0 1\n"
    for maximum in (1, 100, 200):
        yield f"maximum-{maximum}.pgm", f"P5\n{maximum + 1} 1\n{maximum}\n".encode() + bytes(range(maximum + 1))
    for maximum in (1000, 1023, 65535):
        values = np.linspace(0, maximum, 1001).astype(">u2")
        yield f"maximum-{maximum}.ppm", f"P6\n1001 1\n{maximum}\n".encode() + values.repeat(3).tobytes()
        yield f"maximum-{maximum}.pgm", f"P5\n1001 1\n{maximum}\n".encode() + values.tobytes()


def jpeg_sources():
    """Files whose RGB depends on the decoder's rounding."""
    rgb = picture("slope", 45, 37, 11)
    turned = Image.Exif()
    turned[0x112] = 6
    yield "444.jpg", saved(rgb, "jpeg", quality=92, subsampling=0)
    yield "422.jpg", saved(rgb, "jpeg", quality=90, subsampling=1)
    yield "420.jpg", saved(rgb, "jpeg", quality=90, subsampling=2)
    yield "progressive.jpg", saved(rgb, "jpeg", quality=80, progressive=True)
    yield "restarts.jpg", saved(rgb, "jpeg", quality=75, restart_marker_rows=1)
    yield "grey.jpg", saved(rgb.convert("L"), "jpeg", quality=90)
    yield "cmyk.jpg", saved(rgb.convert("CMYK"), "jpeg", quality=90)
    yield "orientation.jpg", saved(rgb, "jpeg", quality=92, subsampling=0, exif=turned)


def huge_headers():
    """Small files whose header states more than 100 megapixels."""
    tiny = picture("noise", 1, 1, 12)
    yield "huge.png", png(60000, 60000, 8, 2, [b"\0\0\0"]), (60000, 60000)
    yield "huge.ppm", b"P6\n60000 60000\n255\n\0\0\0", (60000, 60000)
    yield "huge.bmp", bmp(60000, 60000, 24, 0, bytes(4)), (60000, 60000)
    yield "huge.tif", tiff(60000, 60000, 3, 8, bytes(3)), (60000, 60000)
    gif = saved(tiny, "gif")
    yield "huge.gif", gif[:6] + struct.pack("<HH", 60000, 60000) + gif[10:], (60000, 60000)
    jpeg = saved(tiny, "jpeg")
    sides = jpeg.index(b"\xff\xc0") + 5
    yield "huge.jpg", jpeg[:sides] + struct.pack(">HH", 60000, 60000) + jpeg[sides + 4 :], (60000, 60000)
    webp = saved(tiny, "webp", lossless=True)
    bits = struct.unpack("<I", webp[21:25])[0] & ~0xFFFFFFF | 16382 << 14 | 16382
    yield "huge.webp", webp[:21] + struct.pack("<I", bits) + webp[25:], (16383, 16383)


def pillow_rgb(data):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Image.open(io.BytesIO(data)).convert("RGB")


def accepted(data):
    try:
        pillow_rgb(data)
    except Exception:  # Pillow raises OSError, SyntaxError, ValueError, EOFError, struct.error, ...
        return False
    return True


def file_entry(name, data):
    image = pillow_rgb(data)
    cuts = sorted({len(data) * part // 8 for part in range(8)} | {len(data) - 1})
    return {
        "file": name,
        "size": image.size,
        "sha256": sha256(image.tobytes()),
        "refused_when_cut_to": [cut for cut in cuts if not accepted(data[:cut])],
    }


# ---- resizes -----------------------------------------------------------------------------------

RESIZES = [
    ((37, 53), (16, 16)), ((37, 53), (37, 20)), ((37, 53), (20, 53)), ((37, 53), (37, 53)),
    ((37, 53), (111, 90)), ((37, 53), (38, 54)), ((37, 53), (36, 52)), ((37, 53), (1, 1)),
    ((1, 9), (3, 4)), ((1, 9), (1, 2)), ((9, 1), (4, 3)), ((9, 1), (27, 1)), ((1, 1), (7, 5)),
    ((2, 2), (255, 3)), ((300, 2), (33, 5)), ((300, 2), (299, 2)), ((3, 300), (5, 31)),
    ((640, 427), (383, 256)), ((640, 427), (335, 224)), ((640, 427), (64, 43)),
    ((640, 427), (641, 428)), ((129, 65), (1000, 500)), ((1000, 3), (3, 1000)),
]  # fmt: skip

CROPS = [
    # picture, resize, crop
    ((424, 948), 224, 224), ((99, 204), 64, 64),
    ((640, 427), 256, 224), ((427, 640), 224, 224), ((37, 53), 256, 224), ((256, 300), 256, 224),
    ((257, 256), 256, 224), ((231, 224), 224, 224), ((1, 1), 64, 64), ((300, 2), 40, 33),
    ((1, 600), 224, 224), ((600, 1), 256, 224), ((224, 224), 224, 224), ((99, 101), 65, 32),
]  # fmt: skip

NORMALISE = {
    "bicubic": ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]),
    "bilinear": ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
}


def torchvision(image, resize, crop, filter_, mean, std):
    """Resize, CenterCrop, ToTensor, Normalize: torchvision's formulas on a Pillow image."""
    width, height = image.size
    short, long = min(width, height), max(width, height)
    new_long = int(resize * long / short)
    size = (resize, new_long) if width <= height else (new_long, resize)
    resized = image if size == image.size else image.resize(size, FILTERS[filter_])
    left = int(round((size[0] - crop) / 2.0))
    top = int(round((size[1] - crop) / 2.0))
    square = resized.crop((left, top, left + crop, top + crop))
    values = np.asarray(square, dtype=np.uint8).transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    values -= np.array(mean, np.float32)[:, None, None]
    values /= np.array(std, np.float32)[:, None, None]
    return size, square, values


def main():
    if int(PIL.__version__.split(".")[0]) > 12:
        raise SystemExit("use Pillow up to 12, see the top of this file")
    shutil.rmtree(ROOT, ignore_errors=True)
    SOURCES.mkdir(parents=True)
    Image.MAX_IMAGE_PIXELS = None
    golden = {"pillow": PIL.__version__, "exact": [], "jpeg": [], "huge": [], "resize": [], "crop": []}
    for kind, sources in (("exact", exact_sources()), ("jpeg", jpeg_sources())):
        for name, data in sources:
            (SOURCES / name).write_bytes(data)
            golden[kind].append(file_entry(name, data))
            if kind == "jpeg":
                (SOURCES / f"{name}.rgb").write_bytes(pillow_rgb(data).tobytes())
    for name, data, size in huge_headers():
        (SOURCES / name).write_bytes(data)
        golden["huge"].append({"file": name, "size": size})
    for (width, height), to in RESIZES:
        for kind in ("noise", "slope"):
            for filter_ in FILTERS:
                seed = width * 1000 + height
                result = picture(kind, width, height, seed).resize(to, FILTERS[filter_])
                raw = result.tobytes()
                golden["resize"].append({
                    "kind": kind, "size": (width, height), "seed": seed, "to": to, "filter": filter_,
                    "sha256": sha256(raw), "first": list(raw[:6]),
                })  # fmt: skip
    for (width, height), resize, crop in CROPS:
        for filter_, (mean, std) in NORMALISE.items():
            image = picture("noise", width, height, 5)
            resized, square, values = torchvision(image, resize, crop, filter_, mean, std)
            golden["crop"].append({
                "kind": "noise", "size": (width, height), "seed": 5,
                "preprocess": {"resize": resize, "filter": filter_, "crop": crop, "mean": mean, "std": std},
                "resized": resized, "pixels_sha256": sha256(square.tobytes()),
                "values_sha256": sha256(values.astype("<f4").tobytes()),
            })  # fmt: skip
    lines = []
    for key, value in golden.items():
        rows = value if isinstance(value, list) else [value]
        text = ",\n".join(json.dumps(row) for row in rows)
        lines.append(f'"{key}": ' + (f"[\n{text}\n]" if isinstance(value, list) else text))
    (ROOT / "golden.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    main()
