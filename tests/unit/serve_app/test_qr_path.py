"""The drawing of a QR code shows the very units of the code."""

import re

import segno

from serve_app.qr_path import qr_path


def test_the_path_draws_each_dark_unit_and_no_other():
    text = "http://192.168.1.20:8000/host#token=" + "eyJ" * 110
    size, path = qr_path(text)
    drawn = {
        (int(x) + step, int(y))
        for x, y, width in re.findall(r"M(\d+) (\d+)h(\d+)v1h-\d+z", path)
        for step in range(int(width))
    }
    code = segno.make_qr(text, error="l").matrix
    wanted = {(x + 4, y + 4) for y, row in enumerate(code) for x, dark in enumerate(row) if dark}
    assert drawn == wanted
    assert size == len(code) + 8
