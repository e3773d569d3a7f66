import hashlib
import io
import json
import os
import signal
import stat
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from acclimate.arrays import FloatArray
from acclimate.atomic import check_writable, write_atomically
from acclimate.bundle import archive
from acclimate.bundle.file import load
from acclimate.bundle.npz import pack_arrays, unpack_arrays
from acclimate.errors import CheckpointError, PolicyError, UsageError
from acclimate.policy.checkpoint import load_checkpoint, save_checkpoint
from acclimate.policy.policy import Policy

from . import bundles


@pytest.fixture
def policy(tmp_path: Path) -> Policy:
    return Policy(load(bundles.write_tiny(tmp_path / "tiny.acclimate")))


@pytest.fixture
def saved(policy: Policy, tmp_path: Path) -> Path:
    policy.adapt(bundles.window())
    policy.commit()
    policy.act(np.ones(4, np.float32))
    save_checkpoint(tmp_path / "servo.checkpoint", policy)
    return tmp_path / "servo.checkpoint"


def test_a_restarted_policy_goes_on_where_it_was(policy: Policy, saved: Path) -> None:
    restarted = Policy(policy.bundle)
    load_checkpoint(saved, restarted)
    for name in bundles.INITIAL:
        np.testing.assert_array_equal(restarted.state(name), policy.state(name))
    assert restarted.state("shots")[0] == 1
    obs = np.full(4, 0.3, np.float32)
    np.testing.assert_array_equal(restarted.act(obs), policy.act(obs))


def test_the_same_state_is_the_same_file(policy: Policy, saved: Path, tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "again.checkpoint", policy)
    assert (tmp_path / "again.checkpoint").read_bytes() == saved.read_bytes()


def test_a_checkpoint_of_another_bundle_is_refused(saved: Path, tmp_path: Path) -> None:
    other = Policy(load(bundles.write_tiny(tmp_path / "other.acclimate", bundles.manifest("other"))))
    with pytest.raises(
        CheckpointError, match=r"saved from bundle 'tiny' \([0-9a-f]{12}…\), and this is 'other'"
    ):
        load_checkpoint(saved, other)
    np.testing.assert_array_equal(other.state("weight"), bundles.INITIAL["weight"])


def test_what_could_not_be_loaded_is_not_saved(policy: Policy, tmp_path: Path) -> None:
    with np.errstate(all="ignore"):
        policy.act(np.full(4, 3e38, np.float32))
    with pytest.raises(CheckpointError, match="state 'previous' is not finite, and not saved to"):
        save_checkpoint(tmp_path / "x.checkpoint", policy)
    assert not (tmp_path / "x.checkpoint").exists()


def test_a_checkpoint_is_not_overtaken_by_an_adaptation_from_before(policy: Policy, saved: Path) -> None:
    then = policy.state("weight")
    policy.adapt(bundles.window(2))
    load_checkpoint(saved, policy)
    with pytest.raises(PolicyError, match="nothing has been adapted"):
        policy.commit()
    np.testing.assert_array_equal(policy.state("weight"), then)


def test_a_bundle_of_the_same_name_is_another_bundle_all_the_same(saved: Path, tmp_path: Path) -> None:
    """What ties a checkpoint is the content; the name may be the same, or another."""
    changed = replace(bundles.manifest(), provenance={"seed": 1})
    other = Policy(load(bundles.write_tiny(tmp_path / "again.acclimate", changed)))
    with pytest.raises(CheckpointError, match="a checkpoint fits only the bundle that it was saved from"):
        load_checkpoint(saved, other)
    copied = tmp_path / "copied.acclimate"
    copied.write_bytes((tmp_path / "tiny.acclimate").read_bytes())
    load_checkpoint(saved, Policy(load(copied)))


@pytest.mark.parametrize("keep", [0, 10, 300, -1])
def test_a_truncated_checkpoint_is_refused(policy: Policy, saved: Path, keep: int) -> None:
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="is truncated"):
        load_checkpoint(saved, policy)


def test_an_altered_checkpoint_is_refused(policy: Policy, saved: Path) -> None:
    with saved.open("rb") as stream:
        members = archive.unpack(stream, "x")
    altered = members["state.npz"].replace(b"NUMPY", b"NUMPI", 1)
    saved.write_bytes(archive.pack(members | {"state.npz": altered}))
    with pytest.raises(CheckpointError, match=r"state\.npz was altered; its SHA-256"):
        load_checkpoint(saved, policy)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"weight": None}, "lacks the array 'weight'"),
        ({"weight": np.zeros((1, 5), np.float32)}, r"array 'weight' has shape \[1, 5\], expected \[1, 4\]"),
        ({"weight": np.full((1, 4), np.nan, np.float32)}, "array 'weight' holds values that are not finite"),
        ({"sigma": np.ones(1, np.float32)}, "unexpected array 'sigma'"),
    ],
)
def test_a_checkpoint_holds_what_graphs_change_and_nothing_else(
    policy: Policy, saved: Path, changes: dict[str, FloatArray | None], said: str
) -> None:
    """Also where whoever wrote it has sealed it well; and the policy stays as it is."""
    members = archive.unpack(io.BytesIO(saved.read_bytes()), "x")
    arrays = unpack_arrays(members["state.npz"], "x") | changes
    state = pack_arrays({name: array for name, array in arrays.items() if array is not None})
    header = json.loads(members["checkpoint.json"]) | {"state_sha256": hashlib.sha256(state).hexdigest()}
    sealed = {"checkpoint.json": json.dumps(header).encode(), "state.npz": state}
    saved.write_bytes(archive.pack(sealed))
    before = {name: policy.state(name) for name in bundles.INITIAL}
    with pytest.raises(CheckpointError, match=said):
        load_checkpoint(saved, policy)
    for name, value in before.items():
        np.testing.assert_array_equal(policy.state(name), value)


@pytest.mark.parametrize("change", [{"format": 2}, {"colour": "red"}, {"bundle": 1}])
def test_a_checkpoint_says_what_it_is_and_nothing_else(
    policy: Policy, saved: Path, change: dict[str, object]
) -> None:
    members = archive.unpack(io.BytesIO(saved.read_bytes()), "x")
    header = json.loads(members["checkpoint.json"]) | change
    saved.write_bytes(archive.pack(members | {"checkpoint.json": json.dumps(header).encode()}))
    with pytest.raises(CheckpointError, match=f"checkpoint.json.*{next(iter(change))}"):
        load_checkpoint(saved, policy)


def test_the_form_of_a_checkpoint_is_this(policy: Policy, saved: Path) -> None:
    """It may be read by a version that is newer by years."""
    members = archive.unpack(io.BytesIO(saved.read_bytes()), "x")
    assert list(members) == ["checkpoint.json", "state.npz"]
    state = hashlib.sha256(members["state.npz"]).hexdigest()
    assert members["checkpoint.json"].decode().splitlines() == [
        "{",
        '  "format": 1,',
        '  "bundle": "tiny",',
        f'  "bundle_sha256": "{policy.bundle.sha256}",',
        f'  "state_sha256": "{state}"',
        "}",
    ]
    assert sorted(unpack_arrays(members["state.npz"], "x")) == ["previous", "shots", "ticks", "weight"]


def test_who_writes_often_leaves_nothing_open(tmp_path: Path) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for k in range(5):
        write_atomically(tmp_path / "file", b"%d" % k)
        with pytest.raises(UsageError):
            write_atomically(tmp_path / "none" / "file", b"")
    assert len(os.listdir("/proc/self/fd")) == descriptors  # noqa: PTH208


def test_a_bundle_is_no_checkpoint(policy: Policy) -> None:
    with pytest.raises(CheckpointError, match="is not a checkpoint; expected the members"):
        load_checkpoint(policy.bundle.path, policy)


def test_no_such_checkpoint(policy: Policy, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot read checkpoint .*: No such file"):
        load_checkpoint(tmp_path / "none", policy)


def test_a_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    with pytest.raises(TypeError):
        write_atomically(path, "not bytes")  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_content_and_folder_reach_the_disk_in_this_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or else a power cut leaves an empty file under the name, or the old one for ever."""
    seen: list[tuple[str, object]] = []
    fsync, rename = os.fsync, Path.replace

    def synced(handle: int) -> None:
        found = os.fstat(handle)
        seen.append(("folder" if stat.S_ISDIR(found.st_mode) else "file", (found.st_ino, found.st_size)))
        fsync(handle)

    def renamed(self: Path, target: Path) -> Path:
        seen.append(("renamed", target))
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    write_atomically(tmp_path / "file", b"new")
    found, folder = (tmp_path / "file").stat(), tmp_path.stat()
    assert [what for what, _ in seen] == ["file", "renamed", "folder"]
    assert seen[0][1] == (found.st_ino, 3)
    assert seen[1][1] == tmp_path / "file"
    assert isinstance(seen[2][1], tuple)
    assert seen[2][1][0] == folder.st_ino


def test_what_cannot_be_written_is_said_before_there_is_anything_to_write(tmp_path: Path) -> None:
    """By the same sentence; and looking leaves nothing behind, and what is there as it is."""
    (tmp_path / "old").write_bytes(b"old")
    for name in ("old", "new"):
        check_writable(tmp_path / name)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("old", b"old")]
    os.mkfifo(tmp_path / "pipe")
    for path, why in (
        (tmp_path / "none" / "x", "No such file or directory"),
        (tmp_path / "pipe", "a device or"),
    ):
        for refuses in (check_writable, partial(write_atomically, data=b"1")):
            with pytest.raises(UsageError, match=rf"cannot write .*: .*{why}"):
                refuses(path)


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o027])
def test_what_the_user_keeps_to_himself_stays_so(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        for k in range(2):
            write_atomically(tmp_path / str(k), b"1")
    finally:
        after = os.umask(before)
    assert after == mask
    assert [stat.S_IMODE((tmp_path / str(k)).stat().st_mode) for k in range(2)] == [0o666 & ~mask] * 2


def test_what_a_link_leads_to_is_replaced(tmp_path: Path) -> None:
    target, link = tmp_path / "there" / "target", tmp_path / "link"
    target.parent.mkdir()
    link.symlink_to(target)
    for content in (b"1", b"2"):
        check_writable(link)
        write_atomically(link, content)
        assert link.is_symlink()
        assert target.read_bytes() == content
    assert [p.name for p in target.parent.iterdir()] == ["target"]


def test_a_folder_in_the_way_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match=r"cannot write .*folder: Is a directory"):
        write_atomically(tmp_path / "folder", b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_a_new_file_has_the_usual_rights(tmp_path: Path) -> None:
    write_atomically(tmp_path / "file", b"new")
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o666 & ~mask


WRITER = """
import sys
from pathlib import Path
from acclimate.atomic import write_atomically
write_atomically(Path(sys.argv[1]), b"a" * 200_000)
print("ready", flush=True)
while True:
    for content in (b"a", b"b"):
        write_atomically(Path(sys.argv[1]), content * 200_000)
"""


def test_killed_at_any_moment_the_file_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    for delay in (0.0, 0.003, 0.011, 0.02):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.05 + delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert path.read_bytes() in (b"a" * 200_000, b"b" * 200_000)
