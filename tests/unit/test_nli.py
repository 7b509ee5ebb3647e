"""NLI triplets: read, filtered and counted; downloaded where none is given."""

import csv
import hashlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cft.cli import app
from cft.corpora.nli import load_nli, published_address
from cft.corpora.sources import from_hub, local_sources
from cft.errors import CftError
from cft.recipe import DataRecipe
from cft.triplets.nli import nli_triplets
from tests.web import Page, serve_web

REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "nli"
HEADER = "sent0,sent1,hard_neg\n"
PUBLISHED = "datasets/princeton-nlp/datasets-for-simcse/resolve/main/nli_for_simcse.csv"


def rows(count: int) -> str:
    return HEADER + "".join(f'"A man, {n}.",Someone {n}.,Nobody {n}.\n' for n in range(count))


@pytest.fixture
def web(monkeypatch, tmp_path):
    with serve_web() as running:
        content = rows(500).encode()
        digest = hashlib.sha256(content).hexdigest()
        headers = {"X-Linked-ETag": f'"{digest}"', "X-Linked-Size": str(len(content))}
        running.pages[PUBLISHED] = Page(content, headers=headers)
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("CFT_HOME", str(tmp_path / "home"))
        monkeypatch.chdir(tmp_path)
        yield running


def test_rows_are_normalised_and_faults_are_counted(tmp_path):
    path = tmp_path / "nli.csv"
    faults = 'a,b,c\n a ,b,  c\n,b,c\na,b," "\na,b,b\n\nx,"two  words, quoted",z\n'
    path.write_text("more,hard_neg,sent0,sent1\n" + "".join(
        f"1,{line.rsplit(',', 1)[1]},{line.rsplit(',', 1)[0]}\n" if line else "\n"
        for line in faults.splitlines()
    ))  # fmt: skip
    corpus = load_nli(path)
    assert corpus.rows == [("a", "b", "c"), ("x", "two words, quoted", "z")]
    assert corpus.dropped == {"empty": 2, "degenerate": 1, "duplicate": 1}
    triplets, manifest = nli_triplets(path, 1)
    assert (triplets.anchor, triplets.positive, triplets.negatives) == (["a"], ["b"], [("c",)])
    assert manifest["rows"] == 1
    assert set(manifest["source"]) == {"nli.csv"}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("n.csv", None, "no such file"),
        ("n.json", "{}", "unknown kind of file"),
        ("n.csv", "sent0,sent1\na,b\n", "no column hard_neg; the header must name"),
        ("n.csv", "", "no column sent0"),
        ("n.tsv", HEADER, "no column sent0"),
        ("n.csv", HEADER + "a,b,c\na,b\n", r"n\.csv:3: 2 columns, the header has 3"),
        ("n.csv", HEADER + ",,\n", r"no usable row \(1 empty"),
        ("n.csv", HEADER.encode() + b"\xee,b,c\n", "cannot be read"),
    ],
)
def test_refusals(tmp_path, name, content, says):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CftError, match=says) as caught:
        load_nli(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_the_published_file_is_downloaded_once_and_pinned(web, tmp_path, monkeypatch):
    assert published_address() == f"{web.url}/{PUBLISHED}"
    given = DataRecipe(nli="hub")
    assert from_hub(given)
    path = Path(str(local_sources(given).nli))
    assert path == tmp_path / "home" / "sources" / "nli_for_simcse.csv"
    lock = json.loads(path.with_name("nli_for_simcse.csv.lock.json").read_text())
    assert lock["sha256"] == hashlib.sha256(rows(500).encode()).hexdigest()
    web.pages.clear()
    assert local_sources(given).nli == str(path)
    assert not from_hub(local_sources(given))
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # another mirror is no other file
    assert local_sources(given).nli == str(path)
    path.write_bytes(b"cut short")
    with pytest.raises(CftError, match="its bytes are not those of its lock"):
        local_sources(given)


def test_the_verb_downloads_filters_and_writes(web, tmp_path):
    web.pages[PUBLISHED].cuts = [100]
    asked = ["data", "nli", "--output_csv", "out/nli.csv", "--num_rows", "20"]
    result = CliRunner().invoke(app, asked, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1] == "out/nli.csv"
    with Path("out/nli.csv").open(encoding="utf-8", newline="") as file:
        written = list(csv.reader(file))
    assert written[0] == ["sent0", "sent1", "hard_neg"]
    assert written[1] == ["A man, 0.", "Someone 0.", "Nobody 0."]
    assert len(written) == 21
    manifest = json.loads(Path("out/nli.csv.manifest.json").read_text())
    assert (manifest["rows"], manifest["kinds"]) == (20, {"nli": 20})


def test_another_address_and_a_local_file(web, tmp_path):
    web.pages["mine/small.csv"] = Page(rows(5).encode(), tagged=False)
    run = CliRunner()
    url = f"{web.url}/mine/small.csv"
    assert run.invoke(app, ["data", "nli", "--url", url, "--output-csv", "a.csv"]).exit_code == 0
    assert (tmp_path / "home" / "sources" / "small.csv").is_file()
    Path("local.tsv").write_text(rows(5).replace('"A man, ', "A man, ").replace('."', ".")
                                 .replace(",Some", "\tSome").replace(",Nob", "\tNob")
                                 .replace("sent0,sent1,", "sent0\tsent1\t"))  # fmt: skip
    local = ["data", "nli", "--nli", "local.tsv", "--output-csv", "b.csv"]
    assert run.invoke(app, local).exit_code == 0
    assert Path("a.csv").read_bytes() == Path("b.csv").read_bytes()
    missing = run.invoke(app, ["data", "nli", "--url", f"{web.url}/none.csv"])
    assert isinstance(missing.exception, CftError)
    assert "is not there (404)" in str(missing.exception)
    assert not Path("data").exists()


if REAL.is_dir():

    def test_real_triplets_are_read():
        corpus = load_nli(REAL / "snli_dev_triplets.tsv")
        assert len(corpus.rows) + sum(corpus.dropped.values()) == 2954
        assert sum(corpus.dropped.values()) < 10
