"""The commands as a person or a script uses them."""
import json
import os
import pathlib
import re
import signal
import subprocess

import numpy
import pytest

COMMANDS = ["run", "serve", "bench", "bench-serve", "info", "tokenize", "template", "logits"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(run, command):
    text = run(command, "--help").stdout
    assert text.startswith(f"usage: weft {command}") and "example:" in text


@pytest.mark.parametrize("page", ["serving.md", "commands/serve.md"])
def test_every_option_of_serve_is_explained(run, page):
    text = (pathlib.Path(__file__).resolve().parents[2] / "docs" / page).read_text()
    options = re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", run("serve", "--help").stdout, re.M)
    assert len(options) > 15
    assert [o for o in options if not re.search(rf"{o}\b", text) and o != "--help"] == []


def test_wrong_usage_is_exit_2_and_one_line(run):
    for args in ([], ["nonsense"], ["run"], ["run", "m", "p", "extra"], ["bench", "m", "--wibble"],
                 ["run", "m", "p", "--temp", "hot"], ["run", "m", "p", "--ctx", "0"],
                 ["run", "m", "p", "--kv-type", "q9"], ["bench", "m", "--cpu-mask", "sse9"],
                 ["run", "m", "p", "--act-type", "f16"], ["serve", "m", "--act-type", "q8_0"],
                 ["run", "m", "p", "--top-p", "0"], ["serve", "m", "--api-key", ""],
                 ["logits", "m", "--tokens", "t", "--out", "o", "--device", "abacus"],
                 ["logits", "m"], ["serve", "m", "--port", "70000"], ["info", "--json=1"]):
        result = run(*args, code=2)
        assert result.stdout == "" and result.stderr
        assert not args or len(result.stderr.splitlines()) == 1


def test_version(run):
    assert run("--version").stdout.startswith("weft ")


def test_activations_that_the_processor_lacks_are_refused_by_name(run, smollm2):
    result = run("run", smollm2, "hello", "--act-type", "bf16", "--cpu-mask", "avx2", code=1)
    assert result.stdout == "" and len(result.stderr.splitlines()) == 1
    assert "avx512bf16 or amxbf16" in result.stderr and "avx2" in result.stderr


# ---- run ----

def test_run_answers_a_prompt(run, smollm2):
    first = run("run", smollm2, "Say hello.", "--temp", "0", "--max-tokens", "16")
    again = run("run", smollm2, "Say hello.", "--temp", "0", "--max-tokens", "16")
    assert first.stdout.strip() and first.stdout == again.stdout and first.stderr == ""


def test_run_takes_the_prompt_from_a_pipe(run, smollm2):
    options = ["--temp", "0", "--max-tokens", "12"]
    argument = run("run", smollm2, "Say hello.", *options).stdout
    assert run("run", smollm2, *options, input="Say hello.\n").stdout == argument
    both = run("run", smollm2, "Say", *options, input="hello.").stdout
    assert both == run("run", smollm2, "Say\n\nhello.", *options).stdout


def test_run_with_an_empty_prompt_is_one_line(run, smollm2):
    result = run("run", smollm2, input="", code=1)
    assert len(result.stderr.splitlines()) == 1 and "empty" in result.stderr


def test_run_with_a_prompt_longer_than_the_context(run, smollm2):
    result = run("run", smollm2, "word " * 300, "--ctx", "64", code=1)
    assert len(result.stderr.splitlines()) == 1 and "64" in result.stderr


def test_run_seed_repeats(run, smollm2):
    def answer(seed):
        return run("run", smollm2, "Invent a name.", "--seed", seed, "--temp", "1.5",
                   "--max-tokens", "16").stdout
    assert answer(3) == answer(3) and answer(3) != answer(4)


def test_run_is_the_same_at_any_thread_count(run, smollm2):
    options = ["--temp", "0", "--max-tokens", "24"]
    one = run("run", smollm2, "Describe the sea.", "--threads", "1", *options).stdout
    assert run("run", smollm2, "Describe the sea.", "--threads", "2", *options).stdout == one


def test_run_verbose_prints_speed_and_memory(run, smollm2):
    err = run("run", smollm2, "Hi", "--max-tokens", "4", "--verbose").stderr
    for word in ("tok/s", "first token", "planned", "actual", "kv cache", "total"):
        assert word in err


def test_run_continues_plain_text_of_a_base_model(run, gemma3):
    text = run("run", gemma3, "One, two, three,", "--temp", "0", "--max-tokens", "8").stdout
    assert "four" in text


def test_interrupt_stops_the_answer_not_the_program(weft, smollm2):
    with subprocess.Popen([str(weft), "run", str(smollm2), "Tell a story.", "--ignore-eos"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout.read(10)
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(20) == 0


def test_a_reader_that_leaves_ends_the_answer(weft, smollm2):
    with subprocess.Popen([str(weft), "run", str(smollm2), "Tell a story.", "--ignore-eos"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True) as process:
        process.stdout.read(10)
        process.stdout.close()
        assert process.wait(20) == 1
        assert len(process.stderr.read().splitlines()) == 1


def test_a_budget_that_is_too_small_says_what_would_fit(run, smollm2):
    result = run("run", smollm2, "Hi", "--mem", "200M", code=1)
    assert "would fit" in result.stderr and len(result.stderr.splitlines()) == 1


# ---- tools ----

def test_tokenize_empty_input_is_an_empty_array(run, smollm2):
    assert run("tokenize", smollm2, input="").stdout == "[]\n"


def test_tokenize_recognises_special_tokens(run, smollm2, gemma3):
    assert json.loads(run("tokenize", smollm2, input="<|im_start|>Hello").stdout)[0] == 1
    with_bos = json.loads(run("tokenize", gemma3, input="Hello").stdout)
    without = json.loads(run("tokenize", gemma3, "--no-special", input="Hello").stdout)
    assert with_bos == [2, *without]


def test_template_of_a_hugging_face_folder(run, tmp_path):
    request = '{"messages": [{"role": "user", "content": "Hi"}]}'
    config = tmp_path / "tokenizer_config.json"
    assert "no chat_template.jinja" in run("template", tmp_path, input=request, code=1).stderr
    source = "{{ bos_token }}{{ messages[0].content }}{{ eos_token }}"
    rest = '"added_tokens_decoder": {"0": {"content": "x", "list": [1, {}]}}, "chat_template": '
    for template, want in [(source, "<s>Hi</s>"), (None, None), (3, None), ([], None), (
            [7, {"template": source + "!", "name": "default", "x": [1]},
             {"name": "tool_use", "template": "?"}], "<s>Hi</s>!")]:
        config.write_text('{"bos_token": {"content": "<s>", "lstrip": false}, "eos_token": "</s>", '
                          + rest + json.dumps(template) + ', "pad_token": null}')
        ran = run("template", tmp_path, input=request, code=0 if want else 1)
        assert ran.stdout == (want or "")
    (tmp_path / "chat_template.jinja").write_text("file {{ bos_token }}")
    assert run("template", tmp_path, input=request).stdout == "file <s>"
    config.write_text('{"bos_token": ')
    assert "tokenizer_config.json: line 1, column 15" in run(
        "template", tmp_path, input=request, code=1).stderr
    config.unlink()
    assert run("template", tmp_path, input=request).stdout == "file "


def test_template_with_model_and_with_file(run, smollm2, tmp_path):
    request = json.dumps({"messages": [{"role": "user", "content": "Hi"}]})
    text = run("template", smollm2, input=request).stdout
    assert text.endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    bare = tmp_path / "bare.jinja"
    bare.write_text("{{ name | upper }}{% if not missing %}!{% endif %}")
    assert run("template", bare, input='{"name": "weft"}').stdout == "WEFT!"


def test_logits_shape_and_type(run, smollm2, tmp_path):
    ids, out = tmp_path / "ids.json", tmp_path / "out.npy"
    ids.write_text("[504, 6376, 314]")
    run("logits", smollm2, "--tokens", ids, "--out", out)
    logits = numpy.load(out)
    assert logits.shape == (3, 49152) and logits.dtype == numpy.float32
    assert numpy.isfinite(logits).all()


def test_logits_to_a_full_disk_is_one_line(run, smollm2, tmp_path):
    ids = tmp_path / "ids.json"
    ids.write_text("[504]")
    if not os.path.exists("/dev/full"):
        pytest.fail("this system has no /dev/full")
    result = run("logits", smollm2, "--tokens", ids, "--out", "/dev/full", code=1)
    assert len(result.stderr.splitlines()) == 1 and "No space left" in result.stderr


def test_bench_prints_what_scripts_read(run, smollm2):
    text = run("bench", smollm2, "--prompt", "16", "--gen", "4", "--depth", "8", "--batch", "1,2",
               "--reps", "1", "--json").stdout
    document = json.loads(text)
    assert document["act_type"] == "f32"
    tests = [(r["test"], r["batch"], r["depth"]) for r in document["results"]]
    assert tests == [("prefill", 1, 8), ("decode", 1, 8), ("decode", 2, 8)]
    for result in document["results"]:
        assert result["tok_s"] > 0 and result["limit"] in ("bytes", "ops") and result["fraction"] > 0
        assert set(result) == {"test", "n_tokens", "depth", "batch", "threads", "tok_s", "limit",
                               "fraction"}


def test_info_of_machine_and_model(run, gemma3):
    machine = json.loads(run("info", "--json").stdout)
    assert machine["cores"] >= 1 and machine["read_gb_s"] > 0 and machine["int8_gop_s"] > 0
    assert machine["read_one_thread_gb_s"] > 0 and machine["f32_gflop_s"] > 0
    assert machine["bf16_gflop_s"] > 0 and machine["bf16_acts_gflop_s"] >= 0 and 0 < machine["parallel_loop_us"] < 1000
    assert all(machine[f"cache_l{i}_bytes"] >= 0 for i in (1, 2, 3))
    sets = machine["instruction_sets"].split()
    for level in machine["product_peaks"]:
        assert level["instruction_set"] in sets and level["int8_gop_s"] > 0
    model = json.loads(run("info", gemma3, "--json").stdout)
    assert model["geometry"]["n_layers"] == 18 and len(model["geometry"]["kv_groups"]) == 2
    assert model["metadata"]["general.architecture"] == "gemma3"
    assert len(model["tensors"]) == 236
    assert "gemma3" in run("info", gemma3).stdout


def test_memory_stays_within_the_plan(weft, smollm2):
    """A full context is filled; what is resident then is the plan, give or take a few percent."""
    with subprocess.Popen([str(weft), "run", str(smollm2), "word " * 850, "--ctx", "1024",
                           "--max-tokens", "100", "--ignore-eos", "--verbose"],
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True) as process:
        _, err = process.communicate(timeout=120)
    row = next(line for line in err.splitlines() if line.strip().startswith("total"))
    planned, actual = (float(row.split()[i]) for i in (1, 3))
    assert row.split()[2] == row.split()[4] == "MiB"
    assert actual <= planned * 1.01 and actual >= planned * 0.95, row
