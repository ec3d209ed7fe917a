"""The one file that is pushed to Kaggle for the report: it finds the code, verifies it, and writes the page.

Kaggle copies this file alone, so it imports only the standard library before the code is found: the data set
`hms-scalogram-code`, attached to the kernel. It leaves `report.html`, and `report_files/` beside it. The log begins
with `HMS-START {json}` and ends with `HMS-END {json}`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

CODE_NAME, CODE_FORMAT = "hms-scalogram-code", "hms-bundle/code-1"
ARGUMENTS: dict[str, str] = {}
"""What a push asks for, by the names of the options below: Kaggle passes a script no arguments."""


def find_code(root: Path) -> tuple[Path, dict[str, Any]]:
    """Return the folder of the code and its manifest: at the known mounts first, else by a shallow search.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    for pattern in (CODE_NAME, f"datasets/*/{CODE_NAME}", "*", "*/*", "*/*/*"):
        for path in sorted(root.glob(f"{pattern}/manifest.json")):
            try:
                manifest = json.loads(path.read_text())
                if manifest["format"] == CODE_FORMAT:
                    return path.parent, manifest
            except (ValueError, KeyError, TypeError):
                continue  # some other data set's manifest
    raise FileNotFoundError(
        f"no data set with the code below {root}: attach {CODE_NAME} to the kernel, and wait until Kaggle shows it as "
        "ready"
    )


def main(argv: list[str] | None = None) -> int:
    """Write the report; return the exit status."""
    parser = argparse.ArgumentParser(description="Report on the mounted data: the kernel as Kaggle runs it.")
    parser.add_argument("--input", type=Path, default=Path("/kaggle/input"), help="where sources are mounted")
    parser.add_argument("--working", type=Path, default=Path("/kaggle/working"), help="where the report goes")
    parser.add_argument("--sample", type=int, default=int(ARGUMENTS.get("sample", 600)), help="recordings to read")
    args, _ = parser.parse_known_args(argv)
    started = time.monotonic()
    try:
        folder, manifest = find_code(args.input)
        sys.path.insert(0, str(folder))
        from kernel.main import END, START, find_competition, provide_modules, verify

        start = {name: manifest[name] for name in ("tree_sha256", "commit", "dirty")}
        print(f"{START} " + json.dumps({"code": str(folder), **start, "sample": args.sample}), flush=True)
        verify(folder, manifest)
        provide_modules(folder, manifest)
        from eda.report import ReportConfig, write_report

        data = find_competition(args.input, "train.csv", "train_eegs")
        print(f"data: {data}", flush=True)
        files = write_report(data, args.working / "report.html", ReportConfig(sample=args.sample))
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        return 1
    end = {
        "seconds": round(time.monotonic() - started, 1),
        "files": 1 + sum(path.is_file() for path in files.rglob("*")),
        "tree_sha256": manifest["tree_sha256"],
    }
    print(f"{END} " + json.dumps(end), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
