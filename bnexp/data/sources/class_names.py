"""Name the classes of a dataset, in the order of their labels."""

from pathlib import Path

from bnexp.config.data_section import DataConfig, DatasetName, ImageFolderData
from bnexp.data.sources.folder_listing import list_images
from bnexp.data.sources.place import own_path

_CIFAR100 = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle
caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish
forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle
mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine
possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle wardrobe whale willow_tree
wolf woman worm
"""
_NAMES: dict[DatasetName, tuple[str, ...]] = {
    "fashion_mnist": (
        *("T-shirt/top", "trouser", "pullover", "dress", "coat"),
        *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
    ),
    "kmnist": ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    "cifar100": tuple(_CIFAR100.split()),
}
"""As the files of the published sets name them; digits and generated classes have their number only."""


def class_names(data: DataConfig, data_dir: Path) -> tuple[str, ...]:
    """Return the names of the classes; empty where they have numbers only.

    Raises:
        ConfigError: the folder of images is not made of classes.
    """
    if isinstance(data, ImageFolderData):
        return list_images(own_path(data, data_dir), data.class_level).classes
    return _NAMES.get(data.dataset, ())
