"""Where weights lie in memory: packed and never twice, or left in the file."""
import json
import os
import subprocess

import numpy
import pytest


def logits(run, model, path, *options):
    tokens = path / "ids.json"
    tokens.write_text(json.dumps([1, 504, 3575, 282, 4649, 314, 260, 216]))
    run("logits", model, "--tokens", tokens, "--out", path / "out.npy", *options)
    return numpy.load(path / "out.npy")


@pytest.mark.parametrize("model", ["smollm2", "gemma3"])
def test_weights_left_in_the_file_give_the_same_bits(run, request, tmp_path, model):
    file = request.getfixturevalue(model)
    packed = logits(run, file, tmp_path)
    mapped = logits(run, file, tmp_path, "--weights", "mapped")
    assert numpy.isfinite(packed).all() and (packed == mapped).all()


def rows_of(err):
    """The rows of --verbose's memory table: name -> (planned, actual) in MiB."""
    rows = {}
    for line in err.splitlines():
        words = line.split()
        if len(words) >= 5 and words[-1] in UNITS and words[-3] in UNITS:
            rows[" ".join(words[:-4])] = (float(words[-4]) * UNITS[words[-3]],
                                          float(words[-2]) * UNITS[words[-1]])
    return rows


UNITS = {"B": 1 / (1 << 20), "KiB": 1 / 1024, "MiB": 1, "GiB": 1024}
ANSWER = ("Hello", "--ctx", "256", "--max-tokens", "4", "--temp", "0", "--verbose", "--threads", "2",
          "--pack-cache", "off")


def run_watched(weft, *args):
    """stderr and the most memory that was resident at any time, in MiB."""
    with subprocess.Popen([str(weft), "run", *map(str, args)], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        err = process.stderr.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, err
    return err, usage.ru_maxrss / 1024


@pytest.mark.parametrize("model", ["smollm2", "gemma3"])
def test_weights_are_never_in_memory_twice(weft, request, model):
    """Most of Gemma 3 is one tensor: it must not be held in both forms even for a moment."""
    err, peak = run_watched(weft, request.getfixturevalue(model), *ANSWER)
    planned, _ = rows_of(err)["total"]
    assert peak <= planned * 1.05, f"{peak} MiB at most, {planned} MiB planned"


def test_weights_left_in_the_file_save_their_memory(weft, gemma3):
    err, _ = run_watched(weft, gemma3, *ANSWER, "--weights", "mapped")
    rows = rows_of(err)
    assert rows["weights"][0] < 2 and rows["in the file"][0] > 200
    planned, actual = rows["total"]
    assert actual <= planned and planned < 100, rows


def test_a_budget_below_the_weights_is_enough_when_they_are_left(run, gemma3):
    options = ("Hello", "--ctx", "256", "--max-tokens", "2", "--mem", "150M")
    assert "too small" in run("run", gemma3, *options, code=1).stderr
    assert run("run", gemma3, *options, "--weights", "mapped").returncode == 0
    assert "wanted packed or mapped" in run("run", gemma3, "Hi", "--weights", "some", code=2).stderr
