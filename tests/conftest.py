"""What every end-to-end test shares: the program, the two models, servers and a way to run.

    def test_something(run, smollm2):
        assert run("run", smollm2, "Hello", "--temp", "0").stdout

    def test_served(server, smollm2):
        with_openai = server(smollm2, "--max-seqs", "4").client()
"""
import os
import pathlib
import queue
import signal
import subprocess
import tempfile
import threading

import pytest

USER_ENVIRONMENT = dict(os.environ)  # where get_model finds what is downloaded already
CACHE = tempfile.TemporaryDirectory(prefix="weft-tests-")
os.environ["XDG_CACHE_HOME"] = CACHE.name  # the programs under test keep packed weights there

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODEL_FIXTURES = {"smollm2", "gemma3", "smollm2_server"}
READY_S_MAX = 120
STOP_S_MAX = 30


def pytest_collection_modifyitems(items):
    """A test that uses a model's fixture, by argument or by a parameter of that name, is marked."""
    for item in items:
        used = set(item.fixturenames)
        if "request" in used and hasattr(item, "callspec"):
            used |= {v for v in item.callspec.params.values() if isinstance(v, str)}
        if used & MODEL_FIXTURES:
            item.add_marker(pytest.mark.model)


@pytest.fixture(scope="session")
def weft():
    """Path of the program. WEFT_BUILD names another build directory."""
    path = ROOT / os.environ.get("WEFT_BUILD", "build") / "weft"
    assert path.exists(), f"{path} is not built: run make"
    return path


def get_model(name):
    result = subprocess.run([str(ROOT / "scripts" / "get_model"), name], text=True,
                            capture_output=True, stdin=subprocess.DEVNULL, env=USER_ENVIRONMENT)
    assert result.returncode == 0, result.stderr
    return pathlib.Path(result.stdout.splitlines()[-1])


@pytest.fixture(scope="session")
def smollm2():
    """Path of SmolLM2-135M-Instruct, Q4_1."""
    return get_model("smollm2")


@pytest.fixture(scope="session")
def gemma3():
    """Path of Gemma 3 270M, Q4_K_M."""
    return get_model("gemma3-270m")


@pytest.fixture(scope="session")
def run(weft):
    """run(*args, input=..., code=0) runs weft and returns the finished process; output is text,
    or bytes when the input is bytes. code=None accepts any exit code."""
    def call(*args, input="", code=0, timeout=120, env=None):
        result = subprocess.run([str(weft), *map(str, args)], input=input, capture_output=True,
                                text=isinstance(input, str), timeout=timeout,
                                env=None if env is None else {**os.environ, **env})
        assert code is None or result.returncode == code, (
            f"exit code {result.returncode}, wanted {code}\n{result.stdout}\n{result.stderr}")
        return result
    return call


class Server:
    """A running `weft serve`, at .url (http://127.0.0.1:PORT)."""

    def __init__(self, weft, log_path, args, env=None):
        self.log_path = log_path
        with open(log_path, "wb") as log:
            self.process = subprocess.Popen(
                [str(weft), "serve", *map(str, args), "--port", "0"], text=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                env=None if env is None else {**os.environ, **env})
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.url = self._wait_until_ready()
        self.port = int(self.url.rsplit(":", 1)[1])

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line.strip())
        self.lines.put(None)

    def _wait_until_ready(self):
        while True:
            try:
                line = self.lines.get(timeout=READY_S_MAX)
            except queue.Empty:
                line = None
            if line is None:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"weft serve did not get ready:\n{self.log()}")
            if line.startswith("listening on "):
                return line.removeprefix("listening on ").rstrip("/")

    def log(self):
        return pathlib.Path(self.log_path).read_text(errors="replace")

    def client(self, **options):
        """The official openai client, without its retries, which would hide errors."""
        import openai
        settings = {"base_url": f"{self.url}/v1", "api_key": "none", "max_retries": 0,
                    "timeout": 120, **options}
        return openai.OpenAI(**settings)

    def stop(self):
        """Asks it to stop and returns the exit code; a second call only returns the code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_S_MAX)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(
                    f"weft serve did not stop in {STOP_S_MAX} s:\n{self.log()}") from None
        self.reader.join()
        self.process.stdout.close()
        return self.process.returncode


def stop_all(servers):
    """Every server is stopped, even when one of them does not go quietly."""
    problems = []
    for one in servers:
        try:
            code = one.stop()
            if code not in (0, -signal.SIGKILL):
                problems.append(f"weft serve ended with {code}:\n{one.log()}")
        except AssertionError as error:
            problems.append(str(error))
    assert not problems, "\n".join(problems)


@pytest.fixture
def server(weft, tmp_path):
    """server(MODEL, *options, env={}) starts `weft serve` on a free port and waits until it is
    ready. Stopped after the test; an exit code other than 0 fails it."""
    started = []

    def start(*args, env=None):
        started.append(Server(weft, tmp_path / f"serve-{len(started)}.log", args, env))
        return started[-1]

    yield start
    stop_all(started)


@pytest.fixture(scope="session")
def smollm2_server(weft, smollm2, tmp_path_factory):
    """One server with SmolLM2 and eight sequences, shared by the tests that only ask."""
    shared = Server(weft, tmp_path_factory.mktemp("shared") / "serve.log", [smollm2, "--max-seqs", "8"])
    yield shared
    stop_all([shared])
