#!/usr/bin/env python3
"""Speed, memory and start of weft beside llama.cpp, in one run on one machine.

usage: compare_llama.py --weft build/weft --llama-bench PATH [options] MODEL.gguf...

The two programs take turns, run by run, so that a busy moment of the machine falls on both alike;
what is printed are medians over --runs. See README.md in this folder for what each column means.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
import time

PROMPT = "Hi"
MIB = 1024 * 1024


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
            print(table(args, result))


def arguments():
    p = argparse.ArgumentParser(description="weft beside llama.cpp: tok/s, memory, time to start")
    p.add_argument("models", nargs="+", metavar="MODEL.gguf")
    p.add_argument("--weft", default=os.path.join("build", "weft"))
    p.add_argument("--llama-bench", required=True)
    p.add_argument("--llama-completion", help="also measure process start to first token with it")
    p.add_argument("--runs", type=int, default=5, help="turns of each program (default 5)")
    p.add_argument("--reps", type=int, default=1, help="repetitions inside a turn (default 1)")
    p.add_argument("--prompt", type=int, default=512, help="tokens of prefill (default 512)")
    p.add_argument("--gen", type=int, default=128, help="tokens of decode (default 128)")
    p.add_argument("--depth", default="0", help="contexts already there, a comma list (default 0)")
    p.add_argument("--threads", type=int, help="of both (default: every core allowed)")
    p.add_argument("--json", action="store_true", help="all samples as JSON instead of tables")
    p.add_argument("--no-load-warning", dest="load_warning", action="store_false")
    args = p.parse_args()
    args.threads = args.threads or len(os.sched_getaffinity(0))
    args.depths = [int(d) for d in args.depth.split(",")]
    return args


def compare(args, model):
    """All samples of one model: {row: {program: [values]}} beside what was asked."""
    samples = {}
    for run in range(args.runs):
        for depth in args.depths:
            turns = [("weft", weft_bench), ("llama.cpp", llama_bench)]
            for program, bench in turns if run % 2 == 0 else reversed(turns):
                speeds, peak = bench(args, model, depth)
                for test, tok_s in speeds.items():
                    add(samples, f"{test}, depth {depth}, tok/s", program, tok_s)
                add(samples, f"peak memory, depth {depth}, MiB", program, peak / MIB)
        for program, command in start_commands(args, model):
            seconds, peak = first_byte(command)
            add(samples, "process start to first token, ms", program, seconds * 1000)
            add(samples, "peak memory of that, MiB", program, peak / MIB)
        print(f"{os.path.basename(model)}: run {run + 1} of {args.runs}", file=sys.stderr)
    return {"model": os.path.basename(model), "threads": args.threads, "prompt": args.prompt,
            "gen": args.gen, "runs": args.runs, "samples": samples}


def add(samples, row, program, value):
    samples.setdefault(row, {}).setdefault(program, []).append(value)


# ---- the two benches ----

def weft_bench(args, model, depth):
    out, peak = measured([args.weft, "bench", model, "--json", "--prompt", str(args.prompt),
                          "--gen", str(args.gen), "--depth", str(depth),
                          "--threads", str(args.threads), "--reps", str(args.reps)])
    return weft_speeds(out), peak


def weft_speeds(text):
    """{"prefill": tok/s, "decode": tok/s} from `weft bench --json`, batch 1."""
    return {r["test"]: r["tok_s"] for r in json.loads(text)["results"] if r["batch"] == 1}


def llama_bench(args, model, depth):
    out, peak = measured([args.llama_bench, "-m", model, "-o", "json", "-p", str(args.prompt),
                          "-n", str(args.gen), "-d", str(depth), "-t", str(args.threads),
                          "-r", str(args.reps)])
    return llama_speeds(out), peak


def llama_speeds(text):
    """The same from `llama-bench -o json`: a list of tests with their samples."""
    out = {}
    for r in json.loads(text):
        test = "prefill" if r["n_gen"] == 0 else "decode"
        out[test] = statistics.median(r["samples_ts"])
    return out


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


# ---- process start to first token ----

def start_commands(args, model):
    threads = str(args.threads)
    yield "weft", [args.weft, "run", model, PROMPT, "--temp", "0", "--max-tokens", "1",
                   "--threads", threads]
    if args.llama_completion:
        yield "llama.cpp", [args.llama_completion, "-m", model, "-p", PROMPT, "-n", "1",
                            "--temp", "0", "-t", threads, "-c", "8192", "--jinja", "-st",
                            "--no-display-prompt"]


def first_byte(command):
    """Seconds from the start of the process to the first byte of its answer, and its peak memory.
    Standard error, where programs log, is thrown away."""
    begin = time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, bufsize=0)
    byte = process.stdout.read(1)
    seconds = time.monotonic() - begin
    process.stdout.read()
    status, peak = wait(process)
    if status != 0 or not byte:
        sys.exit(f"{' '.join(command)}: exit {status}, "
                 f"{'no output' if not byte else 'after its output'}")
    return seconds, peak


# ---- the report ----

def table(args, result):
    lines = [f"### {result['model']}, {result['threads']} threads, prompt {result['prompt']}, "
             f"gen {result['gen']}, medians of {result['runs']}", "",
             "| | weft | llama.cpp | weft / llama.cpp | spread of each |",
             "|---|---:|---:|---:|---|"]
    for row, by_program in result["samples"].items():
        ours, theirs = by_program.get("weft"), by_program.get("llama.cpp")
        cells = [median_text(ours), median_text(theirs)]
        ratio = f"{statistics.median(ours) / statistics.median(theirs):.2f}" if ours and theirs \
            else "-"
        lines.append(f"| {row} | {cells[0]} | {cells[1]} | {ratio} | "
                     f"{spread_text(ours)}; {spread_text(theirs)} |")
    return "\n".join(lines) + "\n"


def median_text(values):
    return f"{statistics.median(values):.1f}" if values else "-"


def spread_text(values):
    return f"{min(values):.1f} to {max(values):.1f}" if values else "-"


if __name__ == "__main__":
    main()
