"""From the data to the book for one profile: `make reproduce PROFILE=quick`.

    data ──> train (one job per block and seed) ──> report (three notebooks) ──> book

What is stale is decided by content, not by time stamps (tools/staleness.py): a job whose code, notebook,
parameters, data or pinned packages have changed gets one more input, a marker that is newer than its
output, and so do those that read its output. Every other input is `ancient`, so that neither a fresh clone
nor a changed comment starts hours of training; outside the profile quick, a run that is trained is only
trained again when it is asked for (STALE=retrain).

profiles/default/ holds the options of a run on this machine, profiles/slurm/ those of a cluster.
"""

import sys
import time
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir, "tools")))
from staleness import NOTEBOOKS, Profile

PROFILE = config.get("profile", "quick")
BUILD = f"_build/{PROFILE}"
PAPER = f"{BUILD}/source"  # a copy of the book's sources that shows this profile
try:
    STEPS = Profile(PROFILE)
    KEEP = STEPS.keeps_runs(config.get("stale"))
except ValueError as error:
    raise WorkflowError(error)
TRAINED = [f"results/{PROFILE}/{run}/train.ipynb" for run in STEPS.runs]


def marker(step):
    """The marker of a step whose output is there but must be made again, in a list; an empty one for others."""
    if not STEPS.to_make_again(step, KEEP):
        return []
    newest = Path(BUILD, "stale", step)
    newest.parent.mkdir(parents=True, exist_ok=True)
    newest.write_text(str(time.time_ns()))  # Snakemake takes no notice of a file of the same content
    return [str(newest)]


def stale(step):
    """An input function: the marker of the step, whose name may hold wildcards."""
    return lambda wildcards: marker(step.format(**wildcards))


def made_from(step, files):
    """An input function: what a step is made from, which counts by its time only if it is made again anyway."""

    def find(wildcards):
        name = step.format(**wildcards)
        return ancient(files) if STEPS.finished(name) and not marker(name) else files

    return find


rule all:
    input:
        TRAINED,
        f"{BUILD}/_build/html/index.html",
        f"{BUILD}/summary.txt",


# Packs the images once; a data set that is not there is one error here, not one in every run.
rule data:
    input:
        stale=stale("data"),
    output:
        f"{BUILD}/data.txt",
    localrule: True
    shell:
        "python tools/staleness.py begin {PROFILE} data && "
        "python tools/pack_data.py {PROFILE} | tee {output}"


# The executed notebook is the only output that Snakemake knows of: it deletes what it knows of before a
# job and after a failed one, and the record and the checkpoint beside it are what a run resumes from. The
# notebook is put there when the run has ended well; until then, and after a crash, it lies in logs/. Of
# what it prints the terminal gets the progress bar, which is its stderr.
rule train:
    input:
        data=made_from("{block}-seed{seed}", [f"{BUILD}/data.txt"]),
        stale=stale("{block}-seed{seed}"),
    output:
        f"results/{PROFILE}/{{block}}-seed{{seed}}/train.ipynb",
    params:
        run=f"results/{PROFILE}/{{block}}-seed{{seed}}",
        log=f"{BUILD}/logs/{{block}}-seed{{seed}}.ipynb",
    resources:
        gpu=1,  # on a machine without one too: one training at a time
    shell:
        "python tools/staleness.py begin {PROFILE} {wildcards.block}-seed{wildcards.seed} {input.stale} && "
        "mkdir -p {BUILD}/logs {params.run} && "
        'echo "Training {wildcards.block}, seed {wildcards.seed}; see {params.run}/epochs.csv" && '
        "papermill notebooks/train.ipynb {params.log} -k python3 --no-progress-bar"
        " --log-level WARNING --stderr-file - -f profiles/{PROFILE}.yaml"
        " -p profile {PROFILE} -p block {wildcards.block} -p seed {wildcards.seed} -p run_dir {params.run}"
        " && python tools/drop_progress.py {params.log} && mv {params.log} {output}"


rule report:
    input:
        stale=stale("{notebook}"),
        trained=branch(lambda wildcards: wildcards.notebook == "results", made_from("results", TRAINED)),
    output:
        f"{PAPER}/notebooks/{{notebook}}.ipynb",
    params:
        profile=lambda wildcards: f"-p profile {PROFILE}" if wildcards.notebook == "results" else "",
        log=f"{BUILD}/logs/{{notebook}}.ipynb",
    shell:
        "python tools/staleness.py begin {PROFILE} {wildcards.notebook} && mkdir -p {BUILD}/logs && "
        'echo "Drawing {output}" && '
        "papermill notebooks/{wildcards.notebook}.ipynb {params.log} -k python3 --no-progress-bar"
        " --log-level WARNING -p figures_dir {PAPER}/figures {params.profile} && mv {params.log} {output}"


rule book:
    input:
        made=made_from("book", TRAINED + expand(rules.report.output, notebook=NOTEBOOKS)),
        stale=stale("book"),
    output:
        f"{BUILD}/_build/html/index.html",
    shell:
        'echo "Building the book" && '
        "python tools/staleness.py begin {PROFILE} book && "
        "rm -rf {PAPER}/book {PAPER}/results {PAPER}/benchmarks {PAPER}/profiles && mkdir -p {PAPER}/results && "
        "tar -cf - results/*/*/record.json results/*/*/epochs.csv results/*/*/train.ipynb | tar -xf - -C {PAPER} && "
        "cp -R results/{PROFILE} {PAPER}/results/ && "
        "cp -R book benchmarks profiles _toc.yml references.bib {PAPER}/ && "
        "sed 's/^\\( *paper_profile:\\).*/\\1 {PROFILE}/' _config.yml > {PAPER}/_config.yml && "
        "jupyter-book build {PAPER} --path-output {BUILD} --quiet"


# What `make reproduce` prints at its end, and what `make verify` checks the files by.
rule summary:
    input:
        made=made_from("summary", TRAINED),
        stale=stale("summary"),
    output:
        f"{BUILD}/summary.txt",
        f"results/{PROFILE}/SHA256SUMS",
    shell:
        "python tools/staleness.py begin {PROFILE} summary && "
        "python -m xnnlib.verify results/{PROFILE} --write && "
        'python -c "from xnnlib import load_runs; from xnnlib.report.tables import table_3;'
        " print(table_3(load_runs('results', '{PROFILE}')))\" > {output[0]}"


# Before a job deletes its output, the executed notebook. A dry run does not come here.
onstart:
    if not workflow.touch:
        for job in workflow.dag.needrun_jobs():
            run = f"{job.wildcards.block}-seed{job.wildcards.seed}" if job.rule.name == "train" else ""
            if STEPS.trained(run) and STEPS.to_make_again(run, KEEP):
                STEPS.put_aside(run)


onerror:
    for run in STEPS.runs:
        if not Path("results", PROFILE, run, "train.ipynb").exists():
            crashed = Path(BUILD, "logs", f"{run}.ipynb")
            print(f"not trained: {run}" + (f", see {crashed}" if crashed.exists() else ""), file=sys.stderr)
