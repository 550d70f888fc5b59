"""Name the files that people give in place of an npz file, and the line that makes one of them."""

import zipfile
from pathlib import Path

_SAVE = "np.savez('NAME.npz', x_train=..., y_train=..., x_test=..., y_test=...)"
_KINDS = {
    "npy": ("one NumPy array (.npy)", "np.savez('NAME.npz', x=np.load('FILE'), y=...)"),
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


def what_it_is(path: Path) -> str | None:
    """Return what a file is that is no npz file, and how to make one of it; None where it may be a damaged one."""
    kind = _kind_of(path)
    if kind is None:
        return None
    what, line = _KINDS[kind]
    mend = line.replace("FILE", path.name).replace("NAME", path.stem)
    return f"{what}, expected an npz file; {mend}"


def _kind_of(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            start = file.read(512)
        if start.startswith(b"PK"):
            return _kind_of_zip(path)
    except (OSError, ValueError, zipfile.BadZipFile):
        return None
    known = next((kind for magic, kind in _MAGIC if start.startswith(magic)), None)
    if known is None and start[257:262] == b"ustar":
        return "packed"
    if known is None and start and all(byte >= 32 or byte in b"\t\r\n" for byte in start):
        return "text"
    return known


def _kind_of_zip(path: Path) -> str | None:
    with zipfile.ZipFile(path) as packed:
        names = [name.lower() for name in packed.namelist()]
    if any(name.endswith(".npy") for name in names):
        return None
    if any(name.endswith("data.pkl") for name in names):
        return "torch"
    return "images" if any(name.endswith(_IMAGES) for name in names) else "packed"
