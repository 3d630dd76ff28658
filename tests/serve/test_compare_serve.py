"""bench/compare_serve.py: two servers in one table, and what the threads of a weft use."""
import importlib.util
import json
import os
import subprocess
import sys
import time

import pytest

from conftest import ROOT

SCRIPT = ROOT / "bench" / "compare_serve.py"


@pytest.fixture
def compare_serve():
    spec = importlib.util.spec_from_file_location("compare_serve", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_processor_time_is_told_by_thread(compare_serve):
    me = os.getpid()

    def mine():
        return {name: s for (tid, name), s in compare_serve.thread_seconds(me).items() if tid == me}

    before, used = mine(), time.thread_time()
    while time.thread_time() - used < 0.5:
        pass
    after = mine()
    assert len(before) == 1 and before.keys() == after.keys()
    (name, seconds), = after.items()
    assert 0.4 <= seconds - before[name] <= 0.6
    assert compare_serve.thread_seconds(2 ** 30) == {}


def test_the_http_thread_is_in_the_table(weft, smollm2):
    command = [sys.executable, str(SCRIPT), "--weft", str(weft), "--other-weft", str(weft), str(smollm2), "--users", "2",
               "--prompt", "8", "--gen", "16", "--rounds", "1", "--threads", "2", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    for side in json.loads(done.stdout)["2"]["results"]:
        threads = side["threads_percent"]
        assert {"weft", "weft-engine", "weft-1"} <= threads.keys()  # distinct: none hides another
        assert side["http_thread_percent"] == threads["weft"] < threads["weft-engine"]
    row = next(line for line in done.stderr.splitlines() if "HTTP thread, % of a core" in line)
    assert row.startswith("| 2 users: ") and float(row.split("|")[2]) == round(
        json.loads(done.stdout)["2"]["results"][0]["http_thread_percent"], 1)
