"""A matrix from a file: as spreadsheets write it, and what a person is told whose file holds none."""

import os
from pathlib import Path

import pytest

from bnexp.errors import ConfigError
from bnexp.lessons.matrix_file import read_matrix

BAD_FILES = {
    "ragged": ("1,2,3\n4,5\n", ["line 2", "3 values", "found 2"]),
    "text in it": ("1,2\n3,abc\n", ["line 2, column 2", "a number", '"abc"']),
    "only text": ("width,height\n", ["at least 2 rows", "found none"]),
    "one row": ("1,2,3\n", ["at least 2 rows", "found 1"]),
    "one row below names": ("a,b,c\n1,2,3\n", ["at least 2 rows", "found 1"]),
    "NaN": ("1,2\n3,nan\n", ["line 2, column 2", "finite", '"nan"']),
    "infinite": ("1,2\n-inf,3\n", ["line 2, column 1", "finite", '"-inf"']),
    "a hole": ("1,2\n3,\n", ["line 2, column 2", "found nothing"]),
    "empty": ("", ["no numbers"]),
    "blank lines only": ("\n \n", ["no numbers"]),
    "semicolons": ("1;2\n3;4\n", ["separated by commas"]),
    "decimal commas": ("1,5;2,5\n3,5;4,5\n", ["line 1, column 2", '"5;2"', "decimals by a point"]),
    "beyond float64": ("1e200,2\n3,4\n", ["line 1, column 1", "at most 1e+150"]),
    "letters of a terminal": ("1,2\n3,\x1b[31mred\n", ["line 2, column 2"]),
    "no end of a quote": ('1,2\n"3,4\n', ["line 2"]),
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_a_file_that_is_no_matrix_is_answered_with_its_place(kind: str, tmp_path: Path) -> None:
    text, expected = BAD_FILES[kind]
    path = tmp_path / "bad.csv"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_matrix(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert all(words in message for words in expected), message
    assert "\x1b" not in message


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    binary, pipe, folder = tmp_path / "image.png", tmp_path / "pipe", tmp_path / "folder"
    binary.write_bytes(b"\x89PNG\xff\xfe")
    folder.mkdir()
    os.mkfifo(pipe)
    for path, words in (
        (tmp_path / "missing.csv", "No such file"),
        (binary, "not UTF-8"),
        (pipe, "not a regular file"),
        (folder, "directory"),
    ):
        with pytest.raises(ConfigError, match=words):
            read_matrix(path)


def test_a_matrix_as_spreadsheets_write_it(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_bytes(b'\xef\xbb\xbf"width", height\r\n 1 ,2.5e1\r\n\r\n-3,.5\r\n')
    matrix = read_matrix(path)
    assert list(matrix.names) == ["width", "height"]
    assert list(matrix.rows) == [[1, 25], [-3, 0.5]]


def test_columns_without_names_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("1,2\n3,4\n")
    assert list(read_matrix(path).names) == ["x1", "x2"]
