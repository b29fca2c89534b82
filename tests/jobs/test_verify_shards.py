import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mosar.jobs import hydra_main
from mosar.jobs.inspection import corruptions, validation
from mosar.jobs.verify_shards import VerifyShards, main, verify
from mosar.platform.data import manifest


def run(*arguments):
    return hydra_main.run(main, VerifyShards, "verify_shards", arguments)


@pytest.fixture
def copy(storage, tmp_path):
    shutil.copytree(storage / "data" / "virtual-tiny", tmp_path / "data" / "virtual-tiny")
    return tmp_path / "data" / "virtual-tiny"


def test_intact_data_sets_have_no_faults(storage, capsys):
    for name, samples in (("virtual-tiny", 3), ("wild-tiny", 2)):
        assert run(f"data={name}", f"storage={storage}", "concurrency=0") == 0
        assert f"{samples} whole samples, 0 faults" in capsys.readouterr().out


@pytest.mark.parametrize("name", corruptions.FAULTS)
def test_every_kind_of_fault_is_reported_at_its_place_and_nowhere_else(copy, name):
    where = corruptions.inject(name, copy)
    found, _ = verify(str(copy), 0)
    assert {(f.shard, f.key) for f in found} == {(where.shard, where.key)}


def test_faults_are_printed_and_end_the_job(copy, capsys):
    where = corruptions.inject("NaN mesh", copy)
    assert run("data=virtual-tiny", f"storage={copy.parent.parent}", "concurrency=0") == 2
    out, error = capsys.readouterr()
    assert f"{where.shard}  {where.key}  sample not valid: member mesh.npy" in out
    assert error.count("\n") == 1


def test_subjects_in_two_splits_are_found(copy):
    found = manifest.Manifest(str(copy))
    table = pq.read_table(copy / manifest.SAMPLES, use_threads=False)
    rows = [{**row, "subject": "one"} for row in table.to_pylist()]
    manifest.write(str(copy), found.shards(), [pa.Table.from_pylist(rows, schema=table.schema)], found.about)
    told, _ = validation.check_tables(str(copy))
    assert [fault.kind for fault in told] == ["subject in two splits"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "shards.parquet").unlink(), "no data set here"),
        (lambda folder: (folder / "samples.parquet").unlink(), "no such file"),
        (lambda folder: (folder / "samples.parquet").write_bytes(b"PAR1"), "cannot be read"),
        (lambda folder: (folder / "shards.parquet").write_bytes(b"PAR1"), "cannot be read"),
    ],
)
def test_unreadable_tables_are_a_one_line_error(copy, change, message, capsys):
    change(copy)
    assert run("data=virtual-tiny", f"storage={copy.parent.parent}", "concurrency=0") == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
