"""Embeddings of images, series and sets: networks that turn large data into features, trained with the density.

    posterior_nn("maf", embedding_net=CNNEmbedding())

Each is a description; the network is made when there are data, with weights of its own for every member of an
ensemble. What is trained is a posterior given features that were made for it, so no summary statistics need to be
chosen. Any equinox module or JAX function from one x to an array may be used in their place.
"""

from homing.embeddings.images import CNNEmbedding
from homing.embeddings.plain import MLPEmbedding
from homing.embeddings.series import RecurrentEmbedding, TransformerEmbedding
from homing.embeddings.sets import SetEmbedding
from homing.estimators.embedding import Embedding, EmbeddingNet
from homing.simulation import pad_trials

__all__ = [
    "CNNEmbedding",
    "Embedding",
    "EmbeddingNet",
    "MLPEmbedding",
    "RecurrentEmbedding",
    "SetEmbedding",
    "TransformerEmbedding",
    "pad_trials",
]
