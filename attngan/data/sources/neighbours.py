"""Data sets in formats that are not read: what they are, and the command that makes them into one that is."""

from pathlib import Path
from shlex import quote

from attngan.data.folders import is_hidden

_TO_JSONL = "open('metadata.jsonl', 'w').writelines(json.dumps(row) + '\\n' for row in json.load(open('{name}')))"
#: By suffix or name: what the file is, and how it is converted; ``{name}`` is the file (``{file}`` as a shell
#: wants it), ``{folder}`` where it lies.
_CONVERSIONS = {
    ".tar": (
        "a shard of img2dataset or WebDataset",
        'cd {folder} && for shard in *.tar; do tar -xf "$shard"; done (then source folder)',
    ),
    ".parquet": (
        "a table in Apache's format",
        "cd {folder} && pip install pandas pyarrow && python -c \"import pandas; pandas.read_parquet('{name}')"
        ".to_json('metadata.jsonl', orient='records', lines=True)\" (then source folder; where the images are in the "
        "table: source huggingface reads it)",
    ),
    "metadata.json": (
        "no table of one JSON object a line",
        f'if it is a list of objects: cd {{folder}} && python -c "import json; {_TO_JSONL}" (then source folder)',
    ),
    ".arrow": ("a data set as datasets.save_to_disk writes it", "source huggingface reads it"),
    ".zip": ("an archive", "cd {folder} && unzip {file}"),
    ".tgz": ("an archive", "cd {folder} && tar -xf {file}"),
    ".gz": ("an archive", "cd {folder} && tar -xf {file}"),
    ".rar": ("an archive", "cd {folder} && unrar x {file}"),
    ".7z": ("an archive", "cd {folder} && 7z x {file}"),
}


def how_to_convert(file: Path) -> str | None:
    """What a file is and the way to convert it, in one sentence; None of kinds that are not known."""
    kind = file.name.lower() if file.name.lower() in _CONVERSIONS else file.suffix.lower()
    if kind not in _CONVERSIONS:
        return None
    what, way = _CONVERSIONS[kind]
    for place, name in (("name", file.name), ("file", quote(file.name)), ("folder", quote(str(file.parent)))):
        way = way.replace(f"{{{place}}}", name)
    return f"{file.name} is {what}: {way}"


def neighbouring_formats(root: Path) -> list[str]:
    """What lies in a folder that would be read once it is converted, and how; each format once."""
    told: dict[str, str] = {}
    for path in sorted(root.iterdir()):
        if is_hidden(path.name) or not path.is_file():
            continue
        if sentence := how_to_convert(path):
            told.setdefault(path.suffix.lower(), sentence)
        elif path.stem.lower() == "metadata" and path.suffix.lower() not in (".jsonl", ".csv", ".tsv"):
            told[path.name] = f"{path.name} is not read: if it holds one JSON object a line, call it metadata.jsonl"
    return list(told.values())
