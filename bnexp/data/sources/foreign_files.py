"""Name the files that people give in place of an npz file, and the line that makes one of them."""

import zipfile
from pathlib import Path

_SAVE = "np.savez('NAME.npz', x_train=..., y_train=..., x_test=..., y_test=...)"
_KINDS = {
    "npy": ("one NumPy array (.npy)", "np.savez('NAME.npz', x=np.load('FILE'), y=...)"),
    "objects": (
        "one NumPy array of Python objects, which are pickled and never loaded",
        f"a = np.load('FILE', allow_pickle=True).item() if you trust it; {_SAVE}",
    ),
    "idx": (
        "a file of MNIST's own format (idx)",
        "a.reshape(-1, 28, 28) with a = np.frombuffer(open('FILE', 'rb').read(), 'u1', offset=16), 8 for labels; "
        f"{_SAVE}; for MNIST itself data.dataset: mnist",
    ),
    "lfs": ("a Git LFS pointer", "git lfs pull fetches the file"),
    "html": ("a web page", "fetch the file itself"),
    "json": ("JSON", f"a = json.load(open('FILE')); {_SAVE}"),
    "arff": ("an ARFF file", f"a, about = scipy.io.arff.loadarff('FILE'); {_SAVE}"),
    "arrow": ("a Feather or Arrow file", f"a = pandas.read_feather('FILE'); {_SAVE}"),
    "sheet": ("a spreadsheet", f"a = pandas.read_excel('FILE'); {_SAVE}"),
    "safetensors": ("a safetensors file", f"a = safetensors.numpy.load_file('FILE'); {_SAVE}"),
    "tfrecord": ("a TFRecord file", f"for r in tf.data.TFRecordDataset('FILE'): ...; {_SAVE}"),
    "empty": ("an empty file, 0 bytes", "fetch it again"),
    "cut": ("truncated, corrupt or not an npz file", "the end of the archive is missing: fetch it again"),
    "mat": ("a MATLAB file", f"a = scipy.io.loadmat('FILE'); {_SAVE}"),
    "hdf5": ("an HDF5 file (.h5, or .mat of MATLAB 7.3)", f"f = h5py.File('FILE'); {_SAVE} with f['...'][:]"),
    "torch": ("a file of torch.save", f"a = torch.load('FILE', weights_only=True); {_SAVE} with tensor.numpy()"),
    "pickle": ("a pickle, which can run code and is never loaded", f"a = pickle.load(open('FILE', 'rb')); {_SAVE}"),
    "images": ("an archive of images", "unpack it, and data.dataset: image_folder"),
    "packed": ("a packed file", "unpack it (gunzip, tar -xf or unzip)"),
    "parquet": ("a Parquet file", f"a = pandas.read_parquet('FILE'); {_SAVE}"),
    "text": ("text", f"a = np.loadtxt('FILE', delimiter=',', skiprows=1); {_SAVE}"),
    "image": ("one image", "data.dataset: image_folder reads a folder of class folders"),
}
_MAGIC = (
    (b"\x93NUMPY", "npy"),
    (b"MATLAB 5.0", "mat"),
    (b"MATLAB 7.3", "hdf5"),
    *((bytes((0, 0, 8, axes)), "idx") for axes in (1, 3, 4)),
    (b"version https://git-lfs", "lfs"),
    (b"ARROW1", "arrow"),
    (b"\xd0\xcf\x11\xe0", "sheet"),
    (b"\x89HDF\r\n\x1a\n", "hdf5"),
    (b"\x80\x02", "pickle"),
    (b"\x80\x03", "pickle"),
    (b"\x80\x04", "pickle"),
    (b"\x80\x05", "pickle"),
    (b"\x1f\x8b", "packed"),
    (b"BZh", "packed"),
    (b"\xfd7zXZ", "packed"),
    (b"7z\xbc\xaf", "packed"),
    (b"PAR1", "parquet"),
    (b"\x89PNG", "image"),
    (b"\xff\xd8\xff", "image"),
)
_IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")


_TEXT_MAGIC = (("<!doctype html", "html"), ("<html", "html"), ("{", "json"), ("[", "json"), ("@relation", "arff"))


def what_it_is(path: Path) -> str | None:
    """Return what a file is that is no npz file, and how to make one of it; None where it may be a damaged one."""
    kind = _kind_of(path)
    if kind is None:
        return None
    what, line = _KINDS[kind]
    size = f" ({path.stat().st_size:,} bytes)" if kind == "cut" else ""
    return f"{what}{size}, expected an npz file; {_filled(line, path)}"


def what_a_folder_has(path: Path) -> str:
    """Return what to do with a folder in the place of an npz file, by what is in it."""
    arrays = sorted(entry.name for entry in path.iterdir() if entry.suffix.lower() == ".npy")
    if arrays:
        pairs = ", ".join(f"{Path(name).stem}=np.load('{path.name}/{name}')" for name in arrays[:8])
        return f"a folder of .npy files, expected an npz file; np.savez('{path.name}.npz', {pairs})"
    packed = sorted(entry.name for entry in path.iterdir() if entry.suffix.lower() == ".npz")
    if packed:
        return f"a folder, expected an npz file; it has {packed[0]}: --set data.path={path}/{packed[0]}"
    return "a folder, expected an npz file; for images in a folder per class: --set data.dataset=image_folder"


def _filled(line: str, path: Path) -> str:
    return line.replace("FILE", path.name).replace("NAME", path.stem)


def _kind_of(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            start = file.read(512)
        if start.startswith(b"PK"):
            return _kind_of_zip(path)
    except zipfile.BadZipFile:
        return "cut"
    except (OSError, ValueError):
        return None
    if not start:
        return "empty"
    known = next((kind for magic, kind in _MAGIC if start.startswith(magic)), None)
    if known == "npy" and b"'|O'" in start:
        return "objects"
    if known is not None:
        return known
    if start[257:262] == b"ustar":
        return "packed"
    if start[8:10] == b'{"':
        return "safetensors"
    if path.suffix.lower().startswith(".tfrecord"):
        return "tfrecord"
    if all(byte >= 32 or byte in b"\t\r\n" for byte in start):
        text = start.decode("latin-1").lstrip("\ufeff\xef\xbb\xbf \r\n\t").lower()
        return next((kind for words, kind in _TEXT_MAGIC if text.startswith(words)), "text")
    return None


def _kind_of_zip(path: Path) -> str | None:
    with zipfile.ZipFile(path) as packed:
        names = [name.lower() for name in packed.namelist()]
    if any(name.endswith(".npy") for name in names):
        return None
    if any(name.startswith(("xl/", "content.xml")) for name in names):
        return "sheet"
    if any(name.endswith("data.pkl") for name in names):
        return "torch"
    return "images" if any(name.endswith(_IMAGES) for name in names) else "packed"
