"""The chat on a terminal, through a pseudo-terminal."""
import json
import os
import pty
import select
import signal
import subprocess
import time

import pytest


class Terminal:
    """`weft run MODEL` with a terminal on its three streams."""

    def __init__(self, weft, *args):
        self.master, slave = pty.openpty()
        self.process = subprocess.Popen([str(weft), "run", *map(str, args)], stdin=slave,
                                        stdout=slave, stderr=slave, start_new_session=True,
                                        env={**os.environ, "TERM": "dumb"})
        os.close(slave)
        self.text = ""

    def read_until(self, wanted, seconds=60):
        """What came since the last call, up to and with `wanted`."""
        end = time.monotonic() + seconds
        while wanted not in self.text:
            left = end - time.monotonic()
            assert left > 0, f"no {wanted!r} in {self.text!r}"
            if select.select([self.master], [], [], left)[0]:
                try:
                    self.text += os.read(self.master, 65536).decode(errors="replace")
                except OSError:  # the program has ended
                    assert wanted in self.text, self.text
        found = self.text.index(wanted) + len(wanted)
        got, self.text = self.text[:found], self.text[found:]
        return got

    def say(self, line):
        os.write(self.master, (line + "\n").encode())
        self.read_until(line.splitlines()[0] if line else "\n")

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.fixture
def chat(weft, smollm2):
    terminal = Terminal(weft, smollm2, "--temp", "0", "--max-tokens", "24", "--ctx", "1024")
    terminal.read_until(">>> ")
    yield terminal
    terminal.close()


def test_answers_and_ends(chat):
    chat.say("Hello there")
    assert len(chat.read_until(">>> ").strip()) > 5
    chat.say("/bye")
    assert chat.process.wait(20) == 0


def test_help_and_unknown_commands(chat):
    chat.say("/help")
    text = chat.read_until(">>> ")
    for command in ("/help", "/clear", "/system", "/save", "/load", "/set", "/show", "/bye"):
        assert command in text
    chat.say("/wibble")
    assert "unknown command" in chat.read_until(">>> ")


def test_save_load_clear_and_system(chat, tmp_path):
    saved = tmp_path / "talk.json"
    chat.say("/system You are brief.")
    chat.read_until(">>> ")
    chat.say("Hello there")
    chat.read_until(">>> ")
    chat.say(f"/save {saved}")
    assert "saved 3 messages" in chat.read_until(">>> ")
    messages = json.loads(saved.read_text())["messages"]
    assert [m["role"] for m in messages] == ["system", "user", "assistant"]
    assert messages[0]["content"] == "You are brief."
    chat.say("/clear")
    assert "empty" in chat.read_until(">>> ")
    chat.say(f"/load {saved}")
    assert "3 messages" in chat.read_until(">>> ")


def test_save_where_it_cannot_be_written_is_said(chat, tmp_path):
    chat.say(f"/save {tmp_path}/no/such/folder/talk.json")
    assert "No such file" in chat.read_until(">>> ")
    chat.say("/load /no/such/file")
    assert "/no/such/file" in chat.read_until(">>> ")


def test_set_and_show(chat):
    chat.say("/set temp 0.25")
    chat.read_until(">>> ")
    chat.say("/set temp hot")
    assert "wanted" in chat.read_until(">>> ")
    chat.say("/show")
    text = chat.read_until(">>> ")
    assert "temp 0.25" in text and "planned" in text and "context" in text


def test_messages_of_several_lines(chat, tmp_path):
    chat.say('"""')
    chat.read_until("... ")
    chat.say("first line")
    chat.read_until("... ")
    chat.say("second line")
    chat.read_until("... ")
    chat.say('"""')
    chat.read_until(">>> ")
    chat.say(f"/save {tmp_path}/talk.json")
    chat.read_until(">>> ")
    messages = json.loads((tmp_path / "talk.json").read_text())["messages"]
    assert messages[0]["content"] == "first line\nsecond line\n"


def test_interrupt_stops_the_answer_and_keeps_the_chat(chat):
    chat.say("/set max_tokens 900")
    chat.read_until(">>> ")
    chat.say("Tell me a very long story about a ship.")
    chat.read_until(" ", 60)
    time.sleep(0.3)
    os.killpg(chat.process.pid, signal.SIGINT)
    chat.read_until(">>> ", 20)
    chat.say("/bye")
    assert chat.process.wait(20) == 0
