"""What ``attngan COMMAND --help`` shows: an example, the command's options in a line each, and where there is more."""

import re
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from attngan.signatures import Argument, Documented, declared_metrics, documented

#: A command's most common use. What each does is in its own help.
EXAMPLES = {
    "demo": "attngan demo --minutes 15",
    "toy-birds": "attngan toy-birds data/toy_birds",
    "prepare": "attngan prepare data/birds --source cub --image_size 256",
    "recipes": "attngan recipes attngan_cub --copy mine.yaml",
    "pretrain": "attngan pretrain --config toy/damsm --run_dir runs/damsm",
    "train": "attngan train --config toy/attngan --budget.minutes 10",
    "finetune-classifier": "attngan finetune-classifier --data data/birds --out classifier.safetensors",
    "evaluate": "attngan evaluate --checkpoint runs/attngan/checkpoints/last.ckpt --metrics is fid",
    "sample": 'attngan sample "a small red bird with black wings" --samples_per_caption 4',
    "serve": "attngan serve runs/attngan/checkpoints/last.ckpt",
    "report": "attngan report runs/attngan",
    "stylize": "attngan stylize photo.jpg painting.jpg --iterations 300",
    "retrieve": 'attngan retrieve runs/damsm/checkpoints/best.ckpt "a small red bird" --images photos',
    "embed": "attngan embed runs/damsm/checkpoints/best.ckpt --images photos --out photos.npy",
    "export": "attngan export runs/attngan/checkpoints/last.ckpt generator.safetensors --dtype float16",
    "push": "attngan push generator.safetensors OWNER/NAME",
    "pull": "attngan pull OWNER/NAME --out generator.safetensors",
    "compare": "attngan compare toy/attngan toy/dfgan --data data/toy_birds --damsm runs/damsm/checkpoints/best.ckpt",
    "completion": 'eval "$(attngan completion bash)"',
    "import-published": "attngan import-published --generator netG.pth --out generator.ckpt",
}
#: What `--logger` can be.
LOGGERS = ("tensorboard", "csv", "wandb", "none")
#: Options of a recipe that are of no class: name to how its value is written and what it is.
RUN = {
    "config": (
        "RECIPE",
        "The recipe: a YAML file, or the name of one that came with attngan (`attngan recipes` lists them); a later "
        "one overrides an earlier one. Also -c.",
    ),
    "run_dir": (
        "PATH",
        "Folder of the run: config.yaml, checkpoints, pictures, logs. Default: runs/ and the recipe's name.",
    ),
    "resume": ("PATH", "Folder of a run (or one of its checkpoints) to go on with."),
    "init_from": (
        "PATH",
        "Checkpoint whose weights to start from, on these or other captions: for pretrain the encoders, for train the "
        "generator and discriminators. Known words keep their embeddings; new ones start fresh in pretrain and become "
        "<unk> in train. Unlike --resume it starts a new run.",
    ),
    "logger": (
        "|".join(LOGGERS),
        "Where losses, rates and scores are logged: event files for TensorBoard, metrics.csv, or Weights & Biases (pip "
        "install 'attngan[wandb]').",
    ),
    "trust": (
        "MODULE",
        "Module whose classes a recipe may name beside those of attngan, torch.optim, torchvision and Lightning's "
        "callbacks and loggers: naming one runs its code (SECURITY.md). Given on the command line alone, also with "
        "--resume, once for each module.",
    ),
    "seed_everything": ("N", "Seed of weights, noise and dropout. Default: 0."),
}
#: Groups of a recipe's options: the class whose arguments they are. ``model`` depends on the command.
GROUPS = {
    "model": {
        "pretrain": ("attngan.training.damsm_module", "DAMSMModule"),
        "train": ("attngan.training.gan_module", "GANModule"),
    },
    "data": ("attngan.data.datamodule", "TextImageDataModule"),
    "budget": ("attngan.training.callbacks.budget", "Budget"),
    "checkpoints": ("attngan.training.callbacks.run_checkpoints", "RunCheckpoints"),
    "last": ("attngan.training.callbacks.keep_last", "KeepLast"),
    "pictures": {"train": ("attngan.training.pictures", "TrainingPictures")},
    "quick": {"train": ("attngan.training.quick_evaluation", "QuickEvaluation")},
}
#: Of Lightning's Trainer, those that most people need.
TRAINER = {
    "max_epochs": ("N", "Passes over the training images; -1 for a run that a budget ends."),
    "accelerator": ("auto|cpu|gpu|mps", "What trains; auto: a GPU if there is one."),
    "devices": ("N", "How many GPUs, or which: [1]."),
    "precision": ("32-true|bf16-mixed|16-mixed", "Precision of the computations."),
    "limit_train_batches": ("N", "Batches of an epoch, to try something."),
}


def short_help(command: str, module: str, function: str, positional: Sequence[str]) -> str:
    """The help of a command that is a function, from its signature.

    Args:
        command: Name of the command.
        module: Where its function is.
        function: The function's name.
        positional: Which of its arguments have no hyphens before them.
    """
    found = documented(module, function)
    by_name = {argument.name: argument for argument in found.arguments}
    placed = "".join(f" [{n}]" if by_name[n].default is not None else f" {n}" for n in positional)
    options = [argument for argument in found.arguments if argument.name not in positional]
    example = [f"  {EXAMPLES[command]}", ""] if command in EXAMPLES else []
    lines = [f"usage: attngan {command}{placed} [options]", "", *_wrapped(found.text), "", *example]
    for name in positional:
        lines += _entry(f"  {name}", by_name[name])
    lines += [line for argument in options for line in _entry(f"  --{argument.name} {argument.value}", argument)]
    return "\n".join([*lines, "", f"`attngan {command} --help-all` tells more of each option."])


def short_help_of_recipe(command: str, summary: str) -> str:
    """The help of `attngan pretrain` and `attngan train`: their own options, and the most common ones of Lightning.

    Args:
        command: Name of the command.
        summary: What it does.
    """
    lines = [f"usage: attngan {command} --config FILE [options]", "", f"{summary[0].upper()}{summary[1:]}.", ""]
    lines += [f"  {EXAMPLES[command]}", f"  attngan {command} --resume runs/NAME", ""]
    lines += _wrapped(
        "A key of the recipe is an option of the same name: --model.kl here overrides model.kl of the YAML file."
    )
    lines += ["", "the run:", *_table("  --", RUN)]
    for group, found in _groups(command):
        lines += ["", *_wrapped(f"{group}: {found.summary}".replace("``", ""))]
        for argument in found.arguments:
            lines += [
                line for name, one in _flat(f"{group}.", argument) for line in _entry(f"  --{name} {one.value}", one)
            ]
    lines += ["", "trainer: Lightning's Trainer, in short.", *_table("  --trainer.", TRAINER)]
    return "\n".join([*lines, "", f"`attngan {command} --help-all` tells more, and of Lightning's options too."])


class Option(NamedTuple):
    """An option ``--name``, or without hyphens what stands in its place; how its value is written; what it is."""

    name: str
    value: str
    told: str


def options(module: str, function: str, positional: Sequence[str]) -> Iterator[Option]:
    """What a command that is a function takes; arguments as of `short_help`."""
    for argument in documented(module, function).arguments:
        name = argument.name if argument.name in positional else f"--{argument.name}"
        yield Option(name, argument.value, _first_sentence(argument.help))


def recipe_options(command: str) -> Iterator[Option]:
    """What `attngan pretrain` and `attngan train` take, as far as their help shows it."""
    for before, told in (("--", RUN), ("--trainer.", TRAINER)):
        for name, (value, text) in told.items():
            yield Option(f"{before}{name}", value, _first_sentence(text))
    for group, found in _groups(command):
        for argument in found.arguments:
            for name, one in _flat(f"{group}.", argument):
                yield Option(f"--{name}", one.value, _first_sentence(one.help))


def _table(before: str, told: dict[str, tuple[str, str]]) -> Iterator[str]:
    for name, (value, text) in told.items():
        yield from _in_columns(f"{before}{name} {value}", text)


def _groups(command: str) -> Iterator[tuple[str, Documented]]:
    """The groups of a recipe's options that the command has."""
    for group, of in GROUPS.items():
        place = of.get(command) if isinstance(of, dict) else of
        if place is not None:
            yield group, documented(*place)


def _flat(before: str, argument: Argument) -> Iterator[tuple[str, Argument]]:
    """An argument with its whole name; of a group of options each of these."""
    if argument.arguments:
        for within in argument.arguments:
            yield from _flat(f"{before}{argument.name}.", within)
    else:
        yield f"{before}{argument.name}", argument


def _entry(head: str, argument: Argument) -> Iterator[str]:
    default = "" if argument.default in (None, "None") else f" Default: {_as_typed(argument.default or '')}."
    needed = " Required." if argument.default is None else ""
    told = _first_sentence(argument.help.replace("METRICS", ", ".join(declared_metrics())))
    yield from _in_columns(head, f"{told}{needed}{'' if 'efault' in told else default}")


def _as_typed(default: str) -> str:
    """A default of the source as one would type it."""
    text = {"True": "true", "False": "false"}.get(default, default)
    text = re.sub(r"^Path\((.*)\)$", r"\1", text).strip("'")
    return text.replace("_", "") if re.fullmatch(r"[\d_]+", text) else text or '""'


def _first_sentence(text: str) -> str:
    found = re.match(r"(.+?(?<!e\.g)[.;:])(?: |$)(?![a-z0-9(])", text)
    told = found[1] if found else text
    return told[:-1] + "." if told.endswith((";", ":")) else told


def _wrapped(text: str) -> list[str]:
    paragraphs = [" ".join(paragraph.split()) for paragraph in text.split("\n\n")]
    return "\n\n".join(textwrap.fill(paragraph, _width()) for paragraph in paragraphs).split("\n")


def _in_columns(head: str, text: str, column: int = 32) -> Iterator[str]:
    """An option and, from the column on, what it is; beneath it where the option takes more room."""
    lines = textwrap.wrap(text.replace("``", ""), max(30, _width() - column)) or [""]
    if len(head) > column - 2:
        yield from _over_lines(head)
    else:
        yield f"{head:<{column}}{lines.pop(0)}".rstrip()
    yield from (" " * column + line for line in lines)


def _over_lines(head: str) -> Iterator[str]:
    """An option whose choices fill more than a line."""
    line = ""
    for part in re.split(r"(?<=\|)", head):
        if line and len(line + part) > _width():
            yield line
            line = " " * 6
        line += part
    yield line


def _width() -> int:
    return min(100, shutil.get_terminal_size().columns)
