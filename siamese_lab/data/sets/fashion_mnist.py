"""Fashion-MNIST: 70,000 articles of clothing of 28×28 pixels (Xiao et al. 2017, arXiv:1708.07747)."""

from siamese_lab.data.datamodule import register
from siamese_lab.data.io.idx_files import IdxFile, IdxPart, IdxSet
from siamese_lab.data.sets.idx_module import IdxDataModule

FASHION_MNIST = IdxSet(
    key="fashion_mnist",
    folder="FashionMNIST/raw",
    mirrors=(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    ),
    train=IdxPart(
        IdxFile(
            "train-images-idx3-ubyte",
            "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
            "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            26_421_880,
            47_040_016,
        ),
        IdxFile(
            "train-labels-idx1-ubyte",
            "25c81989df183df01b3e8a0aad5dffbe",
            "9018921c3c673c538a1fc5bad174d6f9",
            29_515,
            60_008,
        ),
    ),
    test=IdxPart(
        IdxFile(
            "t10k-images-idx3-ubyte",
            "bef4ecab320f06d8554ea6380940ec79",
            "8181f5470baa50b63fa0f6fddb340f0a",
            4_422_102,
            7_840_016,
        ),
        IdxFile(
            "t10k-labels-idx1-ubyte",
            "bb300cfdad3c16e7a12a480ee83cd310",
            "15d484375f8d13e6eb1aabb0c3f46965",
            5_148,
            10_008,
        ),
    ),
    class_names=(
        "T-shirt/top",
        "Trouser",
        "Pullover",
        "Dress",
        "Coat",
        "Sandal",
        "Shirt",
        "Sneaker",
        "Bag",
        "Ankle boot",
    ),
)


@register("fashion_mnist")
class FashionMnist(IdxDataModule):
    """Fashion-MNIST: ten classes of clothing, shoes and bags."""

    title = "Fashion-MNIST"
    order = 30
    official = FASHION_MNIST
