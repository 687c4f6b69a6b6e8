"""The training runs behind every version of the published weights, from the history of their index.

    python experiments/training_history.py                          # writes runs.csv and the tables of the pages
    python experiments/training_history.py --curve PRESET COMMIT    # the held-out scores in the course of a run

Each commit of ``index.json`` has a record for every preset: the recipe, the machine, the seconds and the held-out
scores of the run that its weights came from. The script collects them in ``docs/experiments/runs.csv`` and makes the
tables of ``docs/experiments/PAPER.md`` from that file. It needs the whole history of the repository (``git fetch
--unshallow``) and a minute.
"""

import argparse
import csv
import json
import subprocess
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "docs" / "experiments"
RUNS = PAGES / "runs.csv"
INDEXES = ("zoo/weights/index.json", "zoo/pretrained/index.json")
# Page → the first parts of its presets' names.
PRESETS = {
    "fu2019": ("fu2019-",),
    "jia2019": ("jia2019-",),
    "balle2018": ("balle2018-",),
    "hu2018": ("hu2018-",),
    "zhao2018": ("zhao2018-", "jiang2017-"),
    "report2017": ("report2017-",),
}
BEGIN, END = "<!-- Written by experiments/training_history.py -->\n", "<!-- End of the table -->\n"
COLUMNS = ("date", "commit", "preset", "steps", "batch", "patch", "optimizer", "rate", "seconds", "machine")
SCORES = ("psnr", "bpp", "loss")
MACHINES = {"EPYC": "EPYC", "Xeon": "Xeon", "H200": "H200"}


def runs_of_history() -> list[dict[str, str]]:
    """A row for each run whose weights were published, by date."""
    found: dict[tuple[str, int, float], dict[str, str]] = {}
    for index in INDEXES:
        log = _git("log", "--format=%h %ad", "--date=short", "--", index)
        for line in reversed(log.splitlines()):
            commit, date = line.split()
            text = _git("show", f"{commit}:{index}")
            records = json.loads(text) if text else {}
            for preset, record in records.items():
                below = records.get(record.get("stands_on"))
                if below and below["seconds"] == record["seconds"]:
                    continue  # no run of its own: the weights of another preset
                key = preset, record["step"], record["seconds"]
                found.setdefault(key, _row(date, commit, preset, record))
    return sorted(found.values(), key=lambda row: (row["preset"], row["date"], row["commit"]))


def _row(date: str, commit: str, preset: str, record: dict) -> dict[str, str]:
    recipe, scores = record["recipe"], record.get("held_out", {})
    row = dict(
        zip(
            COLUMNS,
            (
                date,
                commit,
                preset,
                str(record["step"]),
                str(recipe["batch_size"]),
                str(recipe["patch_size"]),
                recipe.get("optimizer", "adam"),
                f"{recipe['learning_rate']:g}",
                f"{record['seconds']:.0f}",
                next(short for name, short in MACHINES.items() if name in record["device"]),
            ),
            strict=True,
        )
    )
    return row | {name: f"{scores[name]:.4f}" if scores.get(name) is not None else "" for name in SCORES}


def _git(*command: str) -> str:
    done = subprocess.run(["git", "-C", str(ROOT), *command], capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else ""


def table(rows: Iterable[dict[str, str]], page: str) -> str:
    """The runs of a page as a Markdown table."""
    lines = [
        "| date | commit | preset | steps | batch, patch | optimizer | minutes | machine | PSNR, dB | bpp | loss |",
        "|---|---|---|---:|---|---|---:|---|---:|---:|---:|",
    ]
    for row in rows:
        if row["preset"].startswith(PRESETS[page]):
            name = row["preset"].split("-", 1)[1] if page != "zhao2018" else row["preset"]
            psnr, bpp, loss = (_short(row[score], digits) for score, digits in zip(SCORES, (2, 4, 4), strict=True))
            lines.append(
                f"| {row['date']} | `{row['commit']}` | `{name}` | {int(row['steps']):,} "
                f"| {row['batch']}, {row['patch']} "
                f"| {row['optimizer']} {row['rate']} | {int(row['seconds']) / 60:.0f} | {row['machine']} "
                f"| {psnr} | {bpp} | {loss} |"
            )
    return "\n".join(lines) + "\n"


def _short(value: str, digits: int) -> str:
    """A score with ``digits`` decimals, or four significant digits of a large one."""
    if not value:
        return ""
    return f"{float(value):.{digits}f}" if float(value) < 10 or digits == 2 else f"{float(value):.4g}"


def page_with_table(page: str) -> str:
    """The text of a page, its table made from ``runs.csv``."""
    text = (PAGES / f"{page}.md").read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    _, _, tail = rest.partition(END)
    with open(RUNS, newline="", encoding="utf-8") as file:
        return f"{head}{BEGIN}\n{table(list(csv.DictReader(file)), page)}\n{END}{tail}"


def print_curve(preset: str, commit: str) -> None:
    """Print step, PSNR, rate and loss of the run whose weights of a preset a commit has."""
    text = next(filter(None, (_git("show", f"{commit}:{index}") for index in INDEXES)))
    for point in json.loads(text)[preset]["curve"]:
        shown = [f"{name} {point[name]:.4f}" for name in SCORES if point.get(name) is not None]
        print(f"step {point['step']:>7,}: {', '.join(shown)}")


def main() -> None:
    """Write the table of all runs and the pages, or print a curve."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--curve", nargs=2, metavar=("PRESET", "COMMIT"))
    if curve := parser.parse_args().curve:
        print_curve(*curve)
        return
    with open(RUNS, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [*COLUMNS, *SCORES], lineterminator="\n")
        writer.writeheader()
        writer.writerows(runs_of_history())
    for page in PRESETS:
        (PAGES / f"{page}.md").write_text(page_with_table(page), encoding="utf-8")


if __name__ == "__main__":
    main()
