"""Tables of tensors: rows as they are, and exponents that people see while programs get every digit."""

import torch

from bnexp.document.table import number_table, with_exponents
from bnexp.lessons.tables import matrix


def test_a_matrix_has_a_row_per_label_and_a_vector_one_without() -> None:
    values = torch.tensor([[1.0, 2], [3, 4]], dtype=torch.float64)
    table = matrix("key", "title", values, ("a", "b"), ("one", "two"))
    assert [[cell.value for cell in row.values()] for row in table.rows] == [["one", 1, 2], ["two", 3, 4]]
    assert table.numbers == {"key": [[1, 2], [3, 4]]}
    vector = matrix("key", "title", values[0], ("a", "b"))
    assert [[cell.value for cell in row.values()] for row in vector.rows] == [["", 1, 2]]
    assert vector.numbers == {"key": [1, 2]}


def test_exponents_are_for_people_and_numbers_stay_whole() -> None:
    third = 1 / 3
    plain = number_table("key", "title", ("a", "b", "c"), [("row", [third, third, 1e-17])], corner="name")
    shown = with_exponents(plain, 1, 2)
    assert [[cell.text for cell in row.values()] for row in shown.rows] == [["row", "0.3333", "3.3e-01", "1.0e-17"]]
    assert shown.numbers == plain.numbers == {"key": [{"name": "row", "a": third, "b": third, "c": 1e-17}]}
