"""Writes the expectations beside the golden traffic, for review in the diff: `make golden`."""

from tests.golden.cases import cases, expectations, written


def main() -> None:
    """Write what has changed and say so."""
    for case in cases():
        for name, expected in expectations(case).items():
            file = case.folder / name
            text = written(expected)
            if not file.exists() or file.read_text(encoding="utf-8") != text:
                file.write_text(text, encoding="utf-8")
                print(f"wrote {case.dialect.name}/{case.folder.name}/{name}")  # noqa: T201


if __name__ == "__main__":
    main()
