"""From the records to the book for one profile: `make reproduce PROFILE=quick`.

    train (one job per block and seed) ──> report (its notebooks) ──> book

A run is trained if its executed notebook is not there, and for no other reason: neither a fresh clone nor a newer
mtime starts hours of training. Which trained runs are stale is decided, and those to train again are put aside,
before this begins (tools/reproduce.py). Reports and the book are made again when a file that they read is newer.

profiles/default/ holds the options of a run on this machine, profiles/slurm/ those of a cluster.
"""

from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError

from xnnlib.errors import UserError
from xnnlib.profiles import load_profile
from xnnlib.spec import BLOCKS

RESULTS = config.get("results", "results/quick")  # as a path, which Snakemake takes for no number
try:
    PROFILE = load_profile(Path(), RESULTS.removeprefix("results/"))
except UserError as error:
    raise WorkflowError(error)
BUILD = f"_build/{PROFILE.name}"
PAPER = f"{BUILD}/source"  # a copy of the book's sources that shows this profile
GPU = int(config.get("gpu", 0))
CORES = workflow.resource_settings.cores or 1  # none is given where jobs go to a cluster
TRAINED = [f"{RESULTS}/{run}/train.ipynb" for run in PROFILE.run_names()]
FIRST = next(iter(PROFILE.runs().values()))
# What networks do inside is shown of a profile whose networks were looked into; that takes the images.
REPORTS = ["design", "results", "implementation", *(["analysis"] if Path(RESULTS, "analysis.json").exists() else [])]
# -r: as text, for papermill's -p takes the name 1_2 for the number 12.
DRAWN = {"design": "-r figures_dir {}", "results": "-r figures_dir {} -r profile {}", "implementation": ""}
DRAWN["analysis"] = DRAWN["results"]
BOOK = [f"{BUILD}/_build/html/index.html"] if set(PROFILE.blocks) == set(BLOCKS) else []


def files(*patterns):
    """The project's files that match."""
    found = {str(path) for pattern in patterns for path in Path().glob(pattern) if path.is_file()}
    return sorted(path for path in found if "__pycache__" not in path)


CODE = files("xnnlib/**/*.py", "xnnlib/**/*.mplstyle")
ANALYSES = files("results/**/study.json", "results/**/analysis.json")
RECORDS = files("results/**/record.json", "results/**/epochs.csv")
BENCHMARKS = files("benchmarks/results/*.json")
PROFILES = files("profiles/**/*.yaml")
SOURCES = files("book/**/*", "_*.yml", "references.bib")


rule all:
    input:
        TRAINED,
        f"{RESULTS}/SHA256SUMS",
        BOOK,


# The executed notebook is the only output that Snakemake knows of: it deletes what it knows of before a job and
# after a failed one, and the record and the checkpoint beside it are what a run resumes from. The notebook is
# put there when the run has ended well; until then, and after a crash, it lies in logs/. What it prints to stderr,
# the progress bar, goes to a file, from which tools/reproduce.py shows all trainings in one line.
#
# On a CPU each run has one core, or more where there are more cores than runs: two runs on a thread each train
# more images than one on two. The number of threads follows from the machine and the profile alone, so that a run
# that resumes after a kill sums in the same order. On a GPU there is one training at a time.
#
# What fails is tried once more: Jupyter looks for free ports before its kernel takes them, and of two kernels that
# start together one may find its port taken. A run resumes then, or is refused again at once.
rule train:
    retries: 1
    output:
        f"{RESULTS}/{{block}}-seed{{seed}}/train.ipynb",
    params:
        run=f"{RESULTS}/{{block}}-seed{{seed}}",
        log=f"{BUILD}/logs/{{block}}-seed{{seed}}",
        values=yaml.safe_dump(PROFILE.values(), default_flow_style=True, width=10**6).strip(),
    threads: CORES if GPU else max(1, CORES // len(TRAINED))
    resources:
        gpu=GPU,
        # 6 GB at the paper's size, in proportion to the pixels of a batch; measured.
        mem_mb=1500 + 4500 * FIRST.batch_size * FIRST.crop**2 // (128 * 56**2),
    shell:
        "mkdir -p {BUILD}/logs {params.run} && trap 'rm -f {params.log}.progress' EXIT && "
        'echo "Training {wildcards.block}, seed {wildcards.seed}; see {params.run}/epochs.csv" && '
        "OMP_NUM_THREADS=${{SLURM_CPUS_PER_TASK:-{threads}}} TQDM_NCOLS=100 "
        "papermill notebooks/train.ipynb {params.log}.ipynb -k python3 --no-progress-bar"
        " --log-level WARNING --stderr-file {params.log}.progress -y {params.values:q}"
        " -p block {wildcards.block} -p seed {wildcards.seed} -p run_dir {params.run}"
        " && python tools/drop_progress.py {params.log}.ipynb && mv {params.log}.ipynb {output}"


# What `make verify` checks the files by; it is deleted before a run is trained, and only then written.
rule checksums:
    input:
        ancient(TRAINED),
    output:
        f"{RESULTS}/SHA256SUMS",
    shell:
        "python -m xnnlib.verify {RESULTS} --write"


rule report:
    retries: 1
    input:
        CODE,
        "notebooks/{notebook}.ipynb",
        branch(lambda wildcards: wildcards.notebook == "results", TRAINED + RECORDS + BENCHMARKS + PROFILES),
        branch(lambda wildcards: wildcards.notebook == "analysis", RECORDS + ANALYSES + PROFILES),
    output:
        f"{PAPER}/notebooks/{{notebook}}.ipynb",
    params:
        given=lambda wildcards: DRAWN[wildcards.notebook].format(f"{PAPER}/figures", PROFILE.name),
        log=f"{BUILD}/logs/{{notebook}}.ipynb",
    shell:
        'mkdir -p {BUILD}/logs && echo "Drawing {output}" && '
        "papermill notebooks/{wildcards.notebook}.ipynb {params.log} -k python3 --no-progress-bar"
        " --log-level WARNING {params.given} && mv {params.log} {output}"


rule book:
    input:
        CODE,
        TRAINED,
        RECORDS,
        ANALYSES,
        PROFILES,
        SOURCES,
        BENCHMARKS,
        expand(rules.report.output, notebook=REPORTS),
        explore="notebooks/explore.ipynb",
    output:
        f"{BUILD}/_build/html/index.html",
    shell:
        'echo "Building the book" && '
        "rm -rf {PAPER}/book {PAPER}/results {PAPER}/benchmarks {PAPER}/profiles && mkdir -p {PAPER}/{RESULTS} && "
        "find results -name record.json -o -name epochs.csv -o -name train.ipynb -o -name study.json -o -name analysis.json | tar -cf - -T - | tar -xf - -C {PAPER} && "
        "cp -R {RESULTS}/. {PAPER}/{RESULTS} && "
        "cp {input.explore} {PAPER}/notebooks/ && "
        "cp -R book benchmarks profiles _toc.yml references.bib {PAPER}/ && "
        "sed 's|^\\( *paper_profile:\\).*|\\1 \"{PROFILE.name}\"|' _config.yml > {PAPER}/_config.yml && "
        "jupyter-book build {PAPER} --path-output {BUILD} --quiet"
