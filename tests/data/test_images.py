from __future__ import annotations

import contextlib
import os
import threading

import numpy as np
import pytest
from PIL import Image, ImageOps

from agnostic_dl.data import images as module
from agnostic_dl.data import load_image
from agnostic_dl.data.images import read_images
from agnostic_dl.errors import DataError, UsageError


def read(path, size=None, mode=None):
    return read_images([path], where="here", size=size, mode=mode)[0]


def expected(path, mode="RGB", size=None):
    """Pillow by itself, for pictures without surprises."""
    with Image.open(path) as image:
        image = image.convert(mode)
        if size:
            image = image.resize(size[::-1], Image.Resampling.BILINEAR)
        return np.asarray(image).reshape(image.height, image.width, -1)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp"])
@pytest.mark.parametrize("shape", [(7, 9, 3), (7, 9)])
def test_formats_equal_pillow(tmp_path, picture, suffix, shape):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(picture(*shape)).save(path)
    mode = "RGB" if len(shape) == 3 or suffix == "webp" else "L"  # WebP knows no grey
    result = read(path)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, expected(path, mode))
    if suffix in ("png", "bmp"):
        np.testing.assert_array_equal(result.squeeze(), picture(*shape))


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("size", [(3, 4), (20, 31)])
def test_size_and_mode_equal_pillow(tmp_path, picture, mode, size):
    Image.fromarray(picture(7, 9, 3)).save(tmp_path / "a.png")
    result = read(tmp_path / "a.png", size, mode)
    np.testing.assert_array_equal(result, expected(tmp_path / "a.png", mode, size))


def test_shrinking_is_antialiased(tmp_path):
    stripes = np.tile(np.array([[0, 255]], np.uint8), (64, 32))
    Image.fromarray(stripes).save(tmp_path / "a.png")
    inner = read(tmp_path / "a.png", size=(8, 8))[:, 1:-1]
    assert abs(inner.astype(int) - 127).max() < 4


def test_one_colour_picture_makes_all_rgb(tmp_path, picture):
    Image.fromarray(picture(5, 5)).save(tmp_path / "0.png")
    Image.fromarray(picture(5, 5, 3)).save(tmp_path / "1.png")
    paths = [tmp_path / "0.png", tmp_path / "1.png"]
    both = read_images(paths, where="here", size=None, mode=None)
    assert both.shape == (2, 5, 5, 3)
    np.testing.assert_array_equal(both[0], np.repeat(picture(5, 5)[..., None], 3, axis=2))
    np.testing.assert_array_equal(both[1], picture(5, 5, 3))


def test_bilevel(tmp_path):
    Image.fromarray(np.eye(5, dtype=bool)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png")[..., 0], np.eye(5) * 255)


def test_palette(tmp_path, picture):
    image = Image.fromarray(picture(9, 9, 3)).quantize(8)
    for suffix in ("png", "bmp"):
        image.save(tmp_path / f"a.{suffix}")
        np.testing.assert_array_equal(
            read(tmp_path / f"a.{suffix}"), np.asarray(image.convert("RGB"))
        )


def test_grey_palette_is_grey(tmp_path):
    image = Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4) % 3).convert("P")
    image.putpalette([200, 200, 200, 10, 10, 10, 90, 90, 90])
    image.save(tmp_path / "a.png")
    result = read(tmp_path / "a.png")
    assert result.shape == (4, 4, 1)
    assert result.ravel()[:4].tolist() == [200, 10, 90, 200]


@pytest.mark.parametrize("suffix", ["png", "webp"])
def test_transparency_shows_white(tmp_path, suffix):
    rgba = [[[255, 0, 0, 255], [255, 0, 0, 0]], [[255, 0, 0, 0], [255, 0, 0, 255]]]
    Image.fromarray(np.array(rgba, np.uint8)).save(tmp_path / f"a.{suffix}", lossless=True)
    result = read(tmp_path / f"a.{suffix}")
    red, white = [255, 0, 0], [255, 255, 255]
    assert result.tolist() == [[red, white], [white, red]]


def test_half_transparent(tmp_path):
    Image.new("RGBA", (1, 1), (0, 100, 200, 128)).save(tmp_path / "a.png")
    np.testing.assert_allclose(read(tmp_path / "a.png")[0, 0], [127, 177, 227], atol=1)


def test_grey_with_transparency_stays_grey(tmp_path):
    Image.fromarray(np.array([[[40, 255], [40, 0]]], np.uint8)).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png").tolist() == [[[40], [255]]]


def test_transparent_colour_of_a_palette(tmp_path):
    image = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    image.putpalette([255, 0, 0, 0, 0, 255])
    for transparency in (0, bytes([0, 255])):
        image.save(tmp_path / "a.png", transparency=transparency)
        assert read(tmp_path / "a.png").tolist() == [[[255, 255, 255], [0, 0, 255]]]


def test_transparent_grey_level(tmp_path):
    Image.fromarray(np.array([[0, 9]], np.uint8)).save(tmp_path / "a.png", transparency=0)
    assert read(tmp_path / "a.png").tolist() == [[[255], [9]]]


def test_sixteen_bit_grey_keeps_its_range(tmp_path):
    values = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png").ravel().tolist() == [0, 0, 1, 128, 255]
    x = load_image(tmp_path / "a.png", (1, 5, 3))
    assert (x[0, 0, 4] == 1).all()


def test_cmyk_jpeg(tmp_path):
    image = Image.new("CMYK", (8, 8), (0, 255, 255, 0))  # red ink: magenta and yellow
    image.save(tmp_path / "a.jpg", quality=95)
    result = read(tmp_path / "a.jpg").reshape(-1, 3).mean(axis=0)
    np.testing.assert_allclose(result, [255, 0, 0], atol=6)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, picture, suffix, orientation):
    path = tmp_path / f"a.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(picture(8, 16, 3)).save(path, exif=exif, lossless=True)
    with Image.open(path) as image:
        upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    result = read(path)
    assert result.shape[:2] == ((8, 16) if orientation < 5 else (16, 8))
    np.testing.assert_array_equal(result, upright)


def test_damaged_exif_does_not_matter(tmp_path, picture):
    Image.fromarray(picture(8, 8, 3)).save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*" + b"\xff" * 9)
    with pytest.warns(UserWarning, match="Corrupt EXIF"):
        pixels = expected(tmp_path / "a.jpg")
    np.testing.assert_array_equal(read(tmp_path / "a.jpg"), pixels)


def test_the_content_decides_not_the_name(tmp_path, picture):
    Image.fromarray(picture(5, 5, 3)).save(tmp_path / "a.jpg", format="PNG")
    np.testing.assert_array_equal(read(tmp_path / "a.jpg"), picture(5, 5, 3))


def test_the_first_frame_of_an_animation(tmp_path, picture):
    frames = [Image.fromarray(picture(5, 5, 3, seed=k)) for k in range(3)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], lossless=True)
    frames[0].save(tmp_path / "a.png", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(read(tmp_path / "a.webp"), picture(5, 5, 3))
    np.testing.assert_array_equal(read(tmp_path / "a.png"), picture(5, 5, 3))


@pytest.mark.parametrize("suffix", ["gif", "tiff", "ppm"])
def test_other_decoders_never_run(tmp_path, picture, suffix):
    Image.fromarray(picture(5, 5, 3)).save(tmp_path / f"a.{suffix}")
    disguised = (tmp_path / f"a.{suffix}").rename(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: not a JPEG, PNG, BMP or WebP picture"):
        read(disguised)


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "webp"])
def test_truncated(tmp_path, picture, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(picture(40, 40, 3)).save(path)
    content = path.read_bytes()
    for length in (3, 20, len(content) // 2):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match=rf"a\.{suffix}: (a damaged|not a JPEG)") as caught:
            read(path)
        assert "\n" not in str(caught.value)


def test_every_broken_byte_gives_a_picture_or_our_error(tmp_path, picture):
    """Whatever the decoders make of it, nothing but DataError comes out."""
    random = np.random.default_rng(0)
    for suffix in ("png", "jpg", "bmp", "webp"):
        path = tmp_path / f"a.{suffix}"
        Image.fromarray(picture(16, 16, 3)).save(path)
        content = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(100):
            broken = content.copy()
            broken[random.integers(0, min(200, len(broken)), 4)] = random.integers(0, 256, 4)
            path.write_bytes(broken.tobytes())
            with contextlib.suppress(DataError):
                assert read(path).dtype == np.uint8


def test_empty_and_missing(tmp_path):
    (tmp_path / "a.png").touch()
    with pytest.raises(DataError, match=r"a\.png: an empty file \(0 bytes\)"):
        read(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"b\.png: cannot be read \(no such file or directory\)"):
        read(tmp_path / "b.png")


def test_unreadable(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied", "a.png")

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(DataError, match=r"cannot be read \(permission denied\)"):
        read(tmp_path / "a.png")


def test_too_many_pixels_are_never_decoded(tmp_path, monkeypatch):
    Image.new("1", (4097, 4097)).save(tmp_path / "a.png")
    monkeypatch.setattr(module, "_decoded", None)
    with pytest.raises(DataError, match=r"4097×4097 pixels, more than the 16,777,216"):
        read(tmp_path / "a.png")
    Image.new("1", (40_000, 10_000)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="far too many pixels"):
        read(tmp_path / "a.png")


def test_sizes_differ(tmp_path, picture):
    paths = [tmp_path / f"{k}.png" for k in range(3)]
    for path, shape in zip(paths, [(5, 6), (5, 6), (7, 7)], strict=True):
        Image.fromarray(picture(*shape)).save(path)
    with pytest.raises(
        DataError,
        match=r"here: images of 2 sizes .*5×6 \(2 images, such as [01]\.png\), 7×7 \(1 images, such"
        r" as 2\.png\); pass image_size= \(command line: --image-size\)",
    ):
        read_images(paths, where="here", size=None, mode=None)
    assert read_images(paths, where="here", size=(4, 3), mode=None).shape == (3, 4, 3, 1)


def test_threads_decode_large_pictures(tmp_path, picture, monkeypatch):
    monkeypatch.setattr(module.os, "cpu_count", lambda: 3)
    monkeypatch.setattr(module, "_CHUNK", 2)
    used = set()
    decoded = module._decoded

    def spy(*args):
        used.add(threading.current_thread().name)
        return decoded(*args)

    monkeypatch.setattr(module, "_decoded", spy)
    paths = [tmp_path / f"{k:02}.png" for k in range(11)]
    for k, path in enumerate(paths):
        Image.fromarray(picture(128, 128, seed=k)).save(path)
    result = read_images(paths, where="here", size=None, mode=None)
    for k, image in enumerate(result):
        np.testing.assert_array_equal(image[..., 0], picture(128, 128, seed=k))
    assert threading.main_thread().name not in used
    for bad in (3, 8):
        paths[bad].write_bytes(paths[bad].read_bytes()[:2000])
    with pytest.raises(DataError, match=r"03\.png: a damaged"):
        read_images(paths, where="here", size=None, mode=None)


class TestLoadImage:
    def test_equals_pillow(self, tmp_path, picture):
        path = tmp_path / "a.jpg"
        Image.fromarray(picture(30, 40, 3)).save(path)
        for shape in ((8, 9, 3), (8, 9, 1), (30, 40, 3)):
            x = load_image(str(path), shape)
            assert x.shape == (1, *shape)
            assert x.dtype == np.float32
            mode = "L" if shape[2] == 1 else "RGB"
            np.testing.assert_array_equal(x[0], expected(path, mode, shape[:2]) / np.float32(255))

    @pytest.mark.parametrize("shape", [(8, 8), (8, 8, 2), (0, 8, 1), (8, 8, 4)])
    def test_shape(self, tmp_path, shape):
        with pytest.raises(UsageError, match="shape must be"):
            load_image(tmp_path / "a.png", shape)

    def test_not_a_file(self, tmp_path):
        with pytest.raises(DataError, match="not a file"):
            load_image(tmp_path, (8, 8, 1))
        with pytest.raises(DataError, match="no such file"):
            load_image(tmp_path / "a.png", (8, 8, 1))
        with pytest.raises(DataError, match="null byte"):
            load_image("a\0.png", (8, 8, 1))

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
    def test_a_pipe_does_not_block(self, tmp_path):
        os.mkfifo(tmp_path / "a.png")
        with pytest.raises(DataError, match="not a file"):
            load_image(tmp_path / "a.png", (8, 8, 1))
