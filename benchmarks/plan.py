"""What throughput.py measures, job by job, and where in its file the figures of a job stand."""

from roofline import roofline

from xnnlib.spec import BLOCKS

TRAIN_IMAGES, CLASSES = 3125, 100  # a sixteenth of Tiny ImageNet's first 100 classes
GROWTH = (1, 4, 16)
LARGEST_GROWN_BATCH = 64 * GROWTH[-1]  # several of them in an epoch of TRAIN_IMAGES
ROUNDS = {"cpu": 7, "cuda": 0}  # on a GPU each would compile anew, which takes minutes
KNOWN = ("mobilenet_v2", "efficientnet_lite0", "mnasnet_100")
# The kinds of job whose figures are entries of a list, its name, and what tells an entry from the others.
LISTS = {"row": "rows", "pair": "pairs", "growth": "growth"}
NAMES = {"row": ("id",), "pair": ("network", "round"), "growth": ("batch_size", "train_images")}


def jobs(settings: dict) -> list[dict]:
    """All there is to measure, in the table's order."""
    rows = [("xnnlib", block, scope) for block in BLOCKS for scope in ("model", "end-to-end")]
    rows += [("plain", block, scope) for block in BLOCKS for scope in ("model", "end-to-end")]
    rows += [(way, block, "model") for block in ("se", "se_cond") for way in ("timm-eager", "timm-compiled")]
    rows += [("compiled", name, "model") for name in KNOWN]
    rounds = [(block, number) for number in range(settings["rounds"]) for block in BLOCKS]
    batch = min(settings["batch_size"], LARGEST_GROWN_BATCH // GROWTH[-1])
    sizes = [(batch * factor, TRAIN_IMAGES) for factor in GROWTH]
    sizes += [(batch, TRAIN_IMAGES * factor) for factor in GROWTH[1:]]
    return [
        {"kind": "copy", "id": "copy"},
        *(
            {"kind": "row", "id": f"{way}-{network}-{scope}", "network": network, "way": way, "scope": scope}
            for way, network, scope in rows
        ),
        *(
            {"kind": "pair", "id": f"pair-{network}-{number}", "network": network, "round": number}
            for network, number in rounds
        ),
        *(
            {"kind": "growth", "id": f"growth-{batch}-{images}", "batch_size": batch, "train_images": images}
            for batch, images in sizes
        ),
        *({"kind": "kernels", "id": f"kernels-{block}", "network": block} for block in BLOCKS),
    ]


def is_measured(result: dict, job: dict) -> bool:
    """Whether the figures of the job are there; one that failed is tried again."""
    if job["kind"] == "copy":
        return result["copy_gigabytes_per_second"] is not None
    if job["kind"] == "kernels":
        return job["network"] in result["kernels"]
    return any(_same(entry, job) and "error" not in entry for entry in _entries(result, job))


def entered(result: dict, job: dict, measured: dict) -> dict:
    """The file's content with what was measured, or why it was not, in its place."""
    result = dict(result)
    if job["kind"] in LISTS:
        left_out = ("kind",) if job["kind"] == "row" else ("kind", "id")
        shown = {name: value for name, value in job.items() if name not in left_out}
        others = [entry for entry in _entries(result, job) if not _same(entry, job)]
        key = LISTS[job["kind"]]
        order = [other for other in jobs(result["settings"]) if other["kind"] == job["kind"]]
        result[key] = sorted(
            [*others, shown | measured],
            key=lambda entry: next(place for place, other in enumerate(order) if _same(entry, other)),
        )
    elif "error" not in measured and job["kind"] == "copy":
        result["copy_gigabytes_per_second"] = measured["gigabytes_per_second"]
    elif "error" not in measured:
        result["kernels"] = result["kernels"] | {job["network"]: measured["operations"]}
    settings = result["settings"]
    result["roofline"] = roofline(
        result["rows"], result["copy_gigabytes_per_second"], settings["num_classes"], settings["crop"]
    )
    return result


def _entries(result: dict, job: dict) -> list[dict]:
    return result[LISTS[job["kind"]]]


def _same(entry: dict, job: dict) -> bool:
    return all(entry[name] == job[name] for name in NAMES[job["kind"]])
