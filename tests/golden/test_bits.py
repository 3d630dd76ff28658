"""On both real models the bits of a row do not depend on what it is batched with.

The program `bits` (bits.c) makes the comparisons; this only says where it and the models are.
"""
import subprocess

import pytest

CHECKS = 7


@pytest.mark.parametrize("name", ["smollm2", "gemma3"])
def test_rows_do_not_depend_on_their_batch(weft, request, name):
    model = str(request.getfixturevalue(name))
    program = weft.parent / "tests" / "golden" / "bits"
    assert program.exists(), f"{program} is not built: run make"
    done = subprocess.run([str(program), model], capture_output=True, text=True, timeout=1800)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok ") == CHECKS
