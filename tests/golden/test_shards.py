"""Two ranks that share a real model find what one finds alone, within the rounding of activations.

The program `shards` (shards.c) makes the comparison; this only says where it and the models are.
"""
import subprocess

import pytest


@pytest.mark.parametrize("name", ["smollm2", "gemma3"])
def test_two_ranks_find_what_one_finds(weft, request, name):
    model = str(request.getfixturevalue(name))
    program = weft.parent / "tests" / "golden" / "shards"
    assert program.exists(), f"{program} is not built: run make"
    done = subprocess.run([str(program), model], capture_output=True, text=True, timeout=600)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("ok ")
