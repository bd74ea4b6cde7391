"""MNIST: 70,000 handwritten digits of 28×28 pixels (LeCun et al. 1998, doi:10.1109/5.726791)."""

from siamese_lab.data.datamodule import register
from siamese_lab.data.io.idx_files import IdxFile, IdxPart, IdxSet
from siamese_lab.data.sets.idx_module import IdxDataModule

MNIST = IdxSet(
    key="mnist",
    folder="MNIST/raw",
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    train=IdxPart(
        IdxFile(
            "train-images-idx3-ubyte",
            "f68b3c2dcbeaaa9fbdd348bbdeb94873",
            "6bbc9ace898e44ae57da46a324031adb",
            9_912_422,
            47_040_016,
        ),
        IdxFile(
            "train-labels-idx1-ubyte",
            "d53e105ee54ea40749a09fcbcd1e9432",
            "a25bea736e30d166cdddb491f175f624",
            28_881,
            60_008,
        ),
    ),
    test=IdxPart(
        IdxFile(
            "t10k-images-idx3-ubyte",
            "9fb629c4189551a2d022fa330f9573f3",
            "2646ac647ad5339dbf082846283269ea",
            1_648_877,
            7_840_016,
        ),
        IdxFile(
            "t10k-labels-idx1-ubyte",
            "ec29112dd5afa0611ce80d1b7f02629c",
            "27ae3e4e09519cfbb04c329615203637",
            4_542,
            10_008,
        ),
    ),
    class_names=tuple("0123456789"),
)


@register("mnist")
class Mnist(IdxDataModule):
    """MNIST: ten classes, the digits 0–9."""

    title = "MNIST"
    order = 20
    official = MNIST
