"""A matrix from a file: as spreadsheets write it, and what a person is told whose file holds none."""

import os
import random
import re
import tracemalloc
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
    "two marks": ("1;2,1\n3,4;5\n4,4\n", ["line 1, column 1", '"1;2"', "a comma or a semicolon"]),
    "two decimal marks": ("1.5;2,5\n3;4\n", ["line 1, column 2", '"2,5"', "all with a comma"]),
    "one comma a line": (
        "1,61\n1,82\n1,9\n",
        ["line 1: 1,61 could be", "write 1.61 for one", "such as a,b"],
    ),
    "thousands or decimals": ("1.234;5.678\n2.345;6.789\n", ['"1.234" could be 1.234 or 1234', "write 1.2340 or 1234"]),
    "a unit": ("1,2%\n3,4%\n", ["line 1, column 2", "a number has no unit"]),
    "words in a column": ("a,b\n1,2\nx,3\n", ["line 3, column 1", '"x"']),
    "a nameless feature": ("a,\n1,2\n3,9\n", ["line 1, column 2", "the name of a feature"]),
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
        (binary, "not text"),
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


HEIGHTS = [[1.61, 55.2], [1.82, 81.0], [1.75, 68.4], [1.9, 92.7]]
POINT = "height,weight\r\n1.61,55.2\r\n1.82,81.0\r\n1.75,68.4\r\n1.9,92.7\r\n"
COMMA = POINT.replace(",", ";").replace(".", ",")
PLACES = {
    "decimal commas and a mark of order": b"\xef\xbb\xbf" + COMMA.encode(),
    "semicolons and points": POINT.replace(",", ";").encode(),
    "tabs": POINT.replace(",", "\t").encode(),
    "bars": POINT.replace(",", " | ").encode(),
    "spaces": POINT.replace(",", "   ").encode(),
    "spaces and decimal commas": COMMA.replace(";", " ").encode(),
    "UTF-16 of a spreadsheet": COMMA.replace(";", "\t").encode("utf-16"),
    "UTF-16 without a mark of order": POINT.encode("utf-16-le"),
    "UTF-16, the other way round": POINT.encode("utf-16-be"),
    "a line that names the mark": b"sep=,\r\n" + POINT.encode(),
    "a line that names another mark": b"sep=;\r\n" + COMMA.encode(),
    "an end of line after a comma": POINT.replace("\r", ",\r").encode(),
    "a comma after the rows alone": POINT.replace("\r", ",\r").replace("weight,", "weight").encode(),
    "quotes": "\n".join(
        ",".join(f'"{cell}"' for cell in line.split(";")) for line in COMMA.split("\r\n")[:-1]
    ).encode(),
    "a comment": b"# measured in 2019, in m\n" + POINT.encode(),
    "an index": "".join(f"{n},{line}\n" for n, line in zip(["", 0, 1, 2, 3], POINT.split(), strict=True)).encode(),
    "an index of R": "".join(
        f"{n}{line}\n" for n, line in zip(["", "1,", "2,", "3,", "4,"], POINT.split(), strict=True)
    ).encode(),
    "a column of words": "".join(f"{n},{line}\n" for n, line in zip("nabcd", POINT.split(), strict=True)).encode(),
    "Latin-1": COMMA.replace("height", "Gr\xf6\xdfe").encode("latin-1"),
    "a minus of typesetting": POINT.replace("1.61", "\u22121.61").encode(),
}


@pytest.mark.parametrize("place", PLACES)
def test_the_same_table_from_many_places(place: str, tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_bytes(PLACES[place])
    found = read_matrix(path)
    sign = -1 if place == "a minus of typesetting" else 1
    assert found.rows == [[sign * HEIGHTS[0][0], HEIGHTS[0][1]], *HEIGHTS[1:]]
    assert list(found.names) == ["Gr\xf6\xdfe" if place == "Latin-1" else "height", "weight"]


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("1.234,5;2\n7,25;3\n", [[1234.5, 2], [7.25, 3]]),
        ('"1,234.5",2\n"12,345,678",3\n', [[1234.5, 2], [12345678, 3]]),
        ("1 234,5;2\n7,25;3\n", [[1234.5, 2], [7.25, 3]]),
        ("1'234.5;2\n7.25;3\n", [[1234.5, 2], [7.25, 3]]),
        ("height\n1,61\n1,82\n", [[1.61], [1.82]]),
        ("1,2\n3,-4\n", [[1, 2], [3, -4]]),
        ("1.234;0.5\n2.345;6.789\n", [[1.234, 0.5], [2.345, 6.789]]),
        ("0.123;0.456\n0.789;0.5\n", [[0.123, 0.456], [0.789, 0.5]]),
        ("1,2,3\n4,5,6\n", [[1, 2, 3], [4, 5, 6]]),
        ("0,5\n1,6\n", [[0, 5], [1, 6]]),
    ],
)
def test_marks_between_thousands_and_before_decimals(text: str, rows: list[list[float]], tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text(text)
    assert read_matrix(path).rows == rows


READ = [
    (
        ",0,1,2\n0,1.5,2.5,3.5\n1,4.5,5.5,6.5\n",
        [[1.5, 2.5, 3.5], [4.5, 5.5, 6.5]],
        "line 1 names the columns; column 1",
    ),
    ("No.,a,b\n1,5,6\n2,7,9\n", [[5, 6], [7, 9]], 'column 1 ("No.") that counts the rows left out'),
    ("#,a,b\n1,5,6\n2,7,9\n", [[5, 6], [7, 9]], 'column 1 ("#") that counts the rows left out'),
    ("id,a,b\n1007,5,6\n1001,7,9\n", [[5, 6], [7, 9]], 'column 1 ("id") that numbers the rows left out'),
    ("step,a\n1,6\n2,9\n3,5\n", [[1, 6], [2, 9], [3, 5]], 'column 1 ("step") counts the rows and is taken'),
    ("1,3,2\n2,4,3\n3,5,4\n", [[1, 3, 2], [2, 4, 3], [3, 5, 4]], "column 1 counts the rows and is taken"),
    ("1,5, 2,5\n3,5, 4,5\n", [[1.5, 2.5], [3.5, 4.5]], "a comma and a space; decimal commas"),
    ("1,5 2,5\n3,5 4,5\n", [[1.5, 2.5], [3.5, 4.5]], "spaces; decimal commas"),
    ("1.234,2.345\n3.456,4.567\n", [[1.234, 2.345], [3.456, 4.567]], ""),
    ("My data\n1,2,3\n4,5,6\n", [[1, 2, 3], [4, 5, 6]], 'line 1 ("My data"), a title, left out'),
    ("Measured\n\na,b\n1,2\n3,5\n", [[1, 2], [3, 5]], "line 3 names the columns"),
    ('"a" "b"\n"1" 1.5 2\n"2" 3 4\n', [[1.5, 2], [3, 4]], "column 1 that counts the rows left out"),
    ("a;b;;\n1,5;2;;\n3;4;;\n", [[1.5, 2], [3, 4]], "decimal commas"),
    (";a;b\n;1;2\n;3;4\n", [[1, 2], [3, 4]], "column 1, empty, left out"),
    ("\u200ba,b\n\u20131,\uff12\n\u0663,4\n", [[-1, 2], [3, 4]], ""),
    ("1,2,3,4\n5,6,7,8\n9,10,11,12\n", [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, 11, 12]], ""),
    ("Na,K\n1,2\n3,4\n", [[1, 2], [3, 4]], "line 1 names"),
]


@pytest.mark.parametrize(("text", "rows", "said"), READ)
def test_a_table_that_can_be_read_in_one_way_is_read(
    text: str, rows: list[list[float]], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "own.csv"
    path.write_text(text, "utf-8")
    found = read_matrix(path)
    assert list(found.rows) == rows
    assert said in "; ".join(found.read)


REFUSED = [
    *(
        (f"{cell},{cell}\n1,2\n3,4\n", "line 1, column 1")
        for cell in ("\u20ac2", "1%", "NA", "-", "?", "1kg", "1:30", "(1)")
    ),
    *(
        (f"a,b\n{cell},2\n3,4\n", what)
        for cell, what in (
            ("n/a", "a missing value"),
            ("2024-01-02", "a date"),
            ("1/2", "a fraction"),
            ("1D3", "1E3"),
            ("5 m/s", "no unit"),
            ("$5", "the currency"),
            ("(5)", "in brackets"),
            ("<5", "a bound"),
            ("1_000", "without _"),
        )
    ),
    ("0,1,2\n1.5,2.5,3.5\n4.5,5.5,6.5\n", "write x0,x1,x2; for an example, 0.0,1.0,2.0"),
    ("2019,2020,2021\n1,2,3\n3,4,5\n", "write x2019,x2020,x2021"),
    ("0,1,2\n7,-8,9\n3,4,5\n", "write x0,x1,x2"),
    ("0,1.5,2.5\n1,3.5,4.5\n2,5.5,6.5\n", "id,x1,x2 to leave it out, x0,x1,x2 to take it"),
    ("1,61,2,72\n1,75,2,80\n", "write 1.61,2.72 for 2 features; for 4,"),
    ("-1,5\n2,5\n-3,5\n", "write -1.5 for one feature"),
    ("1, 2,3\n4, 5,6\n", "for 2 values, write decimal points; for 3"),
    ("1 234\n2 345\n", "write 1234 for one; for 2"),
    (
        '"measured 2024"\n1,2\n3,4\n',
        "for two, write names such as a,b in its place; for one, decimal points, such as 1.2",
    ),
    ("a,b\nkg,cm\n1,2\n3,4\n", "if these are units, delete the line"),
    ("n,a,b\nx,1,2\ny,3,4\nTotal,4,6\n", 'line 4: "Total"'),
    ("[[1, 2],\n [3, 4]]", "json.load(open('own.csv'))"),
    ("<table><tr><td>1", "a web page"),
]


@pytest.mark.parametrize(("text", "said"), REFUSED)
def test_a_table_of_two_readings_is_refused_with_the_line_for_each(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigError, match=re.escape(said)):
        read_matrix(path)


def test_whatever_writes_a_table_its_numbers_come_back_or_it_is_refused(tmp_path: Path) -> None:
    generator, path, read = random.Random(0), tmp_path / "own.csv", 0
    for _ in range(400):
        pick = generator.choice
        features, decimals = pick((2, 3, 4)), pick((0, 1, 2, 3))
        truth = [[round(generator.uniform(-9, 99), decimals) for _ in range(features)] for _ in range(pick((2, 3, 5)))]
        mark, point = pick(
            ((",", "."), (", ", "."), (";", ","), ("\t", "."), (" ", "."), (" ", ","), (", ", ","), (",", ","))
        )
        lines = [[f"{value:.{decimals}f}".replace(".", point) for value in row] for row in truth]
        names = pick((None, [*"abcd"[:features]], [str(number) for number in range(features)]))
        if index := names and pick((False, True)):
            lines = [[str(number), *line] for number, line in enumerate(lines)]
        of_names = [[*([""] if index and mark != " " else []), *names]] if names else []
        title = pick(("", "", "My own data\n"))
        path.write_text(title + "".join(mark.join(line) + "\n" for line in of_names + lines))
        try:
            found = read_matrix(path)
            assert found.rows == truth or re.search("whole numbers|an example", "; ".join(found.read)), path.read_text()
            read += 1
        except ConfigError:
            assert point == "," or decimals in (0, 3) or title or names is None or not index, path.read_text()
    assert read > 200


def test_what_is_left_out_or_assumed_is_said(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text(";name;w\n1;ann;1,5\n2;bob;2,5\n")
    said = (
        "values between semicolons; decimal commas; line 1 names the columns; column 1 that counts the rows left out; "
        'column 2 ("name") of words left out'
    )
    found = read_matrix(path)
    assert said in found.source
    assert said == "; ".join(found.read)


def test_a_large_file_is_refused_before_it_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "own.csv"
    path.write_text("1,2,3,4,5,6,7,8\n" * 100_000)
    tracemalloc.start()
    with pytest.raises(ConfigError, match=r"800,000 values, expected at most 100,000"):
        read_matrix(path)
    assert tracemalloc.get_traced_memory()[1] < 20e6
    tracemalloc.stop()
