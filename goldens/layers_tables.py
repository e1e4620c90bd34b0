"""Losses whose values layers.py writes, and layers whose initial draws it does."""

from golden import torch

nn = torch.nn


class Ctc(nn.Module):
    """PyTorch's own gradient of CTC is that of what went into the log-softmax."""

    def __init__(self, loss, *more):
        super().__init__()
        self.loss = loss
        self.more = more

    def forward(self, x):
        return self.loss(x.log_softmax(2), *self.more)


CLASSES = torch.tensor([2, 0, 3])
IDS = torch.tensor([[1, 4, 1], [0, 2, 4]])
RIGHT = torch.tensor([[3, 0, -1, 1], [2, -1, 0, 0], [-1, 1, 2, 3], [1, 0, 2, 3]])
LABELS = torch.tensor([[2, 2, 1], [3, 1, 0], [1, 0, 0], [3, 3, 2]])
SIGNS = torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64)


def weights(*values):
    return torch.tensor(values, dtype=torch.float64)


# (module, inputs drawn, what follows them and is not differentiated)
LOSSES = {
    "SmoothL1Loss": (nn.SmoothL1Loss(beta=0.5), ["normal 3 4", "normal 3 4"], []),
    "SmoothL1Loss sum": (nn.SmoothL1Loss(reduction="sum"), ["normal 3 4", "normal 3 4"], []),
    "KLDivLoss": (nn.KLDivLoss(reduction="batchmean"), ["log 3 4", "share 3 4"], []),
    "KLDivLoss of logarithms": (nn.KLDivLoss(reduction="sum", log_target=True), ["log 3 4", "log 3 4"], []),
    "PoissonNLLLoss": (nn.PoissonNLLLoss(), ["normal 3 4", "count 3 4"], []),
    "PoissonNLLLoss full": (nn.PoissonNLLLoss(log_input=False, full=True), ["share 3 4", "count 3 4"], []),
    "GaussianNLLLoss": (nn.GaussianNLLLoss(), ["normal 3 4", "normal 3 4", "share 3 4"], []),
    "GaussianNLLLoss full": (
        nn.GaussianNLLLoss(full=True, eps=0.5, reduction="none"),
        ["normal 3 4", "normal 3 4", "share 3 1"],
        [],
    ),
    "CosineEmbeddingLoss": (nn.CosineEmbeddingLoss(margin=0.125), ["normal 3 4", "normal 3 4"], [SIGNS]),
    "TripletMarginLoss": (nn.TripletMarginLoss(margin=2.0), ["normal 3 4", "normal 3 4", "normal 3 4"], []),
    "TripletMarginLoss with options": (
        nn.TripletMarginLoss(margin=3.0, p=1.0, swap=True, reduction="none"),
        ["normal 3 4", "normal 3 4", "normal 3 4"],
        [],
    ),
    "MarginRankingLoss": (nn.MarginRankingLoss(margin=0.5), ["normal 3", "normal 3"], [SIGNS]),
    "HingeEmbeddingLoss": (nn.HingeEmbeddingLoss(margin=1.5), ["share 3"], [SIGNS]),
    "SoftMarginLoss": (nn.SoftMarginLoss(), ["normal 3"], [SIGNS]),
    "MultiLabelSoftMarginLoss": (
        nn.MultiLabelSoftMarginLoss(weight=weights(1, 2, 0.5)),
        ["normal 2 3"],
        [weights([1, 0, 1], [0, 0, 1])],
    ),
    "MultiMarginLoss": (nn.MultiMarginLoss(), ["normal 3 4"], [CLASSES]),
    "MultiMarginLoss with options": (
        nn.MultiMarginLoss(p=2, margin=0.75, weight=weights(1, 2, 0.5, 3), reduction="sum"),
        ["normal 3 4"],
        [CLASSES],
    ),
    "MultiLabelMarginLoss": (nn.MultiLabelMarginLoss(), ["normal 4 4"], [RIGHT]),
    "MultiLabelMarginLoss none": (nn.MultiLabelMarginLoss(reduction="none"), ["normal 4 4"], [RIGHT]),
    # The last one has four steps for three labels, two of them alike: just enough.
    "CTCLoss": (Ctc(nn.CTCLoss(), LABELS, [6, 5, 6, 4], [3, 2, 1, 3]), ["normal 6 4 4"], []),
    "CTCLoss none": (Ctc(nn.CTCLoss(blank=3, reduction="none"), LABELS % 3, [6, 4, 1, 6], [3, 1, 0, 2]), ["normal 6 4 4"], []),
    "CTCLoss sum of what is long enough": (
        Ctc(nn.CTCLoss(reduction="sum", zero_infinity=True), LABELS, [6, 3, 1, 3], [3, 2, 1, 3]),
        ["normal 6 4 4"],
        [],
    ),
    "CrossEntropyLoss": (nn.CrossEntropyLoss(), ["normal 3 4"], [CLASSES]),
    "CrossEntropyLoss with options": (
        nn.CrossEntropyLoss(weight=weights(1, 2, 0.5, 3), ignore_index=0, label_smoothing=0.25),
        ["normal 3 4"],
        [CLASSES],
    ),
    "NLLLoss": (nn.NLLLoss(weight=weights(1, 2, 0.5, 3)), ["log 3 4"], [CLASSES]),
    "MSELoss": (nn.MSELoss(), ["normal 3 4", "normal 3 4"], []),
    "L1Loss": (nn.L1Loss(reduction="sum"), ["normal 3 4", "normal 3 4"], []),
    "HuberLoss": (nn.HuberLoss(delta=0.5), ["normal 3 4", "normal 3 4"], []),
    "CosineSimilarity": (nn.CosineSimilarity(), ["normal 3 4", "normal 3 4"], []),
    "CosineSimilarity with options": (nn.CosineSimilarity(dim=-1), ["normal 2 3 4", "normal 1 3 4"], []),
    "PairwiseDistance": (nn.PairwiseDistance(), ["normal 3 4", "normal 3 4"], []),
    "PairwiseDistance with options": (nn.PairwiseDistance(p=1, keepdim=True), ["normal 2 3 4", "normal 4"], []),
    "Embedding": (nn.Embedding(5, 3), [], [IDS]),
    "Embedding with padding": (nn.Embedding(5, 3, padding_idx=-1), [], [IDS]),
    "BCELoss with weights": (nn.BCELoss(weight=weights(1, 2, 0.5)), ["share 2 3"], [weights([1, 0, 1], [0, 0, 1])]),
    "BCEWithLogitsLoss with weights": (
        nn.BCEWithLogitsLoss(weight=weights(1, 2, 0.5), pos_weight=weights(3, 1, 2)),
        ["normal 2 3"],
        [weights([1, 0, 1], [0, 0, 1])],
    ),
}

# name of the case: (class, arguments, options)
INITIAL = {
    "ConvTranspose1d": (nn.ConvTranspose1d, (40, 30, 5), {}),
    "ConvTranspose2d": (nn.ConvTranspose2d, (24, 32, 5), {"groups": 2}),
    "ConvTranspose3d": (nn.ConvTranspose3d, (12, 16, 4), {}),
    "Conv2d depthwise": (nn.Conv2d, (512, 512, 5), {"groups": 512}),
    "BatchNorm1d": (nn.BatchNorm1d, (7,), {}),
    "BatchNorm2d": (nn.BatchNorm2d, (7,), {}),
    "BatchNorm3d": (nn.BatchNorm3d, (7,), {}),
    "RMSNorm": (nn.RMSNorm, (7,), {}),
    "GroupNorm": (nn.GroupNorm, (1, 7), {}),
    "InstanceNorm1d": (nn.InstanceNorm1d, (7,), {"affine": True, "track_running_stats": True}),
    "InstanceNorm2d": (nn.InstanceNorm2d, (7,), {"affine": True, "track_running_stats": True}),
    "InstanceNorm3d": (nn.InstanceNorm3d, (7,), {"affine": True, "track_running_stats": True}),
    "PReLU": (nn.PReLU, (7,), {}),
    "Linear": (nn.Linear, (300, 40), {}),
    "Conv1d": (nn.Conv1d, (40, 60, 5), {}),
    "Conv2d": (nn.Conv2d, (24, 32, 5), {"groups": 2}),
    "Conv3d": (nn.Conv3d, (12, 16, 4), {}),
    "Embedding": (nn.Embedding, (100, 70), {}),
    "Embedding with padding": (nn.Embedding, (100, 70), {"padding_idx": 0}),
    "LayerNorm": (nn.LayerNorm, (7,), {}),
    "RNN": (nn.RNN, (30, 50), {}),
    "GRU": (nn.GRU, (30, 50), {"bidirectional": True}),
    "LSTM": (nn.LSTM, (30, 50), {"proj_size": 20}),
    "RNNCell": (nn.RNNCell, (30, 50), {}),
    "LSTMCell": (nn.LSTMCell, (30, 50), {}),
    "GRUCell": (nn.GRUCell, (30, 50), {}),
    "MultiheadAttention": (nn.MultiheadAttention, (64, 4), {}),
}
