"""Quotation marks that are never closed are told, and marks that are part of a text are not."""

from pathlib import Path

import pytest

from cft.corpora.nli import load_nli
from cft.corpora.quotes import require_closed_quotes
from cft.errors import CftError
from cft.mining.pairs import read_pairs
from cft.triplets.files import read_triplets

HEAD = "sent0,sent1,hard_neg\n"


@pytest.mark.parametrize(
    ("rows", "row"),
    [
        ('1,2,"3\n4,5,6\n', 1),
        ('1,2,3\n\n"4,5,6', 2),
        ('1,"x\ny",3\n4,5,"6""', 2),
        (f'1,2,3\n4,5,"{"6" * 200_000}\n', 2),
    ],
)
@pytest.mark.parametrize("read", [load_nli, read_pairs, read_triplets])
def test_a_mark_that_is_never_closed_is_named(tmp_path: Path, read, rows, row) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(HEAD + rows)
    with pytest.raises(CftError, match=rf"rows.csv, row {row}: a quotation mark is opened and"):
        read(path)


@pytest.mark.parametrize(
    "rows", ['1,2,5" pipe\n4,5,6\n', '1,2,5" pipe', '1,"x\ny ""z""",3\n', "1,2,3\n"]
)
def test_other_marks_are_part_of_a_text(tmp_path: Path, rows) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(HEAD + rows)
    require_closed_quotes(path, ",")


def test_a_tsv_without_quoting_is_refused_where_a_text_swallows_others(tmp_path: Path) -> None:
    path = tmp_path / "rows.tsv"
    path.write_text('sent0\tsent1\thard_neg\n"It is open\tb\tc\n"It is shut\tb\tc\nd\te\tf\n')
    for read in (load_nli, read_pairs, read_triplets):
        with pytest.raises(CftError, match=r"rows.tsv.*holds a tab.*quotation mark"):
            read(path)
