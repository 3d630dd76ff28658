#!/usr/bin/env python3
"""Speed, memory and start of weft beside llama.cpp, in one run on one machine.

usage: compare_llama.py --weft build/weft --llama-bench PATH [options] MODEL.gguf...

The programs take turns, run by run, so that a busy moment of the machine falls on all alike; what
is printed are medians over --runs. A third one, such as ik_llama.cpp or another build, may take
part. See README.md in this folder for what each row means.
"""
import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import threading
import time

PROMPT = "Hi"
MIB = 1024 * 1024
LLAMA_CTX_MIN = 512  # its warm-up takes room too
OURS, THEIRS = "weft", "llama.cpp"


def main():
    args = arguments()
    if args.load_warning and os.getloadavg()[0] > 0.5:
        print(f"warning: load average {os.getloadavg()[0]:.2f}, something else is running",
              file=sys.stderr)
    results = []
    for model in args.models:
        results.append(compare(args, model))
    if args.json:
        print(json.dumps(results, indent=2))
    else:
        for result in results:
            print(table(result))


def arguments():
    p = argparse.ArgumentParser(description="weft beside llama.cpp: tok/s, memory, time to start")
    p.add_argument("models", nargs="+", metavar="MODEL.gguf")
    p.add_argument("--weft", default=os.path.join("build", "weft"))
    p.add_argument("--weft-options", default="", help="more of `weft bench`")
    p.add_argument("--llama-bench", required=True, metavar="PATH")
    p.add_argument("--llama-batched-bench", metavar="PATH",
                   help="for --batch (default: the one beside llama-bench)")
    p.add_argument("--llama-completion", metavar="PATH",
                   help="also measure process start to first token with it")
    p.add_argument("--other-llama", metavar="PATH",
                   help="llama-bench of a third program; at depth 0, one sequence")
    p.add_argument("--other-options", action="append", metavar="TEXT",
                   help="more of that, e.g. '-rtr 1'; each time given, it takes one more turn")
    p.add_argument("--other-name", default="other", help="of it, in the table (default %(default)s)")
    p.add_argument("--runs", type=int, default=5, help="turns of each program (default 5)")
    p.add_argument("--reps", type=int, default=1, help="repetitions inside a turn (default 1)")
    p.add_argument("--prompt", type=int, default=512, help="tokens of prefill (default 512)")
    p.add_argument("--gen", type=int, default=128, help="tokens of decode (default 128)")
    p.add_argument("--depth", default="0", help="contexts already there, a comma list (default 0)")
    p.add_argument("--batch", default="",
                   help="sequences that decode together, a comma list (default: not measured)")
    p.add_argument("--cold", action="store_true",
                   help="start to first token without packed weights kept on disk, and with them")
    p.add_argument("--threads", type=int, help="of all (default: every core allowed)")
    p.add_argument("--json", action="store_true", help="all samples as JSON instead of tables")
    p.add_argument("--no-load-warning", dest="load_warning", action="store_false")
    args = p.parse_args()
    args.threads = args.threads or len(os.sched_getaffinity(0))
    args.depths = numbers(args.depth)
    args.batches = numbers(args.batch)
    args.llama_batched_bench = args.llama_batched_bench or os.path.join(
        os.path.dirname(args.llama_bench), "llama-batched-bench")
    return args


def numbers(text):
    return [int(n) for n in text.split(",") if n]


def compare(args, model):
    """All samples of one model: {row: {program: [values]}} beside what was asked."""
    samples = {}
    for run in range(args.runs):
        for depth in args.depths:
            for program, bench in in_turn(run, benches(args, depth)):
                speeds, peak = bench(args, model, depth)
                for test, tok_s in speeds.items():
                    add(samples, f"{test}, depth {depth}, tok/s", program, tok_s)
                add(samples, f"peak memory, depth {depth}, MiB", program, peak / MIB)
            for batch in args.batches:
                row = f"decode, {batch} sequences, depth {depth}"
                for program, bench in in_turn(run, [(OURS, weft_batch), (THEIRS, llama_batch)]):
                    tok_s, peak = bench(args, model, depth, batch)
                    add(samples, f"{row}, tok/s", program, tok_s)
                    add(samples, f"{row}, peak memory, MiB", program, peak / MIB)
        starts(args, model, run, samples)
        print(f"{os.path.basename(model)}: run {run + 1} of {args.runs}", file=sys.stderr)
    return {"model": os.path.basename(model), "threads": args.threads, "prompt": args.prompt,
            "gen": args.gen, "runs": args.runs, "samples": samples}


def in_turn(run, programs):
    """The same, beginning with another one in each run."""
    at = run % len(programs)
    return programs[at:] + programs[:at]


def add(samples, row, program, value):
    samples.setdefault(row, {}).setdefault(program, []).append(value)


# ---- prefill and decode of one sequence ----

def benches(args, depth):
    programs = [(OURS, weft_bench), (THEIRS, llama_bench)]
    if args.other_llama and depth == 0:  # ik_llama.cpp's has no -d
        for options in args.other_options or [""]:
            programs.append((f"{args.other_name} {options}".strip(), other_bench(options)))
    return programs


def weft_bench(args, model, depth):
    out, peak = measured(weft_command(args, model, depth, args.prompt, 1))
    return {r["test"]: r["tok_s"] for r in json.loads(out)["results"]}, peak


def weft_command(args, model, depth, prompt, batch):
    return [args.weft, "bench", model, "--json", "--prompt", str(prompt), "--gen", str(args.gen),
            "--depth", str(depth), "--batch", str(batch), "--threads", str(args.threads),
            "--reps", str(args.reps), *shlex.split(args.weft_options)]


def llama_bench(args, model, depth):
    out, peak = measured([*llama_command(args.llama_bench, args, model), "-d", str(depth)])
    return llama_speeds(out), peak


def other_bench(options):
    def bench(args, model, depth):
        command = llama_command(args.other_llama, args, model)
        out, peak = measured([*command, *shlex.split(options)])
        return llama_speeds(out), peak
    return bench


def llama_command(program, args, model):
    return [program, "-m", model, "-o", "json", "-p", str(args.prompt), "-n", str(args.gen),
            "-t", str(args.threads), "-r", str(args.reps)]


def llama_speeds(text):
    """{"prefill": tok/s, "decode": tok/s} from `llama-bench -o json`: tests with their samples."""
    out = {}
    for r in json.loads(text):
        test = "prefill" if r["n_gen"] == 0 else "decode"
        out[test] = statistics.median(r["samples_ts"])
    return out


# ---- decode of several sequences together ----

def weft_batch(args, model, depth, batch):
    out, peak = measured(weft_command(args, model, depth, 0, batch))
    return json.loads(out)["results"][0]["tok_s"], peak


def llama_batch(args, model, depth, batch):
    """Sequences without a context have one token of it there: it cannot have none."""
    context = max(batch * (max(depth, 1) + args.gen), LLAMA_CTX_MIN)
    speeds = []
    for _ in range(args.reps):
        out, peak = measured([args.llama_batched_bench, "-m", model, "-npp", str(max(depth, 1)),
                              "-ntg", str(args.gen), "-npl", str(batch), "-c", str(context),
                              "-t", str(args.threads), "--output-format", "jsonl"])
        lines = [line for line in out.decode().splitlines() if line.startswith("{")]
        speeds.append(json.loads(lines[0])["speed_tg"])
    return statistics.median(speeds), peak


# ---- process start to first token ----

def starts(args, model, run, samples):
    """With --cold, weft keeps packed weights in a folder of its own: empty, then not."""
    if not args.cold:
        start(args, model, run, samples, "process start to first token", None)
        return
    with tempfile.TemporaryDirectory(prefix="weft-cold-") as folder:
        env = {**os.environ, "XDG_CACHE_HOME": folder}
        start(args, model, run, samples, "process start to first token, nothing packed", env)
        start(args, model, run, samples, "process start to first token, packed before", env)


def start(args, model, run, samples, row, env):
    for program, command in in_turn(run, start_commands(args, model)):
        seconds, peak = first_byte(command, env)
        add(samples, f"{row}, ms", program, seconds * 1000)
        add(samples, f"{row}, peak memory, MiB", program, peak / MIB)


def start_commands(args, model):
    threads = str(args.threads)
    commands = [(OURS, [args.weft, "run", model, PROMPT, "--temp", "0", "--max-tokens", "1",
                        "--threads", threads])]
    if args.llama_completion:
        commands.append((THEIRS, [args.llama_completion, "-m", model, "-p", PROMPT, "-n", "1",
                                  "--temp", "0", "-t", threads, "-c", "8192", "--jinja", "-st",
                                  "--no-display-prompt"]))
    return commands


def first_byte(command, env):
    """Seconds from the start of the process to the first byte of its answer, and its peak memory.
    Standard error, where programs log, is thrown away."""
    begin = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, bufsize=0, env=env)
    byte = process.stdout.read(1)
    seconds = time.monotonic() - begin
    process.stdout.read()
    status, peak = wait(process)
    if status != 0 or not byte:
        sys.exit(f"{' '.join(command)}: exit {status}, "
                 f"{'no output' if not byte else 'after its output'}")
    return seconds, peak


# ---- processes ----

def measured(command):
    """Standard output of a command, and the most memory it had resident, in bytes."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    errors = []
    reader = threading.Thread(target=lambda: errors.append(process.stderr.read()))
    reader.start()
    out = process.stdout.read()
    reader.join()
    status, peak = wait(process)
    if status != 0:
        sys.exit(f"{' '.join(command)}: exit {status}: {errors[0].decode(errors='replace')[-500:]}")
    return out, peak


def wait(process):
    """Exit status and peak resident bytes; wait4 instead of Popen.wait, for its usage record."""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024
    return process.returncode, usage.ru_maxrss * unit


# ---- the report ----

def table(result):
    samples = result["samples"]
    programs = list(dict.fromkeys(p for row in samples.values() for p in sorted_ours_first(row)))
    others = [p for p in programs if p != OURS]
    lines = [f"### {result['model']}, {result['threads']} threads, prompt {result['prompt']}, "
             f"gen {result['gen']}, medians of {result['runs']}", "",
             row_text(["", *programs, *(f"weft / {p}" for p in others), "spread of each"]),
             row_text(["---", *["---:"] * (len(programs) + len(others)), "---"])]
    for row, values in samples.items():
        lines.append(row_text([row, *(median_text(values.get(p)) for p in programs),
                               *(ratio_text(values.get(OURS), values.get(p)) for p in others),
                               "; ".join(spread_text(values.get(p)) for p in programs)]))
    return "\n".join(lines) + "\n"


def sorted_ours_first(programs):
    return sorted(programs, key=lambda p: (p != OURS, p != THEIRS, p))


def row_text(cells):
    return f"| {' | '.join(cells)} |"


def median_text(values):
    return f"{statistics.median(values):.1f}" if values else "-"


def ratio_text(ours, theirs):
    if not ours or not theirs:
        return "-"
    return f"{statistics.median(ours) / statistics.median(theirs):.2f}"


def spread_text(values):
    return f"{min(values):.1f} to {max(values):.1f}" if values else "-"


if __name__ == "__main__":
    main()
