"""From the data to the book for one profile: `make reproduce PROFILE=quick`.

    data ──> train (one job per block and seed) ──> report (three notebooks) ──> book

The Makefile passes `--rerun-triggers mtime`: what is downstream of a record is made again when a file that
it is made from is newer. A training run depends on nothing but its own existence, since hours of
training must not start because a line of code, or the time stamp of a fresh clone, has changed. To train
again, delete the run's folder.
"""

import json
import sys
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError

PROFILE = config.get("profile", "quick")
BUILD = f"_build/{PROFILE}"
PAPER = f"{BUILD}/source"  # a copy of the book's sources that shows this profile
NOTEBOOKS = ("design", "results", "implementation")


def read_yaml(name):
    return yaml.safe_load(Path("profiles", f"{name}.yaml").read_text(encoding="utf-8"))


PLAN = read_yaml("runs")
if PROFILE not in PLAN:
    raise WorkflowError(f"profile {PROFILE!r} is not in profiles/runs.yaml; choose one of {', '.join(PLAN)}")
SETTINGS = read_yaml(PROFILE)
RUNS = [f"{block}-seed{seed}" for block in PLAN[PROFILE]["blocks"] for seed in PLAN[PROFILE]["seeds"]]
TRAINED = [f"results/{PROFILE}/{run}/train.ipynb" for run in RUNS]
LIBRARY = [str(file) for pattern in ("*.py", "*.mplstyle") for file in Path("xnnlib").rglob(pattern)]
PAGES = [str(file) for file in Path("book").rglob("*.*") if "__pycache__" not in file.parts]
BOOK = ["_config.yml", "_toc.yml", "references.bib", *PAGES]


def check_finished(run):
    """Refuse a run that is there but is not the one asked for, before any job starts."""
    folder = Path("results", PROFILE, run)
    if not (folder / "train.ipynb").exists():
        return
    if not (folder / "record.json").exists():
        raise WorkflowError(f"{folder} has a notebook of a run that did not finish; delete train.ipynb to go on")
    notebook = json.loads((folder / "train.ipynb").read_text(encoding="utf-8"))
    trained = notebook["metadata"].get("papermill", {}).get("parameters", {})
    for name, value in SETTINGS.items():
        if trained.get(name, value) != value:
            raise WorkflowError(
                f"{folder} was trained with {name} {trained[name]!r}, profiles/{PROFILE}.yaml asks for {value!r}; "
                "delete the folder to train it again"
            )


def data_arguments(wildcards):
    from xnnlib.spec import recipe_for  # not at the top: it would cost every start the import of torch

    recipe = recipe_for(SETTINGS["recipe"], "standard")
    recipe = recipe.scaled(SETTINGS["epochs"], SETTINGS["batch_size"], SETTINGS["crop"])
    names = ("dataset", "data_root", "num_classes", "train_images", "val_images")
    given = {name: SETTINGS[name] for name in names if SETTINGS.get(name)} | {"size": recipe.resize}
    return [argument for name, value in given.items() for argument in (f"--{name.replace('_', '-')}", value)]


for run in RUNS:
    check_finished(run)


rule all:
    input:
        TRAINED,
        f"{BUILD}/_build/html/index.html",
        f"{BUILD}/summary.txt",


# Packs the images once; a data set that is not there is one error here, not one in every run.
rule data:
    output:
        f"{BUILD}/data.txt",
    params:
        arguments=data_arguments,
    shell:
        "python -m xnnlib.data {params.arguments:q} | tee {output}"


# The executed notebook is the only output that Snakemake knows of: it deletes what it knows of before a
# job and after a failed one, and the record and the checkpoint beside it are what a run resumes from. The
# notebook is put there when the run has ended well; until then, and after a crash, it lies in logs/. Of
# what it prints the terminal gets the progress bar, which is its stderr.
rule train:
    input:
        ancient(f"{BUILD}/data.txt"),
    output:
        f"results/{PROFILE}/{{block}}-seed{{seed}}/train.ipynb",
    params:
        run=f"results/{PROFILE}/{{block}}-seed{{seed}}",
        log=f"{BUILD}/logs/{{block}}-seed{{seed}}.ipynb",
    threads: workflow.cores or 1  # one run at a time: each takes all cores, or the GPU
    shell:
        "mkdir -p {BUILD}/logs && "
        'echo "Training {wildcards.block}, seed {wildcards.seed}; see {params.run}/epochs.csv" && '
        "papermill notebooks/train.ipynb {params.log} -k python3 --no-progress-bar"
        " --log-level WARNING --stderr-file - -f profiles/{PROFILE}.yaml"
        " -p profile {PROFILE} -p block {wildcards.block} -p seed {wildcards.seed} -p run_dir {params.run}"
        " && python tools/drop_progress.py {params.log} && mv {params.log} {output}"


rule report:
    input:
        "notebooks/{notebook}.ipynb",
        LIBRARY,
        lambda wildcards: TRAINED if wildcards.notebook == "results" else [],
    output:
        f"{PAPER}/notebooks/{{notebook}}.ipynb",
    params:
        lambda wildcards: f"-p profile {PROFILE}" if wildcards.notebook == "results" else "",
    shell:
        'echo "Drawing {output}" && '
        "papermill {input[0]} {output} -k python3 --no-progress-bar --log-level WARNING"
        " -p figures_dir {PAPER}/figures {params}"


rule book:
    input:
        expand(rules.report.output, notebook=NOTEBOOKS),
        TRAINED,
        BOOK,
    output:
        f"{BUILD}/_build/html/index.html",
    shell:
        'echo "Building the book" && '
        "rm -rf {PAPER}/book {PAPER}/results && mkdir -p {PAPER}/results && "
        "cp -R results/{PROFILE} {PAPER}/results/ && cp -R book _toc.yml references.bib {PAPER}/ && "
        "sed 's/^\\( *paper_profile:\\).*/\\1 {PROFILE}/' _config.yml > {PAPER}/_config.yml && "
        "jupyter-book build {PAPER} --path-output {BUILD} --quiet"


# What `make reproduce` prints at its end, and what `make verify` checks the files by.
rule summary:
    input:
        TRAINED,
    output:
        f"{BUILD}/summary.txt",
        f"results/{PROFILE}/SHA256SUMS",
    shell:
        "python -m xnnlib.verify results/{PROFILE} --write && "
        'python -c "from xnnlib import load_runs; from xnnlib.report.tables import table_3;'
        " print(table_3(load_runs('results', '{PROFILE}')))\" > {output[0]}"


onerror:
    for run in RUNS:
        if not Path("results", PROFILE, run, "train.ipynb").exists():
            crashed = Path(BUILD, "logs", f"{run}.ipynb")
            print(f"not trained: {run}" + (f", see {crashed}" if crashed.exists() else ""), file=sys.stderr)
