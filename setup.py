"""Packaging: the folders at top level are installed as ``codec_zoo`` and its subpackages.

Installing packages called ``datasets`` or ``export`` would overwrite other people's (HuggingFace's
``datasets``, for one), hence the mapping.
"""

import re
from pathlib import Path

from setuptools import setup

HERE = Path(__file__).parent
(VERSION,) = re.findall(r'^__version__ = "(.+)"$', (HERE / "zoo" / "__init__.py").read_text(), re.MULTILINE)

# A page of a package index has no files beside it: images in files are left out, and links to files are their texts.
_IMAGE = r"!\[[^]]*\]\((?!https?://)[^)]*\)|<img [^>]*>|<source [^>]*>|</?picture>"
_LINK = r"\[([^]]+)\]\((?!https?://|#)[^)]*\)"
DESCRIPTION = re.sub(_LINK, r"\1", re.sub(_IMAGE, "", (HERE / "README.md").read_text()))

FOLDERS = {
    "codec_zoo": "zoo",
    "codec_zoo.layers": "zoo/layers",
    "codec_zoo.models": "zoo/models",
    "codec_zoo.training": "zoo/training",
    "codec_zoo.datasets": "datasets",
    "codec_zoo.datasets.kodak": "datasets/kodak",
    "codec_zoo.export": "export",
    "codec_zoo.codecs": "codecs",
    "codec_zoo.codecs.standard": "codecs/standard",
    "codec_zoo.harness": "harness",
    "codec_zoo.harness.papers": "harness/papers",
    "codec_zoo.cli": "cli",
}

setup(
    name="codec-zoo",
    version=VERSION,
    description="A Keras model zoo for learned and hybrid image compression",
    long_description=DESCRIPTION,
    long_description_content_type="text/markdown",
    author="The Codec Zoo authors",
    license="Apache-2.0",
    license_files=["LICENSE"],
    keywords="image compression, learned image compression, neural codec, Keras, TensorFlow, JPEG, BPG, BD-rate",
    python_requires=">=3.11.4,<3.14",
    package_dir=FOLDERS,
    packages=list(FOLDERS),
    package_data={
        "codec_zoo": ["listing.json", "pretrained/*.h5", "pretrained/*.json", "pretrained/*.npz", "py.typed"],
        "codec_zoo.codecs": ["memory.csv"],
        "codec_zoo.harness": ["published.csv", "report_assets/*"],
        "codec_zoo.datasets.kodak": ["*.png", "*.tsv"],
    },
    # What models, training and the coder need; any Keras backend will do.
    install_requires=[
        "click>=8.1",
        "filelock>=3.16",
        "keras>=3.14,<3.16",  # zoo/training/optimizers.py overrides private methods of Muon
        "numba>=0.63",
        "numpy>=1.26",
        "pillow>=11.3",
        "rich>=13",
        "tensorboardX>=2.6.2",
    ],
    # Everything else: export, files, evaluation. `pip install 'codec-zoo[tf]'`.
    extras_require={
        # `codec-zoo compress-corpus`. Not in requirements.txt: Beam 2.77 wants pillow < 13, protobuf < 7,
        # pyarrow < 26 and python-dateutil < 3, all older than there.
        "corpus": ["codec-zoo[tf]", "apache-beam>=2.77,<3"],
        # `codec-zoo export --format onnx` and `--format litert`.
        "convert": ["codec-zoo[tf]", "ai-edge-litert>=2.1", "onnx>=1.20", "onnxruntime>=1.23", "tf2onnx>=1.17"],
        # `codec-zoo compress` and `decompress` without TensorFlow, by exports to ONNX.
        "onnx": ["av>=18,<20", "imagecodecs>=2026.1", "onnxruntime>=1.23"],
        # `make docs`: the pages of docs/ as a site.
        "docs": [
            "codec-zoo[tf]",
            "mkdocs>=1.6.1,<2",  # Material needs the first
            "mkdocs-material>=9.7,<10",
            "mkdocstrings[python]>=1,<2",
        ],
        "tf": [
            "av>=18,<20",  # svac-half and its like decode with the x265 that coded them: 18 and 19 have the same
            "bitarray>=3",
            "bjontegaard>=1.3",
            "grpcio>=1.66",
            "imagecodecs>=2026.1",
            "importlib_resources",  # TFDS needs it and does not say so
            "jinja2>=3.1",
            "markdown-it-py>=3",
            "matplotlib>=3.9",
            "plotly>=6",
            "protobuf>=6.31",
            "pyyaml>=6",
            "requests>=2.32",
            "tensorboard==2.21.*",
            "tensorflow==2.21.*",
            "tensorflow-datasets>=4.9.10",
            "tensorflow-metadata>=1.21",
            "tensorflow-serving-api==2.21.*",
        ],
        # `codec-zoo evaluate --lpips`. Not in requirements.txt: it brings PyTorch.
        "lpips": ["codec-zoo[tf]", "lpips>=0.1.4", "torchvision>=0.13"],
        # `codec-zoo app`. Not in requirements.txt: Gradio 6 wants pillow < 13, older than there.
        "app": ["codec-zoo[tf]", "gradio>=6,<7"],
        "test": [
            "hypothesis>=6",
            "import-linter>=2.5",
            "ipykernel>=6.29",
            "nbclient>=0.10",
            "kubernetes-validate>=1.31",
            "playwright>=1.50",
            "pytest>=8",
            "pytest-timeout>=2",
            "pytest-xdist>=3.6",
        ],
    },
    entry_points={"console_scripts": ["codec-zoo = codec_zoo.cli.main:main"]},
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: 3 :: Only",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: Multimedia :: Graphics :: Graphics Conversion",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Topic :: Scientific/Engineering :: Image Processing",
        "Topic :: System :: Archiving :: Compression",
        "Typing :: Typed",
    ],
)
