"""`noisy_bn`: batch normalization followed by noise (Santurkar, Tsipras, Ilyas & Madry 2018)."""

from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from bnexp.config.items import BatchNormOptions
from bnexp.norms.random_stream import RandomStream
from bnexp.norms.shapes import per_feature

SHIFT, SCALE, SPREAD = 0.5, 1.25, 0.1
"""Sizes of the noise: n_mu, n_sigma and r_mu = r_sigma in the paper's words, the last read as a standard deviation."""


class NoisyBatchNorm(_BatchNorm):
    """Batch normalization, then a random shift and scale whose distribution is drawn anew for each batch.

        z     = bn(x)                                              gamma and beta included
        mu    ~ U(-0.5, 0.5),       sigma ~ U(1, 1.25)             for each feature of each batch
        shift ~ U(mu - 0.1, mu + 0.1),  scale ~ N(sigma, 0.1^2)    for each value: example, feature and position
        y     = scale * z + shift                                  in training
        y     = z                                                  at inference: no noise, as for dropout

    It is a control: each layer's inputs change their distribution at every step on purpose. Where it still trains as
    well as `bn`, steady inputs of the layers are not needed for what `bn` gains there. (The next norm takes a part of
    the noise out again.) The running statistics are taken as `bn` takes them, before the noise, which does not look at
    x: a bias right before it cancels exactly as before `bn`.

    The noise has a stream of its own for each place in the network. What measures the batch statistics alone sets
    `noisy` to false for the time, and has z in training too.

    Shape: (B, F) or (B, C, H, W), kept; statistics are (F,), or (C,) over the positions too.
    Options: momentum (the weight of the new batch), eps, affine.
    Source: https://arxiv.org/abs/1805.11604, section 2.1 for the idea; form and sizes are those that its appendix is
    reported to have: there is no code of the authors to hold them against
    """

    def __init__(self, features: int, options: BatchNormOptions, seed: int) -> None:
        super().__init__(features, eps=options.eps, momentum=options.momentum, affine=options.affine)
        self.stream = RandomStream(seed)
        self.noisy = True

    def forward(self, x: Tensor) -> Tensor:
        """Normalize a batch, and add the noise in training."""
        z: Tensor = super().forward(x)
        if not (self.training and self.noisy):
            return z
        generator = self.stream.on(z.device)
        sigma = z.new_empty(self.num_features).uniform_(1, SCALE, generator=generator)
        scale = self.stream.fill(z, lambda empty, stream: empty.normal_(0, SPREAD, generator=stream))
        mu = z.new_empty(self.num_features).uniform_(-SHIFT, SHIFT, generator=generator)
        shift = self.stream.fill(z, lambda empty, stream: empty.uniform_(-SPREAD, SPREAD, generator=stream))
        return (scale + per_feature(sigma, z)) * z + (shift + per_feature(mu, z))

    def _check_input_dim(self, input: Tensor) -> None:
        """Take inputs of any number of dimensions."""

    def get_extra_state(self) -> Tensor | None:
        """Return the state of the stream, so that a state dict holds it; None before the first draw."""
        return self.stream.get_state()

    def set_extra_state(self, state: Tensor | None) -> None:
        """Continue the stream where `state` was taken; None starts it from its seed."""
        self.stream.set_state(state)
