"""A workbook is what spreadsheets read, is never held whole, and takes no text for a formula."""

import io
import zipfile
from xml.etree import ElementTree as ET

from serve_app.xlsx import Workbook

_NS = {"m": "http://schemas.openxmlformats.org/spreadsheetml/2006/main"}


def sheet_of(data, number):
    """The cells of a sheet: text, numbers, None."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        root = ET.fromstring(archive.read(f"xl/worksheets/sheet{number}.xml"))
    return [[value_of(cell) for cell in row] for row in root.find("m:sheetData", _NS)]


def value_of(cell):
    text, number = cell.find("m:is/m:t", _NS), cell.find("m:v", _NS)
    if text is not None:
        return text.text
    return None if number is None else float(number.text)


def test_cells_come_back_as_they_went_in():
    book = Workbook(["One & all", "Two"])
    data = book.begin(["a", "b"], [10])
    data += book.rows([[1, "=1+1"], ["<&\x00>", 2.5]])
    data += book.begin(["c"], [10])
    data += book.rows([[None], ["  два  "]])
    data += book.end()
    assert sheet_of(data, 1) == [["a", "b"], [1, "=1+1"], ["<&>", 2.5]]
    assert sheet_of(data, 2) == [["c"], [None], ["  два  "]]


def test_what_was_made_is_handed_over_and_not_kept():
    book = Workbook(["One"])
    book.begin(["a"], [10])
    pieces = [
        len(book.rows([str(hash((page, row)))] for row in range(2_000))) for page in range(20)
    ]
    assert sum(pieces) > 100_000
    assert max(pieces) < sum(pieces) / 4
    assert len(book.end()) < sum(pieces) / 4


def test_every_part_is_named_where_readers_look_for_it():
    book = Workbook(["One"])
    data = book.begin(["a"], [10]) + book.end()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = set(archive.namelist())
        types = archive.read("[Content_Types].xml").decode()
        relations = archive.read("xl/_rels/workbook.xml.rels").decode()
    for part in ("xl/workbook.xml", "xl/styles.xml", "xl/worksheets/sheet1.xml"):
        assert part in names
        assert f'PartName="/{part}"' in types
    assert 'Target="worksheets/sheet1.xml"' in relations
