"""Parts and classes of a folder of images, by the names of its folders."""

from __future__ import annotations

import mimetypes
import os
import re
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from paretopipe_runtime.errors import ParetoPipeError
from paretopipe_runtime.models.architectures import torchvision

#: Words in the name of a part's folder, such as ``Training`` or ``seg_test``.
_WORDS = {
    "train": {"train", "training", "trn"},
    "validation": {"val", "valid", "validation", "dev"},
    "test": {"test", "testing", "tst", "eval", "evaluation", "holdout"},
}
_TYPES = mimetypes.MimeTypes()  # built in: not what this host adds
_READ = torchvision.datasets.folder.IMG_EXTENSIONS
_TAKES = "it takes one folder a class, or train/ and test/ with those inside"


@dataclass(frozen=True)
class Listing:
    """Images of one part and the number of each one's class."""

    root: Path
    classes: tuple[str, ...]
    paths: tuple[Path, ...]
    labels: tuple[int, ...]


def parts(root: Path) -> dict[str, Listing]:
    """Return listings for ``train`` and, where they have folders, ``validation`` and ``test``.

    Parts are found under other spellings and further down. Nothing that may be a part is taken as
    a class or left out: it raises ``E_DATA``, as do parts with different classes.
    """
    try:
        places = _places(_single(root))
        found = {part: _listed(_single(place, part)) for part, place in places.items()}
    except OSError as error:
        raise _no_folder(root, str(error)) from error
    train = found["train"]
    for listing in found.values():
        if listing.classes != train.classes:
            odd = ", ".join(sorted(set(train.classes) ^ set(listing.classes))[:5])
            raise ParetoPipeError(
                "E_DATA",
                f"{listing.root} and {train.root} do not have the same classes: {odd} is only in "
                "one of them — give both a folder of each name",
            )
    return found


def _places(root: Path) -> dict[str, Path]:
    """Return the folder of each part; of an undivided folder, itself as ``train``."""
    folders = _folders(root)
    above = [folder for folder in folders if _folders(folder)]
    named = {folder: part for folder in folders if (part := _part(folder.name))}
    # A class may be called train, as ships are: it has images, no folders, and no part beside it.
    told = set(named.values())
    if not set(above) & set(named) and not (len(told) > 1 and "train" in told):
        _refuse_unnamed_parts(root, above)
        return {"train": root}
    odd = [folder.name for folder in folders if folder not in named or folder not in above]
    if odd:
        raise _no_folder(
            root,
            f"{', '.join(sorted(folder.name for folder in named))} look like parts of a data set, "
            f"but {', '.join(odd[:5])} is none of them or has no folders of classes",
        )
    places: dict[str, Path] = {}
    for folder, part in named.items():
        if part in places:
            raise _no_folder(root, f"{places[part].name} and {folder.name} both look like {part}/")
        places[part] = folder
    if "train" not in places:
        raise _no_folder(root, f"it has {', '.join(path.name for path in named)} and no train/")
    return places


def _refuse_unnamed_parts(root: Path, above: list[Path]) -> None:
    inside = [{folder.name for folder in _folders(path)} for path in above]
    for number, names in enumerate(inside):
        for other, more in zip(above[:number], inside, strict=False):
            if len(names & more) > 1:
                raise _no_folder(
                    root,
                    f"{other.name} and {above[number].name} have the same folders inside, as "
                    "parts of a data set have and classes have not",
                )


def _listed(root: Path) -> Listing:
    if loose := _images(root):
        raise _no_folder(root, f"{len(loose)} images, such as {loose[0]}, lie outside its classes")
    classes = _folders(root)
    if not classes:
        raise _no_folder(root, "it has no folders")
    paths: list[Path] = []
    labels: list[int] = []
    for label, folder in enumerate(classes):
        own = [
            Path(place, name)
            for place, _, names in sorted(os.walk(folder, followlinks=True))
            for name in sorted(names)
            if not _hidden(name) and _is_image(Path(place, name))
        ]
        if not own:
            raise _no_folder(root, f"there is no image in its folder {folder.name}")
        paths += own
        labels += [label] * len(own)
    return Listing(root, tuple(folder.name for folder in classes), tuple(paths), tuple(labels))


def _single(root: Path, part: str | None = None) -> Path:
    """Follow folders with one folder of folders alone, as archives unpack to, within `part`."""
    while True:
        folders = _folders(root)
        if len(folders) != 1 or _part(folders[0].name) not in (None, part):
            return root
        if not _folders(folders[0]):
            return root
        root = folders[0]


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir() and not _hidden(path.name))


def _images(root: Path) -> list[str]:
    return sorted(
        path.name for path in root.iterdir() if not _hidden(path.name) and _is_image(path)
    )


def _is_image(path: Path) -> bool:
    """Tell whether a file's name is an image's; one of a kind that is not read raises."""
    if path.is_dir():
        return False
    suffix = path.suffix.lower()
    if suffix in _READ:
        return True
    kind = (_TYPES.guess_type(path.name)[0] or "").partition("/")[0]
    if kind in ("image", "video") or suffix in {".heic", ".npy", *Image.registered_extensions()}:
        raise ParetoPipeError(
            "E_DATA",
            f"{path} would be left out, for such files are not read — convert it to PNG or JPEG, "
            "or take it away",
        )
    return False


def _hidden(name: str) -> bool:
    """Tell names that programs leave behind: ``.ipynb_checkpoints``, ``__MACOSX``."""
    return name.startswith((".", "__"))


def _part(name: str) -> str | None:
    words = set(re.split(r"[^a-z]+", name.lower()))
    return next((part for part, own in _WORDS.items() if words & own), None)


def _no_folder(root: Path, why: str) -> ParetoPipeError:
    return ParetoPipeError("E_DATA", f"{root} is no folder of images: {why} — {_TAKES}")
